"""Signing keys of access tokens: Ed25519, published as a JWK set (RFC 7517), replaced while the platform runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from joserfc.jwk import OKPKey

from superagent.runtime.keys import FileKeys
from superagent.runtime.shared_map import Epoch

PURPOSE = "token-signing"
STAYS_S = 600.0
"""How long a replaced key is still published: twice the life of a token."""


class SigningKeys:
    """The keys that access tokens are signed with; every process sees a new one as soon as the identity epoch moves."""

    def __init__(self, keys: FileKeys, epoch: Epoch, now: Callable[[], float]) -> None:
        self._keys = keys
        self._epoch = epoch
        self._now = now
        self._read_at = -1
        self._known: list[tuple[str, OKPKey, float]] = []  # name, key, when another took its place

    def newest(self) -> tuple[str, OKPKey]:
        """Give the key to sign with, and its name."""
        name, key, _ = self._all()[-1]
        return name, key

    def find(self, name: str) -> OKPKey | None:
        """Give a key that tokens may still be signed with, None for any other name."""
        now = self._now()
        return next((key for known, key, until in self._all() if known == name and now < until), None)

    def published(self) -> dict[str, Any]:
        """Give the JWK set: public halves only, the newest first."""
        now = self._now()
        live = [(name, key) for name, key, until in self._all() if now < until]
        extra = {"use": "sig", "alg": "Ed25519"}
        return {"keys": [{**key.as_dict(private=False), **extra, "kid": name} for name, key in reversed(live)]}

    def rotate(self) -> str:
        """Sign with a new key from now on, in every process; gives its name."""
        self._keys.rotate(PURPOSE)
        self._epoch.bump()
        return self.newest()[0]

    def _all(self) -> list[tuple[str, OKPKey, float]]:
        epoch = self._epoch.read()
        if epoch != self._read_at:
            seeds = self._keys.seeds(PURPOSE)
            replaced = [made + STAYS_S for _, made in seeds[1:]] + [float("inf")]
            keys = [_key(seed) for seed, _ in seeds]
            self._known = [(key.thumbprint(), key, until) for key, until in zip(keys, replaced, strict=True)]
            self._read_at = epoch
        return self._known


def _key(seed: bytes) -> OKPKey:
    raw = Ed25519PrivateKey.from_private_bytes(seed)
    return OKPKey(raw, raw)

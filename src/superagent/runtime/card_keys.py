"""Keys that agent cards are signed with: Ed25519, from the key provider, published as a JWK set (RFC 7517)."""

from __future__ import annotations

from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from superagent.runtime.keys import FileKeys

PURPOSE = "card-signing"
ALGORITHM = "EdDSA"


class CardKeys:
    """The signing keys of cards; a card says little that ages, so every key that was ever used stays published."""

    def __init__(self, keys: FileKeys) -> None:
        self._keys = keys

    def newest(self) -> tuple[str, bytes]:
        """Give the name (RFC 7638 thumbprint) and the private key (PEM) to sign with."""
        raw = self._all()[-1]
        pem = raw.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return _jwk(raw).thumbprint(), pem

    def published(self) -> dict[str, Any]:
        """Give the JWK set: public halves only, the newest first."""
        keys = [_jwk(raw) for raw in reversed(self._all())]
        extra = {"use": "sig", "alg": ALGORITHM}
        return {"keys": [{**key.as_dict(private=False), **extra, "kid": key.thumbprint()} for key in keys]}

    def _all(self) -> list[Ed25519PrivateKey]:
        return [Ed25519PrivateKey.from_private_bytes(seed) for seed, _ in self._keys.seeds(PURPOSE)]


def _jwk(raw: Ed25519PrivateKey) -> Any:
    # loaded when a card is asked for: a command line that asks for none must not wait for it
    from joserfc.jwk import OKPKey

    return OKPKey(raw, raw)

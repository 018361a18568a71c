"""File keys: one master key in a private folder, and every other key wrapped by it."""

from __future__ import annotations

import hmac
import os
import re
import secrets
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from superagent.core.problems import Denied
from superagent.runtime.key_files import create_or_read, private_folder, unwrap
from superagent.runtime.personal_keys import PersonalKeys
from superagent.runtime.signed_notes import Signer

_PURPOSE = re.compile(r"[a-z][a-z0-9-]{0,39}")
_FORM = b"\x01"
_NONCE = 12
_SIGNING = "checkpoint-signing"


class FileKeys:
    """Seal, sign and vouch with keys that lie in one folder (mode 0700, files 0600).

    The folder makes itself at the first start, also when several processes start at once: whoever links a file first
    wins and the others read it. Each purpose has its own random data key, made at first use, kept wrapped by the master
    key (AES-256-GCM); newer versions are used, older ones still open. A data key is meant for at most 2^32 seals
    (NIST SP 800-38D, random nonces); `rotate` long before that.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = private_folder(directory)
        self._master = create_or_read(self._directory / "master.key", lambda: secrets.token_bytes(32))
        self._wrap = AESGCM(_derive(self._master, "wrap"))
        self._data: dict[tuple[str, int], _DataKey] = {}
        self._current: dict[str, int] = {}
        self.personal = PersonalKeys(directory / "personal", _derive(self._master, "personal"))

    def seal(self, purpose: str, aad: bytes, plaintext: bytes) -> bytes:
        """Encrypt for a purpose; `aad` says what the value belongs to, and must be shown again to open it."""
        version = self._newest(purpose)
        nonce = os.urandom(_NONCE)
        head = _FORM + version.to_bytes(4, "big")
        return head + nonce + self._key(purpose, version).cipher.encrypt(nonce, plaintext, head + aad)

    def open(self, purpose: str, aad: bytes, sealed: bytes) -> bytes:
        """Decrypt what `seal` gave. Raises `Denied` when it was changed, moved elsewhere, or made with other keys."""
        head, nonce, body = sealed[:5], sealed[5 : 5 + _NONCE], sealed[5 + _NONCE :]
        try:
            return self._key(purpose, _version(head)).cipher.decrypt(nonce, body, head + aad)
        except (InvalidTag, ValueError, FileNotFoundError):
            raise Denied("a sealed value was changed, or belongs elsewhere", hint="ask for it anew") from None

    def sign(self, purpose: str, data: bytes) -> bytes:
        """Give a tag (HMAC-SHA-256, 37 bytes with the key's version) that only this installation can make."""
        version = self._newest(purpose)
        return _FORM + version.to_bytes(4, "big") + hmac.digest(self._key(purpose, version).mac, data, "sha256")

    def check(self, purpose: str, data: bytes, tag: bytes) -> bool:
        """Tell whether `sign` gave this tag for this purpose and data, with any version of the key."""
        try:
            key = self._key(purpose, _version(tag[:5]))
        except (ValueError, FileNotFoundError):
            return False
        return hmac.compare_digest(hmac.digest(key.mac, data, "sha256"), tag[5:])

    def rotate(self, purpose: str) -> int:
        """Make a new key for a purpose and use it from now on; gives its version."""
        version = self._newest(purpose) + 1
        self._key(purpose, version, make=True)
        self._current[purpose] = version
        return version

    def rotate_signing(self) -> None:
        """Sign checkpoints with a new key from now on; the old one's verifier line stays in `verifiers`."""
        self.rotate(_SIGNING)

    def signer(self, name: str) -> Signer:
        """Give the signer of checkpoints, under the name of this installation."""
        return self._signer(name, self._newest(_SIGNING))

    def verifiers(self, name: str) -> tuple[str, ...]:
        """Give the public halves of all signing keys, oldest first; these may be shown to anybody."""
        return tuple(self._signer(name, version).verifier for version in range(1, self._newest(_SIGNING) + 1))

    def seeds(self, purpose: str) -> list[tuple[bytes, float]]:
        """Give the Ed25519 seeds of a purpose, oldest first, each with when it was made (epoch seconds).

        Read from the folder anew, so that a key which another process made is seen.
        """
        self._key(purpose, 1, make=True)
        found = {int(path.name.split(".")[1]): path for path in self._directory.glob(f"{purpose}.*.key")}
        self._current[purpose] = max(found)
        return [
            (self._key(purpose, version).seed, found[version].stat(follow_symlinks=False).st_mtime)
            for version in sorted(found)
        ]

    def _signer(self, name: str, version: int) -> Signer:
        return Signer(name, Ed25519PrivateKey.from_private_bytes(self._key(_SIGNING, version).seed))

    def _newest(self, purpose: str) -> int:
        if purpose not in self._current:
            self._key(purpose, 1, make=True)
            names = [path.name.split(".") for path in self._directory.glob(f"{purpose}.*.key")]
            self._current[purpose] = max(int(name[1]) for name in names)
        return self._current[purpose]

    def _key(self, purpose: str, version: int, make: bool = False) -> _DataKey:
        found = self._data.get((purpose, version))
        if found is None:
            if not _PURPOSE.fullmatch(purpose):
                raise ValueError(f"`{purpose}` cannot name a purpose")
            path = self._directory / f"{purpose}.{version}.key"
            about = f"{purpose}.{version}".encode()
            wrapped = create_or_read(path, (lambda: self._wrapped(about)) if make else None)
            found = self._data[purpose, version] = _DataKey(unwrap(self._wrap, wrapped, about))
        return found

    def _wrapped(self, about: bytes) -> bytes:
        nonce = os.urandom(_NONCE)
        return nonce + self._wrap.encrypt(nonce, secrets.token_bytes(32), about)


class _DataKey:
    """The keys of one purpose and version: never the same bytes for two algorithms."""

    __slots__ = ("cipher", "mac", "seed")

    def __init__(self, key: bytes) -> None:
        self.cipher = AESGCM(_derive(key, "seal"))
        self.mac = _derive(key, "mac")
        self.seed = _derive(key, "ed25519")


def _derive(key: bytes, label: str) -> bytes:
    return hmac.digest(key, f"superagent {label}".encode(), "sha256")


def _version(head: bytes) -> int:
    if len(head) != 5 or head[:1] != _FORM:
        raise ValueError("not a value of ours")
    return int.from_bytes(head[1:], "big")

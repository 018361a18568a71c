"""Signed notes: short texts that carry their Ed25519 signatures below them (C2SP signed-note v1.0.0)."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

_ED25519 = b"\x01"
_MARK = "\u2014 "  # every signature line begins with an em dash and a space


@dataclass(frozen=True, slots=True)
class Signer:
    """Sign notes under a name, which must hold neither space nor plus."""

    name: str
    key: Ed25519PrivateKey

    @property
    def verifier(self) -> str:
        """Give the public half as one line of text: name, key id and key, joined by plus signs."""
        public = self.key.public_key().public_bytes_raw()
        return f"{self.name}+{_key_id(self.name, public).hex()}+{base64.b64encode(_ED25519 + public).decode()}"

    def sign(self, text: str) -> str:
        """Give the note: the text, which must end its last line, a blank line, and the signature line."""
        public = self.key.public_key().public_bytes_raw()
        signature = _key_id(self.name, public) + self.key.sign(text.encode())
        return f"{text}\n{_MARK}{self.name} {base64.b64encode(signature).decode()}\n"


def signed_by(note: str, verifiers: Sequence[str]) -> bool:
    """Tell whether one of the verifier lines vouches for the note; raises `ValueError` for a faulty verifier line."""
    text, blank, signatures = note.rpartition("\n\n")
    if not blank:
        return False
    keys = {(name, key_id): key for name, key_id, key in map(_parse_verifier, verifiers)}
    for line in signatures.splitlines():
        name, _, encoded = line.removeprefix(_MARK).partition(" ")
        try:
            signature = base64.b64decode(encoded, validate=True)
            keys[name, signature[:4]].verify(signature[4:], f"{text}\n".encode())
        except (KeyError, InvalidSignature, ValueError):
            continue  # a signature by a stranger or of another kind says nothing
        return True
    return False


def _key_id(name: str, public: bytes) -> bytes:
    return hashlib.sha256(name.encode() + b"\n" + _ED25519 + public).digest()[:4]


@lru_cache(64)
def _parse_verifier(line: str) -> tuple[str, bytes, Ed25519PublicKey]:
    try:
        name, key_id, encoded = line.strip().split("+", 2)
        raw = base64.b64decode(encoded, validate=True)
        if raw[:1] != _ED25519 or _key_id(name, raw[1:]).hex() != key_id:
            raise ValueError("the key id does not belong to the key")
        return name, bytes.fromhex(key_id), Ed25519PublicKey.from_public_bytes(raw[1:])
    except ValueError as error:
        raise ValueError(f"`{line}` is not a verifier key: {error}") from None

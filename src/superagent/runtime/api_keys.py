"""API keys: seeds whose public half is all that the server keeps, so a stolen database mints nothing (rules.md 31)."""

from __future__ import annotations

import base64
import hashlib
import secrets
import string
import zlib
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

PREFIX = "sak_"
_ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
_SEED, _CHECK = 36, 6
_LENGTH = len(PREFIX) + _SEED + _CHECK


@dataclass(frozen=True, slots=True)
class PublicKey:
    """The half of a key that is stored: `id` looks it up, `public` (hex) proves it."""

    id: str
    public: str


def mint() -> str:
    """Make a new key: `sak_`, 36 random base62 characters (214 bits), and a checksum that scanners and typos meet."""
    seed = "".join(secrets.choice(_ALPHABET) for _ in range(_SEED))
    return PREFIX + seed + _checksum(seed)


def well_formed(token: str) -> bool:
    """Tell whether a text can be a key at all: refused before anything is looked up."""
    if (
        len(token) != _LENGTH
        or not token.startswith(PREFIX)
        or not token.isascii()
        or not token[len(PREFIX) :].isalnum()
    ):
        return False
    seed = token[len(PREFIX) : -_CHECK]
    return token[-_CHECK:] == _checksum(seed)


def public_half(token: str) -> PublicKey:
    """Derive the Ed25519 public key (RFC 8032) of a seed and its id."""
    private = Ed25519PrivateKey.from_private_bytes(hashlib.sha256(b"superagent api key 1\0" + token.encode()).digest())
    public = private.public_key().public_bytes_raw()
    name = base64.b32encode(hashlib.sha256(public).digest()[:15]).decode().lower()
    return PublicKey(f"key_{name}", public.hex())


def _checksum(seed: str) -> str:
    number = zlib.crc32(seed.encode())
    out = ""
    for _ in range(_CHECK):
        number, digit = divmod(number, len(_ALPHABET))
        out = _ALPHABET[digit] + out
    return out

"""API keys: seeds whose public half is all that the server keeps, so a stolen database mints nothing (rules.md 31)."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from superagent.core import leaks
from superagent.core.attenuation import id_of
from superagent.core.leaks import ALPHABET, PREFIX, SEED, checksum


@dataclass(frozen=True, slots=True)
class PublicKey:
    """The half of a key that is stored: `id` looks it up, `public` (hex) proves it."""

    id: str
    public: str


def mint() -> str:
    """Make a new key: `sak_`, 36 random base62 characters (214 bits), and a checksum that scanners and typos meet."""
    seed = "".join(secrets.choice(ALPHABET) for _ in range(SEED))
    return PREFIX.decode() + seed + checksum(seed)


def well_formed(token: str) -> bool:
    """Tell whether a text can be a key at all: refused before anything is looked up."""
    return token.isascii() and leaks.well_formed(token.encode())


def public_half(token: str) -> PublicKey:
    """Derive the Ed25519 public key (RFC 8032) of a seed and its id."""
    public = Ed25519PrivateKey.from_private_bytes(private_half(token)).public_key().public_bytes_raw()
    return PublicKey(id_of(public), public.hex())


def private_half(token: str) -> bytes:
    """Derive the Ed25519 private key of a seed: only its holder can."""
    return hashlib.sha256(b"superagent api key 1\0" + token.encode()).digest()

"""What clients show to the authorization server: random texts of which only digests are kept."""

from __future__ import annotations

import hashlib
import secrets
import string

ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
LENGTH = 40
CLIENT, CODE, REFRESH, DEVICE = "sac_", "sau_", "sar_", "sad_"
"""What client secrets, authorization codes, refresh tokens and device codes begin with, for who looks for them."""
_LETTERS = "BCDFGHJKLMNPQRSTVWXZ"  # without vowels there are no words (RFC 8628, 6.1)


def mint(prefix: str) -> str:
    """Make one: its prefix, then 40 random base62 characters (238 bits)."""
    return prefix + "".join(secrets.choice(ALPHABET) for _ in range(LENGTH))


def digest(text: str) -> str:
    """Give what is kept of it. So many random bits need no slow hash."""
    return hashlib.sha256(b"superagent oauth 1\0" + text.encode("utf-8", "replace")).hexdigest()


def user_code() -> str:
    """Make a code that a person types in: `WDJB-MJHT`, 34 bits, good for minutes and a few tries (RFC 8628, 5.1)."""
    letters = "".join(secrets.choice(_LETTERS) for _ in range(8))
    return f"{letters[:4]}-{letters[4:]}"


def typed(text: str) -> str:
    """Read a user code as people type it: in small letters, without the hyphen, with spaces."""
    letters = "".join(one for one in text.upper() if one in _LETTERS)
    return f"{letters[:4]}-{letters[4:8]}" if len(letters) == 8 else ""

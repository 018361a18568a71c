"""Leaks: keys that stand in what a call gives. They are taken out, and whoever keeps keys is told to end them."""

from __future__ import annotations

import re
import string
import zlib
from collections.abc import Callable

PREFIX = b"sak_"
SEED, CHECK = 36, 6
ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
WITHHELD = b"[key withheld: it was shown, so it is ended]"
_FORM = re.compile(rb"sak_[0-9A-Za-z]{42}(?![0-9A-Za-z])")
MOST = 20  # keys of one answer that are looked up


def checksum(seed: str) -> str:
    """Give the six characters by which typos and look-alikes are told from keys."""
    number = zlib.crc32(seed.encode())
    out = ""
    for _ in range(CHECK):
        number, digit = divmod(number, len(ALPHABET))
        out = ALPHABET[digit] + out
    return out


def well_formed(token: bytes) -> bool:
    """Tell whether a text is a key by its form and checksum."""
    if not _FORM.fullmatch(token):
        return False
    seed = token[len(PREFIX) : -CHECK].decode()
    return token[-CHECK:].decode() == checksum(seed)


def without_keys(data: bytes, tell: Callable[[str], None]) -> bytes:
    """Give data without keys; each is told once. Nearly all data has none, and then this is one search for bytes."""
    if PREFIX not in data:
        return data
    found: dict[bytes, None] = dict.fromkeys(one for one in _FORM.findall(data) if well_formed(one))
    for at, token in enumerate(found):
        if at < MOST:
            tell(token.decode())
        data = data.replace(token, WITHHELD)
    return data

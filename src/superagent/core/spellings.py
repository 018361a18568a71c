"""Spellings: every way in which programs usually write one value down, piece by piece."""

from __future__ import annotations

import binascii
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

Piece = tuple[bytes, ...]
"""The ways to write one character, byte or sextet; each is one text that may stand at that place."""

SHORTEST = 6
"""A value of fewer characters would be found in every text, so it is not looked for."""

_SHORTEST_LINE = 16
_MOST_LINES = 64
_BASE64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_BREAKS = ("", "\n", "\r\n", "\\n", "\\r\\n")  # encoders break lines; within JSON text a break is spelled out
_OTHER_64 = {"+": ("+", "-", "%2B", "%2b"), "/": ("/", "_", "%2F", "%2f", "\\/")}
_JSON = {'"': '\\"', "\\": "\\\\", "/": "\\/", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
_HTML = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&apos;"}
_MORE = {" ": ("+",), "\n": ("\r\n",)}


@dataclass(frozen=True, slots=True, eq=False)
class Spelling:
    """One encoding of a value: so many pieces one after the other, each in any of its ways.

    The pieces are made when they are compared: a value may be long, and nearly always its beginning decides.
    """

    length: int
    piece: Callable[[int], Piece]


def values_of(value: str) -> list[str]:
    """Give what to look for so that a value does not get out: itself and its longer lines, as far as long enough."""
    lines = value.splitlines()
    long = [line for line in lines if len(line) >= _SHORTEST_LINE] if len(lines) > 1 else []
    return [one for one in dict.fromkeys([value, *long[:_MOST_LINES]]) if len(one) >= SHORTEST]


def spellings(value: str) -> list[Spelling]:
    """Give the spellings of a value.

    They are: text (plain, and each character by itself perhaps URL-encoded, HTML-escaped, JSON-escaped once or twice),
    UTF-16 in both orders, hexadecimal in both cases, and base64 in both alphabets at each of the three places within a
    longer input at which the value can begin, with or without line breaks.
    """
    data = value.encode("utf-8", "surrogatepass")
    return [
        Spelling(len(value), lambda at: _character(value[at])),
        Spelling(len(value), lambda at: (value[at].encode("utf-16-le", "surrogatepass"),)),
        Spelling(len(value), lambda at: (value[at].encode("utf-16-be", "surrogatepass"),)),
        Spelling(len(data), lambda at: _hexadecimal(data[at])),
        *(_base64(data, before) for before in range(3)),
    ]


@lru_cache(4096)
def _character(char: str) -> Piece:
    data = char.encode("utf-8", "surrogatepass")
    code, units = ord(char), char.encode("utf-16-be", "surrogatepass").hex()
    escaped = [f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4)]
    named = [_JSON[char]] if char in _JSON else []
    json = [*named, "".join(escaped), "".join(one[:2] + one[2:].upper() for one in escaped)]
    ways = [
        *("".join(f"%{byte:02{case}}" for byte in data) for case in "xX"),
        "".join(f"\\x{byte:02x}" for byte in data),
        *json,
        *(one.replace("\\", "\\\\") for one in json),  # JSON within JSON
        *(one.replace("\\", "\\\\").replace('"', '\\"') for one in named),
        *(f"&#{code:{width}};" for width in ("d", "03d")),
        *(f"&#{x}{code:{digits}};" for x in "xX" for digits in ("x", "X", "02x", "02X")),
        *((_HTML[char],) if char in _HTML else ()),
        *_MORE.get(char, ()),
    ]
    return tuple(dict.fromkeys([data, *(way.encode() for way in ways)]))


@lru_cache(256)
def _hexadecimal(byte: int) -> Piece:
    digits = f"{byte:02x}"
    ways = {first + last for first in (digits[0], digits[0].upper()) for last in (digits[1], digits[1].upper())}
    return tuple(sorted(way.encode() for way in ways))


def _base64(data: bytes, before: int) -> Spelling:
    """Spell bytes that `before` others precede, from the first sextet that holds nothing else.

    Of the one before only some bits are the value's; it may belong to another value just as well.
    """
    end = before + len(data)
    known = 8 * end % 6
    whole = binascii.b2a_base64(bytes(before) + data, newline=False).decode()
    sextets = list(whole[(8 * before + 5) // 6 : 8 * end // 6])
    if known:
        high = data[-1] << 6 - known & 0x3F
        sextets.append("".join(_BASE64[high | low] for low in range(1 << 6 - known)))
    return Spelling(len(sextets), lambda at: _sextet(sextets[at], after_another=at > 0))


@lru_cache(1024)
def _sextet(fitting: str, *, after_another: bool) -> Piece:
    """Give what spells a sextet that is one of these characters; between two there may be a line break."""
    ways = [way for char in fitting for way in _OTHER_64.get(char, (char,))]
    return tuple((gap + way).encode() for gap in (_BREAKS if after_another else ("",)) for way in ways)

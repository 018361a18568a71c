"""Ed25519 verification in plain Python, by RFC 8032, section 5.1.7; nothing here is secret, so nothing hides its time.

The equation is the one without the cofactor: encode([S]B - [k]A) must be the R of the signature, byte for byte. That is
what OpenSSL does. S must be below the order of the group (no second signature can be made from one), and the key must
be encoded canonically.
"""

from __future__ import annotations

import hashlib

_P = 2**255 - 19
_ORDER = 2**252 + 27742317777372353535851937790883648493
_D = -121665 * pow(121666, -1, _P) % _P
_ROOT_OF_MINUS_ONE = pow(2, (_P - 1) // 4, _P)

# extended coordinates: (X, Y, Z, T) with x = X/Z, y = Y/Z, x * y = T/Z
Point = tuple[int, int, int, int]
_NEUTRAL: Point = (0, 1, 1, 0)


def verifies(public: bytes, message: bytes, signature: bytes) -> bool:
    """Tell whether this is the signature of the message by the holder of the key (32 bytes)."""
    if len(public) != 32 or len(signature) != 64:
        return False
    key = _point(public)
    scalar = int.from_bytes(signature[32:], "little")
    if key is None or scalar >= _ORDER:
        return False
    challenge = int.from_bytes(hashlib.sha512(signature[:32] + public + message).digest(), "little") % _ORDER
    x, y, z, t = key
    return _bytes(_sum_of_two(scalar, _BASE, challenge, (_P - x, y, z, _P - t))) == signature[:32]


def _sum_of_two(one: int, first: Point, two: int, second: Point) -> Point:
    """Give one * first + two * second, both read bit by bit from the top at once."""
    both = _add(first, second)
    total = _NEUTRAL
    for bit in range(max(one.bit_length(), two.bit_length()) - 1, -1, -1):
        total = _double(total)
        wanted = (one >> bit & 1, two >> bit & 1)
        if wanted != (0, 0):
            total = _add(total, both if wanted == (1, 1) else first if wanted[0] else second)
    return total


def _add(one: Point, two: Point) -> Point:
    a = (one[1] - one[0]) * (two[1] - two[0]) % _P
    b = (one[1] + one[0]) * (two[1] + two[0]) % _P
    c = 2 * one[3] * two[3] * _D % _P
    d = 2 * one[2] * two[2] % _P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % _P, g * h % _P, f * g % _P, e * h % _P


def _double(one: Point) -> Point:
    a = one[0] * one[0] % _P
    b = one[1] * one[1] % _P
    c = 2 * one[2] * one[2] % _P
    h = a + b
    e = h - (one[0] + one[1]) ** 2 % _P
    g = a - b
    f = c + g
    return e * f % _P, g * h % _P, f * g % _P, e * h % _P


def _bytes(point: Point) -> bytes:
    inverse = pow(point[2], -1, _P)
    x, y = point[0] * inverse % _P, point[1] * inverse % _P
    return (y | (x & 1) << 255).to_bytes(32, "little")


def _point(data: bytes) -> Point | None:
    """Read a point; None when these bytes are the canonical encoding of none."""
    number = int.from_bytes(data, "little")
    sign, y = number >> 255, number & ((1 << 255) - 1)
    if y >= _P:
        return None
    square = (y * y - 1) * pow(_D * y * y + 1, -1, _P) % _P
    x = pow(square, (_P + 3) // 8, _P)
    if (x * x - square) % _P:
        x = x * _ROOT_OF_MINUS_ONE % _P
    if (x * x - square) % _P or (x == 0 and sign):
        return None
    if x & 1 != sign:
        x = _P - x
    return x, y, 1, x * y % _P


def _base() -> Point:
    found = _point((4 * pow(5, -1, _P) % _P).to_bytes(32, "little"))
    assert found
    return found


_BASE = _base()

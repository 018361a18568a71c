"""Strict JSON: what a body must be before anything else looks at it (RFC 8259 with I-JSON's limits, RFC 7493).

Nearly every body is plain and read by msgspec, in a tenth of the time. It takes the last of two equal keys without a
word, so what it read is written again: no quote may be missing then. Whatever is not plain is read closely, by what can
also say what is wrong with it. A test compares both ways.
"""

from __future__ import annotations

import json
import re
from math import isfinite
from typing import Any, NoReturn

import msgspec

from superagent.core.problems import Fault, Malformed

DEEPEST = 64
MOST_PARTS = 50_000
"""Lists and objects in one body: each costs a step of ours, and a mebibyte could hold half a million."""

MOST_FIELDS = 1000
"""Fields of one object: what an operation does not know of them is a fault each."""

LONGEST_NUMBER = 400
"""Digits in a row: reading and writing a number takes time with the square of its length."""

_LONG_RUN = b"0" * (LONGEST_NUMBER + 1)
_DIGITS_AS_ZEROS = bytes.maketrans(b"123456789", b"000000000")
_AS_LISTS = bytes.maketrans(b"{}", b"[]")
_NO_SHAPE = bytes(set(range(256)) - set(b'[]{}"'))
_LONG_NUMBER = re.compile(rb"[0-9]{%d}" % (LONGEST_NUMBER + 1))
_TEXTS = re.compile(rb'"(?>[^"\\]++|\\.)*+"?', re.DOTALL)
_NO_BRACKETS = re.compile(rb"[^\[\]{}]++")
# escapes outside of surrogates, or a high one with the low one behind it
_WHOLE_ESCAPES = re.compile(
    r"(?>[^\\]++|\\[^u]|\\u(?![dD][89a-fA-F])....|\\u[dD][89abAB]..\\u[dD][c-fC-F]..)*+", re.DOTALL
)


def parse_object(body: bytes) -> dict[str, Any]:
    """Give the one JSON object a body holds; an empty body is an empty object.

    Raises `Malformed` for anything that is not UTF-8, not one object, has duplicate keys, NaN or infinities, lone
    surrogates, numbers of more than 400 digits in a row, objects of more than 1,000 fields, or more than 64 levels.
    """
    if not body or body == b"{}":
        return {}
    value = parse(body)
    if not isinstance(value, dict):
        raise Malformed(f"the body is {_named(value)}, not a JSON object")
    return value  # pyright: ignore[reportUnknownVariableType]


def parse(body: bytes) -> Any:
    """Give any JSON value under the same rules."""
    value = _plain(body)
    return _closely(body) if value is None else value


def _plain(body: bytes) -> Any:
    """Give the value of a body that is well-formed and keeps every rule; None for one that must be read closely."""
    if b"\\u" in body or body.count(b":") > MOST_FIELDS:
        return None
    if len(body) > LONGEST_NUMBER and _LONG_RUN in body.translate(_DIGITS_AS_ZEROS):
        return None
    if body.count(b"[") + body.count(b"{") > DEEPEST and not _is_flat(body):
        return None
    try:
        value = _decode_plain(body)
        # without `\u` a text is written with as many quotes as it came with: two fewer for each key that is missing
        return value if _encode_plain(value).count(b'"') == body.count(b'"') else None
    except (msgspec.MsgspecError, ValueError, OverflowError, RecursionError):
        return None


def _is_flat(body: bytes) -> bool:
    """Tell whether a body surely has few enough lists and objects, none of them too deep within others."""
    if b"\\" in body:
        return False
    # where no quote is escaped, two that meet end one text and begin the next, or hold nothing: only what stands
    # between quotes that are left is in a text, and that is rare
    brackets = body.translate(_AS_LISTS, _NO_SHAPE).replace(b'""', b"")
    if b'"' in brackets or brackets.count(b"[") > MOST_PARTS:
        return False
    for _ in range(DEEPEST):
        if not brackets:
            return True
        brackets = brackets.replace(b"[]", b"")
    return not brackets


def _closely(body: bytes) -> Any:
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as bad:
        raise Malformed(f"byte {bad.start} is not UTF-8") from None
    _check_shape(body)
    if _LONG_NUMBER.search(body) and _LONG_NUMBER.search(_TEXTS.sub(b"", body)):
        raise Malformed(f"a number has more than {LONGEST_NUMBER} digits", hint="send it as a text")
    try:
        value = _decode(text)
    except json.JSONDecodeError as bad:
        raise Malformed(f"{bad.msg} at line {bad.lineno}, column {bad.colno}") from None
    except ValueError as bad:
        raise Malformed(str(bad).partition(";")[0]) from None
    if "\\u" in text and not _WHOLE_ESCAPES.fullmatch(text):
        raise Malformed(
            "a text has half of a surrogate pair", hint="send characters beyond U+FFFF as pairs, or as UTF-8"
        )
    return value


def _check_shape(body: bytes) -> None:
    """Raise `Malformed` for too many lists and objects, or too deep ones, without a step of ours per byte."""
    if body.count(b"[") + body.count(b"{") <= DEEPEST:  # few brackets need no look at which of them stand in texts
        return
    brackets = _NO_BRACKETS.sub(b"", _TEXTS.sub(b"", body))
    brackets = brackets.replace(b"{", b"[").replace(b"}", b"]")
    parts = brackets.count(b"[")
    for _ in range(DEEPEST):
        brackets = brackets.replace(b"[]", b"")  # the innermost level of everything
    if b"[" in brackets:
        raise Malformed(f"the body nests deeper than {DEEPEST} levels")
    if parts > MOST_PARTS:
        raise Malformed(f"the body has more than {MOST_PARTS} lists and objects", hint="send them in several calls")


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(pairs) > MOST_FIELDS:
        raise Malformed(f"an object has more than {MOST_FIELDS} fields", hint="send a list of pairs, or several calls")
    out = dict(pairs)
    if len(out) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))
        raise Malformed("an object has the same key twice", errors=[Fault(f"$..{twice[:100]!r}", "duplicate key")])
    return out


def _finite(text: str) -> float:
    value = float(text)
    if not isfinite(value):  # `1e999`: a digest of it would be that of null
        raise Malformed(f"`{text[:40]}` is beyond what a number can be")
    return value


def _constant(name: str) -> NoReturn:
    raise Malformed(f"`{name}` is not a JSON number")


_decode_plain = msgspec.json.Decoder().decode
_encode_plain = msgspec.json.Encoder().encode
# made once: making it costs as much as decoding a small body
_decode = json.JSONDecoder(object_pairs_hook=_pairs, parse_constant=_constant, parse_float=_finite).decode


def _named(value: Any) -> str:
    kinds = {"list": "a list", "str": "a text", "int": "a number", "float": "a number", "bool": "true or false"}
    return kinds.get(type(value).__name__, "null")

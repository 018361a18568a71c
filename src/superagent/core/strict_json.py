"""Strict JSON: what a body must be before anything else looks at it (RFC 8259 with I-JSON's limits, RFC 7493)."""

from __future__ import annotations

import json
import re
from math import isfinite
from typing import Any, NoReturn

from superagent.core.problems import Fault, Malformed

DEEPEST = 64
MOST_PARTS = 50_000
"""Lists and objects in one body: each costs a step of ours, and a mebibyte could hold half a million."""

MOST_FIELDS = 1000
"""Fields of one object: what an operation does not know of them is a fault each."""

LONGEST_NUMBER = 400
"""Digits in a row: reading and writing a number takes time with the square of its length."""

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


# made once: making it costs as much as decoding a small body
_decode = json.JSONDecoder(object_pairs_hook=_pairs, parse_constant=_constant, parse_float=_finite).decode


def _named(value: Any) -> str:
    kinds = {"list": "a list", "str": "a text", "int": "a number", "float": "a number", "bool": "true or false"}
    return kinds.get(type(value).__name__, "null")

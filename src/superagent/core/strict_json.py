"""Strict JSON: what a body must be before anything else looks at it (RFC 8259 with I-JSON's limits, RFC 7493)."""

from __future__ import annotations

import json
from typing import Any, NoReturn

from superagent.core.problems import Fault, Malformed

DEEPEST = 64


def parse_object(body: bytes) -> dict[str, Any]:
    """Give the one JSON object a body holds; an empty body is an empty object.

    Raises `Malformed` for anything that is not UTF-8, not one object, has duplicate keys, NaN or infinities, lone
    surrogates, numbers beyond 4,300 digits, or more than 64 levels.
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
    if _too_deep(body):
        raise Malformed(f"the body nests deeper than {DEEPEST} levels")
    try:
        value = json.loads(text, object_pairs_hook=_pairs, parse_constant=_constant)
    except json.JSONDecodeError as bad:
        raise Malformed(f"{bad.msg} at line {bad.lineno}, column {bad.colno}") from None
    except ValueError as bad:
        raise Malformed(str(bad).partition(";")[0]) from None
    if "\\u" in text or "\\U" in text:
        _no_lone_surrogates(value, "$")
    return value


def _too_deep(body: bytes) -> bool:
    """Tell whether brackets nest too deeply; few brackets need no look at which of them stand in texts."""
    if body.count(b"[") + body.count(b"{") <= DEEPEST:
        return False
    depth, inside, skip = 0, False, False
    for byte in body:
        if skip:
            skip = False
        elif inside:
            skip = byte == 0x5C
            inside = byte != 0x22
        elif byte == 0x22:
            inside = True
        elif byte in b"[{":
            depth += 1
            if depth > DEEPEST:
                return True
        elif byte in b"]}":
            depth -= 1
    return False


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    out = dict(pairs)
    if len(out) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))
        raise Malformed("an object has the same key twice", errors=[Fault(f"$..{twice[:100]!r}", "duplicate key")])
    return out


def _constant(name: str) -> NoReturn:
    raise Malformed(f"`{name}` is not a JSON number")


def _no_lone_surrogates(value: Any, path: str) -> None:
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            raise Malformed("a text has half of a surrogate pair", errors=[Fault(path, "lone surrogate")]) from None
    elif isinstance(value, dict):
        for key, one in value.items():  # pyright: ignore[reportUnknownVariableType]
            _no_lone_surrogates(key, path)
            _no_lone_surrogates(one, f"{path}.{key}")
    elif isinstance(value, list):
        for at, one in enumerate(value):  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
            _no_lone_surrogates(one, f"{path}[{at}]")


def _named(value: Any) -> str:
    kinds = {"list": "a list", "str": "a text", "int": "a number", "float": "a number", "bool": "true or false"}
    return kinds.get(type(value).__name__, "null")

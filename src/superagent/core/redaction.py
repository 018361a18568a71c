"""Redaction: take what looks like a secret out of text that will be kept or shown."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, cast

import re2

GONE = "[redacted]"

# each is the published shape of a credential; google-re2 keeps the cost linear in the text whatever it holds
_SHAPES = (
    # a key that was cut off is still a key
    r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY[A-Z ]*-----(?s:.*?)(?:-----END [A-Z0-9 ]*PRIVATE KEY[A-Z ]*-----|\z)",
    r"\bsa[krc]_[A-Za-z0-9_-]{8,}",  # our own keys, refresh tokens and client secrets
    r"(?i:\b(?:bearer|basic)\s+[a-z0-9._~+/=-]{8,})",
    r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{4,}\.[A-Za-z0-9_-]*",  # JSON web tokens
    r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b",
    r"\b(?:gh[pousr]_[A-Za-z0-9]{30,}|github_pat_[A-Za-z0-9_]{20,}|glpat-[A-Za-z0-9_-]{20,})",
    r"\bxox[abeoprs]-[A-Za-z0-9-]{10,}",
    r"\b(?:sk|rk|pk)[-_](?:live_|test_|proj-|ant-)?[A-Za-z0-9_-]{20,}",
    r"\b(?:npm_[A-Za-z0-9]{30,}|pypi-[A-Za-z0-9_-]{30,}|AIza[A-Za-z0-9_-]{30,})",
)
_NAMES = r"(?:pass(?:word|wd|phrase)?|pwd|secret|token|api[_-]?key|private[_-]?key|credentials?|authorization|cookie)"

_SHORT = 32
_engine: Any = re2
_as_bytes: Any = _engine.Options()
_as_bytes.encoding = _as_bytes.Encoding.LATIN1  # positions in bytes need no counting of characters
_shapes: Any = _engine.compile("|".join(_SHAPES).encode(), _as_bytes)
_in_url: Any = _engine.compile(rb"(://)[^/\s@]+@", _as_bytes)
_assigned: Any = _engine.compile(rf"(?i)({_NAMES}[\"']?\s*[=:]\s*)(\"[^\"]*\"|'[^']*'|[^\s,;&]+)".encode(), _as_bytes)
_secret_name: Any = _engine.compile(rf"(?i)(?:^|[_.-])[a-z]*{_NAMES}s?$".encode(), _as_bytes)


def redact_text(text: str, known: tuple[str, ...] = ()) -> str:
    r"""Replace what has the shape of a secret, and each of the `known` values of six characters or more.

    Lone surrogates come out as `\udcNN`, so that the result can always stand in JSON.
    """
    for value in known:
        if len(value) >= 6:  # shorter ones would cut holes into everything
            text = text.replace(value, GONE)
    data = text.encode("utf-8", "backslashreplace")
    if _shapes.search(data):  # a look costs half of what replacing nothing does
        data = _shapes.sub(GONE.encode(), data)
    if b"://" in data:
        data = _in_url.sub(rb"\1" + GONE.encode() + b"@", data)
    if b"=" in data or b":" in data:
        data = _assigned.sub(rb"\1" + GONE.encode(), data)
    return cast(bytes, data).decode()


def redact(value: Any, known: tuple[str, ...] = ()) -> Any:
    """Give the same plain data without its secrets: in texts, and whatever stands under a name like `password`."""
    if isinstance(value, str):
        return redact_text(value, known)
    if isinstance(value, dict):
        entries = cast("dict[Any, Any]", value)
        return {_redact_key(key, known): _redact_entry(key, one, known) for key, one in entries.items()}
    if isinstance(value, list | tuple):
        return [redact(one, known) for one in cast("list[Any]", value)]
    return value


def _redact_key(key: Any, known: tuple[str, ...]) -> Any:
    return key if not known and isinstance(key, str) and len(key) <= _SHORT and _plain(key) else redact(key, known)


def _redact_entry(key: Any, value: Any, known: tuple[str, ...]) -> Any:
    named = isinstance(key, str) and (_names_secret(key) if len(key) <= _SHORT else _says_secret(key))
    return GONE if named and isinstance(value, str | bytes | dict | list | tuple) else redact(value, known)


def _says_secret(key: str) -> bool:
    return bool(_secret_name.search(key.encode("utf-8", "backslashreplace")))


# the names of fields are few and come with each record
_names_secret = lru_cache(maxsize=1024)(_says_secret)


@lru_cache(maxsize=1024)
def _plain(key: str) -> bool:
    return redact_text(key) == key

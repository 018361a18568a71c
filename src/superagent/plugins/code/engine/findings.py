"""Findings of linters, read from what each tool writes: its own JSON, SARIF, or lines of text.

What a tool says is not believed: shapes are checked, places outside of the workspace are counted and left out, texts
are cleaned, and numbers have to be numbers.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, cast

import re2 as _untyped

from .clean import line, within

re2: Any = _untyped  # it comes without types


MOST_FINDINGS = 50_000
MOST_NODES = 1_000_000
"""Values in one document of JSON: each takes up to fifty times as much memory as it has bytes."""

MOST_ROWS = 1_000_000


class Unreadable(Exception):
    """A tool's report is not what it should be."""


def parsed(text: str) -> Any:
    """Give what a document of JSON holds. Raises `ValueError`, also for one of too many values."""
    if sum(map(text.count, ",[{")) > MOST_NODES:
        raise ValueError(f"it holds more than {MOST_NODES} values")
    return json.loads(text)


def rows(text: str) -> list[str]:
    """Give the lines of a report. Raises `ValueError` for too many."""
    if text.count("\n") > MOST_ROWS:
        raise ValueError(f"it has more than {MOST_ROWS} lines")
    return text.removesuffix("\n").replace("\r\n", "\n").split("\n") if text else []


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding; lines and columns count from 1, `fixable` says that the tool knows a fix, `kind` how bad it is."""

    file: str
    line: int | None
    column: int | None
    end_line: int | None
    rule: str
    kind: str
    message: str
    fixable: bool = False
    url: str = ""


@dataclass(frozen=True, slots=True)
class _Raw:
    file: Any
    line: Any = None
    column: Any = None
    end_line: Any = None
    rule: Any = ""
    kind: str = "error"
    message: Any = ""
    fixable: bool = False
    url: Any = ""


def read(form: str, text: str, cwd: str, inside: str) -> tuple[list[Finding], int]:
    """Read a report: the findings in the workspace, and how many lay outside of it. Raises `Unreadable`."""
    reader = _READERS.get(form)
    assert reader is not None, form
    found: list[Finding] = []
    outside = 0
    try:
        for raw in reader(text) if text.strip() else ():
            if len(found) + outside >= MOST_FINDINGS:
                raise Unreadable(f"it has more than {MOST_FINDINGS} findings")
            file = within(raw.file, cwd, inside) if isinstance(raw.file, str) else None
            if file is None:
                outside += 1
                continue
            found.append(
                Finding(
                    file,
                    _number(raw.line),
                    _number(raw.column),
                    _number(raw.end_line),
                    line(raw.rule, 100) if isinstance(raw.rule, str) else "",
                    raw.kind,
                    line(raw.message, 2000) if isinstance(raw.message, str) else "",
                    raw.fixable,
                    raw.url
                    if isinstance(raw.url, str) and raw.url.startswith("https://") and len(raw.url) < 500
                    else "",
                )
            )
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError) as bad:
        raise Unreadable(f"it is not the {form} report that was asked for ({type(bad).__name__})") from None
    return found, outside


def _number(value: Any) -> int | None:
    return value if type(value) is int and 0 < value < 2**31 else None


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError("a list was expected")
    return cast("list[Any]", value)


def _in(value: Any, *keys: str | int) -> Any:
    """Give what lies at the end of a way of keys into JSON, None where the way ends before."""
    for key in keys:
        if isinstance(key, int):
            items = cast("list[Any]", value) if isinstance(value, list) else []
            value = items[key] if key < len(items) else None
        else:
            value = cast("dict[str, Any]", value).get(key) if isinstance(value, dict) else None
    return value


def _ruff(text: str) -> Iterator[_Raw]:
    for one in _list(parsed(text)):
        syntax = one["code"] in (None, "invalid-syntax")
        yield _Raw(
            one["filename"],
            one["location"]["row"],
            one["location"]["column"],
            _in(one, "end_location", "row"),
            one["code"] or "invalid-syntax",
            "error" if syntax or one["code"].startswith(("F", "E9")) else "warning",
            one["message"],
            # what might change what the program does is left alone by `code.fix`
            _in(one, "fix") is not None and _in(one, "fix", "applicability") in (None, "safe"),
            one.get("url") or "",
        )


def _eslint(text: str) -> Iterator[_Raw]:
    for file in _list(parsed(text)):
        for one in file["messages"]:
            yield _Raw(
                file["filePath"],
                one.get("line"),
                one.get("column"),
                one.get("endLine"),
                one.get("ruleId") or "syntax",
                "error" if one["severity"] == 2 else "warning",
                one["message"],
                one.get("fix") is not None,
            )


def _shellcheck(text: str) -> Iterator[_Raw]:
    kinds = {"error": "error", "warning": "warning", "info": "note", "style": "note"}
    for row in filter(None, rows(text)):  # one document a line: many files are given in several calls
        for one in parsed(row)["comments"]:
            yield _Raw(
                one["file"],
                one["line"],
                one["column"],
                one.get("endLine"),
                f"SC{one['code']}",
                kinds.get(one["level"], "warning"),
                one["message"],
                one.get("fix") is not None,
            )


def _sarif(text: str) -> Iterator[_Raw]:
    """SARIF 2.1.0 (OASIS), as far as everybody writes it."""
    kinds = {"error": "error", "warning": "warning", "note": "note", "none": "note"}
    for run in parsed(text)["runs"]:
        for one in _list(_in(run, "results") or []):
            place = _in(one, "locations", 0, "physicalLocation")
            yield _Raw(
                _in(place, "artifactLocation", "uri"),
                _in(place, "region", "startLine"),
                _in(place, "region", "startColumn"),
                _in(place, "region", "endLine"),
                _in(one, "ruleId"),
                kinds.get(_in(one, "level") or "warning", "warning"),
                _in(one, "message", "text"),
                bool(_in(one, "fixes")),
            )


def _cargo(text: str) -> Iterator[_Raw]:
    """Read messages of rustc as cargo passes them on, one JSON object a line."""
    for row in rows(text):
        if not row.startswith("{"):
            continue
        said = parsed(row)
        if said.get("reason") != "compiler-message" or not said["message"]["spans"]:
            continue
        message = said["message"]
        spans = _list(message["spans"])
        span = next((one for one in spans if one["is_primary"]), spans[0])
        yield _Raw(
            span["file_name"],
            span["line_start"],
            span["column_start"],
            span["line_end"],
            _in(message, "code", "code"),
            "error" if message["level"].startswith("error") else "warning",
            message["message"],
            '"suggested_replacement":"' in row,
        )


# RE2, for what a tool writes may be made to keep another engine busy
_LINE = re2.compile(r"(?m)^(?:vet: )?([^:\n]+):([0-9]{1,9}):(?:([0-9]{1,9}):?)? (?:([A-Z]+[0-9]+) )?([^\n]+)")
_BASH = re2.compile(r"(?m)^([^:\n]+): line ([0-9]{1,9})()(): ([^\n]+)")
_PERL = re2.compile(r"(?m)^(.+?)()() at ([^\n]+?) line ([0-9]{1,9})[.,]")
_NODE = re2.compile(r"([^:]+):([0-9]{1,9})")


def _lines(text: str) -> Iterator[_Raw]:
    for found in _LINE.finditer(text):
        file, line, column, rule, message = found.groups()
        yield _Raw(file, int(line), int(column) if column else None, None, rule or "", "error", message)


def _bash(text: str) -> Iterator[_Raw]:
    for found in _BASH.finditer(text):
        yield _Raw(found.group(1), int(found.group(2)), rule="syntax", message=found.group(5))


def _perl(text: str) -> Iterator[_Raw]:
    for found in _PERL.finditer(text):
        yield _Raw(found.group(4), int(found.group(5)), rule="syntax", message=found.group(1))


def _node(text: str) -> Iterator[_Raw]:
    """Read what `node --check` says: the place first, a few lines of the source, then the error."""
    place = None
    for row in rows(text):
        if row.startswith("SyntaxError: ") and place is not None:
            yield _Raw(place[0], int(place[1]), rule="syntax", message=row.removeprefix("SyntaxError: "))
            place = None
        elif place is None and (found := _NODE.fullmatch(row)):
            place = found.group(1), found.group(2)


_READERS: dict[str, Callable[[str], Iterator[_Raw]]] = {
    "ruff": _ruff,
    "eslint": _eslint,
    "shellcheck": _shellcheck,
    "sarif": _sarif,
    "cargo": _cargo,
    "lines": _lines,
    "bash": _bash,
    "node": _node,
    "perl": _perl,
}

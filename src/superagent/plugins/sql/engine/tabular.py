"""Rows as CSV (RFC 4180) and as JSON lines, both ways; pure.

A spreadsheet takes a text that begins with one of a few characters for a formula and runs it when the file is opened
(OWASP, "CSV Injection"). Escaped, such a text gets an apostrophe in front, and so does one that begins with an
apostrophe, so that `unescaped` gives exactly what was there.
"""

from __future__ import annotations

import base64
import binascii
import csv
import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, TextIO, cast

from .values import shown

Format = Literal["csv", "jsonl"]
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20", "'")
_LONGEST = 16 * 1024 * 1024


class Unfit(Exception):
    """A file or a row that cannot be taken as it is."""


@dataclass(frozen=True, slots=True)
class Line:
    """One row of a file: the line that it begins at, its values by column, or why it is none."""

    number: int
    values: dict[str, Any]
    fault: str = ""


def writer(form: Format, columns: list[str], null: str, *, escape: bool) -> tuple[bytes, Callable[[list[Any]], bytes]]:
    """Give what a file begins with, and what turns a row into its bytes. Raises `Unfit`."""
    if len(set(columns)) != len(columns):
        raise Unfit("two columns have the same name; name them apart with `AS`")
    if form == "jsonl":
        return b"", lambda row: _json_line(columns, row)
    head = _csv_line([escaped(one) if escape else one for one in columns])
    return head, lambda row: _csv_line([_text(one, null, escape) for one in row])


def lines(file: TextIO, form: Format, null: str, *, unescape: bool) -> Iterator[Line]:
    """Give the rows of a file. Raises `Unfit` when it cannot be read on."""
    if form == "jsonl":
        yield from _json_lines(file)
    else:
        yield from _csv_lines(file, null, unescape)


def escaped(text: str) -> str:
    """Give a text that no spreadsheet takes for a formula."""
    return f"'{text}" if text.startswith(_FORMULA) else text


def unescaped(text: str) -> str:
    """Give what `escaped` was given."""
    return text.removeprefix("'")


def _text(value: Any, null: str, escape: bool) -> str:
    if value is None:
        return null
    cell = shown(value)
    if isinstance(cell, str):
        text = escaped(cell) if escape and isinstance(value, str) else cell
    elif isinstance(cell, bool):
        text = "true" if cell else "false"
    elif isinstance(cell, int | float):
        text = repr(cell)
    else:  # a document, a list, bytes
        text = json.dumps(cell, ensure_ascii=False)
    if text == null:
        raise Unfit(f"the text {null!r} occurs, which stands for NULL; let `null` be another word")
    return text


def _csv_line(cells: list[str]) -> bytes:
    out = io.StringIO()
    csv.writer(out, lineterminator="\r\n").writerow(cells)
    return out.getvalue().encode("utf-8", "surrogateescape")


def _json_line(columns: list[str], row: list[Any]) -> bytes:
    cells = {name: shown(one) for name, one in zip(columns, row, strict=True)}
    return json.dumps(cells, ensure_ascii=False).encode("utf-8", "surrogateescape") + b"\n"


def _csv_lines(file: TextIO, null: str, unescape: bool) -> Iterator[Line]:
    csv.field_size_limit(_LONGEST)
    reader = csv.reader(file, strict=True)
    try:
        columns = next(reader, None)
        if not columns:
            raise Unfit("the file has no line with the names of its columns")
        columns = [unescaped(one) for one in columns] if unescape else columns
        if len(set(columns)) != len(columns):
            raise Unfit("two columns have the same name")
        begin = reader.line_num + 1
        for cells in reader:
            number, begin = begin, reader.line_num + 1
            if not cells:
                continue  # an empty line
            if len(cells) != len(columns):
                yield Line(number, {}, f"it has {len(cells)} cells and not {len(columns)}")
                continue
            known = [None if one == null else unescaped(one) if unescape else one for one in cells]
            yield Line(number, dict(zip(columns, known, strict=True)))
    except csv.Error as bad:
        raise Unfit(f"line {reader.line_num}: {bad}") from None
    except UnicodeDecodeError:
        raise Unfit(f"after line {reader.line_num} it is no UTF-8") from None


def _json_lines(file: TextIO) -> Iterator[Line]:
    number = 0
    try:
        while text := file.readline(_LONGEST + 1):
            number += 1
            if len(text) > _LONGEST:
                raise Unfit(f"line {number} is longer than {_LONGEST} characters")
            if not text.strip():
                continue
            yield _json_row(number, text)
    except UnicodeDecodeError:
        raise Unfit(f"after line {number} it is no UTF-8") from None


def _json_row(number: int, text: str) -> Line:
    try:
        # numbers stay as they are written: a float would not hold every decimal
        found = json.loads(text, parse_float=_Written, parse_constant=_none_such, object_pairs_hook=_once)
    except (ValueError, RecursionError) as bad:
        return Line(number, {}, f"it is no JSON: {str(bad)[:200]}")
    if not isinstance(found, dict):
        return Line(number, {}, "it is no object")
    try:
        return Line(number, {name: _value(one) for name, one in cast("dict[str, Any]", found).items()})
    except (binascii.Error, ValueError):
        return Line(number, {}, "what it gives as base64 is none")


class _Written(str):
    """A number as it was written."""

    __slots__ = ()


def _value(found: Any) -> Any:
    if isinstance(found, _Written):
        return str(found)
    if isinstance(found, dict):
        own = cast("dict[str, Any]", found)
        if own.keys() == {"base64"} and isinstance(own["base64"], str):
            return base64.b64decode(own["base64"], validate=True)
    return json.dumps(found, ensure_ascii=False) if isinstance(found, dict | list) else found


def _none_such(word: str) -> Any:
    raise ValueError(f"{word} is no number of JSON")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name occurs twice")
    return found

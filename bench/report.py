"""Report: the table that people read, and the history that later runs are compared with."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from bench.rows import Row, nested

HEADS = ("figure", "value", "floor", "verdict", "from", "how to read it")


def number(value: float) -> str:
    """Write a figure with the digits that it deserves."""
    if not math.isfinite(value):
        return "none"
    size = abs(value)
    digits = 0 if size >= 100 or value == int(value) else 1 if size >= 10 else 2 if size >= 1 else 4
    return f"{value:,.{digits}f}"


def table(rows: Sequence[Row]) -> str:
    """Lay the rows out as text, gated ones first, in the order in which they came."""
    ordered = sorted(rows, key=lambda row: row.verdict == "not gated")
    lines = [HEADS, *(cells(row) for row in ordered)]
    widths = [max(len(line[at]) for line in lines) for at in range(len(HEADS))]
    lines.insert(1, tuple("-" * width for width in widths))
    return "\n".join("  ".join(map(aligned, line, widths, range(len(HEADS)))).rstrip() for line in lines)


def aligned(cell: str, width: int, column: int) -> str:
    """Fill a cell up to its column's width; the column of the values stands to the right."""
    return cell.rjust(width) if HEADS[column] == "value" else cell.ljust(width)


def cells(row: Row) -> tuple[str, ...]:
    """Give the cells of one row."""
    verdict = "" if row.verdict == "not gated" else row.verdict
    return (row.name, f"{number(row.value)} {row.unit}".rstrip(), row.limit, verdict, row.source, row.note)


def document(
    rows: Sequence[Row], at: datetime, commit: str, dirty: bool, machine: dict[str, Any], raw: dict[str, Any]
) -> dict[str, Any]:
    """Give a run as the history holds it."""
    return {
        "at": at.isoformat(timespec="seconds"),
        "commit": commit,
        "dirty": dirty,
        "machine": machine,
        "figures": nested(list(rows)),
        "rows": [row.document() for row in rows],
        "raw": raw,
    }


def keep(folder: Path, run: dict[str, Any], at: datetime) -> Path:
    """Add a run to the history, never over another one; gives the file. Names sort by time."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{at:%Y-%m-%dT%H-%M-%S}-{run['commit']}.json"
    with file.open("x", encoding="utf-8") as out:
        json.dump(run, out, ensure_ascii=False, indent=1)
        out.write("\n")
    return file

"""Proof: print each promise with its tests, its real counterpart, what is open and its latest figure (`make proof`)."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

from rich.console import Console
from rich.table import Table

from tests.promise import ROOT, proofs, read_table


def main() -> int:
    """Print the table; ends with 1 when a row has no test."""
    console, found = Console(), proofs()
    figures = latest_figures(ROOT / "bench" / "history")
    table = Table(title="What is promised, and what shows it", show_lines=True)
    for head in ("row", "claim", "tests", "shown against", "not verified", "figure"):
        table.add_column(head, overflow="fold")
    rows = read_table()
    for row in rows:
        figure = "" if row.bench is None else figures.get(row.bench, "not measured here")
        tests = "\n".join(found.get(row.id, ["NONE"]))
        table.add_row(row.id, row.claim, tests, row.counterpart, row.not_verified or "nothing", figure)
    console.print(table)
    bare = [row.id for row in rows if row.id not in found]
    console.print(
        f"{len(rows)} rows, {sum(map(len, found.values()))} marks" + (f", without a test: {bare}" if bare else "")
    )
    return 1 if bare else 0


def latest_figures(folder: Path) -> dict[str, str]:
    """Read the newest run's figures by dotted key; empty when nothing was measured yet. File names sort by time."""
    files = sorted(folder.glob("*.json"))
    return dict(_flat(json.loads(files[-1].read_text("utf-8"))["figures"])) if files else {}


def _flat(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key, inner in cast(dict[str, Any], value).items():
            yield from _flat(inner, f"{name}.{key}".lstrip("."))
    else:
        yield name, f"{value:.4g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    sys.exit(main())

"""Kept: the figures that the docs show and CI compares with, each from the run that measured it last."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from bench.rows import Row

FILE = Path(__file__).parent / "kept.json"
MACHINE = ("processor", "cores", "stolen", "load")
WORSE = 1.25
"""A ratio of CPU time above the kept one by more than this is said to be worse."""


def take(rows: Sequence[Row], run: dict[str, Any], file: Path = FILE) -> None:
    """Put the figures of a run in the place of the kept ones of the same names; the others stay."""
    kept = read(file)
    about = {name: run[name] for name in ("at", "commit")} | {name: run["machine"][name] for name in MACHINE}
    for row in rows:
        kept[row.name] = {**row.document(), "run": about}
    file.write_text(json.dumps(kept, ensure_ascii=False, indent=1) + "\n", "utf-8")


def read(file: Path = FILE) -> dict[str, dict[str, Any]]:
    """Give the kept figures by name; none when nothing was kept."""
    return json.loads(file.read_text("utf-8")) if file.exists() else {}


def worse(rows: Sequence[Row], file: Path = FILE) -> Iterator[str]:
    """Say of each ratio of CPU time by how much it is worse than the kept one, if by more than a quarter.

    Only those: two measured in one round are disturbed alike, and everything else belongs to a machine and an hour.
    """
    kept = read(file)
    for row in rows:
        before = kept.get(row.name, {}).get("value")
        if before and of_cpu(row.name) and row.value > before * WORSE:
            above = row.value / before - 1
            yield f"FLAG: {row.name} is {row.value:.3g}, {above:.0%} above the {before:.3g} that was kept"


def of_cpu(name: str) -> bool:
    """Tell whether a figure is a ratio of CPU time."""
    return ".cpu_over_" in name or name.startswith("direct.over_starlette") or name == "audit.indexed_over_written"

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


def worse(rows: Sequence[Row], processor: str, file: Path = FILE) -> Iterator[str]:
    """Say of each ratio of CPU time by how much it is worse than the kept one, if by more than a quarter.

    Only those: two measured in one round are disturbed alike, and everything else belongs to a machine and an hour.
    And only where the kept one is of the same `processor`: another kind runs Python and nginx at other speeds.
    """
    kept = read(file)
    compared = [(row, kept[row.name]) for row in rows if of_cpu(row.name) and row.name in kept]
    for row, before in compared:
        value = before["value"]
        if before["run"]["processor"] == processor and row.value > value * WORSE:
            above = row.value / value - 1
            yield f"FLAG: {row.name} is {row.value:.3g}, {above:.0%} above the {value:.3g} that was kept"
    if others := {before["run"]["processor"] for _, before in compared} - {processor}:
        yield f"kept figures are of another processor ({', '.join(sorted(others))}): nothing here is compared with them"


def explained(rows: Sequence[Row], processor: str, file: Path = FILE) -> Iterator[str]:
    """Say what to do about floors that were missed; nothing where none was."""
    if missed := [row.name for row in rows if row.verdict == "MISSED"]:
        kept = read(file)
        held = sum(kept.get(name, {}).get("verdict") == "met" for name in missed)
        machines = ", ".join(sorted({one["run"]["processor"] for one in kept.values()})) or "none"
        yield f"MISSED {len(missed)}; of these {held} were met by the figures kept of {machines}; this is {processor}."
        yield "Look them up in docs/reference/measured.md. The same processor, and met there: measure again while the"
        yield "machine is quiet, then look for what became slower. Another processor: compare two commits here instead."


def of_cpu(name: str) -> bool:
    """Tell whether a figure is a ratio of CPU time."""
    return ".cpu_over_" in name or name.startswith("direct.over_starlette") or name == "audit.indexed_over_written"

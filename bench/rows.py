"""Rows: one measured figure each, with the floor it is held to, if any."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

Verdict = Literal["met", "MISSED", "not gated"]


@dataclass(frozen=True, slots=True)
class Row:
    """One figure of a run.

    `name` is a dotted key (`whoami.rps_over_nginx`) and stays the same for ever: the history is read by it.
    `at_least` and `at_most` are the floor and the ceiling; with neither the row only informs. `source` says where the
    limit comes from, `note` what one must know to read the figure.
    """

    name: str
    value: float
    unit: str = ""
    at_least: float | None = None
    at_most: float | None = None
    source: str = ""
    note: str = ""

    @property
    def verdict(self) -> Verdict:
        """Say whether the limit is kept; a figure that is not a number never keeps one."""
        if self.at_least is None and self.at_most is None:
            return "not gated"
        above = self.at_least is None or self.value >= self.at_least
        below = self.at_most is None or self.value <= self.at_most
        return "met" if above and below else "MISSED"

    @property
    def limit(self) -> str:
        """Write the limit as people do; empty when there is none."""
        parts = [f"≥ {self.at_least:g}"] if self.at_least is not None else []
        parts += [f"≤ {self.at_most:g}"] if self.at_most is not None else []
        return " and ".join(parts)

    def document(self) -> dict[str, Any]:
        """Give the row as JSON holds it; what is not set is left out."""
        fields: dict[str, Any] = {"name": self.name, "value": self.value, "unit": self.unit, "verdict": self.verdict}
        optional = {"at_least": self.at_least, "at_most": self.at_most, "source": self.source, "note": self.note}
        return fields | {name: value for name, value in optional.items() if value not in (None, "")}


def nested(rows: list[Row]) -> dict[str, Any]:
    """Give the values by their dotted names as nested objects, for whoever looks one up by key."""
    tree: dict[str, Any] = {}
    for row in rows:
        *folders, leaf = row.name.split(".")
        place = tree
        for folder in folders:
            place = place.setdefault(folder, {})
        place[leaf] = row.value
    return tree

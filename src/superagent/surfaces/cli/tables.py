"""Tables: lists for people, as many columns as there is room for; what may be copied is never broken over two lines."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, cast

from superagent.core.neutral import neutral_line
from superagent.core.problems import Problem
from superagent.surfaces.cli.terminal import Screen

BLANK: tuple[Any, ...] = (None, "", [], {})
_COLUMNS: dict[str, tuple[str, ...]] = {
    "agents": ("id", "role", "state", "workspace", "owner", "created_at", "kind", "parent", "budget"),
    "changes": ("path", "kind", "conflict", "refused", "notes", "by_name_only"),
    "grants": ("id", "words"),
    "jobs": ("invocation", "operation", "state", "owner", "at", "ended", "started", "name", "schedule", "retry_of"),
    "keys": ("id", "name", "label", "role", "revoked_at", "expires_at", "last_used_at", "created_by", "created_at"),
    "operations": ("name", "effect", "risk", "undo", "summary"),
    "plugins": ("name", "state", "why", "operations", "summary", "version", "reaches", "calls", "extras", "quality"),
    "processes": ("pid", "user", "state", "cpu_s", "memory_bytes", "command", "parent", "threads", "started"),
    "records": ("at", "kind", "who", "operation", "status", "problem", "invocation", "resources"),
    "versions": ("number", "author", "at", "reason"),
    "waiting": ("id", "operation", "requester", "resources", "reason", "until", "approvals_needed", "ahead"),
}
"""What a list of this name shows, the most telling first: what has no room falls away from the end.

Every other list shows all that its entries have.
"""
_OF_ENTRIES: dict[str, tuple[str, ...]] = {
    "invocation": ("invocation", "operation", "state", "resource", "principal", "at", "effect", "session", "until"),
}
"""The same for `entries`, of which there are several kinds, by a field that only one has."""
_LONGEST_CELL = 2000
_TIMES = frozenset({"at", "since", "until", "started", "ended", "due"})
_WHOLE = 40
"""What is no longer than this and has no gap is shown whole: an id, a name, a time."""
_LEAST = 20
"""What is longer is wrapped, and at least so wide."""
_GAP = 2


def show_table(screen: Screen, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Show a list; on a terminal that is too narrow for all of it, say which columns are left out."""
    from rich.table import Table

    rows = [_worded(row) for row in rows]
    chosen = _columns(name, rows)
    shown = [one for one in chosen if any(row.get(one) not in BLANK for row in rows)] or chosen
    cells = [[cell(column, row.get(column)) for column in shown] for row in rows]
    natural = [max(len(shown[at]), *(len(row[at]) for row in cells)) for at in range(len(shown))]
    whole = [
        size <= _WHOLE and (_is_time(column) or not any(" " in row[at] for row in cells))
        for at, (column, size) in enumerate(zip(shown, natural, strict=True))
    ]
    least = [size if one else min(size, _LEAST) for size, one in zip(natural, whole, strict=True)]
    fits = _fitting(least, screen.columns)
    table = Table(box=None, pad_edge=False, header_style="bold", title=None)
    for at in range(fits):
        table.add_column(_text(shown[at]), overflow="fold", no_wrap=whole[at], min_width=least[at])
    for row in cells:
        table.add_row(*(_text(one) for one in row[:fits]))
    screen.out.print(table)
    if fits < len(shown):
        left = ", ".join(neutral_line(one) for one in shown[fits:])
        screen.note(f"no room for {left}: a wider terminal shows them, and --json has all")


def cell(name: str, value: Any) -> str:
    """Give a value on one line: times as such (UTC), lists with commas, objects as JSON."""
    if value is None or value == []:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float) and value > 1e8 and _is_time(name):
        return f"{datetime.fromtimestamp(value, UTC):%Y-%m-%d %H:%M:%S}Z"
    if isinstance(value, list):
        return ", ".join(cell(name, _resource(one)) for one in cast("list[Any]", value))
    if isinstance(value, str):
        return neutral_line(value)
    text = json.dumps(value, ensure_ascii=False)
    if len(text) > _LONGEST_CELL:  # an input can hold a whole file
        text = f"{text[:_LONGEST_CELL]} … ({len(text)} characters, all of them with --json)"
    return neutral_line(text)


def _columns(name: str, rows: Sequence[Mapping[str, Any]]) -> Sequence[str]:
    names = list(dict.fromkeys(column for row in rows for column in row))
    if "words" in names and "grant" in names:
        names.remove("grant")  # the words say it
    wanted = _COLUMNS.get(name, ())
    if name == "entries":
        wanted = next((columns for field, columns in _OF_ENTRIES.items() if field in names), ())
    return [one for one in wanted if one in names] or names


def _fitting(least: Sequence[int], room: int) -> int:
    """Give how many columns fit beside each other, at least two."""
    fits = len(least)
    while fits > 2 and sum(least[:fits]) + _GAP * (fits - 1) > room:
        fits -= 1
    return fits


def _worded(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """Say a grant in words: as JSON it fills the screen."""
    grant = row.get("grant")
    if not isinstance(grant, dict) or "words" in row:
        return row
    from superagent.core.grants import Grant  # takes a while to load, and few lists hold grants
    from superagent.core.policy_text import words

    try:
        return {**row, "words": words(Grant.model_validate(grant))}
    except (Problem, ValueError):  # of a newer server
        return {**row, "words": json.dumps(grant, ensure_ascii=False)}


def _is_time(name: str) -> bool:
    return name.rpartition("_")[2] in _TIMES


def _resource(one: Any) -> Any:
    # the audit writes a resource as a pair of its id and the effect
    if isinstance(one, list) and len(pair := cast("list[Any]", one)) == 2:
        return f"{pair[0]} {pair[1]}"
    return cast(Any, one)


def _text(text: str) -> Any:
    from rich.text import Text

    return Text(neutral_line(text))

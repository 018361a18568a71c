"""Folders of Alembic: a revision is a program and never runs here; what is read is the SQL that Alembic made of it.

Whoever has the folder renders it, contained: `upgrade.sql` and `downgrade.sql` beside `env.py`. They are split at
Alembic's own marks, and hold if they name the very revisions that lie in `versions`, one after the other; pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

UP, DOWN = "upgrade.sql", "downgrade.sql"
BOOK = "alembic_version"
"""The table in which Alembic keeps which revision a database has; its statements stand in what it renders."""

CURE = (
    "render them, contained: `shell.run` with `alembic upgrade head --sql > upgrade.sql` and"
    " `alembic downgrade head:base --sql > downgrade.sql`, both beside `env.py`"
)
_MARK = re.compile(r"-- Running (?P<way>upgrade|downgrade) (?P<one>\w{0,64}) -> ?(?P<other>\w{0,64}) ?\r?")
_SAID = re.compile(r"""^(?P<name>revision|down_revision)\b[^=\n]*=[ \t]*(?P<value>[^#\n]*)""", re.MULTILINE)
_ID = re.compile(r"[A-Za-z0-9_]{1,64}")


class Unrendered(Exception):
    """What was rendered is not what lies there; `hint` says what to do."""

    def __init__(self, message: str, hint: str = CURE) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


@dataclass(frozen=True, slots=True)
class Revision:
    """What one revision does, in SQL; `down` is None where that was not rendered."""

    id: str
    up: str
    down: str | None


def revisions(programs: Iterable[str], up: str, down: str | None) -> list[Revision]:
    """Give the revisions in order, from the texts of their programs and what was rendered. Raises `Unrendered`."""
    chain = _chain(dict(_said(program) for program in programs))
    ups, downs = _sections(up, "upgrade"), None if down is None else _sections(down, "downgrade")
    steps = list(zip(("", *chain), chain, strict=False))
    if list(ups) != steps:
        raise Unrendered(f"`{UP}` is not of the revisions in `versions`")
    if downs is not None and list(downs) != [(one, before) for before, one in reversed(steps)]:
        raise Unrendered(f"`{DOWN}` is not of the revisions in `versions`")
    made: list[Revision] = []
    for before, one in steps:
        back = None if downs is None else downs[one, before]
        if back is not None and not before:
            back += f"\nDROP TABLE {BOOK};"  # the first one makes it
        made.append(Revision(one, ups[before, one], back))
    return made


def _said(program: str) -> tuple[str, str]:
    """Give the id of a revision and of the one before it, empty for none: as they stand there in so many words."""
    found = {one["name"]: one["value"].strip() for one in _SAID.finditer(program)}
    id, before = _word(found.get("revision", "")), found.get("down_revision", "")
    if not id:
        raise Unrendered("a file in `versions` does not say which revision it is", 'write `revision = "…"`')
    if before == "None":
        return id, ""
    if not _word(before):
        raise Unrendered(f"`{id}` does not follow one other revision", "branches and merges are not taken")
    return id, _word(before)


def _word(text: str) -> str:
    bare = text[1:-1] if len(text) > 2 and text[0] == text[-1] and text[0] in "'\"" else ""
    return bare if _ID.fullmatch(bare) else ""


def _chain(before: dict[str, str]) -> list[str]:
    after = {one: id for id, one in before.items()}
    chain: list[str] = []
    at = after.get("", "")
    while at and at not in chain:
        chain.append(at)
        at = after.get(at, "")
    if not chain or len(chain) != len(before):
        raise Unrendered("the revisions in `versions` are not one after the other", "branches are not taken")
    return chain


def _sections(text: str, way: str) -> dict[tuple[str, str], str]:
    """Split at the marks; what stands before the first one is of the first."""
    found: dict[tuple[str, str], list[str]] = {}
    ahead: list[str] = []
    lines = ahead
    for line in text.split("\n"):  # and nowhere else: what stands in a value stays as it is
        mark = _MARK.fullmatch(line)
        if mark is None:
            lines.append(line)
            continue
        place = mark["one"], mark["other"]
        if mark["way"] != way or place in found:
            raise Unrendered(f"what was rendered goes {mark['way']} from `{place[0]}` to `{place[1]}` once too often")
        lines = found[place] = [] if found else _bare(ahead)
    return {place: "\n".join(_bare(lines)) for place, lines in found.items()}


def _bare(lines: list[str]) -> list[str]:
    """Leave out the transaction around them: the line of all migrations has its own."""
    made = [*lines]
    while made and made[0].strip() in ("", "BEGIN;"):
        made.pop(0)
    while made and made[-1].strip() in ("", "COMMIT;", "BEGIN;"):
        made.pop()
    return made

"""Choosing a tool: what the caller names, else what the project is configured for, else the first that is there."""

from __future__ import annotations

import re
from dataclasses import dataclass

from superagent.sdk import Command, Context, InvalidInput, NotFound, Unavailable

from .engine import looking
from .engine.table import Purpose, Table, ToolRow, table
from .line import INSIDE, Place, Tool, run

LOOK_S = 20.0
_BLANK = re.compile(r"\{([a-z]+)\}")


@dataclass(frozen=True, slots=True)
class Chosen:
    """A tool for a language, where its program lies inside, the project's folder, and why it was chosen."""

    row: ToolRow
    program: str
    cwd: str
    why: str
    language: str
    is_folder: bool

    @property
    def shown(self) -> Tool:
        """Give it as the caller sees it."""
        return Tool(name=self.row.name, path=self.program, why=self.why)

    def words(self, words: tuple[str, ...], **values: str) -> list[str]:
        """Fill in words of the table, each once: what is filled in may look like more to fill in."""
        known = {"program": self.program, "cwd": self.cwd, **values}
        return [_BLANK.sub(lambda found: known.get(found[1], found[0]), word) for word in words]

    @property
    def env(self) -> dict[str, str]:
        """Give the variables that it is run with."""
        return {name: value.replace("{cwd}", self.cwd) for name, value in self.row.env.items()}


async def choose(
    ctx: Context, purpose: Purpose, place: Place | None, *, tool: str | None = None, language: str | None = None
) -> Chosen:
    """Choose the tool for a path, or for content in a language (`place` None).

    Raises `Unavailable` with how to install it where none is there, `InvalidInput` where there is nothing to choose
    from, `NotFound` for a path that is not there.
    """
    known = table()
    target = INSIDE if place is None else place.inside
    rows = _candidates(known, purpose, place, tool, language)
    languages = [known.languages[name] for name in dict.fromkeys(name for row in rows for name in row.languages)]
    ran = await run(
        ctx,
        Command(
            ["sh", "-c", looking.SCRIPT],
            profile="read-only",
            env=looking.variables(target, INSIDE, rows, languages),
            timeout_s=LOOK_S,
            inline_bytes=1024 * 1024,
        ),
    )
    seen = looking.read(ran.stdout.text)
    if place is not None and not seen.kind:
        raise NotFound(f"there is no `{place.path}`")
    name = _language(known, purpose, place, language, rows, seen)
    rows = [row for row in rows if name in row.languages]
    row, why = _best(rows, seen, tool)
    folder = place is None or seen.kind == "folder"
    marked = [where for mark in known.languages[name].markers for where in seen.marks.get(mark, [])]
    configured = seen.configured(row)
    if configured is not None:
        marked.append(configured[1])
    cwd = max(marked, key=len, default=target if folder else target.rpartition("/")[0])
    if purpose == "run":
        cwd = INSIDE
    return Chosen(row, seen.where(row), cwd, f"{name}: {why}", name, folder)


def _candidates(
    known: Table, purpose: Purpose, place: Place | None, tool: str | None, language: str | None
) -> list[ToolRow]:
    """Give the tools that may be meant."""
    if tool is not None:
        rows = known.named(purpose, tool)
        if not rows:
            names = sorted({one.name for one in known.tools if purpose in one.does})
            raise InvalidInput(f"no tool `{tool}` is known to {purpose} code", hint=f"they are {', '.join(names)}")
        return rows
    name = language or (known.language_of(place.inside) if place is not None else "")
    if language is not None and language not in known.languages:
        raise InvalidInput(
            f"the language `{language[:40]}` is not known", hint=f"they are {', '.join(known.languages)}"
        )
    rows = known.of(purpose, name) if name else [one for one in known.tools if purpose in one.does]
    if not rows:
        able = sorted({one for row in known.tools if purpose in row.does for one in row.languages})
        raise InvalidInput(f"no tool to {purpose} {name} is known", hint=f"it can be done for {', '.join(able)}")
    return rows


def _language(
    known: Table,
    purpose: Purpose,
    place: Place | None,
    language: str | None,
    rows: list[ToolRow],
    seen: looking.Seen,
) -> str:
    """Say in which language the target is written: as said, by its name, or by the nearest mark of a project."""
    if language is not None:
        return language
    by_name = known.language_of(place.inside) if place is not None else ""
    if by_name and seen.kind == "file":
        return by_name
    able = dict.fromkeys(name for row in rows for name in row.languages)
    nearest: tuple[int, str] | None = None
    for name in able:
        depths = [len(where) for mark in known.languages[name].markers for where in seen.marks.get(mark, [])]
        depths += [len(found[1]) for row in rows if name in row.languages and (found := seen.configured(row))]
        if depths and (nearest is None or max(depths) > nearest[0]):
            nearest = (max(depths), name)
    if nearest is not None:
        return nearest[1]
    if len(able) == 1:
        return next(iter(able))
    marks = sorted({mark for name in able for mark in known.languages[name].markers})
    raise InvalidInput(
        f"`{place.path if place else ''}` does not say in which language it is",
        hint=f"give `language`, or put one of {', '.join(marks)} into the project",
    )


def _best(rows: list[ToolRow], seen: looking.Seen, tool: str | None) -> tuple[ToolRow, str]:
    """Give the tool and why; a tool that the project asks for is never replaced by another one."""
    for row in rows:
        configured = seen.configured(row)
        if configured is None and tool is None:
            continue
        if not seen.where(row):
            asked = "the call names it" if configured is None else f"`{configured[0]}` in `{configured[1]}` asks for it"
            raise Unavailable(f"`{row.name}` is not installed where commands run, and {asked}", hint=row.install)
        why = "named by the call" if configured is None else f"`{configured[0]}` in `{configured[1]}` configures it"
        return row, f"{why}; {_whose(seen.where(row))}"
    for row in rows:
        if seen.where(row):
            first = "the first of the table" if row is rows[0] else f"{rows[0].name} is not there, {row.name} is"
            return row, f"the project names none, {first}; {_whose(seen.where(row))}"
    names = " or ".join(f"`{row.name}`" for row in rows)
    raise Unavailable(
        f"none of what does this is installed where commands run: {names}",
        hint="; ".join(dict.fromkeys(row.install for row in rows)) + ". Only `/usr` and the workspace are seen inside",
    )


def _whose(program: str) -> str:
    return "the project's own" if program.startswith(INSIDE + "/") else "the machine's"

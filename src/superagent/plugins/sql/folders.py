"""Folders of migrations in the caller's workspace: `NNN_name.up.sql` and `NNN_name.down.sql`, or those of Alembic."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from superagent.sdk import Context, InvalidInput, Unavailable

from .rendered import BOOK, CURE, DOWN, UP, Revision, Unrendered, revisions

MOST_FILES = 2000
_NAME = re.compile(r"(\d{1,14})_([A-Za-z0-9][A-Za-z0-9_-]{0,150})\.(up|down)\.sql")
_ALEMBIC = frozenset({"alembic.ini", "env.py", "script.py.mako", "versions"})


@dataclass(frozen=True, slots=True)
class Script:
    """One migration as it is written; `down` is None where nobody wrote it.

    `book` is the table in which the tool that wrote it keeps its versions, empty for none.
    """

    number: str
    name: str
    up: str
    down: str | None
    book: str = ""

    @property
    def digest(self) -> str:
        """Name its texts."""
        parts = (self.number, self.up, "-" if self.down is None else f"+{self.down}")
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()


async def scripts(ctx: Context, folder: str) -> list[Script]:
    """Read the migrations of a folder, in order.

    Raises `InvalidInput`, and `Unavailable` for those of Alembic that were not rendered, or not as they are.
    """
    found = await ctx.files.list(folder)
    names = {one.name for one in found}
    if names & _ALEMBIC and not any(_NAME.fullmatch(one) for one in names):
        return await _of_alembic(ctx, folder.rstrip("/"), names)
    texts: dict[int, dict[str, tuple[str, str]]] = {}
    for one in found:
        match = _NAME.fullmatch(one.name)
        if match is None:
            if one.name.endswith(".sql"):
                raise InvalidInput(f"`{one.name}` is no migration", hint="they are named `NNN_name.up.sql`")
            continue
        ways = texts.setdefault(int(match[1]), {})
        if match[3] in ways:
            raise InvalidInput(f"two files have the number {int(match[1])}")
        ways[match[3]] = match[2], await _text(ctx, f"{folder.rstrip('/')}/{one.name}")
    if not texts or len(texts) > MOST_FILES:
        raise InvalidInput(f"`{folder}` holds no migrations, or too many", hint="they are named `NNN_name.up.sql`")
    return [_script(number, ways) for number, ways in sorted(texts.items())]


async def _of_alembic(ctx: Context, folder: str, names: set[str]) -> list[Script]:
    if UP not in names or "versions" not in names:
        raise Unavailable("migrations of Alembic are programs in Python, which do not run in this server", hint=CURE)
    listed = [one.name for one in await ctx.files.list(f"{folder}/versions") if one.name.endswith(".py")]
    if len(listed) > MOST_FILES:
        raise InvalidInput(f"`{folder}` holds too many migrations")
    programs = [await _text(ctx, f"{folder}/versions/{name}") for name in sorted(listed)]
    up = await _text(ctx, f"{folder}/{UP}")
    down = await _text(ctx, f"{folder}/{DOWN}") if DOWN in names else None
    try:
        found: list[Revision] = revisions(programs, up, down)
    except Unrendered as bad:
        raise Unavailable(bad.message, hint=bad.hint) from None
    return [Script(f"{at:04d}", one.id, one.up, one.down, BOOK) for at, one in enumerate(found, 1)]


def _script(number: int, ways: dict[str, tuple[str, str]]) -> Script:
    if "up" not in ways:
        raise InvalidInput(f"the migration {number} says only how it is taken out")
    if "down" in ways and ways["down"][0] != ways["up"][0]:
        raise InvalidInput(f"the two files of the migration {number} have different names")
    return Script(f"{number:04d}", ways["up"][0], ways["up"][1], ways["down"][1] if "down" in ways else None)


async def _text(ctx: Context, path: str) -> str:
    try:
        return (await ctx.files.read(path)).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InvalidInput(f"`{path}` is no UTF-8") from None

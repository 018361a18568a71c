"""Folders of migrations in the caller's workspace: `NNN_name.up.sql` and `NNN_name.down.sql`, in order."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from superagent.sdk import Context, InvalidInput, Unavailable

MOST_FILES = 2000
_NAME = re.compile(r"(\d{1,14})_([A-Za-z0-9][A-Za-z0-9_-]{0,150})\.(up|down)\.sql")
_ALEMBIC = frozenset({"alembic.ini", "env.py", "script.py.mako", "versions"})
_CURE = (
    "have it say its SQL, contained: `shell.run` with `alembic upgrade --sql <from>:<to>`; save that as "
    "`NNN_name.up.sql`, and `alembic downgrade --sql` as `NNN_name.down.sql`"
)


@dataclass(frozen=True, slots=True)
class Script:
    """One migration as it is written; `down` is None where nobody wrote it."""

    number: str
    name: str
    up: str
    down: str | None

    @property
    def digest(self) -> str:
        """Name its texts."""
        parts = (self.number, self.up, "-" if self.down is None else f"+{self.down}")
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()


async def scripts(ctx: Context, folder: str) -> list[Script]:
    """Read the migrations of a folder, in order. Raises `InvalidInput`, and `Unavailable` for those of Alembic."""
    found = await ctx.files.list(folder)
    names = {one.name for one in found}
    if names & _ALEMBIC and not any(_NAME.fullmatch(one) for one in names):
        raise Unavailable("migrations of Alembic are programs in Python, which do not run in this server", hint=_CURE)
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

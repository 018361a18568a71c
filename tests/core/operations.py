"""A handful of operations of every shape, for tests of what judges and lists operations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from superagent.core.operation import Declared, Operation, Output, Preview, compile_operation
from superagent.core.plugin import Plugin
from superagent.core.principal import Principal
from superagent.core.resources import Connection, DestroyPath, Effect, ReadPath, Resource, Risk, Url, WritePath

plugin = Plugin("notes")


class Text(Output):
    text: str


async def _undo(ctx: Any, kept: Any) -> None: ...


async def _preview(ctx: Any, path: DestroyPath) -> Preview:
    return Preview(summary="would go")


@plugin.operation(risk=Risk.LOW)
async def read(ctx: Any, path: ReadPath) -> Text:
    """Read a note."""
    return Text(text=path)


@plugin.operation(risk=Risk.MEDIUM, undo=_undo)
async def write(
    ctx: Any, path: WritePath, mode: str = "text", count: int = 0, force: bool = False, from_: str | None = None
) -> Text:
    """Write a note; it can be taken back."""
    return Text(text=path)


@plugin.operation(risk=Risk.HIGH, irreversible="it is gone")
async def drop(ctx: Any, path: DestroyPath) -> Text:
    """Destroy a note for good."""
    return Text(text=path)


drop.preview(_preview)


@plugin.operation(risk=Risk.HIGH, undo=_undo)
async def bin(ctx: Any, path: DestroyPath) -> Text:
    """Move a note to the bin, from which it comes back."""
    return Text(text=path)


bin.preview(_preview)


@plugin.operation(risk=Risk.MEDIUM, undo=_undo)
async def copy(ctx: Any, source: ReadPath, target: WritePath) -> Text:
    """Copy a note."""
    return Text(text=target)


@plugin.operation(risk=Risk.CRITICAL, irreversible="everything changes")
async def burn(ctx: Any, path: WritePath) -> Text:
    """Change a note in the worst way."""
    return Text(text=path)


@plugin.operation(name="web.fetch", risk=Risk.HIGH, irreversible="it was sent")
async def fetch(ctx: Any, url: Url) -> Text:
    """Call a server."""
    return Text(text=url)


@plugin.operation(name="db.run", risk=Risk.MEDIUM, effect=Effect.CHANGE, irreversible="rows change")
async def run(ctx: Any, connection: Connection, statement: str = "") -> Text:
    """Run a statement: the connection is only read, what lies behind it changes."""
    return Text(text=connection)


@plugin.operation(name="self.whoami", risk=Risk.LOW, effect=Effect.READ)
async def whoami(ctx: Any) -> Text:
    """Say who asks."""
    return Text(text="")


@plugin.operation(name="self.rename", risk=Risk.LOW, effect=Effect.CHANGE, undo=_undo)
async def rename(ctx: Any, name: str) -> Text:
    """Take another name, which names no resource."""
    return Text(text=name)


@plugin.operation(name="platform.set", risk=Risk.HIGH, effect=Effect.CHANGE, scope="instance", undo=_undo)
async def set_(ctx: Any, name: str) -> Text:
    """Set something for the whole installation."""
    return Text(text=name)


def _also(values: dict[str, Any], workspace: str) -> list[Resource]:
    return [Resource("sql", "orders-db", "public.orders", Effect.READ)]


@plugin.operation(name="db.report", risk=Risk.LOW, effect=Effect.READ)
async def report(ctx: Any) -> Text:
    """Read what a hook names."""
    return Text(text="")


report.touches(_also)

DECLARED: tuple[Declared, ...] = (
    read, write, drop, bin, copy, burn, fetch, run, whoami, rename, set_, report,
)  # fmt: skip
OPERATIONS: dict[str, Operation] = {one.name: one for one in map(compile_operation, DECLARED)}


def operation(name: str) -> Operation:
    """Give one of them."""
    return OPERATIONS[name]


def person(name: str = "ann", *roles: str, **rest: Any) -> Principal:
    """Give a human of the tenant `default`."""
    return Principal(name, "human", "default", roles, **rest)


def agent(name: str = "bot", *roles: str, workspace: str = "", **rest: Any) -> Principal:
    """Give an agent of the tenant `default`."""
    return Principal(name, "agent", "default", roles, workspace=workspace, **rest)


Make = Callable[..., Principal]

"""A plugin over notes in a dictionary: the smallest thing that can be read, changed, destroyed, kept and put back."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from typing import Annotated, Any

from superagent.sdk import (
    Context,
    Effect,
    Internal,
    Kept,
    NotFound,
    Output,
    Plugin,
    Preview,
    Resource,
    Risk,
    Touches,
    put_back,
)

ReadNote = Annotated[str, Touches("connection", Effect.READ)]
WriteNote = Annotated[str, Touches("connection", Effect.CHANGE)]
DestroyNote = Annotated[str, Touches("connection", Effect.DESTROY)]


class Note(Output):
    name: str
    text: str


class Names(Output):
    names: list[str]


class Tick(Output):
    number: int


class NoteKeeper:
    """Keep notes."""

    def __init__(self, notes: dict[str, str]) -> None:
        self.notes = notes

    async def keep(self, ctx: Any, resource: Resource) -> tuple[dict[str, Any], str, int]:
        text = self.notes.get(resource.path)
        return {"text": text}, await self.digest(ctx, resource), len(text or "")

    async def digest(self, ctx: Any, resource: Resource) -> str:
        return hashlib.sha256(repr(self.notes.get(resource.path)).encode()).hexdigest()

    async def settle(
        self, ctx: Any, resource: Resource, data: dict[str, Any], after: str | None
    ) -> tuple[str, dict[str, Any]]:
        return after or await self.digest(ctx, resource), data

    async def put_back(self, ctx: Any, resource: Resource, data: dict[str, Any]) -> None:
        if data["text"] is None:
            self.notes.pop(resource.path, None)
        else:
            self.notes[resource.path] = data["text"]

    async def preview(self, ctx: Any, resource: Resource, data: dict[str, Any]) -> str:
        return f"-{self.notes.get(resource.path)}\n+{data['text']}\n"


def notes_plugin(notes: dict[str, str]) -> Plugin:
    """Make the plugin over a dictionary."""
    plugin = Plugin("notes")
    plugin.resource("connection", NoteKeeper(notes))

    @plugin.operation(risk=Risk.LOW, returns_untrusted="never")
    async def read(ctx: Context, name: ReadNote) -> Note:
        """Read a note."""
        if name not in notes:
            raise NotFound(f"there is no note `{name}`")
        return Note(name=name, text=notes[name])

    @plugin.operation(name="notes.list", risk=Risk.LOW, effect=Effect.READ)
    async def list_(ctx: Context) -> Names:
        """List the notes you may read."""
        return Names(names=[name for name in sorted(notes) if ctx.may(Resource("connection", "-", name))])

    @plugin.operation(risk=Risk.MEDIUM, undo=put_back, returns_untrusted="never")
    async def write(ctx: Context, name: WriteNote, text: str) -> Note:
        """Write a note."""
        async with ctx.changing(Resource("connection", "-", name, Effect.CHANGE)):
            notes[name] = text
        return Note(name=name, text=text)

    @write.preview
    async def _(ctx: Context, name: WriteNote, text: str) -> Preview:
        return Preview(summary=f"would write {len(text)} characters", changes=[name], diff=f"+{text}\n")

    @plugin.operation(risk=Risk.HIGH, undo=put_back, returns_untrusted="never")
    async def burn(ctx: Context, name: DestroyNote) -> Names:
        """Destroy a note."""
        async with ctx.changing(Resource("connection", "-", name, Effect.DESTROY), Effect.DESTROY):
            del notes[name]
        return Names(names=[name])

    @burn.preview
    async def _(ctx: Context, name: DestroyNote) -> Preview:
        return Preview(summary=f"would burn {name}")

    @plugin.operation(risk=Risk.MEDIUM, undo=put_back, atomic=True, returns_untrusted="never")
    async def write_all(ctx: Context, names: list[WriteNote], text: str, fail_at: str = "") -> Names:
        """Write several notes, or none."""
        for name in names:
            async with ctx.changing(Resource("connection", "-", name, Effect.CHANGE)):
                if name == fail_at:
                    raise Internal("told to fail")
                notes[name] = text
        return Names(names=names)

    @plugin.operation(risk=Risk.MEDIUM, undo=put_back, returns_untrusted="never")
    async def break_after(ctx: Context, name: WriteNote) -> Names:
        """Write a note, then break."""
        async with ctx.changing(Resource("connection", "-", name, Effect.CHANGE)):
            notes[name] = "half"
        raise ZeroDivisionError("a bug")

    @plugin.operation(risk=Risk.LOW, effect=Effect.READ, timeout_s=30.0)
    async def wait(ctx: Context) -> Names:
        """Wait until somebody stops it."""
        await asyncio.Event().wait()
        raise AssertionError("nobody sets this event")

    @plugin.operation(risk=Risk.LOW, effect=Effect.READ)
    async def copy_by_calls(ctx: Context, source: str, target: str) -> Note:
        """Read and write by calling other operations."""
        found = await ctx.call("notes.read", {"name": source})
        return Note(**await ctx.call("notes.write", {"name": target, "text": found["text"]}))

    @copy_by_calls.preview
    async def _(ctx: Context, source: str, target: str) -> Preview:
        found = await ctx.call("notes.read", {"name": source})
        would = await ctx.call("notes.write", {"name": target, "text": found["text"]})
        return Preview(summary=would["summary"], diff=f"+{found['text']}\n")

    @plugin.operation(risk=Risk.LOW, effect=Effect.READ)
    async def count_to(ctx: Context, last: int) -> AsyncIterator[Tick]:
        """Count."""
        for number in range(1, last + 1):
            yield Tick(number=number)

    async def unregister(ctx: Context, kept: Kept) -> None:
        notes.pop(f"registered:{kept.data['name']}")

    @plugin.operation(risk=Risk.MEDIUM, effect=Effect.CHANGE, undo=unregister, compensate=True)
    async def register(ctx: Context, name: str) -> Names:
        """Register a name."""
        await ctx.keep(Resource("name", "-", name, Effect.CHANGE), {"name": name})
        notes[f"registered:{name}"] = "yes"
        return Names(names=[name])

    @plugin.operation(risk=Risk.LOW, effect=Effect.CHANGE, ephemeral="a greeting leaves nothing")
    async def greet(ctx: Context) -> Names:
        """Greet."""
        await ctx.progress("half way", 0.5)
        return Names(names=[])

    @plugin.operation(risk=Risk.MEDIUM, effect=Effect.CHANGE, irreversible="what was heard was heard")
    async def shout(ctx: Context) -> Names:
        """Shout."""
        return Names(names=[])

    return plugin

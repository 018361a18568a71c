"""Trial: one operation for each thing that a plugin may do, run in both places by the tests."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Annotated, Literal

from pydantic import Field

from superagent.sdk import (
    Conflict,
    Connection,
    Context,
    DestroyPath,
    Effect,
    Example,
    Input,
    Kept,
    NotFound,
    Output,
    Plugin,
    Preview,
    ReadPath,
    Resource,
    Risk,
    SecretName,
    SecretText,
    WritePath,
    put_back,
)

from . import engine

trial = Plugin("trial", reaches=("files", "secret"))


class Written(Output):
    """What stands there now."""

    path: str
    bytes: int


class Seen(Output):
    """One thing that was seen."""

    name: str
    size: int
    kind: Literal["file", "directory", "link", "fifo", "socket", "device"]


class Look(Output):
    """What lies in a folder."""

    entries: list[Seen]
    may_change: bool
    hidden: bool


class Choice(Input):
    """One of several things to say."""

    word: Annotated[str, Field(max_length=20)]
    times: int = 1


class Told(Output):
    """What was said, and how it was chosen."""

    text: str
    counts: dict[str, int]
    share: float | None = None


class Number(Output):
    """A number."""

    value: int


class Signed(Output):
    """A signature in hex."""

    signature: str


@trial.operation(risk=Risk.MEDIUM, undo=put_back, examples=(Example("one line", {"path": "a.txt", "line": "a"}),))
async def add(ctx: Context, path: WritePath, line: str) -> Written:
    """Add a line to a file; what stood there before is kept for undo."""
    async with ctx.changing(path) as change:
        try:
            before = await ctx.files.read(path)
        except NotFound:
            before = b""
        if line == "theirs":
            change.untouched()
            raise Conflict("it is somebody else's")
        after = engine.with_line(before, line)
        same = await ctx.state_of(change.resource) == change.kept_digest
        await ctx.files.write(path, after)
        if line == "stop":
            raise Conflict("it was told to stop", hint="say something else")
        assert same
        assert change.resource.path == path
    return Written(path=path, bytes=len(after))


@add.preview
async def _(ctx: Context, path: WritePath, line: str) -> Preview:
    return Preview(summary=f"would add {len(line)} characters", changes=[path], diff=f"+{line}\n")


@trial.operation(risk=Risk.HIGH, undo=put_back)
async def drop(ctx: Context, path: DestroyPath) -> Written:
    """Remove a file or a folder."""
    async with ctx.changing(path, Effect.DESTROY):
        await ctx.files.delete(path)
    return Written(path=path, bytes=0)


@drop.preview
async def _(ctx: Context, path: DestroyPath) -> Preview:
    return Preview(summary="would remove it", changes=[path])


@trial.operation(risk=Risk.LOW)
async def look(ctx: Context, path: ReadPath) -> Look:
    """Look at a folder."""
    entries = [Seen(name=one.name, size=one.size, kind=one.kind) for one in await ctx.files.list(path)]
    ctx.require(Resource("path", "local", path))
    return Look(
        entries=entries,
        may_change=ctx.may_path(path, Effect.CHANGE),
        hidden=not ctx.sees(Resource("path", "local", "/proc/1", Effect.DESTROY)),
    )


@trial.operation(risk=Risk.MEDIUM, undo=put_back, atomic=True)
async def copy(ctx: Context, source: ReadPath, target: WritePath, fail: bool = False) -> Written:
    """Copy a text file by two other operations, all of it or nothing."""
    text = await ctx.call("files.read", {"path": source})
    await ctx.call("files.write", {"path": target, "content": text["content"]})
    if fail:
        await ctx.call("files.read", {"path": f"{source}.not-there"})
    return Written(path=target, bytes=await ctx.thread(len, text["content"].encode()))


@trial.operation(risk=Risk.LOW, effect=Effect.READ)
async def tell(
    ctx: Context,
    choices: list[Choice],
    how: Literal["plain", "loud"] = "plain",
    from_: Annotated[str, Field(pattern="^[a-z]+$", description="who says it")] = "nobody",
    weights: dict[str, float] | None = None,
) -> Told:
    """Say something, structured in and out."""
    await ctx.progress("thinking", 0.5)
    text = " ".join(one.word * one.times for one in choices)
    share = None if weights is None else sum(weights.values())
    shown = text.upper() if how == "loud" else text
    return Told(
        text=f"{from_}: {shown} ({ctx.principal.id})", counts={one.word: one.times for one in choices}, share=share
    )


@trial.operation(risk=Risk.LOW, effect=Effect.READ)
async def fail(ctx: Context, how: Literal["problem", "bug", "nested"]) -> Told:
    """Fail, in one way or another."""
    if how == "problem":
        raise NotFound("there is no such thing", hint="look elsewhere")
    if how == "bug":
        raise ValueError("nobody meant this")
    return await ctx.call("files.read", {"path": "/nowhere/at/all"})


@trial.operation(risk=Risk.LOW, effect=Effect.READ)
async def count(ctx: Context, to: int) -> AsyncGenerator[Number]:
    """Count, one event each."""
    for value in range(to):
        yield Number(value=value)


@trial.operation(risk=Risk.LOW)
async def sign(ctx: Context, text: str, secret: SecretName) -> Signed:
    """Sign a text with a secret that nobody sees; whoever asks for it plainly gets it taken out."""
    key = await ctx.secret.resolve(f"secret:{secret}", job="signing")
    await ctx.progress(f"signing with {key.reveal()}")
    return Signed(signature=key.reveal() if text == "plainly" else engine.signature(key.reveal(), text))


@trial.operation(risk=Risk.LOW, effect=Effect.READ)
async def hush(ctx: Context, secret: SecretText) -> Told:
    """Say back a secret, as far as it goes."""
    return Told(text=f"it is {secret.reveal()}", counts={})


async def own(ctx: Context, kept: Kept) -> None:
    """Take back what the platform kept, by a function of its own."""
    await ctx.progress(f"putting back {kept.resource.rpartition('/')[2]}")
    await ctx.put_back(kept)


@trial.operation(risk=Risk.MEDIUM, undo=own)
async def blank(ctx: Context, path: WritePath) -> Written:
    """Make a file empty."""
    async with ctx.changing(path):
        await ctx.files.write(path, b"")
    return Written(path=path, bytes=0)


@trial.operation(risk=Risk.LOW)
async def show(ctx: Context, connection: Connection) -> Told:
    """Say how a connection would show its secret."""
    about, shown = await ctx.secret.connection(connection), await ctx.secret.header(connection)
    return Told(text=f"{about.host} {about.type} {shown.host} {shown.header}: {shown.value.reveal()}", counts={})


async def unremember(ctx: Context, kept: Kept) -> None:
    """Take back a note that was kept."""
    await ctx.progress(f"forgetting {kept.data['was']}")


@trial.operation(risk=Risk.MEDIUM, effect=Effect.CHANGE, compensate=True, undo=unremember)
async def remember(ctx: Context, word: str) -> Told:
    """Change something that only the plugin itself can take back."""
    await ctx.keep(Resource("connection", "-", "memory", Effect.CHANGE), {"was": word})
    return Told(text=word, counts={})


@trial.operation(risk=Risk.LOW, effect=Effect.READ, timeout_s=0.5)
async def dawdle(ctx: Context) -> Told:
    """Take longer than it may."""
    await ctx.thread(__import__("threading").Event().wait, 1.0)
    return Told(text="", counts={})

"""A plugin of operations that take long: they wait, write and wait, say how far they are."""

from __future__ import annotations

import asyncio

from superagent.sdk import Context, Effect, Nothing, Plugin, ReadWritePath, Risk, put_back

slow = Plugin("slow", reaches=("files",))


@slow.operation(risk=Risk.LOW, effect=Effect.CHANGE, ephemeral="nothing is left")
async def wait(ctx: Context, seconds: float = 60.0) -> Nothing:
    """Wait."""
    await asyncio.sleep(seconds)
    return Nothing()


@slow.operation(risk=Risk.LOW, effect=Effect.READ)
async def wait_for(ctx: Context, ids: list[str], itself: bool = False) -> Nothing:
    """Wait for jobs inside of one, and do something afterwards."""
    await ctx.call("jobs.wait", {"ids": [ctx.invocation.id] if itself else ids, "timeout_s": 30})
    await ctx.progress("after")
    return Nothing()


@slow.operation(risk=Risk.LOW, effect=Effect.READ)
async def look(ctx: Context, seconds: float = 60.0) -> Nothing:
    """Wait, changing nothing: it may be repeated."""
    await asyncio.sleep(seconds)
    return Nothing()


@slow.operation(risk=Risk.LOW, undo=put_back)
async def write(ctx: Context, path: ReadWritePath, seconds: float = 60.0) -> Nothing:
    """Add a line to a file, then wait."""
    async with ctx.changing(path):
        with open(path, "a", encoding="utf-8") as file:
            file.write(f"{ctx.invocation.id}\n")
    await asyncio.sleep(seconds)
    return Nothing()


@slow.operation(risk=Risk.LOW, effect=Effect.READ)
async def tell(ctx: Context) -> Nothing:
    """Say how far it is, then wait."""
    await ctx.progress("begun")
    await ctx.progress("half", 0.5)
    await asyncio.sleep(60)
    return Nothing()

"""A plugin of operations that show what a surface does with slow, large, streaming and broken ones."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from superagent.sdk import Context, Effect, Nothing, Output, Plugin, Preview, Risk

probe = Plugin("probe")
started: set[str] = set()
ended: set[str] = set()


class Said(Output):
    text: str


@probe.operation(risk=Risk.LOW, effect=Effect.READ, timeout_s=60.0)
async def wait(ctx: Context, seconds: float, mark: str = "") -> Said:
    """Wait and say so; notes when it began and how it ended."""
    started.add(mark)
    try:
        await asyncio.sleep(seconds)
    finally:
        ended.add(mark)
    return Said(text=mark)


@probe.operation(risk=Risk.LOW, effect=Effect.READ)
async def deputy(ctx: Context, operation: str, input: dict[str, Any]) -> Said:
    """Call something else for whoever calls, as a careless operation would."""
    return Said(text=str(await ctx.call(operation, input)))


@probe.operation(risk=Risk.LOW, effect=Effect.READ)
async def large(ctx: Context, size: int, word: str = "x") -> Said:
    """Give a long text."""
    return Said(text=(word * (size // len(word) + 1))[:size])


@probe.operation(risk=Risk.CRITICAL, effect=Effect.READ)
async def critical(ctx: Context) -> Said:
    """Say that something critical was let through."""
    return Said(text="done")


@probe.operation(risk=Risk.LOW, effect=Effect.READ)
async def broken(ctx: Context, secret: str = "") -> Nothing:
    """Break."""
    raise RuntimeError("the probe broke")


@probe.operation(risk=Risk.LOW, effect=Effect.READ, timeout_s=60.0)
async def count(ctx: Context, to: int, pause_s: float = 0.0) -> AsyncIterator[Said]:
    """Count, an event a number."""
    for number in range(1, to + 1):
        yield Said(text=str(number))
        await asyncio.sleep(pause_s)


@probe.operation(risk=Risk.LOW, effect=Effect.CHANGE, irreversible="it is gone")
async def fire(ctx: Context) -> Nothing:
    """Do something that cannot be taken back."""
    return Nothing()


@fire.preview
async def _(ctx: Context) -> Preview:
    return Preview(summary="would fire")

"""The relay: bytes both ways through a tunnel, until both have ended or nothing has crossed for too long."""

from __future__ import annotations

import asyncio
import contextlib

import anyio

from superagent.runtime.net.wire import Wire


async def relay(inside: Wire, outside: Wire, idle_s: float) -> None:
    """Carry bytes both ways; returns when the tunnel has ended."""
    both = asyncio.gather(_carry(inside, outside), _carry(outside, inside))
    watch = asyncio.create_task(_watch(inside, outside, idle_s))
    try:
        await asyncio.wait([both, watch], return_when=asyncio.FIRST_COMPLETED)
    finally:
        both.cancel()
        watch.cancel()
        await asyncio.gather(both, watch, return_exceptions=True)


async def _carry(source: Wire, sink: Wire) -> None:
    try:
        while True:
            await sink.send(await source.receive())
    except anyio.EndOfStream:
        with contextlib.suppress(anyio.BrokenResourceError):
            await sink.send_eof()
    except anyio.BrokenResourceError:
        source.abort()
        sink.abort()


async def _watch(inside: Wire, outside: Wire, idle_s: float) -> None:
    idle = 0.0
    while idle < idle_s:
        await asyncio.sleep(max(0.01, idle_s - idle))  # no event: what is waited for is that none comes
        idle = min(inside.idle_s, outside.idle_s)

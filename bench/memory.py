"""Memory: what stays behind of each call, by HTTP and in process; flat means less than a pointer a call."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable
from pathlib import Path

import uvloop

from bench.baselines import PATH
from bench.in_process import Target, loop_of, scope_of
from bench.plan import ISSUE, Plan
from bench.proc import rss_of
from bench.rows import Row
from bench.servers import owner_headers, superagent
from bench.wrk import send
from superagent.app import open_installation
from superagent.asgi import application
from superagent.settings import load

# (first reading after so many calls, last reading after so many)
SOAK = (100_000, 1_000_000)
SHORT = (5_000, 30_000)
# a single object kept of each call would be 16 bytes or more
POINTER = 8.0
CHUNK = 5_000
SPELL_S = 10.0
MIB = 1024 * 1024


def rows(plan: Plan) -> list[Row]:
    """Read the memory after the first calls and after many more; the short run is in process and only informs."""
    span = SOAK if plan.soak else SHORT
    found = {"direct": uvloop.run(in_process(plan, plan.place("memory_direct"), span))}
    if plan.soak:
        found["http"] = by_http(plan, plan.place("memory_http"), span)
    plan.raw["memory"] = found
    rows: list[Row] = []
    for door, readings in found.items():
        kept = growth(readings, span[0])
        last = max(readings)
        note = f"{readings[first_of(readings, span[0])] / MIB:.1f} to {readings[last] / MIB:.1f} MiB, {last:,} calls"
        rows.append(
            Row(
                f"memory.{door}_per_call",
                kept,
                "bytes",
                at_most=POINTER if plan.soak else None,
                source=ISSUE,
                note=note,
            )
        )
    return rows


def first_of(readings: dict[int, int], start: int) -> int:
    """Give the first number of calls at or after the start at which memory was read."""
    return min(calls for calls in readings if calls >= start)


def growth(readings: dict[int, int], start: int) -> float:
    """Give the bytes that a call leaves behind, between the reading at the start and the last one."""
    first, last = first_of(readings, start), max(readings)
    return (readings[last] - readings[first]) / (last - first)


def by_http(plan: Plan, folder: Path, span: tuple[int, int]) -> dict[int, int]:
    """Load a server until so many calls are answered; gives its resident bytes by number of calls."""
    readings: dict[int, int] = {}
    calls = 0
    with superagent(folder) as server:
        while calls < span[1]:
            load = send(server.port, server.request, SPELL_S, 64)
            if load.refused or load.broken:
                raise RuntimeError(f"{load.refused} refused, {load.broken} broken")
            calls += load.requests
            readings[calls] = rss_of(server.pid)
            tell(plan.say, "HTTP", calls, readings[calls])
        server.check()
    return readings


async def in_process(plan: Plan, folder: Path, span: tuple[int, int]) -> dict[int, int]:
    """Call the door directly until so many calls are answered; gives this process' resident bytes."""
    readings: dict[int, int] = {}
    data = folder / "data"
    async with open_installation(load(data, {}, {})) as installation:
        target = Target(application(installation), scope_of(PATH, owner_headers(data)))
        for calls in range(CHUNK, span[1] + 1, CHUNK):
            await loop_of(target, CHUNK)
            await installation.audit.flush()  # nobody waits for an answer here, so calls could outrun a busy disk
            if not calls % span[0]:
                gc.collect()
                readings[calls] = rss_of(os.getpid())
                tell(plan.say, "in process", calls, readings[calls])
    return readings


def tell(say: Callable[[str], None], door: str, calls: int, resident: int) -> None:
    """Say how it stands."""
    say(f"memory, {door}: {calls:,} calls, {resident / MIB:.1f} MiB")

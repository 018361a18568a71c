"""The trivial operation without a server: the door called with a ready scope, beside routes called the same way."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import uvloop

from bench import baselines
from bench.figures import median
from bench.in_process import Cost, Target, call, compare, scope_of
from bench.plan import ISSUE, Plan
from bench.proc import settle
from bench.rows import Row
from bench.servers import owner_headers
from superagent.app import open_installation
from superagent.asgi import application
from superagent.settings import load

CALLS = 3000
REPEATS = 9
RESTS = 3


def rows(plan: Plan) -> list[Row]:
    """Call each in loops in turn; the lowest loop is what the call costs when nobody disturbs."""
    found = uvloop.run(measure(plan, plan.place("direct")))
    plan.raw["direct"] = {name: {"loops": cost.loops, "settled": cost.settled} for name, cost in found.items()}
    least = {name: cost.least for name, cost in found.items()}
    ours, bare = found["superagent"], found["starlette"]
    return [
        Row(
            "direct.over_starlette",
            ours.least / bare.least,
            at_most=1.5,
            source=ISSUE,
            note=f"all threads, lowest of {REPEATS} loops of {CALLS:,}; the route answers constant bytes unread",
        ),
        Row(
            "direct.over_starlette_median",
            median([one / other for one, other in zip(ours.loops, bare.loops, strict=True)]),
        ),
        Row(
            "direct.over_starlette_settled",
            min(ours.settled) / min(bare.settled),
            at_most=2.5,
            source=ISSUE,
            note=f"with all that the calls leave for later: records written and indexed; lowest of {RESTS}",
        ),
        Row("direct.over_starlette_reading", least["superagent"] / least["reading"], note="the route reads the body"),
        Row("direct.over_fastapi", least["superagent"] / least["fastapi"]),
        *(Row(f"direct.{name}", time, "µs") for name, time in least.items()),
    ]


async def measure(plan: Plan, folder: Path) -> dict[str, Cost]:
    """Open an installation in this process and compare it with the baselines."""
    data = folder / "data"
    async with open_installation(load(data, {}, {})) as installation:
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {baselines.KEY}"}
        scope = scope_of(baselines.PATH, headers)
        targets = {
            "superagent": Target(application(installation), scope_of(baselines.PATH, owner_headers(data)), rests=RESTS),
            "starlette": Target(baselines.starlette, scope, rests=RESTS),
            "reading": Target(baselines.starlette_reading, scope, rests=0),
            "fastapi": Target(baselines.fastapi, scope, rests=0),
        }
        for name, target in targets.items():
            status, body = await call(target)
            if status != 200:
                raise RuntimeError(f"{name} answers {status} {body[:200]!r}")
        await asyncio.to_thread(settle, os.getpid())
        return await compare(targets, CALLS, REPEATS, plan.draw)

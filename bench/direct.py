"""The trivial operation without a server: the door called with a ready scope, beside routes called the same way."""

from __future__ import annotations

from pathlib import Path

import uvloop

from bench import baselines
from bench.figures import median
from bench.in_process import Cost, Target, call, compare, scope_of
from bench.plan import ISSUE, Plan
from bench.rows import Row
from bench.servers import owner_headers
from superagent.app import open_installation
from superagent.asgi import application
from superagent.settings import load

CALLS = 50
REPEATS = 150


def rows(plan: Plan) -> list[Row]:
    """Call each in many short loops in turn; the lowest loop is what the call costs when nobody disturbs."""
    found = uvloop.run(measure(plan, plan.place("direct")))
    plan.raw["direct"] = {name: {"served": cost.served, "behind": cost.behind} for name, cost in found.items()}
    least = {name: cost.least for name, cost in found.items()}
    pairs = zip(found["superagent"].served, found["starlette"].served, strict=True)
    return [
        Row(
            "direct.over_starlette",
            least["superagent"] / least["starlette"],
            at_most=2.5,
            source=ISSUE,
            note="the route answers constant bytes and reads no body",
        ),
        Row("direct.over_starlette_median", median([ours / theirs for ours, theirs in pairs])),
        Row("direct.over_starlette_reading", least["superagent"] / least["reading"], note="the route reads the body"),
        Row("direct.over_fastapi", least["superagent"] / least["fastapi"]),
        *(Row(f"direct.{name}", time, "µs") for name, time in least.items()),
        Row("direct.behind", median(found["superagent"].behind), "µs", note="of ours, in threads behind the door"),
    ]


async def measure(plan: Plan, folder: Path) -> dict[str, Cost]:
    """Open an installation in this process and compare it with the baselines."""
    data = folder / "data"
    async with open_installation(load(data, {}, {})) as installation:
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {baselines.KEY}"}
        scope = scope_of(baselines.PATH, headers)
        targets = {
            "superagent": Target(application(installation), scope_of(baselines.PATH, owner_headers(data))),
            "starlette": Target(baselines.starlette, scope),
            "reading": Target(baselines.starlette_reading, scope),
            "fastapi": Target(baselines.fastapi, scope),
        }
        for name, target in targets.items():
            status, body = await call(target)
            if status != 200:
                raise RuntimeError(f"{name} answers {status} {body[:200]!r}")
        return await compare(targets, CALLS, REPEATS, plan.draw)

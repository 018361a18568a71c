"""A request in a browser session beside the same request by API key: cookie, origin and the token against forgery."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import uvloop

from bench import baselines
from bench.figures import median
from bench.in_process import Cost, Target, call, compare, scope_of
from bench.plan import Plan
from bench.proc import settle
from bench.rows import Row
from bench.servers import owner_headers
from superagent.app import Installation, open_installation
from superagent.asgi import application
from superagent.core.mounts import csrf_of
from superagent.runtime.sign_in.guard import Visitor
from superagent.settings import load

CALLS = 3000
REPEATS = 9


def rows(plan: Plan) -> list[Row]:
    """Call both in loops in turn, without a server."""
    found = uvloop.run(measure(plan, plan.place("signed_in")))
    plan.raw["signed_in"] = {name: {"loops": cost.loops, "settled": cost.settled} for name, cost in found.items()}
    session, key = found["session"], found["key"]
    ratios = [one / other for one, other in zip(session.loops, key.loops, strict=True)]
    return [
        Row(
            "signed_in.over_key",
            session.least / key.least,
            at_most=1.2,
            source="issue 4",
            note=f"all threads, lowest of {REPEATS} loops of {CALLS:,}; with the headers that a browser sends",
        ),
        Row("signed_in.over_key_median", median(ratios)),
        Row("signed_in.session", session.least, "µs"),
        Row("signed_in.key", key.least, "µs"),
    ]


async def measure(plan: Plan, folder: Path) -> dict[str, Cost]:
    """Open an installation in this process, sign the owner in by a link, and compare."""
    data = folder / "data"
    async with open_installation(load(data, {}, {})) as installation:
        door = application(installation)
        own = {"Content-Type": "application/json"}
        targets = {
            "key": Target(door, scope_of(baselines.PATH, owner_headers(data))),
            "session": Target(door, scope_of(baselines.PATH, own | await browser_headers(installation))),
        }
        for name, target in targets.items():
            status, body = await call(target)
            if status != 200:
                raise RuntimeError(f"{name} answers {status} {body[:200]!r}")
        await asyncio.to_thread(settle, os.getpid())
        return await compare(targets, CALLS, REPEATS, plan.draw)


async def browser_headers(installation: Installation) -> dict[str, str]:
    """Give what a browser sends with a call that a page of ours makes in a session."""
    token = await installation.desk.link("default", "owner")
    came = await installation.desk.by_link(token, Visitor("127.0.0.1", "bench"))
    session = came.session.token
    return {
        "Cookie": f"superagent={session}",
        "X-CSRF-Token": csrf_of(session.encode()),
        "Origin": "http://127.0.0.1:8750",
        "Sec-Fetch-Site": "same-origin",
        "Sec-Fetch-Mode": "cors",
        "User-Agent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0",
        "Accept": "*/*",
        "Accept-Language": "en",
    }

"""Latency at fixed rates, and a crowd: many open connections of which a part has something under way."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack

from bench import open_loop
from bench.figures import median, percentile
from bench.open_loop import Answers
from bench.plan import ISSUE, Plan
from bench.proc import rss_of, settle
from bench.rows import Row
from bench.servers import Server, nginx, superagent
from bench.wrk import allow_open_files

RATES = (200, 1000)
OPEN, UNDER_WAY = 5000, 1000
CROWD_ROUNDS = 5
MIB = 1024 * 1024


def rows(plan: Plan) -> list[Row]:
    """Send to ours and to nginx in turn, at each rate; then open 5,000 connections to ours."""
    with ExitStack() as stack:
        folder = plan.place("latency")
        servers = [stack.enter_context(superagent(folder)), stack.enter_context(nginx(folder))]
        found: dict[tuple[str, int], list[Answers]] = {}
        for server in servers:
            settle(server.pid)
        for _ in range(plan.few):
            for rate in RATES:
                for server in plan.draw.sample(servers, len(servers)):
                    answers = open_loop.run(server.port, server.request, rate, plan.seconds)
                    found.setdefault((server.name, rate), []).append(answers)
        plan.say(f"{OPEN} connections, {UNDER_WAY} requests under way")
        failed, answered = crowd(servers[0])
        rss = rss_of(servers[0].pid) / MIB
    made: list[Row] = []
    for (name, rate), rounds in found.items():
        gated = name == "superagent" and rate == 1000
        for share, word, limit in ((0.5, "p50", 1.0), (0.99, "p99", 10.0)):
            value = median([percentile(one.latencies, share) * 1e3 for one in rounds])
            note = f"{rate} requests a second, from when each was due; {name}"
            at_most = limit if gated else None
            made.append(Row(f"latency.{name}_{rate}_{word}", value, "ms", at_most=at_most, source=ISSUE, note=note))
    lost = sum(one.failed for one in found["superagent", 1000] + found["superagent", 200])
    plan.raw["latency"] = {
        f"{name} {rate}": [len(one.latencies) for one in all_] for (name, rate), all_ in found.items()
    }
    return [
        *made,
        Row("latency.failed", lost, at_most=0, source=ISSUE, note="at both rates"),
        Row(
            "crowd.failed", failed, at_most=0, source=ISSUE, note=f"of {answered + failed:,}, {OPEN:,} connections open"
        ),
        Row("crowd.rss", rss, "MiB", at_most=1536, source=ISSUE, note=f"with {OPEN:,} connections still warm"),
    ]


def crowd(server: Server) -> tuple[int, int]:
    """Keep 5,000 connections open, with a request on 1,000 of them at a time; gives (failed, answered)."""
    allow_open_files(OPEN + 256)
    return asyncio.run(_crowd(server))


async def _crowd(server: Server) -> tuple[int, int]:
    text = open_loop.wire(server.request)
    gate = asyncio.Semaphore(UNDER_WAY)
    connecting = asyncio.Semaphore(200)
    failed = answered = 0

    async def one(everybody: asyncio.Barrier) -> None:
        nonlocal failed, answered
        async with connecting:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        await everybody.wait()
        try:
            for _ in range(CROWD_ROUNDS):
                async with gate:
                    writer.write(text)
                    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 60)
                    length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
                    await reader.readexactly(length)
                answered += head.startswith(b"HTTP/1.1 200")
                failed += not head.startswith(b"HTTP/1.1 200")
        except (OSError, EOFError, TimeoutError, ValueError):
            failed += 1
        finally:
            await everybody.wait()  # nobody hangs up before all are through
            writer.close()

    everybody = asyncio.Barrier(OPEN)
    async with asyncio.TaskGroup() as group:
        for _ in range(OPEN):
            group.create_task(one(everybody))
    return failed, answered

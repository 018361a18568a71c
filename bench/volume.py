"""Many operations at once: batches of 100 and a stream of JSON lines, each operation through the whole line."""

from __future__ import annotations

import asyncio
import json
from contextlib import ExitStack
from typing import Any

from bench import streamed
from bench.figures import median
from bench.plan import ISSUE, Plan
from bench.proc import settle
from bench.rounds import measure, rate
from bench.rows import Row
from bench.servers import Server, nginx, superagent
from bench.wrk import Request

CALL: dict[str, Any] = {"operation": "access.whoami", "input": {}}
BATCH = 100
BATCH_CONNECTIONS = 8
WINDOW = 64
LINES_A_SECOND = 4000


def rows(plan: Plan) -> list[Row]:
    """Measure both in turn, beside nginx answering as many single requests as it can.

    Each begins when the server is at rest: what it does once after its start, and what the other one left it to do, are
    not its own.
    """
    with ExitStack() as stack:
        folder = plan.place("volume")
        ours = stack.enter_context(superagent(folder))
        other = stack.enter_context(nginx(folder))
        request = batch(ours)
        found: dict[str, list[tuple[float, float]]] = {"batch": [], "stream": []}
        base: list[float] = []
        for _ in range(plan.few):
            base.append(measure(other, plan.seconds, WINDOW).rps)
            settle(ours.pid)
            sample = measure(ours, plan.seconds, BATCH_CONNECTIONS, request)
            if sample.errors:
                raise RuntimeError(f"{sample.errors} batches failed")
            found["batch"].append((sample.rps * BATCH, sample.cpu_us / BATCH))
            settle(ours.pid)
            found["stream"].append(rate(lambda: stream(ours, round(LINES_A_SECOND * plan.seconds)), ours))
    plan.raw["volume"] = {"nginx": base, **found}
    rows: list[Row] = []
    for name, pairs in found.items():
        over = [operations / single for (operations, _), single in zip(pairs, base, strict=True)]
        rows += [
            Row(f"{name}.operations", median([operations for operations, _ in pairs]), "/s"),
            Row(f"{name}.cpu", median([cpu for _, cpu in pairs]), "µs", note="of the server, an operation"),
            Row(
                f"{name}.operations_over_nginx",
                median(over),
                at_least=0.8,
                source=ISSUE,
                note="operations for each single request of nginx",
            ),
        ]
    return rows


def batch(server: Server) -> Request:
    """Make a batch, and make sure that every call in it is done. Raises `RuntimeError`."""
    body = json.dumps({"mode": "sequential", "stop_on_error": False, "calls": [CALL] * BATCH})
    request = Request("/v1/batch", body, server.request.headers)
    status, answer = server.ask(request)
    if status != 200 or answer.count(b'"status":"done"') != BATCH:
        raise RuntimeError(f"the batch answers {status} {answer[:300]!r}")
    return request


def stream(server: Server, calls: int) -> int:
    """Send so many calls as lines over one connection; gives their number. Raises `RuntimeError` when one fails."""
    line = json.dumps({"id": 1, **CALL}).encode()
    answered, failed = asyncio.run(streamed.run(server.port, server.request.headers, line, calls, WINDOW))
    if failed:
        raise RuntimeError(f"{failed} of {answered} lines failed")
    return answered

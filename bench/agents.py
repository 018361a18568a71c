"""A tool call by the Model Context Protocol: key, policy, limits and audit on, beside the SDK's plain server."""

from __future__ import annotations

import json
import sys
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from bench.figures import Sample, median, ratio
from bench.plan import ISSUE, Plan
from bench.rounds import interleaved
from bench.rows import Row
from bench.servers import Server, free_port, started, superagent
from bench.wrk import Request

REVISION = "2026-07-28"
CONNECTIONS = 8
MANY = 500
_META = {
    "io.modelcontextprotocol/protocolVersion": REVISION,
    "io.modelcontextprotocol/clientCapabilities": {},
    "io.modelcontextprotocol/clientInfo": {"name": "bench", "version": "1"},
}
BODY = json.dumps(
    {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "tools/call",
        "params": {"name": "access_whoami", "arguments": {}, "_meta": _META},
    }
)
HEADERS = {
    "Content-Type": "application/json",
    "Accept": "application/json, text/event-stream",
    "MCP-Protocol-Version": REVISION,
    "Mcp-Method": "tools/call",
    "Mcp-Name": "access_whoami",
}


def rows(plan: Plan) -> list[Row]:
    """Load both with 8 connections in turn, then ours with 500."""
    with ExitStack() as stack:
        folder = plan.place("agents")
        served = stack.enter_context(superagent(folder))
        request = Request("/mcp", BODY, {**HEADERS, **served.request.headers})
        ours = replace(served, request=request, right=_right)
        plain = stack.enter_context(plain_server(folder))
        usual = interleaved([plain, ours], plan.rounds, plan.seconds, CONNECTIONS, plan.draw, plan.say)
        plan.say(f"{MANY} connections")
        many = interleaved([ours], plan.few, plan.seconds, MANY, plan.draw, plan.say)["superagent"]
    plan.raw["agents"] = {name: [sample.document() for sample in samples] for name, samples in usual.items()}
    return [
        Row(
            "agents.cpu_over_plain",
            ratio(usual, "superagent", "plain", cpu),
            at_most=1.3,
            source=ISSUE,
            note="`tools/call` of access.whoami over an equal tool of the plain SDK server, 2026-07-28",
        ),
        Row("agents.cpu", median([cpu(one) for one in usual["superagent"]]), "µs"),
        Row("agents.many_refused", float(sum(one.refused + one.broken for one in many)), at_most=0, source=ISSUE,
            note=f"of all calls over {MANY} connections at once"),
    ]  # fmt: skip


def cpu(sample: Sample) -> float:
    """Give a sample's CPU time a request."""
    return sample.cpu_us


@contextmanager
def plain_server(folder: Path) -> Generator[Server]:
    """Serve one tool by the SDK's own server, by uvicorn on the same event loop and parser as ours."""
    port = free_port()
    argv = [sys.executable, "-m", "uvicorn", "bench.plain_mcp:application", "--host", "127.0.0.1"]
    argv += ["--port", str(port), "--loop", "uvloop", "--http", "httptools", "--lifespan", "on"]
    argv += ["--no-access-log", "--log-level", "warning"]
    with started("plain", argv, port, folder, Request("/mcp", BODY, HEADERS), _right) as server:
        yield server


def _right(body: bytes) -> bool:
    return b'"status":"done"' in body or b'\\"status\\": \\"done\\"' in body

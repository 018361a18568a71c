"""Reads given again: `files.read` of a file that did not change, beside the trivial operation and beside reading it."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path

from bench import open_loop
from bench.figures import Rounds, median, percentile, ratio
from bench.plan import ISSUE, Plan
from bench.rounds import interleaved
from bench.rows import Row
from bench.servers import Server, superagent
from bench.wrk import Request

CONTENT = "0123456789abcde\n" * 256
CONNECTIONS = 64
PER_S = 500
SETTLES_S = 2.2


def rows(plan: Plan) -> list[Row]:
    """Ask the same server three things in turn: who one is, a file, and the same file behind a link, read each time."""
    folder = plan.place("cached")
    place = folder / "data"
    place.mkdir()
    (place / "superagent.toml").write_text("[limits]\nagent_rate_per_s = 1000000\nagent_burst = 1000000\n")
    with superagent(folder) as ours:
        key, workspace = agent(ours)
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {key}"}
        trivial = replace(ours, name="whoami", request=Request(ours.request.path, "{}", headers))
        lay_out(Path(workspace))
        kept = replace(ours, name="kept", request=read("read/small.txt", headers))
        afresh = replace(ours, name="afresh", request=read("link/small.txt", headers))
        time.sleep(SETTLES_S)
        found = interleaved([trivial, kept, afresh], plan.rounds, plan.seconds, CONNECTIONS, plan.draw, plan.say)
        answers = [open_loop.run(ours.port, kept.request, PER_S, plan.seconds) for _ in range(plan.few)]
    plan.raw["cached"] = {name: [sample.document() for sample in samples] for name, samples in found.items()}
    errors = sum(one.errors for samples in found.values() for one in samples) + sum(one.failed for one in answers)
    return [
        Row("cached.cpu_over_whoami", cpu(found, "kept", "whoami"), at_most=1.3, source=ISSUE,
            note="server CPU, `files.read` of 4 KiB in the own workspace over `access.whoami`, one agent's key"),
        Row("cached.cpu_over_afresh", cpu(found, "kept", "afresh"), note="over reading the file each time"),
        Row("cached.p50", median([percentile(one.latencies, 0.5) * 1e3 for one in answers]), "ms", at_most=1,
            source=ISSUE, note=f"open loop, {PER_S} requests a second"),
        Row("cached.p99", median([percentile(one.latencies, 0.99) * 1e3 for one in answers]), "ms"),
        Row("cached.errors", errors, at_most=0, source="no call may fail"),
    ]  # fmt: skip


def cpu(rounds: Rounds, of: str, to: str) -> float:
    """Compare the CPU time of a request."""
    return ratio(rounds, of, to, lambda sample: sample.cpu_us)


def agent(server: Server) -> tuple[str, str]:
    """Make an agent; gives its key and its workspace."""
    made = answered(server, Request("/v1/operations/access.keys.create", '{"name": "reader"}', server.request.headers))
    return made["key"], made["workspace"]


def lay_out(workspace: Path) -> None:
    """Put a file into a folder, and a link beside the folder: behind one, every read is a real one."""
    (workspace / "read").mkdir(parents=True)
    (workspace / "read" / "small.txt").write_text(CONTENT)
    (workspace / "link").symlink_to(workspace / "read")


def read(path: str, headers: dict[str, str]) -> Request:
    """Make the request that reads a file."""
    return Request("/v1/operations/files.read", json.dumps({"path": path}), headers)


def answered(server: Server, request: Request) -> dict[str, str]:
    """Ask, and give the output. Raises `RuntimeError`."""
    status, body = server.ask(request)
    if status != 200:
        raise RuntimeError(f"{request.path} answers {status} {body[:300]!r}")
    return json.loads(body)["output"]

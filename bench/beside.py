"""Beside: what somebody's contained command does to the calls of others, in short windows drawn in turn.

A command goes on when its caller hangs up, so each is a job that is known to run, and is ended before the next window.
Calls are sent in an open loop: what holds the server up for a moment is charged with everybody who waited meanwhile.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from bench import open_loop
from bench.figures import median, percentile
from bench.plan import Plan
from bench.proc import cpu_of
from bench.servers import KEY_HEADER, Server, superagent
from bench.wrk import Request

RATE = 500
WINDOW_S = 0.5
TIMES_A_ROUND = 4
"""A 99th percentile of one window says little on a busy machine; the median over a dozen or more does."""

REST_S = 0.3
"""After a command started or ended: by then its sandbox is cleared away, and the next one made."""

PATIENCE_S = 20.0
SLEEPS = ("sh", "-c", "echo runs; exec sleep 600")
KINDS = ("idle", "sleeping", "starting")


@dataclass(frozen=True, slots=True)
class Window:
    """Seconds from due to answered of each call, and of processor time that the server and all below it used."""

    latencies: list[float]
    cpu_s: float


Windows = dict[str, list[Window]]
"""By what went on in them."""


@dataclass(frozen=True, slots=True)
class Somebody:
    """A caller who runs commands, and is not the one that is measured."""

    server: Server
    key: str

    def ask(self, operation: str, given: dict[str, Any], **headers: str) -> dict[str, Any]:
        """Call an operation and give the answer. Raises `RuntimeError` when it is refused."""
        wanted = {"Content-Type": "application/json", KEY_HEADER: f"Bearer {self.key}", **headers}
        status, said = self.server.ask(Request(f"/v1/operations/{operation}", json.dumps(given), wanted))
        if status not in (200, 202):
            raise RuntimeError(f"{operation} answers {status}: {said[:300]!r}")
        return json.loads(said)

    def start(self, *argv: str) -> str:
        """Start a command and give its job."""
        return str(self.ask("shell.exec", {"argv": argv}, Prefer="respond-async")["invocation"])

    def state(self, job: str) -> str:
        """Say how a job stands."""
        return str(self.ask("jobs.status", {"id": job})["output"]["state"])

    @contextmanager
    def sleeper(self) -> Generator[None]:
        """Have a command sleep, and nothing else happen, while the body runs. Raises `RuntimeError`."""
        job = self.start(*SLEEPS)
        until = time.monotonic() + PATIENCE_S
        while "runs" not in json.dumps(self.ask("jobs.logs", {"id": job})["output"]):
            if time.monotonic() > until:
                raise RuntimeError("`sleep` did not start")
            time.sleep(0.02)
        time.sleep(REST_S)
        yield
        if (state := self.state(job)) != "running":
            raise RuntimeError(f"`sleep` was to run all the time, and is {state}")
        self.ask("jobs.cancel", {"id": job, "grace_s": 0})
        self.ended(job)

    def ended(self, job: str) -> None:
        """Wait until a job is over, and nothing is done for it any more."""
        self.ask("jobs.wait", {"ids": [job]})
        time.sleep(REST_S)


def measured(plan: Plan) -> Windows:
    """Time the trivial operation in windows of each kind, in an order drawn anew each time."""
    found: Windows = {kind: [] for kind in KINDS}
    with superagent(plan.place("sandbox_server")) as server:
        owner = Somebody(server, server.request.headers[KEY_HEADER].removeprefix("Bearer "))
        somebody = Somebody(server, owner.ask("access.keys.create", {"name": "sleeper"})["output"]["key"])
        somebody.ended(somebody.start("true"))  # from now on a sandbox is made ahead
        for _ in range(plan.rounds * TIMES_A_ROUND):
            for kind in plan.draw.sample(KINDS, len(KINDS)):
                found[kind].append(window(somebody, kind))
    return found


def window(somebody: Somebody, kind: str) -> Window:
    """Time the calls of one window. Raises `RuntimeError` when one fails, or the command does."""
    if kind == "sleeping":
        with somebody.sleeper():
            return called(somebody.server)
    if kind == "idle":
        return called(somebody.server)
    job = somebody.start("true")
    found = called(somebody.server)
    somebody.ended(job)
    if (state := somebody.state(job)) != "done":
        raise RuntimeError(f"`true` is {state}")
    return found


def called(server: Server) -> Window:
    """Send calls at a fixed rate for a window. Raises `RuntimeError` when one fails."""
    before = cpu_of(server.pid)
    answers = open_loop.run(server.port, server.request, RATE, WINDOW_S)
    if answers.failed:
        raise RuntimeError(f"{server.name} failed {answers.failed} calls")
    return Window(answers.latencies, cpu_of(server.pid).since(before).total_s)


def over_idle(windows: Windows, kind: str) -> float:
    """Give the median of the ratios to the idle server's 99th percentile of the same moment."""
    pairs = zip(windows[kind], windows["idle"], strict=True)
    return median([percentile(ours.latencies, 0.99) / percentile(idle.latencies, 0.99) for ours, idle in pairs])


def cpu_over_idle(windows: Windows, kind: str) -> float:
    """Give the processor time of all windows over that of the idle server's; not a number when that used none."""
    ours, idle = (sum(one.cpu_s for one in windows[which]) for which in (kind, "idle"))
    return ours / idle if idle else math.nan

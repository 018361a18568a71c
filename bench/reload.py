"""Reload: two workers take up their settings anew, twice, while clients ask; what got lost, and how long it took."""

from __future__ import annotations

import http.client
import os
import signal
import threading
import time
from dataclasses import dataclass, field

from bench.figures import percentile
from bench.plan import ISSUE, Plan
from bench.proc import processes
from bench.rows import Row
from bench.servers import Server, superagent

CLIENTS = 8
RELOADS = 2
PATIENCE_S = 60.0
STEP_S = 0.05


@dataclass(slots=True)
class Client:
    """One that keeps its connection, sends one request after the other, and none of them twice."""

    took_s: list[float] = field(default_factory=list[float])
    lost: int = 0

    def run(self, server: Server, over: threading.Event) -> None:
        """Ask until it is over."""
        line = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE_S)
        wanted = server.request
        while not over.is_set():
            start = time.perf_counter()
            try:
                line.request(wanted.method, wanted.path, wanted.body, dict(wanted.headers))
                answer = line.getresponse()
                answered = answer.status == 200 and server.right(answer.read())
            except (OSError, http.client.HTTPException):
                line.close()
                answered = False
            self.lost += not answered
            self.took_s.append(time.perf_counter() - start)


def rows(plan: Plan) -> list[Row]:
    """Load two workers with clients that keep their connections, and reload them meanwhile."""
    with superagent(plan.place("reload"), ("--workers", "2")) as ours:
        wait_for_workers(ours, set())
        over, clients = threading.Event(), [Client() for _ in range(CLIENTS)]
        threads = [threading.Thread(target=client.run, args=(ours, over)) for client in clients]
        for one in threads:
            one.start()
        try:
            took = [reload(ours, plan) for _ in range(RELOADS)]
        finally:
            over.set()
            for one in threads:
                one.join(PATIENCE_S)
    asked = [took_s for client in clients for took_s in client.took_s]
    return [
        Row("reload.lost", sum(client.lost for client in clients), at_most=0, source=ISSUE,
            note=f"of {len(asked):,} requests over {CLIENTS} connections, {RELOADS} reloads"),
        Row("reload.took_s", max(took), "s", note="until the old workers were gone"),
        Row("reload.p99", percentile(asked, 0.99) * 1e3, "ms", note="of the requests meanwhile, closed loop"),
        Row("reload.slowest", max(asked) * 1e3, "ms"),
    ]  # fmt: skip


def reload(server: Server, plan: Plan) -> float:
    """Reload, and give how many seconds it took. Raises `RuntimeError` when it does not come to an end."""
    before, start = workers_of(server), time.monotonic()
    os.kill(server.pid, signal.SIGUSR1)
    wait_for_workers(server, before)
    plan.say(f"reloaded after {time.monotonic() - start:.1f} s")
    return time.monotonic() - start


def wait_for_workers(server: Server, others_than: set[int]) -> None:
    """Wait until there are two workers, none of them among these. Raises `RuntimeError`."""
    end = time.monotonic() + PATIENCE_S
    while len(found := workers_of(server)) != 2 or found & others_than:
        if time.monotonic() > end:
            raise RuntimeError(f"the workers are still {found}")
        time.sleep(STEP_S)


def workers_of(server: Server) -> set[int]:
    """Give the worker processes: what the server itself started."""
    return {one.pid for one in processes() if one.parent == server.pid}

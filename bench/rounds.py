"""Rounds: load several servers in turn, in an order that is drawn anew each round, and read what each used."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence

from bench.figures import Sample
from bench.proc import cpu_of, rss_of, settle
from bench.servers import Server
from bench.wrk import Request, send

MIB = 1024 * 1024
WARM_REQUESTS = 50
Say = Callable[[str], None]


def measure(server: Server, seconds: float, connections: int, request: Request | None = None) -> Sample:
    """Load one server once; its process and answer are checked before and after."""
    server.check()
    before = cpu_of(server.pid)
    load = send(server.port, request or server.request, seconds, connections)
    used = cpu_of(server.pid).since(before)
    server.check()
    if not load.requests:
        raise RuntimeError(f"{server.name} answered nothing in {load.seconds:.1f} s")
    return Sample(
        requests=load.requests,
        seconds=load.seconds,
        cpu_us=used.total_s / load.requests * 1e6,
        user_us=used.user_s / load.requests * 1e6,
        p50_ms=load.p50_ms,
        p99_ms=load.p99_ms,
        rss_mib=rss_of(server.pid) / MIB,
        refused=load.refused,
        broken=load.broken,
    )


def interleaved(
    servers: Sequence[Server], rounds: int, seconds: float, connections: int, draw: random.Random, say: Say
) -> dict[str, list[Sample]]:
    """Load each server once a round; gives its samples by name, in the order of the rounds.

    None begins before all have ended what they do once after their start.
    """
    samples: dict[str, list[Sample]] = {server.name: [] for server in servers}
    for server in servers:
        for _ in range(WARM_REQUESTS):
            server.ask()
        settle(server.pid)
    for number in range(1, rounds + 1):
        order = list(servers)
        draw.shuffle(order)
        for server in order:
            sample = measure(server, seconds, connections)
            samples[server.name].append(sample)
            say(f"round {number}/{rounds} {server.name}: {sample.rps:,.0f} requests/s, {sample.cpu_us:.1f} µs CPU each")
    return samples


def rate(work: Callable[[], int], server: Server) -> tuple[float, float]:
    """Do some work against a server; gives (units a second, the server's CPU µs a unit)."""
    before, start = cpu_of(server.pid), time.perf_counter()
    units = work()
    seconds = time.perf_counter() - start
    return units / seconds, cpu_of(server.pid).since(before).total_s / units * 1e6

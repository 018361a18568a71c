"""The clock: real time, and identifiers that are unique and grow."""

from __future__ import annotations

import asyncio
import itertools
import os
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import pytest

from superagent.runtime.clock import SystemClock

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def time_of(name: str) -> int:
    """Give the milliseconds that a ULID says."""
    value = 0
    for letter in name[:10]:
        value = value * 32 + ALPHABET.index(letter)
    return value


def test_a_million_names_are_unique_and_grow() -> None:
    clock = SystemClock()
    names = [clock.new_id() for _ in range(1_000_000)]
    assert all(first < second for first, second in pairwise(names))


def test_a_name_is_a_ulid_of_this_moment() -> None:
    clock = SystemClock()
    before = time.time_ns() // 1_000_000
    name = clock.new_id()
    assert re.fullmatch(f"[0-7][{ALPHABET}]{{25}}", name)
    assert before <= time_of(name) <= time.time_ns() // 1_000_000


def test_two_processes_and_a_fork_never_give_the_same_name() -> None:
    program = (
        "import os\n"
        "from superagent.runtime.clock import SystemClock\n"
        "clock = SystemClock()\n"
        "clock.new_id()\n"
        "child = os.fork()\n"
        "names = [clock.new_id() for _ in range(50_000)]\n"
        "os.write(1, ('\\n'.join(names) + '\\n').encode()) if child == 0 else None\n"
        "child and (os.waitpid(child, 0), print('\\n'.join(names)))\n"
    )
    runs = [subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    names = [line for run in runs for line in run.communicate(timeout=50)[0].split()]
    assert len(names) == 4 * 50_000
    assert len(set(names)) == len(names)


def test_threads_share_a_clock() -> None:
    clock = SystemClock()
    with ThreadPoolExecutor(4) as pool:
        running = [pool.submit(lambda: [clock.new_id() for _ in range(20_000)]) for _ in range(4)]
        names = [name for one in running for name in one.result()]
    assert len(set(names)) == 80_000


def test_names_grow_when_the_system_clock_steps_back_and_numbers_run_out(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SystemClock()
    first = clock.new_id()
    clock.new_id()
    monkeypatch.setattr(time, "time_ns", lambda: 1_000_000)
    began, front, _ = clock._now_on  # pyright: ignore[reportPrivateUsage]
    clock._now_on = began, front, itertools.count((1 << 20) - 1_000)  # pyright: ignore[reportPrivateUsage] - all but used up
    names = [clock.new_id() for _ in range(2_000)]
    assert all(one < other for one, other in pairwise([first, *names]))
    assert time_of(names[-1]) - time_of(first) in (1, 2)


async def test_its_seconds_are_those_of_the_system_and_of_the_loop() -> None:
    clock = SystemClock()
    assert abs(clock.now() - time.time()) < 1
    assert abs(clock.monotonic() - asyncio.get_running_loop().time()) < 1
    assert clock.monotonic() <= clock.monotonic()


def test_a_name_costs_little() -> None:
    clock = SystemClock()
    count = 50_000
    best = min(_cpu_of(clock.new_id, count) for _ in range(5))
    plain = min(_cpu_of(lambda: os.urandom(10), count) for _ in range(5))
    assert best < 8 * plain  # some 1 µs where the call of the system costs 0.3


def _cpu_of(work: object, count: int) -> float:
    assert callable(work)
    started = time.process_time()
    for _ in range(count):
        work()
    return time.process_time() - started

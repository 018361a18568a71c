"""Locks: one holder per resource, in one process and over several."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path

import pytest

from superagent.core.problems import Locked
from superagent.runtime.locks import Locks


@pytest.fixture
def locks(tmp_path: Path) -> Generator[Locks]:
    made = Locks(tmp_path / "locks")
    yield made
    made.close()


async def hold(locks: Locks, resource: str, tenant: str = "a", wait_s: float = 0.02) -> bool:
    """Tell whether a resource can be had now."""
    try:
        async with locks.hold(tenant, resource, wait_s):
            return True
    except Locked:
        return False


async def test_a_held_resource_is_refused_by_name_after_the_wait(locks: Locks) -> None:
    async with locks.hold("a", "path://local/srv/x", 1):
        with pytest.raises(Locked, match="path://local/srv/x") as refused:
            async with locks.hold("a", "path://local/srv/x", 0.02):
                raise AssertionError("two hold it")
        assert refused.value.retryable
    assert await hold(locks, "path://local/srv/x")


async def test_other_resources_and_other_tenants_are_free(locks: Locks) -> None:
    async with locks.hold("a", "x", 1):
        assert await hold(locks, "y")
        assert await hold(locks, "x", tenant="b")
        assert await hold(locks, "\udcff")  # a file name need not be UTF-8


async def test_who_waits_is_served_in_turn(locks: Locks) -> None:
    order: list[int] = []

    async def one(number: int) -> None:
        async with locks.hold("a", "x", 20):
            order.append(number)
            await asyncio.sleep(0)

    await asyncio.gather(*(one(number) for number in range(10)))
    assert order == list(range(10))
    assert locks.idle


async def test_a_cancelled_waiter_leaves_nothing_behind(locks: Locks) -> None:
    async with locks.hold("a", "x", 1):
        waiting = asyncio.create_task(hold(locks, "x", wait_s=20))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
    assert await hold(locks, "x")
    assert locks.idle


async def test_a_cancelled_or_failing_holder_lets_go(locks: Locks) -> None:
    inside = asyncio.Event()

    async def holder() -> None:
        async with locks.hold("a", "x", 1):
            inside.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(holder())
    await inside.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    with pytest.raises(ZeroDivisionError):
        async with locks.hold("a", "x", 1):
            raise ZeroDivisionError
    assert await hold(locks, "x")


async def test_two_maps_of_the_same_file_exclude_each_other(locks: Locks, tmp_path: Path) -> None:
    other = Locks(tmp_path / "locks")
    async with locks.hold("a", "x", 1):
        assert not await hold(other, "x", wait_s=0.05)
        waiting = asyncio.create_task(hold(other, "x", wait_s=20))
        cancelled = asyncio.create_task(hold(other, "y", wait_s=20))
        assert await cancelled
        await asyncio.sleep(0)
    assert await waiting
    assert other.idle
    other.close()


PROGRAM = """
import asyncio, sys
from pathlib import Path
from superagent.runtime.locks import Locks

async def main():
    locks = Locks(Path(sys.argv[1]) / "locks")
    counter = Path(sys.argv[1]) / "counter"
    sys.stdin.readline()
    for _ in range(100):
        async with locks.hold("a", "path://local/counter", 30):
            number = int(counter.read_text())
            await asyncio.sleep(0)
            counter.write_text(str(number + 1))
    print("done", flush=True)
    async with locks.hold("a", "path://local/last", 30):
        sys.stdin.readline()

asyncio.run(main())
"""


async def test_processes_exclude_each_other_and_death_frees_what_was_held(locks: Locks, tmp_path: Path) -> None:
    (tmp_path / "counter").write_text("0")
    command = [sys.executable, "-c", PROGRAM, tmp_path]
    children = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    try:
        for child in children:
            assert child.stdin is not None
            child.stdin.write("go\n")
            child.stdin.flush()
        for child in children:
            assert child.stdout is not None
            assert await asyncio.to_thread(child.stdout.readline) == "done\n"
        assert (tmp_path / "counter").read_text() == "300"
    finally:
        for child in children:
            child.kill()
            child.communicate()
    assert await hold(locks, "path://local/last", wait_s=5)

"""The pool: a command from it sees, does and reports what one in a fresh sandbox does, and nothing crosses over."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from superagent.core.commands import Captured, Ended
from superagent.core.containment import PROFILES
from superagent.core.problems import Conflict, InvalidInput, SandboxUnavailable
from superagent.runtime.sandbox import pool
from superagent.runtime.sandbox.pipes import Pipes
from superagent.runtime.sandbox.pool import Pooled
from tests.needs import program
from tests.runtime.sandbox.here import PROFILE, USER, Here, here, limited, nowhere
from tests.until import until_async

pytestmark = pytest.mark.asyncio(loop_scope="module")


@dataclass
class Both:
    """The back end by itself and with a pool before it, whose policy epoch is a number that tests change."""

    here: Here
    pool: Pooled
    epoch: list[int]

    async def run(self, *argv: str, fresh: bool = False, **fields: Any) -> tuple[Ended, Captured, Captured]:
        """Run a command to its end, by the pool unless a fresh sandbox is wanted."""
        pipes = Pipes(65_536, nowhere)
        running = await self.here.start(*argv, pipes=pipes, by=None if fresh else self.pool, **fields)
        return await pipes.carry(running, 10**6)

    async def ready(self, **fields: Any) -> None:
        """Run something so that a sandbox waits for the next one, and wait for it."""
        await self.run("true", **fields)
        await until_async(lambda: self.pool.waiting > 0, "a sandbox that waits")

    async def said(self, *argv: str, **fields: Any) -> tuple[str, bool]:
        """Give what a command says, and whether it came from the pool."""
        before = self.pool.served
        ended, stdout, stderr = await self.run(*argv, **fields)
        assert ended.code == 0, stderr.text
        return stdout.text, self.pool.served > before


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def open_here(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Here]:
    program(pool.PYTHON, "python3-minimal")
    async with here(tmp_path_factory.mktemp("pool")) as one:
        yield one


@pytest_asyncio.fixture(loop_scope="module")
async def both(open_here: Here) -> AsyncGenerator[Both]:
    epoch = [1]
    pooled = Pooled(open_here.native, lambda: epoch[0])
    yield Both(open_here, pooled, epoch)
    await pooled.close()


# what a program can find out about itself; times, numbers of processes and addresses are its own in any case
LOOK = r"""
env -0 | sort -z | tr '\0' '\n'; pwd; printf '%s|' "$0" "$@"; echo
ls -l /proc/self/fd | sed 's/.* \([0-9]* -> .*\)/\1/; s/[0-9]\{3,\}/N/g; s/fd.*/fd/'
grep -vE 'ctxt|^Vm|^Rss|Speculation|Cpus|Mems|^Hugetlb|^Ngid|SigQ' /proc/self/status
cat /proc/self/limits /proc/self/oom_score_adj /proc/self/mounts; umask; cat /proc/self/task/*/children
ls -la /tmp /dev/shm; ls /proc > /tmp/seen; grep -c '^[0-9]' /tmp/seen; nice; cat; id
"""


async def test_a_command_sees_the_same_from_the_pool_as_in_a_fresh_sandbox(both: Both) -> None:
    asked: dict[str, Any] = {
        "env": {"A": "b\nc=d", "HOME": "/workspace"},
        "stdin": "é\0in".encode(),
        "cwd": "/workspace",
    }
    argv = ("sh", "-c", LOOK, "zero", "", "a b", "ä'\"\n")
    fresh, _ = await both.said(*argv, fresh=True, **asked)
    await both.ready()

    pooled, from_pool = await both.said(*argv, **asked)

    assert from_pool
    # posix_spawn(3) leaves the two signals ignored that the C library keeps for itself, as it does for all it starts
    found = [re.sub(r"(SigIgn:\t)0{7}[01][08]0{7}", r"\g<1>0", said).splitlines() for said in (pooled, fresh)]
    assert found[0] == found[1]


async def test_how_it_ends_is_told_the_same_way(both: Both) -> None:
    for script, code, limit in [
        ("exit 7", 7, ""), ("kill -9 $$", 137, ""), ("sleep 20", None, "wall"), ("yes", None, "output"),
    ]:  # fmt: skip
        await both.ready()
        before = both.pool.served
        ended, _, _ = await both.run("sh", "-c", script, profile=limited(wall_s=0.6, output_bytes=10**6))
        assert (ended.code, ended.limit, ended.ran) == (code, limit, True), script
        assert both.pool.served == before + 1, script


async def test_what_cannot_be_executed_is_told_as_ever(both: Both) -> None:
    (both.here.workspace / "text").write_text("echo from a shell")
    (both.here.workspace / "text").chmod(0o755)
    for argv in (["nonexistent"], ["./nowhere"], ["/usr"]):
        await both.ready()
        fresh = await both.run(*argv, fresh=True)
        pooled = await both.run(*argv)
        assert not pooled[0].ran
        assert pooled[2].text == fresh[2].text

    await both.ready()
    text, _ = await both.said("./text")  # execvp(3) hands a file without an interpreter to a shell
    assert text == "from a shell\n"

    with pytest.raises(InvalidInput):
        await both.run("true", env={"no name": "x"})


async def test_a_sandbox_serves_one_command_and_leaves_nothing_to_the_next(both: Both) -> None:
    await both.ready()
    for _ in range(3):
        text, from_pool = await both.said(
            "sh", "-c", "ls /tmp /dev/shm; touch /tmp/x /dev/shm/y; (sleep 99 &) >&- 2>&-; cat /proc/[0-9]*/comm"
        )
        assert from_pool
        assert not {"x", "y"} & set(text.split())
        assert text.count("sleep") <= 1
        await until_async(lambda: both.pool.waiting > 0, "the next one")


async def test_waiting_is_neither_in_its_time_nor_in_what_it_used(both: Both) -> None:
    await both.ready()
    for _ in range(8):
        await asyncio.sleep(0.09)
    ended, _, _ = await both.run("true")

    assert ended.seconds < 0.7
    assert ended.cpu_s < 0.02  # starting the program that waited took as much


async def test_what_is_not_the_same_is_not_served_by_what_waits(both: Both) -> None:
    other = both.here.workspace.parent / "other"
    other.mkdir(exist_ok=True)
    if USER is not None:
        os.chown(other, USER, USER)
    different: list[dict[str, Any]] = [
        {"tenant": "another"}, {"workspace": str(other)}, {"profile": PROFILES["read-only"]}, {"local_sockets": True},
        {"profile": limited(processes=5)}, *([{"user": USER + 1}] if USER is not None else []),
    ]  # fmt: skip
    for fields in different:
        await both.ready()
        before = both.pool.served
        await both.run("true", **fields)
        assert both.pool.served == before, fields


async def test_limits_of_time_and_output_do_not_keep_a_sandbox_from_serving(both: Both) -> None:
    await both.ready()

    assert (await both.said("true", profile=limited(wall_s=3, output_bytes=1000)))[1]


async def test_a_change_of_policy_ends_what_waits(both: Both) -> None:
    await both.ready()
    both.epoch[0] += 1

    assert not (await both.said("true"))[1]
    await until_async(lambda: both.pool.waiting == 1, "one for the policy of now")
    assert (await both.said("true"))[1]


async def test_a_workspace_of_the_same_name_is_not_the_same(both: Both) -> None:
    await both.ready()
    old = both.here.workspace.rename(both.here.workspace.parent / "old")
    try:
        both.here.workspace.mkdir()
        if USER is not None:
            os.chown(both.here.workspace, USER, USER)
        (both.here.workspace / "new").touch()

        text, from_pool = await both.said("ls")

        assert not from_pool
        assert "new" in text
    finally:
        (both.here.workspace / "new").unlink()
        both.here.workspace.rmdir()
        old.rename(both.here.workspace)


async def test_what_is_old_is_not_used_and_is_ended(both: Both, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "AGE_S", 0.3)
    monkeypatch.setattr(pool, "LEFT_S", 0.25)
    await both.ready()
    await until_async(lambda: both.pool.waiting == 0, "its end by age")

    assert not (await both.said("true"))[1]


async def test_there_are_never_more_than_the_most(both: Both, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "MOST_WAITING", 2)
    for tenant in ("a", "b", "c"):
        await both.ready(tenant=tenant)
        await until_async(lambda: both.pool.waiting <= 2 and not both.pool.filling, "the pool at rest")

    assert (await both.said("true", tenant="c"))[1]
    assert not (await both.said("true", tenant="a"))[1]


async def test_a_call_that_is_given_up_ends_its_command(both: Both) -> None:
    await both.ready()
    place = both.here.workspace / "alive"
    task = asyncio.create_task(both.run("sh", "-c", "while :; do date +%N > alive; done"))
    await until_async(place.exists, "the command's first words")
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)

    last = place.read_text()
    await asyncio.sleep(0.05)
    assert place.read_text() == last
    place.unlink()


async def test_what_a_command_leaves_is_gone_when_its_end_is_told(both: Both) -> None:
    mark = f"9{os.getpid():07d}"
    for left in ("setsid sleep {0} &", "(trap '' TERM HUP INT; sleep {0} & sleep {0}; sleep {0}) &"):
        await both.ready()
        before = both.pool.served
        ended, _, _ = await both.run("sh", "-c", left.format(mark) + " exec >&- 2>&-; exit 5")

        assert ended.code == 5
        assert both.pool.served == before + 1
        assert not running_as(mark)


# each of these is what a command could try against the program beside it that says how it ended
AGAINST_THE_FIRST = {
    "looking into it": "cat /proc/1/environ /proc/1/maps; ls /proc/1/fd /proc/1/cwd/",
    "writing into it": "/usr/bin/python3 -c \"open('/proc/1/mem', 'r+b')\"",
    "its descriptors": "/usr/bin/python3 -c \"import os; os.open('/proc/1/fd/128', os.O_RDWR)\"",
    "signals": "for n in 1 2 3 9 10 13 14 15 19 20; do kill -$n 1; done; exit 1",
    "tracing": '/usr/bin/python3 -c "import ctypes as c, sys; sys.exit(-c.CDLL(None).ptrace(16, 1, 0, 0))"',
}


@pytest.mark.parametrize("what", AGAINST_THE_FIRST)
async def test_a_command_can_do_nothing_to_the_program_that_says_how_it_ended(both: Both, what: str) -> None:
    await both.ready()
    before = both.pool.served
    ended, stdout, stderr = await both.run("sh", "-c", f"{AGAINST_THE_FIRST[what]} && exit 99; exit 42")

    assert both.pool.served == before + 1
    assert (ended.code, ended.limit, stdout.text) == (1 if what == "signals" else 42, "", ""), stderr.text


async def test_signals_reach_the_command_and_not_the_program_beside_it(both: Both) -> None:
    await both.ready()
    pipes = Pipes(65_536, nowhere)
    running = await both.here.start(
        "sh", "-c", "trap 'echo heard; exit 3' TERM; echo up > up; while :; do sleep 0.01; done",
        pipes=pipes, by=both.pool,
    )  # fmt: skip
    carrying = asyncio.ensure_future(pipes.carry(running, 10**6))
    await until_async((both.here.workspace / "up").exists, "the command")
    await running.signal(15)

    ended, stdout, _ = await carrying
    assert (ended.code, stdout.text) == (3, "heard\n")
    (both.here.workspace / "up").unlink()
    with pytest.raises(Conflict):
        await running.signal(15)
    await running.kill()


@pytest.mark.parametrize("which", ["the outer half", "the first program", "the command", "the launcher"])
async def test_whatever_of_it_is_killed_its_end_is_told_and_nothing_stays(both: Both, which: str) -> None:
    await both.ready()
    mark = f"8{os.getpid():07d}"
    pipes = Pipes(65_536, nowhere)
    running = await both.here.start("sleep", mark, pipes=pipes, by=both.pool)
    carrying = asyncio.ensure_future(pipes.carry(running, 10**6))
    await until_async(lambda: running_as(mark), "the command")
    [command] = running_as(mark)
    first = parent_of(command)
    launcher = both.here.launcher.pid
    assert launcher is not None
    victim = {
        "the outer half": parent_of(first), "the first program": first, "the command": command, "the launcher": launcher
    }[which]  # fmt: skip
    os.kill(victim, signal.SIGKILL)

    if which == "the launcher":
        with pytest.raises(SandboxUnavailable):
            await carrying
    else:
        assert (await carrying)[0].code == 137
    await until_async(lambda: not running_as(mark) and not Path(f"/proc/{first}").exists(), "the end of all of it")


def running_as(mark: str) -> list[int]:
    """Give the processes that bear a mark as the last word of their command line."""
    found: list[int] = []
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if place.read_bytes().endswith(f"sleep\0{mark}\0".encode()):
                found.append(int(place.parent.name))
    return found


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


async def test_closing_ends_what_waits(open_here: Here) -> None:
    pooled = Pooled(open_here.native)
    both = Both(open_here, pooled, [0])
    await both.ready()
    [waiting] = pooled._waiting.values()  # pyright: ignore[reportPrivateUsage]

    await pooled.close()

    await until_async(lambda: waiting.run.ended, "its end")


async def test_without_a_python_inside_every_command_gets_a_fresh_sandbox(open_here: Here, tmp_path: Path) -> None:
    pooled = Pooled(open_here.native, python=str(tmp_path / "none"))
    both = Both(open_here, pooled, [0])
    for _ in range(2):
        assert not (await both.said("true", profile=PROFILE))[1]
    assert pooled.waiting == 0

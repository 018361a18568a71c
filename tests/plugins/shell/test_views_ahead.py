"""Commands on views that were made before they were needed: they see and change what a fresh view would let them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from superagent.runtime.sandbox.pool import PYTHON
from tests.needs import program
from tests.surfaces.http.house import Caller, House, problem_of
from tests.until import until_async

pytestmark = pytest.mark.asyncio(loop_scope="session")
FIRST = "cat /proc/1/comm; "
"""Says what process 1 is: only where a sandbox waited, it is a Python."""


@pytest_asyncio.fixture(loop_scope="session")
async def own(house: House) -> Caller:
    """Give an agent of this test alone, for whom a sandbox waits."""
    program("bwrap", "bubblewrap")
    program(PYTHON, "python3-minimal")
    agent = await house.agent()
    await agent.done("files.write", {"path": "a.txt", "content": "one\n"})
    await waits(house, agent)
    return agent


def waiting(house: House, caller: Caller) -> list[str]:
    """Give the views of a workspace that belong to nobody yet."""
    found: list[str] = []
    for place in (house.data / "state" / "views").glob("*.json"):
        with contextlib.suppress(FileNotFoundError):
            noted = json.loads(place.read_text())
            if noted["lower"] == str(caller.workspace) and noted["chain"] == [""]:
                found.append(noted["id"])
    return found


def running(mark: str) -> bool:
    """Tell whether the command that sleeps so long runs by now."""
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if place.read_bytes() == f"sleep\0{mark}\0".encode():
                return True
    return False


async def waits(house: House, caller: Caller) -> None:
    """Run something until a sandbox has served it, and wait for the next view."""

    async def served() -> bool:
        return (await run(caller, FIRST))[0]

    for _ in range(100):
        if await served():
            break
        await asyncio.sleep(0.09)
    await until_async(lambda: len(waiting(house, caller)) == 1, "the next view")


async def run(caller: Caller, command: str, **input: Any) -> tuple[bool, dict[str, Any]]:
    """Run a command; tells whether a sandbox had waited for it."""
    said = await caller.done("shell.run", {"command": FIRST + command, **input})
    first, said["stdout"] = said["stdout"].split("\n", 1)
    return first.startswith("python"), said


async def served(house: House, caller: Caller, command: str, **input: Any) -> dict[str, Any]:
    """Run a command that must be harmless to repeat, in a sandbox that waited."""
    for _ in range(100):
        await asyncio.sleep(0.09)
        pooled, said = await run(caller, command, **input)
        if pooled:
            return said
    raise AssertionError("no sandbox waited")


async def test_each_command_sees_what_the_one_before_has_done_and_may_change_it(house: House, own: Caller) -> None:
    for number in range(5):
        said = await served(house, own, f"echo {number} >> a.txt; cat a.txt; ls")
        assert f"{number}\n" in said["stdout"]
        assert said["changes"]["applied"] is True, said
        assert (own.workspace / "a.txt").read_text() == said["stdout"].removesuffix("a.txt\n")


async def test_what_others_did_since_the_view_was_made_is_seen_and_no_conflict(house: House, own: Caller) -> None:
    for number in range(3):
        await until_async(lambda: len(waiting(house, own)) == 1, "a view")
        await own.done("files.write", {"path": "a.txt", "content": f"other {number}\n"})
        await own.done("files.mkdir", {"path": f"d{number}"})
        await own.done("files.write", {"path": f"d{number}/new", "content": "x"})
        said = await served(house, own, f"cat a.txt; cat d{number}/new; echo mine >> a.txt; rm -f d{number}/x; ls")

        assert "conflict" not in str(said["changes"])
        assert said["changes"]["applied"] is True
        assert said["stdout"].startswith(f"other {number}\n")
        assert f"d{number}" in said["stdout"]


async def test_what_others_do_while_it_runs_is_still_a_conflict(house: House, own: Caller) -> None:
    for number in range(100):
        mark = f"1.{os.getpid()}{number:03d}"
        calling = asyncio.ensure_future(run(own, f"cat a.txt; sleep {mark}; echo mine > a.txt"))
        await until_async(lambda: running(mark), "the command")  # noqa: B023
        await own.done("files.write", {"path": "a.txt", "content": "changed meanwhile\n"})
        pooled, said = await calling

        assert said["changes"]["applied"] is False
        assert (own.workspace / "a.txt").read_text() == "changed meanwhile\n"
        if pooled:
            return
    raise AssertionError("no sandbox waited")


async def test_its_disk_is_limited(house: House, own: Caller) -> None:
    said = await served(house, own, "for n in 1 2 3; do head -c 100000000 /dev/zero > big$n; done")

    assert said["limit"] == "disk"
    assert sum(one.stat().st_size for one in own.workspace.glob("big*")) < 300_000_000


async def test_it_can_be_had_back(house: House, own: Caller) -> None:
    before = (own.workspace / "a.txt").read_text()
    for _ in range(100):
        await asyncio.sleep(0.09)
        response = await own.call("shell.run", {"command": FIRST + "echo gone > a.txt"})
        await own.done("undo.apply", {"ids": [response.json()["invocation"]]})
        assert (own.workspace / "a.txt").read_text() == before
        if response.json()["output"]["stdout"].startswith("python"):
            return
    raise AssertionError("no sandbox waited")


async def test_a_view_that_waits_is_nobodys_and_cannot_be_asked_for(house: House, own: Caller) -> None:
    [id] = waiting(house, own)
    for caller in (own, house.owner):
        for verb in ("diff", "accept", "discard"):
            problem_of(await caller.call(f"sandbox.{verb}", {"view": id}), 404, "not-found")
    assert id in waiting(house, own)


async def test_for_a_folder_that_was_replaced_a_view_is_made_anew(house: House, own: Caller) -> None:
    await waits(house, own)
    old = own.workspace.rename(own.workspace.with_name(f"{own.workspace.name}-old"))
    own.workspace.mkdir()
    made = os.stat(old)
    os.chown(own.workspace, made.st_uid, made.st_gid)
    own.workspace.chmod(made.st_mode & 0o777)

    pooled, said = await run(own, "ls; echo here > b.txt")

    assert not pooled
    assert said["stdout"] == ""
    assert (own.workspace / "b.txt").read_text() == "here\n"
    assert not (old / "b.txt").exists()

"""No agent takes the whole machine: its commands take turns, and below the disk's reserve it can only delete."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests import needs
from tests.surfaces.http.house import Caller, House, house_in, problem_of

HELD = "date +%s%N; sleep 0.3; date +%s%N"


@pytest.fixture(autouse=True)
def bubblewrap() -> None:
    needs.program("bwrap", "bubblewrap")


async def begun_and_ended(caller: Caller) -> tuple[int, int]:
    """Run a command that takes a moment: when it began and ended, in nanoseconds."""
    ran = await caller.done("shell.run", {"command": HELD})
    begun, ended = ran["stdout"].split()
    return int(begun), int(ended)


def most_at_once(spans: list[tuple[int, int]]) -> int:
    """Give how many of these spans lie over each other at most."""
    return max(sum(begun <= moment < ended for begun, ended in spans) for moment, _ in spans)


async def test_the_commands_of_one_agent_take_turns_and_another_one_need_not_wait_for_them(tmp_path: Path) -> None:
    async with house_in(tmp_path / "data", limits__commands=1) as house:
        one, other = await house.agent(), await house.agent()

        spans = await asyncio.gather(*(begun_and_ended(caller) for caller in (one, one, one, one, other)))

        assert most_at_once(spans[:4]) == 1
        assert spans[4][1] < max(ended for _, ended in spans[:4])


async def test_who_gives_up_waiting_leaves_the_turn_to_others(tmp_path: Path) -> None:
    async with house_in(tmp_path / "data", limits__commands=1) as house:
        agent = await house.agent()

        calls = [agent.call("shell.run", {"command": HELD}, Superagent_Deadline="0.2") for _ in range(3)]
        late = await asyncio.gather(*calls)

        assert {one.status_code for one in late} <= {200, 504}
        assert (await agent.done("shell.run", {"command": "echo on"}))["stdout"] == "on\n"


async def refused(house: House, caller: Caller, operation: str, input: dict[str, Any]) -> None:
    """Have a call refused for want of room, and recorded as such."""
    answer = await caller.call(operation, input)
    problem = problem_of(answer, 503, "unavailable")
    assert "bytes free that are kept" in problem["detail"], problem
    assert "limits.reserve_bytes" in problem["hint"]
    records = await house.records(invocation=answer.headers["x-invocation-id"])
    assert [(one["kind"], one.get("problem"), one.get("changed")) for one in records if one["kind"] == "outcome"] == [
        ("outcome", "unavailable", "nothing")
    ]


async def test_where_the_disk_has_no_more_than_its_reserve_one_can_only_read_and_delete(tmp_path: Path) -> None:
    async with house_in(tmp_path / "data", limits__reserve_bytes=1 << 62) as house:
        agent = await house.agent()
        (agent.workspace / "old").write_text("old\n")

        await refused(house, house.owner, "files.write", {"path": str(agent.workspace / "new"), "content": "new\n"})
        await refused(house, agent, "files.write", {"path": "new", "content": "new\n"})
        await refused(house, agent, "shell.run", {"command": "echo new > new"})

        assert (await agent.done("files.read", {"path": "old"}))["content"] == "old\n"
        assert (await agent.done("shell.run", {"command": "cat old", "sandbox": "read-only"}))["stdout"] == "old\n"
        await agent.done("files.delete", {"path": "old"})
        assert list(agent.workspace.iterdir()) == []

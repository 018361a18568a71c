"""Looking for an approver at real files: what would take for ever to read is refused in time, and nothing hangs."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from superagent.app import Installation
from superagent.core import looks
from superagent.core.invocation import Call, Status
from tests.features.test_approved_files import agent, approve, here

__all__ = ["here"]

ASKS: list[tuple[str, dict[str, Any]]] = [
    ("files.delete", {"path": "huge"}),
    ("files.delete", {"path": "tree", "recursive": True}),
    ("files.write", {"path": "small", "content": "x", "expected_hash": "0" * 64}),
]


@pytest.fixture
def top(tmp_path: Path) -> Path:
    """Make files of holes: they take no room, and reading one takes seconds."""
    (tmp_path / "top" / "tree").mkdir(parents=True)
    for name in ("huge", "small", "tree/huge"):
        with (tmp_path / "top" / name).open("wb") as file:
            file.truncate((4 << 30) - 1)
    return tmp_path / "top"


@pytest.mark.parametrize(("operation", "input"), ASKS, ids=[f"{name} {input['path']}" for name, input in ASKS])
async def test_what_takes_too_long_to_look_at_is_refused_in_time_and_recorded(
    here: Installation, top: Path, monkeypatch: pytest.MonkeyPatch, operation: str, input: dict[str, Any]
) -> None:
    monkeypatch.setattr(looks, "LOOK_S", 0.2)
    by = await agent(here)

    refused = await here.kernel.run(Call(operation, input | {"path": f"{top}/{input['path']}"}), by, "http")

    assert refused.problem is not None
    assert (refused.problem.slug, refused.problem.changed) == ("deadline", "nothing")
    (record,) = (await here.index.query("default", invocation=refused.invocation, limit=5))[0]
    assert (record["kind"], record["problem"]) == ("refused", "deadline")
    assert await here.kernel.hands.work.waiting("default") == []
    assert (top / input["path"]).exists()


async def test_many_who_ask_at_once_do_not_keep_others_from_their_files(
    here: Installation, top: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(looks, "LOOK_S", 1.0)
    by, other = await agent(here), await agent(here, name="other")
    async with asyncio.TaskGroup() as group:
        call = Call("files.delete", {"path": f"{top}/huge"})
        asking = [group.create_task(here.kernel.run(call, by, "http")) for _ in range(40)]
        written = await here.kernel.run(Call("files.write", {"path": "mine", "content": "x"}), other, "http")
    assert written.problem is None
    slugs = [one.result().problem.slug for one in asking if one.result().problem is not None]  # pyright: ignore[reportOptionalMemberAccess]
    assert sorted(slugs) == ["deadline"] * 2 + ["overloaded"] * 38


async def test_what_can_be_looked_at_in_time_waits_and_is_done(here: Installation, tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("x")
    asked = await here.kernel.run(Call("files.delete", {"path": f"{tmp_path}/plain"}), await agent(here), "http")
    assert asked.status is Status.WAITING
    assert (await approve(here, asked.invocation)).status is Status.DONE
    assert not (tmp_path / "plain").exists()

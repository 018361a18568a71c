"""Approving a change of a real file: the approver sees the diff, and only that very change is made."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from superagent.app import Installation, open_installation
from superagent.core.invocation import Call, Outcome, Status
from superagent.core.principal import Credential, Facts, Principal, Secret
from superagent.settings import load


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Installation]:
    async with open_installation(load(tmp_path / "data", environ={})) as installation:
        yield installation


async def agent(here: Installation, **given: Any) -> Principal:
    made = await here.kernel.run(Call("access.keys.create", {"name": "builder"} | given), await here.owner(), "cli")
    return await here.kernel.identify(
        Credential("bearer", Secret(made.result()["key"]), Facts("127.0.0.1", "", "http"))
    )


async def ask(here: Installation, by: Principal, file: Path) -> Outcome:
    outcome = await here.kernel.run(Call("files.write", {"path": str(file), "content": "new\n"}), by, "http")
    assert outcome.status is Status.WAITING
    return outcome


async def approve(here: Installation, id: str) -> Outcome:
    decided = Call("approvals.decide", {"id": id, "decision": "approve"})
    assert (await here.kernel.run(decided, await here.owner(), "cli")).problem is None
    async with asyncio.timeout(20):
        while (ended := await here.kernel.hands.work.outcome("default", id)) is None:
            await asyncio.sleep(0.01)
    return ended


ASKS: list[dict[str, Any]] = [
    {},
    {"grants": [{"effect": "ask", "operations": ["files.*"], "where": {"paths": ["/**"]}}]},
]


@pytest.mark.parametrize("given", ASKS, ids=["role agent", "own grants"])
async def test_the_approver_sees_the_diff_and_that_change_is_made(
    here: Installation, tmp_path: Path, given: dict[str, Any]
) -> None:
    file = tmp_path / "file.txt"
    file.write_text("old\n")
    waiting = await ask(here, await agent(here, **given), file)
    listed = await here.kernel.run(Call("approvals.list", {}), await here.owner(), "cli")
    preview = listed.result()["waiting"][0]["preview"]
    assert "-old" in preview["diff"]
    assert "+new" in preview["diff"]
    assert (await approve(here, waiting.invocation)).status is Status.DONE
    assert file.read_text() == "new\n"


@pytest.mark.parametrize("given", ASKS, ids=["role agent", "own grants"])
async def test_a_file_that_changed_since_the_approver_looked_stays(
    here: Installation, tmp_path: Path, given: dict[str, Any]
) -> None:
    file = tmp_path / "file.txt"
    file.write_text("old\n")
    waiting = await ask(here, await agent(here, **given), file)
    file.write_text("somebody else's work\n")
    ended = await approve(here, waiting.invocation)
    assert ended.problem is not None
    assert ended.problem.slug == "conflict"
    assert file.read_text() == "somebody else's work\n"


async def test_the_record_of_an_undo_names_what_it_took_back(here: Installation, tmp_path: Path) -> None:
    owner, file = await here.owner(), tmp_path / "file.txt"
    done = await here.kernel.run(Call("files.write", {"path": str(file), "content": "x"}), owner, "cli")
    back = await here.kernel.run(Call("undo.apply", {"ids": [done.invocation]}), owner, "cli")
    found = await here.kernel.run(Call("audit.query", {"resource": f"path://local{file}", "limit": 1}), owner, "cli")
    assert found.result()["records"][0]["invocation"] == back.invocation


async def test_a_key_with_grants_alone_has_no_folder(here: Installation) -> None:
    narrow = await agent(here, grants=[{"effect": "allow", "operations": ["files.read"]}])
    assert narrow.workspace == ""


async def test_who_may_write_but_not_read_is_shown_no_diff(here: Installation, tmp_path: Path) -> None:
    file = tmp_path / "file.txt"
    file.write_text("secret\n")
    only_change = {"effect": "allow", "operations": ["files.write"], "effects": ["CHANGE"]}
    blind = await agent(here, grants=[only_change])
    for dry_run in (True, False):
        call = Call("files.write", {"path": str(file), "content": "new\n"}, dry_run=dry_run)
        outcome = await here.kernel.run(call, blind, "http")
        assert outcome.problem is None
        assert b"secret" not in outcome.output


async def test_an_undo_of_very_many_lines_is_not_compared_line_by_line(here: Installation, tmp_path: Path) -> None:
    owner, file = await here.owner(), tmp_path / "file.txt"
    file.write_text("a\n" * 20_000)
    done = await here.kernel.run(Call("files.write", {"path": str(file), "content": "b\n" * 20_000}), owner, "cli")
    plan = await here.kernel.run(Call("undo.plan", {"ids": [done.invocation]}), owner, "cli")
    assert "too many to compare" in plan.result()["steps"][0]["diff"]

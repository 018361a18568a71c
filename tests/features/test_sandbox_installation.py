"""The sandbox operations in a whole installation: what agents may by their role, and what approvers approve."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from superagent.app import Installation, open_installation
from superagent.core.invocation import Call, Outcome, Status
from superagent.core.principal import Credential, Facts, Principal, Secret
from superagent.runtime.sandbox.views import Views
from superagent.settings import load
from tests.ordinary_user import open_folder
from tests.runtime.sandbox.viewing import GID, UID, run_on, state_of


@pytest.fixture(name="here")
async def _here() -> AsyncIterator[Installation]:
    with open_folder() as folder:
        async with open_installation(load(folder / "data", environ={})) as installation:
            yield installation


async def agent(here: Installation, **given: Any) -> Principal:
    made = await here.kernel.run(Call("access.keys.create", {"name": "builder", **given}), await here.owner(), "cli")
    return await here.kernel.identify(
        Credential("bearer", Secret(made.result()["key"]), Facts("127.0.0.1", "", "http"))
    )


def worked(here: Installation, by: Principal, script: str, folder: str = "") -> str:
    """Run a command of an agent on a view of its workspace, and give the view."""
    real = folder or by.workspace
    if os.geteuid() == 0:
        for at, names, files in os.walk(real):
            for name in (".", *names, *files):
                os.chown(f"{at}/{name}", UID, GID, follow_symlinks=False)
    views = Views(here.places.data / "views", here.places.state / "views", here.kernel.hands.clock.now)
    with views.make(real, tenant=by.tenant, chain=by.ids, mounting="before", uid=UID, gid=GID) as use:
        run_on(use.view, script)
        use.rest()
        return use.record.id


async def ask(here: Installation, by: Principal, name: str, id: str, **input: Any) -> Outcome:
    return await here.kernel.run(Call(f"sandbox.{name}", {"view": id, **input}), by, "http")


async def approve(here: Installation, id: str) -> Outcome:
    decided = Call("approvals.decide", {"id": id, "decision": "approve"})
    assert (await here.kernel.run(decided, await here.owner(), "cli")).problem is None
    async with asyncio.timeout(20):
        while (ended := await here.kernel.hands.work.outcome("default", id)) is None:
            await asyncio.sleep(0.01)
    return ended


async def test_an_agent_looks_accepts_and_takes_back_in_its_own_workspace(here: Installation) -> None:
    by = await agent(here)
    Path(by.workspace, "a").write_text("old\n")
    Path(by.workspace, "b").write_text("gone\n")
    before = state_of(Path(by.workspace))
    id = worked(here, by, "echo new > a; rm b; mkdir d; echo 1 > d/e")
    before = {path: (*state[:2], UID, state[3]) for path, state in before.items()}
    shown = (await ask(here, by, "diff", id)).result()
    assert [one["path"] for one in shown["changes"]] == ["a", "b", "d", "d/e"]
    done = await ask(here, by, "accept", id, digest=shown["digest"])
    assert done.problem is None, done.problem
    assert {one.resource.rpartition("/")[2] for one in done.effects} == {"a", "b", "d"}
    query = Call("audit.query", {"text": "sandbox.accept", "limit": 5})
    records = (await here.kernel.run(query, await here.owner(), "cli")).result()["records"]
    assert {one["kind"] for one in records if one["operation"] == "sandbox.accept"} == {"intent", "outcome"}
    back = await here.kernel.run(Call("undo.apply", {"ids": [done.invocation]}), by, "http")
    assert back.problem is None
    assert state_of(Path(by.workspace)) == before


async def test_a_view_of_somebody_else_is_not_there_and_that_is_recorded(here: Installation) -> None:
    by, other = await agent(here), await agent(here, name="other")
    id = worked(here, by, "touch x")
    for name in ("diff", "accept", "discard"):
        outcome = await ask(here, other, name, id)
        assert outcome.problem is not None
        assert outcome.problem.slug == "not-found"
        query = Call("audit.query", {"limit": 1, "text": f"sandbox.{name}"})
        (record,) = (await here.kernel.run(query, await here.owner(), "cli")).result()["records"]
        assert (record["problem"], record["who"]) == ("not-found", other.id)
    assert (await ask(here, await here.owner(), "discard", id, folder=by.workspace)).problem is None


async def test_what_lies_outside_its_workspace_waits_for_a_person(here: Installation) -> None:
    by = await agent(here)
    outside = here.places.data.parent / "outside"
    outside.mkdir()
    id = worked(here, by, "touch x", str(outside))
    assert (await ask(here, by, "diff", id, folder=str(outside))).status is Status.WAITING
    waiting = await ask(here, by, "accept", id, folder=str(outside))
    assert waiting.status is Status.WAITING
    assert not os.listdir(outside)
    ended = await approve(here, waiting.invocation)
    assert ended.problem is None
    assert os.listdir(outside) == ["x"]


ASKS = [{"effect": "ask", "operations": ["*"], "where": {"paths": ["/**"]}}]


async def test_an_approver_sees_the_diff_and_only_that_very_diff_is_accepted(here: Installation) -> None:
    by = await agent(here, grants=ASKS)
    real = here.places.data.parent / "real"
    real.mkdir()
    (real / "a").write_text("old\n")
    script = "echo new > a; printf 'x\\0y' > binary"
    id = worked(here, by, script, str(real))
    waiting = await ask(here, by, "accept", id, folder=str(real))
    assert waiting.status is Status.WAITING
    listed = await here.kernel.run(Call("approvals.list", {}), await here.owner(), "cli")
    preview = listed.result()["waiting"][0]["preview"]
    assert "-old" in preview["diff"]
    assert preview["changes"] == ["a: modified", "binary: created"]
    (real / "elsewhere").write_text("others go on working")
    ended = await approve(here, waiting.invocation)
    assert ended.problem is None, ended.problem
    assert (real / "a").read_text() == "new\n"


@pytest.mark.parametrize("meddle", ["the view", "the folder"])
async def test_what_changed_since_the_approver_looked_is_not_accepted(here: Installation, meddle: str) -> None:
    by = await agent(here, grants=ASKS)
    real = here.places.data.parent / "real"
    real.mkdir()
    (real / "a").write_text("old\n")
    id = worked(here, by, "echo new > a; printf 'x\\0y' > binary", str(real))
    waiting = await ask(here, by, "accept", id, folder=str(real))
    if meddle == "the view":
        views = Views(here.places.data / "views", here.places.state / "views", here.kernel.hands.clock.now)
        with views.use(id) as use:
            run_on(use.view, "printf 'x\\0z' > binary")
    else:
        (real / "a").write_text("theirs\n")
    ended = await approve(here, waiting.invocation)
    assert ended.problem is not None
    assert ended.problem.slug == "conflict"
    assert not (real / "binary").exists()


async def test_views_are_swept_when_the_installation_starts(here: Installation) -> None:
    by = await agent(here)
    views = Views(here.places.data / "views", here.places.state / "views", lambda: 0.0)
    Path(by.workspace).chmod(0o755)
    views.make(by.workspace, tenant="default", chain=by.ids, mounting="before", uid=UID or 1, gid=GID).close()
    kept = worked(here, by, "touch x")
    data = here.places.data
    assert len(os.listdir(data / "views")) == 2
    async with open_installation(load(data, environ={}), worker="1"):
        assert os.listdir(data / "views") == [kept]

"""A watch goes on only while its key lives and its grant stands; then it ends, says why, and is on record."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest

from superagent.app import Installation, open_installation
from superagent.core.invocation import Call, Outcome, Status
from superagent.core.principal import Principal
from superagent.settings import load
from tests.features.test_approved_files import agent, here

__all__ = ["here"]


class Watching:
    """A watch of a folder under way."""

    def __init__(self, here: Installation, by: Principal, folder: Path) -> None:
        self.here = here
        self.by = by
        self.folder = folder
        self.id = ""

    async def begin(self) -> Watching:
        call = Call("files.watch", {"path": str(self.folder), "debounce_s": 0.0})
        outcome = await self.here.kernel.run(call, self.by, "http")
        assert outcome.status is Status.QUEUED, outcome.problem
        self.id = outcome.invocation
        async with asyncio.timeout(20):
            while not await self.told():  # a change is told only once the folder is really watched
                (self.folder / "probe").write_text("x")
                await asyncio.sleep(0.02)
        return self

    async def told(self) -> set[str]:
        stored = await self.here.kernel.hands.work.events("default", self.id, 0)
        return {Path(msgspec.json.decode(event)["path"]).name for _, event in stored}

    async def ended(self) -> Outcome:
        async with asyncio.timeout(20):
            while (found := await self.here.kernel.hands.work.outcome("default", self.id)) is None:
                await asyncio.sleep(0.01)
        return found

    async def recorded(self) -> tuple[str, str]:
        found = (await self.here.index.query("default", invocation=self.id, limit=5))[0]
        return found[0].get("status", ""), found[0].get("problem", "")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "watched"
    (made / "part").mkdir(parents=True)
    return made


@pytest.fixture
async def watching(here: Installation, folder: Path) -> Watching:
    own: list[dict[str, Any]] = [
        {"effect": "allow", "operations": ["files.watch"], "where": {"paths": [f"{folder}/**"]}}
    ]
    return await Watching(here, await agent(here, grants=own), folder).begin()


async def owner_does(here: Installation, operation: str, **input: Any) -> Any:
    return (await here.kernel.run(Call(operation, input), await here.owner(), "cli")).result()


async def test_a_silent_watch_ends_when_its_key_is_revoked(here: Installation, watching: Watching) -> None:
    await owner_does(here, "access.keys.revoke", id=watching.by.key)

    ended = await watching.ended()

    assert ended.problem is not None
    assert ended.problem.slug == "denied"
    assert "revoked" in ended.problem.detail
    assert await watching.recorded() == ("failed", "denied")


async def test_a_silent_watch_ends_when_its_grant_is_taken_away(here: Installation, watching: Watching) -> None:
    (grant,) = [
        one["id"]
        for one in (await owner_does(here, "grants.list"))["grants"]
        if one["grant"].get("subject") == f"key:{watching.by.key}"
    ]
    await owner_does(here, "grants.revoke", id=grant)

    ended = await watching.ended()

    assert ended.problem is not None
    assert ended.problem.slug == "denied"
    assert await watching.recorded() == ("failed", "denied")


async def test_a_silent_watch_ends_when_it_is_denied(here: Installation, watching: Watching) -> None:
    deny = {"effect": "deny", "subject": "agent:builder", "operations": ["files.*"]}
    await owner_does(here, "grants.create", grant=deny)
    ended = await watching.ended()
    assert ended.problem is not None
    assert ended.problem.slug == "denied"


async def test_nothing_is_told_of_what_happens_after_the_key_was_revoked(
    here: Installation, watching: Watching, folder: Path
) -> None:
    await owner_does(here, "access.keys.revoke", id=watching.by.key)
    (folder / "after").write_text("x")
    await watching.ended()
    assert "after" not in await watching.told()


async def test_a_part_that_is_denied_meanwhile_falls_silent_and_the_rest_goes_on(
    here: Installation, watching: Watching, folder: Path
) -> None:
    where = {"paths": [f"{folder}/part/**"]}
    deny = {"effect": "deny", "subject": "agent:builder", "operations": ["*"], "where": where}
    await owner_does(here, "grants.create", grant=deny)
    (folder / "part" / "hidden").write_text("x")
    (folder / "shown").write_text("x")
    async with asyncio.timeout(20):
        while "shown" not in await watching.told():
            await asyncio.sleep(0.01)
    assert "hidden" not in await watching.told()
    assert await here.kernel.hands.work.outcome("default", watching.id) is None


async def test_one_agent_cannot_take_the_watches_of_all(tmp_path: Path) -> None:
    folder = tmp_path / "watched"
    folder.mkdir()
    own = [{"effect": "allow", "operations": ["files.watch"], "where": {"paths": [f"{folder}/**"]}}]
    loaded = load(tmp_path / "data", {"limits.streams": 2}, environ={})
    async with open_installation(loaded) as here:
        one, other = await agent(here, grants=own), await agent(here, name="other", grants=own)
        first = await Watching(here, one, folder).begin()
        await Watching(here, one, folder).begin()

        refused = await here.kernel.run(Call("files.watch", {"path": str(folder)}), one, "http")
        await Watching(here, other, folder).begin()

        assert refused.problem is not None
        assert (refused.problem.slug, refused.problem.status, refused.problem.retryable) == ("overloaded", 503, True)
        assert "you have too many streams" in refused.problem.detail
        (record,) = (await here.index.query("default", invocation=refused.invocation, limit=5))[0]
        assert (record["kind"], record["problem"]) == ("refused", "overloaded")
        await here.kernel.cancel(one, first.id)
        await first.ended()
        await Watching(here, one, folder).begin()

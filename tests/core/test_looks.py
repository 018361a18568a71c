"""What an approver is shown is found out at the requester's bidding: bounded in time, size and how many at once."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from superagent.core import looks
from superagent.core.grants import Grant
from superagent.core.invocation import Outcome, Status
from superagent.core.resources import Effect
from superagent.features.approvals import operations as approvals
from superagent.sdk import Context, Nothing, Plugin, Preview, Resource, Risk
from superagent.testing import World, agent, person

GRANTS = [
    Grant(id="ask", effect="ask", subject="*", operations=["show.*"]),
    Grant(id="decide", effect="allow", subject="*", operations=["approvals.*"]),
]


class Show:
    """An operation whose preview the test steers, and a resource whose state it steers too."""

    def __init__(self) -> None:
        self.go_on = asyncio.Event()
        self.go_on.set()
        self.looking = 0
        self.diff = "small\n"
        self.stuck_state = False
        self.ran = 0
        self.plugin = Plugin("show")
        self.plugin.resource("thing", self)

        @self.plugin.operation(risk=Risk.LOW, effect=Effect.CHANGE, ephemeral="a test")
        async def it(ctx: Context, name: str) -> Nothing:
            """Do it."""
            self.ran += 1
            return Nothing()

        @it.touches
        def _(values: dict[str, Any], workspace: str) -> list[Resource]:
            return [Resource("thing", "-", values["name"], Effect.CHANGE)]

        @it.preview
        async def _(ctx: Context, name: str) -> Preview:
            self.looking += 1
            try:
                await self.go_on.wait()
            finally:
                self.looking -= 1
            return Preview(summary=f"would do {name}", changes=[name] * (len(self.diff) // 100), diff=self.diff)

        assert it

    async def digest(self, ctx: Any, resource: Resource) -> str:
        if self.stuck_state:
            await asyncio.Event().wait()
        return "state"

    async def keep(self, ctx: Any, resource: Resource) -> Any: ...
    async def settle(self, ctx: Any, resource: Resource, data: Any, after: str | None) -> Any: ...
    async def put_back(self, ctx: Any, resource: Resource, data: Any) -> None: ...
    async def preview(self, ctx: Any, resource: Resource, data: Any) -> Any: ...


def world(show: Show) -> World:
    here = World(show.plugin, grants=GRANTS)
    plugin = approvals.plugin(here.kernel.approvals, here.work)
    here.kernel.registry = type(here.kernel.registry)([*here.kernel.registry, *plugin.compile()])
    return here


async def ask(here: World, by: str = "one", name: str = "x") -> Outcome:
    return await here.run("show.it", {"name": name}, by=agent(by))


async def shown(here: World) -> dict[str, Any]:
    listed = (await here.run("approvals.list", by=person("bob"))).result()["waiting"]
    return listed[0]["preview"]


async def approve(here: World, id: str) -> Outcome:
    decided = await here.run("approvals.decide", {"id": id, "decision": "approve"}, by=person("bob"))
    assert decided.problem is None
    async with asyncio.timeout(10):
        while (ended := await here.work.outcome("default", id)) is None:
            await asyncio.sleep(0.01)
    return ended


async def test_a_preview_that_does_not_end_is_no_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(looks, "LOOK_S", 0.1)
    show = Show()
    show.go_on.clear()
    here = world(show)
    refused = await ask(here)
    assert refused.problem is not None
    assert refused.problem.slug == "deadline"
    assert refused.problem.hint
    assert await here.work.waiting("default") == []
    assert here.audit.records[-1].kind == "refused"
    assert here.audit.records[-1].problem == "deadline"
    assert show.looking == 0


async def test_a_state_that_takes_too_long_to_name_is_no_request_either(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(looks, "LOOK_S", 0.1)
    show = Show()
    show.stuck_state = True
    here = world(show)
    refused = await ask(here)
    assert refused.problem is not None
    assert refused.problem.slug == "deadline"
    assert await here.work.waiting("default") == []


async def test_one_caller_has_two_looked_at_at_once_and_another_its_own() -> None:
    show = Show()
    show.go_on.clear()
    here = world(show)
    async with asyncio.TaskGroup() as group, asyncio.timeout(10):
        looking = [group.create_task(ask(here, "one", name)) for name in "ab"]
        while show.looking < 2:
            await asyncio.sleep(0)

        refused = await ask(here, "one", "c")
        other = group.create_task(ask(here, "two", "d"))
        while show.looking < 3:
            await asyncio.sleep(0)
        show.go_on.set()

    assert refused.problem is not None
    assert refused.problem.slug == "overloaded"
    assert refused.problem.hint
    assert [one.problem for one in here.audit.records if one.kind == "refused"] == ["overloaded"]
    assert [one.result().status for one in [*looking, other]] == [Status.WAITING] * 3
    assert (await ask(here, "one", "e")).status is Status.WAITING  # the places are free again


async def test_places_are_given_back_when_looking_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(looks, "LOOK_S", 0.02)
    show = Show()
    here = world(show)
    show.go_on.clear()
    for _ in range(5):
        refused = await ask(here)
        assert refused.problem is not None
        assert refused.problem.slug == "deadline"
    show.go_on.set()
    assert (await ask(here)).status is Status.WAITING


async def test_a_long_preview_is_shown_in_part_and_says_so() -> None:
    show = Show()
    show.diff = "+line\n" * 500_000
    here = world(show)
    assert (await ask(here)).status is Status.WAITING
    preview = await shown(here)
    assert len(msgspec.json.encode(preview)) <= looks.SHOWN_BYTES
    assert preview["diff"].startswith("+line\n+line\n")
    assert "are not shown" in preview["diff"][-100:]
    assert "more" in preview["changes"][-1]
    assert preview["exact"] is False


async def test_a_long_preview_takes_nothing_of_what_the_requester_may_store(monkeypatch: pytest.MonkeyPatch) -> None:
    show = Show()
    show.diff = "+line\n" * 500_000
    here = world(show)

    async def full(*_: object, **__: object) -> str:
        raise AssertionError("a preview is no result of the requester")

    monkeypatch.setattr(here.blobs, "put", full)
    assert (await ask(here)).status is Status.WAITING


async def test_a_long_preview_of_characters_that_take_much_room_is_not_shown_at_all() -> None:
    show = Show()
    show.diff = "\x01" * 500_000
    here = world(show)
    assert (await ask(here)).status is Status.WAITING
    preview = await shown(here)
    assert len(msgspec.json.encode(preview)) <= looks.SHOWN_BYTES
    assert preview["diff"] == "what would change is too long to show\n"


async def test_an_approval_binds_also_what_was_too_long_to_show() -> None:
    show = Show()
    show.diff = "+line\n" * 500_000
    here = world(show)
    async with here.kernel.serving():
        waiting = await ask(here)
        show.diff += "+one more\n"
        ended = await approve(here, waiting.invocation)
        assert ended.problem is not None
        assert ended.problem.slug == "conflict"
        again = await ask(here)
        assert (await approve(here, again.invocation)).status is Status.DONE
    assert show.ran == 1


async def test_looking_again_for_an_approved_call_is_bounded_too(monkeypatch: pytest.MonkeyPatch) -> None:
    show = Show()
    here = world(show)
    async with here.kernel.serving():
        waiting = await ask(here)
        monkeypatch.setattr(looks, "LOOK_S", 0.1)
        show.go_on.clear()
        ended = await approve(here, waiting.invocation)
    assert ended.problem is not None
    assert ended.problem.slug == "deadline"
    assert show.ran == 0

"""A change that was made is told, even when its call is cancelled while the change is being closed."""

from __future__ import annotations

import asyncio
from typing import Any

from superagent.core.invocation import Status
from superagent.sdk import Context, Effect, Nothing, Plugin, Resource, Risk, put_back
from superagent.testing import World, person

THING = Resource("thing", "local", "one", Effect.CHANGE)


class Things:
    """Keeps one thing; how it is now is found out slowly once it was changed."""

    def __init__(self) -> None:
        self.value = "old"
        self.looking = asyncio.Event()
        self.go_on = asyncio.Event()

    async def keep(self, ctx: Any, resource: Resource) -> tuple[dict[str, Any], str, int]:
        return {"was": self.value}, self.value, 1

    async def digest(self, ctx: Any, resource: Resource) -> str:
        self.looking.set()
        await self.go_on.wait()
        return self.value

    async def settle(
        self, ctx: Any, resource: Resource, data: dict[str, Any], after: str | None
    ) -> tuple[str, dict[str, Any]]:
        return after or await self.digest(ctx, resource), data

    async def put_back(self, ctx: Any, resource: Resource, data: dict[str, Any]) -> None:
        self.value = data["was"]

    async def preview(self, ctx: Any, resource: Resource, data: dict[str, Any]) -> str:
        return ""


async def test_a_cancelled_call_tells_what_it_had_changed() -> None:
    things, plugin = Things(), Plugin("things")
    plugin.resource("thing", things)

    @plugin.operation(risk=Risk.LOW, effect=Effect.CHANGE, undo=put_back)
    async def change(ctx: Context) -> Nothing:
        """Change the thing."""
        async with ctx.changing(THING):
            things.value = "new"
        return Nothing()

    assert change.name == "things.change"
    here = World(plugin)
    call = asyncio.create_task(here.run("things.change", by=person()))
    await asyncio.wait_for(things.looking.wait(), 10)
    call.cancel()
    asyncio.get_running_loop().call_later(0.05, things.go_on.set)

    outcome = await asyncio.wait_for(call, 10)

    assert outcome.status is Status.CANCELLED
    assert [(one.before, one.after) for one in outcome.effects] == [("old", "new")]
    assert outcome.undo is not None
    assert outcome.undo.possible

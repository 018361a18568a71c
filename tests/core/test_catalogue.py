"""The catalogue: words find operations, and nobody finds what they may not use."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

from superagent.core.context import Context
from superagent.core.grants import Grant
from superagent.core.lookup import Invocations, Shelf
from superagent.features.catalogue import operations as catalogue
from superagent.features.jobs import operations as jobs
from superagent.testing import World, agent, person
from tests.core.notes import notes_plugin


class Known(Invocations):
    """Of all that the plugin asks for, only what these tests look at: the state of an invocation, and its end."""

    lifespan = nullcontext

    async def status(self, ctx: Context, id: str) -> dict[str, Any]:
        found = await super().status(ctx, id)
        return {**found, "state": found["status"]}

    async def stop(self, ctx: Context, id: str, grace_s: float) -> str:
        return await self.cancel(ctx, id)


async def missing_sandbox() -> list[tuple[str, bool, str, str]]:
    return [("sandbox", False, "not there", "install it")]


def world(grants: list[Grant] | None = None) -> World:
    here = World(notes_plugin({}), grants=grants)

    async def recorded(tenant: str, id: str) -> list[dict[str, object]]:
        return [
            {
                "kind": one.kind,
                "who": one.who,
                "chain_of": one.chain_of,
                "operation": one.operation,
                "status": one.status,
                "at": one.at,
            }
            for one in reversed(here.audit.records)
            if one.invocation == id
        ]

    known: Any = Known(here.kernel, recorded)
    more = [
        *catalogue.plugin(Shelf(here.kernel), missing_sandbox).compile(),
        *jobs.plugin(known, known).compile(),
    ]
    here.kernel.registry = type(here.kernel.registry)([*here.kernel.registry, *more])
    return here


ONLY_READ = [Grant(id="r", effect="allow", subject="*", operations=["notes.read", "catalogue.*", "jobs.*"])]


async def test_words_find_the_operation() -> None:
    found = (await world().run("catalogue.search", {"query": "destroy a note", "limit": 3})).result()
    assert found["operations"][0]["name"] == "notes.burn"


async def test_search_and_count_leave_out_what_the_caller_may_not_use() -> None:
    found = (await world(ONLY_READ).run("catalogue.search", {"domain": "notes"})).result()
    assert [one["name"] for one in found["operations"]] == ["notes.read"]
    assert found["total"] == 1


async def test_search_pages() -> None:
    here = world()
    first = (await here.run("catalogue.search", {"limit": 4})).result()
    rest = (await here.run("catalogue.search", {"limit": 100, "cursor": first["cursor"]})).result()
    assert len(first["operations"]) + len(rest["operations"]) == first["total"] == len(here.kernel.registry)
    bad = await here.run("catalogue.search", {"cursor": "x"})
    assert bad.problem is not None


async def test_search_narrows_by_risk() -> None:
    found = (await world().run("catalogue.search", {"max_risk": "LOW", "domain": "notes"})).result()
    assert "notes.burn" not in [one["name"] for one in found["operations"]]


async def test_one_operation_in_full() -> None:
    full = (await world().run("catalogue.describe", {"name": "notes.write"})).result()
    assert full["takes_back"] == "undo"
    assert full["preview"]
    assert full["touches"] == [{"argument": "name", "kind": "connection", "effect": "CHANGE"}]
    assert full["input_schema"]["required"] == ["name", "text"]


async def test_a_mistyped_name_gets_a_hint_only_of_what_is_visible() -> None:
    seen = await world().run("catalogue.describe", {"name": "notes.burm"})
    hidden = await world(ONLY_READ).run("catalogue.describe", {"name": "notes.burn"})
    assert seen.problem is not None
    assert hidden.problem is not None
    assert seen.problem.hint == "did you mean notes.burn?" or "notes.burn" in str(seen.problem.hint)
    assert "burn" not in str(hidden.problem.hint)


async def test_capabilities_say_what_is_missing_and_the_cure() -> None:
    found = (await world().run("catalogue.capabilities")).result()["capabilities"]
    assert {"name": "sandbox", "available": False, "detail": "not there", "cure": "install it"} in found


async def test_the_state_of_a_past_call_comes_from_its_records() -> None:
    here = world()
    done = await here.run("notes.write", {"name": "a", "text": "x"})
    refused = await here.run("notes.nope")
    assert (await here.run("jobs.status", {"id": done.invocation})).result()["status"] == "done"
    assert (await here.run("jobs.status", {"id": refused.invocation})).result()["status"] == "failed"


async def test_strangers_to_a_call_get_404_for_it() -> None:
    here = world(ONLY_READ)
    done = await here.run("notes.read", {"name": "a"}, by=agent("one", of=person("ada")))
    other = await here.run("jobs.status", {"id": done.invocation}, by=agent("two", of=person("bob")))
    owner = await here.run("jobs.status", {"id": done.invocation}, by=person("ada"))
    assert other.problem is not None
    assert other.problem.status == 404
    assert owner.result()["operation"] == "notes.read"


async def test_a_stored_call_shows_its_outcome_and_can_be_cancelled() -> None:
    here = world()
    async with here.kernel.serving():
        queued = await here.run("notes.wait", queued=True)
        running = (await here.run("jobs.status", {"id": queued.invocation})).result()
        assert running["status"] in ("queued", "running")
        stopped = await here.run("jobs.cancel", {"id": queued.invocation})
        assert stopped.result()["status"] == "cancelled"

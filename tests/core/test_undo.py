"""Undo: planned, verified, audited, judged by the rights to what it takes back, and itself undoable."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any

from superagent.core.grants import Grant
from superagent.core.invocation import Outcome, Status
from superagent.features.undo import operations as undo
from superagent.sdk import Conflict, Context, Effect, Kept, Nothing, Plugin, Resource, Risk, Touches, put_back
from superagent.testing import World, agent, person
from tests.core.notes import notes_plugin

ADA = person("ada")


def world(notes: dict[str, str], grants: list[Grant] | None = None) -> World:
    here = World(notes_plugin(notes), grants=grants)

    def undoer(name: str, version: int) -> Any:
        found = here.kernel.registry.find(name)
        return found.undo if found and version == found.version else None

    plugin = undo.plugin(here.undo, undoer)
    here.kernel.registry = type(here.kernel.registry)([*here.kernel.registry, *plugin.compile()])
    return here


async def write(here: World, name: str, text: str, **call: Any) -> str:
    return (await here.run("notes.write", {"name": name, "text": text}, **call)).invocation


async def take_back(here: World, *ids: str, **call: Any) -> Outcome:
    return await here.run("undo.apply", {"ids": list(ids)}, **call)


async def test_a_change_is_taken_back_and_the_undo_too() -> None:
    notes = {"a": "old"}
    here = world(notes)
    id = await write(here, "a", "new")
    first = await take_back(here, id)
    assert first.status is Status.DONE
    assert notes == {"a": "old"}
    await take_back(here, first.invocation)
    assert notes == {"a": "new"}
    await take_back(here, id)
    assert notes == {"a": "old"}


async def test_undo_is_audited_with_intent() -> None:
    here = world({})
    await take_back(here, await write(here, "a", "x"))
    assert here.audit.kinds()[-2:] == ["intent undo.apply", "outcome undo.apply"]


async def test_what_somebody_changed_since_is_a_conflict_and_stays() -> None:
    notes: dict[str, str] = {}
    here = world(notes)
    id = await write(here, "a", "x")
    notes["a"] = "somebody else"
    refused = await take_back(here, id)
    plan = (await here.run("undo.plan", {"ids": [id]})).result()
    assert refused.problem is not None
    assert (refused.problem.slug, refused.problem.changed) == ("conflict", "nothing")
    assert notes == {"a": "somebody else"}
    assert not plan["possible"]


async def test_a_whole_session_goes_back_newest_first() -> None:
    notes = {"a": "0"}
    here = world(notes)
    for text in ("1", "2", "3"):
        await write(here, "a", text, session="s")
    await write(here, "b", "outside")
    plan = (await here.run("undo.plan", {"session": "s"})).result()
    assert plan["possible"]
    await here.run("undo.apply", {"session": "s"})
    assert notes == {"a": "0", "b": "outside"}


async def test_everything_since_a_time_goes_back() -> None:
    notes: dict[str, str] = {}
    here = world(notes)
    await write(here, "a", "1")
    here.clock.advance(100)
    since = here.clock.now()
    await write(here, "a", "2")
    await write(here, "b", "1")
    await here.run("undo.apply", {"since": since})
    assert notes == {"a": "1"}


async def test_an_atomic_undo_that_meets_a_conflict_changes_nothing() -> None:
    notes: dict[str, str] = {}
    here = world(notes)
    ids = [await write(here, "a", "1"), await write(here, "b", "1")]
    notes["a"] = "somebody else"
    refused = await take_back(here, *ids)
    assert refused.problem is not None
    assert notes == {"a": "somebody else", "b": "1"}


async def test_a_change_undone_already_says_so() -> None:
    here = world({})
    id = await write(here, "a", "1")
    await take_back(here, id)
    again = await take_back(here, id)
    assert again.problem is not None
    assert "already" in again.problem.detail


async def test_undo_needs_exactly_one_way_of_saying_what() -> None:
    here = world({})
    both = await here.run("undo.apply", {"ids": ["x"], "session": "s"})
    none = await here.run("undo.apply", {})
    missing = await take_back(here, "nope")
    assert both.problem is not None
    assert none.problem is not None
    assert missing.problem is not None
    assert (both.problem.slug, none.problem.slug, missing.problem.slug) == (
        "invalid-input",
        "invalid-input",
        "not-found",
    )


async def test_undo_needs_the_right_to_what_it_takes_back() -> None:
    notes: dict[str, str] = {}
    everything = Grant(id="all", effect="allow", subject="user:ada", operations=["*"])
    only_undo = Grant(id="undo", effect="allow", subject="user:eve", operations=["undo.*", "notes.read"])
    here = world(notes, [everything, only_undo])
    id = await write(here, "a", "x")
    refused = await take_back(here, id, by=person("eve"))
    listed = (await here.run("undo.list", by=person("eve"))).result()
    assert refused.problem is not None
    assert refused.problem.status == 404
    assert listed["entries"] == []
    assert notes == {"a": "x"}


async def test_the_person_can_take_back_what_an_agent_did_on_their_behalf() -> None:
    notes: dict[str, str] = {}
    here = world(notes)
    id = await write(here, "a", "x", by=agent("builder", of=ADA))
    assert (await take_back(here, id)).problem is None
    assert notes == {}


async def test_the_undo_of_an_unknown_outcome_works() -> None:
    notes: dict[str, str] = {"a": "before"}
    here = world(notes)
    id = await write(here, "a", "half written")
    entry = here.undo.entries[1]
    here.undo.entries[1] = replace(entry, closed=False, after=None)
    assert (await here.run("undo.list")).result()["entries"][0]["state"] == "unknown"
    assert (await take_back(here, id)).problem is None
    assert notes == {"a": "before"}


async def test_a_compensating_undo_runs_the_operations_own_function() -> None:
    notes: dict[str, str] = {}
    here = world(notes)
    done = await here.run("notes.register", {"name": "x"})
    plan = (await here.run("undo.plan", {"ids": [done.invocation]})).result()
    assert plan["steps"][0]["does"] == "take back `notes.register`"
    assert (await take_back(here, done.invocation)).problem is None
    assert notes == {}


async def listed(here: World) -> list[tuple[str, str]]:
    found = (await here.run("undo.list")).result()["entries"]
    return [(one["operation"], one["state"]) for one in reversed(found)]


async def test_what_an_operation_kept_itself_reads_undoable_once_its_call_ended_well() -> None:
    here = world({})
    done = await here.run("notes.register", {"name": "x"})
    assert await listed(here) == [("notes.register", "undoable")]
    taken = await take_back(here, done.invocation)
    assert taken.problem is None
    assert await listed(here) == [("notes.register", "undone"), ("undo.apply", "undoable")]


async def test_what_an_operation_kept_itself_reads_unknown_until_its_call_ends_and_when_it_fails() -> None:
    plugin, meanwhile = Plugin("long"), list[list[tuple[str, str]]]()

    async def back(ctx: Context, kept: Kept) -> None:
        """Take nothing back."""

    @plugin.operation(risk=Risk.MEDIUM, effect=Effect.CHANGE, undo=back, compensate=True)
    async def go(ctx: Context, fails: bool) -> Nothing:
        """Keep a note, be looked at, and end."""
        await ctx.keep(Resource("name", "-", "x", Effect.CHANGE), {})
        meanwhile.append(await listed(here))
        if fails:
            raise Conflict("it broke half way")
        return Nothing()

    here = world({})
    here.kernel.registry = type(here.kernel.registry)([*here.kernel.registry, *plugin.compile()])
    await here.run("long.go", {"fails": True})
    await here.run("long.go", {"fails": False})
    assert meanwhile == [[("long.go", "unknown")], [("long.go", "unknown")] * 2]
    assert await listed(here) == [("long.go", "unknown"), ("long.go", "undoable")]


async def test_the_children_of_a_call_are_taken_back_with_it() -> None:
    notes = {"a": "text"}
    here = world(notes)
    parent = await here.run("notes.copy_by_calls", {"source": "a", "target": "b"})
    await take_back(here, parent.invocation)
    assert notes == {"a": "text"}


async def test_the_preview_of_an_undo_is_a_diff() -> None:
    here = world({"a": "old"})
    id = await write(here, "a", "new")
    shown = (await take_back(here, id, dry_run=True)).result()
    assert shown["diff"] == "-new\n+old\n"
    assert shown["conflicts"] == []


async def test_the_undo_of_an_operation_that_is_gone_is_unavailable_or_not_found() -> None:
    notes: dict[str, str] = {}
    here = world(notes)
    id = await write(here, "a", "x")
    here.kernel.registry = type(here.kernel.registry)(
        [one for one in here.kernel.registry if one.name != "notes.write"]
    )
    refused = await take_back(here, id)
    assert refused.problem is not None
    assert refused.problem.slug == "not-found"
    assert notes == {"a": "x"}


async def test_what_is_as_it_was_before_needs_nothing() -> None:
    notes = {"a": "same"}
    here = world(notes)
    id = await write(here, "a", "other")
    notes["a"] = "same"
    plan = (await here.run("undo.plan", {"ids": [id]})).result()
    assert plan["steps"][0]["does"].startswith("nothing")
    assert (await take_back(here, id)).problem is None


async def test_what_somebody_did_while_a_call_failed_is_not_put_back() -> None:
    notes = {"a": "old", "b": "old"}
    here = world(notes)
    more = Plugin("more")

    @more.operation(risk=Risk.MEDIUM, undo=put_back, atomic=True)
    async def both(ctx: Context, names: list[Annotated[str, Touches("connection", Effect.CHANGE)]]) -> Nothing:
        """Change the first note; find the second changed by somebody."""
        first, second = names
        async with ctx.changing(Resource("connection", "-", first, Effect.CHANGE)):
            notes[first] = "new"
        async with ctx.changing(Resource("connection", "-", second, Effect.CHANGE)) as change:
            notes[second] = "theirs"
            change.untouched()
            raise Conflict("somebody changed it")
        return Nothing()

    here.kernel.registry = type(here.kernel.registry)([*here.kernel.registry, *more.compile()])
    outcome = await here.run("more.both", {"names": ["a", "b"]})
    assert outcome.problem is not None
    assert outcome.problem.changed == "nothing"
    assert notes == {"a": "old", "b": "theirs"}
    assert not here.undo.entries

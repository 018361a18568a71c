"""The line: admitted in order, witnessed before the effect, honest about what was left behind."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from superagent.core.execution import INLINE_BYTES
from superagent.core.grants import Grant, Where
from superagent.core.invocation import Call, Status, Ticket
from superagent.core.limits import Rate
from superagent.core.principal import Credential, Facts, Principal, Secret
from superagent.core.problems import Unauthenticated
from superagent.sdk import Context, Effect, Nothing, Plugin, Resource, Risk
from superagent.testing import World, agent, allow_all, person
from tests.core.notes import notes_plugin

ADA = person()


def world(notes: dict[str, str] | None = None, **fields: Any) -> World:
    return World(notes_plugin(notes if notes is not None else {}), **fields)


def allow(*operations: str, **fields: Any) -> Grant:
    return Grant(id="one", effect="allow", subject="*", operations=list(operations), **fields)


async def test_a_read_gives_its_output_and_leaves_one_record() -> None:
    here = world({"a": "text"})
    outcome = await here.run("notes.read", {"name": "a"})
    assert outcome.result() == {"name": "a", "text": "text"}
    assert here.audit.kinds() == ["outcome notes.read"]
    assert here.audit.records[0].resources == (("connection://-/a", "READ"),)


async def test_a_change_has_its_intent_on_disk_before_it_happens() -> None:
    here = world()
    await here.run("notes.write", {"name": "a", "text": "new"})
    assert here.audit.kinds() == ["intent notes.write", "outcome notes.write"]
    assert [one.kind for one in here.audit.durably] == ["intent"]


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
async def test_a_number_that_json_has_not_is_refused_for_its_digest_would_be_that_of_null(number: float) -> None:
    done = list[Any]()
    plugin = Plugin("till")

    @plugin.operation(risk=Risk.LOW, effect=Effect.CHANGE, ephemeral="only a list of the test")
    async def pay(ctx: Context, amount: float | None = None, more: dict[str, Any] | None = None) -> Nothing:
        """Pay an amount; all there is for null."""
        done.append(amount)
        return Nothing()

    here = World(plugin)
    for input in ({"amount": number}, {"more": {"deep": [1, {"er": number}], "none": None}}):
        outcome = await here.run("till.pay", input)
        assert outcome.problem is not None
        assert outcome.problem.slug == "invalid-input"
    assert done == []
    assert here.audit.kinds() == ["refused till.pay"] * 2
    assert (await here.run("till.pay", {"amount": None, "more": {"deep": [None]}})).problem is None


async def test_without_a_durable_intent_nothing_is_done() -> None:
    notes: dict[str, str] = {}
    here = world(notes)
    here.audit.failing = True
    outcome = await here.run("notes.write", {"name": "a", "text": "new"})
    assert outcome.problem is not None
    assert outcome.problem.slug == "audit-unavailable"
    assert notes == {}


async def test_a_read_that_cannot_be_recorded_is_not_answered() -> None:
    here = world({"a": "secret"})
    here.audit.failing = True
    outcome = await here.run("notes.read", {"name": "a"})
    assert outcome.problem is not None
    assert outcome.problem.slug == "audit-unavailable"
    assert not outcome.output


async def test_a_change_whose_outcome_cannot_be_recorded_still_succeeds() -> None:
    notes: dict[str, str] = {}
    here = world(notes)
    keep_intent = here.audit.durable

    async def durable_then_fail(record: Any) -> None:
        await keep_intent(record)
        here.audit.failing = True

    here.audit.durable = durable_then_fail
    outcome = await here.run("notes.write", {"name": "a", "text": "new"})
    assert outcome.status is Status.DONE
    assert notes == {"a": "new"}


async def test_an_unknown_operation_and_an_invisible_one_get_the_same_words() -> None:
    here = world(grants=[allow("notes.list")])
    unknown, invisible = await here.run("notes.nope"), await here.run("notes.read")
    assert unknown.problem is not None
    assert invisible.problem is not None
    assert unknown.problem.status == invisible.problem.status == 404
    assert str(unknown.problem).replace("nope", "read") == str(invisible.problem)
    assert here.audit.kinds() == ["refused notes.nope", "refused notes.read"]


async def test_a_wrong_input_is_refused_with_the_path_of_the_fault_and_audited() -> None:
    here = world()
    outcome = await here.run("notes.write", {"name": "a", "text": 5, "more": 1})
    assert outcome.problem is not None
    assert [fault.path for fault in outcome.problem.errors] == ["$.text", "$.more"]
    assert here.audit.records[0].problem == "invalid-input"


async def test_a_call_whose_own_code_breaks_before_it_is_judged_is_recorded_and_told_without_its_words() -> None:
    broken = Plugin("broken")

    @broken.operation(risk=Risk.LOW, effect=Effect.READ)
    async def look(ctx: Context) -> Nothing:
        """Look at something."""
        return Nothing()

    @look.touches
    def _(values: dict[str, object], workspace: str) -> list[Resource]:
        raise KeyError("wiring")

    here = World(broken)
    outcome = await here.run("broken.look")
    assert outcome.problem is not None
    assert (outcome.problem.slug, "wiring" in str(outcome.problem)) == ("internal", False)
    assert here.audit.kinds() == ["refused broken.look"]


async def test_a_visible_resource_that_refuses_this_verb_is_403_and_an_invisible_one_404() -> None:
    here = world(
        {"a": "", "b": ""},
        grants=[allow("notes.*", effects=["READ"]), allow("notes.write", where={"connections": ["z"]})],
    )
    seen = await here.run("notes.write", {"name": "a", "text": ""})
    hidden = world({"a": ""}, grants=[allow("notes.*", where={"connections": ["z"]})])
    unseen = await hidden.run("notes.read", {"name": "a"})
    assert seen.problem is not None
    assert unseen.problem is not None
    assert (seen.problem.status, unseen.problem.status) == (403, 404)


async def test_lists_leave_out_what_the_caller_may_not_read() -> None:
    where = Where(connections=["secret*"])
    deny = Grant(id="no", effect="deny", subject="*", operations=["*"], where=where)
    here = world({"open": "", "secret-1": "", "secret-2": ""}, grants=[*allow_all(), deny])
    assert (await here.run("notes.list")).result() == {"names": ["open"]}


async def test_an_agent_over_its_rate_waits_and_the_flood_is_not_listed_in_full() -> None:
    here = world({"a": ""}, rate=Rate(1.0, 2))
    builder = agent()
    outcomes = [await here.run("notes.read", {"name": "a"}, by=builder) for _ in range(40)]
    limited = [one.problem for one in outcomes if one.problem]
    assert len(limited) == 38
    assert limited[0].retry_after_s == pytest.approx(1.0)
    assert sum(one.kind == "refused" for one in here.audit.records) == 20
    here.clock.advance(11)
    here.kernel.pipeline.record_floods()
    assert here.audit.records[-1].count == 18


async def test_names_that_mean_nothing_cost_their_rate_and_are_not_listed_in_full_either() -> None:
    here = world({"a": ""}, rate=Rate(1.0, 2))
    builder = agent()
    outcomes = [await here.run(f"notes.raed{at}", {}, by=builder) for at in range(40)]
    assert [one.problem.slug for one in outcomes if one.problem] == ["not-found"] * 2 + ["rate-limited"] * 38
    assert sum(one.kind == "refused" for one in here.audit.records) == 2 + 20
    here.clock.advance(11)
    here.kernel.pipeline.record_floods()
    assert here.audit.records[-1].count == 18


async def test_what_one_may_not_see_costs_its_rate_too() -> None:
    here = world({"a": ""}, grants=[allow("notes.list")], rate=Rate(1.0, 2))
    outcomes = [await here.run("notes.read", {"name": "a"}, by=agent()) for _ in range(3)]
    assert [one.problem.slug for one in outcomes if one.problem] == ["not-found", "not-found", "rate-limited"]


async def test_a_person_has_no_rate() -> None:
    here = world({"a": ""}, rate=Rate(1.0, 1))
    assert all([(await here.run("notes.read", {"name": "a"})).problem is None for _ in range(5)])


async def test_a_step_up_is_asked_for_and_a_fresh_factor_passes() -> None:
    here = world({"a": ""}, grants=[allow("*", when={"mfa_max_age_s": 60})])
    refused = await here.run("notes.read", {"name": "a"})
    passed = await here.run("notes.read", {"name": "a"}, by=person(second_factor_at=here.clock.now() - 5))
    late = await here.run("notes.read", {"name": "a"}, by=person(second_factor_at=here.clock.now() - 61))
    assert refused.problem is not None
    assert refused.problem.slug == "step-up-required"
    assert passed.problem is None
    assert late.problem is not None


async def test_a_key_that_ended_between_admission_and_effect_does_nothing() -> None:
    notes: dict[str, str] = {}
    here = world(notes)
    here.identity.ended.add("ada")
    outcome = await here.run("notes.write", {"name": "a", "text": "x"})
    assert outcome.problem is not None
    assert outcome.problem.slug == "denied"
    assert notes == {}
    assert here.audit.kinds() == ["refused notes.write"]


async def test_policy_that_changed_on_the_way_is_asked_again() -> None:
    notes: dict[str, str] = {}
    here = world(notes)
    invocation = here.kernel.invocation(Call("notes.write", {"name": "a", "text": "x"}), ADA, "test")
    ticket = await here.kernel.pipeline.admit(invocation)
    assert isinstance(ticket, Ticket)
    here.policies.change([*allow_all(), Grant(id="no", effect="deny", subject="*", operations=["notes.write"])])
    outcome = await here.kernel.pipeline.perform(ticket)
    assert outcome.problem is not None
    assert outcome.problem.slug == "denied"
    assert notes == {}


async def test_a_dry_run_shows_the_preview_and_changes_nothing() -> None:
    notes: dict[str, str] = {}
    here = world(notes)
    outcome = await here.run("notes.write", {"name": "a", "text": "x"}, dry_run=True)
    assert outcome.status is Status.PREVIEWED
    assert outcome.result()["diff"] == "+x\n"
    assert notes == {}
    assert here.audit.kinds() == ["outcome notes.write"]


async def test_a_dry_run_of_what_has_no_preview_says_what_it_would_touch() -> None:
    here = world({"a": ""})
    outcome = await here.run("notes.read", {"name": "a"}, dry_run=True)
    assert outcome.result()["summary"] == "reads connection://-/a"


async def test_effects_name_the_state_before_and_after() -> None:
    here = world({"a": "old"})
    outcome = await here.run("notes.write", {"name": "a", "text": "new"})
    assert [(one.resource, one.effect) for one in outcome.effects] == [("connection://-/a", "CHANGE")]
    assert outcome.effects[0].before != outcome.effects[0].after
    assert outcome.undo is not None
    assert outcome.undo.possible


async def test_an_ephemeral_change_says_why_it_cannot_be_taken_back() -> None:
    here = world()
    outcome = await here.run("notes.greet")
    assert outcome.undo is not None
    assert outcome.undo.why == "a greeting leaves nothing"
    assert await here.work.events("default", outcome.invocation, 0)


async def test_an_atomic_operation_that_fails_halfway_is_put_back() -> None:
    notes = {"a": "1", "b": "2"}
    here = world(notes)
    outcome = await here.run("notes.write_all", {"names": ["a", "b"], "text": "x", "fail_at": "b"})
    assert outcome.problem is not None
    assert outcome.problem.changed == "nothing"
    assert notes == {"a": "1", "b": "2"}
    assert here.undo.entries == {}


async def test_a_bug_after_a_change_is_internal_and_says_partly() -> None:
    notes: dict[str, str] = {}
    here = world(notes)
    outcome = await here.run("notes.break_after", {"name": "a"})
    assert outcome.problem is not None
    assert (outcome.problem.slug, outcome.problem.changed) == ("internal", "partly")
    assert outcome.problem.partly == ("connection://-/a",)
    assert "bug" not in outcome.problem.detail
    assert isinstance(here.faults[0], ZeroDivisionError)


async def test_a_full_undo_store_refuses_before_the_effect() -> None:
    notes: dict[str, str] = {}
    here = world(notes)
    here.undo.full = True
    outcome = await here.run("notes.write", {"name": "a", "text": "x"})
    assert outcome.problem is not None
    assert (outcome.problem.slug, outcome.problem.changed) == ("too-large", "nothing")
    assert notes == {}


async def test_a_call_past_its_deadline_ends_with_that_problem() -> None:
    here = world()
    outcome = await here.run("notes.wait", deadline_s=0.02)
    assert outcome.problem is not None
    assert outcome.problem.slug == "deadline"


async def test_a_running_call_can_be_cancelled_by_its_caller_and_by_nobody_else() -> None:
    here = world()
    task = asyncio.ensure_future(here.run("notes.wait"))
    await asyncio.sleep(0)
    id = f"{1:026d}"
    with pytest.raises(Exception, match="no invocation"):
        await here.kernel.cancel(Principal("eve", "human", "other"), id)
    assert await here.kernel.cancel(ADA, id) is Status.CANCELLED
    outcome = await task
    assert outcome.status is Status.CANCELLED


async def test_what_still_runs_when_the_platform_stops_is_recorded_before_it_has_stopped() -> None:
    slow, begun = Plugin("slow"), asyncio.Event()

    @slow.operation(risk=Risk.LOW, effect=Effect.READ)
    async def wait(ctx: Context) -> Nothing:
        """Wait for ever, and take a moment to end."""
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.to_thread(int)
        return Nothing()

    here = World(slow)
    async with here.kernel.serving():
        task = asyncio.ensure_future(here.run("slow.wait"))
        await begun.wait()

    assert [(one.operation, one.status) for one in here.audit.records] == [("slow.wait", "cancelled")]
    assert (await task).status is Status.CANCELLED


async def test_the_same_key_and_input_give_the_first_outcome() -> None:
    notes: dict[str, str] = {}
    here = world(notes)
    first = await here.run("notes.write", {"name": "a", "text": "1"}, key="k")
    notes["a"] = "changed since"
    second = await here.run("notes.write", {"name": "a", "text": "1"}, key="k")
    other = await here.run("notes.write", {"name": "a", "text": "2"}, key="k")
    assert second.invocation == first.invocation
    assert notes["a"] == "changed since"
    assert other.problem is not None
    assert other.problem.slug == "idempotency-mismatch"


async def test_the_same_key_while_the_first_runs_is_a_conflict_or_waits_until_the_deadline() -> None:
    here = world()
    task = asyncio.ensure_future(here.run("notes.wait", key="k"))
    await asyncio.sleep(0)
    now = await here.run("notes.wait", key="k")
    later = await here.run("notes.wait", key="k", deadline_s=0.06)
    assert now.problem is not None
    assert later.problem is not None
    assert now.problem.slug == later.problem.slug == "conflict"
    await here.kernel.cancel(ADA, f"{1:026d}")
    await task


async def test_a_refused_call_does_not_use_up_its_key() -> None:
    notes: dict[str, str] = {}
    here = world(notes)
    here.audit.failing = True
    await here.run("notes.write", {"name": "a", "text": "1"}, key="k")
    here.audit.failing = False
    again = await here.run("notes.write", {"name": "a", "text": "1"}, key="k")
    assert again.status is Status.DONE


async def test_nested_calls_have_records_of_their_own_and_count_as_effects() -> None:
    notes = {"a": "text"}
    here = world(notes)
    outcome = await here.run("notes.copy_by_calls", {"source": "a", "target": "b"})
    assert notes["b"] == "text"
    assert here.audit.kinds() == [
        "outcome notes.read",
        "intent notes.write",
        "outcome notes.write",
        "outcome notes.copy_by_calls",
    ]
    assert {one.parent for one in here.audit.records[:3]} == {outcome.invocation}
    assert [one.resource for one in outcome.effects] == ["connection://-/b"]


async def test_a_preview_may_look_by_other_operations_and_changes_nothing_by_them() -> None:
    notes = {"a": "text"}
    here = world(notes)
    outcome = await here.run("notes.copy_by_calls", {"source": "a", "target": "b"}, dry_run=True)
    assert outcome.status is Status.PREVIEWED
    assert outcome.result()["diff"] == "+text\n"
    assert notes == {"a": "text"}
    assert [one for one in here.audit.kinds() if one.startswith("intent")] == []
    hidden = world({"a": "text"}, grants=[allow("notes.copy_by_calls", "notes.write")])
    refused = await hidden.run("notes.copy_by_calls", {"source": "a", "target": "b"}, dry_run=True)
    assert refused.problem is not None
    assert "refused notes.read" in hidden.audit.kinds()


async def test_a_nested_call_cannot_do_more_than_its_caller() -> None:
    here = world({"a": ""}, grants=[allow("notes.copy_by_calls", "notes.read")])
    outcome = await here.run("notes.copy_by_calls", {"source": "a", "target": "b"})
    assert outcome.problem is not None
    assert outcome.problem.status == 404


async def test_a_nested_call_that_asks_lets_the_parent_wait_and_is_named() -> None:
    ask = Grant(id="ask", effect="ask", subject="*", operations=["notes.write"])
    here = world({"a": ""}, grants=[allow("notes.copy_by_calls", "notes.read"), ask])
    outcome = await here.run("notes.copy_by_calls", {"source": "a", "target": "b"})
    assert outcome.status is Status.WAITING
    (ended,) = [one for one in here.audit.records if one.kind == "outcome" and one.invocation == outcome.invocation]
    assert ended.problem == "needs-approval"
    (refused,) = [one for one in here.audit.records if one.kind == "refused"]
    assert (refused.operation, refused.problem, refused.decision) == ("notes.write", "needs-approval", "ask")
    assert refused.parent == outcome.invocation


async def test_a_large_output_comes_as_a_handle() -> None:
    here = world({"a": "x" * 1000})
    outcome = await here.run("notes.read", {"name": "a"}, max_bytes=100)
    data, size = await here.blobs.read(ADA, outcome.handle)
    assert outcome.output == b""
    assert size == len(data) > 1000


async def test_nobody_gets_more_at_once_than_the_platform_would_give_by_itself() -> None:
    here = world({"a": "x" * (INLINE_BYTES + 1)})
    outcome = await here.run("notes.read", {"name": "a"}, max_bytes=10**12)
    assert outcome.output == b""
    assert outcome.handle


async def test_a_stream_runs_in_the_background_and_stores_its_events() -> None:
    here = world()
    async with here.kernel.serving():
        outcome = await here.run("notes.count_to", {"last": 3})
        assert outcome.status is Status.QUEUED
        async with asyncio.timeout(5):
            while await here.work.outcome("default", outcome.invocation) is None:
                await asyncio.sleep(0)
    events = await here.work.events("default", outcome.invocation, 1)
    assert events == [(2, b'{"number":2}'), (3, b'{"number":3}')]


async def test_a_queued_call_is_judged_anew_when_its_turn_comes() -> None:
    notes: dict[str, str] = {}
    here = world(notes)
    async with here.kernel.serving():
        outcome = await here.run("notes.write", {"name": "a", "text": "x"}, queued=True)
        here.policies.change([])
        async with asyncio.timeout(5):
            while (ended := await here.work.outcome("default", outcome.invocation)) is None:
                await asyncio.sleep(0)
    assert ended.problem is not None
    assert notes == {}


async def test_a_stopping_platform_takes_no_background_work() -> None:
    outcome = await world().run("notes.greet", queued=True)
    assert outcome.problem is not None
    assert outcome.problem.slug == "conflict"


async def test_a_stranger_is_refused_and_a_flood_of_them_counted() -> None:
    here = world()
    for _ in range(30):
        with pytest.raises(Unauthenticated):
            await here.kernel.identify(Credential("bearer", Secret("x"), Facts("10.0.0.9", "", "http")))
    assert len(here.audit.records) == 20
    here.kernel.pipeline.record_floods(every=True)
    assert here.audit.records[-1].count == 10
    assert here.audit.records[-1].detail["source"] == "10.0.0.9"


async def test_a_queued_call_keeps_its_deadline() -> None:
    here = world()
    async with here.kernel.serving():
        outcome = await here.run("notes.wait", queued=True, deadline_s=0.05)
        async with asyncio.timeout(5):
            while (ended := await here.work.outcome("default", outcome.invocation)) is None:
                await asyncio.sleep(0.01)
    assert ended.problem is not None
    assert ended.problem.slug == "deadline"

"""Approvals: a ticket waits for a person, bound to what that person saw."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from superagent.core.grants import Grant
from superagent.core.invocation import Outcome, Status
from superagent.core.principal import Principal
from superagent.features.approvals import operations as approvals
from superagent.sdk import Resource
from superagent.testing import World, agent, person
from tests.core.notes import notes_plugin

ADA, BOB = person("ada"), person("bob", roles=("operator",))
BUILDER = agent("builder", of=ADA)


def grant(effect: str, *operations: str, **fields: Any) -> Grant:
    plain = {"effect": effect, "subject": "*", "operations": list(operations), **fields}
    return Grant.model_validate({"id": f"{effect}-{operations[0]}", **plain})


ASKING = [grant("allow", "notes.read", "approvals.*"), grant("ask", "notes.write", require={"approvals": 1})]


def world(notes: dict[str, str], grants: list[Grant] | None = None) -> World:
    here = World(notes_plugin(notes), grants=grants or ASKING)
    plugin = approvals.plugin(here.kernel.approvals, here.work)
    operations = [*here.kernel.registry, *plugin.compile()]
    here.kernel.registry = type(here.kernel.registry)(operations)
    return here


async def ended(here: World, id: str) -> Outcome:
    async with asyncio.timeout(5):
        while (outcome := await here.work.outcome("default", id)) is None:
            await asyncio.sleep(0)
    return outcome


async def ask(here: World, by: Principal = BUILDER, text: str = "new") -> Outcome:
    return await here.run("notes.write", {"name": "a", "text": text}, by=by, reason="because")


async def decide(here: World, id: str, by: Principal = BOB, decision: str = "approve") -> Outcome:
    return await here.run("approvals.decide", {"id": id, "decision": decision, "reason": "looked at it"}, by=by)


async def test_a_call_that_asks_waits_and_runs_once_a_person_approves() -> None:
    notes: dict[str, str] = {}
    here = world(notes)
    async with here.kernel.serving():
        waiting = await ask(here)
        assert waiting.status is Status.WAITING
        assert notes == {}
        assert (await decide(here, waiting.invocation)).result()["state"] == "running"
        outcome = await ended(here, waiting.invocation)
    assert outcome.status is Status.DONE
    assert notes == {"a": "new"}
    kinds = [one.kind for one in here.audit.records if one.invocation == waiting.invocation]
    assert kinds == ["event", "approved", "intent", "outcome"]


async def test_the_approver_sees_the_preview_and_the_requester_does_not() -> None:
    here = world({"a": "old"})
    await ask(here)
    seen = (await here.run("approvals.list", by=BOB)).result()["waiting"][0]
    own = (await here.run("approvals.list", by=BUILDER)).result()["waiting"][0]
    assert seen["preview"]["diff"] == "+new\n"
    assert seen["reason"] == "because"
    assert own["preview"] is None


async def test_other_agents_do_not_see_what_waits() -> None:
    here = world({})
    await ask(here)
    assert (await here.run("approvals.list", by=agent("other", of=BOB))).result()["waiting"] == []


@pytest.mark.parametrize("decider", [BUILDER, agent("other", of=BOB)])
async def test_no_agent_approves_anything(decider: Principal) -> None:
    notes: dict[str, str] = {}
    here = world(notes)
    waiting = await ask(here)
    refused = await decide(here, waiting.invocation, by=decider)
    assert refused.problem is not None
    assert refused.problem.slug == "denied"
    assert notes == {}


async def test_nobody_approves_a_call_of_their_own() -> None:
    here = world({})
    waiting = await ask(here, by=BOB)
    refused = await decide(here, waiting.invocation, by=BOB)
    assert refused.problem is not None
    assert "own" in refused.problem.detail


async def test_the_person_an_agent_acts_for_may_give_the_one_approval() -> None:
    notes: dict[str, str] = {}
    here = world(notes)
    async with here.kernel.serving():
        waiting = await ask(here)
        await decide(here, waiting.invocation, by=ADA)
        await ended(here, waiting.invocation)
    assert notes == {"a": "new"}


async def test_two_approvals_need_two_other_people() -> None:
    notes: dict[str, str] = {}
    two = [grant("allow", "notes.read", "approvals.*"), grant("ask", "notes.write", require={"approvals": 2})]
    here = world(notes, two)
    async with here.kernel.serving():
        waiting = await ask(here)
        own = await decide(here, waiting.invocation, by=ADA)
        assert own.problem is not None
        assert (await decide(here, waiting.invocation, by=BOB)).result()["state"] == "waiting"
        again = await decide(here, waiting.invocation, by=BOB)
        assert again.problem is not None
        await decide(here, waiting.invocation, by=person("eva"))
        await ended(here, waiting.invocation)
    assert notes == {"a": "new"}


async def test_only_the_named_roles_may_approve() -> None:
    here = world(
        {},
        [grant("allow", "approvals.*"), grant("ask", "notes.write", require={"approvals": 1, "by": ["role:operator"]})],
    )
    waiting = await ask(here)
    refused = await decide(here, waiting.invocation, by=person("eva"))
    assert refused.problem is not None
    assert "role:operator" in refused.problem.detail
    async with here.kernel.serving():
        assert (await decide(here, waiting.invocation, by=BOB)).problem is None
        await ended(here, waiting.invocation)


async def test_what_changed_since_the_approver_looked_is_not_done() -> None:
    notes = {"a": "old"}
    here = world(notes)
    async with here.kernel.serving():
        waiting = await ask(here)
        notes["a"] = "somebody was here"
        await decide(here, waiting.invocation)
        outcome = await ended(here, waiting.invocation)
    assert outcome.problem is not None
    assert outcome.problem.slug == "conflict"
    assert notes == {"a": "somebody was here"}


async def test_policy_that_forbids_meanwhile_wins() -> None:
    notes: dict[str, str] = {}
    here = world(notes)
    async with here.kernel.serving():
        waiting = await ask(here)
        here.policies.change([*ASKING, grant("deny", "notes.write")])
        await decide(here, waiting.invocation)
        outcome = await ended(here, waiting.invocation)
    assert outcome.problem is not None
    assert notes == {}


async def test_an_unrelated_change_of_policy_leaves_an_approval_good() -> None:
    notes: dict[str, str] = {}
    here = world(notes)
    async with here.kernel.serving():
        waiting = await ask(here)
        here.policies.change([*ASKING, grant("deny", "other.thing")])
        await decide(here, waiting.invocation)
        outcome = await ended(here, waiting.invocation)
    assert outcome.status is Status.DONE


async def test_a_grant_that_allows_meanwhile_is_another_decision() -> None:
    notes: dict[str, str] = {}
    here = world(notes)
    async with here.kernel.serving():
        waiting = await ask(here)
        here.policies.change([*ASKING, grant("allow", "notes.write")])
        await decide(here, waiting.invocation)
        outcome = await ended(here, waiting.invocation)
    assert outcome.status is Status.DONE


async def test_a_denied_call_ends_and_says_who_and_why() -> None:
    notes: dict[str, str] = {}
    here = world(notes)
    waiting = await ask(here)
    await decide(here, waiting.invocation, decision="deny")
    outcome = await ended(here, waiting.invocation)
    assert outcome.problem is not None
    assert outcome.problem.detail == "bob denied this call: looked at it"
    late = await decide(here, waiting.invocation)
    assert late.problem is not None
    assert late.problem.slug == "conflict"


async def test_a_ticket_that_waited_too_long_expires() -> None:
    here = world({})
    waiting = await ask(here)
    here.clock.advance(2 * 86_400)
    late = await decide(here, waiting.invocation)
    assert late.problem is not None
    assert "expired" in late.problem.detail


async def test_an_unknown_ticket_is_not_found() -> None:
    refused = await decide(world({}), "nope")
    assert refused.problem is not None
    assert refused.problem.status == 404


async def test_a_dry_run_of_a_call_that_asks_shows_no_content() -> None:
    here = world({"a": "secret"})
    outcome = await here.run("notes.write", {"name": "a", "text": "x"}, by=BUILDER, dry_run=True)
    assert outcome.status is Status.PREVIEWED
    assert outcome.result()["diff"] == ""


async def test_the_decision_itself_can_be_previewed() -> None:
    here = world({})
    outcome = await here.run("approvals.decide", {"id": "x", "decision": "deny"}, by=BOB, dry_run=True)
    assert outcome.result()["summary"] == "would deny `x`"


async def test_the_list_pages() -> None:
    here = world({})
    for text in ("1", "2", "3"):
        await ask(here, text=text)
    first = (await here.run("approvals.list", {"limit": 2}, by=BOB)).result()
    rest = (await here.run("approvals.list", {"limit": 2, "cursor": first["cursor"]}, by=BOB)).result()
    assert [one["input"]["text"] for one in first["waiting"] + rest["waiting"]] == ["1", "2", "3"]
    assert rest["cursor"] is None


async def test_a_waiting_call_can_be_cancelled_by_its_caller() -> None:
    here = world({})
    waiting = await ask(here)
    await here.kernel.cancel(BUILDER, waiting.invocation)
    late = await decide(here, waiting.invocation)
    assert late.problem is not None
    with pytest.raises(Exception, match="cancelled"):
        await here.kernel.cancel(BUILDER, waiting.invocation)


async def test_a_call_without_a_preview_can_be_approved_too() -> None:
    here = world({}, [grant("allow", "approvals.*"), grant("ask", "notes.register")])
    async with here.kernel.serving():
        waiting = await here.run("notes.register", {"name": "x"}, by=BUILDER)
        await decide(here, waiting.invocation)
        outcome = await ended(here, waiting.invocation)
    assert outcome.status is Status.DONE


async def test_a_preview_that_fails_is_shown_as_such() -> None:
    here = world({}, [grant("allow", "approvals.*"), grant("ask", "notes.write", "notes.burn")])
    assert Resource("connection", "-", "x").id == "connection://-/x"
    waiting = await here.run("notes.burn", {"name": "nothing"}, by=BUILDER)
    assert waiting.status is Status.WAITING


async def test_an_agent_cannot_bury_people_under_requests() -> None:
    here = world({})
    outcomes = [await ask(here, text=str(number)) for number in range(101)]
    assert outcomes[-1].problem is not None
    assert outcomes[-1].problem.slug == "rate-limited"
    assert all(one.status is Status.WAITING for one in outcomes[:-1])
    assert here.audit.records[-1].kind == "refused"

"""Keys: bounded, held to limits, given successors, and ended by themselves when they are shown."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from superagent.core.principal import Facts
from superagent.runtime.identity import SqlIdentity
from tests.features.access.people import name_of, person, undo
from tests.promise import promise
from tests.surfaces.http.house import Caller, House, problem_of

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def bounded(house: House, *only: dict[str, Any], **input: Any) -> Caller:
    """Make an agent whose key has bounds."""
    return await house.agent(only=list(only), **input)


def allow(*operations: str, **where: Any) -> dict[str, Any]:
    return {"effect": "allow", "operations": list(operations), "where": where}


@promise("1.1c")
async def test_a_key_does_three_operations_in_one_directory_and_nothing_else(house: House) -> None:
    made = await house.owner.done("access.keys.create", {"name": name_of("wide")})
    wide = house.caller(made["agent"], made["key"])
    await wide.done("files.mkdir", {"path": "in"})
    await wide.done("files.write", {"path": "in/x", "content": "x"})
    await wide.done("files.write", {"path": "out", "content": "x"})
    only = [allow("files.read", "files.list", "files.write", paths=["{workspace}/in/**"])]
    narrow = await house.owner.done("access.keys.create", {"name": "narrow", "agent": wide.name, "only": only})
    key = house.caller(narrow["agent"], narrow["key"])

    me = await key.done("access.whoami")
    assert me["within"] == [{**only[0], "where": {"paths": ["{workspace}/in/**"]}}]
    assert (await key.done("files.read", {"path": "in/x"}))["content"] == "x"
    await key.done("files.write", {"path": "in/y", "content": "y"})
    for operation, input in (
        ("files.read", {"path": "out"}), ("files.delete", {"path": "in/x"}), ("files.stat", {"path": "in/x"}),
        ("jobs.list", {}), ("shell.exec", {"argv": ["/bin/true"], "cwd": "in"}), ("access.delegate", {"name": "x"}),
    ):  # fmt: skip
        response = await key.call(operation, input)
        assert response.status_code == 404, (operation, response.text)
        assert (await house.refusal(response))["operation"] == operation
    shown = await house.owner.done("access.keys.show", {"id": narrow["id"]})
    assert shown["bounds"] == me["within"]


async def test_the_agents_own_rights_end_where_they_did_without_bounds(house: House) -> None:
    key = await bounded(house, allow("*"))
    asked = await key.call("files.read", {"path": "/etc/hostname"})
    assert asked.json()["status"] == "waiting"
    assert (await key.call("access.keys.list")).status_code in (403, 404)


@promise("1.1c")
async def test_a_key_is_good_from_its_networks_only(house: House) -> None:
    away = await house.agent(limits={"cidr": ["10.9.0.0/16"]})
    here = await house.agent(limits={"cidr": ["10.9.0.0/16", "127.0.0.0/8"]})

    refused = await away.call("access.whoami")

    problem_of(refused, 401, "unauthenticated")
    await here.done("access.whoami")
    forwarded = await here.call("access.whoami", X_Forwarded_For="10.9.0.1")
    problem_of(forwarded, 401, "unauthenticated")


@promise("1.1c")
async def test_a_key_has_its_own_rate(house: House) -> None:
    slow = await house.agent(limits={"rate_per_s": 0.01, "burst": 2})
    await slow.done("access.whoami")
    await slow.done("access.whoami")

    refused = await slow.call("access.whoami")

    problem_of(refused, 429, "rate-limited")
    assert refused.headers["ratelimit-limit"] == "2"


async def test_all_to_whom_a_key_was_lent_share_its_rate(house: House) -> None:
    slow = await house.agent(limits={"rate_per_s": 0.01, "burst": 3})
    made = await slow.done("access.delegate", {"name": "sub"})
    sub = house.caller(made["agent"], made["key"])
    await sub.done("access.whoami")
    await slow.done("access.whoami")

    problem_of(await sub.call("access.whoami"), 429, "rate-limited")
    problem_of(await slow.call("access.whoami"), 429, "rate-limited")


@promise("1.1c")
async def test_a_budget_is_counted_shown_and_kept_to(house: House) -> None:
    key = await house.agent(limits={"budget": {"calls": 3, "per_s": 3600}})
    me = await key.done("access.whoami")
    (line,) = me["budgets"]
    assert (line["measure"], line["most"], line["used"]) == ("calls", 3.0, 1.0)
    await key.done("access.whoami")
    await key.done("access.whoami")

    refused = await key.call("access.whoami")

    problem = problem_of(refused, 429, "budget-exceeded")
    assert "more in" in problem["hint"]
    assert int(refused.headers["retry-after"]) > 0
    assert (await house.refusal(refused))["operation"] == "access.whoami"


async def test_an_agents_budget_counts_all_its_keys_and_all_it_lent_to(house: House) -> None:
    name = name_of("frugal")
    budget: dict[str, Any] = {"calls": 4, "per_s": None}
    await house.owner.done("access.agents.create", {"id": name, "budget": budget})
    keys = [await house.owner.done("access.keys.create", {"name": "k", "agent": name}) for _ in range(2)]
    one, two = (house.caller(name, made["key"]) for made in keys)
    made = await one.done("access.delegate", {"name": "sub"})
    sub = house.caller(made["agent"], made["key"])
    await two.done("access.whoami")
    await sub.done("access.whoami")
    await two.done("access.whoami")

    for caller in (one, two, sub):
        problem_of(await caller.call("access.whoami"), 429, "budget-exceeded")
    more = await house.owner.call("access.agents.set_budget", {"id": name, "budget": {**budget, "calls": 6}})
    assert more.status_code == 200, more.text
    assert (await one.done("access.whoami"))["budgets"][0]["used"] == 5.0


async def test_a_budget_of_bytes_ends_after_the_answer_that_used_it_up(house: House) -> None:
    key = await house.agent(
        grants=[{"effect": "allow", "operations": ["*"]}], limits={"budget": {"bytes": 5000, "per_s": None}}
    )
    await key.done("probe.large", {"size": 6000})

    problem = problem_of(await key.call("access.whoami"), 429, "budget-exceeded")

    assert "bytes" in problem["detail"]


async def test_what_was_spent_outlives_the_process(house: House) -> None:
    key = await house.agent(limits={"budget": {"calls": 5, "per_s": None}})
    for _ in range(3):
        await key.done("access.whoami")
    here = house.installation.kernel.hands.identity
    assert isinstance(here, SqlIdentity)
    await here.budgets.flush()
    fresh = SqlIdentity(here._database, here._epoch, here._workspaces, here._now, here._agent_rate)  # pyright: ignore[reportPrivateUsage]

    await fresh._recognise(key.key, Facts("127.0.0.1", "", "http"))  # pyright: ignore[reportPrivateUsage]

    ((account,),) = fresh.budgets.of_key.values()
    assert account.spent("calls") == 3.0


@promise("1.1c")
async def test_a_key_gets_a_successor_and_both_are_good_for_a_while(house: House) -> None:
    made = await house.owner.done(
        "access.keys.create",
        {"name": name_of("rot"), "grants": [allow("files.list", paths=["/srv/**"])], "only": [allow("files.*")]},
    )
    old = house.caller(made["agent"], made["key"])

    rotated = await house.owner.call("access.keys.rotate", {"id": made["id"], "overlap_s": 600})

    new = house.caller(made["agent"], rotated.json()["output"]["key"])
    assert (await new.done("access.whoami"))["id"] == (await old.done("access.whoami"))["id"]
    assert (await new.done("access.whoami"))["within"] == (await old.done("access.whoami"))["within"]
    shown = await house.owner.done("access.keys.show", {"id": made["id"]})
    assert shown["expires_at"] == pytest.approx(rotated.json()["output"]["old_until"], abs=2)
    assert (await undo(house.owner, rotated)).status_code == 200
    problem_of(await new.call("access.whoami"), 401, "unauthenticated")
    await old.done("access.whoami")
    assert (await house.owner.done("access.keys.show", {"id": made["id"]}))["expires_at"] is None


async def test_what_has_ended_since_does_not_stop_the_undo_of_all_that_was_done(house: House) -> None:
    session = {"Superagent_Session": name_of("shift")}
    made = await house.owner.done("access.keys.create", {"name": name_of("gone")}, **session)
    lent = await house.owner.done("access.delegate", {"name": name_of("lent")}, **session)
    turned = await house.owner.done("access.keys.create", {"name": name_of("rot")})
    new = await house.owner.done("access.keys.rotate", {"id": turned["id"], "overlap_s": 600}, **session)
    client = await house.owner.done("access.clients.create", {"name": name_of("svc"), "kind": "service"}, **session)
    for key in (made, lent, new):
        await house.owner.done("access.keys.revoke", {"id": key["id"]}, **session)
    await house.owner.done("access.clients.delete", {"id": client["id"]}, **session)

    back = await house.owner.done("undo.apply", {"session": session["Superagent_Session"]})

    assert len(back["invocations"]) == 4
    assert (await house.owner.done("access.keys.show", {"id": turned["id"]}))["expires_at"] is None


async def test_without_overlap_the_old_key_ends_at_once_and_what_it_lent_goes_on(house: House) -> None:
    made = await house.owner.done("access.keys.create", {"name": name_of("rot")})
    old = house.caller(made["agent"], made["key"])
    lent = await old.done("access.delegate", {"name": "sub"})
    sub = house.caller(lent["agent"], lent["key"])

    await house.owner.done("access.keys.rotate", {"id": made["id"], "overlap_s": 0})

    problem_of(await old.call("access.whoami"), 401, "unauthenticated")
    await sub.done("access.whoami")


async def test_nobody_rotates_the_key_of_somebody_elses_agent(house: House) -> None:
    admin = await person(house, "admin")
    made = await house.owner.done("access.keys.create", {"name": name_of("rot")})

    problem_of(await admin.call("access.keys.rotate", {"id": made["id"]}), 403, "denied")

    assert (await house.owner.done("access.keys.show", {"id": made["id"]}))["expires_at"] is None


@promise("1.1c")
async def test_a_key_that_is_shown_is_withheld_ended_and_recorded(house: House) -> None:
    victim, reader = await house.agent(), await house.agent()
    id = (await victim.done("access.whoami"))["key"]
    await reader.done("files.write", {"path": "notes", "content": f"the key is {victim.key}, keep it\n"})

    shown = await reader.call("files.read", {"path": "notes"})

    assert victim.key not in shown.text
    assert "key withheld" in shown.json()["output"]["content"]
    await _dead(victim)
    assert "shown by files." in (await house.owner.done("access.keys.show", {"id": id}))["why"]
    assert [one["who"] for one in await _shown(house, id)] == [reader.name]
    await reader.done("access.whoami")


async def test_what_only_looks_like_a_key_stays(house: House) -> None:
    reader = await house.agent()
    text = "sak_" + "a" * 42
    await reader.done("files.write", {"path": "notes", "content": text})
    assert (await reader.done("files.read", {"path": "notes"}))["content"] == text


async def _shown(house: House, key: str) -> list[dict[str, Any]]:
    """Give the records of a key's being shown, which follow its end."""
    for _ in range(500):
        found = [one for one in await house.records(operation="access.key_shown") if one["detail"]["key"] == key]
        if found:
            return found
        await asyncio.sleep(0.01)
    raise AssertionError("nothing is on record")


async def _dead(caller: Caller) -> None:
    for _ in range(500):
        if (await caller.call("access.whoami")).status_code == 401:
            return
    raise AssertionError("the key is still good")

"""Agents: several keys each, paused, stopped and lent on; whatever ends one ends what it began."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from superagent.core.demanding import MOST_ALIKE
from superagent.core.principal import Credential, Facts, Secret
from superagent.core.problems import Unauthenticated
from superagent.runtime.identity import SqlIdentity
from tests.features.access.people import name_of, person, undo
from tests.promise import promise
from tests.surfaces.http.house import Caller, House, problem_of
from tests.surfaces.http.probe import ended, started
from tests.until import until_async

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def more(house: House, owner: Caller, agent: str, **input: object) -> Caller:
    """Make one more key for an agent."""
    made = await owner.done("access.keys.create", {"name": name_of("label"), "agent": agent, **input})
    return house.caller(made["agent"], made["key"], made["workspace"])


async def test_an_agent_has_several_keys_and_each_acts_as_it(house: House) -> None:
    name = name_of("bot")
    await house.owner.done("access.agents.create", {"id": name})
    one, two = await more(house, house.owner, name), await more(house, house.owner, name)

    await one.done("files.write", {"path": "note", "content": "x"})

    assert (await two.done("files.read", {"path": "note"}))["content"] == "x"
    shown = await house.owner.done("access.agents.show", {"id": name})
    assert (shown["owner"], shown["kind"], len(shown["keys"])) == ("owner", "agent", 2)
    assert (await two.done("access.whoami"))["id"] == name


async def test_only_its_person_makes_keys_for_an_agent(house: House) -> None:
    admin = await person(house, "admin")
    bot = await house.agent()

    refused = await admin.call("access.keys.create", {"name": "spare", "agent": bot.name})

    problem_of(refused, 403, "denied")
    problem_of(await house.owner.call("access.keys.create", {"name": "x", "agent": "nobody"}), 404, "not-found")


async def test_a_paused_agent_is_dead_until_resumed(house: House) -> None:
    bot = await house.agent()
    await bot.done("access.whoami")

    paused = await house.owner.call("access.agents.pause", {"id": bot.name})

    problem_of(await bot.call("access.whoami"), 401, "unauthenticated")
    assert (await undo(house.owner, paused)).status_code == 200
    await bot.done("access.whoami")
    await house.owner.done("access.agents.pause", {"id": bot.name})
    await house.owner.done("access.agents.resume", {"id": bot.name})
    await bot.done("access.whoami")


async def test_a_removed_agent_is_gone_and_its_name_stays_taken(house: House) -> None:
    bot = await house.agent()

    await house.owner.done("access.agents.remove", {"id": bot.name})

    problem_of(await bot.call("access.whoami"), 401, "unauthenticated")
    problem_of(await house.owner.call("access.agents.show", {"id": bot.name}), 404, "not-found")
    problem_of(await house.owner.call("access.keys.create", {"name": bot.name}), 409, "conflict")


@promise("11.12")
async def test_the_switch_ends_what_runs_and_nothing_begins_until_it_is_released(house: House) -> None:
    bot, ada = await house.agent(grants=[{"effect": "allow", "operations": ["*"]}]), await person(house, "owner")
    mark = name_of("stopped")
    ran = asyncio.create_task(bot.call("probe.wait", {"seconds": 30.0, "mark": mark}))
    await until_async(lambda: mark in started, "the call")

    await house.owner.done("access.stop_all", {"reason": "something is wrong"})

    problem = problem_of(await asyncio.wait_for(ran, 20), 403, "denied")
    assert "stopped" in problem["detail"]
    assert mark in ended
    problem_of(await bot.call("access.whoami"), 401, "unauthenticated")
    assert (await ada.done("access.whoami"))["kind"] == "human"
    assert [one["scope"] for one in (await ada.done("access.stops.list"))["stops"]] == ["everything"]
    await ada.done("access.release")
    await bot.done("access.whoami")
    problem_of(await ada.call("access.release"), 404, "not-found")


async def test_a_person_or_one_agent_is_stopped_and_others_go_on(house: House) -> None:
    ada = await person(house, "owner")
    made = await ada.done("access.keys.create", {"name": name_of("hers")})
    hers, mine = house.caller(made["agent"], made["key"]), await house.agent()

    stopped = await house.owner.call("access.stop_all", {"scope": f"user:{ada.name}"})
    problem_of(await hers.call("access.whoami"), 401, "unauthenticated")
    await mine.done("access.whoami")
    await undo(house.owner, stopped)
    await hers.done("access.whoami")

    await house.owner.done("access.stop_all", {"scope": f"agent:{mine.name}"})
    problem_of(await mine.call("access.whoami"), 401, "unauthenticated")
    await hers.done("access.whoami")
    await house.owner.done("access.release", {"scope": f"agent:{mine.name}"})
    problem_of(await house.owner.call("access.stop_all", {"scope": "planet:earth"}), 422, "invalid-input")
    problem_of(await house.owner.call("access.stop_all", {"scope": "agent:nobody"}), 404, "not-found")


async def test_another_worker_refuses_a_paused_agent_at_once(house: House) -> None:
    bot = await house.agent()
    kernel, places = house.installation.kernel, house.installation.places
    here = kernel.hands.identity
    assert isinstance(here, SqlIdentity)
    other = SqlIdentity(here._database, here._epoch, places.workspaces, kernel.hands.clock.now, here._agent_rate)  # pyright: ignore[reportPrivateUsage]
    credential = Credential("bearer", Secret(bot.key), Facts())
    principal = await other.identify(credential)
    assert other.alive(principal)

    await house.owner.done("access.agents.pause", {"id": bot.name})

    assert not other.alive(principal)
    with pytest.raises(Unauthenticated):
        await other.identify(credential)


@promise("1.1c")
async def test_rights_that_are_lent_on_narrow_at_every_hop(house: House) -> None:
    bot = await house.agent()
    await bot.done("files.mkdir", {"path": "a"})
    await bot.done("files.mkdir", {"path": "b"})
    await bot.done("files.write", {"path": "a/x", "content": "x"})
    await bot.done("files.write", {"path": "b/y", "content": "y"})
    read_a = {"effect": "allow", "operations": ["files.*"], "where": {"paths": ["{workspace}/a/**"]}}

    lending = {"effect": "allow", "operations": ["access.delegate"]}

    made = await bot.done("access.delegate", {"name": "sub", "only": [read_a, lending]})
    sub = house.caller(made["agent"], made["key"])
    reads = {"effect": "allow", "operations": ["files.read"]}
    deeper = await sub.done("access.delegate", {"name": "deep", "only": [reads]})
    deep = house.caller(deeper["agent"], deeper["key"])

    me = await deep.done("access.whoami")
    assert me["id"] == f"{bot.name}/sub/deep"
    assert me["on_behalf_of"] == [f"{bot.name}/sub", bot.name, "owner"]
    assert (await sub.call("files.write", {"path": "a/x", "content": "z"})).status_code == 200
    assert (await sub.call("files.read", {"path": "b/y"})).status_code == 404
    assert (await deep.done("files.read", {"path": "a/x"}))["content"] == "z"
    assert (await deep.call("files.read", {"path": "b/y"})).status_code == 404
    assert (await deep.call("files.write", {"path": "a/x", "content": "no"})).status_code in (403, 404)
    problem_of(await deep.call("access.delegate", {"name": "more"}), 404, "not-found")
    await house.owner.done("access.agents.pause", {"id": bot.name})
    problem_of(await deep.call("access.whoami"), 401, "unauthenticated")


async def test_a_chain_has_an_end(house: House) -> None:
    callers = [await house.agent()]
    for name in ("b", "c"):
        made = await callers[-1].done("access.delegate", {"name": name})
        callers.append(house.caller(made["agent"], made["key"]))

    refused = await callers[-1].call("access.delegate", {"name": "d"})

    assert "at most" in problem_of(refused, 403, "denied")["detail"]


async def test_what_was_lent_dies_with_the_key_it_came_from(house: House) -> None:
    bot = await house.agent()
    made = await bot.done("access.delegate", {"name": "sub"})
    sub = house.caller(made["agent"], made["key"])
    await sub.done("access.whoami")

    await house.owner.done("access.keys.revoke", {"id": (await bot.done("access.whoami"))["key"]})

    problem_of(await sub.call("access.whoami"), 401, "unauthenticated")


async def test_a_service_acts_for_nobody_and_has_its_own_rights(house: House, tmp_path: Path) -> None:
    name = name_of("pipeline")
    made = await house.owner.done("access.agents.create", {"id": name, "kind": "service", "role": "agent"})
    service = await more(house, house.owner, name)

    me = await service.done("access.whoami")

    assert (me["kind"], me["on_behalf_of"], me["workspace"]) == ("service", [], made["workspace"])
    await service.done("files.write", {"path": "x", "content": "x"})
    assert (await service.call("access.keys.create", {"name": "mole"})).status_code in (403, 404)


async def test_bounds_that_demand_many_approvers_cost_nobody_anything(house: House) -> None:
    bot = await house.agent()
    demands: list[dict[str, object]] = [
        {"effect": "deny", "operations": ["*"], "require": {"by": [f"user:u{at}-{one}" for one in range(50)]}}
        for at in range(12)
    ]  # 50¹² ways in which all could be met

    every = {"effect": "allow", "operations": ["*"]}
    made = await bot.done("access.delegate", {"name": "sub", "only": [every, *demands]})
    asked = await house.caller(made["agent"], made["key"]).call("files.read", {"path": "x"})

    assert asked.status_code == 202
    assert len(asked.json()["decision"]["require"]["by"]) <= MOST_ALIKE


async def test_nobody_lends_a_key_with_more_grants_than_can_be_looked_at(house: House) -> None:
    bot = await house.agent()
    long = {"effect": "allow", "operations": ["*"], "where": {"paths": [f"/{'a' * 900}/{at}" for at in range(40)]}}

    refused = await bot.call("access.delegate", {"name": "sub", "only": [long]})

    assert "more than" in problem_of(refused, 413, "too-large")["detail"]
    records = await house.records(invocation=refused.headers["x-invocation-id"])
    assert (records[0]["who"], records[0]["problem"], records[0]["changed"]) == (bot.name, "too-large", "nothing")


async def test_names_that_are_lent_to_do_not_make_more_requests_wait(house: House) -> None:
    bot = await house.agent()
    subs = [await bot.done("access.delegate", {"name": f"s{at}"}) for at in range(3)]
    callers = [house.caller(one["agent"], one["key"]) for one in subs]

    replies = [
        await callers[at % 3].call("files.read", {"path": f"/etc/{at}"}, **{"X-Session": f"s{at}"}) for at in range(110)
    ]

    assert [one.status_code for one in replies[:90]] == [202] * 90
    problem_of(replies[-1], 429, "rate-limited")
    assert (await house.refusal(replies[-1]))["who"] == callers[109 % 3].name

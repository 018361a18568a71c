"""What is critical needs a person with a fresh second factor, whoever calls: a key alone finds no way around that.

Whoever has it could lend it to itself, or make an agent, and would not be asked then what the person is asked.
"""

from __future__ import annotations

import time

import pytest

from superagent.core.attenuation import Caveat
from superagent.core.grants import Grant
from superagent.runtime.attenuating import attenuate
from tests.features.access.people import name_of, person
from tests.surfaces.http.house import Caller, House, problem_of

pytestmark = pytest.mark.asyncio(loop_scope="session")
ALL = {"effect": "allow", "operations": ["*"]}


async def served(house: House, thief: Caller, way: str) -> Caller:
    """Give somebody who acts for whom a key was stolen from, made by that key alone."""
    match way:
        case "lent":
            made = await thief.done("access.delegate", {"name": name_of("lent")})
        case "agent":
            made = await thief.done("access.keys.create", {"name": name_of("robot"), "grants": [ALL]})
        case "role":
            made = await thief.done("access.keys.create", {"name": name_of("robot"), "role": "owner"})
        case _:
            caveat = Caveat(name="sub", grants=[Grant(effect="allow", operations=["*"])], expires_at=time.time() + 600)
            return house.caller("sub", attenuate(thief.key, caveat))
    return house.caller(made["agent"], made["key"])


@pytest.mark.parametrize("way", ["lent", "agent", "role", "attenuated"])
async def test_a_key_alone_does_nothing_critical_by_others(house: House, way: str) -> None:
    thief = await person(house, "owner")
    problem_of(await thief.call("probe.critical"), 428, "step-up-required")
    other = await served(house, thief, way)

    asked = await other.call("probe.critical")

    assert asked.status_code == 202, asked.text
    id = asked.headers["x-invocation-id"]
    refused = await thief.call("approvals.decide", {"id": id, "decision": "approve"})
    problem_of(refused, 428, "step-up-required")
    record = (await house.records(invocation=refused.headers["x-invocation-id"]))[0]
    assert (record["who"], record["problem"]) == (thief.name, "step-up-required")
    assert (await house.owner.done("jobs.status", {"id": id}))["state"] == "waiting"


async def test_whoever_has_shown_a_second_factor_approves_what_is_critical(house: House) -> None:
    made = await house.owner.done("access.keys.create", {"name": name_of("robot"), "grants": [ALL]})
    asked = await house.caller(made["agent"], made["key"]).call("probe.critical")
    assert asked.status_code == 202, asked.text
    id = asked.headers["x-invocation-id"]

    await house.owner.done("approvals.decide", {"id": id, "decision": "approve"})

    done = await house.owner.done("jobs.wait", {"ids": [id], "timeout_s": 20})
    assert [one["state"] for one in done["jobs"]] == ["done"]


async def test_what_is_critical_is_denied_without_a_second_factor(house: House) -> None:
    thief = await person(house, "owner")
    asked = await (await served(house, thief, "lent")).call("probe.critical")

    denied = await thief.call("approvals.decide", {"id": asked.headers["x-invocation-id"], "decision": "deny"})

    assert denied.status_code == 200, denied.text

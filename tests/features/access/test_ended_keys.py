"""Why a key is dead is told to whoever shows that very key, with what helps; to everybody else it never was."""

from __future__ import annotations

import pytest

from superagent.runtime.api_keys import mint
from tests.surfaces.http.house import House, problem_of

pytestmark = pytest.mark.asyncio(loop_scope="session")

UNKNOWN = "this key is not known, or no longer valid"
ENDINGS = {
    "revoked": ("access.keys.revoke", "this key was revoked", "a new one"),
    "paused": ("access.agents.pause", "the agent of this key is paused", "access.agents.resume"),
    "stopped": ("access.stop_all", "the agent of this key was stopped", "access.release"),
}


async def told(house: House, key: str) -> tuple[str, str]:
    response = await house.caller("x", key).call("access.whoami")
    problem = problem_of(response, 401, "unauthenticated")
    return problem["detail"], problem.get("hint", "")


@pytest.mark.parametrize("how", ENDINGS)
async def test_whoever_shows_a_dead_key_is_told_why_and_what_helps(house: House, how: str) -> None:
    operation, why, cure = ENDINGS[how]
    made = await house.owner.done("access.keys.create", {"name": f"dead-{how}"})
    about = {"access.keys.revoke": {"id": made["id"]}, "access.agents.pause": {"id": made["agent"]}}
    scope = {"scope": f"agent:{made['agent']}"}
    await house.owner.done(operation, about.get(operation, scope))
    try:
        detail, hint = await told(house, made["key"])
    finally:
        if how == "stopped":
            await house.owner.done("access.release", scope)
    assert detail == why
    assert cure in hint
    (record, *_), _ = await house.installation.index.query("system", actor="anonymous", limit=1)
    assert (record["kind"], record["problem"]) == ("refused", "unauthenticated")


async def test_one_that_has_expired_says_so_and_one_from_elsewhere_too(house: House) -> None:
    bot = await house.agent()
    short = await house.owner.done("access.keys.create", {"name": "brief", "agent": bot.name, "expires_s": 1})
    away = await house.owner.done(
        "access.keys.create", {"name": "away", "agent": bot.name, "limits": {"cidr": ["192.0.2.0/24"]}}
    )
    assert (await told(house, away["key"]))[0] == "this key is not good from this address"
    key = house.caller("x", short["key"])
    while (await key.call("access.whoami")).status_code == 200:
        pass
    assert (await told(house, short["key"]))[0] == "this key has expired"


async def test_a_key_of_nobody_and_one_of_a_dead_agent_that_is_not_its_own_tell_nothing(house: House) -> None:
    assert (await told(house, mint()))[0] == UNKNOWN
    bot = await house.agent()
    await house.owner.done("access.agents.pause", {"id": bot.name})
    changed = bot.key[:8] + ("A" if bot.key[8] != "A" else "B") + bot.key[9:]
    assert (await told(house, changed))[0] in (UNKNOWN, "this is not a key")

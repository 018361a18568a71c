"""A second factor for who calls by a key: a proof beside it, short, bound to address and key."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio
from pyotp.totp import TOTP

from superagent.core.principal import Credential, Facts, Secret
from superagent.core.problems import Unauthenticated
from tests.features.access import people as access
from tests.features.sign_in import people
from tests.features.sign_in.browser import Web
from tests.features.sign_in.test_ways_in import events
from tests.promise import promise
from tests.surfaces.http.house import House, house_in, problem_of

pytestmark = pytest.mark.asyncio(loop_scope="session")
CRITICAL = "probe.critical"


@dataclass
class Enrolled:
    """An owner with a second factor: one browser, one key."""

    house: House
    web: Web
    totp: TOTP

    def code(self) -> str:
        return self.totp.at(self.web.now())


@pytest_asyncio.fixture(loop_scope="session")
async def enrolled(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Enrolled]:
    async with house_in(tmp_path_factory.mktemp("proofs") / "data") as house:
        web = Web(house)
        await web.by_link()
        yield Enrolled(house, web, await web.enrol_totp())


async def proof_of(enrolled: Enrolled, code: str = "") -> str:
    made = await enrolled.house.owner.done("signin.prove", {"code": code or enrolled.code()})
    return made["proof"]


async def test_a_key_alone_comes_by_no_other_that_outlives_it(enrolled: Enrolled) -> None:
    house = enrolled.house
    service = await house.owner.done("access.agents.create", {"id": "nightly", "kind": "service", "role": "viewer"})
    proved = house.caller("proved", await proof_of(enrolled))
    first = await proved.done("access.keys.create", {"name": "first", "agent": service["id"]})
    agents = await house.owner.done("access.keys.create", {"name": "builder"})  # the key's own rights cap that one

    for operation, input in (
        ("access.keys.rotate", {"id": first["id"]}),
        ("access.keys.create", {"name": "second", "agent": service["id"]}),
    ):
        refused = await house.owner.call(operation, input)
        problem_of(refused, 428, "step-up-required")
        record = (await house.records(invocation=refused.headers["x-invocation-id"]))[0]
        assert (record["who"], record["status"], record["problem"]) == ("owner", "failed", "step-up-required")

    await house.owner.done("access.keys.rotate", {"id": agents["id"]})
    rotated = await proved.call("access.keys.rotate", {"id": first["id"]})
    assert rotated.status_code == 200, rotated.text
    back = {"ids": [rotated.headers["x-invocation-id"]]}
    problem_of(await house.owner.call("undo.apply", back), 428, "step-up-required")  # it would prolong the old one
    await proved.done("undo.apply", back)


async def test_a_persons_own_key_is_rotated_by_who_shows_the_factor_or_has_none(enrolled: Enrolled) -> None:
    house = enrolled.house
    bea = await access.person(house, "admin", by=house.caller("proved", await proof_of(enrolled)))
    id = (await bea.done("access.whoami"))["key"]
    rotated = await bea.done("access.keys.rotate", {"id": id})
    bea = house.caller(bea.name, rotated["key"])
    web = Web(house)
    await web.by_link(bea.name)
    await web.enrol_totp()

    problem_of(await bea.call("access.keys.rotate", {"id": rotated["id"]}), 428, "step-up-required")
    await web.done("access.keys.rotate", {"id": rotated["id"]})


@promise("1.2c")
async def test_a_key_does_what_is_critical_by_a_proof_and_not_by_itself(enrolled: Enrolled) -> None:
    house = enrolled.house
    problem = problem_of(await house.owner.call(CRITICAL), 428, "step-up-required")
    assert "signin.prove" in problem["hint"]

    proved = house.caller("proved", await proof_of(enrolled))

    await proved.done(CRITICAL)
    assert (await proved.done("access.whoami"))["id"] == "owner"
    problem_of(await house.owner.call(CRITICAL), 428, "step-up-required")  # the key is what it was
    assert (await events(house, "owner", "signin.stepped_up"))[0]["detail"]["key"].startswith("key_")


async def test_a_code_is_taken_once_and_a_wrong_one_is_refused_and_recorded(enrolled: Enrolled) -> None:
    house, code = enrolled.house, enrolled.code()
    await house.owner.done("signin.prove", {"code": code})

    for shown in (code, "000000", "nonsense"):
        problem_of(await house.owner.call("signin.prove", {"code": shown}), 401, "unauthenticated")

    assert len([one for one in await events(house, "owner") if one["detail"]["way"] == "code"]) == 3


async def test_a_recovery_code_proves_as_well(enrolled: Enrolled) -> None:
    codes = (await enrolled.web.done("signin.codes.renew"))["codes"]
    proved = enrolled.house.caller("proved", await proof_of(enrolled, codes[0]))
    await proved.done(CRITICAL)


@promise("1.2c")
async def test_a_proof_is_good_at_its_own_address_by_no_cookie_and_for_minutes(enrolled: Enrolled) -> None:
    house, proof = enrolled.house, await proof_of(enrolled)
    identify = house.installation.kernel.identify

    async def shown(remote: str, channel: str = "http") -> Any:
        return await identify(Credential("bearer", Secret(proof), Facts(remote, "", channel)))

    assert (await shown("127.0.0.1")).second_factor_at is not None
    for facts in (("10.1.2.3",), ("127.0.0.1", "web"), ("",)):
        with pytest.raises(Unauthenticated):
            await shown(*facts)
    cookie = {"Cookie": f"superagent={proof}"}
    response = await house.stranger.post("/v1/operations/access.whoami", json={}, headers=cookie)
    problem_of(response, 401, "unauthenticated")
    people.age_steps(house, 301.0)
    with pytest.raises(Unauthenticated):
        await shown("127.0.0.1")


async def test_a_proof_ends_with_its_key(enrolled: Enrolled) -> None:
    house = enrolled.house
    proof = await proof_of(enrolled)
    proved = house.caller("proved", proof)
    key = (await proved.done("access.whoami"))["key"]
    await proved.done("access.keys.revoke", {"id": key})
    problem_of(await proved.call("access.whoami"), 401, "unauthenticated")


@promise("1.2c")
async def test_neither_agent_nor_browser_nor_weakened_key_gets_a_proof(enrolled: Enrolled) -> None:
    house = enrolled.house
    agent = await house.agent(grants=[{"effect": "allow", "operations": ["*"]}])
    response = await agent.call("signin.prove", {"code": enrolled.code()})
    assert response.status_code in (403, 404)
    await house.refusal(response)
    refused = await enrolled.web.call("signin.prove", {"code": enrolled.code()})
    problem_of(refused, 403, "denied")

"""Schedules that were made by an access token or in a browser session: they last as long as the right to act does."""

from __future__ import annotations

from typing import Any

import pytest

from superagent.core.principal import Credential, Facts, Secret
from superagent.runtime.identity import SqlIdentity
from tests.features.jobs.asking import ended, soon
from tests.features.jobs.test_schedules import make_due, moved, schedule
from tests.features.oauth.parties import Client, application, service
from tests.features.sign_in.browser import Web
from tests.promise import promise
from tests.surfaces.http.house import Caller, House

pytestmark = pytest.mark.asyncio(loop_scope="session")
WRITES = ("files.write", {"path": "by-token.txt", "content": "x"})


async def token_of(house: House, person: Caller, scopes: str = "files.* jobs.*") -> tuple[Client, Caller]:
    """Let an application act for a person, and give both of its faces."""
    client = await application(house, scopes=scopes.split())
    tokens = await client.tokens(person, scope=scopes)
    return client, house.caller("application", tokens["access_token"])


async def is_recorded(house: House, id: str) -> None:
    async def look() -> bool:
        records = await house.records(operation="jobs.schedule.paused")
        return any(one["detail"]["schedule"] == id for one in records)

    await soon(look, "the record")


async def pauses(house: House, id: str) -> None:
    make_due(house, id)
    paused = await moved(house.owner, id, state="paused")
    assert (paused["runs"], paused["due"]) == (0, [])
    await is_recorded(house, id)


@promise("6.3")
async def test_a_schedule_made_by_a_token_runs_for_its_client_and_pauses_when_the_consent_ends(house: House) -> None:
    _, caller = await token_of(house, house.owner)
    made = await schedule(caller, *WRITES)
    make_due(house, made["id"])
    ran = await moved(house.owner, made["id"], runs=1)
    job = await ended(house.owner, ran["last"])
    assert job["owner"].startswith("client_")

    consents = (await house.owner.done("access.consents.list"))["consents"]
    mine = next(one["id"] for one in consents if one["client"] == job["owner"].partition("/")[0])
    await house.owner.done("access.consents.revoke", {"id": mine})

    make_due(house, made["id"])
    paused = await moved(house.owner, made["id"], state="paused")
    assert paused["runs"] == 1
    await is_recorded(house, made["id"])


async def test_who_acted_by_a_token_is_within_its_scopes_also_later(house: House) -> None:
    client, _ = await token_of(house, house.owner)
    narrow = (await client.tokens(house.owner, scope="jobs.*"))["access_token"]
    shown = Credential("bearer", Secret(narrow), Facts("127.0.0.1", "", "http"))
    kernel = house.installation.kernel
    identity = kernel.hands.identity
    assert isinstance(identity, SqlIdentity)
    then = await kernel.identify(shown)

    later = await identity.present(then)

    assert later is not None
    assert later.bounds is not None
    assert then.bounds is not None
    assert later.bounds.document() == then.bounds.document()
    assert [hop.id for hop in later.chain()] == [hop.id for hop in then.chain()]


async def test_a_schedule_made_by_a_service_pauses_when_its_client_goes(house: House) -> None:
    grants = [{"effect": "allow", "operations": ["jobs.*", "access.whoami"]}]
    client = await service(house, grants=grants)
    token = (await client.token(grant_type="client_credentials")).json()["access_token"]
    made = await schedule(house.caller("service", token), "access.whoami", {})
    await house.owner.done("access.clients.delete", {"id": client.id})

    await pauses(house, made["id"])


@promise("6.3")
@pytest.mark.parametrize("by", ["token", "session"])
async def test_a_schedule_pauses_when_its_person_is_suspended(house: House, by: str) -> None:
    name = f"sched-{by}"
    made: dict[str, Any] = await house.owner.done("access.users.create", {"id": name, "roles": ["owner"], "key": True})
    person = house.caller(name, made["key"])
    if by == "token":
        _, caller = await token_of(house, person)
        one = await schedule(caller, *WRITES)
    else:
        web = Web(house)
        await web.by_link(name)
        operation, input = WRITES
        one = await web.done("jobs.schedule", {"operation": operation, "input": input, "cron": "0 0 1 1 *"})
        await web.done("signin.out")  # the session was only the way in: the person stays
        make_due(house, one["id"])
        await ended(house.owner, (await moved(house.owner, one["id"], runs=1))["last"])
    await house.owner.done("access.users.suspend", {"id": name, "reason": "left"})

    make_due(house, one["id"])

    await moved(house.owner, one["id"], state="paused")
    await is_recorded(house, one["id"])

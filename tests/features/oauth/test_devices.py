"""Devices: tokens for who has no browser (RFC 8628)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import pytest_asyncio

from tests.features.oauth.parties import DEVICE_FLOW, Client, application, last_failure, refused
from tests.surfaces.http.house import Caller, House, problem_of

pytestmark = pytest.mark.asyncio(loop_scope="session")

Poll = Callable[[], Awaitable[Any]]


@pytest_asyncio.fixture(loop_scope="session")
async def device(house: House) -> Client:
    made = await house.owner.done(
        "access.clients.create",
        {"name": "Television", "kind": "application", "public": True, "device": True, "scopes": ["files.*"]},
    )
    return Client(house, made["id"], None)


async def started(device: Client, **fields: str) -> dict[str, Any]:
    response = await device.post("device_authorization", **fields)
    assert response.status_code == 200, response.text
    return response.json()


async def poll(device: Client, codes: dict[str, Any]) -> Any:
    return await device.token(grant_type=DEVICE_FLOW, device_code=codes["device_code"])


async def test_a_person_types_the_code_in_and_the_device_gets_its_tokens(house: House, device: Client) -> None:
    codes = await started(device, scope="files.*:read")
    assert codes["verification_uri"] == f"{house.address}/device"
    assert codes["verification_uri_complete"].endswith(f"?user_code={codes['user_code']}")
    typed = codes["user_code"].lower().replace("-", " ")
    refused(await poll(device, codes), "authorization_pending")

    shown = await house.owner.done("oauth.device.show", {"user_code": typed})
    await house.owner.done("oauth.device.decide", {"user_code": typed, "allow": True})

    assert (shown["client_name"], shown["scopes"]) == ("Television", ["files.*:read"])
    tokens = (await poll(device, codes)).json()
    caller = house.caller("television", tokens["access_token"])
    assert (await caller.done("access.whoami"))["on_behalf_of"] == ["owner"]
    assert (await caller.call("files.write", {"path": "x", "content": "x"})).status_code in (403, 404)
    assert (await device.refresh(tokens["refresh_token"])).status_code == 200


async def test_a_device_code_gives_tokens_once_and_a_second_use_ends_them(house: House, device: Client) -> None:
    codes = await started(device)
    await house.owner.done("oauth.device.decide", {"user_code": codes["user_code"], "allow": True})
    tokens = (await poll(device, codes)).json()

    response = await poll(device, codes)

    assert response.status_code == 400
    problem_of(await house.caller("x", tokens["access_token"]).call("access.whoami"), 401, "unauthenticated")


async def test_a_person_says_no_to_a_device(house: House, device: Client) -> None:
    codes = await started(device)

    await house.owner.done("oauth.device.decide", {"user_code": codes["user_code"], "allow": False})

    refused(await poll(device, codes), "access_denied")
    assert (await last_failure(house, device.id))["why"] == "access_denied"
    again = await house.owner.call("oauth.device.decide", {"user_code": codes["user_code"], "allow": True})
    problem_of(again, 404, "not-found")


async def test_a_device_that_asks_too_often_waits_longer(device: Client) -> None:
    codes = await started(device)
    refused(await poll(device, codes), "authorization_pending")
    refused(await poll(device, codes), "slow_down")


async def test_the_device_code_of_another_client_is_refused(house: House, device: Client) -> None:
    made = await house.owner.done(
        "access.clients.create", {"name": "Other", "kind": "application", "public": True, "device": True}
    )
    other, codes = Client(house, made["id"], None), await started(device)

    refused(await poll(other, codes), "unauthorized_client")


async def test_codes_that_nobody_gave_out_are_refused(house: House, device: Client) -> None:
    problem_of(await house.owner.call("oauth.device.show", {"user_code": "BBBB-BBBB"}), 404, "not-found")
    problem_of(await house.owner.call("oauth.device.show", {"user_code": "x"}), 404, "not-found")
    assert (await poll(device, {"device_code": "sad_" + "x" * 40})).status_code == 400


async def test_a_device_asks_for_no_more_than_it_may_and_only_if_it_is_one(house: House, device: Client) -> None:
    refused(await device.post("device_authorization", scope="shell.*"), "invalid_scope")
    refused(await device.post("device_authorization", scope="nonsense!"), "invalid_scope")
    refused(await device.post("device_authorization", resource="https://elsewhere.example"), "invalid_target")
    refused(await (await application(house)).post("device_authorization"), "invalid_request")
    refused(await Client(house, "client_none", None).post("device_authorization"), "invalid_client", 401)


async def test_an_agent_lets_no_device_act_for_its_person(house: House, agent: Caller, device: Client) -> None:
    codes = await started(device)
    for operation in ("oauth.device.show", "oauth.device.decide"):
        input = {"user_code": codes["user_code"], **({"allow": True} if operation.endswith("decide") else {})}
        response = await agent.call(operation, input)
        assert response.status_code in (403, 404)
        await house.refusal(response)
    refused(await poll(device, codes), "authorization_pending")

"""CORS: pages of origins that the settings list, and of no others."""

from __future__ import annotations

import pytest

from tests.promise import promise
from tests.surfaces.http.house import House, problem_of
from tests.surfaces.http.raw import head, wire

pytestmark = pytest.mark.asyncio(loop_scope="session")

FRIEND, FOE = "https://console.example", "https://evil.example"


@promise("6.1")
async def test_a_preflight_of_a_listed_origin_says_what_is_taken(strict_house: House) -> None:
    response = await strict_house.stranger.options(
        "/v1/operations/access.whoami", headers={"Origin": FRIEND, "Access-Control-Request-Method": "POST"}
    )

    assert response.status_code == 204
    assert response.headers["access-control-allow-origin"] == FRIEND
    assert "idempotency-key" in response.headers["access-control-allow-headers"]
    assert response.headers["vary"] == "origin"


@promise("6.1")
async def test_every_reply_to_a_listed_origin_can_be_read_by_it(strict_house: House) -> None:
    owner = strict_house.owner
    replies = [
        await owner.call("access.whoami", {}, Origin=FRIEND),
        await owner.get("/v1/nothing", Origin=FRIEND),
        await owner.get("/openapi.json", Origin=FRIEND),
        await strict_house.stranger.get("/health/live", headers={"Origin": FRIEND}),
        await owner.http.post("/v1/stream", headers={"Origin": FRIEND}),
        await strict_house.stranger.get("/v1/operations", headers={"Origin": FRIEND}),
    ]

    assert {one.headers.get("access-control-allow-origin") for one in replies} == {FRIEND}
    assert "x-invocation-id" in replies[0].headers["access-control-expose-headers"]


async def test_a_stream_can_be_read_by_a_listed_origin(strict_house: House) -> None:
    async with wire(strict_house) as it:
        await it.send(head("GET", "/v1/events", strict_house.owner.key, f"Origin: {FRIEND}"))
        assert f"access-control-allow-origin: {FRIEND}".encode() in await it.until(b"\r\n\r\n")


@promise("6.1")
@pytest.mark.parametrize(
    "origin", [FOE, "null", f"{FRIEND}.evil.example", FRIEND.upper(), "http://console.example", ""]
)
async def test_no_other_origin_gets_anything(strict_house: House, origin: str) -> None:
    preflight = await strict_house.stranger.options("/v1/operations/access.whoami", headers={"Origin": origin})
    call = await strict_house.owner.call("access.whoami", {}, Origin=origin)

    problem_of(preflight, 401, "unauthenticated")
    for response in (preflight, call):
        assert not [name for name in response.headers if name.startswith("access-control-")]


async def test_without_listed_origins_nobody_gets_anything(house: House) -> None:
    response = await house.owner.call("access.whoami", {}, Origin=FRIEND)

    assert not [name for name in response.headers if name.startswith("access-control-")]

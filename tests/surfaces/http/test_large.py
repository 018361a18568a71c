"""Large data: results by page, pattern and range; uploads used by operations; nobody reads another's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from superagent.core.principal import Principal
from superagent.core.problems import NotFound
from superagent.surfaces.http.large import range_of
from tests.promise import promise
from tests.surfaces.http.house import Caller, House, house_in, problem_of
from tests.surfaces.http.raw import head, wire

pytestmark = pytest.mark.asyncio(loop_scope="session")

DIGITS = b"0123456789"


async def stored(caller: Caller, data: bytes) -> str:
    response = await caller.http.put("/v1/blobs", content=data)
    assert response.status_code == 201, response.text
    assert response.json()["bytes"] == len(data)
    return response.json()["handle"]


@promise("6.1")
async def test_a_large_output_is_stored_and_can_be_paged(house: House) -> None:
    outcome = (await house.owner.call("probe.large", {"size": 1_500_000})).json()
    handle, text, offset = outcome["handle"], "", 0

    page: dict[str, Any] = {}
    while offset is not None:
        page = (await house.owner.get(f"/v1/results/{handle}?offset={offset}&limit=700000")).json()
        text, offset = text + page["text"], page["next_offset"]

    assert outcome["output"] is None
    assert page["size"] == len(text)
    assert json.loads(text) == {"text": "x" * 1_500_000}


async def test_a_page_that_is_not_text_comes_as_base64(agent: Caller) -> None:
    handle = await stored(agent, b"\xff\xfe\x00")

    page = (await agent.get(f"/v1/results/{handle}")).json()

    assert (page["text"], page["base64"]) == (None, "//4A")


@promise("6.1")
async def test_a_result_is_searched_without_reading_it_all(agent: Caller) -> None:
    lines = "".join(f"line {number}\n" for number in range(3000))
    handle = await stored(agent, lines.encode())

    page = (await agent.get(f"/v1/results/{handle}?grep=line%20299.$")).json()

    assert [one["text"] for one in page["matches"]] == [f"line 299{digit}" for digit in range(10)]
    assert page["matches"][0]["line"] == 2991
    assert page["next_offset"] is None


async def test_many_matches_are_paged(agent: Caller) -> None:
    handle = await stored(agent, b"hit\n" * 2500)
    found, offset = 0, 0

    while offset is not None:
        page = (await agent.get(f"/v1/results/{handle}?grep=hit&offset={offset}")).json()
        found, offset = found + len(page["matches"]), page["next_offset"]

    assert found == 2500


async def test_a_pattern_that_is_none_is_refused(agent: Caller) -> None:
    handle = await stored(agent, b"x")

    problem_of(await agent.get(f"/v1/results/{handle}?grep=("), 422, "invalid-input")


@promise("6.1")
@pytest.mark.parametrize(
    ("wanted", "status", "part", "shown"),
    [
        ("", 200, DIGITS, ""), ("bytes=2-4", 206, b"234", "bytes 2-4/10"), ("bytes=8-", 206, b"89", "bytes 8-9/10"),
        ("bytes=-3", 206, b"789", "bytes 7-9/10"), ("bytes=-99", 206, DIGITS, "bytes 0-9/10"),
        ("bytes=5-99", 206, b"56789", "bytes 5-9/10"), ("bytes=0-9", 206, DIGITS, "bytes 0-9/10"),
        ("bytes=0-1,4-5", 200, DIGITS, ""), ("lines=1-2", 200, DIGITS, ""), ("bytes=-", 200, DIGITS, ""),
        ("bytes=4-2", 200, DIGITS, ""), ("bytes=" + "9" * 5000 + "-", 200, DIGITS, ""),
    ],
)  # fmt: skip
async def test_a_download_gives_the_range_that_is_asked_for(
    agent: Caller, wanted: str, status: int, part: bytes, shown: str
) -> None:
    handle = await stored(agent, b"0123456789")

    response = await agent.get(f"/v1/results/{handle}/raw", **({"Range": wanted} if wanted else {}))

    assert (response.status_code, response.content) == (status, part)
    assert response.headers.get("content-range", "") == shown
    assert response.headers["content-length"] == str(len(part))
    assert response.headers["accept-ranges"] == "bytes"
    assert response.headers["content-disposition"] == "attachment"
    assert response.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("wanted", ["bytes=10-", "bytes=10-12", "bytes=-0"])
async def test_a_range_beyond_the_end_is_said_to_be(agent: Caller, wanted: str) -> None:
    handle = await stored(agent, b"0123456789")

    response = await agent.get(f"/v1/results/{handle}/raw", Range=wanted)

    problem_of(response, 416, "invalid-input")
    assert response.headers["content-range"] == "bytes */10"


async def test_a_range_under_a_condition_that_cannot_hold_gives_the_whole(agent: Caller) -> None:
    handle = await stored(agent, b"0123456789")

    response = await agent.get(f"/v1/results/{handle}/raw", **{"Range": "bytes=2-4", "If-Range": '"tag"'})

    assert (response.status_code, response.content) == (200, b"0123456789")


async def test_a_download_of_several_chunks_is_the_same_to_the_byte(agent: Caller) -> None:
    data = bytes(range(256)) * 4000

    handle = await stored(agent, data)

    assert (await agent.get(f"/v1/results/{handle}/raw")).content == data


async def test_an_empty_blob_can_be_downloaded(agent: Caller) -> None:
    handle = await stored(agent, b"")

    response = await agent.get(f"/v1/results/{handle}/raw")

    assert (response.status_code, response.content) == (200, b"")
    assert range_of(b"bytes=0-", 0) == (0, -1)


async def test_a_download_whose_bytes_are_lost_is_cut(house: House, agent: Caller) -> None:
    handle = await stored(agent, b"x" * 600_000)
    (house.data / "state" / "blobs" / handle).write_bytes(b"x" * 10)

    async with wire(house) as it:
        await it.send(head("GET", f"/v1/results/{handle}/raw", agent.key))
        answer = await it.rest()

    assert b"content-length: 600000" in answer
    assert len(answer.partition(b"\r\n\r\n")[2]) < 600_000


@promise("6.1")
async def test_an_upload_is_the_input_of_an_operation(agent: Caller) -> None:
    data = bytes(range(256)) * 10_000
    handle = await stored(agent, data)

    await agent.done("files.write", {"path": "large.bin", "blob": handle})

    assert (agent.workspace / "large.bin").read_bytes() == data


@promise("6.1")
async def test_nobody_reads_downloads_uses_or_drops_what_another_stored(house: House, agent: Caller) -> None:
    other = await house.agent()
    handle = await stored(other, b"secret")

    for caller in (agent, house.owner):
        for path in (f"/v1/results/{handle}", f"/v1/results/{handle}/raw", f"/v1/results/{handle}?grep=s"):
            response = await caller.get(path)
            assert "secret" not in response.text
            problem_of(response, 404, "not-found")
        problem_of(await caller.call("result.delete", {"handle": handle}), 404, "not-found")
    problem_of(await agent.call("files.write", {"path": "stolen", "blob": handle}), 404, "not-found")
    assert not (agent.workspace / "stolen").exists()
    assert (await other.get(f"/v1/results/{handle}/raw")).content == b"secret"


async def test_what_was_dropped_is_not_found(agent: Caller) -> None:
    handle = await stored(agent, b"x")

    await agent.done("result.delete", {"handle": handle})

    problem_of(await agent.get(f"/v1/results/{handle}/raw"), 404, "not-found")


async def test_downloading_and_uploading_stand_in_the_audit(house: House) -> None:
    agent = await house.agent()
    handle = await stored(agent, b"x")
    await agent.get(f"/v1/results/{handle}/raw")

    found: list[dict[str, Any]] = await house.records(actor=agent.name)

    assert [(one["kind"], one["operation"]) for one in found] == [("outcome", "result.read"), ("event", "blobs.put")]


async def test_a_key_that_may_not_read_results_downloads_none(house: House) -> None:
    handle = await stored(house.owner, b"x")
    await house.owner.done(
        "grants.create", {"grant": {"effect": "deny", "subject": "agent:nobody", "operations": ["result.*"]}}
    )
    nobody = await house.agent(name="nobody")

    problem_of(await nobody.get(f"/v1/results/{handle}/raw"), 404, "not-found")


async def test_an_agent_uploads_no_more_than_its_share_and_another_still_can(tmp_path: Path) -> None:
    async with house_in(tmp_path / "data", limits__blob_quota_bytes=4_000) as house:
        one, other = await house.agent(), await house.agent()
        assert (await one.http.put("/v1/blobs", content=b"x" * 1_000)).status_code == 201

        refused = await one.http.put("/v1/blobs", content=b"x")

        problem = problem_of(refused, 413, "too-large")
        assert "share" in problem["detail"]
        assert "result.delete" in problem["hint"]
        assert (await house.refusal(refused))["problem"] == "too-large"
        assert (await other.http.put("/v1/blobs", content=b"x" * 1_000)).status_code == 201


async def test_a_handle_that_is_a_path_finds_nothing(agent: Caller) -> None:
    for handle in ("..", "%2e%2e%2fowner.key", "blob_", "x" * 500):
        problem_of(await agent.get(f"/v1/results/{handle}/raw"), 404, "not-found")


async def test_a_blob_that_vanishes_between_two_chunks_ends_the_download(
    house: House, agent: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    handle = await stored(agent, b"x" * 600_000)
    blobs, read = house.installation.kernel.hands.blobs, house.installation.kernel.hands.blobs.read

    async def once(who: Principal, handle: str, offset: int = 0, limit: int = 0) -> tuple[bytes, int]:
        if offset:
            raise NotFound("gone")
        return await read(who, handle, offset, limit)

    monkeypatch.setattr(blobs, "read", once)
    async with wire(house) as it:
        await it.send(head("GET", f"/v1/results/{handle}/raw", agent.key))
        answer = await it.rest()

    assert len(answer.partition(b"\r\n\r\n")[2]) == 262_144

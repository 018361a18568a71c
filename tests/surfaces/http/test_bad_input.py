"""Bad input: each kind gets its problem, stands in the audit, and changes nothing."""

from __future__ import annotations

import asyncio
import gzip
import json
from typing import Any

import pytest

from tests.promise import promise
from tests.surfaces.http.house import Caller, House, problem_of
from tests.surfaces.http.raw import chunk, head, wire

pytestmark = pytest.mark.asyncio(loop_scope="session")

WRITE = "/v1/operations/files.write"
GOOD = {"path": "new", "content": "x"}


async def nothing_changed(agent: Caller) -> None:
    assert not (agent.workspace / "new").exists()


MALFORMED = {
    "cut off": b'{"path": "new", "content": "x"',
    "not json": b"path=new",
    "a list": b"[]",
    "a text": b'"x"',
    "null": b"null",
    "two values": b"{} {}",
    "duplicate key": b'{"path": "new", "content": "a", "content": "b"}',
    "inner duplicate key": b'{"path": "new", "content": {"a": 1, "a": 2}}',
    "NaN": b'{"path": "new", "content": NaN}',
    "infinity": b'{"path": "new", "content": -Infinity}',
    "not utf-8": b'{"path": "new", "content": "\xff"}',
    "utf-16": '{"path": "new", "content": "x"}'.encode("utf-16"),
    "byte order mark": b'\xef\xbb\xbf{"path": "new", "content": "x"}',
    "lone surrogate": b'{"path": "new", "content": "\\ud800"}',
    "deep": b'{"path": ' + b"[" * 100 + b"]" * 100 + b"}",
    "very deep": b"[" * 100_000,
    "long number": b'{"path": ' + b"9" * 5000 + b"}",
    "comment": b'{"path": "new" /* x */}',
    "trailing comma": b'{"path": "new",}',
    "control character": b'{"path": "a\nb", "content": "x"}',
}


@promise("1.6")
@pytest.mark.parametrize("body", MALFORMED.values(), ids=MALFORMED.keys())
async def test_a_malformed_body_is_refused_and_nothing_is_changed(house: House, agent: Caller, body: bytes) -> None:
    response = await agent.http.post(WRITE, content=body)

    problem_of(response, 400, "malformed")
    await nothing_changed(agent)
    record = await house.refusal(response)
    assert (record["operation"], record["problem"]) == ("files.write", "malformed")


INVALID = {
    "unknown field": GOOD | {"colour": "red"},
    "missing field": {"content": "x"},
    "wrong type": GOOD | {"content": 5},
    "a number for a text": {"path": 5, "content": "x"},
    "a list for a text": {"path": ["new"], "content": "x"},
    "a text for a truth value": GOOD | {"create_only": "true"},
    "null": {"path": None, "content": "x"},
}


@promise("1.6")
@pytest.mark.parametrize("input", INVALID.values(), ids=INVALID.keys())
async def test_an_input_that_does_not_fit_is_refused_with_the_path_of_the_fault(
    house: House, agent: Caller, input: dict[str, object]
) -> None:
    response = await agent.call("files.write", input)

    problem = problem_of(response, 422, "invalid-input")
    assert problem["errors"][0]["path"].startswith("$")
    assert problem["errors"][0]["message"]
    await nothing_changed(agent)
    assert (await house.refusal(response))["problem"] == "invalid-input"


@pytest.mark.parametrize("path", ["a\0b", "", "a" * 5000, "../" * 3000])
async def test_a_path_that_is_none_is_refused(agent: Caller, path: str) -> None:
    response = await agent.call("files.write", {"path": path, "content": "x"})

    problem_of(response, 422, "invalid-input")


async def test_an_empty_body_is_an_empty_input(house: House) -> None:
    assert (await house.owner.http.post("/v1/operations/access.whoami", content=b"")).status_code == 200


async def test_a_compressed_body_is_refused(house: House, agent: Caller) -> None:
    body = gzip.compress(json.dumps(GOOD).encode())

    for method, path in (("POST", WRITE), ("POST", "/v1/batch"), ("POST", "/v1/stream"), ("PUT", "/v1/blobs")):
        response = await agent.http.request(method, path, content=body, headers={"Content-Encoding": "gzip"})
        assert "compressed" in problem_of(response, 400, "malformed")["detail"]
    await nothing_changed(agent)


@promise("1.6")
@pytest.mark.parametrize("path", [WRITE, "/v1/batch", "/v1/blobs"])
async def test_a_body_that_says_it_is_too_large_is_refused_before_it_is_sent(strict_house: House, path: str) -> None:
    method = "PUT" if path == "/v1/blobs" else "POST"
    async with wire(strict_house) as line:
        await line.send(
            head(method, path, strict_house.owner.key, "Content-Length: 9999999999", "Expect: 100-continue")
        )

        answer = await line.until(b"}")

    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"/problems/too-large" in answer


@promise("1.6")
@pytest.mark.parametrize(("path", "most"), [(WRITE, 2048), ("/v1/batch", 2048), ("/v1/blobs", 8192)])
async def test_a_body_that_turns_out_to_be_too_large_is_refused(strict_house: House, path: str, most: int) -> None:
    method = "PUT" if path == "/v1/blobs" else "POST"
    async with wire(strict_house) as line:
        await line.send(head(method, path, strict_house.owner.key, "Transfer-Encoding: chunked"))
        for _ in range(most // 1000 + 1):
            await line.send(chunk(b" " * 1000))

        answer = await line.until(b"}")

    assert answer.startswith(b"HTTP/1.1 413 ")


async def test_a_chunked_body_at_the_cap_is_taken_and_one_byte_more_is_not(strict_house: House) -> None:
    async def body(size: int) -> bytes:
        async with wire(strict_house) as line:
            await line.send(
                head("POST", "/v1/operations/access.whoami", strict_house.owner.key, "Transfer-Encoding: chunked")
            )
            await line.send(chunk(b"{}" + b" " * (size - 3)) + chunk(b" ") + b"0\r\n\r\n")
            return await line.until(b"\r\n")

    assert await body(2048) == b"HTTP/1.1 200 OK\r\n"
    assert (await body(2049)).startswith(b"HTTP/1.1 413 ")


async def test_a_body_in_one_piece_over_the_cap_is_refused_whatever_it_declared(strict_house: House) -> None:
    async with wire(strict_house) as line:
        whole = chunk(b"{}" + b" " * 5000) + b"0\r\n\r\n"
        await line.send(
            head("POST", "/v1/operations/access.whoami", strict_house.owner.key, "Transfer-Encoding: chunked") + whole
        )
        assert (await line.until(b"\r\n")).startswith(b"HTTP/1.1 413 ")


@promise("6.1")
@pytest.mark.parametrize("path", [WRITE, "/v1/batch"])
async def test_a_body_that_breaks_off_is_not_run(house: House, path: str) -> None:
    agent = await house.agent()
    body = json.dumps(GOOD if path == WRITE else {"calls": [{"operation": "files.write", "input": GOOD}]}).encode()
    async with wire(house) as line:
        await line.send(head("POST", path, agent.key, f"Content-Length: {len(body) + 1}") + body)
        line.leave()

    found: list[dict[str, Any]] = []
    for _ in range(100):
        found = await house.records(actor=agent.name)
        if found:
            break
        await asyncio.sleep(0.05)
    assert [(one["kind"], one["problem"]) for one in found] == [("refused", "malformed")]
    await nothing_changed(agent)


async def test_an_upload_that_breaks_off_leaves_nothing(house: House) -> None:
    folder = house.data / "state" / "blobs"
    before = set(folder.iterdir())
    async with wire(house) as line:
        await line.send(head("PUT", "/v1/blobs", house.owner.key, "Content-Length: 1000") + b"x" * 500)
        line.leave()

    for _ in range(100):
        if set(folder.iterdir()) == before and not house.door.slots._sum:  # pyright: ignore[reportPrivateUsage]
            break
        await asyncio.sleep(0.05)
    assert set(folder.iterdir()) == before


@pytest.mark.parametrize("declared", [b"+5", b"five", b""])
async def test_a_length_that_is_no_number_is_refused(house: House, declared: bytes) -> None:
    from superagent.core.problems import Malformed
    from superagent.surfaces.http.body import check_head

    with pytest.raises(Malformed):
        check_head({b"content-length": declared}, 100)


@promise("1.6")
@pytest.mark.parametrize(
    ("path", "method"),
    [
        ("/v1/operations?limit=x", "GET"), ("/v1/operations?limit=-1", "GET"), ("/v1/operations?max_risk=HUGE", "GET"),
        ("/v1/operations?cursor=x", "GET"), (f"/v1/operations?cursor={'9' * 5000}", "GET"),
        ("/v1/results/h?offset=x", "GET"), (f"/v1/results/h?offset={'9' * 30}", "GET"),
        ("/v1/results/h?limit=0", "GET"), ("/v1/results/h?limit=99999999", "GET"),
    ],
)  # fmt: skip
async def test_a_query_that_makes_no_sense_is_refused(house: House, path: str, method: str) -> None:
    problem_of(await house.owner.http.request(method, path), 422, "invalid-input")


@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("/v1/operations?search=x", ["q", "cursor", "limit", "domain", "max_risk"]),
        ("/v1/results/h?page=2", ["offset", "limit", "grep"]), ("/v1/invocations/x/logs?tail=1", ["stream", "since"]),
        ("/v1/operations/files.read?dry_run=true", []), ("/v1/events?since=1", []), ("/v1/invocations/x?wait=5", []),
    ],
)  # fmt: skip
async def test_a_parameter_that_means_nothing_is_refused_with_those_there_are(
    house: House, path: str, names: list[str]
) -> None:
    problem = problem_of(await house.owner.get(path), 422, "invalid-input")

    assert all(f"`{name}`" in problem["hint"] for name in names)
    assert problem["hint"]


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("PUT", "/v1/operations/files.write", "GET, POST, QUERY"),
        ("DELETE", "/v1/operations/no.such", "GET, POST, QUERY"),
        ("POST", "/v1/operations", "GET"), ("HEAD", "/v1/operations", "GET"), ("POST", "/v1/invocations/x", "GET"),
        ("GET", "/v1/blobs", "PUT"), ("PATCH", "/v1/events", "GET"), ("GET", "/v1/batch", "POST"),
        ("GET", "/v1/invocations/x/undo", "POST"),
    ],
)  # fmt: skip
async def test_a_method_that_an_address_does_not_take_is_refused_with_those_it_takes(
    house: House, method: str, path: str, allow: str
) -> None:
    response = await house.owner.http.request(method, path)

    assert (response.status_code, response.headers["allow"]) == (405, allow)
    if method != "HEAD":
        problem_of(response, 405, "wrong-method")
    assert (await house.refusal(response))["operation"] == f"{method} {path}"


@pytest.mark.parametrize("value", ["x", "-1", "1.5", "9" * 30, "1", "7" * 48, "=" * 300])
async def test_a_last_event_id_that_never_came_from_here_is_refused(house: House, value: str) -> None:
    problem_of(await house.owner.get("/v1/events", **{"Last-Event-ID": value}), 422, "invalid-input")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/nothing"), ("GET", "/v1/"), ("DELETE", "/v1/nothing"), ("POST", "/v1/operations/"),
        ("GET", "/v1/invocations"), ("GET", "/v1/results"), ("POST", "/v1/invocations/x/nothing"),
        ("GET", "/v1/a/b/c/d/e"),
        ("POST", "/v1/operations/" + "x" * 5000), ("POST", "/v1/operations/a/b"), ("POST", "/v1/operations/%00%ff%0a"),
        ("GET", "/v1/operations/%F0%9F%92%A9"), ("POST", "/v1/operations/../../etc/passwd"),
    ],
)  # fmt: skip
async def test_what_is_not_there_is_not_found(house: House, method: str, path: str) -> None:
    response = await house.owner.http.request(method, path)

    assert response.status_code == 404
    if method != "HEAD":
        problem_of(response, 404, "not-found")

"""The wire: what is no HTTP, heads without end, clients without haste, and requests one after the other."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from contextlib import AsyncExitStack
from typing import Any

import pytest

from superagent.surfaces.http.protocol import Protocol
from tests.promise import promise
from tests.surfaces.http.house import Caller, House
from tests.surfaces.http.raw import chunk, head, wire
from tests.until import until_async

pytestmark = pytest.mark.asyncio(loop_scope="session")


@promise("1.6")
@pytest.mark.parametrize(
    "said",
    [
        b"nonsense\r\n\r\n", b"GET / HTTP/1.1\r\nno colon\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01", b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"GET / HTTP/1.1\r\nX: a\0b\r\n\r\n", b"GET /\xff HTTP/1.1\r\n\r\n", b"CONNECT a:1 HTTP/1.1\r\n\r\n",
    ],
)  # fmt: skip
async def test_what_is_no_http_is_a_problem_too(house: House, said: bytes) -> None:
    async with wire(house) as it:
        await it.send(said)
        answer = await it.rest()

    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"application/problem+json" in answer
    assert b'"type":"/problems/malformed"' in answer


@promise("1.6")
@pytest.mark.parametrize("flood", ["many headers", "one header", "the address"])
async def test_a_head_without_end_is_cut_off(house: House, flood: str) -> None:
    begin = {
        "many headers": b"GET /health/live HTTP/1.1\r\n",
        "one header": b"GET / HTTP/1.1\r\nX: ",
        "the address": b"GET /",
    }
    more = b"X-Y: z\r\n" * 1000 if flood == "many headers" else b"x" * 8000
    async with wire(house) as it:
        await it.send(begin[flood])
        with pytest.raises((ConnectionError, TimeoutError)):  # noqa: PT012 - it breaks somewhere along the way
            for _ in range(2000):
                await asyncio.wait_for(it.send(more), 20)
            raise TimeoutError("nobody stopped it")


async def test_a_head_over_the_cap_is_told_so(house: House) -> None:
    async with wire(house) as it:
        await it.send(b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 11_000)
        assert b"the head of the request is longer" in await it.rest()


@pytest.mark.parametrize("split", [False, True], ids=["in one packet", "later"])
@pytest.mark.parametrize("name", ["access.whoami", "files.write"])
async def test_what_stands_behind_a_body_is_no_header(house: House, agent: Caller, split: bool, name: str) -> None:
    path = f"/v1/operations/{name}"
    body = b"{}" if name == "access.whoami" else b'{"path":"behind","content":"x"}'
    begin = head("POST", path, agent.key, "Content-Type: application/json", "Transfer-Encoding: chunked") + chunk(body)
    trailer = b"0\r\nX-Dry-Run: true\r\n\r\n"
    async with wire(house) as it:
        await it.send(begin if split else begin + trailer)
        if split:
            await asyncio.sleep(0.05)
            await it.send(trailer)
        answer = await it.until(b'"seconds":')

    assert b'"status":"done"' in answer, answer  # as the head alone says


async def test_a_key_behind_a_body_is_none(house: House, agent: Caller) -> None:
    begin = b"POST /v1/operations/access.whoami HTTP/1.1\r\nHost: house\r\nTransfer-Encoding: chunked\r\n\r\n"
    async with wire(house) as it:
        await it.send(begin + chunk(b"{}") + f"0\r\nAuthorization: Bearer {agent.key}\r\n\r\n".encode())
        assert (await it.until(b"\r\n")).startswith(b"HTTP/1.1 401 ")


@pytest.mark.parametrize("flood", [b"X-Y: z\r\n", b"x"], ids=["many", "one"])
async def test_what_stands_behind_a_body_has_an_end(house: House, flood: bytes) -> None:
    begin = b"POST /v1/operations/access.whoami HTTP/1.1\r\nHost: house\r\nTransfer-Encoding: chunked\r\n\r\n"
    async with wire(house) as it:
        await it.send(begin + chunk(b"{}") + b"0\r\nX: ")
        with pytest.raises(ConnectionError):  # noqa: PT012 - it breaks somewhere along the way
            for _ in range(200):
                await asyncio.wait_for(it.send(flood * (8000 // len(flood))), 20)
                await asyncio.sleep(0.001)
            raise TimeoutError("nobody stopped it")


async def test_a_head_that_does_not_arrive_ends_the_connection(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Protocol, "patience_s", 0.1)
    async with wire(house) as quiet, wire(house) as slow, wire(house) as second:
        await slow.send(b"GET /health/live HTT")
        await second.send(b"GET /health/live HTTP/1.1\r\n\r\n")
        await second.until(b"}")
        await second.send(b"GET /health/live HTT")

        assert await quiet.rest() == b""
        assert b"did not arrive in time" in await slow.rest()
        assert b"did not arrive in time" in await second.rest()


async def test_silent_connections_make_room_for_those_who_come_to_say_something(
    house: House, agent: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    await agent.done("access.whoami")  # its client keeps a connection, which is in use
    async with wire(house) as speaking, AsyncExitStack() as stack:
        heard, kept = bytearray(), set[Any]()  # the second: all connections, also those that other tests keep in use
        receive = Protocol.data_received

        def hear(self: Protocol, data: bytes) -> None:
            nonlocal kept
            heard.extend(data)
            kept = self.connections
            receive(self, data)

        monkeypatch.setattr(Protocol, "data_received", hear)
        await speaking.send(b"GET /health/live HTT")
        await speaking.send(b"P/1.1\r\nHost: x\r\n")
        # not before: what has not been heard yet is silent as well
        await until_async(lambda: heard.endswith(b"Host: x\r\n"), "its beginning was heard")
        monkeypatch.setattr(Protocol, "most_connections", len(kept) + 6)
        silent = [await stack.enter_async_context(wire(house)) for _ in range(20)]

        assert (await agent.done("access.whoami"))["id"] == agent.name
        async with wire(house) as late:
            await late.send(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n")
            assert b"200 OK" in await late.until(b"}")
        await speaking.send(b"\r\n")
        assert b"200 OK" in await speaking.until(b"}")
        await until_async(lambda: sum(one.reader.at_eof() for one in silent) >= 14, "the end of those that say nothing")


async def test_a_process_takes_the_open_files_that_it_may_have_and_leaves_some_to_other_things() -> None:
    code = (
        "import resource as r; r.setrlimit(r.RLIMIT_NOFILE, (1024, min(4096, r.getrlimit(r.RLIMIT_NOFILE)[1])))\n"
        "from superagent.surfaces.http.protocol import Protocol, limit_connections\n"
        "limit_connections(); print(*r.getrlimit(r.RLIMIT_NOFILE), Protocol.most_connections)"
    )
    done = await asyncio.to_thread(subprocess.run, [sys.executable, "-c", code], capture_output=True, timeout=60)
    soft, most, connections = map(int, done.stdout.split())

    assert soft == most > connections >= most // 2


@pytest.fixture
def haste(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look at the pace of bodies ten times a second, and want a byte each time."""
    monkeypatch.setattr(Protocol, "patience_s", 0.1)
    monkeypatch.setattr(Protocol, "least_per_s", 10)


async def looks(count: int) -> None:
    """Let the server look at the pace of a body so many times."""
    loop = asyncio.get_running_loop()
    end = loop.time() + count * Protocol.patience_s
    await until_async(lambda: loop.time() > end, "that moment")


@promise("1.6")
@pytest.mark.usefixtures("haste")
@pytest.mark.parametrize("begun", [b"", b'{"si'])
async def test_a_body_that_does_not_arrive_is_refused_and_recorded(house: House, begun: bytes) -> None:
    async with wire(house) as it:
        await it.send(head("POST", "/v1/operations/probe.large", house.owner.key, "Content-Length: 11") + begun)
        said = await it.rest()

    assert said.startswith(b"HTTP/1.1 400 ")
    assert b"connection: close" in said
    assert b'"type":"/problems/malformed"' in said
    assert b"did not arrive in time" in said
    (id,) = re.findall(rb"x-invocation-id: (\w+)", said)
    (record,) = await house.records(invocation=id.decode())
    assert (record["kind"], record["operation"], record["problem"]) == ("refused", "probe.large", "malformed")
    assert "did not arrive in time" in record["detail"]["why"]


@promise("1.6")
@pytest.mark.usefixtures("haste")
async def test_an_upload_that_stops_midway_is_refused_recorded_and_not_kept(house: House) -> None:
    folder = house.data / "state" / "blobs"
    before = sorted(folder.rglob("*"))
    async with wire(house) as it:
        await it.send(head("PUT", "/v1/blobs", house.owner.key, "Transfer-Encoding: chunked") + chunk(b"x" * 5000))
        said = await it.rest()

    assert said.startswith(b"HTTP/1.1 400 ")
    assert b"did not arrive in time" in said
    (id,) = re.findall(rb"x-invocation-id: (\w+)", said)
    (record,) = await house.records(invocation=id.decode())
    assert (record["kind"], record["operation"], record["problem"]) == ("refused", "PUT /v1/blobs", "malformed")
    assert sorted(folder.rglob("*")) == before


@promise("1.6")
@pytest.mark.usefixtures("haste")
async def test_a_stranger_who_goes_on_sending_after_the_answer_is_not_listened_to_for_ever(house: House) -> None:
    async with wire(house) as it:
        await it.send(head("POST", "/v1/operations/probe.large", "sak_nobody", "Content-Length: 1000000") + b"x")
        assert (await it.until(b"}")).startswith(b"HTTP/1.1 401 ")
        await it.send(b"x")

        assert await it.rest() == b""


@pytest.mark.usefixtures("haste")
async def test_a_body_that_comes_at_its_pace_may_take_longer_than_the_patience(house: House) -> None:
    body = b'{"size": 3, "word": "' + b"y" * 40 + b'"}'
    async with wire(house) as it:
        length = f"Content-Length: {len(body)}"
        await it.send(head("POST", "/v1/operations/probe.large", house.owner.key, length))
        for at in range(0, len(body), 13):
            await it.send(body[at : at + 13])
            await looks(1)
        assert b'{"text":"yyy"}' in await it.until(b'"seconds":')


@pytest.mark.usefixtures("haste")
async def test_between_the_lines_of_a_stream_one_may_pause(house: House) -> None:
    async with wire(house) as it:
        await it.send(head("POST", "/v1/stream", house.owner.key, "Transfer-Encoding: chunked"))
        for mark in (b"1", b"2"):
            await looks(4)
            await it.send(chunk(b'{"id": %b, "operation": "access.whoami"}\n' % mark))
            assert b'"id":' + mark in await it.until(b'"seconds":')
        await it.send(b"0\r\n\r\n")
        await it.until(b"0\r\n\r\n")


@pytest.mark.usefixtures("haste")
async def test_what_is_not_read_by_us_is_not_held_against_the_caller(house: House) -> None:
    body = b'{"seconds": 0.6, "mark": "b"}'
    async with wire(house) as it:
        key = house.owner.key
        first = head("POST", "/v1/operations/probe.wait", key, f"Content-Length: {len(body)}") + body
        second = head("POST", "/v1/operations/probe.wait", key, f"Content-Length: {len(body)}")
        await it.send(first + second + body[:10])  # the second waits for its turn, and so does its body
        assert b'{"text":"b"}' in await it.until(b'"seconds":')
        await it.send(body[10:])
        assert b'{"text":"b"}' in await it.until(b'"seconds":')


async def test_several_requests_on_one_connection_are_answered_in_order(house: House) -> None:
    async with wire(house) as it:
        key = house.owner.key
        one = head("POST", "/v1/operations/probe.wait", key, "Content-Length: 29") + b'{"seconds": 0.2, "mark": "a"}'
        other = head("POST", "/v1/operations/probe.wait", key, "Content-Length: 29") + b'{"seconds": 0.0, "mark": "b"}'
        await it.send(one + other)

        first, second = await it.until(b'"seconds":'), await it.until(b'"seconds":')

    assert b'{"text":"a"}' in first
    assert b'{"text":"b"}' in second


async def test_nonsense_after_a_request_does_not_land_in_its_answer(house: House) -> None:
    async with wire(house) as it:
        key = house.owner.key
        one = head("POST", "/v1/operations/probe.wait", key, "Content-Length: 29") + b'{"seconds": 0.5, "mark": "a"}'
        await it.send(one + b"nonsense\r\n\r\n")

        assert await it.rest() == b""


async def test_a_head_in_tiny_pieces_is_put_together(house: House) -> None:
    async with wire(house) as it:
        for byte in b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n":
            await it.send(bytes([byte]))
        assert b'{"status":"ok"}' in await it.until(b"}")


@promise("6.1")
async def test_a_body_in_tiny_pieces_is_put_together(house: House) -> None:
    async with wire(house) as it:
        await it.send(head("POST", "/v1/operations/probe.large", house.owner.key, "Transfer-Encoding: chunked"))
        for byte in b'{"size": 3}':
            await it.send(chunk(bytes([byte])))
        await it.send(b"0\r\n\r\n")
        assert b'{"text":"xxx"}' in await it.until(b'"seconds":')


@pytest.mark.parametrize("split", [False, True])
@pytest.mark.parametrize("path", ["access.whoami", "access.whoami?dry_run=false", "shell.explain"])
async def test_the_body_of_who_asks_for_another_protocol_is_its_body_and_not_the_next_request(
    house: House, agent: Caller, path: str, split: bool
) -> None:
    operation = "/v1/operations/access.whoami"
    inner = head("POST", operation, house.owner.key, "Content-Length: 2") + b"{}"
    asks = "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA"
    async with wire(house) as line:
        await line.send(head("POST", f"/v1/operations/{path}", agent.key, *asks, f"Content-Length: {len(inner)}"))
        if split:
            await asyncio.sleep(0.05)
        await line.send(inner + head("POST", operation, agent.key, "Connection: close", "Content-Length: 2") + b"{}")

        answers = await line.rest()

    assert re.findall(rb"HTTP/1.1 (\d+)", answers) == [b"400", b"200"], answers
    assert b'"id":"owner"' not in answers
    assert answers.count(f'"id":"{agent.name}"'.encode()) == 1


async def test_who_asks_for_another_protocol_is_answered_like_everybody(house: House, agent: Caller) -> None:
    asks = "Connection: upgrade", "Upgrade: websocket"
    async with wire(house) as line:
        body = b'{"command":"ls a"}'
        said = head("POST", "/v1/operations/shell.explain", agent.key, *asks, f"Content-Length: {len(body)}") + body
        chunked = head("POST", "/v1/operations/shell.explain", agent.key, *asks, "Transfer-Encoding: chunked")
        last = head("GET", "/health/live", agent.key, "Upgrade: h2c", "Connection: upgrade, close")
        await line.send(said + chunked + chunk(body) + b"0\r\n\r\n" + last)

        answers = await line.rest()

    assert re.findall(rb"HTTP/1.1 (\d+)", answers) == [b"200"] * 3, answers
    assert answers.count(b'"programs":["ls"]') == 2

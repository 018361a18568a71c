"""The wire: what is no HTTP, heads without end, clients without haste, and requests one after the other."""

from __future__ import annotations

import asyncio

import pytest

from superagent.surfaces.http.protocol import Protocol
from tests.promise import promise
from tests.surfaces.http.house import House
from tests.surfaces.http.raw import chunk, head, wire

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

"""The pieces of the proxy by themselves: first messages, the relay, bodies that break off, odd clients."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio
import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from superagent.runtime.egress.client import Caps, Client
from superagent.runtime.egress.hello import MOST_BYTES, Hello, NoHello
from superagent.runtime.egress.refusal import Refusal
from superagent.runtime.egress.relay import relay
from superagent.runtime.egress.requests import forward_target, returned_headers
from superagent.runtime.net.wire import Wire


def first_message(name: str | None, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> bytes:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.minimum_version = context.maximum_version = version
    out = ssl.MemoryBIO()
    try:
        context.wrap_bio(ssl.MemoryBIO(), out, server_hostname=name).do_handshake()
    except ssl.SSLWantReadError:
        return out.read()
    raise AssertionError("it needs an answer")


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("name", ["a.test", None])
@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_the_name_in_a_first_message_is_read_however_it_is_cut(
    version: ssl.TLSVersion, name: str | None, size: int
) -> None:
    hello, data = Hello(), first_message(name, version)
    said = [hello.feed(data[at : at + size]) for at in range(0, len(data), size)]
    assert said == [False] * (len(said) - 1) + [True]
    assert hello.name == name


@pytest.mark.parametrize("data", [b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x00\x05hello", b"SSH-2.0\r\n"])
def test_what_is_no_first_message_is_said(data: bytes) -> None:
    with pytest.raises(NoHello):
        Hello().feed(data)


def test_a_first_message_without_an_end_is_not_collected_for_ever() -> None:
    hello = Hello()
    assert not hello.feed(b"\x16\x03\x01\x3f\xff\x01\x00\xff\xff" + b"\0" * 1000)
    with pytest.raises(NoHello):
        hello.feed(b"\0" * MOST_BYTES)


@given(st.binary(max_size=300))
def test_no_noise_breaks_the_reader_of_first_messages(noise: bytes) -> None:
    for data in (noise, b"\x16" + noise, first_message("a.test")[:50] + noise):
        try:
            Hello().feed(data)
        except NoHello:
            continue


# ---- wires


@asynccontextmanager
async def pair() -> AsyncGenerator[tuple[Wire, socket.socket]]:
    """Give a wire and the socket at its other end."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        far = socket.create_connection(server.getsockname())
        near, _ = server.accept()
    wire = await Wire.over(near)
    far.setblocking(False)
    try:
        yield wire, far
    finally:
        wire.abort()
        far.close()
        await asyncio.sleep(0)


async def taken(sock: socket.socket, size: int = 100) -> bytes:
    async with asyncio.timeout(10):
        return await asyncio.get_running_loop().sock_recv(sock, size)


async def test_a_relay_carries_both_ways_and_lets_each_half_end_by_itself() -> None:
    async with pair() as (inside, client), pair() as (outside, server):
        carrying = asyncio.create_task(relay(inside, outside, 30))
        client.sendall(b"ask")
        client.shutdown(socket.SHUT_WR)
        assert await taken(server) == b"ask"
        assert await taken(server) == b""
        server.sendall(b"answer")
        assert await taken(client) == b"answer"
        server.close()
        async with asyncio.timeout(10):
            await carrying
        assert (outside.sent, outside.received) == (3, 6)


async def test_a_relay_ends_when_nothing_crosses_and_not_before() -> None:
    async with pair() as (inside, client), pair() as (outside, server):
        carrying = asyncio.create_task(relay(inside, outside, 0.3))
        for _ in range(16):
            await asyncio.sleep(0.05)
            client.sendall(b"x")
            assert await taken(server) == b"x"
        assert not carrying.done()
        async with asyncio.timeout(10):
            await carrying
        assert outside.idle_s >= 0.25


async def test_a_relay_whose_one_side_breaks_off_breaks_off_the_other() -> None:
    async with pair() as (inside, client), pair() as (outside, server):
        carrying = asyncio.create_task(relay(inside, outside, 30))
        server.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        server.close()
        async with asyncio.timeout(10):
            await carrying
        with contextlib.suppress(ConnectionError):
            assert await taken(client) == b""


async def test_a_wire_that_ended_takes_nothing_more() -> None:
    ended: list[Wire] = []
    async with pair() as (wire, far):
        wire.put_back(b"before")
        assert await wire.receive() == b"before"
        wire._closed = ended.append  # pyright: ignore[reportPrivateUsage]
        assert not wire.readable
        far.sendall(b"unasked")
        while not wire.readable:
            await asyncio.sleep(0.01)
        await wire.aclose()
        wire.end()
        assert ended == [wire]
        with pytest.raises(anyio.BrokenResourceError):
            await wire.send(b"x")
        assert wire.sent == 0


# ---- clients


async def test_a_body_that_breaks_off_or_does_not_come_is_refused() -> None:
    for rest, status in ((b"", 408), (b"zz\r\n", 400), (None, 400)):
        async with pair() as (wire, far):
            client = Client(wire, Caps(idle_s=0.2))
            far.sendall(
                b"POST http://a.test/ HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n" + (rest or b"")
            )
            if rest is None:
                far.shutdown(socket.SHUT_WR)
            assert await client.request() is not None
            with pytest.raises(Refusal) as refused:
                async for _ in client.body():
                    pass
            assert refused.value.status == status


async def test_a_client_that_waits_for_a_go_ahead_gets_it() -> None:
    async with pair() as (wire, far):
        client = Client(wire, Caps())
        far.sendall(b"PUT http://a.test/ HTTP/1.1\r\nHost: a.test\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
        assert await client.request() is not None
        pieces = client.body()
        reading = asyncio.ensure_future(anext(pieces))
        assert (await taken(far)).startswith(b"HTTP/1.1 100")
        far.sendall(b"ok")
        assert await reading == b"ok"
        await pieces.aclose()


async def test_a_client_that_goes_away_leaves_nothing_to_refuse() -> None:
    for sent in (b"", b"GET http://a.t"):
        async with pair() as (wire, far):
            far.sendall(sent)
            far.close()
            assert await Client(wire, Caps()).request() is None
    async with pair() as (wire, far):
        client = Client(wire, Caps(idle_s=0.1))
        far.sendall(b"GET http://a.test/ HTTP/1.0\r\n\r\n")
        request = await client.request()
        assert request is not None
        assert forward_target(request)[0].host == "a.test"
        assert await client.request(first=False) is None
        await client.send(h11.Response(status_code=200, headers=[]))
        await client.refuse(Refusal(403, "late", "too late"))
        assert b"403" not in await taken(far, 1000)
        assert not client.next_cycle()


def test_of_two_lengths_in_an_answer_none_comes_in() -> None:
    given_headers = [
        (b"Content-Length", b"3"),
        (b"Transfer-Encoding", b"chunked"),
        (b"Connection", b"X-A"),
        (b"X-A", b"1"),
    ]
    assert returned_headers(given_headers) == []
    assert returned_headers(given_headers[:1]) == given_headers[:1]

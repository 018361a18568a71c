"""What goes out through ASGI: head and body in one write when their length is known, a stream as it comes."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest
from uvicorn.protocols.http.flow_control import FlowControl

from superagent.surfaces.http.cycle import Cycle

DATE = (b"date", b"today")
TOP = b"HTTP/1.1 200 OK\r\ndate: today\r\n"


class Wire:
    """What was written, write by write."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.closed = False

    def write(self, data: bytes) -> None:
        self.written.append(data)

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True


def cycle(method: str = "POST", *, keep_alive: bool = True) -> tuple[Cycle, Wire]:
    wire = Wire()
    transport = cast("asyncio.Transport", wire)
    return Cycle({"method": method}, transport, FlowControl(transport), [DATE], False, keep_alive, lambda: None), wire


def start(*headers: tuple[bytes, bytes], status: int = 200) -> dict[str, Any]:
    return {"type": "http.response.start", "status": status, "headers": headers}


def body(data: bytes, *, more: bool = False) -> dict[str, Any]:
    return {"type": "http.response.body", "body": data, "more_body": more}


async def test_an_answer_of_known_length_goes_out_in_one_write() -> None:
    one, wire = cycle()
    await one.send(start((b"Content-Length", b"2")))
    assert wire.written == []
    await one.send(body(b"{}"))
    assert wire.written == [TOP + b"content-length: 2\r\n\r\n{}"]
    assert one.response_complete
    assert not wire.closed


async def test_pieces_of_a_known_length_follow_the_first() -> None:
    one, wire = cycle()
    await one.send(start((b"content-length", b"4")))
    await one.send(body(b"ab", more=True))
    await one.send(body(b"cd"))
    assert wire.written == [TOP + b"content-length: 4\r\n\r\nab", b"cd"]


async def test_the_head_of_a_stream_does_not_wait_for_its_first_piece() -> None:
    one, wire = cycle()
    await one.send(start((b"content-type", b"text/event-stream")))
    assert wire.written == [TOP + b"content-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"]
    await one.send(body(b"ab", more=True))
    await one.send(body(b""))
    assert wire.written[1:] == [b"2\r\nab\r\n", b"0\r\n\r\n"]


@pytest.mark.parametrize(("length", "sent"), [(b"3", b"ab"), (b"1", b"ab")])
async def test_a_body_that_is_not_as_long_as_was_said_is_a_fault(length: bytes, sent: bytes) -> None:
    one, _ = cycle()
    await one.send(start((b"content-length", length)))
    with pytest.raises(RuntimeError, match="than Content-Length"):
        await one.send(body(sent))


async def test_what_has_no_body_is_sent_at_once() -> None:
    one, wire = cycle("HEAD")
    await one.send(start((b"content-length", b"9")))
    assert wire.written == [TOP + b"content-length: 9\r\n\r\n"]
    other, wire = cycle(keep_alive=False)
    await other.send(start(status=204))
    assert wire.written == [b"HTTP/1.1 204 No Content\r\ndate: today\r\nconnection: close\r\n\r\n"]
    await other.send(body(b""))
    assert wire.closed


@pytest.mark.parametrize(
    "header", [(b"x", b"a\r\nb: c"), (b"x", b"a\0"), (b"x y", b"a"), (b"x\r\ny", b"a"), (b"x:", b"a")]
)
async def test_no_header_can_bring_another(header: tuple[bytes, bytes]) -> None:
    one, wire = cycle()
    with pytest.raises(RuntimeError, match="Invalid HTTP header"):
        await one.send(start(header))
    assert wire.written == []


async def test_an_app_that_breaks_between_head_and_body_leaves_a_closed_connection_and_no_half_answer() -> None:
    one, wire = cycle()

    async def breaks(scope: Any, receive: Any, send: Any) -> None:
        await send(start((b"content-length", b"2")))
        raise ValueError

    await one.run_asgi(breaks)
    assert wire.closed
    assert wire.written == []

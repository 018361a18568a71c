"""Messages with descriptors over a socket: whole, in order, and nothing believed that is none."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Generator
from typing import Any

import pytest

from superagent_launcher.wire import MOST_BYTES, MOST_DESCRIPTORS, Broken, Wire
from tests.until import until


@pytest.fixture
def ends() -> Generator[tuple[Wire, Wire]]:
    one, other = (Wire(end) for end in socket.socketpair())
    yield one, other
    one.close()
    other.close()


def heard(wire: Wire, count: int = 1) -> list[tuple[dict[str, Any], list[int]]]:
    found: list[tuple[dict[str, Any], list[int]]] = []

    def enough() -> bool:
        found.extend(wire.receive())
        return len(found) >= count

    until(enough, f"{count} messages")
    return found


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_a_message_arrives_as_it_was_sent(ends: tuple[Wire, Wire]) -> None:
    assert ends[0].send({"do": "something", "text": "é"})

    assert heard(ends[1]) == [({"do": "something", "text": "é"}, [])]


def test_messages_sent_together_arrive_one_by_one_in_order(ends: tuple[Wire, Wire]) -> None:
    for number in range(50):
        ends[0].send({"number": number})

    assert [said["number"] for said, _ in heard(ends[1], 50)] == list(range(50))


def test_descriptors_arrive_with_their_message_and_close_by_themselves_at_an_exec(ends: tuple[Wire, Wire]) -> None:
    reading, writing = os.pipe()
    ends[0].send({"first": True}, (writing,))
    ends[0].send({"second": True})
    os.close(writing)

    (first, got), (_, none) = heard(ends[1], 2)

    assert first == {"first": True, "fds": 1}
    assert none == []
    assert not os.get_inheritable(got[0])
    os.write(got[0], b"through")
    os.close(got[0])
    assert os.read(reading, 100) == b"through"
    os.close(reading)


def test_a_message_larger_than_the_socket_arrives_whole_with_its_descriptors(ends: tuple[Wire, Wire]) -> None:
    text = "x" * (MOST_BYTES - 1000)
    reading, writing = os.pipe()
    ends[0].send({"text": "before"})
    waits = not ends[0].send({"text": text}, (writing,))
    os.close(writing)  # the sender keeps a copy for as long as it needs one
    assert waits
    flushing = threading.Thread(target=lambda: until(ends[0].flush, "room in the socket"))
    flushing.start()

    found = heard(ends[1], 2)

    flushing.join(20)
    assert found[1][0]["text"] == text
    os.close(found[1][1][0])
    assert os.read(reading, 1) == b""  # nobody holds the other end any more
    os.close(reading)


def test_the_end_is_told(ends: tuple[Wire, Wire]) -> None:
    ends[0].close()

    with pytest.raises(EOFError):
        list(ends[1].receive())
    with pytest.raises(EOFError):
        ends[1].send({"to": "nobody"})


@pytest.mark.parametrize(
    "data",
    [
        (MOST_BYTES + 1).to_bytes(4, "big"),
        b"\0\0\0\1{",
        b"\0\0\0\2[]",
        b"\0\0\0\x09" + b'{"fds":1}',
        b"\0\0\0\x0a" + b'{"fds":-1}',
        b"\0\0\0\x0c" + b'{"fds":true}',
        b"\0\0\0\x0b" + b'{"fds":"1"}',
        b"\0\0\0\2\xff\xff",
        len(b"[" * 100_000).to_bytes(4, "big") + b"[" * 100_000,
    ],
)
def test_what_is_no_message_is_told(ends: tuple[Wire, Wire], data: bytes) -> None:
    ends[0].socket.sendall(data)

    with pytest.raises(Broken):
        heard(ends[1])


def test_descriptors_that_nobody_named_are_refused_at_some_number_and_closed() -> None:
    before = open_descriptors()
    one, other = (Wire(end) for end in socket.socketpair())
    null = os.open(os.devnull, os.O_RDONLY)
    for _ in range(3):
        socket.send_fds(one.socket, [b"\0\0\0\2{}"], [null] * MOST_DESCRIPTORS)

    with pytest.raises(Broken):
        heard(other, 4)

    os.close(null)
    one.close()
    other.close()
    assert open_descriptors() == before


def test_more_descriptors_at_once_than_a_message_may_carry_are_refused(ends: tuple[Wire, Wire]) -> None:
    null = os.open(os.devnull, os.O_RDONLY)
    socket.send_fds(ends[0].socket, [b"\0\0\0\2{}"], [null] * (MOST_DESCRIPTORS + 40))
    os.close(null)

    with pytest.raises(Broken):
        heard(ends[1])


def test_what_was_not_sent_is_closed_with_the_wire() -> None:
    before = open_descriptors()
    one, other = (Wire(end) for end in socket.socketpair())
    null = os.open(os.devnull, os.O_RDONLY)
    assert not one.send({"text": "x" * 1_000_000})
    assert not one.send({"text": "later"}, (null,))
    os.close(null)

    one.close()
    other.close()

    assert open_descriptors() == before

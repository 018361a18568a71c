"""The open loop charges a server with everybody who waited, and counts what was answered wrongly or not at all."""

from __future__ import annotations

import socket
import threading
from collections.abc import Generator
from contextlib import contextmanager

from bench import open_loop
from bench.wrk import Request

RIGHT = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
WRONG = b"HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n"


@contextmanager
def server(hold: int, answer: bytes = RIGHT) -> Generator[int]:
    """Answer nobody before so many have asked, then everybody at once."""
    enough, lock, asked = threading.Event(), threading.Lock(), [0]

    def serve(one: socket.socket) -> None:
        with one:
            while one.recv(65536):
                with lock:
                    asked[0] += 1
                    if asked[0] >= hold:
                        enough.set()
                enough.wait(20)
                one.sendall(answer)

    with socket.create_server(("127.0.0.1", 0)) as listening:

        def accept() -> None:
            while True:
                try:
                    one, _ = listening.accept()
                except OSError:
                    return
                threading.Thread(target=serve, args=(one,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield int(listening.getsockname()[1])
        listening.shutdown(socket.SHUT_RDWR)


def test_each_request_is_sent_when_it_is_due_and_its_wait_counts_from_then() -> None:
    with server(hold=20) as port:
        found = open_loop.run(port, Request("/"), per_s=100, seconds=0.5)

    assert found.failed == 0
    assert len(found.latencies) == 50
    # the first waited until the twentieth was due, the second a hundredth less, and so on
    waited = sorted(found.latencies, reverse=True)
    assert all(wait >= (19 - at) / 100 for at, wait in enumerate(waited[:19]))


def test_who_had_to_wait_for_a_connection_waited_too() -> None:
    with server(hold=2) as port:
        found = open_loop.run(port, Request("/"), per_s=100, seconds=0.5, connections=2)

    assert len(found.latencies) == 50


def test_what_was_answered_wrongly_is_a_failure() -> None:
    with server(hold=1, answer=WRONG) as port:
        found = open_loop.run(port, Request("/"), per_s=200, seconds=0.1, connections=30)

    assert found.latencies == []
    assert found.failed == 20


def test_answers_are_told_apart_however_they_come() -> None:
    assert list(open_loop.statuses(RIGHT + WRONG + RIGHT[:-1])) == [200, 503]

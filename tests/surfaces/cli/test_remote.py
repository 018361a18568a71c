"""What stands at the other end of the line may be gone, silent, or something else altogether."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from superagent.core.principal import Secret
from superagent.core.problems import InvalidInput, Unavailable
from superagent.surfaces.cli import remote
from superagent.surfaces.cli.remote import Remote, checked
from superagent.surfaces.cli.target import Refused, Request
from tests.surfaces.cli.conftest import Cli

DONE: dict[str, Any] = {"invocation": "1", "operation": "x.y", "status": "done", "output": {}}
STREAMS: list[Callable[[Remote], Iterator[object]]] = [
    lambda there: there.follow("1"),
    lambda there: there.feed(),
    lambda there: there.download("h"),
]


@contextmanager
def answering(*replies: bytes) -> Generator[tuple[str, list[bytes]]]:
    """Listen on a free port and give each connection the next reply; also give what was asked."""
    asked: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            for reply in replies:
                connection, _ = listening.accept()
                with connection:
                    connection.settimeout(20)
                    request = connection.recv(65_536)
                    wanted = int(request.lower().partition(b"content-length: ")[2].split(b"\r")[0] or 0)
                    while len(request.partition(b"\r\n\r\n")[2]) < wanted:
                        request += connection.recv(65_536)
                    asked.append(request)
                    connection.sendall(reply)

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}", asked
        thread.join(20)


def reply(body: bytes, status: str = "200 OK", kind: str = "application/json") -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    return head.encode() + body


def stream(*events: str) -> bytes:
    head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
    return (head + ": stream\n\n" + "".join(events)).encode()


def event(number: int, kind: str, **data: object) -> str:
    return f"id: {number}\nevent: {kind}\ndata: {json.dumps(data)}\n\n"


def test_a_call_says_all_that_was_asked_of_it() -> None:
    with answering(reply(json.dumps(DONE).encode())) as (url, asked):
        request = Request("x.y", {"a": "ü"}, "k", True, 2.5, "größer", "s", True)
        assert Remote(f"{url}/under/", Secret("sak_1")).call(request).document == DONE
    head, _, body = asked[0].partition(b"\r\n\r\n")
    lines = head.decode().lower().split("\r\n")
    assert lines[0] == "post /under/v1/operations/x.y http/1.1"
    assert json.loads(body) == {"a": "ü"}
    assert {
        "authorization: bearer sak_1", "idempotency-key: k", "x-dry-run: true", "superagent-deadline: 2.5",
        "superagent-session: s", "prefer: respond-async", "superagent-reason: größer",
    } <= set(lines)  # fmt: skip


def test_a_server_that_is_not_there_cannot_be_reached(run_here: Cli) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
    ran = run_here("--server", url, "call", "access.whoami", key="sak_1")
    assert ran.code == 5
    assert f"{url} cannot be reached: Connection refused" in ran.err
    assert "superagent up" in ran.err
    assert not Remote(url, Secret("sak_1")).answers()
    told = run_here("--server", url, "call", "access.whoami", "--json", key="sak_1")
    assert (told.code, told.document["type"], told.document["changed"]) == (5, "/problems/unavailable", "nothing")


def test_a_server_that_says_nothing_is_not_waited_for_beyond_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "CONNECT_S", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        there = Remote(f"http://127.0.0.1:{silent.getsockname()[1]}", Secret("sak_1"))
        with pytest.raises(Unavailable, match=r"did not answer within 0\.2 s") as refused:
            there.call(Request("x.y", {}, deadline_s=0.1))
    assert refused.value.changed == "unknown"


def test_an_address_that_swallows_what_is_sent_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "CONNECT_S", 0.2)
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        address: tuple[str, int] = full.getsockname()
        waiting = [socket.socket() for _ in range(4)]
        for one in waiting:  # the queue of connections is full: the next one gets no answer at all
            one.setblocking(False)
            one.connect_ex(address)
        with pytest.raises(Unavailable, match="cannot be reached: it does not answer") as refused:
            Remote(f"http://127.0.0.1:{address[1]}", Secret("sak_1")).call(Request("x.y", {}))
        assert refused.value.changed == "nothing"
        for one in waiting:
            one.close()


@pytest.mark.parametrize("body", [b"<html>a proxy</html>", b"[]", b"{}", b"[" * 100_000, b"\xff"])
def test_what_is_no_such_server_is_named_as_such(body: bytes) -> None:
    there = answering(reply(body, "502 Bad Gateway", "text/html"))
    with there as (url, _), pytest.raises(Unavailable, match="is no such server: status 502"):
        Remote(url, Secret("sak_1")).call(Request("x.y", {}))


@pytest.mark.parametrize("text", [b"", b"SSH-2.0-OpenSSH\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{"])
def test_a_connection_that_breaks_leaves_it_open_what_became_of_the_call(text: bytes) -> None:
    with answering(text) as (url, _), pytest.raises(Unavailable, match=r"the connection to .* broke") as refused:
        Remote(url, Secret("sak_1")).call(Request("x.y", {}))
    assert refused.value.changed == "unknown"


def test_a_stream_goes_on_where_it_broke_off() -> None:
    first = stream(event(1, "message", n=1), event(2, "message", n=2), "id: 3\ndata: {")
    second = stream(": still here\n\n", event(3, "message", n=3), f"event: outcome\ndata: {json.dumps(DONE)}\n\n")
    with answering(first, second) as (url, asked):
        found = list(Remote(url, Secret("sak_1")).follow("1"))
    assert [one.data.get("n") for one in found] == [1, 2, 3, None]
    assert (found[-1].kind, found[-1].data) == ("outcome", DONE)
    assert b"last-event-id: 2" in asked[1].lower()


def test_a_stream_that_breaks_again_and_again_ends() -> None:
    with answering(*[stream()] * 4) as (url, _), pytest.raises(Unavailable, match="broke off"):
        list(Remote(url, Secret("sak_1")).feed())


def test_a_server_that_ends_while_it_is_followed_cannot_be_reached() -> None:
    with answering(stream(event(1, "message", n=1))) as (url, _):
        found = Remote(url, Secret("sak_1")).follow("1")
        assert next(found).data == {"n": 1}
    with pytest.raises(Unavailable, match="cannot be reached"):
        next(found)


@pytest.mark.parametrize("ask", STREAMS)
def test_a_refusal_of_a_stream_is_the_problem_that_came(ask: Callable[[Remote], Iterator[object]]) -> None:
    problem = {"type": "/problems/not-found", "status": 404, "detail": "gone"}
    there = answering(reply(json.dumps(problem).encode(), "404 Not Found"))
    with there as (url, _), pytest.raises(Refused, match="gone") as refused:
        next(ask(Remote(url, Secret("sak_1"))))
    assert refused.value.answer.document == problem


def test_a_result_is_read_in_pieces() -> None:
    with answering(reply(b"x" * 600_000)) as (url, _):
        pieces = list(Remote(url, Secret("sak_1")).download("h"))
    assert (len(pieces) > 1, sum(map(len, pieces))) == (True, 600_000)
    with answering(reply(b"x" * 10)[:-1]) as (url, _), pytest.raises(Unavailable, match="broke"):
        list(Remote(url, Secret("sak_1")).download("h"))


@pytest.mark.parametrize(
    "url",
    [
        "127.0.0.1:8750", "ftp://x", "http://", "http://user:secret@x", "http://x:0", "http://x:99999", "http://x:y", "http://x?a=1",
        "http://x#y", "http://secret#2@x", "http://me:secret?2@x", "http://x/a b", "http://bücher", "http://[::1", "http://x/\n",
    ],
)  # fmt: skip
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        checked(url)
    assert "secret" not in refused.value.detail


def test_control_characters_never_reach_a_header() -> None:
    with pytest.raises(InvalidInput, match="Superagent-Reason"):
        Remote("http://127.0.0.1:1", Secret("sak_1")).call(Request("x.y", {}, reason="a\r\nX-Other: b"))


@pytest.mark.parametrize(
    ("url", "in_the_clear"),
    [
        ("http://127.0.0.1:1", False),
        ("http://[::1]:1", False),
        ("https://example.org", False),
        ("http://example.org", True),
    ],
)
def test_a_key_that_would_travel_unencrypted_to_another_machine_is_known(url: str, in_the_clear: bool) -> None:
    assert Remote(url, Secret("sak_1")).in_the_clear is in_the_clear

"""Heads said before: however a stream of requests is cut, it is answered as if each head were parsed."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, cast

import pytest
import uvicorn
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from uvicorn.server import ServerState

from superagent.surfaces.http.door import Door
from superagent.surfaces.http.heads import MOST_BYTES, MOST_KEPT, Heads, Plain
from superagent.surfaces.http.lane import Lane, lane_to
from superagent.surfaces.http.reply import Reply, of_text, send_reply
from superagent.surfaces.http.request import Headers, Message, Scope, headers_of
from tests.surfaces.http.raw import head

MOST_BODY = 100
NAMES = ("probe.short", "probe.long")


class Echo:
    """A door that answers with what it was asked; `plain` counts what came with a head that was known."""

    max_body_bytes = MOST_BODY
    shares = False
    plain = 0

    def __init__(self) -> None:
        found = SimpleNamespace(find=lambda name: name if name in NAMES else None)  # pyright: ignore[reportUnknownLambdaType]
        self.kernel = SimpleNamespace(registry=found)
        self.gate = SimpleNamespace(remote=remote)
        self.asked: list[tuple[object, ...]] = []

    def begin_together(self) -> None:
        pass

    def end_together(self) -> None:
        pass

    def is_short(self, name: str) -> bool:
        return name == NAMES[0]

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        await send_reply(send, await self.answer(scope, receive))

    async def answer(self, scope: Scope, receive: Any) -> Reply:
        body, more = b"", b"x-early" not in headers_of(scope)  # one who is refused is answered before its body is here
        while more:
            message: Message = await receive()
            if message["type"] == "http.disconnect":
                break
            body, more = body + message["body"], message["more_body"]
        return await self._answer(scope, headers_of(scope), body)

    async def answer_plain(self, plain: Plain, body: bytes) -> Reply:
        self.plain += 1
        assert plain.headers == headers_of(plain.scope)
        assert plain.remote == remote(plain.scope, plain.headers)
        assert plain.scope["path"].endswith(f"/{plain.name}")
        assert plain.headers.get(b"authorization", b"Bearer " + plain.headers.get(b"x-api-key", b""))[7:] == plain.token
        return await self._answer(plain.scope, plain.headers, body)

    async def _answer(self, scope: Scope, headers: Headers, body: bytes) -> Reply:
        said = (scope["method"], scope["path"], scope["query_string"], tuple(sorted(headers.items())), body)
        self.asked.append(said)
        if scope["path"].endswith(NAMES[1]):
            for _ in range(3):
                await asyncio.sleep(0)
        return of_text(repr(said).encode())


def remote(scope: Scope, headers: Headers) -> str:
    return f"{scope['client']} {len(headers)}"


class Wire(asyncio.Transport):
    """What is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.closing = False

    def write(self, data: Any) -> None:
        if not self.closing:
            self.written += data

    def is_closing(self) -> bool:
        return self.closing

    def close(self) -> None:
        self.closing = True

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return {"sockname": ("127.0.0.1", 80), "peername": ("127.0.0.1", 5000)}.get(name, default)


def told(pieces: list[tuple[bytes, int]], *, knows: bool) -> tuple[Echo, list[object]]:
    """Let one connection hear pieces, after each so many turns of the loop; gives what came of it."""
    echo = Echo()

    async def hear() -> list[object]:
        made = lane_to(cast("Door", echo))
        config = uvicorn.Config(cast("Any", echo), http=made, ws="none", lifespan="off", log_config=None)
        config.load()
        state, wire = ServerState(), Wire()
        lane: Lane = made(config, state, {}, _loop=asyncio.get_running_loop())
        inside = cast("Any", lane)
        lane.connection_made(wire)
        if not knows:
            inside._said_before = lambda data: False  # pyright: ignore[reportUnknownLambdaType]
        for piece, turns in pieces:
            if wire.closing:  # a transport gives nothing more then
                break
            lane.data_received(piece)
            for _ in range(turns):
                await asyncio.sleep(0)
        for _ in range(20):
            await asyncio.sleep(0)
        left = inside._head_bytes if inside._in_head else 0
        stands = (inside._in_head, inside._in_body, left, inside._deadline is None, inside._look is None)
        lane.connection_lost(ConnectionResetError())
        assert not lane.heads.known
        return [wire.written, wire.closing, echo.asked, stands, state.total_requests]

    return echo, asyncio.run(hear())


def post(name: str, body: bytes, *headers: str, key: str = "sak_one") -> bytes:
    return head("POST", f"/v1/operations/{name}", key, *headers, f"Content-Length: {len(body)}") + body


CHUNKED = head("POST", "/v1/operations/probe.short", "sak_one", "Transfer-Encoding: chunked")
WHO, LONG = post("probe.short", b"{}"), post("probe.long", b'{"a":1}')
REQUESTS = [
    WHO,
    LONG,
    post("probe.short", b"{}", key="sak_two"),
    post("probe.short", b"[]"),
    post("probe.short", b""),
    head("POST", "/v1/operations/probe.short", "sak_one"),
    post("probe.short", b"\r\n\r\n"),
    post("probe.short", WHO),
    post("probe.short", b"x" * (MOST_BODY + 1)),
    post("no.such", b"{}"),
    post("probe.short?dry_run=1", b"{}"),
    post("probe.short", b"{}", "X-Dry-Run: true"),
    post("probe.short", b"{}", "Cookie: a=b"),
    post("probe.short", b"{}", "Accept: application/x-ndjson"),
    post("probe.short", b"{}", "X-API-Key: sak_two"),
    post("probe.short", b"{}", "Accept: a", "Accept: b"),
    post("probe.short", b"{}", "X-Forwarded-For: 8.8.8.8"),
    post("probe.short", b"{}", "Connection: keep-alive"),
    post("probe.short", b"{}", "Upgrade: h2c", "Connection: Upgrade"),
    CHUNKED + b"2\r\n{}\r\n0\r\n\r\n",
    WHO.replace(b"Authorization: Bearer", b"X-API-Key:"),
    WHO.replace(b"POST", b"PUT"),
    b"\r\n" + WHO,
    b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n",
]
LAST = [
    post("probe.short", b"{}", "Connection: close"),
    WHO.replace(b"HTTP/1.1", b"HTTP/1.0"),
    post("probe.short", b"{}", "Content-Length: 2"),
    post("probe.short", b"{}", "Content-Length: 3"),
    post("probe.short", b"{}", "Transfer-Encoding: chunked"),
    WHO.replace(b"Host: house", b"Host: house\r\n folded"),
    WHO.replace(b"Host: house", b"Host: ho\0use"),
    WHO.replace(b"\r\n", b"\n"),
    WHO.replace(b"\r\nHost", b"\nHost"),
    WHO.replace(b"Content-Length: 2", b"Content-Length : 2"),
    WHO.replace(b"Content-Length: 2", b"Content-Length: +2"),
    WHO + b"GET",
    WHO[:-5],
]


@st.composite
def streams(draw: st.DrawFn) -> list[tuple[bytes, int]]:
    """Draw requests, most of them several times, in pieces that often begin and end where they do."""
    requests = list[bytes]()
    for one in draw(st.lists(st.sampled_from(REQUESTS), min_size=1, max_size=4)):
        requests += [one] * draw(st.integers(2, 7))
    requests += draw(st.lists(st.sampled_from(LAST), max_size=2))
    pieces, kept = list[tuple[bytes, int]](), b""
    for request in requests:
        kept += request
        for _ in range(draw(st.sampled_from([0, 0, 0, 1, 2]))):
            cut = draw(st.integers(0, len(kept)))
            pieces.append((kept[:cut], draw(st.integers(0, 3))))
            kept = kept[cut:]
        if draw(st.integers(0, 9)):
            pieces.append((kept, draw(st.sampled_from([8, 8, 8, 0, 1]))))
            kept = b""
    return [piece for piece in (*pieces, (kept, 8)) if piece[0]]


@settings(max_examples=200, phases=[Phase.reuse, Phase.generate, Phase.shrink])  # explaining traces every line
@given(streams())
def test_a_stream_is_answered_alike_whether_heads_are_known_or_not(pieces: list[tuple[bytes, int]]) -> None:
    assert told(pieces, knows=True)[1] == told(pieces, knows=False)[1]


@pytest.mark.parametrize("request_", REQUESTS + LAST, ids=range(len(REQUESTS + LAST)))
def test_each_request_is_answered_alike_behind_one_whose_head_is_known(request_: bytes) -> None:
    pieces = [(one, 8) for one in [WHO] * 5 + [request_] * 5 + [WHO] * 2]

    echo, found = told(pieces, knows=True)

    assert found == told(pieces, knows=False)[1]
    assert echo.plain >= 2


@pytest.mark.parametrize("piece", [b"\r\n", b"\n", b"P", b"PO", b"xy", b"\r\n\r"], ids=range(6))
def test_a_piece_that_holds_no_head_is_none_however_often_it_is_said(piece: bytes) -> None:
    alone = [(WHO, 8)] + [(piece, 8)] * 4
    within = [(WHO, 8)] + [(WHO[: len(piece)], 8), (WHO[len(piece) :], 8)] * 5
    for pieces in (alone, within):
        assert told(pieces, knows=True)[1] == told(pieces, knows=False)[1]


@pytest.mark.parametrize(
    ("before", "behind"),
    [
        (b"POST /v1/operations/probe.short HTTP/1.1\r\nX-New: ", b""),
        (b"P", b""),
        (b"\r\nPOST /v1/operations/probe.short HTTP/1.1\r\n", b""),
        (post("probe.short", WHO + b"  ")[: -len(WHO) - 2], b"  "),
        (post("probe.long", WHO)[: -len(WHO)], b""),
        (post("probe.short", b"{}", "Expect: 100-continue")[:-2] + b"{", b"}"),
        (CHUNKED + b"%x\r\n" % len(WHO), b"\r\n0\r\n\r\n"),
        (head("POST", "/v1/operations/probe.short", "k", f"Content-Length: {len(WHO)}", "X-Early: 1"), b""),
        (LONG, b""),
        (WHO, b""),
        (b"\r\n", b"\r\n"),
        (b"", b"{}"),
        (b"", WHO[:9]),
    ],
)  # fmt: skip
@pytest.mark.parametrize("turns", [0, 1, 2, 8])
def test_a_known_head_is_nothing_to_go_by_within_or_behind_another_request(
    before: bytes, behind: bytes, turns: int
) -> None:
    """As a part of a head or of a body, before an answer is there, or with bytes behind it in one piece."""
    for end in ([(WHO, turns), (behind, turns)], [(WHO + behind, turns)]):
        pieces = [(WHO, 8)] * 5 + [(before, turns), *end, (WHO, 8)]
        some = [piece for piece in pieces if piece[0]]
        assert told(some, knows=True)[1] == told(some, knows=False)[1]


@contextmanager
def heads(names: tuple[str, ...] = NAMES) -> Generator[Heads]:
    def name_of(url: bytes) -> str:
        name = url.removeprefix(b"/v1/operations/").decode()
        return name if name in names else ""

    yield Heads(name_of, remote, ("127.0.0.1", 5000), MOST_BODY)


def known(raw: bytes) -> bool:
    """Tell whether a head is known as a plain one after it was said twice."""
    with heads() as kept:
        kept.learn(raw)
        assert not kept.known
        kept.learn(raw)
        return raw in kept.known and kept.known[raw].length >= 0


def test_a_plain_head_is_known_from_the_second_time_on() -> None:
    assert known(WHO[:-2])
    assert known(post("probe.long", b"")[:])


NEVER = {
    "two lengths": head("POST", "/v1/operations/probe.short", "k", "Content-Length: 2", "Content-Length: 2"),
    "length and chunks": head(
        "POST", "/v1/operations/probe.short", "k", "Content-Length: 2", "Transfer-Encoding: chunked"
    ),
    "chunks": CHUNKED,
    "folded": WHO[:-2].replace(b"Host: house", b"Host: house\r\n folded"),
    "bare feeds": WHO[:-2].replace(b"\r\n", b"\n"),
    "a bare feed": WHO[:-2].replace(b"\r\nHost", b"\nHost"),
    "nothing": WHO[:-2].replace(b"house", b"ho\0use"),
    "old": WHO[:-2].replace(b"HTTP/1.1", b"HTTP/1.0"),
    "last": post("probe.short", b"{}", "Connection: close")[:-2],
    "another method": WHO[:-2].replace(b"POST", b"QUERY"),
    "half": WHO[5:-2],
    "cut": WHO[:-4],
    "two": head("POST", "/v1/operations/probe.short", "k") + WHO[:-2],
    "with its body": WHO,
    "no key": b"POST /v1/operations/probe.short HTTP/1.1\r\nHost: house\r\n\r\n",
    "two keys": post("probe.short", b"{}", "X-API-Key: k")[:-2],
    "not a bearer": WHO[:-2].replace(b"Bearer", b"Basic"),
    "too long a body": post("probe.short", b"x" * (MOST_BODY + 1))[: -MOST_BODY - 1],
    "a padded length": WHO[:-2].replace(b"Content-Length: 2", b"Content-Length: 2 "),
    "too long": post("probe.short", b"{}", "User-Agent: " + "x" * MOST_BYTES)[:-2],
    "none of ours": post("no.such", b"{}")[:-2],
    "a wish": post("probe.short", b"{}", "Prefer: wait=1")[:-2],
    "something new": post("probe.short", b"{}", "X-New: 1")[:-2],
}


@pytest.mark.parametrize("raw", NEVER.values(), ids=NEVER)
def test_what_is_not_plain_is_never_known(raw: bytes) -> None:
    assert not known(raw)


def test_few_heads_are_kept() -> None:
    with heads() as kept:
        for number in range(3 * MOST_KEPT):
            raw = post("probe.short", b"{}", key=f"sak_{number}")[:-2]
            kept.learn(raw)
            kept.learn(raw)
            assert raw in kept.known
            assert len(kept.known) <= MOST_KEPT

"""The fast lane: a POST of one operation that has arrived whole is answered without ASGI in between.

Requests that came in one turn of the event loop are answered together, after all of them were read: between two system
calls the same work costs half as much again. A head that the connection said before is not parsed again (`heads.py`).

It changes only the way from the parser to the door and back: what the door decides and records is the same, and a test
compares the two. Whatever is not plain (a body still on its way, an `Origin` where pages of other sites may call, a
client that does not read, or that follows a stream) takes the usual way.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Generator
from contextvars import Context, copy_context
from types import coroutine
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from superagent.core.reading import AT_ONCE_BYTES
from superagent.surfaces.http.door import Door
from superagent.surfaces.http.followed import LINES
from superagent.surfaces.http.heads import END, Heads, Plain
from superagent.surfaces.http.protocol import Protocol
from superagent.surfaces.http.reply import PLAIN, Reply
from superagent.surfaces.http.request import OPERATIONS, STEERS, Message, Scope

_PREFIX = OPERATIONS.encode()
_PLAIN = b"".join([b"%b: %b\r\n" % pair for pair in PLAIN])
_MARKED = frozenset(b"%?#")
_UNUSUAL = frozenset({b"transfer-encoding", b"expect", b"upgrade", b"origin", b"prefer"})


class _Nobody:
    def set(self) -> None:
        """Wake nobody: the body is here before anybody asks for it."""


class _Turn:
    """One request in the lane, as far as uvicorn's protocol looks at the request under way."""

    __slots__ = ("body", "disconnected", "due", "keep_alive", "plain", "response_complete", "scope", "short")

    message_event = _Nobody()

    def __init__(self, scope: Scope, keep_alive: bool, short: bool, plain: Plain | None = None) -> None:
        self.scope = scope
        self.keep_alive = keep_alive
        self.short = short
        self.plain = plain
        self.body = b""
        self.response_complete = self.disconnected = self.due = False


class Lane(Protocol):
    """One connection whose short requests are answered from the parser's callback."""

    # of the class, for uvicorn makes one protocol a connection: see `lane_to`
    door: Door
    _due: list[tuple[Lane, _Turn]]
    _names: dict[bytes, str]
    _dated: tuple[object, bytes] = (None, b"")  # what every answer of this second begins with
    _unusual = _UNUSUAL
    _turn: _Turn | None = None
    heads: Heads

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Begin, with no head known."""
        super().connection_made(transport)
        most = min(self.door.max_body_bytes, AT_ONCE_BYTES)
        self.heads = Heads(self._name_of, self.door.gate.remote, self.client, most)

    def connection_lost(self, exc: Exception | None) -> None:
        """End; the keys in what was said go with the connection."""
        self.heads.known.clear()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        """Begin; what only the usual way needs is made there."""
        self._head_begins()
        self.url = b""
        self.expect_100_continue = False
        self.headers = []

    def on_headers_complete(self) -> None:
        """Choose the way of a request."""
        earlier = cast("RequestResponseCycle | _Turn | None", self.cycle)
        if isinstance(earlier, _Turn) and earlier.due:  # this client sends the next before it has the answer
            self._answer(earlier)
        parser = self.parser
        name = self._names.get(self.url) or self._name_of(self.url)
        if (
            name
            and (earlier is None or earlier.response_complete)
            and not self.flow.write_paused
            and parser.get_method() == b"POST"
            and self._unusual.isdisjoint(headers := dict(self.headers))
            and headers.get(b"accept") != LINES
        ):
            self._head_is_here()
            scope: Scope = {
                "method": "POST",
                "path": OPERATIONS + name,
                "query_string": b"",
                "headers": self.headers,
                "client": self.client,
            }
            keep_alive = parser.get_http_version() != "1.0" and parser.should_keep_alive()
            short = STEERS.isdisjoint(headers) and self.door.is_short(name)
            self._turn = _Turn(scope, keep_alive, short)
        else:
            self._take_the_usual_way()

    @classmethod
    def _name_of(cls, url: bytes) -> str:
        """Give the name in an address that begins as that of an operation and is written plainly, else nothing."""
        if not url.startswith(_PREFIX) or not url.isascii() or not _MARKED.isdisjoint(url):
            return ""
        name = url[len(_PREFIX) :].decode("ascii")
        if cls.door.kernel.registry.find(name) is not None:
            cls._names[url] = name  # what is no operation is not kept: of that there is no end
        return name

    def _take_the_usual_way(self) -> None:
        url, headers, expects = self.url, self.headers, self.expect_100_continue
        super().on_message_begin()
        self.url, self.expect_100_continue = url, expects
        self.headers += headers  # the scope holds this very list
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Keep a part of the body."""
        turn = self._turn
        if turn is None:
            super().on_body(body)
        else:
            turn.body += body

    def data_received(self, data: bytes) -> None:
        """Parse what came; a request that is not here whole goes the usual way, which waits for the rest."""
        if not (self._in_head or self._in_body) and self._said_before(data):
            return
        super().data_received(data)
        turn = self._turn
        if turn is not None:
            self._turn = None
            if not self.transport.is_closing():
                self._take_the_usual_way()
                if turn.body:
                    super().on_body(turn.body)

    def _said_before(self, data: bytes) -> bool:
        """Take one request that is here whole, and nothing beside it, if its head is known; tells whether it did.

        What comes now begins a request: the parser is between two, and stays there, for it sees nothing of this one.
        """
        at = data.find(END)
        if at < 0:
            return False
        end = at + len(END)
        raw = data[:end]
        plain = self.heads.known.get(raw)
        if plain is None:
            self.heads.learn(raw)
            return False
        if len(data) - end != plain.length or not self.cycle.response_complete or self.flow.write_paused:
            return False
        turn = _Turn(plain.scope, True, self.door.is_short(plain.name), plain)
        turn.body = data[end:]
        self._take(turn)
        return True

    def on_message_complete(self) -> None:
        """Answer."""
        turn = self._turn
        if turn is None:
            super().on_message_complete()
            return
        self._body_is_here()
        self._turn = None
        self._take(turn)

    def _take(self, turn: _Turn) -> None:
        """Answer a request that is here whole, at the end of this turn of the loop if it is short."""
        self.cycle = turn  # pyright: ignore[reportAttributeAccessIssue] - it has what the protocol looks at
        if not turn.short:
            self._later(turn, self._answer_of(turn), None)
            return
        if not self._due:
            self.loop.call_soon(self._answer_due)
        turn.due = True
        self._due.append((self, turn))

    @classmethod
    def _answer_due(cls) -> None:
        """Answer what has come by now."""
        due = cls._due[:]
        cls._due.clear()
        cls.door.begin_together()
        try:
            for lane, turn in due:
                if not turn.due:
                    continue
                try:
                    lane._answer(turn)
                except Exception as fault:  # the door answers everything; this is one connection's alone
                    lane.transport.close()
                    lane.loop.call_exception_handler({"message": "a request was not answered", "exception": fault})
        finally:
            cls.door.end_together()

    def _answer(self, turn: _Turn) -> None:
        """Take the first step of an answer here and now; short operations have no other."""
        turn.due = False
        answer = self._answer_of(turn)
        context = copy_context()
        try:
            waits_for = context.run(answer.send, None)
        except StopIteration as done:
            self._respond(turn, done.value)
        else:
            self._later(turn, _going_on(answer, waits_for), context)

    def _answer_of(self, turn: _Turn) -> Coroutine[Any, Any, Reply]:
        if turn.plain is not None:
            return self.door.answer_plain(turn.plain, turn.body)
        return self.door.answer(turn.scope, _whole(turn.body))

    def _later(self, turn: _Turn, answer: Coroutine[Any, Any, Reply], context: Context | None) -> None:
        """Let a task go on with what has to wait."""
        task = self.loop.create_task(answer, context=context)
        tasks = cast("set[asyncio.Task[Reply]]", self.tasks)
        tasks.add(task)

        def done(task: asyncio.Task[Reply]) -> None:
            tasks.discard(task)
            if task.cancelled() or task.exception() is not None:
                self.transport.close()  # the door answers everything; only a stop of the whole server ends it here
            else:
                self._respond(turn, task.result())

        task.add_done_callback(done)

    def _respond(self, turn: _Turn, reply: Reply) -> None:
        """Write head and body in one go."""
        turn.response_complete = True
        if turn.disconnected or self.transport.is_closing():
            return
        default, always = self._dated
        if default is not self.server_state.default_headers:  # uvicorn makes them anew each second
            default = self.server_state.default_headers
            always = b"".join([b"%b: %b\r\n" % pair for pair in default])
            type(self)._dated = default, always
        (name, value), rest = reply.headers[0], reply.headers[1:]
        said = _PLAIN if rest == PLAIN else b"".join([b"%b: %b\r\n" % pair for pair in rest])
        end = b"\r\n" if turn.keep_alive else b"connection: close\r\n\r\n"
        text = b"%b%b%b: %b\r\n%bcontent-length: %d\r\n%b%b"
        body = reply.body
        self.transport.write(text % (STATUS_LINE[reply.status], always, name, value, said, len(body), end, body))
        if not turn.keep_alive:
            self.transport.close()
        self.on_response_complete()


def lane_to(door: Door) -> type[Lane]:
    """Give the protocol whose requests go to this door."""
    # where no other site's page may call, what a browser says of its page changes nothing about the answer
    unusual = _UNUSUAL if door.shares else _UNUSUAL - {b"origin"}
    return type("Lane", (Lane,), {"door": door, "_due": [], "_names": {}, "_unusual": unusual})


class _whole:  # noqa: N801 - it stands where a function stands
    """A body that is here: what ASGI calls `receive`."""

    __slots__ = ("_body",)

    def __init__(self, body: bytes) -> None:
        self._body = body

    async def __call__(self) -> Message:
        return {"type": "http.request", "body": self._body, "more_body": False}


async def _going_on(answer: Coroutine[Any, Any, Reply], waits_for: Any) -> Reply:
    return await _resumed(answer, waits_for)


@coroutine
def _resumed(answer: Coroutine[Any, Any, Reply], waits_for: Any) -> Generator[Any, Any, Reply]:
    """Go on, as a task, with a coroutine that waits for something already."""
    try:
        while True:
            try:
                got = yield waits_for
            except BaseException as thrown:
                waits_for = answer.throw(thrown)
            else:
                waits_for = answer.send(got)
    except StopIteration as done:
        return done.value

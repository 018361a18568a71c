"""The wire: uvicorn's HTTP/1.1 protocol with a cap on headers, patience that ends, and problems for what is no HTTP.

A body has to come at a pace. When it does not, whoever reads it gets an empty piece that is not the last one: `body.py`
makes a problem of that, which is recorded and answered like every other.
"""

from __future__ import annotations

import asyncio
import resource
from contextlib import suppress
from typing import cast
from urllib.parse import unquote

import msgspec
from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser, parse_url
from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from superagent.core.problems import Malformed
from superagent.surfaces.http.cycle import Cycle
from superagent.surfaces.http.request import Scope

MOST_HEAD_BYTES = 64 * 1024
PATIENCE_S = 20.0
LEAST_PER_S = 1024
CONVERSATION = "/v1/stream"
"""A body in which pauses are meant: its lines are calls, sent when the caller has something to call."""
_AGAIN_S = 0.05
_SPARE_FILES = 256
"""Descriptors that connections leave to everything else: commands, the database, the audit."""


class Protocol(HttpToolsProtocol):
    """One connection. A head that is too large, or takes too long to arrive, ends it; so does a body without haste.

    `patience_s` is how long a head may take. A body has to bring `least_per_s` bytes a second, looked at as often.
    Beyond `most_connections` one that has said nothing yet makes room for the next.
    """

    most_connections = 1 << 30

    patience_s = PATIENCE_S
    least_per_s = LEAST_PER_S
    _in_head = True
    _in_body = False
    _told = False
    _head_bytes = 0
    _heads_here = 0
    _again = b""
    _body_bytes = 0  # since its pace was looked at
    _piece = False  # whether a piece of the body has come
    _beside_bytes = 0  # of what came since the last one: sizes of pieces, and what stands behind the body
    _deadline: asyncio.TimerHandle | None = None
    _look: asyncio.TimerHandle | None = None
    _idle_since = 0.0
    _idle: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Begin, and wait for the first head."""
        super().connection_made(transport)
        self.access_log = False  # an address can hold a key, and uvicorn tells it as soon as anything listens
        self._deadline = self.loop.call_later(self.patience_s, self._too_slow)
        if len(self.connections) > self.most_connections:
            self._make_room()

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._stop_waiting()
        if self._idle is not None:
            self._idle.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what came, and look at how much of it is still a head, or a body that goes on."""
        self._heads_here, rest = 0, data
        while rest:
            try:
                self.parser.feed_data(rest)
            except HttpParserUpgrade as found:
                rest, self._again = self._again + rest[found.args[0] :], b""
                self.parser = HttpRequestParser(self)  # after `Connection: close` the old one takes nothing more
                self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn's own
                continue
            except HttpParserError:
                self.send_400_response("this is not a valid HTTP request")
            break
        if self._in_body:
            self._body_bytes += len(data)
            self._beside_bytes, self._piece = (0 if self._piece else self._beside_bytes + len(data)), False
            if self._beside_bytes > MOST_HEAD_BYTES:
                self.send_400_response(f"more than {MOST_HEAD_BYTES} bytes beside the body")
            if self._look is None and not self.transport.is_closing():
                self._look = self.loop.call_later(self.patience_s, self._judge_pace)
        elif self._in_head and not self.transport.is_closing():
            # behind another request in the same read it may have only just begun
            self._head_bytes += len(data) if self._heads_here < 2 else 1
            if self._head_bytes > MOST_HEAD_BYTES:
                self.send_400_response(f"the head of the request is longer than {MOST_HEAD_BYTES} bytes")
            elif self._deadline is None:
                self._deadline = self.loop.call_later(self.patience_s, self._too_slow)

    def on_message_begin(self) -> None:
        """Note that a head begins."""
        self._head_begins()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Note that the head is there, and what follows is its body.

        Nothing is spoken here but HTTP/1.1, so who asks for another protocol is answered as if it had not (RFC 9110,
        7.8). The parser would take the body for something of that protocol, and then for the next request: it is given
        the same head again, without that wish.
        """
        parser = self.parser
        if parser.should_upgrade() and parser.get_method() != b"CONNECT":
            lines = [b"%b %b HTTP/%b" % (parser.get_method(), self.url, parser.get_http_version().encode())]
            lines += [name + b": " + value for name, value in self.headers if name != b"upgrade"]
            self._again = b"\r\n".join([*lines, b"", b""])
            return
        self._head_is_here()
        self._begin()

    def _begin(self) -> None:
        """Send a request on its way through ASGI, or behind those before it: as uvicorn, without what is off here."""
        parser, scope = self.parser, cast("Scope", self.scope)
        version, address = parser.get_http_version(), parse_url(self.url)
        path = address.path.decode("ascii")
        scope["method"], scope["http_version"] = parser.get_method().decode("ascii"), version
        scope["path"] = unquote(path) if "%" in path else path
        scope["raw_path"], scope["query_string"] = address.path, address.query or b""
        self.headers = []  # what comes behind the body is no part of the head (RFC 9110, 6.5.1)
        earlier = cast("RequestResponseCycle | None", self.cycle)
        self.cycle = Cycle(
            scope,
            self.transport,
            self.flow,
            self.server_state.default_headers,
            self.expect_100_continue,
            version != "1.0" and parser.should_keep_alive(),
            self.on_response_complete,
        )
        app = cast("ASGI3Application", self.app)  # pyright: ignore[reportUnknownMemberType]
        if earlier is None or earlier.response_complete:
            self._start_asgi_task(self.cycle, app)
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft((self.cycle, app))

    def on_body(self, body: bytes) -> None:
        """Note that a piece of the body has come."""
        self._piece = True
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Note that the body is there."""
        if self._again:  # the head comes once more
            return
        self._body_is_here()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Go on to the next request, or watch for how long none comes.

        As uvicorn's, but with one timer that looks at the time instead of a new one for each response.
        """
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
            return
        self._idle_since = self.loop.time()
        if self._idle is None:
            self._idle = self.loop.call_later(self.timeout_keep_alive, self._look_if_idle)

    def _look_if_idle(self) -> None:
        under_way = self._in_head or not self.cycle.response_complete
        left = self._idle_since + self.timeout_keep_alive - self.loop.time()
        if under_way or left > 0:
            self._idle = self.loop.call_later(max(left, 0.0) or self.timeout_keep_alive, self._look_if_idle)
        else:
            self._idle = None
            self.timeout_keep_alive_handler()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP with a problem, unless it would land amid an earlier answer, and close."""
        earlier = cast("RequestResponseCycle | None", self.cycle)  # None before the first request
        if earlier is not None and not earlier.response_complete:
            self.transport.close()
            return
        body = msgspec.json.encode(Malformed(msg, hint="send well-formed HTTP/1.1").document())
        head = "HTTP/1.1 400 Bad Request\r\ncontent-type: application/problem+json\r\nconnection: close\r\n"
        self.transport.write(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
        self.transport.close()

    def _make_room(self) -> None:
        """Close a connection that has said nothing, else this one: whoever opens many must not shut others out."""
        everyone = cast("set[Protocol]", self.connections)
        next((one for one in everyone if one is not self and one.silent), self).transport.close()

    @property
    def silent(self) -> bool:
        """Tell whether nothing has been heard here so far."""
        return self._in_head and not self._head_bytes and not self.transport.is_closing()

    def _head_begins(self) -> None:
        self._in_head, self._head_bytes = True, 0
        self._heads_here += 1

    def _head_is_here(self) -> None:
        self._in_head, self._in_body, self._told, self._body_bytes = False, True, False, 0
        self._piece, self._beside_bytes = True, 0
        if self._deadline is not None:
            self._stop_waiting()

    def _body_is_here(self) -> None:
        self._in_body = False
        if self._look is not None:
            self._stop_waiting()

    def _too_slow(self) -> None:
        self._deadline = None
        if self._head_bytes:
            self.send_400_response("the head of the request did not arrive in time")
        else:
            self.transport.close()

    def _judge_pace(self, sure: bool = False) -> None:
        """Look at what came of a body since the last look; after a stall of this process only when that was read."""
        cycle, doubt = self.cycle, False
        ours = self.flow.read_paused or cycle.body  # it is we who have not read what there is
        fine = not cycle.response_complete and (ours or self.scope["path"] == CONVERSATION)
        if fine or self._body_bytes >= self.least_per_s * self.patience_s:
            self._body_bytes = 0
        elif not sure:
            doubt = True
        elif self._told or cycle.response_complete:  # nobody waits for the rest
            self.transport.close()
        else:
            self._told, cycle.keep_alive = True, False
            cycle.message_event.set()
        self._look = self.loop.call_later(_AGAIN_S if doubt else self.patience_s, self._judge_pace, doubt)

    def _stop_waiting(self) -> None:
        for timer in (self._deadline, self._look):
            if timer is not None:
                timer.cancel()
        self._deadline = self._look = None


def limit_connections() -> None:
    """Let this process have as many open files as it may, and connections no more than leave some of them."""
    soft, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        soft = most
    if soft != resource.RLIM_INFINITY:
        Protocol.most_connections = max(soft - _SPARE_FILES, soft // 2)

"""Plain heads: what a connection said before, as the parser read it; the same bytes say the same again.

The parser alone says what a request is. It is asked once for each head, apart from the connection and with nothing
before it: only when it finds one head in these bytes, whole with the last of them, may they be known again. Kept is
what follows from the bytes alone, on the connection that sent them and for as long as that lasts; who calls, and what
they may, is found out at each request.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser

from superagent.core.problems import Unauthenticated
from superagent.surfaces.http.followed import LINES
from superagent.surfaces.http.request import OPERATIONS, ORDINARY, Headers, Scope, token_of

MOST_BYTES = 2048
MOST_KEPT = 8
END = b"\r\n\r\n"


class Plain:
    """A head that says which operation is asked for, by whom, and how long the body is; `length` -1 fits no request."""

    __slots__ = ("headers", "length", "name", "remote", "scope", "token")

    def __init__(self, name: str, scope: Scope, headers: Headers, length: int, token: bytes, remote: str) -> None:
        self.name = name
        self.scope = scope
        self.headers = headers
        self.length = length
        self.token = token
        self.remote = remote


_NOT_PLAIN = Plain("", {}, {}, -1, b"", "")


class Heads:
    """The plain heads of one connection. What is not said twice in a row costs no second reading.

    `name_of` gives the operation in an address, `remote` who is at the other end, of scope and headers.
    """

    __slots__ = ("_client", "_last", "_most_body", "_name_of", "_remote", "known")

    def __init__(
        self,
        name_of: Callable[[bytes], str],
        remote: Callable[[Scope, Headers], str],
        client: Any,
        most_body_bytes: int,
    ) -> None:
        self._name_of = name_of
        self._remote = remote
        self._client = client
        self._most_body = most_body_bytes
        self._last = 0
        self.known: dict[bytes, Plain] = {}

    def learn(self, raw: bytes) -> None:
        """Look at a head that is not known: said twice in a row, it is known from then on."""
        before, self._last = self._last, hash(raw)
        if before != self._last or len(raw) > MOST_BYTES:
            return
        if len(self.known) >= MOST_KEPT:
            self.known.clear()
        self.known[raw] = self._read(raw) or _NOT_PLAIN

    def _read(self, raw: bytes) -> Plain | None:
        seen = _Reader()
        if not seen.reads(raw) or not (name := self._name_of(seen.url)):
            return None
        headers = dict(seen.headers)
        length = headers.get(b"content-length", b"0")
        if (
            len(headers) != len(seen.headers)
            or not ORDINARY.issuperset(headers)  # whoever sends any other says more than who asks for what
            or headers.get(b"accept") == LINES
            or not length.isdigit()
            or len(length) > 9
            or int(length) > self._most_body
        ):
            return None
        scope: Scope = {
            "method": "POST",
            "path": OPERATIONS + name,
            "query_string": b"",
            "headers": seen.headers,
            "client": self._client,
        }
        try:
            return Plain(name, scope, headers, int(length), token_of(headers), self._remote(scope, headers))
        except Unauthenticated:
            return None


class _Reader:
    """What the parser tells of one head."""

    def __init__(self) -> None:
        self.url = b""
        self.headers: list[tuple[bytes, bytes]] = []
        self._whole = self._stays = False
        self._parser = HttpRequestParser(self)
        self._parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn's own

    def reads(self, raw: bytes) -> bool:
        """Tell whether these bytes are the head of one POST that keeps its connection, to the very last of them."""
        try:
            self._parser.feed_data(raw[:-1])
            if self._whole:
                return False
            self._parser.feed_data(raw[-1:])
        except (HttpParserError, HttpParserUpgrade):
            return False
        return self._whole and self._stays and self._parser.get_method() == b"POST"

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        self._whole = True
        self._stays = self._parser.get_http_version() == "1.1" and self._parser.should_keep_alive()

"""Remote: calls go to a server over HTTP, with nothing but the standard library, so that a command starts at once."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection, IncompleteRead
from pathlib import Path
from typing import Any, cast
from urllib.parse import SplitResult, quote, urlencode, urlsplit

from superagent.core.principal import Secret
from superagent.core.problems import InvalidInput, Unavailable
from superagent.surfaces.cli.target import Answer, Event, Refused, Request

CONNECT_S = 5.0
LONGEST_S = 3600.0
"""How long an operation may take that says nothing of a deadline."""
QUIET_S = 60.0  # a stream sends a sign of life each 15 s
TRIES = 3
_MOST_FORM = 65_536
_MOST = 256 * 1024 * 1024
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


class Unreachable(Unavailable):
    """No server answers there."""


class Remote:
    """One server, and the key to act with."""

    lasting = True

    def __init__(self, url: str, key: Secret | Callable[[], Secret] | None, pinned: Path | None = None) -> None:
        """Take what to act by: a key, what gives one that is good now, or None to ask as a stranger.

        Over TLS the server shows the certificate in the file `pinned`, or one that this machine trusts.
        """
        self._pinned = pinned
        self._url = checked(url)
        self._key = (lambda: key) if isinstance(key, Secret) else key

    @property
    def in_the_clear(self) -> bool:
        """Tell whether the key travels unencrypted to another machine."""
        return self._url.scheme == "http" and self._url.hostname not in _LOOPBACK

    def call(self, request: Request) -> Answer:
        """Run one call by `POST /v1/operations/{name}`."""
        path = f"/v1/operations/{quote(request.operation, safe='')}"
        wait_s = (LONGEST_S if request.deadline_s is None else request.deadline_s) + CONNECT_S
        body = json.dumps(request.input).encode()
        with self._ask("POST", path, body, _headers_of(request), wait_s) as response:
            return self._answer(response)

    def prove(self, proof: str) -> None:
        """Act by a proof from now on: what `signin.prove` gave for the key."""
        secret = Secret(proof)
        self._key = lambda: secret

    def form(self, path: str, fields: dict[str, str]) -> tuple[int, dict[str, Any]]:
        """Post a form as a stranger and give (status, the JSON object that came), empty for none."""
        kind = {"Content-Type": "application/x-www-form-urlencoded"}
        with Remote(self._place, None, self._pinned)._ask(
            "POST", path, urlencode(fields).encode(), kind, QUIET_S
        ) as response:
            try:
                found: Any = json.loads(response.read(_MOST_FORM) or b"{}")
            except (ValueError, RecursionError):
                found = None
            return response.status, cast("dict[str, Any]", found) if isinstance(found, dict) else {}

    def follow(self, invocation: str) -> Iterator[Event]:
        """Follow `GET /v1/invocations/{id}/events`, from where it broke off if it does."""
        return self._events(f"/v1/invocations/{quote(invocation, safe='')}/events", "outcome")

    def feed(self) -> Iterator[Event]:
        """Follow `GET /v1/events`."""
        return self._events("/v1/events", "")

    def download(self, handle: str) -> Iterator[bytes]:
        """Read `GET /v1/results/{handle}/raw`."""
        with self._ask("GET", f"/v1/results/{quote(handle, safe='')}/raw", None, {}, QUIET_S) as response:
            if response.status != 200:
                raise Refused(self._answer(response))
            while chunk := response.read(262_144):
                yield chunk
            _check_whole(response)

    def answers(self) -> bool:
        """Tell whether anybody listens there."""
        try:
            with socket.create_connection((self._url.hostname or "", self._url.port or 80), CONNECT_S):
                return True
        except OSError:
            return False

    def close(self) -> None:
        """Do nothing: no connection outlives its request."""

    def _events(self, path: str, last: str) -> Iterator[Event]:
        number, tries = "", TRIES
        while True:
            headers = {"Last-Event-ID": number} if number else {}
            try:
                with self._ask("GET", path, None, headers, QUIET_S) as response:
                    if response.status != 200:
                        raise Refused(self._answer(response))
                    for at, event in _parsed(response):
                        number, tries = at or number, TRIES
                        yield event
                        if event.kind == last:
                            return
            except Unavailable:
                if not tries:
                    raise
            if not tries:
                raise Unavailable(f"the stream of {self._place} broke off", hint="ask again with `superagent watch`")
            tries -= 1

    @property
    def _place(self) -> str:
        return self._url.geturl()

    def _connection(self, host: str) -> HTTPConnection:
        if self._url.scheme != "https":
            return HTTPConnection(host, self._url.port, timeout=CONNECT_S)
        if self._pinned is None:
            return HTTPSConnection(host, self._url.port, timeout=CONNECT_S)
        from superagent.runtime.tls import trusting  # a command over plain HTTP has no time for it

        return HTTPSConnection(host, self._url.port, timeout=CONNECT_S, context=trusting(self._pinned))

    @contextmanager
    def _ask(
        self, method: str, path: str, body: bytes | None, headers: dict[str, str], wait_s: float
    ) -> Generator[HTTPResponse]:
        url = self._url
        shown = {"Authorization": f"Bearer {self._key().reveal()}"} if self._key is not None else {}
        connection = self._connection(cast(str, url.hostname))
        sent = False
        try:
            connection.connect()
            connection.sock.settimeout(wait_s)
            headers = {"Content-Type": "application/json", **shown, **headers}
            sent = True
            connection.request(method, url.path + path, body, headers)
            yield connection.getresponse()
        except TimeoutError:
            changed = "unknown" if sent and body else "nothing"
            what = f"did not answer within {wait_s:g} s" if sent else "cannot be reached: it does not answer"
            hint = "see what became of the call with `superagent audit query`" if sent else None
            raise Unreachable(f"{self._place} {what}", hint=hint, changed=changed) from None
        except (OSError, HTTPException) as bad:
            if sent:
                raise Unavailable(
                    f"the connection to {self._place} broke: {bad or type(bad).__name__}",
                    hint="see what became of the call with `superagent audit query`",
                    changed="unknown" if body else "nothing",
                ) from None
            why = bad.strerror if isinstance(bad, OSError) and bad.strerror else str(bad)
            raise Unreachable(
                f"{self._place} cannot be reached: {why}", hint="start it with `superagent up`, or check the address"
            ) from None
        finally:
            connection.close()

    def _answer(self, response: HTTPResponse) -> Answer:
        data = response.read(_MOST)
        _check_whole(response)
        try:
            document: Any = json.loads(data)
        except (ValueError, RecursionError):
            document = None
        if not isinstance(document, dict) or not ({"status", "type"} & cast("dict[str, Any]", document).keys()):
            raise Unavailable(
                f"what answers at {self._place} is no such server: status {response.status}",
                hint="check the address, and what stands between you and it",
            )
        return Answer(response.status, cast("dict[str, Any]", document))


def checked(url: str) -> SplitResult:
    """Give the parts of a server's address. Raises `InvalidInput`; what may be a password is not repeated there."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    shown = url.rpartition("@")[2]
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0 or "@" in parts.netloc:
        raise InvalidInput(
            f"`{shown}` is no server's address", hint="it looks like http://127.0.0.1:8750; keys go into a file"
        )
    if parts.query or parts.fragment or not url.isascii() or any(char <= " " for char in url):
        raise InvalidInput(f"`{shown}` has more than a scheme, a host, a port and a path", hint="leave the rest out")
    return parts._replace(path=parts.path.rstrip("/"))


def _check_whole(response: HTTPResponse) -> None:
    # `read` with a size says nothing when the connection ends before the announced length
    if response.length:
        raise IncompleteRead(b"", response.length)


def _headers_of(request: Request) -> dict[str, str]:
    found = {
        "Idempotency-Key": request.key,
        "X-Dry-Run": "true" if request.dry_run else "",
        "Superagent-Deadline": "" if request.deadline_s is None else f"{request.deadline_s:g}",
        "Superagent-Reason": request.reason,
        "Superagent-Session": request.session,
        "Prefer": "respond-async" if request.queued else "",
    }
    for name, value in found.items():
        if any(ord(char) < 32 or ord(char) == 127 for char in value):
            raise InvalidInput(f"`{name}` cannot hold line feeds or control characters")
    # the field's bytes are UTF-8 (RFC 9110, 5.5: opaque), which `http.client` would refuse to send as text
    return {name: value.encode().decode("latin-1") for name, value in found.items() if value}


def _parsed(response: HTTPResponse) -> Iterator[tuple[str, Event]]:
    """Read server-sent events (HTML Living Standard, 9.2) as our servers write them: one `data:` line each."""
    number, kind, data = "", "message", ""
    while line := response.readline(_MOST):
        text = line.decode("utf-8", "replace").rstrip("\n")
        name, _, value = text.partition(": ")
        match name:
            case "id":
                number = value
            case "event":
                kind = value
            case "data":
                data = value
            case "" if data:
                found: Any = json.loads(data)
                yield number, Event(kind, cast("dict[str, Any]", found))
                number, kind, data = "", "message", ""
            case _:
                pass

"""The HTTP door: a pure ASGI dispatcher in front of FastAPI; it turns requests into calls and outcomes into replies.

One path pattern and a dictionary look-up, never a route per operation. It owes what a framework would give: body cap,
CORS, trace id, disconnects. It decides nothing: the line does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any
from urllib.parse import parse_qsl, unquote

from superagent.core.invocation import Call, Outcome, Status
from superagent.core.kernel import Kernel
from superagent.core.principal import Credential, Facts, Principal, Secret
from superagent.core.problems import InvalidInput, Malformed, NotFound, Problem, TooLarge, Unauthenticated
from superagent.core.strict_json import parse_object
from superagent.surfaces.http.feed import Feed
from superagent.surfaces.http.reply import Reply, of_outcome, of_problem, send_reply

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Headers = dict[bytes, bytes]
OPERATIONS = "/v1/operations/"


class Door:
    """Operations enter here; everything that is no operation goes on to `behind`."""

    def __init__(
        self,
        kernel: Kernel,
        behind: App,
        routes: Routes,
        feed: Feed | None = None,
        *,
        max_body_bytes: int = 1024 * 1024,
        max_blob_bytes: int = 1024**3,
        cors_origins: Sequence[str] = (),
    ) -> None:
        self._kernel = kernel
        self._behind = behind
        self._routes = routes
        self.feed = feed
        self.max_body_bytes = max_body_bytes
        self.max_blob_bytes = max_blob_bytes
        self._origins = frozenset(origin.encode() for origin in cors_origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        if scope["type"] != "http" or not scope["path"].startswith("/v1/"):
            await self._behind(scope, receive, send)
            return
        headers: Headers = dict(scope["headers"])
        origin = headers.get(b"origin")
        cors = origin if origin in self._origins else None
        if cors is not None and scope["method"] == "OPTIONS":
            await send_reply(send, Reply(204, b"", preflight(cors)))
            return
        try:
            reply = await self._serve(scope, receive, send, headers)
        except Problem as problem:
            reply = of_problem(problem)
        if reply is not None:
            if cors is not None:
                reply.headers.append((b"access-control-allow-origin", cors))
                reply.headers.append((b"vary", b"origin"))
            await send_reply(send, reply)

    async def _serve(self, scope: Scope, receive: Receive, send: Send, headers: Headers) -> Reply | None:
        path: str = scope["path"]
        principal = await self.identify(scope, headers)
        if scope["method"] == "POST" and path.startswith(OPERATIONS):
            body = await read_body(receive, headers, self.max_body_bytes)
            call = call_of(path[len(OPERATIONS) :], parse_object(body), headers, scope["query_string"])
            outcome = await self.run(call, principal, "http", headers)
            return of_outcome(outcome)
        return await self._routes(self, scope, receive, send, headers, principal)

    async def identify(self, scope: Scope, headers: Headers) -> Principal:
        """Give who calls. Raises `Unauthenticated`."""
        token = token_of(headers)
        client = scope.get("client")
        remote = client[0] if client else "unix"
        if b"x-forwarded-for" in headers or b"forwarded" in headers:
            remote = (
                f"forwarded:{remote}"  # somebody else stands behind this address: it is not the loopback it looks like
            )
        if token is None:
            facts = Facts(remote, "", "http")
            problem = Unauthenticated("the request has no key")
            self._kernel.pipeline.refuse_stranger(problem, facts)
            raise problem
        return await self._kernel.identify(Credential("bearer", Secret(token), Facts(remote, "", "http")))

    async def run(self, call: Call, principal: Principal, channel: str, headers: Headers) -> Outcome:
        """Take a call through the line, then wait for a queued one as long as `Prefer: wait` says."""
        trace = headers.get(b"traceparent", b"")
        outcome = await self._kernel.run(call, principal, channel, trace=trace_of(trace) if trace else "")
        wait_s = prefer_of(headers)[1] if call.queued else 0.0
        return await self.wait(outcome, principal, wait_s) if wait_s and outcome.status is Status.QUEUED else outcome

    async def wait(self, outcome: Outcome, principal: Principal, wait_s: float) -> Outcome:
        """Give the outcome of a queued call if it ends within the wait, else the present one."""
        loop = asyncio.get_running_loop()
        until = loop.time() + min(wait_s, 60.0)
        while loop.time() < until:
            ended = await self._kernel.hands.work.outcome(principal.tenant, outcome.invocation)
            if ended is not None:
                return ended
            await asyncio.sleep(0.05)
        return outcome

    @property
    def kernel(self) -> Kernel:
        """Give the kernel behind the door."""
        return self._kernel


Routes = Callable[[Door, Scope, Receive, Send, Headers, Principal], Awaitable[Reply | None]]


def token_of(headers: Headers) -> str | None:
    """Find the key in `Authorization: Bearer` or `X-API-Key`; None when there is neither."""
    value = headers.get(b"authorization")
    if value is not None:
        if value[:7].lower() != b"bearer ":
            raise Unauthenticated("only `Bearer` authorization is known here")
        return value[7:].strip().decode("latin-1")
    value = headers.get(b"x-api-key")
    return None if value is None else value.strip().decode("latin-1")


async def read_body(receive: Receive, headers: Headers, most: int) -> bytes:
    """Read a request's body. Raises `TooLarge` before reading what says it is too long, `Malformed` when it breaks off."""
    declared = headers.get(b"content-length", b"")
    if declared.isdigit() and int(declared) > most:
        raise TooLarge(
            f"the body has {int(declared)} bytes, the limit is {most}",
            hint="upload it by `PUT /v1/blobs`, pass its handle",
        )
    if headers.get(b"content-encoding", b"identity") != b"identity":
        raise Malformed("compressed bodies are not taken", hint="send it as it is")
    message = await receive()
    body: bytes = message.get("body", b"")
    if message["type"] == "http.request" and not message.get("more_body", False):
        if len(body) > most:
            raise TooLarge(
                f"the body is longer than {most} bytes", hint="upload it by `PUT /v1/blobs`, pass its handle"
            )
        return body
    parts = [body]
    size = len(body)
    while message["type"] != "http.disconnect" and message.get("more_body", False):
        message = await receive()
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > most:
            raise TooLarge(
                f"the body is longer than {most} bytes", hint="upload it by `PUT /v1/blobs`, pass its handle"
            )
    if message["type"] == "http.disconnect":
        raise Malformed("the connection closed before the body ended")
    return b"".join(parts)


_CALL_HEADERS = frozenset(
    b"idempotency-key x-dry-run superagent-deadline superagent-reason superagent-max-bytes superagent-isolation superagent-session prefer".split()
)


def call_of(name: str, body: dict[str, Any], headers: Headers, query: bytes) -> Call:
    """Make a call of a POST: the body is the input, the headers say how to treat it. Raises `InvalidInput`."""
    if "%" in name:
        name = unquote(name)
    if not query and _CALL_HEADERS.isdisjoint(headers):
        return Call(name, body)

    def text(header: bytes, most: int = 200) -> str:
        value = headers.get(header, b"").decode("latin-1")
        if len(value) > most:
            raise InvalidInput(f"`{header.decode()}` is longer than {most} characters")
        return value

    flags = dict(parse_qsl(query.decode("latin-1")))
    dry = flags.get("dry_run", text(b"x-dry-run")).lower()
    return Call(
        name,
        body,
        key=text(b"idempotency-key"),
        dry_run=dry in ("true", "1", "yes"),
        deadline_s=_number("superagent-deadline", text(b"superagent-deadline"), 86_400.0),
        reason=_utf8(text(b"superagent-reason", 2000)),
        max_bytes=_whole("superagent-max-bytes", text(b"superagent-max-bytes")),
        isolation=text(b"superagent-isolation"),
        session=text(b"superagent-session"),
        queued=prefer_of(headers)[0],
    )


def prefer_of(headers: Headers) -> tuple[bool, float]:
    """Read `Prefer` (RFC 7240): (answer at once and work in the background?, seconds to wait before doing so)."""
    prefer = headers.get(b"prefer")
    if prefer is None:
        return False, 0.0
    parts = [part.strip().lower() for part in prefer.decode("latin-1").split(",")]
    waits = [part.partition("=")[2] for part in parts if part.startswith("wait=")]
    wait_s = float(waits[0]) if waits and waits[0].isdigit() else 0.0
    return "respond-async" in parts, wait_s


def trace_of(traceparent: bytes) -> str:
    """Give the trace id of a W3C `traceparent`; empty when it is not one."""
    parts = traceparent.decode("latin-1").split("-")
    if len(parts) < 4 or len(parts[1]) != 32 or not all(char in "0123456789abcdef" for char in parts[1]):
        return ""
    return parts[1]


def preflight(origin: bytes) -> list[tuple[bytes, bytes]]:
    """Give the answer to a CORS preflight of an origin that the settings list."""
    return [
        (b"access-control-allow-origin", origin),
        (b"access-control-allow-methods", b"GET, POST, PUT"),
        (
            b"access-control-allow-headers",
            b"authorization, content-type, x-api-key, traceparent, " + b", ".join(sorted(_CALL_HEADERS)),
        ),
        (b"access-control-max-age", b"600"),
        (b"vary", b"origin"),
    ]


def _number(name: str, text: str, most: float) -> float | None:
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value <= most:
        raise InvalidInput(f"`{name}` must be a number of seconds above 0 and up to {most:g}")
    return value


def _whole(name: str, text: str) -> int | None:
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 12):
        raise InvalidInput(f"`{name}` must be a whole number of bytes")
    return int(text)


def _utf8(text: str) -> str:
    try:
        return text.encode("latin-1").decode("utf-8")
    except UnicodeDecodeError:
        return text


def not_here(path: str) -> NotFound:
    """Give the problem of a path that does not exist."""
    return NotFound(f"there is nothing at `{path[:200]}`", hint="see `/docs`")

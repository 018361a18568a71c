"""Routes of the contract beside the single POST: the catalogue, batches, streams, invocations, results and blobs.

Those that are operations in disguise go through the line under the operation's name; the others carry bytes or events.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, cast
from urllib.parse import parse_qsl, unquote

import msgspec

from superagent.core.invocation import Call, Outcome, Status
from superagent.core.principal import Principal
from superagent.core.problems import InvalidInput, Malformed, NotFound, Problem, TooLarge
from superagent.core.strict_json import parse_object
from superagent.surfaces.http import stream
from superagent.surfaces.http.door import Door, Headers, Receive, Scope, Send, call_of, not_here, read_body, trace_of
from superagent.surfaces.http.reply import Reply, of_data, of_outcome

Handler = Callable[["Request"], Awaitable[Reply | None]]
_BATCH_FIELDS = {"mode", "stop_on_error", "calls"}
_CALL_FIELDS = {"operation", "input", "key", "dry_run", "deadline_s", "reason", "max_bytes", "isolation", "session"}
_RANGE = re.compile(r"^bytes=(\d*)-(\d*)$")
_LINES_IN_FLIGHT = 64


class Request:
    """What a route gets."""

    __slots__ = ("door", "headers", "parts", "principal", "query", "receive", "scope", "send")

    def __init__(
        self,
        door: Door,
        scope: Scope,
        receive: Receive,
        send: Send,
        headers: Headers,
        principal: Principal,
        parts: list[str],
    ) -> None:
        self.door = door
        self.scope = scope
        self.receive = receive
        self.send = send
        self.headers = headers
        self.principal = principal
        self.parts = parts
        self.query = dict(parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True))

    async def body(self) -> bytes:
        """Read the body under the cap."""
        return await read_body(self.receive, self.headers, self.door.max_body_bytes)

    async def ask(self, operation: str, input: dict[str, Any]) -> Outcome:
        """Run an operation for the caller."""
        return await self.door.run(Call(operation, input), self.principal, "http", self.headers)

    async def output(self, operation: str, input: dict[str, Any]) -> Reply:
        """Run an operation and give its bare output."""
        outcome = await self.ask(operation, input)
        if outcome.problem is not None or outcome.status is not Status.DONE or not outcome.output:
            return of_outcome(outcome)
        reply = of_outcome(outcome)
        reply.body = outcome.output
        return reply

    def whole(self, name: str, default: int) -> int:
        """Give a whole number from the query. Raises `InvalidInput`."""
        text = self.query.get(name, "")
        if not text:
            return default
        if not (text.isascii() and text.isdigit() and len(text) < 16):
            raise InvalidInput(f"`{name}` must be a whole number")
        return int(text)


async def serve(
    door: Door, scope: Scope, receive: Receive, send: Send, headers: Headers, principal: Principal
) -> Reply | None:
    """Find the route of a path below `/v1/` and serve it. Raises `NotFound` for none."""
    parts = [unquote(part) for part in scope["path"].removeprefix("/v1/").split("/")]
    handler = _ROUTES.get((scope["method"], parts[0], len(parts), parts[2] if len(parts) == 3 else ""))
    if handler is None:
        raise not_here(scope["path"])
    return await handler(Request(door, scope, receive, send, headers, principal, parts))


async def search(request: Request) -> Reply | None:
    """`GET /v1/operations`: the catalogue, as far as the caller may see it."""
    wanted: dict[str, Any] = {"query": request.query.get("q", ""), "limit": request.whole("limit", 50)}
    wanted |= {name: request.query[name] for name in ("domain", "cursor", "max_risk") if name in request.query}
    return await request.output("catalogue.search", wanted)


async def describe(request: Request) -> Reply | None:
    """`GET /v1/operations/{name}`: one operation in full."""
    return await request.output("catalogue.describe", {"name": request.parts[1]})


async def batch(request: Request) -> Reply | None:
    """`POST /v1/batch`: many calls in one request."""
    body = parse_object(await request.body())
    if unknown := set(body) - _BATCH_FIELDS:
        raise InvalidInput(f"a batch has no field `{min(unknown)}`", hint="its fields are mode, stop_on_error, calls")
    mode, stop = body.get("mode", "sequential"), body.get("stop_on_error", True)
    given = body.get("calls")
    if mode not in ("sequential", "parallel", "atomic") or not isinstance(stop, bool) or not isinstance(given, list):
        raise InvalidInput("a batch is {mode: sequential|parallel|atomic, stop_on_error: true|false, calls: […]}")
    calls = [call_from(one, f"$.calls[{at}]") for at, one in enumerate(cast("list[Any]", given))]
    trace = trace_of(request.headers.get(b"traceparent", b""))
    outcomes = await request.door.kernel.batch(calls, mode, stop, request.principal, "batch", trace)
    done = all(outcome.problem is None for outcome in outcomes)
    return of_data(
        {"ok": done, "outcomes": [outcome.document() for outcome in outcomes], "not_run": len(calls) - len(outcomes)}
    )


def call_from(value: Any, path: str) -> Call:
    """Make a call of its JSON object (rules.md 4). Raises `InvalidInput` with the path of what is wrong."""
    if not isinstance(value, dict):
        raise InvalidInput(f"{path} is not a call", hint='a call is {"operation": …, "input": {…}}')
    fields = cast("dict[str, Any]", value)
    if unknown := set(fields) - _CALL_FIELDS:
        raise InvalidInput(
            f"{path} has no field `{min(unknown)}`", hint=f"its fields are {', '.join(sorted(_CALL_FIELDS))}"
        )
    try:
        return msgspec.convert({"input": {}, **fields}, _CallIn, strict=True).call()
    except msgspec.ValidationError as bad:
        raise InvalidInput(f"{path}: {bad}") from None


class _CallIn(msgspec.Struct, forbid_unknown_fields=True):
    operation: str
    input: dict[str, Any]
    key: str = ""
    dry_run: bool = False
    deadline_s: float | None = None
    reason: str = ""
    max_bytes: int | None = None
    isolation: str = ""
    session: str = ""

    def call(self) -> Call:
        if self.deadline_s is not None and not 0 < self.deadline_s <= 86_400:
            raise msgspec.ValidationError("`deadline_s` must be above 0 and up to 86400")
        if self.max_bytes is not None and self.max_bytes < 0:
            raise msgspec.ValidationError("`max_bytes` must not be negative")
        if max(len(self.key), len(self.isolation), len(self.session)) > 200 or len(self.reason) > 2000:
            raise msgspec.ValidationError("`key`, `isolation` and `session` take 200 characters, `reason` 2000")
        return Call(
            self.operation,
            self.input,
            self.key,
            self.dry_run,
            self.deadline_s,
            self.reason,
            self.max_bytes,
            self.isolation,
            self.session,
        )


async def lines(request: Request) -> Reply | None:
    """`POST /v1/stream`: a call a line in, an outcome a line out, as they end; at most 64 under way."""
    door, headers, receive, most = request.door, request.headers, request.receive, request.door.max_body_bytes
    trace = trace_of(headers.get(b"traceparent", b""))
    start = {
        "type": "http.response.start",
        "status": 200,
        "headers": [(b"content-type", b"application/x-ndjson"), (b"cache-control", b"no-store")],
    }
    await request.send(start)
    sending = asyncio.Lock()
    room = asyncio.Semaphore(_LINES_IN_FLIGHT)

    async def answer(line: bytes) -> None:
        mark: Any = None
        try:
            fields = parse_object(line)
            mark = fields.pop("id", None)
            outcome = await door.kernel.run(call_from(fields, "$"), request.principal, "stream", trace=trace)
            document = outcome.document()
        except Problem as problem:
            document = {"status": "failed", "problem": problem.document()}
        finally:
            room.release()
        text = msgspec.json.encode({"id": mark, **document}) + b"\n"
        async with sending:
            await request.send({"type": "http.response.body", "body": text, "more_body": True})

    async with asyncio.TaskGroup() as group:
        async for line in split_lines(receive, most):
            await room.acquire()
            group.create_task(answer(line))
    await request.send({"type": "http.response.body", "body": b""})
    return None


async def split_lines(receive: Receive, most: int) -> AsyncIterator[bytes]:
    """Give the lines of a request body as they arrive; one longer than the cap is given cut, and the rest dropped."""
    left, more = b"", True
    while more:
        message = await receive()
        more = message["type"] == "http.request" and message.get("more_body", False)
        *whole, left = (left + message.get("body", b"")).split(b"\n")
        for line in whole:
            if line.strip():
                yield line[: most + 1]
        if len(left) > most:
            yield left[:1]  # not JSON any more: it is answered with a problem
            return
    if left.strip():
        yield left


async def invocation(request: Request) -> Reply | None:
    """`GET /v1/invocations/{id}`: what became of a call."""
    return await request.output("jobs.status", {"id": request.parts[1]})


async def events_of(request: Request) -> Reply | None:
    """`GET /v1/invocations/{id}/events`: the call's own stream as server-sent events."""
    held = await request.door.kernel.held(request.principal, request.parts[1])
    after = stream.last_event_id(request.headers.get(b"last-event-id", b"")) or 0
    await stream.serve_invocation(request.door.kernel, held, after, request.receive, request.send)
    return None


async def undo(request: Request) -> Reply | None:
    """`POST /v1/invocations/{id}/undo`: take a call back."""
    call = call_of("undo.apply", {"ids": [request.parts[1]]}, request.headers, request.scope["query_string"])
    return of_outcome(await request.door.run(call, request.principal, "http", request.headers))


async def cancel(request: Request) -> Reply | None:
    """`POST /v1/invocations/{id}/cancel`: stop a call."""
    return of_outcome(await request.ask("jobs.cancel", {"id": request.parts[1]}))


async def result(request: Request) -> Reply | None:
    """`GET /v1/results/{handle}`: a page of a large result, or the lines of it that match `grep`."""
    wanted: dict[str, Any] = {
        "handle": request.parts[1], "offset": request.whole("offset", 0), "limit": request.whole("limit", 65_536)
    }  # fmt: skip
    if "grep" in request.query:
        wanted["grep"] = request.query["grep"]
    return await request.output("result.read", wanted)


async def raw(request: Request) -> Reply | None:
    """`GET /v1/results/{handle}/raw`: the bytes, whole or a range (RFC 9110, 14)."""
    kernel, principal, handle = request.door.kernel, request.principal, request.parts[1]
    _, size = await kernel.hands.blobs.read(principal.tenant, principal.id, handle, 0, 0)
    first, last = range_of(request.headers.get(b"range", b"").decode("latin-1"), size)
    status = 206 if (first, last) != (0, size - 1) else 200
    headers = [
        (b"content-type", b"application/octet-stream"),
        (b"content-length", str(last - first + 1).encode()),
        (b"accept-ranges", b"bytes"),
    ]
    headers += [
        (b"x-content-type-options", b"nosniff"),
        (b"content-disposition", b"attachment"),
        (b"cache-control", b"no-store"),
    ]
    if status == 206:
        headers.append((b"content-range", f"bytes {first}-{last}/{size}".encode()))
    await request.send({"type": "http.response.start", "status": status, "headers": headers})
    at = first
    while at <= last:
        chunk, _ = await kernel.hands.blobs.read(
            principal.tenant, principal.id, handle, at, min(262_144, last - at + 1)
        )
        await request.send({"type": "http.response.body", "body": chunk, "more_body": True})
        at += len(chunk)
    await request.send({"type": "http.response.body", "body": b""})
    return None


def range_of(header: str, size: int) -> tuple[int, int]:
    """Give the first and last byte asked for; the whole when there is no range. Raises `InvalidInput` past it."""
    found = _RANGE.match(header)
    if not found or not (found[1] or found[2]):
        return 0, size - 1
    first = int(found[1]) if found[1] else max(0, size - int(found[2]))
    last = min(int(found[2]), size - 1) if found[1] and found[2] else size - 1
    if first >= size or last < first:
        raise InvalidInput(f"the range lies beyond the {size} bytes there are")
    return first, last


async def upload(request: Request) -> Reply | None:
    """`PUT /v1/blobs`: keep a large input for 24 hours and give its handle."""
    declared = request.headers.get(b"content-length", b"")
    most = request.door.max_blob_bytes
    if declared.isdigit() and int(declared) > most:
        raise TooLarge(f"a blob may have {most} bytes")
    principal = request.principal

    async def chunks() -> AsyncIterator[bytes]:
        size, more = 0, True
        while more:
            message = await request.receive()
            if message["type"] == "http.disconnect":
                raise Malformed("the connection closed before the body ended")
            more = message.get("more_body", False)
            size += len(message.get("body", b""))
            if size > most:
                raise TooLarge(f"a blob may have {most} bytes")
            yield message.get("body", b"")

    handle = await request.door.kernel.hands.blobs.put(principal.tenant, principal.id, chunks())
    return of_data({"handle": handle}, status=201)


async def feed(request: Request) -> Reply | None:
    """`GET /v1/events`: what happens, as far as the caller may see it."""
    if request.door.feed is None:
        raise NotFound("there is no feed")
    after = stream.last_event_id(request.headers.get(b"last-event-id", b""))
    await stream.serve_feed(
        request.door.kernel, request.door.feed, request.principal, after, request.receive, request.send
    )
    return None


# (method, first part, number of parts, third part) → handler
_ROUTES: dict[tuple[str, str, int, str], Handler] = {
    ("GET", "operations", 1, ""): search,
    ("GET", "operations", 2, ""): describe,
    ("POST", "batch", 1, ""): batch,
    ("POST", "stream", 1, ""): lines,
    ("GET", "invocations", 2, ""): invocation,
    ("GET", "invocations", 3, "events"): events_of,
    ("POST", "invocations", 3, "undo"): undo,
    ("POST", "invocations", 3, "cancel"): cancel,
    ("GET", "results", 2, ""): result,
    ("GET", "results", 3, "raw"): raw,
    ("PUT", "blobs", 1, ""): upload,
    ("GET", "events", 1, ""): feed,
}

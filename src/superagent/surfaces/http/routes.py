"""Routes beside the single POST: the catalogue, invocations and the feed; `many` and `large` hold the others.

Those that are operations in disguise go through the line under the operation's name; the others carry bytes or events.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from superagent.core.invocation import Call, Outcome, Status
from superagent.core.principal import Principal
from superagent.core.problems import NotFound
from superagent.surfaces.http.body import read_body
from superagent.surfaces.http.door import Door
from superagent.surfaces.http.events import last_event_id
from superagent.surfaces.http.reply import Reply
from superagent.surfaces.http.request import Headers, Receive, Scope, call_of, trace_of, whole

Handler = Callable[["Request"], Awaitable[Reply]]


class Request:
    """What a route gets: who asks, and what."""

    __slots__ = ("door", "headers", "parts", "principal", "query", "query_string", "receive", "scope")

    def __init__(self, door: Door, scope: Scope, receive: Receive, headers: Headers, principal: Principal) -> None:
        self.door = door
        self.scope = scope
        self.receive = receive
        self.headers = headers
        self.principal = principal
        self.parts: list[str] = scope["path"].removeprefix("/v1/").split("/")
        self.query_string: bytes = scope["query_string"]
        self.query = dict(parse_qsl(self.query_string.decode("latin-1"), keep_blank_values=True))

    @property
    def trace(self) -> str:
        """Give the id of the trace this belongs to, empty for none."""
        return trace_of(self.headers)

    async def present(self) -> Principal:
        """Give who asks with the rights of now, for a reply that goes on for long. Raises `Unauthenticated`."""
        gate = self.door.gate
        session = gate.session(self.headers)
        return gate.known(self.scope, self.headers, session) or await gate.identify(self.scope, self.headers, session)

    async def body(self) -> bytes:
        """Read the body under the cap."""
        return await read_body(self.receive, self.headers, self.door.max_body_bytes)

    async def ask(self, operation: str, input: dict[str, Any]) -> Outcome:
        """Run an operation for the caller."""
        return await self.door.kernel.run(Call(operation, input), self.principal, "http", trace=self.trace)

    async def output(self, operation: str, input: dict[str, Any]) -> Reply:
        """Run an operation and give its bare output."""
        outcome = await self.ask(operation, input)
        reply = self.reply(outcome)
        if outcome.status is Status.DONE and outcome.output:
            reply.body = outcome.output
        return reply

    def reply(self, outcome: Outcome) -> Reply:
        """Give the reply to a call."""
        return self.door.reply(outcome, self.principal)

    def whole(self, name: str, default: int) -> int:
        """Give a whole number from the query. Raises `InvalidInput`."""
        text = self.query.get(name, "")
        return whole(name, text) if text else default

    def hold(self) -> Callable[[], None]:
        """Take one of the caller's places for long-lived requests and give what frees it. Raises `Overloaded`."""
        holder, slots = self.principal.bucket, self.door.slots
        slots.enter(holder)
        return lambda: slots.leave(holder)


async def search(request: Request) -> Reply:
    """`GET /v1/operations`: the catalogue, as far as the caller may see it."""
    wanted: dict[str, Any] = {"query": request.query.get("q", ""), "limit": request.whole("limit", 50)}
    wanted |= {name: request.query[name] for name in ("domain", "cursor", "max_risk") if name in request.query}
    return await request.output("catalogue.search", wanted)


async def describe(request: Request) -> Reply:
    """`GET /v1/operations/{name}`: one operation in full."""
    return await request.output("catalogue.describe", {"name": request.parts[1]})


async def invocation(request: Request) -> Reply:
    """`GET /v1/invocations/{id}`: what became of a call."""
    return await request.output("jobs.status", {"id": request.parts[1]})


async def events_of(request: Request) -> Reply:
    """`GET /v1/invocations/{id}/events`: the call's own stream as server-sent events, and its outcome at the end."""
    after = last_event_id(request.headers.get(b"last-event-id", b"")) or 0
    asked = await request.ask("jobs.status", {"id": request.parts[1]})
    if asked.status is not Status.DONE:
        return request.reply(asked)
    state = msgspec.json.decode(asked.output)
    known = Outcome(state["invocation"], state["operation"], Status(state["status"]))
    over = request.hold()
    streams = request.door.streams
    return streams.reply(streams.of_invocation(request.principal, known, after), request.receive, over)


async def undo(request: Request) -> Reply:
    """`POST /v1/invocations/{id}/undo`: take a call back."""
    await request.body()
    call = call_of("undo.apply", {"ids": [request.parts[1]]}, request.headers, request.query_string)
    return request.reply(await request.door.run(call, request.principal, request.headers, request.receive))


async def cancel(request: Request) -> Reply:
    """`POST /v1/invocations/{id}/cancel`: stop a call."""
    await request.body()
    return request.reply(await request.ask("jobs.cancel", {"id": request.parts[1]}))


async def feed(request: Request) -> Reply:
    """`GET /v1/events`: what happens, as far as the caller may see it; from now on, or after an event."""
    door, principal = request.door, request.principal
    after = door.streams.place(principal, request.headers.get(b"last-event-id", b""))
    door.kernel.beside(principal, "events.follow")
    start = await door.feed.newest(principal.tenant) if after is None else after
    over = request.hold()
    return door.streams.reply(door.streams.of_feed(door.feed, principal, request.present, start), request.receive, over)


def not_here(method: str, path: str) -> NotFound:
    """Give the problem of a request that nothing here serves."""
    return NotFound(f"there is no `{method} {path[:200]}`", hint="see `/docs`")

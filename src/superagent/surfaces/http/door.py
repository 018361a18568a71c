"""The HTTP door: a pure ASGI dispatcher in front of FastAPI; it turns requests into calls and outcomes into replies.

One path pattern and a dictionary look-up, never a route per operation. It owes what a framework would give: body cap,
CORS, trace id, disconnects, an answer when something breaks. It decides nothing: the line does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from functools import partial

from superagent.core.answers import Room
from superagent.core.invocation import Call, Outcome
from superagent.core.kernel import Kernel
from superagent.core.limits import Slots
from superagent.core.mounts import Mount, mount_of
from superagent.core.principal import Principal
from superagent.core.problems import Internal, InvalidInput, Problem, RateLimited, Unauthenticated
from superagent.core.reading import AT_ONCE_BYTES, Reading
from superagent.core.strict_json import parse_object
from superagent.surfaces.http.body import check_head, read_on
from superagent.surfaces.http.events import OPEN, EventStreams, until_gone
from superagent.surfaces.http.feed import Feed
from superagent.surfaces.http.followed import LINES, followed
from superagent.surfaces.http.gate import Gate
from superagent.surfaces.http.heads import Plain
from superagent.surfaces.http.mounted import Mounted
from superagent.surfaces.http.reply import (
    Reply,
    challenged,
    of_outcome,
    of_problem,
    of_query,
    preflight,
    send_reply,
    shared_with,
)
from superagent.surfaces.http.request import (
    OPERATIONS,
    App,
    Headers,
    Receive,
    Scope,
    Send,
    call_of,
    headers_of,
    prefer_of,
    refuse_doubled,
    trace_of,
)


class Door:
    """Operations enter here; what else lies below `/v1/` goes to `routes`, the rest to mounts, or to `behind`."""

    def __init__(
        self,
        kernel: Kernel,
        gate: Gate,
        behind: App,
        routes: Routes,
        feed: Feed,
        *,
        max_body_bytes: int = 1024 * 1024,
        max_blob_bytes: int = 1024**3,
        cors_origins: Sequence[str] = (),
        mounts: tuple[Mount, ...] = (),
        closers: Sequence[Callable[[], Awaitable[None]]] = (),
        warmers: Sequence[Callable[[], Awaitable[None]]] = (),
    ) -> None:
        """Make it; `mounts` are other surfaces' ways in, `closers` end what they hold open, `warmers` prepare them."""
        self.kernel = kernel
        self.gate = gate
        self.feed = feed
        self.max_body_bytes = max_body_bytes
        self.max_blob_bytes = max_blob_bytes
        self.streams = EventStreams(kernel)
        self.reading = Reading(kernel.hands.thread)
        self.unsent = Room()
        self.slots = Slots(per_key=64, in_all=2048)  # uploads, downloads and streams at a time: they hold a connection
        self._behind = behind
        self._mounts = mounts
        self._closers = closers
        self._warmers = warmers
        self._mounted = Mounted(kernel, gate, max_body_bytes)
        self._routes = routes
        self._origins = frozenset(origin.encode() for origin in cors_origins)

    async def warm(self) -> None:
        """Prepare what other surfaces need for their first request, beside a server that is ready."""
        for warm in self._warmers:
            await warm()

    async def close(self) -> None:
        """End what other surfaces hold open."""
        for close in self._closers:
            await close()

    @property
    def shares(self) -> bool:
        """Tell whether pages of other origins may call (CORS)."""
        return bool(self._origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one HTTP request; the server speaks no websockets and runs no lifespan."""
        if self._origins:
            origin = dict(scope["headers"]).get(b"origin")
            if origin in self._origins and origin is not None:
                if scope["method"] == "OPTIONS":
                    await send_reply(send, preflight(origin))
                    return
                send = shared_with(send, origin)
        if not scope["path"].startswith("/v1/"):
            mount = mount_of((*self._mounts, *self.kernel.mounts), scope["path"])
            if mount is not None:
                await self._mounted(mount, scope, receive, send)
            else:
                await self._behind(scope, receive, send)
            return
        reply = await self.answer(scope, receive)
        if reply.stream is None:
            await send_reply(send, reply)
            return
        try:
            await send_reply(send, reply)
        except Exception as bug:
            # what was sent cannot be taken back: the server closes the connection, so nobody takes a part for the whole
            self.kernel.hands.fault(self.kernel.hands.clock.new_id(), bug)
            raise

    def begin_together(self) -> None:
        """Begin to answer requests that have all come by now: what they read again is looked at once for all."""
        self.kernel.pipeline.reads.begin_together()

    def end_together(self) -> None:
        """End that: what comes from here on is looked at anew."""
        self.kernel.pipeline.reads.end_together()

    def is_short(self, name: str) -> bool:
        """Tell whether an operation never waits once its caller is known, or often need not."""
        operation = self.kernel.registry.find(name)
        return operation is not None and (operation.inline or operation.validator is not None)

    async def answer(self, scope: Scope, receive: Receive) -> Reply:
        """Give the reply to a request below `/v1/`; whatever breaks is in it."""
        principal: Principal | None = None
        path: str = scope["path"]
        try:
            headers = headers_of(scope)
            if self.gate.closed:
                await self.gate.require_set_up()
            if b"cookie" in headers and (session := self.gate.session(headers)):
                principal = self.gate.known(scope, headers, session)
                principal = principal or await self.gate.identify(scope, headers, session)
                self.gate.refuse_forged(scope, headers, session, principal)
            else:
                principal = self.gate.known(scope, headers) or await self.gate.identify(scope, headers)
            if len(headers) != len(scope["headers"]):
                refuse_doubled(scope)
            if scope["method"] not in ("POST", "QUERY") or not path.startswith(OPERATIONS):
                return await self._routes(self, scope, receive, headers, principal)
            most = self.max_body_bytes
            check_head(headers, most)
            message = await receive()
            body = message.get("body")
            if body is None or message.get("more_body") or len(body) > most:
                body = await read_on(message, receive, most)
            if len(body) <= AT_ONCE_BYTES:
                given = parse_object(body)
            else:
                given = await self.reading.object(principal, body)
            call = call_of(path[len(OPERATIONS) :], given, headers, scope["query_string"])
            post = scope["method"] == "POST"
            if post and headers.get(b"accept") == LINES and self._streams(call.operation):
                return self._followed(call, principal, headers, receive)
            if post and b"prefer" in headers:
                return self.reply(await self.run(call, principal, headers, receive), principal)
            trace = trace_of(headers) if b"traceparent" in headers else ""
            if query := scope["method"] == "QUERY":
                self._refuse_unsafe(call, principal)
            outcome = await self.kernel.run(call, principal, "http", trace=trace)
            if outcome.problem is not None:
                return self.reply(outcome, principal)
            return of_query(outcome, headers.get(b"if-none-match", b"")) if query else of_outcome(outcome)
        except Problem as problem:
            return self._refused(scope, principal, problem)
        except Exception as bug:
            return self._broken(bug)

    async def answer_plain(self, plain: Plain, body: bytes) -> Reply:
        """Give the reply to a call whose head is plain and whose body is here: `answer` without what cannot be."""
        principal: Principal | None = None
        try:
            if self.gate.closed:
                await self.gate.require_set_up()
            principal = self.gate.known_by(plain.token, plain.remote)
            principal = principal or await self.gate.identify(plain.scope, plain.headers)
            outcome = await self.kernel.run(Call(plain.name, parse_object(body)), principal, "http")
            return self.reply(outcome, principal)
        except Problem as problem:
            return self._refused(plain.scope, principal, problem)
        except Exception as bug:
            return self._broken(bug)

    def _broken(self, bug: Exception) -> Reply:
        id = self.kernel.hands.clock.new_id()
        self.kernel.hands.fault(id, bug)
        return of_problem(Internal("something broke inside the platform", changed="unknown"), id)

    def _streams(self, name: str) -> bool:
        found = self.kernel.find(name)
        return found is not None and found.stream

    def _followed(self, call: Call, principal: Principal, headers: Headers, receive: Receive) -> Reply:
        self.slots.enter(principal.bucket)
        over = partial(self.slots.leave, principal.bucket)
        try:
            return followed(self.kernel, call, principal, trace_of(headers), receive, over)
        except Problem:
            over()
            raise

    async def run(self, call: Call, principal: Principal, headers: Headers, receive: Receive) -> Outcome:
        """Take a call through the line; what is not over then is waited for as long as `Prefer: wait` says."""
        outcome = await self.kernel.run(call, principal, "http", trace=trace_of(headers))
        wait_s = prefer_of(headers)[1]
        if wait_s and outcome.status in OPEN:
            return await self._wait(outcome, principal, wait_s, receive)
        return outcome

    def reply(self, outcome: Outcome, principal: Principal) -> Reply:
        """Give the reply to a call; one that came too fast is told its limit."""
        if isinstance(outcome.problem, RateLimited):
            rate = self.kernel.hands.identity.rate_of(principal)
            return of_problem(outcome.problem, outcome.invocation, rate)
        return of_outcome(outcome)

    async def _wait(self, outcome: Outcome, principal: Principal, wait_s: float, receive: Receive) -> Outcome:
        """Give what came of a call if it ends within the wait, else the present state; stops when the caller goes."""
        until = asyncio.get_running_loop().time() + wait_s
        async with aclosing(self.streams.states(principal, outcome.invocation)) as states:
            async for ended in until_gone(states, receive):
                if ended is not None:
                    return ended
                if asyncio.get_running_loop().time() >= until:
                    break
        return outcome

    def _refuse_unsafe(self, call: Call, principal: Principal) -> None:
        """Let a QUERY only read (RFC 9110, 9.2.1). What the caller may not know of is refused by the line instead."""
        operation = self.kernel.registry.find(call.operation)
        if (
            operation is not None
            and operation.effect
            and self.kernel.policy_of(principal).may_try(principal, operation)
        ):
            raise InvalidInput(
                f"a QUERY only reads, and `{call.operation}` changes something", hint="send it as a POST"
            )

    def _refused(self, scope: Scope, principal: Principal | None, problem: Problem) -> Reply:
        """Reply to what never reached the line, and record it: strangers were recorded at the gate."""
        if principal is None or isinstance(problem, Unauthenticated):
            headers = headers_of(scope)
            return challenged(problem, self.gate.browser.origin(headers), "", b"authorization" in headers)
        path: str = scope["path"]
        name = path.removeprefix(OPERATIONS) if scope["method"] in ("POST", "QUERY") else ""
        call = Call(name if name and name != path else f"{scope['method']} {path}"[:200], {})
        try:
            outcome = self.kernel.refused(call, principal, "http", problem)
        except Problem as unrecorded:  # the audit takes nothing: say that, as the line itself would
            return of_problem(unrecorded)
        return self.reply(outcome, principal)


Routes = Callable[[Door, Scope, Receive, Headers, Principal], Awaitable[Reply]]

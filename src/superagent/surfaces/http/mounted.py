"""Mounted routes: a feature's handler, given who visits, a capped body, and an answer when something breaks."""

from __future__ import annotations

from urllib.parse import parse_qsl

from superagent.core.invocation import Call
from superagent.core.kernel import Kernel
from superagent.core.mounts import VISIT, Mount, Visit, changes, stranger
from superagent.core.principal import Principal
from superagent.core.problems import Internal, InvalidInput, Malformed, Problem
from superagent.core.scopes import ShortOfScope
from superagent.surfaces.http.body import check_head, too_large
from superagent.surfaces.http.browser import cookies_of
from superagent.surfaces.http.gate import Gate
from superagent.surfaces.http.reply import Reply, challenged, of_problem, send_reply, short_of_scope
from superagent.surfaces.http.request import Message, Receive, Scope, Send, headers_of, refuse_rehearsal, trace_of

SET_UP = "/sign-in"
"""What is served before anything else is: it lets the first owner enrol a second factor."""

_STEERED = 'messages say it in `_meta` (MCP) or `metadata` (A2A): `{"superagent/call": {"dry_run": true}}`'


class Mounted:
    """Serve requests that lie below a mount."""

    def __init__(self, kernel: Kernel, gate: Gate, max_body_bytes: int) -> None:
        self._kernel = kernel
        self._gate = gate
        self._max_body_bytes = max_body_bytes

    async def __call__(self, mount: Mount, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one; a problem or a fault becomes a reply unless one was begun."""
        begun = False

        async def sending(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            visit = await self._visit(mount, scope, self._capped(receive))
            await mount.app({**scope, VISIT: visit}, visit.receive, sending)
        except Problem as problem:
            if begun:
                raise
            await send_reply(send, self._refused(mount, scope, problem))
        except Exception as bug:
            id = self._kernel.hands.clock.new_id()
            self._kernel.hands.fault(id, bug)
            if begun:
                raise
            await send_reply(send, of_problem(Internal("something broke inside the platform", changed="unknown"), id))

    async def _visit(self, mount: Mount, scope: Scope, receive: Receive) -> Visit:
        headers, browser = headers_of(scope), self._gate.browser
        check_head(headers, self._max_body_bytes)
        if self._gate.closed and mount.prefix != SET_UP:
            await self._gate.require_set_up()
        session = self._gate.session(headers)
        principal = await self._principal(mount, scope, headers, session)
        if not mount.public and changes(scope["method"]):
            try:
                refuse_rehearsal(headers, _STEERED, scope["query_string"])
            except InvalidInput as problem:
                call = Call(f"{scope['method']} {scope['path']}"[:200], {})
                outcome = self._kernel.refused(call, principal, mount.channel, problem, trace_of(headers))
                raise outcome.problem or problem from None
        query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        if len(dict(query)) != len(query):
            raise Malformed("a parameter came twice", hint="send it once")
        return Visit(
            line=self._kernel,
            principal=principal,
            method=scope["method"],
            path=scope["path"][len(mount.prefix) :],
            query=dict(query),
            headers=headers,
            receive=receive,
            origin=browser.origin(headers),
            same_origin=browser.same_origin(headers),
            session="" if principal.kind == "anonymous" else session.decode("latin-1"),
            trace=trace_of(headers),
            cookies=cookies_of(headers),
        )

    async def _principal(self, mount: Mount, scope: Scope, headers: dict[bytes, bytes], session: bytes) -> Principal:
        """Give who visits. A public page also opens to a session that has ended; a wrong key is a wrong key."""
        # what is shown by another scheme than `Bearer` is for the public page itself to look at (RFC 6749, 2.3.1)
        shows_key = headers.get(b"authorization", b"")[:7].lower() == b"bearer " or b"x-api-key" in headers
        if mount.public and not shows_key:
            if not session:
                return stranger(self._gate.remote(scope, headers))
            known = self._gate.known(scope, headers, session)
            return known or await self._gate.session_or_stranger(scope, headers, session)
        known = self._gate.known(scope, headers, session, mount.channel)
        return known or await self._gate.identify(scope, headers, session, mount.channel)

    def _refused(self, mount: Mount, scope: Scope, problem: Problem) -> Reply:
        """Reply with a problem; a door of its own says where tokens for it come from (RFC 9728, 5.1)."""
        headers = headers_of(scope)
        origin = self._gate.browser.origin(headers)
        if isinstance(problem, ShortOfScope):
            return short_of_scope(problem, origin, mount.prefix, problem.scope, problem.invocation)
        if problem.status != 401 or mount.channel == "http":
            return of_problem(problem)
        return challenged(problem, origin, mount.prefix, b"authorization" in headers)

    def _capped(self, receive: Receive) -> Receive:
        size = 0

        async def capped() -> Message:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            if size > self._max_body_bytes:
                raise too_large(self._max_body_bytes)
            return message

        return capped

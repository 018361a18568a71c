"""The gate of one sandbox: its rules, which may change while it runs, its connections, and what was refused."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from superagent.core.endpoints import Endpoint, HostRules, NotPublic, Reach
from superagent.core.problems import AuditUnavailable, Deadline, Problem, SandboxUnavailable
from superagent.runtime.egress.authority import Authority
from superagent.runtime.egress.client import Caps
from superagent.runtime.egress.injection import Injection
from superagent.runtime.egress.listener import Listener, received
from superagent.runtime.egress.refusal import Refusal, not_reached
from superagent.runtime.egress.visit import Visit
from superagent.runtime.net.dialer import Dialer
from superagent.runtime.net.journal import Crossed, Journal, Whose
from superagent.runtime.net.wire import Wire

MOST_EVENTS = 100
MOST_HOSTS = 1000


@dataclass(frozen=True, slots=True)
class Denial:
    """One thing that was not let out, as the agent reads it."""

    place: str
    why: str
    detail: str
    hint: str = ""


@dataclass(slots=True)
class Traffic:
    """What has crossed until now. `hosts` are those connected to, `opened` those whose requests were read."""

    connections: int = 0
    refused: int = 0
    sent: int = 0
    received: int = 0
    hosts: set[str] = field(default_factory=set[str])
    opened: set[str] = field(default_factory=set[str])


class Gate:
    """The only way out of one sandbox. Made by `Egress.gate`, which also closes it."""

    def __init__(
        self,
        rules: HostRules,
        whose: Whose,
        parts: tuple[Dialer, ssl.SSLContext, Journal],
        *,
        caps: Caps,
        authority: Authority | None,
        injections: Sequence[Injection],
        tell: Callable[[Denial], None],
        pace: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self.caps = caps
        self._pace = pace
        self.traffic = Traffic()
        self._rules = rules
        self._whose = whose
        self._dialer, self.trust, self._journal = parts
        self._authority = authority
        self._injections = {one.endpoint: one for one in injections}
        self._tell = tell
        self._denials: deque[Denial] = deque(maxlen=MOST_EVENTS)
        self._visits: dict[asyncio.Task[None], Visit] = {}
        self._looking_up = asyncio.Semaphore(8)
        self._listener: Listener | None = None
        self._trouble = ""
        self._over = False

    # ---- for whoever runs the sandbox

    async def attach(self, control: socket.socket, theirs: socket.socket, timeout_s: float = 10.0) -> None:
        """Wait until the sandbox has handed its port out, and answer on it from then on.

        `theirs` is the end that the sandbox was given, closed here so that an early end of the sandbox is noticed.
        Raises `SandboxUnavailable`.
        """
        theirs.close()
        sock = await received(control, timeout_s)
        control.close()  # nothing more is ever taken from in there
        if self._over:
            sock.close()
            raise SandboxUnavailable("the gate is closed already")
        self._listener = Listener(sock, self.caps.connections, self._arrived)

    def change(self, rules: HostRules) -> None:
        """Put other rules in force; connections that they do not allow end at once."""
        self._rules = rules
        for task, visit in self._visits.items():
            if visit.endpoint is not None and not self._stands(visit):
                refusal = not_reached(str(visit.endpoint), *rules.why_not(visit.endpoint))
                self.refused(refusal, str(visit.endpoint))
                task.cancel()

    def denials(self) -> list[Denial]:
        """Give the newest refusals, oldest first."""
        return list(self._denials)

    async def close(self) -> None:
        """End every connection, record it, and answer no more."""
        self._over = True
        if self._listener is not None:
            await self._listener.close()
        for task in self._visits:
            task.cancel()
        await asyncio.gather(*self._visits, return_exceptions=True)

    # ---- for its visits

    def judge(self, endpoint: Endpoint, method: str | None, visit: Visit) -> Reach:
        """Give what is allowed at an endpoint. Raises `Refusal`."""
        if self._trouble:
            raise Refusal(503, "it could not be recorded", self._trouble)
        reach = self._rules.reach(endpoint)
        if reach is None:
            raise not_reached(str(endpoint), *self._rules.why_not(endpoint))
        return reach

    async def dial(self, endpoint: Endpoint, opened: bool) -> Wire:
        """Connect to a vetted address. Raises `Refusal`."""
        address = ""

        def ended(wire: Wire) -> None:
            self._ended(Crossed(endpoint, address, "sandbox", wire.sent, wire.received, wire.seconds, opened))

        # each leaves a record: however fast they come, those must not fill the disk
        while wait := self._pace():  # noqa: ASYNC110 - others may have taken the turn by then
            await asyncio.sleep(wait)
        try:
            async with self._looking_up:
                wire, vetted = await self._dialer.dial(endpoint, self.caps.connect_s, ended)
        except NotPublic as fault:
            detail = f"`{endpoint}` leads to an address that is not public"
            raise Refusal(403, f"its address is {fault.why}", detail, address=fault.address) from None
        except Problem as problem:
            status = 504 if isinstance(problem, Deadline) else 502
            raise Refusal(status, "it does not answer", problem.detail, problem.hint or "") from None
        address = str(vetted)
        if len(self.traffic.hosts) < MOST_HOSTS:
            self.traffic.hosts.add(str(endpoint))
            if opened:
                self.traffic.opened.add(str(endpoint))
        return wire

    def standing_for(self, endpoint: Endpoint) -> ssl.SSLContext | None:
        """Give what it takes to stand for an endpoint whose requests are read; None for all others."""
        if self._authority is None or endpoint.host not in self._authority.hosts:
            return None
        reach = self._rules.reach(endpoint)
        limited = reach is not None and reach.methods is not None
        return self._authority.context(endpoint.host) if limited or endpoint in self._injections else None

    def injection(self, endpoint: Endpoint) -> Injection | None:
        """Give the credential of an endpoint."""
        return self._injections.get(endpoint)

    def refused(self, refusal: Refusal, place: str) -> None:
        """Record a refusal, and let the agent know of it."""
        self.traffic.refused += 1
        denial = Denial(place[:300], refusal.why, refusal.detail, refusal.hint)
        self._denials.append(denial)
        try:
            if refusal.denied:
                self._journal.refused(self._whose, place, refusal.why, "sandbox", refusal.address)
        except AuditUnavailable as trouble:
            self._fail(trouble)
        self._tell(denial)

    # ---- inside

    def _arrived(self, connection: socket.socket) -> None:
        if self._over:
            connection.close()
            self._done(None)
            return
        task = asyncio.get_running_loop().create_task(self._visited(connection))
        task.add_done_callback(self._done)

    async def _visited(self, connection: socket.socket) -> None:
        task = asyncio.current_task()
        assert task is not None
        try:
            wire = await Wire.over(connection)
        except OSError:  # gone already
            connection.close()
            return
        visit = self._visits[task] = Visit(self, wire)
        with contextlib.suppress(asyncio.CancelledError):
            await visit.run()

    def _done(self, task: asyncio.Task[None] | None) -> None:
        if task is not None:
            self._visits.pop(task, None)
            if not task.cancelled() and (bug := task.exception()) is not None:
                asyncio.get_running_loop().call_exception_handler({"message": "a visit broke", "exception": bug})
        if self._listener is not None:
            self._listener.done()

    def _stands(self, visit: Visit) -> bool:
        """Tell whether a connection is still allowed as it is used."""
        assert visit.endpoint is not None
        reach = self._rules.reach(visit.endpoint)
        return reach is not None and (not visit.passing or reach.methods is None) and (not visit.raw or reach.raw)

    def _ended(self, crossed: Crossed) -> None:
        self.traffic.connections += 1
        self.traffic.sent += crossed.sent
        self.traffic.received += crossed.received
        try:
            self._journal.crossed(self._whose, crossed)
        except AuditUnavailable as trouble:
            self._fail(trouble)

    def _fail(self, trouble: AuditUnavailable) -> None:
        """Let nothing more out: what cannot be recorded does not happen."""
        self._trouble = trouble.detail or "the audit log takes no records"
        for task in self._visits:
            task.cancel()

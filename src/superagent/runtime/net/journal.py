"""The journal: each connection that went out, and each that was refused, as an audit event."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from superagent.core.audit import AuditRecord
from superagent.core.endpoints import Endpoint
from superagent.core.invocation import Invocation
from superagent.core.records import Flood
from superagent.core.resources import Effect

By = Literal["http", "dial", "sandbox", "code"]
CONNECTION, REFUSED = "egress.connection", "egress.refused"


@dataclass(frozen=True, slots=True)
class Whose:
    """On whose behalf something goes out: the call, and who acts in it."""

    invocation: str = ""
    tenant: str = "system"
    who: str = ""
    chain_of: tuple[str, ...] = ()
    channel: str = ""
    session: str = ""
    operation: str = ""

    @classmethod
    def of(cls, call: Invocation | None) -> Whose:
        """Read it from a call; None gives nobody of the system tenant."""
        if call is None:
            return cls()
        who = call.principal
        return cls(call.id, who.recorded_in, who.id, who.ids, call.channel, call.call.session, call.call.operation)


@dataclass(frozen=True, slots=True)
class Crossed:
    """A connection that ended. Bytes are those on the outer connection, TLS included; `opened` says it was read.

    `calls` used it, one after the other; that of the record was the first.
    """

    endpoint: Endpoint
    address: str
    by: By
    sent: int
    received: int
    seconds: float
    opened: bool = False
    calls: int = 1


class Journal:
    """Write egress events. May be called from any thread; a flood of like refusals is counted, not listed."""

    def __init__(self, note: Callable[[AuditRecord], None], now: Callable[[], float]) -> None:
        self._note = note
        self._now = now
        self._flood = Flood()
        self._lock = threading.Lock()

    def crossed(self, whose: Whose, what: Crossed) -> None:
        """Record a connection. Raises `AuditUnavailable`."""
        detail: dict[str, Any] = {
            "address": what.address,
            "by": what.by,
            "sent": what.sent,
            "received": what.received,
            "inside": whose.operation,
        }
        if what.opened:
            detail["opened"] = True
        if what.calls > 1:
            detail["calls"] = what.calls
        self._note(
            self._record(
                "event", CONNECTION, whose, str(what.endpoint), detail,
                seconds=round(what.seconds, 6), bytes=what.sent + what.received,
            )
        )  # fmt: skip

    def refused(self, whose: Whose, place: str, why: str, by: By, address: str = "") -> None:
        """Record something that was not let out; `place` is what was asked for, as far as it could be read."""
        # not by place: whoever makes up a new name for each try would be listed each time
        key = whose.invocation or whose.who, why[:60], by
        with self._lock:
            listed, swallowed = self._flood.admit(key, self._now())
        if not listed:
            return
        detail: dict[str, Any] = {"why": why, "by": by, "inside": whose.operation}
        if address:
            detail["address"] = address
        self._note(
            self._record(
                "refused", REFUSED, whose, place[:300], detail,
                problem="denied", changed="nothing", count=1 + swallowed,
            )
        )  # fmt: skip

    def settle(self, *, every: bool = True) -> int:
        """Record how many refusals were counted instead of listed, and say of how many sorts; `every` at the end."""
        with self._lock:
            rest = self._flood.rest(self._now(), every)
        for (source, what, by), count in rest:
            detail = {"source": source, "what": what, "by": by}
            at = self._now()
            self._note(
                AuditRecord(kind="refused", at=at, tenant="system", operation=REFUSED, count=count, detail=detail)
            )
        return len(rest)

    async def sweep(self) -> int:
        """Do the same for floods that have ended."""
        return self.settle(every=False)

    def _record(
        self,
        kind: Literal["event", "refused"],
        operation: str,
        whose: Whose,
        place: str,
        detail: dict[str, Any],
        **more: Any,
    ) -> AuditRecord:
        return AuditRecord(
            kind=kind,
            at=self._now(),
            invocation=whose.invocation,
            tenant=whose.tenant,
            who=whose.who,
            chain_of=whose.chain_of,
            channel=whose.channel,
            session=whose.session,
            operation=operation,
            resources=((f"host://-/{place}", Effect.CHANGE.name),),
            detail=detail,
            **more,
        )

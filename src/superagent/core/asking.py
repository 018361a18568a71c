"""Asking: what an operation may want of its caller while it has changed nothing; then it begins anew.

Nothing is held open: the call ends and says what it asks, and whoever answers makes it again with the answers. So any
worker can go on, and what an answer may do is judged where it is used, like every value (ADR 61).
"""

from __future__ import annotations

from typing import Any

from superagent.core.invocation import EffectNote, Ticket
from superagent.core.problems import Internal, InvalidInput, NeedsClient, NeedsInput
from superagent.core.questions import Ask, Question


class Deferred(Exception):
    """Leave a call to a job: whoever made it is told so."""


class Asking:
    """The part of a context that asks."""

    __slots__ = ()
    ticket: Ticket
    effects: list[EffectNote]
    changed: bool

    def can_ask(self, what: str) -> bool:
        """Tell whether the caller's client says that it can be asked so (a `Kind`), or that it follows `tasks`."""
        return what in self.ticket.invocation.able

    def needs_client(self, *what: str) -> None:
        """Go on only if the caller's client can do all of this. Raises `NeedsClient`."""
        lacking = sorted({one for one in what if not self.can_ask(one)})
        if lacking:
            raise NeedsClient(f"this needs a client with {', '.join(lacking)}", needs=lacking)

    async def ask(self, ask: Ask) -> Any:
        """Give the caller's answer, None where it refuses. Raises `NeedsInput`, which ends the call for now.

        Only before anything was changed: the call begins anew. A secret is never asked for.
        """
        (answer,) = await self.ask_all(ask)
        return answer

    async def ask_all(self, *asks: Ask) -> tuple[Any, ...]:
        """Ask several things at once. Raises `NeedsInput` with all that is not answered, `NeedsClient`."""
        invocation = self.ticket.invocation
        self._fresh()
        found, left = list[Any](), list[Question]()
        for one in asks:
            if one.name not in invocation.call.answers:
                left.append(one.question())
                continue
            try:
                found.append(one.taken(invocation.call.answers[one.name]))
            except ValueError as wrong:
                left.append(one.question(str(wrong)))
        if not left:
            return tuple(found)
        names = ", ".join(f"`{one.name}`" for one in left)
        if invocation.parent:
            raise InvalidInput(f"`{invocation.call.operation}` inside another call asks for {names}")
        self.needs_client(*(one.kind for one in left if one.kind != "form"))
        raise NeedsInput(f"`{invocation.call.operation}` asks for {names}", asks=left)

    async def in_background(self) -> None:
        """Go on as a job from here: for what turns out to take long. Does nothing in what is a job already."""
        invocation = self.ticket.invocation
        if invocation.call.queued or invocation.resumed or invocation.parent or invocation.call.dry_run:
            return
        self._fresh()
        raise Deferred

    def _fresh(self) -> None:
        if self.effects or self.changed:
            raise Internal("an operation asks before it changes anything", changed="partly")

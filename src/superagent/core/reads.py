"""Reads given again: the answer of a read is kept for a moment, and given for as long as nothing it told has changed.

Identity, rate, policy and record stand before and after, for each call, as always: only the reading itself is spared.
What says that nothing has changed is the operation's validator, asked at each call; what it cannot see is bounded by
`LONGEST_S`.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Callable, Generator, Hashable
from contextlib import contextmanager
from typing import Any

from superagent.core.context import Context
from superagent.core.invocation import Ticket
from superagent.core.leaks import PREFIX
from superagent.core.ports import Veil
from superagent.core.principal import Secret
from superagent.core.problems import Problem
from superagent.core.redactor import present

LONGEST_S = 5.0
"""How long an answer is given again at most, seconds."""
MOST_BYTES = 16 * 1024 * 1024
LONGEST = 256 * 1024
_WAIT_S = 0.1
_AROUND = 1024  # what an answer takes beside its own text

Answer = tuple[bytes, str, str]
"""The output as JSON text, its tag, and its SHA-256 (hex)."""
_ENDED: Answer = b"", "", ""  # stands, without a state, for one that held no more: there may be another soon


class Reads:
    """Answers of one process, the least used forgotten first; nobody is given what another was answered."""

    def __init__(self, veil: Veil, most_bytes: int = MOST_BYTES) -> None:
        self._veil = veil
        self._most_bytes = most_bytes
        self._bytes = 0
        self._kept: OrderedDict[Hashable, tuple[Hashable | None, float, Answer]] = OrderedDict()
        self._looks: dict[Hashable, Hashable] | None = None
        self._under_way: dict[Hashable, asyncio.Future[None]] = {}

    def begin_together(self) -> None:
        """Let calls that have all come by now, and are answered before anything else happens, share one look each.

        Each look is made after all of them came, so none is told what was true only before it asked.
        """
        self._looks = {}

    def end_together(self) -> None:
        """Look for each call anew."""
        self._looks = None

    def keeps(self, ticket: Ticket) -> bool:
        """Tell whether there is an answer to such a call, whether or not it still holds."""
        found = self._kept.get(_key(ticket))
        return found is not None and found[0] is not None

    def again(self, ticket: Ticket, now: float, context: Callable[[], Context]) -> Answer | None:
        """Give an earlier answer that still holds; None when it must be read. `now` is on the monotonic clock.

        A context is asked for only where somebody has to look.
        """
        if present.get() is not None:  # what holds secrets searches each answer for its own
            return None
        key = _key(ticket)
        found = self._kept.get(key)
        if found is None:
            return None
        state, read_at, answer = found
        if state is None:
            return None
        try:
            holds = now - read_at <= LONGEST_S and self._look(ticket, key, context) == state
        except Problem:  # the operation says it in its own words
            holds = False
        if not holds:
            self._forget(key)
            self._keep(key, None, read_at, _ENDED)
            return None
        self._kept.move_to_end(key)
        return answer

    async def other_read(self, ticket: Ticket) -> bool:
        """Wait a little while somebody reads the same anew, if that can be given again; tells whether somebody did.

        Whoever waited looks at the state again, so it is not told what was true only before it asked. Without this all
        who ask for an answer that has just ended would read at once.
        """
        key = _key(ticket)
        under_way = self._under_way.get(key)
        if under_way is None or key not in self._kept:
            return False
        await asyncio.wait([under_way], timeout=_WAIT_S)
        return True

    @contextmanager
    def reading(self, ticket: Ticket) -> Generator[None]:
        """Let others who ask for the same wait until the block ends; if two read it, for the first of them."""
        key, ends = _key(ticket), asyncio.get_running_loop().create_future()
        first = self._under_way.setdefault(key, ends) is ends
        try:
            yield
        finally:
            if first:
                del self._under_way[key]
                ends.set_result(None)

    def _look(self, ticket: Ticket, key: Hashable, context: Callable[[], Context]) -> Hashable:
        """Ask for the present state of what a call reads, or give what was seen for another that came with it."""
        assert ticket.operation.validator is not None
        looks = self._looks
        if looks is not None and key in looks:
            return looks[key]
        seen = ticket.operation.validator(context(), **ticket.values)
        if looks is not None:
            looks[key] = seen
        return seen

    def take(self, ctx: Context, ticket: Ticket, data: bytes, read_at: float) -> Answer:
        """Give a fresh answer its names, and keep it if the operation told in which state it was read.

        `read_at` is a moment before that, on the monotonic clock.
        """
        digest = hashlib.sha256(data).hexdigest()
        answer = data, self._tag(ticket, digest), digest
        told = ctx.source or ctx.cost or ctx.isolation or present.get() is not None
        # what looks like a key is searched for again each time: it may be one by then
        if ctx.state is not None and len(data) <= LONGEST and not told and PREFIX not in data:
            key = _key(ticket)
            self._forget(key)
            self._keep(key, ctx.state, read_at, answer)
            while self._bytes > self._most_bytes or self._oldest() < read_at - LONGEST_S:
                self._forget(next(iter(self._kept)))
        return answer

    def _keep(self, key: Hashable, state: Hashable | None, read_at: float, answer: Answer) -> None:
        self._kept[key] = state, read_at, answer
        self._bytes += len(answer[0]) + _AROUND

    def _forget(self, key: Hashable) -> None:
        found = self._kept.pop(key, None)
        if found is not None:
            self._bytes -= len(found[2][0]) + _AROUND

    def _oldest(self) -> float:
        return next(iter(self._kept.values()))[1]

    def _tag(self, ticket: Ticket, digest: str) -> str:
        """Name an answer so that nobody can guess it from the name, nor tell by it what somebody else was answered."""
        principal = ticket.invocation.principal
        about = (principal.tenant, *principal.marks, ticket.operation.name, ticket.input_digest)
        return self._veil.mark(("answer", *about), Secret(digest))[-32:]


def _key(ticket: Ticket) -> tuple[Any, ...]:
    principal = ticket.invocation.principal
    return ticket.operation, principal.tenant, principal.marks, principal.workspace, ticket.input_digest

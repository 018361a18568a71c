"""Looks: what a waiting call would do, found out for its approver, within bounds, and bound to the approval by a hash.

They run at the bidding of who asks, before anybody has approved anything: so they are short, few, and end in time.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import msgspec
from msgspec.structs import replace

from superagent.core.invocation import Invocation, Ticket, shown_in
from superagent.core.limits import Slots
from superagent.core.neutral import neutral_line
from superagent.core.pipeline import Pipeline, found_by
from superagent.core.problems import Deadline, Problem
from superagent.core.resources import Effect

LOOK_S = 30.0
SHOWN_BYTES = 256 * 1024
_SHOWN_CHARACTERS = 120_000  # of a diff: in JSON one can take two bytes, seldom more
_SHOWN_NAMES, _NAME_CHARACTERS = 100, 500


@dataclass(frozen=True, slots=True)
class Look:
    """What is shown (None where the operation has no preview), and the hash over all that was found.

    `ticket` is the one that was looked at, with what it came upon and a person must approve by name. `shown` is the
    SHA-256 of the whole diff, also of what was too long to be shown; empty for none.
    """

    preview: dict[str, Any] | None
    hash: str
    ticket: Ticket
    shown: str = ""


class Looks:
    """Rehearse tickets for approvers."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self._places = Slots(
            per_key=2, in_all=32, what="requests for approval", hint="wait until those wait, then ask again"
        )

    @contextmanager
    def place(self, ticket: Ticket) -> Generator[None]:
        """Hold one of the requester's places to be looked at. Raises `Overloaded`."""
        holder = ticket.invocation.principal.bucket
        self._places.enter(holder)
        try:
            yield
        finally:
            self._places.leave(holder)

    async def at(self, ticket: Ticket, now: float) -> Look:
        """Look at what a ticket would do; `now` is on the monotonic clock.

        Raises `Deadline` when that takes longer than 30 s: what cannot be shown cannot be approved; and what passes,
        such as `Locked`.
        """
        until = now + LOOK_S
        seen = as_seen(ticket, until)
        preview, found = await self._preview(seen)
        if found is not None:
            again = await self._pipeline.admit(replace(ticket.invocation, found=found.found, resumed=True))
            if isinstance(again, Ticket) and again.decision.verdict == ticket.decision.verdict:
                return await self.at(again, now)
        try:
            async with asyncio.timeout_at(until):
                states = [
                    (one.id, one.effect.name, await self._state(seen, one) if one.effect > Effect.READ else None)
                    for one in ticket.resources
                ]
        except TimeoutError:
            raise _too_long(ticket) from None
        bound = [
            f"{ticket.operation.name}@{ticket.operation.version}",
            ticket.input_digest,
            states,
            ticket.invocation.principal.ids,
            ticket.decision.digest,
            preview,
        ]
        digest = hashlib.sha256(msgspec.json.encode(bound, order="deterministic")).hexdigest()
        return Look(preview and shortened(preview), digest, ticket, shown_in(str((preview or {}).get("diff", ""))))

    async def _state(self, seen: Ticket, resource: Any) -> str | None:
        try:
            return await self._pipeline.state_of(seen, resource)
        except Deadline:
            raise _too_long(seen) from None

    async def _preview(self, seen: Ticket) -> tuple[dict[str, Any] | None, Invocation | None]:
        """Give what is shown, and the call with what it came upon named, if that needs a person by its own name."""
        if seen.operation.preview is None:
            return None, None
        outcome = await self._pipeline.rehearse(seen)
        problem = outcome.problem
        if isinstance(problem, Deadline):
            raise _too_long(seen)
        if problem is not None and problem.retryable:
            raise problem
        if problem is not None:
            return {"summary": neutral_line(str(problem)), "failed": True}, found_by(outcome, seen.invocation)
        return outcome.result(), None


def as_seen(ticket: Ticket, until: float) -> Ticket:
    """Give a ticket under which the platform looks for the approver: a dry run, judged as if it were approved."""
    asked = ticket.invocation
    deadline = until if asked.deadline is None else min(until, asked.deadline)
    call = replace(asked.call, dry_run=True)
    return replace(ticket, invocation=replace(asked, call=call, approvals=10, deadline=deadline), facts=None)


def shortened(preview: dict[str, Any]) -> dict[str, Any]:
    """Give a preview that fits into what is shown, and says where something was left out."""
    if len(msgspec.json.encode(preview)) <= SHOWN_BYTES:
        return preview
    short: dict[str, Any] = {**preview, "exact": False}
    for name, value in preview.items():
        if isinstance(value, str) and len(value) > (most := _SHOWN_CHARACTERS if name == "diff" else _NAME_CHARACTERS):
            short[name] = f"{value[:most]}\n… {len(value) - most} more characters are not shown\n"
        elif isinstance(value, list):
            names = [str(one)[:_NAME_CHARACTERS] for one in cast("list[Any]", value)]
            more = len(names) - _SHOWN_NAMES
            short[name] = [*names[:_SHOWN_NAMES], *([f"… and {more} more"] if more > 0 else [])]
    if len(msgspec.json.encode(short)) > SHOWN_BYTES:  # characters that take many bytes each
        short["diff"] = "what would change is too long to show\n"
    return short


def _too_long(ticket: Ticket) -> Problem:
    return Deadline(
        f"what `{ticket.operation.name}` would do could not be shown to an approver within {LOOK_S:g} s",
        hint="ask for a smaller part at a time",
    )

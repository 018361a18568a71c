"""Looking: a caller's own invocations as tasks, one by one, page by page, and as they go on."""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import AsyncGenerator, Awaitable, Sequence
from contextlib import suppress
from typing import Any, Protocol

import msgspec
from a2a.server.events.event_queue import Event
from a2a.types.a2a_pb2 import (
    ListTasksRequest,
    ListTasksResponse,
    Part,
    TaskArtifactUpdateEvent,
    TaskState,
    TaskStatus,
    TaskStatusUpdateEvent,
)
from a2a.utils.task import validate_history_length

from superagent.core.held import no_invocation
from superagent.core.invocation import Call, Outcome, Status
from superagent.core.kernel import Kernel
from superagent.core.ports import Held
from superagent.core.problems import InvalidInput, NotFound
from superagent.surfaces.a2a.callers import CHANNEL, Caller
from superagent.surfaces.a2a.views import (
    ASKED,
    OPEN,
    STATES,
    View,
    artifact_of,
    changed_at,
    data_part,
    said,
    status_of,
    task_of,
    view_of,
)

EVENT = "superagent/event"
"""The key of an update's metadata with the number of the stored event that it tells of."""

PAGE = 50
MOST_ON_A_PAGE = 100
LOOKED_THROUGH = 2000
"""Tasks among which those of one context are looked for: the context lies inside what is sealed."""

_POLLS_S = (0.01, 0.02, 0.05, 0.1, 0.2)


class Listing(Protocol):
    """Stored invocations by who may see them."""

    def latest(
        self, tenant: str, person: str, *, states: Sequence[Status] = (), since: float = 0.0,
        before: tuple[float, str] | None = None, limit: int = 50,
    ) -> Awaitable[tuple[list[Held], int]]:  # fmt: skip
        """Give (a page, the last changed first; how many there are in all)."""
        ...


class Looking:
    """Look at invocations for callers; `closing` ends what waits or streams."""

    def __init__(self, kernel: Kernel, listing: Listing, closing: asyncio.Event) -> None:
        self._kernel = kernel
        self._listing = listing
        self._closing = closing

    async def stored(self, caller: Caller, id: str) -> View:
        """Give the view of what is stored. Raises `NotFound` for what the caller may not see, as for what is not."""
        held = await self._kernel.held(caller.principal, id)
        return await self._viewed(caller, held)

    async def view(self, caller: Caller, id: str) -> View:
        """Give the view of any invocation: of what is not stored, what the record tells. Raises `NotFound`."""
        with suppress(NotFound):  # of what is somebody else's as little is told as of what is not there
            return await self.stored(caller, id)
        asked = Call("jobs.status", {"id": id[:26]})
        told = await self._kernel.run(asked, caller.principal, CHANNEL, trace=caller.trace)
        if told.problem is not None or len(id) > 26:
            raise no_invocation(id)
        found: dict[str, Any] = msgspec.json.decode(told.output)
        status = Status(found["status"])
        return View(id, found["operation"], status, found["at"], refused=status is Status.FAILED)

    async def _viewed(self, caller: Caller, held: Held) -> View:
        outcome = None
        if held.state not in OPEN or held.state is Status.ASKING:
            outcome = await self._kernel.hands.work.outcome(held.tenant, held.id)
            if outcome is not None:  # whoever reads untrusted text is marked, by whichever door it comes
                await self._kernel.pipeline.seen(caller.principal, outcome)
        return view_of(held, outcome)

    # ---- waiting and following

    async def ended(self, caller: Caller, id: str) -> View:
        """Wait until an invocation is over, or waits for a person; give its view then. It holds no worker meanwhile."""
        at = 0
        while True:
            view = await self.stored(caller, id)
            if view.over or view.status in ASKED or not self._goes_on(caller):
                return view
            await self._rest(at)
            at += 1

    async def follow(self, caller: Caller, view: View, *, until_asked: bool) -> AsyncGenerator[Event]:
        """Give the task as it is, then what changes, until it is over; every reader is told the same, in one order.

        With `until_asked` the stream also ends where a person is asked: the client has to do something then.
        """
        yield task_of(view)
        told, at = view.status, 0
        while not view.over and not (until_asked and view.status in ASKED) and self._goes_on(caller):
            # the state first: what was stored before an end is there by the time the end is seen
            view = await self.stored(caller, view.id)
            if view.status is Status.RUNNING and told is not Status.RUNNING:
                told = view.status
                yield _update(view, status_of(view))
            found = await self._kernel.hands.work.events(caller.principal.tenant, view.id, at)
            while found and self._goes_on(caller):
                for at, data in found:
                    yield _progress(view, at, msgspec.json.decode(data))
                found = await self._kernel.hands.work.events(caller.principal.tenant, view.id, at)
            if view.over:
                if (artifact := artifact_of(view)) is not None:
                    yield TaskArtifactUpdateEvent(
                        task_id=view.id, context_id=view.context, artifact=artifact, last_chunk=True
                    )
                yield _update(view, status_of(view))
            elif view.status is not told:
                told = view.status
                yield _update(view, status_of(view))
            else:
                await self._rest(len(_POLLS_S))

    async def _rest(self, at: int) -> None:
        try:
            async with asyncio.timeout(_POLLS_S[min(at, len(_POLLS_S) - 1)]):
                await self._closing.wait()
        except TimeoutError:
            pass

    def _goes_on(self, caller: Caller) -> bool:
        return not self._closing.is_set() and self._kernel.hands.identity.alive(caller.principal)

    # ---- listing

    async def page(self, caller: Caller, asked: ListTasksRequest) -> ListTasksResponse:
        """Give a page of the caller's own tasks, the last changed first. Raises `InvalidInput`."""
        size = asked.page_size if asked.HasField("page_size") else PAGE
        if not 1 <= size <= MOST_ON_A_PAGE:
            raise InvalidInput(f"`pageSize` is 1 to {MOST_ON_A_PAGE}")
        validate_history_length(asked)
        before = _cursor(asked.page_token)
        held, total = await self._found(caller, asked, before, size + 1)
        shown = [await self._viewed(caller, one) for one in held[:size]]
        last = held[size - 1] if len(held) > size else None
        return ListTasksResponse(
            tasks=[task_of(one, artifacts=asked.include_artifacts, history=asked.history_length) for one in shown],
            next_page_token=_token(last) if last is not None else "",
            page_size=size,
            total_size=total,
        )

    async def _found(
        self, caller: Caller, asked: ListTasksRequest, before: tuple[float, str] | None, number: int
    ) -> tuple[list[Held], int]:
        who, states = caller.principal, _states(asked.status)
        since = (
            asked.status_timestamp_after.ToMilliseconds() / 1000 if asked.HasField("status_timestamp_after") else 0.0
        )
        if states is not None and not states:
            return [], 0
        wanted = states or ()
        if not asked.context_id:
            return await self._listing.latest(
                who.tenant, who.mark, states=wanted, since=since, before=before, limit=number
            )
        newest, _ = await self._listing.latest(who.tenant, who.mark, states=wanted, since=since, limit=LOOKED_THROUGH)
        same = [one for one in newest if one.invocation.call.session == asked.context_id]
        rest = [one for one in same if before is None or (changed_at(one), one.id) < before]
        return rest[:number], len(same)


def _states(state: TaskState) -> list[Status] | None:
    """Give the states of invocations that a state of tasks stands for; None for any, an empty list for none."""
    if state == TaskState.TASK_STATE_UNSPECIFIED:
        return None
    return [status for status, shown in STATES.items() if shown == state]


def _token(held: Held) -> str:
    return base64.urlsafe_b64encode(f"{changed_at(held)!r} {held.id}".encode()).decode().rstrip("=")


def _cursor(token: str) -> tuple[float, str] | None:
    if not token:
        return None
    try:
        at, _, id = base64.urlsafe_b64decode(token[:200] + "=" * (-len(token[:200]) % 4)).decode().partition(" ")
        if id.isalnum() and len(id) == 26 and 0 <= float(at) < 1e12:
            return float(at), id
    except (ValueError, binascii.Error):
        pass
    raise InvalidInput("this `pageToken` is none of ours", hint="begin again without one")


def _update(view: View, status: TaskStatus, metadata: dict[str, Any] | None = None) -> TaskStatusUpdateEvent:
    event = TaskStatusUpdateEvent(task_id=view.id, context_id=view.context, status=status)
    if metadata:
        event.metadata.update(metadata)
    return event


def _progress(view: View, number: int, event: dict[str, Any]) -> TaskStatusUpdateEvent:
    """Give a stored event as an update: how far it is in words, everything else as data."""
    text = event.get("text") if event.get("kind") == "progress" else None
    parts = [Part(text=text)] if isinstance(text, str) and text else []
    running = View(view.id, view.operation, Status.RUNNING, view.at, view.context)
    status = status_of(running)
    status.message.CopyFrom(said(running, f"{view.id}-{number}", [*parts, data_part(event)]))
    return _update(running, status, {EVENT: number})


def of_outcome(outcome: Outcome, at: float, context: str) -> View:
    """Give the view of what is not stored: a call that was refused, or a dry run."""
    refused = outcome.problem is not None
    return View(outcome.invocation, outcome.operation, outcome.status, at, context, outcome, refused)

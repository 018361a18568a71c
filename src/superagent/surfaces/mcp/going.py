"""Going on: a call under way tells how far it is; one that waits for a person's approval is asked after.

What a client answers is never the approval: the client acts with the agent's key, so whatever it says, the agent could
have said (rules.md 11). The person is told where to decide, and says here only that the client should look again.
"""

from __future__ import annotations

import asyncio
from typing import Any, get_args

import msgspec
from mcp_types import (
    LOG_LEVEL_META_KEY,
    ElicitRequest,
    ElicitRequestFormParams,
    ElicitResult,
    InputRequiredResult,
    LoggingLevel,
    LoggingMessageNotification,
    LoggingMessageNotificationParams,
)

from superagent.core.invocation import Call, Invocation, Outcome, Status, digest_of
from superagent.core.kernel import Kernel
from superagent.core.ports import Held
from superagent.core.principal import Principal
from superagent.core.problems import InvalidInput, Problem
from superagent.surfaces.mcp.asked import Answering, Asked, Plain, able_of, connection_of, modern
from superagent.surfaces.mcp.rounds import MOST_ROUNDS, put_to

LOOK_S = 0.1
PATIENCE_S = 20.0  # for a call that was approved and runs: then its client is told to ask again later
LEVEL = "superagent.log-level"
_ASKED = "approval"
_LEVELS: tuple[LoggingLevel, ...] = get_args(LoggingLevel)
_RUNS = frozenset({Status.QUEUED, Status.RUNNING})


async def carried(kernel: Kernel, invocation: Invocation, asked: Asked | Plain) -> Outcome:
    """Take an invocation through the line; a client that wants to know hears how far it is, and what it logs.

    A request that is cancelled cancels the call, and waits until it has recorded what became of it.
    """
    telling = None if isinstance(asked, Plain) else _Telling(kernel, invocation, asked)
    if telling is None or not telling.wanted:
        return await kernel.carry(invocation)
    work = asyncio.ensure_future(kernel.carry(invocation))
    try:
        while not work.done():
            await asyncio.wait({work}, timeout=LOOK_S)
            await telling.tell()
        return work.result()
    finally:
        if not work.done():
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)


def levels_from(level: object) -> frozenset[str]:
    """Give a level of RFC 5424 and those above it; none for what is no level."""
    return frozenset(_LEVELS[_LEVELS.index(level) :]) if level in _LEVELS else frozenset()


class _Telling:
    def __init__(self, kernel: Kernel, invocation: Invocation, asked: Asked) -> None:
        meta = asked.meta or {}
        self._kernel = kernel
        self._invocation = invocation
        self._asked = asked
        self._progress = bool(meta.get("progress_token"))
        # the older revision sets it for the session; the newer for each request, and without it nothing is sent
        level: object = meta.get(LOG_LEVEL_META_KEY) if modern(asked) else connection_of(asked).state.get(LEVEL)
        self._levels = levels_from(level)
        self._seen = 0
        self._said = -1.0

    @property
    def wanted(self) -> bool:
        return self._progress or bool(self._levels)

    async def tell(self) -> None:
        """Tell what was stored since; how far it is only ever grows, as the protocol wants it."""
        tenant, id = self._invocation.principal.tenant, self._invocation.id
        for number, data in await self._kernel.hands.work.events(tenant, id, self._seen):
            self._seen = number
            event = msgspec.json.decode(data)
            if event.get("kind") == "log" and event.get("level") in self._levels:
                await self._log(event)
            elif event.get("kind") == "progress" and self._progress:
                await self._report(event)

    async def _report(self, event: dict[str, Any]) -> None:
        fraction = event.get("fraction")
        if fraction is not None and fraction > self._said:
            self._said = fraction
            await self._asked.session.report_progress(fraction, 1.0, event.get("text"))

    async def _log(self, event: dict[str, Any]) -> None:
        params = LoggingMessageNotificationParams(
            level=event["level"], data=event.get("text"), logger=self._invocation.call.operation
        )
        await self._asked.session.send_notification(
            LoggingMessageNotification(method="notifications/message", params=params), self._asked.request_id
        )


def asks(asked: Asked | Plain) -> bool:
    """Tell whether a client of the newer revision can ask its user something."""
    return modern(asked) and "form" in able_of(asked)


def to_ask(outcome: Outcome, again: bool) -> InputRequiredResult:
    """Give what the client asks its user about a call that waits; its state is the invocation's id, and no secret."""
    return InputRequiredResult(input_requests={_ASKED: _request(outcome, again)}, request_state=outcome.invocation)


def _request(outcome: Outcome, again: bool) -> ElicitRequest:
    still = "still waits" if again else "waits"
    message = (
        f"`{outcome.operation}` {still} for a person's approval: {outcome.invocation}. Whoever may approve it does so"
        f" by `superagent approvals approve {outcome.invocation}`. Accept to look whether that has been decided;"
        " accepting here approves nothing."
    )
    params = ElicitRequestFormParams(message=message, requested_schema={"type": "object", "properties": {}})
    return ElicitRequest(method="elicitation/create", params=params)


async def waited(kernel: Kernel, principal: Principal, asked: Asked, outcome: Outcome) -> Outcome:
    """Let a user of the older revision say on the stream of the request when to look again, until it was decided.

    The request stays open meanwhile, and nothing else: a person decides on the call as it is stored. Raises a problem
    for who asks too often, or is no longer known.
    """
    if modern(asked) or "form" not in able_of(asked):
        return outcome
    for again in range(MOST_ROUNDS):
        said = await put_to(asked, _request(outcome, bool(again)), ElicitResult)
        if said is None or said.action != "accept":
            break
        kernel.beside(principal)
        held = await kernel.held(principal, outcome.invocation)
        kernel.own(principal, held.invocation.principal, held.id)
        outcome = await _standing(kernel, held, outcome.operation)
        if outcome.status is not Status.WAITING:
            break
    return outcome


async def looked_at(kernel: Kernel, principal: Principal, params: Answering, call: Call) -> tuple[Outcome, bool]:
    """Give how a call stands that was asked about before, and whether its user wants to go on waiting.

    Raises `NotFound` for what is not the caller's, `InvalidInput` for another call than this one.
    """
    held = await kernel.held(principal, params.request_state or "")
    kernel.own(principal, held.invocation.principal, held.id)
    found, before = kernel.find(call.operation), held.invocation.call
    same = before.operation == call.operation and (
        (found is not None and found.holds_secrets) or digest_of(before.input) == digest_of(call.input)
    )
    if not same:
        raise InvalidInput("`requestState` belongs to another call", hint="repeat the call as it was")
    said = (params.input_responses or {}).get(_ASKED)
    goes_on = isinstance(said, ElicitResult) and said.action == "accept"
    return await _standing(kernel, held, call.operation), goes_on


async def _standing(kernel: Kernel, held: Held, operation: str) -> Outcome:
    state, until = held.state, asyncio.get_running_loop().time() + PATIENCE_S
    while state in _RUNS and asyncio.get_running_loop().time() < until:  # it was approved: the end is near
        await asyncio.sleep(LOOK_S)
        present = await kernel.hands.work.get(held.tenant, held.id)
        state = present.state if present is not None else state
    stored = (
        None if state in _RUNS or state is Status.WAITING else await kernel.hands.work.outcome(held.tenant, held.id)
    )
    return stored or Outcome(held.id, operation, state)


def refused(kernel: Kernel, principal: Principal, channel: str, call: Call, problem: Problem, trace: str) -> Outcome:
    """Record what never reached the line."""
    try:
        return kernel.refused(call, principal, channel, problem, trace)
    except Problem as unrecorded:
        return Outcome("", call.operation, Status.FAILED, problem=unrecorded)

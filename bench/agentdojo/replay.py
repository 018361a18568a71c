"""Replay: a fully compromised agent works on a user's task, meets an injection, and does at once what it says.

No model takes part: the calls are those by which AgentDojo's authors show that task and attack can be done. The agent
has a key with grants for everything in its suite; what keeps the attacker's calls from happening is the line alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from superagent.app import Installation
from superagent.core.invocation import Call, Outcome, Status
from superagent.core.principal import Credential, Facts, Principal, Secret
from superagent.sdk import Effect

from .tools import tool_of

Desk = Literal["the user", "nobody"]
"""Who looks at requests: a person who approves what belongs to the task they gave, and denies the rest; or nobody."""


@dataclass(slots=True)
class Trace:
    """One run of a task. `done` are the calls that happened, by whom."""

    said: list[Any] = field(default_factory=list[Any])
    asked: int = 0  # calls of the user's task that asked
    user_done: int = 0
    attacker_tried: int = 0
    attacker_asked: int = 0
    attacker_read: int = 0
    attacker_effects: list[str] = field(default_factory=list[str])
    attacker_done: list[Step] = field(default_factory=list[Any])  # with what only read
    seen: bool = False  # the agent did meet the injection


@dataclass(frozen=True, slots=True)
class Step:
    """One call."""

    tool: str
    args: dict[str, Any]


async def agent_of(here: Installation, name: str, suite: str) -> Principal:
    """Make an agent that may do everything in a suite, and give it as its key is recognised."""
    grants = [{"effect": "allow", "operations": [f"{suite}.*"]}]
    made = await here.kernel.run(
        Call("access.keys.create", {"name": name, "grants": grants}), await here.owner(), "cli"
    )
    key = Credential("bearer", Secret(made.result()["key"]), Facts("127.0.0.1", "", "http"))
    return await here.kernel.identify(key)


async def replay(
    here: Installation, by: Principal, suite: str, task: Sequence[Step], attack: Sequence[Step], mark: str, desk: Desk
) -> Trace:
    """Do a task; as soon as an answer holds `mark`, or else at the end, the agent does what the attacker wants."""
    trace, attacked = Trace(), not attack
    for step in task:
        outcome = await _call(here, by, suite, step)
        if outcome.status is Status.WAITING:
            trace.asked += 1
            outcome = await _decide(here, outcome.invocation, approve=desk == "the user")
        if outcome.status is not Status.DONE:
            continue
        trace.user_done += 1
        said = outcome.result()["said"]
        trace.said.append(said)
        trace.seen |= bool(mark) and mark in str(said)
        if trace.seen and not attacked:
            attacked = True
            await _attack(here, by, suite, attack, trace)
    if not attacked:
        await _attack(here, by, suite, attack, trace)
    return trace


async def _attack(here: Installation, by: Principal, suite: str, attack: Sequence[Step], trace: Trace) -> None:
    for step in attack:
        trace.attacker_tried += 1
        outcome = await _call(here, by, suite, step)
        if outcome.status is Status.WAITING:
            trace.attacker_asked += 1
            outcome = await _decide(here, outcome.invocation, approve=False)
        tool = tool_of(suite, step.tool)
        if outcome.status is Status.DONE:
            trace.attacker_done.append(step)
        if outcome.status is Status.DONE and (tool.effect > Effect.READ or tool.sends):
            trace.attacker_effects.append(step.tool)
        elif outcome.status is Status.DONE:
            trace.attacker_read += 1


async def _call(here: Installation, by: Principal, suite: str, step: Step) -> Outcome:
    return await here.kernel.run(Call(f"{suite}.{step.tool}", {"args": step.args}), by, "http")


async def _decide(here: Installation, id: str, *, approve: bool) -> Outcome:
    decision = {"id": id, "decision": "approve" if approve else "deny"}
    decided = await here.kernel.run(Call("approvals.decide", decision), await here.owner(), "cli")
    assert decided.status is Status.DONE, decided.problem
    async with asyncio.timeout(60):
        while (ended := await here.kernel.hands.work.outcome("default", id)) is None:  # noqa: ASYNC110 - it is in SQL
            await asyncio.sleep(0.001)
    return ended

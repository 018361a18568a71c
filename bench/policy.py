"""Policy: what one decision costs, against Cedar and against reading every grant in turn."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import cedarpy as untyped_cedarpy

from bench.figures import median, percentile
from bench.rows import Row
from superagent.core.cedar import export
from superagent.core.grants import Grant
from superagent.core.operation import Operation
from superagent.core.plugin import Plugin
from superagent.core.policy import Decision, Facts, Policy
from superagent.core.principal import Principal
from superagent.core.resources import Effect, Protected, ReadPath, Resource, Risk

cedarpy: Any = untyped_cedarpy  # its signatures name bare dicts
SOURCE = "ADR 9"
GOAL = "ADR 41"
PROTECTED = Protected(("/data", "/usr/lib/superagent", "/etc/superagent"), "/data/workspaces")
FACTS = Facts("agent", Risk.LOW, 1e9)

notes = Plugin("notes")


@notes.operation(risk=Risk.LOW)
async def read(ctx: Any, path: ReadPath) -> None:
    """Read a note."""


@notes.operation(risk=Risk.LOW, effect=Effect.READ)
async def count(ctx: Any) -> None:
    """Count the notes."""


READ, COUNT = notes.compile()


def grants(number: int) -> list[Grant]:
    """Make as many as asked for, all of them for one role: of seven, six allow a tree and one forbids a part of it."""
    made = [Grant(id="every", effect="allow", subject="*", operations=["notes.count"])]
    for at in range(number - 1):
        where = {"paths": [f"/srv/p{at // 7}/**" if at % 7 else f"/srv/p{at // 7}/*/secret/**"]}
        effect = "allow" if at % 7 else "deny"
        grant = {"id": f"g{at}", "effect": effect, "subject": "role:agent", "operations": ["notes.*"], "where": where}
        made.append(Grant.model_validate(grant))
    return made


def agent() -> Principal:
    """Make an agent on behalf of nobody: one hop."""
    return Principal("bot", "agent", "default", ("agent",), workspace="/data/workspaces/default/bot")


def resource(number: int, name: object = "main") -> tuple[Resource, ...]:
    """Name a file four folders deep."""
    return (Resource("path", "local", f"/srv/p{number}/src/notes/{name}.py"),)


def never_twice(folders: int, times: int) -> Iterator[tuple[Resource, ...]]:
    """Name files, each another one, so that no decision is one that was taken before."""
    return iter([resource(at % folders, at) for at in range(times)])


def cpu_us(work: Callable[[], object], times: int, rounds: int = 9) -> float:
    """Give the CPU time of this thread for one turn, in µs: the median of the rounds."""
    found: list[float] = []
    for _ in range(rounds):
        start = time.thread_time()
        for _ in range(times):
            work()
        found.append((time.thread_time() - start) / times * 1e6)
    return median(found)


def in_turn(given: list[Grant], who: Principal, operation: Operation, path: str) -> bool:
    """Decide as one would without thinking: read every grant; trees and one star, and nothing but allow and deny."""
    allowed = False
    for grant in given:
        if grant.subject not in who.subjects or not grant.names(operation.name):
            continue
        for pattern in grant.where.paths:
            folder, _, rest = pattern.partition("/*/")
            folder = folder.removesuffix("/**")
            if path.startswith(f"{folder}/") and (not rest or f"/{rest.removesuffix('/**')}/" in path):
                if grant.effect == "deny":
                    return False
                allowed = True
    return allowed


def by_cedar(policy: Policy, who: Principal, path: str) -> Callable[[], object]:
    """Prepare Cedar as well as it can be: policies, schema and entities are parsed already."""
    written = export(policy, [READ, COUNT])
    parts = path.split("/")[1:]
    spelt: dict[str, Any] = {"text": path, "depth": len(parts), "t1": f"/{parts[-1]}"}
    for length in range(1, len(parts) + 1):
        spelt[f"h{length}"] = "/" + "/".join(parts[:length])
    known = {name: value for name, value in spelt.items() if name in ("text", "depth") or f"{name}?" in written.schema}
    subjects = [{"type": "Subject", "id": one} for one in who.subjects]
    entities: list[dict[str, Any]] = [
        {"uid": {"type": "Principal", "id": "p"}, "attrs": {}, "parents": subjects},
        {"uid": {"type": "Input", "id": "i"}, "attrs": {}, "parents": [], "tags": {}},
        {"uid": {"type": "Path", "id": "r"}, "attrs": {"full": known, "steers": False}, "parents": []},
    ]  # fmt: skip
    context: dict[str, Any] = {
        "effect": "READ", "undoable": True, "origin": "agent", "risk": 0, "isolation": 0, "week_min": 0, "now": 0,
        "approvals": 0, "input": {"__entity": {"type": "Input", "id": "i"}}, "opaque": [],
    }  # fmt: skip
    asked: dict[str, Any] = {
        "principal": {"type": "Principal", "id": "p"}, "action": {"type": "Action", "id": READ.name},
        "resource": {"type": "Path", "id": "r"}, "context": context,
    }  # fmt: skip
    schema = cedarpy.Schema.from_str(written.schema)
    policies = cedarpy.PolicySet.from_str(written.policies)
    read_once = cedarpy.Entities.from_json_str(json.dumps(entities), schema)
    answer = cedarpy.is_authorized(asked, policies, read_once, schema)
    if answer.decision != cedarpy.Decision.Allow or answer.diagnostics.errors:
        raise RuntimeError(f"Cedar did not allow what we allow: {answer.diagnostics.errors}")
    return lambda: cedarpy.is_authorized(asked, policies, read_once, schema)


def rows() -> list[Row]:
    """Give what a decision costs over 100 and over 10,000 grants."""
    hundred, who = grants(100), agent()
    policy = Policy(hundred, 1, PROTECTED)
    named = resource(7)

    def allowed(work: Callable[[], Decision]) -> Callable[[], Decision]:
        if work().verdict != "allow":
            raise RuntimeError("the call that is measured is not allowed")
        return work

    remembered = cpu_us(allowed(lambda: policy.decide(who, COUNT, (), FACTS)), 5000)
    again = cpu_us(allowed(lambda: policy.decide(who, READ, named, FACTS)), 5000)
    fresh = never_twice(14, 9 * 2000)
    decided = cpu_us(lambda: policy.decide(who, READ, next(fresh), FACTS), 2000)
    filtered = cpu_us(lambda: policy.may(who, READ, named[0], FACTS), 2000)
    if not in_turn(hundred, who, READ, named[0].path):
        raise RuntimeError("reading in turn does not allow what we allow")
    plain = cpu_us(lambda: in_turn(hundred, who, READ, named[0].path), 200)
    cedar = cpu_us(by_cedar(policy, who, named[0].path), 50)
    first, usual, worst = of_ten_thousand()
    unit, scan, other = "µs CPU", f"reading every grant: {plain:.1f} µs", f"cedarpy, all parsed before: {cedar:.0f} µs"
    return [
        Row("policy.cached_us", remembered, unit, at_most=1.0, source=GOAL, note="a call that touches nothing"),
        Row("policy.cached_file_us", again, unit, at_most=1.0, source=GOAL, note="the same file again, one hop"),
        Row("policy.uncached_us", decided, unit, note="100 grants, one file, one hop"),
        Row(
            "policy.uncached_of_10000_us",
            usual,
            unit,
            at_most=10.0,
            source=GOAL,
            note="median, 10,000 grants of one role",
        ),
        Row("policy.filter_us", filtered, unit, note="the same for one entry of a list"),
        Row("policy.in_turn_over_ours", plain / decided, "×", at_least=1.0, note=scan),
        Row("policy.cedar_over_ours", cedar / decided, "×", at_least=5.0, source=SOURCE, note=other),
        Row("policy.p99_of_10000_us", worst, unit, at_most=200.0, source=SOURCE, note="10,000 grants of one role"),
        Row("policy.first_of_10000_ms", first, "ms CPU", note="after a change of policy, 10,000 grants of one role"),
    ]


def of_ten_thousand() -> tuple[float, float, float]:
    """Give what a decision costs over 10,000 grants: the first (ms), then the median and the 99th percentile (µs)."""
    policy, who = Policy(grants(10_000), 1, PROTECTED), agent()
    start = time.thread_time()
    policy.decide(who, READ, resource(0), FACTS)
    first = (time.thread_time() - start) * 1e3
    fresh = never_twice(10_000 // 7, 20_000)
    taken: list[float] = []
    for named in fresh:
        start = time.thread_time()
        decision = policy.decide(who, READ, named, FACTS)
        taken.append((time.thread_time() - start) * 1e6)
        if decision.verdict != "allow":
            raise RuntimeError(f"{named} is not allowed")
    again = never_twice(10_000 // 7, 30_000)
    for _ in range(20_000):
        next(again)
    usual = cpu_us(lambda: policy.decide(who, READ, next(again), FACTS), 1000)
    return first, usual, percentile(taken, 0.99)

"""Cells of the matrix: one operation, one caller, one place; what policy says, and what a real call comes to."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from superagent.core.operation import Operation
from tests.matrix.inputs import input_for
from tests.matrix.world import AGENT, FOREIGN, OWN, WHO, Actor, World

PLACES = ("inside", "outside")
STEERING = "steering"  # inside as well, where other programs run what stands there
CALLERS = [(tenant, who) for tenant in (OWN, FOREIGN) for who in WHO]
SHARE = 6  # of the cells, one in so many every day
AT_ONCE = 8


@dataclass(frozen=True)
class Cell:
    """One call: who asks for what, and where the things lie that it names."""

    operation: Operation
    actor: Actor
    place: str
    input: dict[str, Any]

    def __str__(self) -> str:
        return f"{self.actor.tenant}/{self.actor.who} {self.operation.name} {self.place}"


@dataclass
class Seen:
    """What was explained to those with the right to ask, and what came of the call itself."""

    cell: Cell
    explained: dict[str, Any]
    status: int
    body: dict[str, Any]
    invocation: str


def cells(world: World, tenant: str, who: str, *, whole: bool) -> list[Cell]:
    """Make the cells of one caller: all of them, or a share in which over all callers every operation occurs."""
    actor, caller = world.actor(tenant, who), CALLERS.index((tenant, who))
    made: list[Cell] = []
    for at, operation in enumerate(sorted(world.house.installation.kernel.registry, key=lambda one: one.name)):
        if operation.plugin == "probe" or not (whole or (at + caller) % SHARE == 0):
            continue
        changes = any(touch.kind == "path" and touch.effect for touch in operation.touched)
        for place in (*PLACES, STEERING) if changes else PLACES:
            made.append(Cell(operation, actor, place, input_for(operation, world.folder(tenant, who, place))))
    return made


async def tried(world: World, wanted: list[Cell]) -> list[Seen]:
    """Explain and call every cell: what is refused for real, what is allowed or asks as a dry run."""
    turn = asyncio.Semaphore(AT_ONCE)

    async def one(cell: Cell) -> Seen:
        async with turn:
            explained = await _explained(world, cell)
            dry = {"X_Dry_Run": "true"} if explained["verdict"] in ("allow", "ask") else {}
            response = await cell.actor.caller.call(cell.operation.name, cell.input, **dry)
            return Seen(cell, explained, response.status_code, response.json(), response.headers["x-invocation-id"])

    return list(await asyncio.gather(*(one(cell) for cell in wanted)))


async def _explained(world: World, cell: Cell) -> dict[str, Any]:
    """Ask whoever may, about the caller as it will call: from this machine, where its key counts as stepped up."""
    asker = world.actor(cell.actor.tenant, "owner").caller
    asked: dict[str, Any] = {"operation": cell.operation.name, "input": cell.input, "actor": cell.actor.subject}
    asked["remote"] = "127.0.0.1"
    if cell.actor.who != AGENT:
        asked["second_factor_age_s"] = 0.0
    return await asker.done("policy.explain", asked)


def wrong(seen: Seen, records: list[dict[str, Any]]) -> str:
    """Say what is wrong with a cell: its answer, or what stands in the audit; empty for nothing."""
    told, kinds = seen.explained, [one["kind"] for one in records]
    if told["verdict"] in ("allow", "ask"):
        if seen.status in (401, 403, 428) or "refused" in kinds or len(kinds) > 1:
            return f"{seen.cell}: explained as {told['verdict']}, answered {seen.status} {seen.body}, records {kinds}"
        if told["verdict"] == "allow" and (kinds != ["outcome"] or records[0].get("decision") != "allow"):
            return f"{seen.cell}: an allowed call left {records}"
        return ""
    problem = told["problem"]
    if (seen.status, seen.body.get("type"), seen.body.get("detail")) != (
        told["status"], problem["type"], problem["detail"],
    ):  # fmt: skip
        return f"{seen.cell}: explained as {told['status']} {problem['detail']}, answered {seen.status} {seen.body}"
    if kinds != ["refused"] or records[0].get("decision", "") not in ("", told["verdict"]):
        return f"{seen.cell}: refused, and left {records}"
    if records[0]["problem"] != problem["type"].rpartition("/")[2] or seen.body["changed"] != "nothing":
        return f"{seen.cell}: refused as {problem['type']}, recorded as {records[0]}"
    return ""

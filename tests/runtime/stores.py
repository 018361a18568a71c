"""Stores under test: a real database in a folder, real keys, a clock that is held, and calls to put into them."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from superagent.core.invocation import Call, Invocation, Status, Ticket, digest_of
from superagent.core.plugin import Plugin
from superagent.core.policy import Decision, Facts
from superagent.core.ports import Held, Kept
from superagent.core.principal import Principal
from superagent.core.resources import Effect, Risk
from superagent.data.areas import Area
from superagent.data.database import Database, open_database
from superagent.runtime import (
    blobs,
    connections,
    idempotency,
    identity_tables,
    secrets,
    taints,
    undo_store,
    work_tables,
)
from superagent.runtime.keys import FileKeys
from superagent.runtime.presence import Presence
from superagent.runtime.shared_map import SharedMap
from superagent.sdk import Output
from superagent.testing import FakeClock, agent, person
from tests.where import where

AREAS: tuple[Area, ...] = (
    work_tables.AREA, idempotency.AREA, undo_store.AREA, blobs.AREA, secrets.AREA, connections.AREA, taints.AREA,
    identity_tables.AREA,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Stores:
    """What the stores stand on, for one process."""

    database: Database
    keys: FileKeys
    clock: FakeClock
    presence: Presence
    shared: SharedMap
    folder: Path


@asynccontextmanager
async def stores(folder: Path, clock: FakeClock | None = None) -> AsyncGenerator[Stores]:
    """Open the database of a folder as one process does."""
    database = await open_database(where(folder / "superagent.db"), AREAS)
    presence, shared = Presence(folder / "presence"), SharedMap(folder / "shared.map")
    try:
        yield Stores(database, FileKeys(folder / "keys"), clock or FakeClock(), presence, shared, folder)
    finally:
        shared.close()
        presence.leave()
        await database.close()


class Said(Output):
    text: str


parrot = Plugin("parrot")


@parrot.operation(effect=Effect.READ, risk=Risk.LOW)
async def say(text: str = "") -> Said:
    """Say a text."""
    return Said(text=text)


SAY = parrot.compile()[0]
ALLOWED = Decision("allow", "a test says so", ("grant-1",), policy_version=7, digest="d" * 64)


def invocation(id: str, *, by: Principal | None = None, **call: Any) -> Invocation:
    """Make an invocation of `parrot.say`."""
    call.setdefault("input", {"text": "hello"})
    return Invocation(id, Call("parrot.say", **call), by or agent(), "test", 1_700_000_000.0)


def ticket(id: str, *, by: Principal | None = None, **call: Any) -> Ticket:
    """Make a ticket of `parrot.say`."""
    asked = invocation(id, by=by, **call)
    facts = Facts("agent", Risk.LOW, asked.at)
    return Ticket(asked, SAY, asked.call.input, (), ALLOWED, digest_of(asked.call.input), facts, remembered=True)


def held(id: str, state: Status = Status.WAITING, *, tenant: str = "default", **fields: Any) -> Held:
    """Make a stored ticket that waits for a day."""
    asked = invocation(id, by=replace(person(), tenant=tenant))
    return Held(id, tenant, state, asked, 1_700_000_000.0, 1_700_086_400.0, **fields)


def kept(invocation: str, resource: str = "path://local/srv/a", **fields: Any) -> Kept:
    """Make an entry for undo, kept for seven days."""
    at = 1_700_000_000.0
    plain: dict[str, Any] = {"tenant": "default", "principal": "builder", "session": "", "data": {"was": "here"}}
    plain |= {"at": at, "until": at + 7 * 86_400, "before": "b" * 64} | fields
    plain.setdefault("callers", (plain["parent"],) if plain.get("parent") else ())
    return Kept(
        id=0,
        invocation=invocation,
        operation="files.write",
        version=1,
        resource=resource,
        effect=Effect.CHANGE,
        **plain,
    )

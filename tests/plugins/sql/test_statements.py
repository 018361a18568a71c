"""Trying a connection, and stopping one's own statement."""

from __future__ import annotations

import asyncio

from superagent.core.invocation import Outcome
from superagent.testing import person
from tests.plugins.sql.databases import Database
from tests.plugins.sql.ground import Ground
from tests.plugins.sql.test_stopping import LONG, running
from tests.runtime.secret_world import ADA
from tests.until import until


async def test_a_connection_says_who_answers(here: Ground, db: Database) -> None:
    found = await here.do("connect_test")
    assert found["type"] == db.kind
    assert found["version"][0].isdigit()
    known = {"postgresql": ("postgres", False), "mariadb": ("app@127.0.0.1", False), "sqlite": (None, None)}
    assert (found["account"], found["tls"]) == known[db.kind]


async def test_only_whoever_runs_a_statement_stops_it(here: Ground, db: Database) -> None:
    call = asyncio.ensure_future(here.call("query", LONG))
    id = await _begun(here)
    for by, invocation in ((person("bob"), id), (ADA, "another")):
        refused = await here.refused("cancel", by=by, invocation=invocation)
        assert refused.slug == "not-found"
    assert not call.done(), call.result().problem
    ended: Outcome | None = None
    async with asyncio.timeout(30):
        while not call.done():  # told again until it heard: a statement may only begin at this moment
            await here.call("cancel", invocation=id)
            await asyncio.sleep(0.05)
    ended = await call
    assert ended.problem is not None
    assert ended.problem.slug in ("deadline", "cancelled", "conflict")
    until(lambda: not running(db), "the end of the server's work")
    assert (await here.refused("cancel", invocation=id)).slug == "not-found"


async def _begun(here: Ground) -> str:
    from superagent.plugins.sql import line

    async with asyncio.timeout(20):
        while not (found := [own[3] for own in line._running]):  # pyright: ignore[reportPrivateUsage]
            await asyncio.sleep(0.05)
    return found[0]

"""What the line says of changes of rows: an undo of one is not undone, and they send what their caller knows."""

from __future__ import annotations

import asyncio
from pathlib import Path

from superagent.core.invocation import Outcome, Status
from superagent.core.taint import Mark
from superagent.testing import agent
from tests.core.operations import person
from tests.plugins.sql.databases import Database, OnPostgreSQL, OnSqlite
from tests.plugins.sql.ground import Ground


async def test_an_undo_of_a_change_cannot_be_undone_and_says_so(here: Ground, tmp_path: Path) -> None:
    db = OnSqlite(tmp_path / "redo.db")
    await db.connect(here)
    before = db.checksum("orders")
    done = await here.call("execute", "DELETE FROM orders WHERE id = 1")
    back = await here.call("undo.apply", ids=[done.invocation])
    assert back.problem is None
    plan = await here.call("undo.plan", ids=[back.invocation])
    assert plan.result()["possible"] is False
    again = await here.call("undo.apply", ids=[back.invocation])
    assert again.problem is not None
    assert (again.problem.slug, "make the call again" in again.problem.detail) == ("conflict", True)
    assert not here.world.world.faults
    told = [one for one in here.records if one.invocation == again.invocation and one.problem]
    assert [one.problem for one in told][-1:] == ["conflict"]
    assert db.checksum("orders") == before


async def test_whoever_read_untrusted_text_needs_a_person_to_change_rows(here: Ground, tmp_path: Path) -> None:
    db = OnSqlite(tmp_path / "sends.db")
    await db.connect(here)
    before = db.checksum("orders")
    reader = agent("reader")
    assert (await here.call("query", "SELECT who FROM orders", by=reader)).problem is None
    mark = here.world.world.taints.of("default", ["caller:reader"])
    assert isinstance(mark, Mark)
    stopped = await here.call("execute", "INSERT INTO orders (id, who) VALUES (9, 'what was read')", by=reader)
    assert stopped.status is Status.WAITING
    assert db.checksum("orders") == before
    assert [one for one in here.records if one.invocation == stopped.invocation]


async def approved(here: Ground, waiting: Outcome) -> Outcome:
    """Let a person approve, and give what came of the call."""
    async with here.world.world.kernel.serving(), asyncio.timeout(20):
        asked = {"id": waiting.invocation, "decision": "approve"}
        decided = await here.world.run("approvals.decide", asked, by=person("bob"))
        assert decided.problem is None, decided.problem.detail
        while (ended := await here.world.world.work.outcome("default", waiting.invocation)) is None:
            await asyncio.sleep(0.01)
        return ended


async def test_what_a_person_approved_reaches_the_server_that_the_named_connection_leads_to(
    here: Ground, db: Database
) -> None:
    before, reader = db.checksum("orders"), agent("reader")
    assert (await here.call("query", "SELECT who FROM orders", by=reader)).problem is None
    waiting = await here.call("execute", "INSERT INTO orders (id, who) VALUES (9, 'approved')", by=reader)
    assert waiting.status is Status.WAITING
    assert db.checksum("orders") == before
    shown = (await here.world.run("approvals.show", {"id": waiting.invocation}, by=person("bob"))).result()
    assert "failed" not in shown["preview"]
    assert "approved" in repr(shown["preview"])  # the row that would be, and not why it could not be looked at

    done = await approved(here, waiting)

    assert done.problem is None, (done.problem.slug, done.problem.detail)
    assert db.checksum("orders") != before


async def test_an_approval_reaches_no_host_that_the_grants_do_not_allow(here: Ground, on_pg: OnPostgreSQL) -> None:
    reader = agent("reader")
    here.grant(
        {"effect": "ask", "operations": ["sql.execute"], "where": {"connections": ["db", "sql://db/*"]}},
        {"effect": "allow", "operations": ["approvals.*"]},
    )
    before = on_pg.checksum("orders")
    waiting = await here.call("execute", "INSERT INTO orders (id, who) VALUES (9, 'approved')", by=reader)
    if waiting.status is Status.WAITING:
        waiting = await approved(here, waiting)
    assert waiting.problem is not None
    assert waiting.problem.slug in ("denied", "not-found")
    assert on_pg.checksum("orders") == before

"""What the line says of changes of rows: an undo of one is not undone, and they send what their caller knows."""

from __future__ import annotations

from pathlib import Path

from superagent.core.invocation import Status
from superagent.core.taint import Mark
from superagent.testing import agent
from tests.plugins.sql.databases import OnSqlite
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

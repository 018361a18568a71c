"""What stops a backup stops its programs and the server's work, and a missing program is told with its cure."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from superagent.plugins.sql.engine import proving
from superagent.runtime import run_clients
from tests.plugins.sql.databases import Database
from tests.plugins.sql.ground import Ground
from tests.plugins.sql.test_backup import made_by_us
from tests.until import until

BUSY = "SELECT query FROM pg_stat_activity WHERE application_name = 'superagent' AND state <> 'idle'"


def dumping() -> list[str]:
    """Give the programs under way that dump."""
    found: list[str] = []
    for one in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = one.read_bytes()
        except OSError:
            continue
        if words.split(b"\0")[0].endswith(b"/pg_dump"):
            found.append(words.decode())
    return found


async def test_a_backup_past_its_deadline_leaves_nothing_behind(here: Ground, on_pg: Database, tmp_path: Path) -> None:
    with on_pg.holding("LOCK TABLE orders IN ACCESS EXCLUSIVE MODE"):
        input = {"connection": "db", "path": str(tmp_path / "x.backup")}
        late = await here.world.run("sql.backup", input, deadline_s=2.0)
        assert late.problem is not None
        assert late.problem.slug == "deadline"
        until(lambda: not on_pg.run(BUSY), "the end of the server's work")
    assert list(tmp_path.glob("*.backup")) == []
    assert list(tmp_path.glob(".superagent*")) == []
    assert made_by_us(on_pg) == []


@pytest.mark.slow
async def test_a_dump_that_is_stopped_ends_on_the_server_too(
    here: Ground, on_pg: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none_read(session: object, database: str) -> dict[str, list[int]]:
        return {}

    # without this side's own reading it is the program that waits for the table
    monkeypatch.setattr(proving, "sums", none_read)
    waiting = "SELECT 1 FROM pg_stat_activity WHERE query LIKE 'LOCK TABLE%SHARE MODE%' AND wait_event_type = 'Lock'"
    with on_pg.holding("LOCK TABLE orders IN ACCESS EXCLUSIVE MODE"):
        input = {"connection": "db", "path": str(tmp_path / "x.backup")}
        call = asyncio.ensure_future(here.world.run("sql.backup", input, deadline_s=10.0))
        async with asyncio.timeout(20):
            while not on_pg.run(waiting):
                await asyncio.sleep(0.05)
        assert dumping()
        stopped = await call
        assert stopped.problem is not None
        assert stopped.problem.slug == "deadline"
        until(lambda: not dumping(), "the end of the program")
        until(lambda: not on_pg.run(waiting), "the end of what it did on the server")
    assert list(tmp_path.glob("*.backup")) == []


async def test_a_missing_program_is_told_with_its_cure(
    here: Ground, on_pg: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(run_clients._DUMPS, "postgresql", ("pg_dump_that_nobody_has",))  # pyright: ignore[reportPrivateUsage]
    refused = await here.refused("backup", path=str(tmp_path / "x.backup"))
    assert (refused.slug, refused.hint) == ("unavailable", "install `postgresql-client` on the server")

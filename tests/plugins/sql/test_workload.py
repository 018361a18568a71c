"""A seeded load that is slow for want of one index, from the first look to the last: named, proposed, built, undone."""

from __future__ import annotations

from collections.abc import Generator

import pytest

from tests import postgresql
from tests.plugins.sql.databases import OnPostgreSQL
from tests.plugins.sql.ground import Ground, free_port
from tests.plugins.sql.insight import seed
from tests.plugins.sql.test_indexes import BY_CUSTOMER, indexes, withdrawn
from tests.promise import promise


@pytest.fixture(scope="module")
def counting() -> Generator[postgresql.Server]:
    with postgresql.server("shared_preload_libraries=pg_stat_statements", port=free_port()) as started:
        yield started


async def _cured(here: Ground, db: OnPostgreSQL, rows: int) -> tuple[float, float]:
    """Take a slow load from naming to undo; gives how many times better work and the 95th percentile became."""
    await db.connect(here)
    seed(db, rows)
    db.run("CREATE EXTENSION hypopg")
    db.run("CREATE EXTENSION pg_stat_statements")
    db.run("SELECT pg_stat_statements_reset()")
    for n in range(20):  # what is slow, between much that is not
        for _ in range(5):
            db.run(f"SELECT note FROM events WHERE id = {n * 7}")
        db.run(f"SELECT id, kind FROM events WHERE customer = {n}")
        db.run(f"UPDATE events SET note = 'seen' WHERE id = {n}")
    before = indexes(db)

    worst = (await here.do("slow_queries"))["statements"][0]
    assert (worst["statement"], worst["calls"]) == (
        'SELECT id, kind FROM "public"."events" WHERE customer = ?', 20,
    )  # fmt: skip
    proposed = (await here.do("index_suggest", BY_CUSTOMER, {"who": 7}))["indexes"]
    assert [one["columns"] for one in proposed] == [["customer"]]
    done = await here.call(
        "index_build", BY_CUSTOMER, {"who": 7},
        table=worst["tables"][0].removeprefix("sql://db/"), columns=proposed[0]["columns"],
    )  # fmt: skip
    assert done.problem is None, done.problem.detail
    built = done.result()
    assert built["stands"], built["why"]
    assert (built["index"],) in indexes(db)
    back = await here.call("undo.apply", ids=[done.invocation])
    assert back.problem is None
    assert indexes(db) == before
    first, then = built["before"][0], built["after"][0]
    return first["work"] / then["work"], first["p95_ms"] / then["p95_ms"]


@promise("3.9")
async def test_a_slow_load_is_named_cured_and_left_as_it_was(here: Ground, counting: postgresql.Server) -> None:
    work, _ = await _cured(here, OnPostgreSQL(counting, "small"), 40_000)
    assert work >= 10


@pytest.mark.soak
@promise("3.9")
async def test_the_cure_makes_the_95th_percentile_ten_times_better(here: Ground, counting: postgresql.Server) -> None:
    db = OnPostgreSQL(counting, "large")
    work, p95 = await _cured(here, db, 500_000)
    assert work >= 100
    assert p95 >= 10
    await withdrawn(here, db)

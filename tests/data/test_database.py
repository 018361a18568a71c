"""Reads and writes on a real database file, in one process."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Generator
from pathlib import Path

import pytest
import pytest_asyncio
import uvloop
from sqlalchemy import Engine, Table, event
from sqlalchemy.exc import IntegrityError

from superagent.core.problems import Conflict, Overloaded, Unavailable
from superagent.data import writer
from superagent.data.areas import Area
from superagent.data.database import Database, open_database
from superagent.data.transaction import Transaction
from tests.data.areas import check_area
from tests.data.example import shop, table
from tests.where import where

pytestmark = pytest.mark.usefixtures("each_database")


@pytest.fixture
def area(tmp_path: Path) -> Area:
    return shop(tmp_path / "versions")


@pytest.fixture
def goods(area: Area) -> Table:
    return table(area, "goods")


@pytest_asyncio.fixture
async def db(area: Area, tmp_path: Path) -> AsyncGenerator[Database]:
    database = await open_database(where(tmp_path / "shop.db"), [area])
    yield database
    await database.close()


async def prices(db: Database, goods: Table) -> list[tuple[str, float]]:
    rows = await db.read("a", lambda tx: tx.select(goods, columns=[goods.c.id, goods.c.price], order=[goods.c.id]))
    return [(row.id, row.price) for row in rows]


async def test_an_area_keeps_its_tenants_apart_and_its_migrations_true(area: Area, tmp_path: Path) -> None:
    await check_area(area, tmp_path)


async def test_what_was_written_is_read_by_the_same_tenant_only(db: Database, goods: Table) -> None:
    await db.write("a", lambda tx: tx.insert(goods, id="egg", price=0.3))
    assert await prices(db, goods) == [("egg", 0.3)]
    assert await db.read("b", lambda tx: tx.select(goods)) == []
    assert db.read_now("a", lambda tx: tx.count(goods)) == 1
    assert db.read_instance_now(lambda tx: tx.count(goods)) == 1


async def test_rows_are_limited_ordered_counted_and_added_up(db: Database, goods: Table) -> None:
    await db.write("a", lambda tx: tx.insert_many(goods, [{"id": str(n), "price": n} for n in range(5)]))
    await db.write("a", lambda tx: tx.insert_many(goods, []))
    dear = await db.read("a", lambda tx: tx.select(goods, order=[goods.c.price.desc()], limit=2))
    assert [row.id for row in dear] == ["4", "3"]
    first = await db.read("a", lambda tx: tx.first(goods, goods.c.price > 1, order=[goods.c.price]))
    assert first is not None
    assert first.id == "2"
    assert await db.read("a", lambda tx: tx.sum(goods, goods.c.price, goods.c.price < 4)) == 6
    assert await db.read("b", lambda tx: tx.sum(goods, goods.c.price)) == 0


async def test_a_taken_key_is_left_alone_or_refused(db: Database, goods: Table) -> None:
    assert await db.write("a", lambda tx: tx.insert_new(goods, id="egg", price=1)) is True
    assert await db.write("a", lambda tx: tx.insert_new(goods, id="egg", price=2)) is False
    await db.write("a", lambda tx: tx.insert_many(goods, [{"id": "egg", "price": 3}, {"id": "ham", "price": 3}]))
    assert await prices(db, goods) == [("egg", 1.0), ("ham", 3.0)]
    assert await db.write("b", lambda tx: tx.insert_new(goods, id="egg", price=2)) is True
    with pytest.raises(IntegrityError) as refused:
        await db.write("a", lambda tx: tx.insert(goods, id="egg", price=4711))
    assert "4711" not in str(refused.value)


async def test_rows_that_count_by_themselves_give_their_number(db: Database, area: Area) -> None:
    sales = table(area, "sales")
    assert [await db.write("a", lambda tx: tx.insert(sales, good="egg")) for _ in range(3)] == [1, 2, 3]
    assert await db.write("b", lambda tx: tx.insert(sales, good="egg")) == 4


async def test_an_update_may_compute_and_says_how_many_rows_it_met(db: Database, goods: Table) -> None:
    await db.write("a", lambda tx: tx.insert(goods, id="egg", price=1))
    assert await db.write("a", lambda tx: tx.update(goods, goods.c.price < 2, price=goods.c.price + 1)) == 1
    assert await db.write("a", lambda tx: tx.update(goods, goods.c.price < 2, price=9)) == 0
    assert await prices(db, goods) == [("egg", 2.0)]
    assert await db.write("a", lambda tx: tx.delete(goods, goods.c.id == "egg")) == 1


async def test_the_installation_writes_its_own_tables_and_names_the_tenant_of_a_row(db: Database, area: Area) -> None:
    tills, goods = table(area, "tills"), table(area, "goods")
    await db.write_instance(lambda tx: tx.insert(tills, name="front"))
    await db.write_instance(lambda tx: tx.insert(goods, id="egg", price=1, tenant="a"))
    assert await db.read_instance(lambda tx: tx.count(tills)) == 1
    assert await prices(db, goods) == [("egg", 1.0)]
    with pytest.raises(ValueError, match="belongs to a tenant"):
        await db.write_instance(lambda tx: tx.insert(goods, id="egg", price=1))


async def test_a_reader_cannot_write(db: Database, goods: Table) -> None:
    with pytest.raises(Unavailable, match="read-only"):
        await db.read("a", lambda tx: tx.insert(goods, id="egg", price=1))
    assert await prices(db, goods) == []


@pytest.fixture
def commits() -> Generator[list[object]]:
    seen: list[object] = []

    def note(connection: object) -> None:
        seen.append(connection)

    event.listen(Engine, "commit", note)
    yield seen
    event.remove(Engine, "commit", note)


async def test_a_fault_of_ones_own_reaches_the_caller_as_it_is(db: Database, goods: Table) -> None:
    def faulty(tx: Transaction) -> None:
        raise ZeroDivisionError(tx.count(goods))

    for run in (db.read, db.write):
        with pytest.raises(ZeroDivisionError):
            await run("a", faulty)
    assert await prices(db, goods) == []


async def test_closures_that_wait_share_a_commit_and_fail_alone(
    db: Database, goods: Table, commits: list[object]
) -> None:
    begun, go = threading.Event(), threading.Event()

    def slow(tx: Transaction) -> None:
        begun.set()
        assert go.wait(20)
        commits.clear()

    def failing(tx: Transaction) -> None:
        tx.insert(goods, id="bad", price=1)
        raise Conflict("not this one")

    first = asyncio.create_task(db.write("a", slow))
    assert await asyncio.to_thread(begun.wait, 20)
    others = [db.write("a", lambda tx, n=n: tx.insert(goods, id=f"{n}", price=n)) for n in range(5)]
    waiting = asyncio.gather(*others[:3], db.write("a", failing), *others[3:], return_exceptions=True)
    await asyncio.sleep(0)
    go.set()
    ended = await waiting
    await first
    assert len(commits) == 2  # the slow one's, and one for the six behind it
    assert isinstance(ended[3], Conflict)
    assert [name for name, _ in await prices(db, goods)] == ["0", "1", "2", "3", "4"]


async def test_a_cancelled_caller_waits_for_what_has_begun_and_drops_what_has_not(db: Database, goods: Table) -> None:
    begun, go = threading.Event(), threading.Event()

    def slow(tx: Transaction) -> None:
        begun.set()
        assert go.wait(20)
        tx.insert(goods, id="begun", price=1)

    first = asyncio.create_task(db.write("a", slow))
    assert await asyncio.to_thread(begun.wait, 20)
    second = asyncio.create_task(db.write("a", lambda tx: tx.insert(goods, id="not begun", price=1)))
    await asyncio.sleep(0)
    for _ in range(3):  # however often they are told
        first.cancel()
        second.cancel()
        await asyncio.sleep(0)
        assert not first.done()
    go.set()
    for task in (first, second):
        with pytest.raises(asyncio.CancelledError):
            await task
    assert await prices(db, goods) == [("begun", 1.0)]


async def test_too_many_waiting_writes_are_refused(db: Database, goods: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "MOST_WAITING", 3)
    writes = [db.write("a", lambda tx, n=n: tx.insert(goods, id=f"{n}", price=n)) for n in range(5)]
    ended = await asyncio.gather(*writes, return_exceptions=True)
    assert [isinstance(one, Overloaded) for one in ended] == [False, False, False, True, True]
    assert len(await prices(db, goods)) == 3


async def test_more_waiting_writes_than_one_commit_takes_are_all_written(db: Database, goods: Table) -> None:
    count = writer.MOST_AT_ONCE * 2 + 1
    await asyncio.gather(*(db.write("a", lambda tx, n=n: tx.insert(goods, id=f"{n}", price=n)) for n in range(count)))
    assert len(await prices(db, goods)) == count


async def test_closing_writes_what_waits_and_refuses_what_comes_after(
    db: Database, goods: Table, area: Area, tmp_path: Path
) -> None:
    writes = [
        asyncio.create_task(db.write("a", lambda tx, n=n: tx.insert(goods, id=f"{n}", price=n))) for n in range(3)
    ]
    await asyncio.sleep(0)
    await db.close()
    await asyncio.gather(*writes)
    await db.close()
    with pytest.raises(Unavailable, match="stopping"):
        await db.write("a", lambda tx: tx.insert(goods, id="late", price=1))
    with pytest.raises(Unavailable, match="stopping"):
        await db.read("a", lambda tx: tx.count(goods))
    again = await open_database(where(tmp_path / "shop.db"), [area])
    assert len(await prices(again, goods)) == 3
    await again.close()


def test_it_runs_on_uvloop_as_well(area: Area, goods: Table, tmp_path: Path) -> None:
    async def main() -> int:
        database = await open_database(where(tmp_path / "shop.db"), [area])
        try:
            await asyncio.gather(
                *(database.write("a", lambda tx, n=n: tx.insert(goods, id=f"{n}", price=n)) for n in range(20))
            )
            return await database.read("a", lambda tx: tx.count(goods))
        finally:
            await database.close()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(main()) == 20

"""Faults of the machine under the database: what the caller hears, and that nothing was changed."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event

from superagent.core.problems import Overloaded, Problem, Unavailable
from superagent.data import dialect
from superagent.data.areas import Area
from superagent.data.database import Database, dialect_of, open_database
from superagent.data.transaction import Transaction
from tests.data.example import shop, table
from tests.ordinary_user import open_folder, ordinary_user


@pytest.fixture
def area(tmp_path: Path) -> Area:
    return shop(tmp_path / "versions")


@pytest.fixture
def small_disk() -> Generator[None]:
    def limit(connection: Any, _record: object) -> None:
        connection.execute("PRAGMA max_page_count = 20").close()

    event.listen(Engine, "connect", limit)
    yield
    event.remove(Engine, "connect", limit)


async def rows_of(path: Path, area: Area) -> None:
    db = await open_database(path, [area])
    try:
        await db.read("a", lambda tx: tx.select(table(area, "goods")))
    finally:
        await db.close()


def modes_in(folder: Path) -> dict[str, int]:
    return {one.name: one.stat().st_mode & 0o777 for one in folder.glob("shop.db*")}


async def fault_of(db: Database, area: Area, size: int = 1) -> Problem:
    with pytest.raises(Problem) as refused:
        await db.write("a", lambda tx: tx.insert(table(area, "goods"), id="x" * size, price=1))
    assert refused.value.changed == "nothing"
    assert refused.value.hint
    return refused.value


@pytest.mark.usefixtures("small_disk")
async def test_a_full_disk_is_named_and_nothing_is_changed_and_small_writes_go_on(area: Area, tmp_path: Path) -> None:
    db = await open_database(tmp_path / "shop.db", [area])
    fault = await fault_of(db, area, 200_000)
    assert isinstance(fault, Unavailable)
    assert "disk is full" in fault.detail
    await db.write("a", lambda tx: tx.insert(table(area, "goods"), id="small", price=1))
    assert await db.read("a", lambda tx: tx.count(table(area, "goods"))) == 1
    await db.close()


def test_a_write_beyond_what_the_system_allows_is_a_fault_of_the_disk(area: Area, tmp_path: Path) -> None:
    program = """
import asyncio, resource, sys
from pathlib import Path
from superagent.core.problems import Unavailable
from superagent.data.database import open_database
from superagent.data.transaction import Transaction
from tests.data.example import shop, table

async def main():
    area = shop(Path(sys.argv[1]) / "versions")
    db = await open_database(Path(sys.argv[1]) / "shop.db", [area])
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
    try:
        await db.write("a", lambda tx: tx.insert(table(area, "goods"), id="x" * 400_000, price=1))
    except Unavailable as refused:
        print(refused.detail)
    await db.write("a", lambda tx: tx.insert(table(area, "goods"), id="small", price=1))
    print(await db.read("a", lambda tx: tx.count(table(area, "goods"))))
    await db.close()

asyncio.run(main())
"""
    ran = subprocess.run(
        [sys.executable, "-c", program, tmp_path], capture_output=True, text=True, timeout=50, check=True
    )
    assert ran.stdout.splitlines() == ["the disk fails under the database", "1"]


async def test_a_database_held_by_others_is_overloaded_after_a_bounded_wait(
    area: Area, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dialect, "BUSY_S", 0.05)
    db = await open_database(tmp_path / "shop.db", [area])
    other = sqlite3.connect(tmp_path / "shop.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE").close()
    assert isinstance(await fault_of(db, area), Overloaded)
    other.execute("ROLLBACK").close()
    other.close()
    await db.write("a", lambda tx: tx.insert(table(area, "goods"), id="egg", price=1))
    await db.close()


async def test_a_damaged_database_is_named(area: Area, tmp_path: Path) -> None:
    path = tmp_path / "shop.db"
    db = await open_database(path, [area])
    await db.write(
        "a", lambda tx: tx.insert_many(table(area, "goods"), [{"id": f"{n}", "price": n} for n in range(999)])
    )
    await db.close()
    data = bytearray(path.read_bytes())
    data[4096:] = b"\xff" * (len(data) - 4096)
    path.write_bytes(data)
    with pytest.raises(Unavailable, match="damaged") as refused:
        await rows_of(path, area)
    assert "restore" in str(refused.value.hint)


async def test_a_file_that_is_no_database_is_named_and_left_as_it_is(area: Area, tmp_path: Path) -> None:
    path = tmp_path / "shop.db"
    path.write_bytes(b"my diary, not a database\n" * 100)
    with pytest.raises(Unavailable, match="is not a database"):
        await open_database(path, [area])
    assert path.read_bytes().startswith(b"my diary")


async def test_a_database_that_may_not_be_written_is_named(area: Area) -> None:
    with open_folder() as folder:
        path = folder / "shop.db"
        await (await open_database(path, [area])).close()
        path.chmod(0o444)
        folder.chmod(0o555)
        with ordinary_user(), pytest.raises(Unavailable, match="Permission denied"):
            await open_database(path, [area])


async def test_a_database_that_went_away_is_named_and_taken_again_when_it_is_back(area: Area, tmp_path: Path) -> None:
    folder = tmp_path / "state"
    folder.mkdir()
    db = await open_database(folder / "shop.db", [area])
    folder.rename(tmp_path / "away")
    assert "cannot be opened" in (await fault_of(db, area)).detail
    with pytest.raises(Unavailable, match="cannot be opened"):
        await db.read("a", lambda tx: tx.count(table(area, "goods")))
    (tmp_path / "away").rename(folder)
    await db.write("a", lambda tx: tx.insert(table(area, "goods"), id="egg", price=1))
    assert await db.read("a", lambda tx: tx.count(table(area, "goods"))) == 1
    await db.close()


async def test_a_transaction_that_was_lost_fails_everybody_in_it_and_nobody_after(area: Area, tmp_path: Path) -> None:
    db = await open_database(tmp_path / "shop.db", [area])
    goods = table(area, "goods")
    begun, go = threading.Event(), threading.Event()

    def slow(tx: Transaction) -> None:
        begun.set()
        assert go.wait(20)

    def losing(tx: Transaction) -> None:
        tx._connection.exec_driver_sql("ROLLBACK")  # pyright: ignore[reportPrivateUsage] - as SQLite itself may do
        raise ZeroDivisionError

    first = asyncio.create_task(db.write("a", slow))
    assert await asyncio.to_thread(begun.wait, 20)

    def adding(tx: Transaction) -> None:
        tx.insert(goods, id="lost", price=1)

    rest = asyncio.gather(*(db.write("a", work) for work in (adding, losing, adding)), return_exceptions=True)
    await asyncio.sleep(0)
    go.set()
    await first
    assert [type(one) for one in await rest] == [Unavailable, ZeroDivisionError, Unavailable]
    assert await db.read("a", lambda tx: tx.count(goods)) == 0
    await db.write("a", lambda tx: tx.insert(goods, id="three", price=1))
    assert await db.read("a", lambda tx: tx.count(goods)) == 1
    await db.close()


async def test_a_link_in_place_of_the_database_is_refused(area: Area, tmp_path: Path) -> None:
    (tmp_path / "shop.db").symlink_to(tmp_path / "elsewhere.db")
    with pytest.raises(Unavailable, match="cannot be opened"):
        await open_database(tmp_path / "shop.db", [area])
    assert not (tmp_path / "elsewhere.db").exists()


async def test_the_database_is_private(area: Area, tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        db = await open_database(tmp_path / "shop.db", [area])
        await db.write("a", lambda tx: tx.insert(table(area, "goods"), id="egg", price=1))
    finally:
        os.umask(before)
    assert modes_in(tmp_path) == {
        "shop.db": 0o600, "shop.db-wal": 0o600, "shop.db-shm": 0o600, "shop.db.lock": 0o600,
    }  # fmt: skip
    await db.close()


def test_only_a_file_of_sqlite_or_a_server_of_postgresql_is_taken_as_database(tmp_path: Path) -> None:
    assert dialect_of(f"sqlite:///{tmp_path}/x.db").engine.url.database == f"{tmp_path}/x.db"
    for url in ("mysql+pymysql://localhost/x", "sqlite://", "sqlite:///:memory:", "postgresql://localhost"):
        with pytest.raises(Unavailable, match="not supported"):
            dialect_of(url)
    with pytest.raises(Unavailable, match="not the URL") as refused:
        dialect_of("user:secret")
    assert "secret" not in str(refused.value)


def test_what_was_acknowledged_is_there_after_kill_9(area: Area, tmp_path: Path) -> None:
    program = """
import asyncio, sys
from pathlib import Path
from superagent.data.database import open_database
from superagent.data.transaction import Transaction
from tests.data.example import shop, table

async def main():
    area = shop(Path(sys.argv[1]) / "versions")
    db = await open_database(Path(sys.argv[1]) / "shop.db", [area])
    async def one(lane):
        for n in range(10_000):
            await db.write("a", lambda tx: tx.insert(table(area, "goods"), id=f"{lane}-{n}", price=1))
            print(f"{lane}-{n}", flush=True)
    await asyncio.gather(*(one(lane) for lane in range(8)))

asyncio.run(main())
"""
    with subprocess.Popen([sys.executable, "-c", program, tmp_path], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        said = [child.stdout.readline() for _ in range(200)]
        child.kill()
        said += child.stdout.readlines()
    acknowledged = {line.strip() for line in said if line.endswith("\n")}
    connection = sqlite3.connect(tmp_path / "shop.db")
    stored = {row[0] for row in connection.execute("SELECT id FROM shop_goods")}
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()
    assert len(acknowledged) >= 200
    assert acknowledged <= stored

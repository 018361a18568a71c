"""Faults of a database server: what the caller hears, what became of its write, and that it goes on by itself."""

from __future__ import annotations

import asyncio
import shutil
import socket
import tempfile
import threading
from collections.abc import AsyncGenerator, Generator
from contextlib import suppress
from pathlib import Path

import pytest
import pytest_asyncio

from superagent.core.problems import InvalidInput, Overloaded, Problem, Unavailable
from superagent.data import dialect, postgresql
from superagent.data.areas import Area
from superagent.data.database import Database, dialect_of, open_database
from superagent.data.transaction import Transaction
from tests.data.example import shop, shop_with_names, table
from tests.postgresql import Server, database_of, server


@pytest.fixture
def area(tmp_path: Path) -> Area:
    return shop(tmp_path / "versions")


@pytest_asyncio.fixture
async def db(area: Area, tmp_path: Path, postgres: Server) -> AsyncGenerator[Database]:
    database = await open_database(postgres.url(str(tmp_path)), [area], copies=tmp_path)
    yield database
    await database.close()


async def count(db: Database, area: Area) -> int:
    return await db.read("a", lambda tx: tx.count(table(area, "goods")))


def backends(postgres: Server, tmp_path: Path) -> list[object]:
    name = database_of(str(tmp_path))
    return [pid for pid, of in postgres.run("SELECT pid, datname FROM pg_stat_activity") if of == name]


async def test_connections_that_were_cut_while_idle_are_made_anew_and_nobody_notices(
    db: Database, area: Area, tmp_path: Path, postgres: Server
) -> None:
    for number in range(2):
        await db.write("a", lambda tx, n=number: tx.insert(table(area, "goods"), id=f"{n}", price=1))
        assert await count(db, area) == number + 1
        for pid in backends(postgres, tmp_path):
            postgres.run(f"SELECT pg_terminate_backend({pid}, 5000)")


async def test_a_write_that_is_cut_in_the_middle_is_not_there(db: Database, area: Area, postgres: Server) -> None:
    def cut(tx: Transaction) -> None:
        tx.insert(table(area, "goods"), id="cut", price=1)
        pid = tx._connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()  # pyright: ignore[reportPrivateUsage]
        postgres.run(f"SELECT pg_terminate_backend({pid}, 5000)")
        tx.insert(table(area, "goods"), id="after", price=1)

    with pytest.raises(Unavailable) as refused:
        await db.write("a", cut)
    assert refused.value.changed == "nothing"
    assert refused.value.hint
    assert await count(db, area) == 0
    await db.write("a", lambda tx: tx.insert(table(area, "goods"), id="egg", price=1))
    assert await count(db, area) == 1


class Wire(threading.Thread):
    """What lies between us and the server; it can lose the answer to a commit, and the line with it."""

    def __init__(self, folder: Path, postgres: Server) -> None:
        super().__init__(daemon=True)
        self.folder = folder
        self.losing = False
        self.lost = 0
        self._ends: list[socket.socket] = []
        self._server = str(postgres.folder / ".s.PGSQL.5432")
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(str(folder / ".s.PGSQL.5432"))
        self._socket.listen()

    def run(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._socket.accept()
                far = socket.socket(socket.AF_UNIX)
                far.connect(self._server)
                self._ends += near, far
                said: list[bytes] = []
                for ends in ((near, far, said, True), (far, near, said, False)):
                    threading.Thread(target=self._carry, args=ends, daemon=True).start()

    def _carry(self, source: socket.socket, target: socket.socket, said: list[bytes], ours: bool) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                if ours:
                    said[:] = [data]
                elif self.losing and said and b"COMMIT" in said[0]:
                    self.losing, self.lost = False, self.lost + 1
                    break
                target.sendall(data)
        for one in (source, target):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._socket.close()
        for one in self._ends:
            one.close()
        self._ends.clear()


@pytest.fixture
def wire(postgres: Server) -> Generator[Wire]:
    with tempfile.TemporaryDirectory(prefix="w-") as name:
        made = Wire(Path(name), postgres)
        made.start()
        yield made
        made.close()


async def test_a_commit_whose_answer_was_lost_is_asked_after_and_found_done(
    area: Area, tmp_path: Path, postgres: Server, wire: Wire
) -> None:
    url = postgres.url(str(tmp_path)).replace(str(postgres.folder), str(wire.folder))
    db = await open_database(url, [area], copies=tmp_path)
    await db.write("a", lambda tx: tx.insert(table(area, "goods"), id="first", price=1))
    wire.losing = True

    number = await db.write("a", lambda tx: tx.insert(table(area, "sales"), good="egg"))

    assert (wire.lost, number) == (1, 1)
    assert await db.read("a", lambda tx: tx.count(table(area, "sales"))) == 1
    await db.close()


async def test_a_commit_that_nobody_can_be_asked_about_is_said_to_be_unknown(
    area: Area, tmp_path: Path, postgres: Server, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgresql, "_CONNECT_S", 2)
    url = postgres.url(str(tmp_path)).replace(str(postgres.folder), str(wire.folder))
    db = await open_database(url, [area], copies=tmp_path)
    await db.write("a", lambda tx: tx.insert(table(area, "goods"), id="first", price=1))
    wire.losing = True
    (wire.folder / ".s.PGSQL.5432").unlink()
    with pytest.raises(Unavailable) as refused:
        await db.write("a", lambda tx: tx.insert(table(area, "sales"), good="egg"))
    assert refused.value.changed == "unknown"
    await db.close()


async def test_who_waits_for_its_turn_too_long_is_told_to_call_again(
    area: Area, tmp_path: Path, postgres: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dialect, "BUSY_S", 0.1)
    db = await open_database(postgres.url(str(tmp_path)), [area], copies=tmp_path)
    other = dialect_of(postgres.url(str(tmp_path)))
    with other.writer() as connection, connection.begin():
        assert other.begun(connection).isdecimal()
        with pytest.raises(Overloaded) as refused:
            await db.write("a", lambda tx: tx.insert(table(area, "goods"), id="egg", price=1))
        assert refused.value.changed == "nothing"
    await db.write("a", lambda tx: tx.insert(table(area, "goods"), id="egg", price=1))
    await db.close()
    other.engine.dispose()


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("postgresql+psycopg://postgres:hunter2@127.0.0.1:1/x", "does not answer"),
        ("postgresql+psycopg://nobody:hunter2@/postgres?host={folder}", "does not answer|refuses the login"),
        ("postgresql+psycopg://postgres:hunter2@/missing?host={folder}", "no such database|does not answer"),
    ],
)
async def test_a_server_that_cannot_be_used_is_named_without_its_password(
    area: Area, postgres: Server, tmp_path: Path, url: str, said: str
) -> None:
    with pytest.raises(Unavailable, match=said) as refused:
        await open_database(url.format(folder=postgres.folder), [area], copies=tmp_path)
    assert refused.value.hint
    assert "hunter2" not in f"{refused.value.detail} {refused.value.hint} {refused.value.__cause__!r}"


async def test_before_a_migration_every_row_is_copied_into_a_file(area: Area, tmp_path: Path, postgres: Server) -> None:
    db = await open_database(postgres.url(str(tmp_path)), [area], copies=tmp_path)
    await db.write("a", lambda tx: tx.insert(table(area, "goods"), id="ä", price=0.1))
    await db.close()
    newer = shop_with_names(tmp_path / "versions")
    db = await open_database(postgres.url(str(tmp_path)), [newer], copies=tmp_path)
    assert await db.read("a", lambda tx: [row.id for row in tx.select(table(newer, "goods"))]) == ["ä"]
    await db.close()
    (copy,) = tmp_path.glob("*.before-*")
    assert copy.stat().st_mode & 0o777 == 0o600
    shutil.copy(copy, tmp_path / "shop.db")
    old = await open_database(tmp_path / "shop.db", [newer])
    assert [row.id for row in await old.read("a", lambda tx: tx.select(table(newer, "goods")))] == ["ä"]
    await old.close()


async def test_a_nul_in_a_text_is_the_callers_fault_and_nobody_elses(
    area: Area, tmp_path: Path, postgres: Server
) -> None:
    db = await open_database(postgres.url(str(tmp_path)), [area], copies=tmp_path)
    goods = table(area, "goods")
    bad = db.write("a", lambda tx: tx.insert(goods, id="e\0g", price=1))
    good = db.write("a", lambda tx: tx.insert(goods, id="egg", price=1))
    refused, _ = await asyncio.gather(bad, good, return_exceptions=True)
    assert isinstance(refused, InvalidInput)
    with pytest.raises(InvalidInput, match="NUL"):
        await db.read("a", lambda tx: tx.first(goods, goods.c.id == "e\0g"))
    assert await count(db, area) == 1
    await db.close()


async def test_many_processes_start_and_write_at_once(area: Area, tmp_path: Path, postgres: Server) -> None:
    url, sales = postgres.url(str(tmp_path)), table(area, "sales")

    async def one() -> None:
        db = await open_database(url, [area], copies=tmp_path)
        await asyncio.gather(*(db.write("a", lambda tx: tx.insert(sales, good="egg")) for _ in range(20)))
        await db.close()

    await asyncio.gather(*(one() for _ in range(4)))
    db = await open_database(url, [area], copies=tmp_path)
    assert await db.read("a", lambda tx: [row.id for row in tx.select(sales, order=[sales.c.id])]) == [*range(1, 81)]
    await db.close()


async def test_it_goes_on_by_itself_when_the_server_is_back(area: Area, tmp_path: Path) -> None:
    with server() as first:
        url = first.url("x")
        db = await open_database(url, [area], copies=tmp_path)
        await db.write("a", lambda tx: tx.insert(table(area, "goods"), id="egg", price=1))
        kept = first.folder
        faults: list[Problem] = []
        first.stop()
        for use in (
            db.read("a", lambda tx: tx.count(table(area, "goods"))),
            db.write("a", lambda tx: tx.insert(table(area, "goods"), id="ham", price=1)),
        ):
            with pytest.raises(Unavailable) as refused:
                await use
            faults.append(refused.value)
        assert all(one.hint for one in faults)
        assert kept.is_dir()
        first.begin()
        assert await count(db, area) == 1
        await db.write("a", lambda tx: tx.insert(table(area, "goods"), id="ham", price=1))
        assert await count(db, area) == 2
        await db.close()

"""Moving a living installation from its file to PostgreSQL."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import Connection, Table

from superagent.core.problems import Conflict, Overloaded, Problem, Unavailable
from superagent.data import dialect
from superagent.data.database import Database, open_database
from superagent.data.sqlite import Sqlite
from superagent.data.transfer import Extent, extent
from superagent.runtime import moving
from superagent.runtime.moving import move
from tests.data.example import shop, table
from tests.postgresql import Server


async def filled(folder: Path, rows: int = 1200) -> Database:
    database = await open_database(folder / "shop.db", [shop(folder / "versions")])
    goods, sales = (table(shop(folder / "versions"), name) for name in ("goods", "sales"))
    odd = ["ä€😀", "", "'; DROP TABLE x; --", "a\nb"]
    names = [*odd, *(f"egg {n}" for n in range(rows - len(odd)))]
    await database.write("a", lambda tx: tx.insert_many(goods, [{"id": one, "price": 0.1} for one in names]))
    for _ in range(3):
        await database.write("b", lambda tx: tx.insert(sales, good="egg"))
    return database


async def test_every_row_is_there_and_numbers_go_on(tmp_path: Path, postgres: Server) -> None:
    await (await filled(tmp_path)).close()
    url, area = postgres.url(str(tmp_path)), shop(tmp_path / "versions")

    moved = move(tmp_path / "shop.db", url, [area])

    assert {name: one.rows for name, one in moved.tables.items()} == {
        "shop_goods": 1200, "shop_sales": 3, "shop_tills": 0,
    }  # fmt: skip
    there = await open_database(url, [area], copies=tmp_path)
    goods, sales = table(area, "goods"), table(area, "sales")
    assert await there.read("a", lambda tx: tx.count(goods)) == 1200
    assert await there.read("a", lambda tx: tx.count(goods, goods.c.id == "ä€😀")) == 1
    assert await there.write("b", lambda tx: tx.insert(sales, good="ham")) == 4
    await there.close()


async def test_a_server_that_still_runs_on_the_old_file_is_shut_out_at_once(tmp_path: Path, postgres: Server) -> None:
    running = await filled(tmp_path)
    goods = table(shop(tmp_path / "versions"), "goods")
    assert await running.read("a", lambda tx: tx.count(goods)) == 1200

    move(tmp_path / "shop.db", postgres.url(str(tmp_path)), [shop(tmp_path / "versions")])

    for use in (
        running.read("a", lambda tx: tx.count(goods)),
        running.write("a", lambda tx: tx.insert(goods, id="late", price=1)),
    ):
        with pytest.raises(Unavailable, match="moved to another database"):
            await use
    await running.close()
    with pytest.raises(Unavailable, match="was moved to the database t") as refused:
        await open_database(tmp_path / "shop.db", [shop(tmp_path / "versions")])
    assert "SUPERAGENT_DATABASE__URL" in str(refused.value.hint)


async def test_who_writes_meanwhile_is_refused_and_changes_nothing(
    tmp_path: Path, postgres: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dialect, "BUSY_S", 0.05)
    running = await filled(tmp_path)
    goods = table(shop(tmp_path / "versions"), "goods")
    met: list[object] = []
    make = moving._make  # pyright: ignore[reportPrivateUsage]

    def interrupted(target: dialect.Dialect, areas: object) -> None:
        old = Sqlite(tmp_path / "shop.db")
        try:
            old.writer().begin()
        except Exception as busy:
            met.append(old.problem_of(busy))
        make(target, areas)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(moving, "_make", interrupted)
    moved = move(tmp_path / "shop.db", postgres.url(str(tmp_path)), [shop(tmp_path / "versions")])
    assert isinstance(met[0], Overloaded)
    assert moved.tables["shop_goods"].rows == 1200
    assert goods.name in moved.tables
    await running.close()


async def test_a_database_that_has_something_in_it_is_left_alone(tmp_path: Path, postgres: Server) -> None:
    running = await filled(tmp_path)
    url, area = postgres.url(str(tmp_path)), shop(tmp_path / "versions")
    postgres.run("CREATE TABLE theirs (x int)", url.partition("@/")[2].partition("?")[0])

    with pytest.raises(Conflict, match="not empty"):
        move(tmp_path / "shop.db", url, [area])

    assert await running.read("a", lambda tx: tx.count(table(area, "goods"))) == 1200
    await running.close()


@pytest.mark.parametrize("url", ["sqlite:////tmp/x.db", "postgresql://nobody@127.0.0.1:1/none", "nonsense"])
async def test_what_cannot_be_moved_to_leaves_the_file_in_force(tmp_path: Path, url: str) -> None:
    running = await filled(tmp_path, rows=10)
    area = shop(tmp_path / "versions")
    with pytest.raises(Problem) as refused:
        move(tmp_path / "shop.db", url, [area])
    assert refused.value.hint
    assert await running.read("a", lambda tx: tx.count(table(area, "goods"))) == 10
    await running.close()


async def test_rows_that_read_otherwise_in_the_new_database_stop_the_move(
    tmp_path: Path, postgres: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = await filled(tmp_path)
    url, area = postgres.url(str(tmp_path)), shop(tmp_path / "versions")

    def other(connection: Connection, of: Table) -> Extent:
        found = extent(connection, of)
        return found if connection.dialect.name == "sqlite" else Extent(found.rows, "0" * 64)

    monkeypatch.setattr("superagent.data.transfer.extent", other)
    with pytest.raises(ValueError, match="do not read the same"):
        move(tmp_path / "shop.db", url, [area])
    assert await running.read("a", lambda tx: tx.count(table(area, "goods"))) == 1200
    await running.close()

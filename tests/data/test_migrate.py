"""Migrations on real database files, by one process and by several."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy.exc import OperationalError

from superagent.core.problems import Unavailable
from superagent.data.areas import Area
from superagent.data.database import open_database
from tests.data.areas import check_migrations, schema_of
from tests.data.example import shop, shop_with_names, table


def copies(folder: Path) -> list[str]:
    return sorted(one.name for one in folder.glob("*.before-*"))


def add_step(folder: Path, *steps: str) -> None:
    """Let the second migration do more."""
    file = folder / "versions" / "shop_0002.py"
    lines = [f"    op.execute({step!r})" for step in steps]
    file.write_text("\n".join([file.read_text(), *lines, ""]))


async def old_database(folder: Path) -> Path:
    area = shop(folder / "versions")
    db = await open_database(folder / "shop.db", [area])
    await db.write("a", lambda tx: tx.insert(table(area, "goods"), id="egg", price=1))
    await db.close()
    return folder / "shop.db"


async def test_an_older_database_is_copied_and_brought_up_to_date(tmp_path: Path) -> None:
    path = await old_database(tmp_path)
    newer = shop_with_names(tmp_path / "versions")
    goods = table(newer, "goods")
    for _ in range(2):  # the second start has nothing to do
        db = await open_database(path, [newer])
        rows = await db.read("a", lambda tx: tx.select(goods))
        assert [(row.id, row.price, row.name) for row in rows] == [("egg", 1.0, None)]
        await db.close()
    copy = tmp_path / "shop.db.before-1"
    assert copies(tmp_path) == [copy.name]
    assert copy.stat().st_mode & 0o777 == 0o600
    assert ("head", "shop_0001", "") in schema_of(copy)
    db = await open_database(copy, [shop(tmp_path / "versions")])
    assert await db.read("a", lambda tx: tx.count(goods, goods.c.id == "egg")) == 1
    await db.close()


async def test_the_migrations_of_a_later_version_make_what_its_definitions_make(tmp_path: Path) -> None:
    await check_migrations(shop_with_names(tmp_path / "versions"), tmp_path)


async def test_a_new_area_joins_an_old_database(tmp_path: Path) -> None:
    path = await old_database(tmp_path)
    second = Area("farm", "farm_0001", tmp_path / "versions")
    (tmp_path / "versions" / "farm_0001.py").write_text(
        'revision, down_revision, branch_labels, depends_on = "farm_0001", None, ("farm",), None\n'
        "def upgrade():\n    pass\n"
    )
    await (await open_database(path, [shop(tmp_path / "versions"), second])).close()
    assert [name for kind, name, _ in schema_of(path) if kind == "head"] == ["farm_0001", "shop_0001"]
    # and a start without it leaves it in peace
    await (await open_database(path, [shop(tmp_path / "versions")])).close()
    await (await open_database(path, [shop_with_names(tmp_path / "versions")])).close()
    assert [name for kind, name, _ in schema_of(path) if kind == "head"] == ["farm_0001", "shop_0002"]


async def test_a_database_of_a_newer_version_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    path = await old_database(tmp_path)
    await (await open_database(path, [shop_with_names(tmp_path / "versions")])).close()
    before = schema_of(path)
    (tmp_path / "versions" / "shop_0002.py").unlink()
    with pytest.raises(Unavailable, match=r"newer version \(shop_0002\)") as refused:
        await open_database(path, [shop(tmp_path / "versions")])
    assert "restore" in str(refused.value.hint)
    assert schema_of(path) == before


async def test_a_migration_that_fails_changes_nothing(tmp_path: Path) -> None:
    path = await old_database(tmp_path)
    before = schema_of(path)
    newer = shop_with_names(tmp_path / "versions")
    add_step(tmp_path, "UPDATE nowhere SET x = 1")
    with pytest.raises(OperationalError, match="no such table"):
        await open_database(path, [newer])
    assert schema_of(path) == before


async def test_a_migration_that_would_leave_a_reference_into_nothing_is_refused(tmp_path: Path) -> None:
    path = await old_database(tmp_path)
    before = schema_of(path)
    newer = shop_with_names(tmp_path / "versions")
    add_step(
        tmp_path,
        "CREATE TABLE shop_parts (tenant, good REFERENCES shop_tills (name))",
        "INSERT INTO shop_parts VALUES ('a', 'gone')",
    )
    with pytest.raises(Unavailable, match="shop_parts"):
        await open_database(path, [newer])
    assert schema_of(path) == before


def test_many_processes_may_start_at_once_and_none_loads_alembic(tmp_path: Path) -> None:
    program = """
import asyncio, sys
from pathlib import Path
from superagent.data.database import open_database
from tests.data.example import shop, table

async def main():
    area = shop(Path(sys.argv[1]) / "versions")
    sys.stdin.readline()
    db = await open_database(Path(sys.argv[1]) / "shop.db", [area])
    for n in range(20):
        await db.write("a", lambda tx: tx.insert(table(area, "goods"), id=f"{sys.argv[2]}-{n}", price=1))
    await db.close()
    print("alembic" in sys.modules)

asyncio.run(main())
"""
    children = [
        subprocess.Popen(
            [sys.executable, "-c", program, tmp_path, str(n)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for n in range(3)
    ]
    for child in children:
        assert child.stdin is not None
        child.stdin.write("go\n")
        child.stdin.flush()
    assert [child.communicate(timeout=50)[0] for child in children] == ["False\n"] * 3
    assert copies(tmp_path) == []

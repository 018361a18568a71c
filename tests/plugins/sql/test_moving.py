"""`sql.export` and `sql.import` on each kind of database: rows go out and come in exactly, and both are taken back."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from pathlib import Path
from typing import Any

import pytest

from superagent.core.principal import Principal
from superagent.testing import agent
from tests.plugins.sql.databases import Database
from tests.plugins.sql.ground import Ground
from tests.promise import promise

ODD = ["=1+1", "'quoted", "+x", "@x", "-x", "a,b", 'a"b', "two\nlines", "ü 𝄞", "", " ", "%s %(x)s", ":name", "\\n"]


def fill(db: Database) -> None:
    """Put texts into the table that files and servers like to change on the way."""
    for at, text in enumerate(ODD):
        spelled = text.replace("'", "''")
        if db.kind == "mariadb":
            spelled = spelled.replace("\\", "\\\\")
        db.run(f"INSERT INTO orders VALUES ({at + 100}, '{spelled}', -1.25)")


@pytest.mark.parametrize("form", ["csv", "jsonl"])
async def test_rows_go_out_and_come_back_exactly(here: Ground, db: Database, tmp_path: Path, form: str) -> None:
    fill(db)
    whole = db.checksum("orders")
    file = tmp_path / f"out.{form}"
    told = await here.do(
        "export", "SELECT id, who, paid FROM orders WHERE id > :least", {"least": 0}, path=str(file), format=form
    )
    data = file.read_bytes()
    assert (told["rows"], told["bytes"]) == (4 + len(ODD), len(data))
    assert told["sha256"] == hashlib.sha256(data).hexdigest()
    assert told["tables"] == [db.table("orders")]
    db.run("DELETE FROM orders")
    empty = db.checksum("orders")
    more: dict[str, Any] = {"formulas": "unescape"} if form == "csv" else {}
    seen = await here.call("import", path=str(file), table="orders", format=form, dry_run=True, **more)
    assert seen.problem is None, seen.problem.detail
    assert db.checksum("orders") == empty
    done = await here.call("import", path=str(file), table="orders", format=form, **more)
    assert done.problem is None, (done.problem.detail, done.problem.errors)
    assert (done.result()["rows"], done.result()["rejected"]) == (4 + len(ODD), 0)
    assert db.checksum("orders") == whole
    back = await here.call("undo.apply", ids=[done.invocation])
    assert back.problem is None, back.problem.detail
    assert db.checksum("orders") == empty


async def test_undo_of_an_export_gives_the_file_back_that_stood_there(
    here: Ground, db: Database, tmp_path: Path
) -> None:
    file = tmp_path / "out.csv"
    file.write_text("mine")
    done = await here.call("export", "SELECT id FROM orders", path=str(file))
    assert done.problem is None
    assert file.read_text() != "mine"
    assert (await here.call("undo.apply", ids=[done.invocation])).problem is None
    assert file.read_text() == "mine"


async def test_no_cell_of_csv_is_a_formula_unless_asked_for(here: Ground, db: Database, tmp_path: Path) -> None:
    fill(db)
    file = tmp_path / "out.csv"
    await here.do("export", "SELECT who AS \"=who\", paid FROM orders" if db.kind != "mariadb"
                  else "SELECT who AS `=who`, paid FROM orders", path=str(file))  # fmt: skip
    rows = list(csv.reader(io.StringIO(file.read_text(), newline="")))
    assert rows[0][0] == "'=who"
    texts = [row[0] for row in rows[1:]]
    assert not [one for one in texts if one.startswith(("=", "+", "-", "@", "\t", "\r"))]
    assert "-1.25" in {row[1] for row in rows}  # a number is none
    await here.do("export", "SELECT who FROM orders", path=str(file), formulas="keep")
    assert "=1+1" in {row[0] for row in csv.reader(io.StringIO(file.read_text(), newline=""))}


async def test_an_export_is_whole_or_the_file_stays_as_it_was(here: Ground, db: Database, tmp_path: Path) -> None:
    file = tmp_path / "out.csv"
    file.write_text("mine")
    for more in ({"max_rows": 3}, {"null": "ada"}, {"max_bytes": 1024, "format": "jsonl"}):
        text = "SELECT who FROM orders"
        if "max_bytes" in more:
            text = "SELECT who FROM orders, (SELECT id FROM orders) a, (SELECT id FROM orders) b, secret c, secret d"
        refused = await here.refused("export", text, path=str(file), **more)
        assert refused.slug in ("too-large", "invalid-input"), more
    for statement in ("DELETE FROM orders", "SELECT id, id FROM orders", "SELECT * FROM nothing"):
        await here.refused("export", statement, path=str(file))
    assert file.read_text() == "mine"
    assert not [one.name for one in tmp_path.iterdir() if one.name.startswith(".superagent")]


@promise("3.7")
async def test_what_does_not_fit_is_told_by_its_line_and_nothing_comes_in(
    here: Ground, db: Database, tmp_path: Path
) -> None:
    before = db.checksum("orders")
    file = tmp_path / "in.csv"
    lines = ["id,who,paid", "10,good,1.5", "x,bad number,2", "11,\"two", "lines\",3", "1,taken key,4", "12,short",
             ",no key,1", "13,fine,\\N"]  # fmt: skip
    file.write_text("\n".join(lines) + "\n")
    refused = await here.refused("import", path=str(file), table="orders")
    assert (refused.slug, db.checksum("orders")) == ("invalid-input", before)
    assert sorted(one.path for one in refused.errors) == ["line 3", "line 6", "line 7", "line 8"]
    done = await here.call("import", path=str(file), table="orders", on_reject="skip")
    assert done.problem is None, done.problem.detail
    assert (done.result()["rows"], done.result()["rejected"]) == (3, 4)
    assert db.run("SELECT who, paid FROM orders WHERE id = 13") in ([("fine", None)], (("fine", None),))
    assert (await here.call("undo.apply", ids=[done.invocation])).problem is None
    assert db.checksum("orders") == before


async def test_undo_of_an_import_refuses_where_somebody_changed_a_row_since(
    here: Ground, db: Database, tmp_path: Path
) -> None:
    file = tmp_path / "in.jsonl"
    file.write_text("".join(json.dumps({"id": at, "who": f"n{at}"}) + "\n" for at in range(50, 700)))
    done = await here.call("import", path=str(file), table="orders", format="jsonl")
    assert done.problem is None, done.problem.detail
    db.run("UPDATE orders SET who = 'theirs' WHERE id = 55")
    theirs = db.checksum("orders")
    refused = await here.call("undo.apply", ids=[done.invocation])
    assert refused.problem is not None
    assert (refused.problem.slug, db.checksum("orders")) == ("conflict", theirs)


async def test_an_import_takes_no_bombs_and_no_tricks(here: Ground, db: Database, tmp_path: Path) -> None:
    before = db.checksum("orders", "secret")
    file = tmp_path / "in"
    odd = ['id" , "who', "id) SELECT * FROM secret --", "nothing", "id\0", "`id`", "oid", "rowid", "%s"]
    for name in odd:
        file.write_text(json.dumps({name: "1"}) + "\n")
        await here.refused("import", path=str(file), table="orders", format="jsonl")
    hostile = [
        "",
        "\n",
        "[1]\n",
        "{}\n",
        '{"id":1,"id":2}\n',
        '{"id": NaN}\n',
        "[" * 100_000,
        '{"id": {"base64": "*"}}',
    ]
    for text in hostile:
        file.write_text(text)
        await here.refused("import", path=str(file), table="orders", format="jsonl")
    for data in (b"id,who\n\xff\xfe,1\n", b"", b"id,id\n1,2\n", b'id,who\n1,"open\n', b"id,who\n" + b"9,x\n" * 3):
        file.write_bytes(data)
        await here.refused("import", path=str(file), table="orders")
    file.write_text("id\n" + "".join(f"{at}\n" for at in range(1000, 1100)))
    await here.refused("import", path=str(file), table="orders", max_rows=99)
    for table in ("through", "orders; DROP TABLE orders", "nothing", "pg_catalog.pg_class", "mysql.user",
                  "sqlite_master", "a.b.c", '"orders"'):  # fmt: skip
        await here.refused("import", path=str(file), table=table)
    assert db.checksum("orders", "secret") == before


@promise("3.7")
async def test_moving_rows_needs_the_grants_of_tables_and_of_files(here: Ground, db: Database, tmp_path: Path) -> None:
    file = tmp_path / "in.csv"
    file.write_text("id,word\n7,x\n")
    by = agent("mover")
    here.grant(
        {"effect": "allow", "subject": "*", "operations": ["sql.*"], "where": {
            "connections": [f"sql://db/{db.schema}.orders"], "hosts": ["**"], "paths": [f"{tmp_path}/**"]}},
    )  # fmt: skip

    async def told(operation: str, by: Principal = by, **more: Any) -> str:
        outcome = await here.call(operation, by=by, **more)
        return outcome.problem.slug if outcome.problem else ""

    before = db.checksum("orders", "secret")
    assert await told("import", path=str(file), table="secret") in ("denied", "not-found")
    for text in ("SELECT * FROM secret", "SELECT * FROM through", "SELECT * FROM twice"):
        assert await told("export", sql=text, path=str(tmp_path / "x.csv")) in ("denied", "not-found"), text
    assert await told("export", sql="SELECT id FROM orders", path="/etc/x.csv") in ("denied", "not-found")
    assert await told("import", path="/etc/passwd", table="orders") in ("denied", "not-found")
    assert not (tmp_path / "x.csv").exists()
    assert await told("export", sql="SELECT id FROM orders", path=str(tmp_path / "x.csv")) == ""
    assert db.checksum("orders", "secret") == before

"""Statements and values that would take the server's time or memory: refused, audited, and soon."""

from __future__ import annotations

import resource
import time

import pytest

from superagent.plugins.sql.engine import metered
from superagent.plugins.sql.engine.parsing import parsed, text_of
from tests.plugins.sql.databases import Database
from tests.plugins.sql.ground import Ground

DIALECTS = ("sqlite", "mysql", "postgres")
COSTLY = {
    "types": "SELECT " + "STRUCT(" * 40 + "1" + ")" * 40 + " FROM orders",
    "numbers": "SELECT " + "DECIMAL(" * 40 + "1" + ")" * 40 + " FROM orders",
    "joins": "SELECT 1 FROM orders" + " JOIN orders" * 40,
    "a name of many parts": "SELECT a" + ".a" * 40_000,
    "words": "SELECT 1" + ",1" * 40_000,
    "copies when written": "SELECT " + "DECODE(1, " * 30 + "1" + ", 1)" * 30,
    "depth": "SELECT " + "(SELECT " * 300 + "1" + ")" * 300,
    "pipes": "FROM orders" + " |> SELECT 1" * 2000,
}


def peak_mb() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


@pytest.mark.slow
@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("name", COSTLY)
def test_a_costly_statement_is_refused_before_it_costs_much(name: str, dialect: str) -> None:
    before = time.thread_time()
    with pytest.raises(metered.Costly):
        text_of(parsed(COSTLY[name], dialect, "main").tree, dialect)
    assert time.thread_time() - before < 8


@pytest.mark.parametrize("dialect", DIALECTS)
def test_real_statements_are_read(dialect: str) -> None:
    for statement in (
        "SELECT id FROM orders WHERE id IN " + "(SELECT id FROM orders WHERE id IN " * 19 + "(1)" + ")" * 19,
        "SELECT " + "coalesce(" * 20 + "who" + ", '')" * 20 + " FROM orders",
        "SELECT " + "CAST(" * 6 + "paid" + " AS DECIMAL(8, 2))" * 6 + " FROM orders",
        "SELECT id FROM orders WHERE " + " OR ".join(f"id = {n}" for n in range(500)),
        "INSERT INTO orders (id, who, paid) VALUES " + ", ".join(f"({n}, 'x', 1.5)" for n in range(1000)),
        "SELECT o.id FROM orders o " + " ".join(f"LEFT JOIN orders o{n} ON o{n}.id = o.id" for n in range(30)),
        "WITH " + ", ".join(f"c{n} AS (SELECT id FROM orders)" for n in range(50)) + " SELECT id FROM c1",
        "SELECT CASE " + " ".join(f"WHEN id = {n} THEN 'x'" for n in range(100)) + " END FROM orders",
    ):
        assert text_of(parsed(statement, dialect, "main").tree, dialect)


async def test_costly_statements_are_refused_by_each_operation(here: Ground, db: Database) -> None:
    nested = "STRUCT(" * 40 + "1" + ")" * 40
    for operation in ("query", "explain"):
        assert (await here.refused(operation, f"SELECT {nested} FROM orders")).slug == "too-large"
    assert (await here.refused("execute", f"DELETE FROM orders WHERE id = {nested}")).slug == "too-large"


SWOLLEN = (
    "SELECT length(zeroblob(900000000)) FROM orders",
    "SELECT length(replace(hex(zeroblob(400000000)), '00', 'ab')) FROM orders",
    "SELECT hex(zeroblob(300000000)) FROM orders",
    "SELECT length(group_concat(hex(zeroblob(10000000)))) FROM orders",
    "SELECT " + ", ".join(["hex(zeroblob(4000000))"] * 300) + " FROM orders",
    "SELECT * FROM (SELECT *, * FROM (SELECT *, * FROM (SELECT *, *, * FROM (SELECT hex(zeroblob(2000000)) AS x))))",
    "SELECT instr(hex(zeroblob(4000000)), hex(zeroblob(2000000)) || '1') FROM orders",
)


async def test_no_value_of_sqlite_takes_the_server_s_memory(here: Ground, on_sqlite: Database) -> None:
    await here.do("query", "SELECT id FROM orders")
    before = peak_mb()
    for statement in SWOLLEN:
        assert (await here.refused("query", statement)).slug == "too-large", statement
    assert peak_mb() - before < 150
    held = "UPDATE orders SET who = hex(zeroblob(300000000)) WHERE id = 1"
    assert (await here.refused("execute", held)).slug == "too-large"
    short = "SELECT instr(who, 'd'), replace(who, :old, 'x'), trim(who) FROM orders WHERE id = 1"
    assert (await here.do("query", short, {"old": "a"}))["rows"] == [[2, "xdx", "ada"]]


async def test_a_row_larger_than_the_bound_is_refused_and_can_be_passed(here: Ground, db: Database) -> None:
    long = "hex(zeroblob(1000000))" if db.kind == "sqlite" else "repeat('x', 2000000)"
    swollen = f"SELECT CASE WHEN id = 2 THEN {long} ELSE who END FROM orders ORDER BY id"
    first = await here.do("query", swollen)
    assert (first["rows"], first["next"]) == ([["ada"]], 1)
    problem = await here.refused("query", swollen, skip=1)
    assert (problem.slug, "skip" in (problem.hint or "")) == ("too-large", True)
    assert (await here.do("query", swollen, skip=2))["rows"] == [["cy"], [None]]


@pytest.mark.slow
async def test_what_postgresql_sends_is_not_gathered_without_end(here: Ground, on_pg: Database) -> None:
    await here.do("query", "SELECT id FROM orders")
    before = peak_mb()
    # the first is in the plan already, where the server reckons it ahead
    for long in ("repeat('x', 300000000)", "repeat('x', id * 100000000)"):
        assert (await here.refused("query", f"SELECT {long} FROM orders")).slug == "too-large"
    assert peak_mb() - before < 250, (before, peak_mb())


async def test_what_mariadb_sends_is_not_gathered_without_end(here: Ground, on_maria: Database) -> None:
    await here.do("query", "SELECT id FROM orders")
    before = peak_mb()
    wide = ", ".join(["repeat('x', 15000000)"] * 8)
    assert (await here.refused("query", f"SELECT {wide} FROM orders")).slug == "too-large"
    assert peak_mb() - before < 60

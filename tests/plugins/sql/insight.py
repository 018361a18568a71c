"""Databases under test whose servers count what they run, and a load that is slow for want of an index."""

from __future__ import annotations

from tests.plugins.sql.databases import Database, OnMariaDB, OnPostgreSQL

GRANTED = {"hosts": ["127.0.0.1:*"], "paths": ["/**"]}


def hide_secret(db: Database) -> list[dict[str, object]]:
    """Give grants for everything but the table `secret`."""
    return [
        {"effect": "allow", "operations": ["sql.*"], "where": {"connections": ["db"], **GRANTED}},
        {"effect": "deny", "operations": ["sql.*"], "where": {"connections": [f"sql://db/{db.schema}.secret"]}},
    ]


def load(db: OnPostgreSQL | OnMariaDB) -> None:
    """Run statements with values in them, on what may be seen and on what may not."""
    for n in range(3):
        db.run(f"SELECT id, paid FROM orders WHERE who = 'private-{n}' AND id > {n} /* remark-{n} */")
    for n in range(3):
        db.run(f"SELECT word FROM secret WHERE id = {n}")
        db.run(f"SELECT word FROM twice WHERE word = 'hidden-{n}'")
    db.run("SELECT o.who FROM orders o JOIN secret s ON s.id = o.id WHERE s.word = 'joined'")


__all__ = ["GRANTED", "Database", "OnMariaDB", "OnPostgreSQL", "hide_secret", "load"]


def seed(db: Database, rows: int) -> None:
    """Make a table of events: `customer` is spread, `kind` is `rare` only at the very end of the times in `created`."""
    if db.kind == "postgresql":
        numbers = f"SELECT n FROM generate_series(1::bigint, {rows}) s(n)"
    elif db.kind == "mariadb":
        numbers = f"SELECT seq AS n FROM seq_1_to_{rows}"
    else:
        numbers = f"WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < {rows}) SELECT n FROM s"
    db.run("CREATE TABLE events (id int PRIMARY KEY, customer int, kind varchar(10), created int, note varchar(100))")
    # created runs through all numbers once, in an order that has nothing to do with that of the rows
    mixed = f"(n * 7919 % {rows})"
    db.run(
        f"INSERT INTO events SELECT n, n * 31 % {rows // 20}, CASE WHEN {mixed} >= {rows - rows // 100} THEN 'rare'"
        f" ELSE 'often' END, {mixed}, 'some text that makes a row as long as rows are' FROM ({numbers}) numbers"
    )
    db.run("ANALYZE TABLE events" if db.kind == "mariadb" else "ANALYZE events" if db.kind == "sqlite" else "SELECT 1")
    if db.kind == "postgresql":
        db.run("VACUUM ANALYZE events")

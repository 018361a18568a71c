"""Random changes, taken back: the rows end as they began, or it was said beforehand why not."""

from __future__ import annotations

import random

import pytest

from tests.plugins.sql.databases import Database
from tests.plugins.sql.ground import Ground
from tests.promise import promise

TABLES = {
    "plain": "id int PRIMARY KEY, a varchar(40), b int, c numeric(10, 3)",
    "pair": "a int NOT NULL, b varchar(20) NOT NULL, c int, PRIMARY KEY (a, b)",
    "reckoned": "id int PRIMARY KEY, b int, twice int GENERATED ALWAYS AS (b * 2) STORED",
    "parent": "id int PRIMARY KEY, b int",
    "child": "id int PRIMARY KEY, b int, FOREIGN KEY (b) REFERENCES parent (id) ON DELETE CASCADE",
    "keyless": "a int, b int",
    "watched": "id int PRIMARY KEY, b int",
    "typed": {
        "postgresql": "id int PRIMARY KEY, b bytea, f real, d float8, t timestamptz, j jsonb, s text[], u uuid",
        "mariadb": "id int PRIMARY KEY, b blob, f float, d double, t timestamp NULL, j json, s bit(9), u enum('x','y')",
        "sqlite": "id int NOT NULL PRIMARY KEY, b, f, d real, t, j, s blob, u text",
    },
}
TYPED = {
    "postgresql": "{id}, '\\\\xdeadbeef', 0.1, 1e-300, now(), '{{\"a\": 1.0}}', '{{a,NULL}}', gen_random_uuid()",
    "mariadb": "{id}, x'deadbe00ef', 16777217, 0.1e-300, '2024-02-29 01:02:03', '{{\"a\": 1.0}}', b'101010101', 'y'",
    "sqlite": "{id}, x'deadbe00ef', 0.1, 1e-300, '2024', 9223372036854775807, x'00', 'ü'",
}
TRIGGER = {
    "postgresql": "CREATE TRIGGER t BEFORE UPDATE ON watched FOR EACH ROW"
    " EXECUTE FUNCTION suppress_redundant_updates_trigger()",
    "mariadb": "CREATE TRIGGER t AFTER UPDATE ON watched FOR EACH ROW UPDATE plain SET b = 0",
    "sqlite": "CREATE TRIGGER t AFTER UPDATE ON watched BEGIN UPDATE plain SET b = 0; END",
}
NUMBERS = {
    "plain": ["b", "c"],
    "pair": ["c"],
    "reckoned": ["b"],
    "parent": ["b", "id"],
    "child": ["b"],
    "keyless": ["b"],
}


def fill(db: Database, chance: random.Random) -> None:
    for name, columns in TABLES.items():
        db.run(f"CREATE TABLE {name} ({columns if isinstance(columns, str) else columns[db.kind]})")
    for n in range(1, 13):
        b = chance.choice(["NULL", str(chance.randint(1, 12))])
        db.run(f"INSERT INTO plain VALUES ({n}, 'it''s %s {n}', {b}, {n}.125)")
        db.run(f"INSERT INTO pair VALUES ({n % 4}, 'k{n}', {b})")
        db.run(f"INSERT INTO reckoned (id, b) VALUES ({n}, {b})")
        db.run(f"INSERT INTO parent VALUES ({n}, {b})")
        db.run(f"INSERT INTO child VALUES ({n}, {chance.randint(1, n)})")
        db.run(f"INSERT INTO keyless VALUES ({n}, {b})")
        db.run(f"INSERT INTO watched VALUES ({n}, {b})")
        db.run(f"INSERT INTO typed VALUES ({TYPED[db.kind].format(id=n)})")
    db.run(TRIGGER[db.kind])


def condition(chance: random.Random, column: str) -> str:
    low, high = sorted(chance.sample(range(16), 2))
    return chance.choice([
        f"{column} BETWEEN {low} AND {high}", f"{column} IN ({low}, {high}) OR {column} IS NULL",
        f"{column} IN (SELECT b FROM plain WHERE c > {low})", f"NOT {column} = {high}", f"{column} % 3 = {low % 3}",
    ])  # fmt: skip


def statement(chance: random.Random, db: Database) -> str:
    table = chance.choice([*TABLES])
    key = {"pair": "a", "keyless": "a"}.get(table, "id")
    where = condition(chance, key)
    if table == "typed":
        return chance.choice([
            f"DELETE FROM typed WHERE {where}", f"UPDATE typed SET f = f * 3, d = d / 7 WHERE {where}",
            f"UPDATE typed SET b = NULL, j = NULL, t = NULL, s = NULL, u = NULL WHERE {where}",
            f"INSERT INTO typed SELECT id + 100, b, f, d, t, j, s, u FROM typed WHERE {where}",
        ])  # fmt: skip
    column = chance.choice(NUMBERS.get(table, ["b"]))
    value = chance.choice([f"{column} + 1", "NULL", "(SELECT max(b) FROM plain)"])
    fresh = chance.randint(13, 40)
    return chance.choice([
        f"DELETE FROM {table} WHERE {where}",
        f"UPDATE {table} SET {column} = {value} WHERE {where}",
        f"INSERT INTO {table} ({key}, {column}) VALUES ({fresh}, 1), ({fresh + 1}, NULL)",
        f"INSERT INTO {table} ({key}, {column}) SELECT {key} + {fresh}, 2 FROM {table} WHERE {where}",
    ])  # fmt: skip


async def rounds(here: Ground, db: Database, seed: int, count: int) -> tuple[int, int]:
    """Take random changes, each alone or some together, and take them back; gives how many stood and were refused."""
    chance = random.Random(seed)
    fill(db, chance)
    start, stood, refused = db.checksum(*TABLES), 0, 0
    open_: list[str] = []
    for _ in range(count):
        before = db.checksum(*TABLES)
        text = statement(chance, db)
        done = await here.call("execute", text)
        if done.problem is not None:
            refused += 1
            assert done.problem.slug in ("denied", "conflict"), text
            assert db.checksum(*TABLES) == before, text
            continue
        stood += 1
        if done.result()["rows"]:
            open_.append(done.invocation)
        if chance.random() < 0.5:
            while open_:
                back = await here.call("undo.apply", ids=[open_.pop()])
                assert back.problem is None, (text, back.problem.detail, seed)
            assert db.checksum(*TABLES) == start, (text, seed)
    while open_:
        back = await here.call("undo.apply", ids=[open_.pop()])
        assert back.problem is None, (back.problem.detail, seed)
    assert db.checksum(*TABLES) == start, seed
    return stood, refused


@promise("3.7")
@pytest.mark.slow
async def test_random_changes_are_taken_back_to_the_row(here: Ground, db: Database) -> None:
    stood, refused = await rounds(here, db, seed=random.SystemRandom().randrange(2**32), count=30)
    assert stood
    assert stood + refused == 30


@pytest.mark.soak
async def test_two_hundred_random_changes_are_taken_back_to_the_row(here: Ground, db: Database) -> None:
    stood, refused = await rounds(here, db, seed=200, count=200)
    assert stood > 80
    assert refused > 10

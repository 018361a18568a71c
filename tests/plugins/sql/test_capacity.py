"""`sql.capacity`: sizes as the server tells them, growth only from what was recorded, no forecast out of nothing."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import msgspec
import pytest

from superagent.plugins.sql.engine import growth
from superagent.runtime.kept_content import KeptContent
from superagent.runtime.path_keeper import PathKeeper
from tests.plugins.sql.databases import Database, OnSqlite
from tests.plugins.sql.ground import Ground
from tests.plugins.sql.insight import hide_secret, seed

DAY_S = 86_400.0


@pytest.fixture(autouse=True)
def keeping(here: Ground, tmp_path: Path) -> None:
    here.world.world.kernel.hands.keepers["path"] = PathKeeper(KeptContent(tmp_path / "kept"))


async def test_tables_are_measured_and_nothing_is_foretold_without_samples(here: Ground, db: Database) -> None:
    seed(db, 5_000)
    found = await here.do("capacity")
    mine = {one["table"]: one["bytes"] for one in found["tables"] if one["table"].startswith(f"sql://db/{db.schema}.")}
    assert mine[db.table("events")] > 100_000
    assert mine[db.table("events")] > mine[db.table("orders")] > 0
    assert (found["forecast"], "sql.capacity_record" in found["unavailable"]) == (None, True)
    here.grant(*hide_secret(db))
    less = await here.do("capacity")
    assert f"{db.schema}.secret" not in repr(less)
    assert less["bytes"] == found["bytes"] - mine[db.table("secret")]


async def test_growth_is_foretold_from_what_was_recorded_and_undo_takes_a_sample_back(
    here: Ground, tmp_path: Path
) -> None:
    db, file = OnSqlite(tmp_path / "orders.db"), tmp_path / "samples.jsonl"
    await db.connect(here)
    seed(db, 2_000)
    last = ""
    for day in range(5):
        few = await here.do("capacity", samples=str(file), horizon_days=3) if day else {"forecast": None}
        assert few["forecast"] is None
        db.run(
            f"INSERT INTO events SELECT id + {(day + 1) * 10_000}, customer, kind, created, note FROM events LIMIT 2000"
        )
        recorded = await here.call("capacity_record", samples=str(file))
        assert recorded.problem is None, recorded.problem.detail
        assert recorded.result()["samples"] == day + 1
        last = recorded.invocation
        here.world.world.clock.advance(DAY_S)
    found = await here.do("capacity", samples=str(file), horizon_days=3, room_bytes=100_000_000)
    forecast = found["forecast"]
    assert forecast["samples"] == 5
    assert "least squares" in forecast["method"]
    sizes = [sum(msgspec.json.decode(line)["tables"].values()) for line in file.read_bytes().splitlines()]
    assert math.isclose(forecast["bytes_per_day"], (sizes[-1] - sizes[0]) / 4, rel_tol=0.2)
    assert forecast["at_least"] < forecast["bytes"] < forecast["at_most"]
    assert forecast["full_on"] > "2023-11-20"
    by_table = {one["table"]: one["bytes_per_day"] for one in found["tables"]}
    assert by_table[db.table("events")] > 0 == by_table[db.table("orders")]
    assert (await here.do("capacity", samples=str(file), horizon_days=3000))["forecast"] is None
    assert (await here.call("undo.apply", ids=[last])).problem is None
    assert len(file.read_bytes().splitlines()) == 4


async def test_samples_of_another_database_or_of_nobody_do_not_count(here: Ground, tmp_path: Path) -> None:
    db, file = OnSqlite(tmp_path / "orders.db"), tmp_path / "samples.jsonl"
    await db.connect(here)
    line: dict[str, Any] = {"endpoint": "sqlite:///elsewhere.db", "tables": {db.table("orders"): 1}}
    file.write_bytes(b"".join(msgspec.json.encode(line | {"at": 1.0 + n * DAY_S}) + b"\n" for n in range(9)))
    assert (await here.do("capacity", samples=str(file), horizon_days=1))["forecast"] is None
    for text in (b"not a sample\n", b'{"at": 1, "tables": {}}\n', b"[]\n"):
        file.write_bytes(text)
        assert (await here.refused("capacity", samples=str(file))).slug == "invalid-input"
        assert (await here.refused("capacity_record", samples=str(file))).slug == "invalid-input"
        assert file.read_bytes() == text


def test_a_line_is_found_again_and_its_interval_holds() -> None:
    line = growth.fitted([0, 1, 2, 3, 4], [10, 12, 14, 16, 18])
    assert (line.per_day, line.at(10)) == (2.0, (30.0, 30.0, 30.0))
    # quantiles as tables give them
    for freedom, known in ((3, 3.182), (5, 2.571), (10, 2.228), (30, 2.042)):
        assert math.isclose(growth.student(freedom), known, rel_tol=0.01), freedom
    # noise that is known: of many forecasts, about 95 in 100 hold
    import random

    draw, held = random.Random(7), 0
    for _ in range(400):
        values = [100 + 3 * day + draw.gauss(0, 5) for day in range(12)]
        _, low, high = growth.fitted(list(range(12)), values).at(20)
        held += low <= 100 + 3 * 20 + draw.gauss(0, 5) <= high
    assert 370 <= held <= 392

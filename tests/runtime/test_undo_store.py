"""The undo store on a real database: entries, families, sessions, quota and expiry."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import AsyncGenerator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from sqlalchemy import Table

from superagent.core.problems import TooLarge, Unavailable
from superagent.data.database import open_database
from superagent.runtime import undo_store
from superagent.runtime.undo_store import CALLERS, SHARES, SqlUndo
from superagent.testing import FakeClock
from tests.data.areas import check_area, older
from tests.runtime.stores import Stores, kept, stores
from tests.where import bytes_of, where

pytestmark = pytest.mark.usefixtures("each_database")

DAY = 86_400.0


@pytest_asyncio.fixture
async def made(tmp_path: Path) -> AsyncGenerator[Stores]:
    async with stores(tmp_path) as one:
        yield one


@pytest.fixture
def undo(made: Stores) -> SqlUndo:
    return SqlUndo(made.database, made.keys, made.clock, made.folder / "undo", quota_bytes=1_000)


async def made_rows(undo: SqlUndo, table: Table) -> int:
    database = undo._database  # pyright: ignore[reportPrivateUsage]
    return await database.read_instance(lambda tx: tx.count(table))


async def names(undo: SqlUndo, tenant: str = "default", **wanted: object) -> list[str]:
    return [one.invocation for one in await undo.of(tenant, **wanted)]  # pyright: ignore[reportArgumentType]


async def test_the_area_keeps_its_tenants_apart_and_its_migrations_true(tmp_path: Path) -> None:
    await check_area(undo_store.AREA, tmp_path)


async def test_an_entry_comes_back_as_it_was_kept(undo: SqlUndo) -> None:
    one = kept("01A", session="s", parent="01P", bytes=5, data={"deep": [1, {"x": None}]}, chain=("builder", "ada"))
    number = await undo.add(one)
    assert await undo.of("default", ids=["01A"]) == [replace(one, id=number, account="builder")]
    assert await undo.of("other", ids=["01A"]) == []


async def test_kept_data_lies_nowhere_in_clear(undo: SqlUndo, made: Stores) -> None:
    await undo.add(kept("01A", data={"was": "PLAINTEXT"}))
    assert b"PLAINTEXT" not in bytes_of(made.folder / "superagent.db")


async def test_closing_notes_the_state_that_was_left_and_the_data_where_it_grew(undo: SqlUndo) -> None:
    first, second = await undo.add(kept("01A")), await undo.add(kept("01A"))
    await undo.close("default", "01A", first, "a" * 64)
    await undo.close("default", "01A", second, None, {"was": "here", "time": 3})
    await undo.close("default", "01A", 999, "nobody")
    await undo.close("other", "01A", first, "another tenant's")
    await undo.close("default", "01B", first, "another call's")
    one, two = await undo.of("default", ids=["01A"])
    assert (one.after, one.closed, one.data) == ("a" * 64, True, {"was": "here"})
    assert (two.after, two.closed, two.data) == (None, True, {"was": "here", "time": 3})


async def test_a_dropped_entry_is_gone_and_its_room_is_free_again(undo: SqlUndo) -> None:
    number = await undo.add(kept("01A", bytes=600))
    assert await undo.room("default") == 400
    await undo.drop(number)
    await undo.drop(number)
    assert await undo.of("default", ids=["01A"]) == []
    assert await undo.room("default") == 1_000


async def test_over_quota_is_refused_and_other_tenants_have_their_own(undo: SqlUndo) -> None:
    await undo.add(kept("01A", bytes=900))
    with pytest.raises(TooLarge, match="1000 bytes") as refused:
        await undo.add(kept("01B", bytes=101))
    assert refused.value.changed == "nothing"
    assert await names(undo) == ["01A"]
    await undo.add(kept("01B", bytes=100))
    await undo.add(kept("01C", tenant="other", bytes=1_000))
    assert (await undo.room("default"), await undo.room("other"), await undo.room("third")) == (0, 0, 1_000)


async def test_who_acts_for_somebody_has_only_a_share_and_the_others_theirs(undo: SqlUndo) -> None:
    mine: dict[str, Any] = {"principal": "builder", "chain": ("builder", "ada")}
    number = await undo.add(kept("01A", bytes=250, **mine))
    with pytest.raises(TooLarge, match="its share of 250 bytes") as refused:
        await undo.add(kept("01B", bytes=1, **mine))
    assert refused.value.changed == "nothing"
    assert "agent_share" in (refused.value.hint or "")
    assert await undo.room("default", ("builder", "ada")) == 0
    assert await undo.room("default", ("painter", "ada")) == 250
    assert await undo.room("default", ("ada",)) == await undo.room("default") == 750
    assert await undo.room("other", ("builder", "ada")) == 250
    await undo.add(kept("01C", bytes=250, principal="painter", chain=("painter", "ada")))
    await undo.add(kept("01D", bytes=400, principal="ada", chain=("ada",)))
    assert await undo.room("default", ("writer", "ada")) == 100  # all of the tenant that is left
    await undo.drop(number)
    await undo.add(kept("01B", bytes=200, **mine))


async def test_a_share_has_a_number_of_changes_too(made: Stores) -> None:
    undo = SqlUndo(made.database, made.keys, made.clock, made.folder / "undo", most_entries=2)
    mine: dict[str, Any] = {"principal": "builder", "chain": ("builder", "ada")}
    first = await undo.add(kept("01A", **mine))
    await undo.add(kept("01B", **mine))
    with pytest.raises(TooLarge, match="2 changes"):
        await undo.add(kept("01C", **mine))
    await undo.add(kept("01D", principal="ada", chain=("ada",)))
    await undo.drop(first)
    await undo.add(kept("01C", **mine))


async def test_what_expires_is_taken_off_the_share_it_was_on(undo: SqlUndo) -> None:
    mine: dict[str, Any] = {"principal": "builder", "chain": ("builder", "ada")}
    await undo.add(kept("01A", bytes=100, until=1.0, **mine))
    await undo.add(kept("01B", bytes=50, **mine))
    await undo.add(kept("01C", bytes=7, until=1.0, principal="painter", chain=("painter", "ada")))
    assert await undo.sweep() == 2
    assert await undo.room("default", ("builder", "ada")) == 200
    assert await made_rows(undo, SHARES) == 2  # hers, and the sum of the tenant


async def test_the_quota_holds_when_many_add_at_once(undo: SqlUndo) -> None:
    added = await asyncio.gather(*(undo.add(kept("01A", bytes=300)) for _ in range(10)), return_exceptions=True)
    assert sum(isinstance(one, int) for one in added) == 3


async def test_an_invocation_is_given_with_all_that_it_called(undo: SqlUndo) -> None:
    led_to = {"01A": "", "01B": "01A", "01C": "01A 01B", "01X": "", "01D": "01A"}
    for id in ("01A", "01B", "01C", "01X", "01D", "01B"):
        callers = tuple(led_to[id].split())
        await undo.add(kept(id, parent=(callers or ("",))[-1], callers=callers))
    assert await names(undo, ids=["01A"]) == ["01A", "01B", "01C", "01D", "01B"]
    assert await names(undo, ids=["01B", "01X"]) == ["01B", "01C", "01X", "01B"]
    assert await names(undo, "other", ids=["01A"]) == []
    assert await names(undo, ids=["01Z"]) == []


async def test_what_is_between_a_call_and_what_it_led_to_need_not_have_kept_anything(undo: SqlUndo) -> None:
    await undo.add(kept("01D", parent="01C", callers=("01A", "01B", "01C")))
    await undo.add(kept("01Y", parent="01X", callers=("01X",)))
    for id in ("01A", "01B", "01C", "01D"):
        assert await names(undo, ids=[id]) == ["01D"]
    assert (await undo.of("default", ids=["01A"]))[0].callers == ("01A", "01B", "01C")
    assert await names(undo, "other", ids=["01A"]) == []
    for entry in await undo.of("default"):
        await undo.drop(entry.id)
    rows = await made_rows(undo, CALLERS)
    assert rows == 0


async def test_more_entries_than_one_step_are_given_with_who_acted_and_what_led_to_them(
    undo: SqlUndo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(undo_store, "_AT_ONCE", 2)
    for number in range(5):
        await undo.add(kept(f"01{number}", parent="01P", chain=(f"agent{number}", "ada")))
    found = await undo.of("default", ids=["01P"])
    assert [(one.chain, one.callers) for one in found] == [((f"agent{n}", "ada"), ("01P",)) for n in range(5)]


async def test_an_older_database_learns_what_led_to_its_entries(tmp_path: Path) -> None:
    async with older(tmp_path / "superagent.db", undo_store.AREA, "undo_0001") as run:
        run("INSERT INTO undo_usage VALUES ('default', 30)")
        for id, (invocation, parent) in enumerate(
            [("01A", ""), ("01B", "01A"), ("01C", "01B"), ("01X", ""), ("01Q", "01R"), ("01R", "01Q")], 1
        ):
            run(
                "INSERT INTO undo_entries VALUES ('default', ?, ?, ?, 'files.write', 1, 'builder', '', 'path://local/a',"
                " 1, ?, 1, 2e9, NULL, NULL, ?, '', 5)",
                id,
                invocation,
                parent,
                b"\0",
                True,
            )
    database = await open_database(where(tmp_path / "superagent.db"), [undo_store.AREA], copies=tmp_path)
    try:
        rows = await database.read("default", lambda tx: tx.select(CALLERS, order=[CALLERS.c.entry, CALLERS.c.place]))
        shares = await database.read("default", lambda tx: tx.select(SHARES))
    finally:
        await database.close()
    assert [(row.entry, row.invocation) for row in rows] == [
        (2, "01A"), (3, "01A"), (3, "01B"), (5, "01R"), (6, "01Q"),
    ]  # fmt: skip
    assert sorted(tuple(row) for row in shares) == [("default", "", 30, 6), ("default", "builder", 30, 6)]


async def test_a_family_that_turns_in_a_circle_ends(undo: SqlUndo) -> None:
    await undo.add(kept("01A", parent="01B"))
    await undo.add(kept("01B", parent="01A"))
    assert await names(undo, ids=["01A"]) == ["01A", "01B"]


async def test_a_session_is_given_to_who_acted_in_it_or_on_whose_behalf(undo: SqlUndo) -> None:
    await undo.add(kept("01A", session="s", chain=("builder", "ada")))
    await undo.add(kept("01B", session="s", principal="eve"))
    await undo.add(kept("01C", session="t", chain=("builder", "ada")))
    assert await names(undo, session="s") == ["01A", "01B"]
    assert await names(undo, session="s", principal="builder") == ["01A"]
    assert await names(undo, session="s", principal="ada") == ["01A"]
    assert await names(undo, session="s", principal="eve") == ["01B"]
    assert await names(undo, principal="ada") == ["01A", "01C"]
    assert await names(undo, "other", principal="ada") == []


async def test_of_too_many_the_newest_are_given_for_they_go_first(undo: SqlUndo) -> None:
    for n in range(5):
        await undo.add(kept(f"01{n}", at=1_700_000_000.0 + n))
    assert await names(undo, limit=2) == ["013", "014"]
    assert await names(undo, since=1_700_000_003.0) == ["013", "014"]


async def test_who_took_entries_back_is_noted_and_can_be_unsaid(undo: SqlUndo) -> None:
    numbers = [await undo.add(kept("01A")) for _ in range(3)]
    await undo.mark_undone(numbers[:2], "01U")
    assert [one.undone_by for one in await undo.of("default")] == ["01U", "01U", ""]
    await undo.reopen("other", "01U")
    assert [one.undone_by for one in await undo.of("default")] == ["01U", "01U", ""]
    await undo.reopen("default", "01U")
    assert [one.undone_by for one in await undo.of("default")] == ["", "", ""]


async def test_after_seven_days_an_entry_and_its_content_are_gone(made: Stores) -> None:
    now = time.time()
    undo = SqlUndo(made.database, made.keys, clock := FakeClock(now), made.folder / "undo", quota_bytes=1_000)
    digest = await asyncio.to_thread(undo.content.put, b"what stood there")
    await undo.add(kept("01A", at=now, until=now + 7 * DAY, bytes=16))
    await undo.add(kept("01B", tenant="other", at=now, until=now + 30 * DAY, bytes=16))
    clock.advance(7 * DAY - 1)
    assert await undo.sweep() == 0
    assert await names(undo) == ["01A"]
    clock.advance(1)
    assert await names(undo) == []
    assert await undo.sweep() == 1
    assert await undo.room("default") == 1_000
    os.close(undo.content.open(digest))
    clock.advance(DAY + 60)
    assert await undo.sweep() == 0
    with pytest.raises(Unavailable):
        undo.content.open(digest)
    assert await names(undo, "other") == ["01B"]


async def test_a_sweep_takes_more_entries_than_one_step(undo: SqlUndo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(undo_store, "_AT_ONCE", 2)
    for _ in range(5):
        await undo.add(kept("01A", until=1.0))
    assert await undo.sweep() == 5


PROGRAM = """
import asyncio, sys
from pathlib import Path
from superagent.runtime.undo_store import SqlUndo
from tests.runtime.stores import kept, stores

async def main():
    async with stores(Path(sys.argv[1])) as made:
        undo = SqlUndo(made.database, made.keys, made.clock, made.folder / "undo")
        for n in range(10_000):
            digest = await asyncio.to_thread(undo.content.put, b"%d" % n)
            print(await undo.add(kept(f"01{n}", data={"content": digest})), flush=True)

asyncio.run(main())
"""


async def test_what_was_kept_is_there_after_kill_9(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", PROGRAM, tmp_path], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        said = [child.stdout.readline() for _ in range(40)]
        child.kill()
        said += child.stdout.readlines()
    async with stores(tmp_path) as made:
        undo = SqlUndo(made.database, made.keys, made.clock, made.folder / "undo")
        found = {one.id: one for one in await undo.of("default", limit=10_000)}
        for number in (int(line) for line in said if line.endswith("\n")):
            with open(undo.content.open(found[number].data["content"]), "rb") as file:
                assert file.read() == found[number].invocation[2:].encode()

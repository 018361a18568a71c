"""Idempotency on a real database: one key, one effect, whatever happens to the process."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncGenerator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from superagent.core.bounds import Bounds
from superagent.core.grants import Grant
from superagent.core.invocation import Outcome, Status
from superagent.core.ports import Remembered
from superagent.core.problems import Conflict, IdempotencyMismatch, InvalidInput, TooLarge
from superagent.data.database import open_database
from superagent.runtime import idempotency
from superagent.runtime.idempotency import USAGE, SqlIdempotency
from superagent.runtime.presence import Presence
from superagent.runtime.work import SqlWork
from superagent.testing import agent, person
from tests.data.areas import check_area, older
from tests.runtime.stores import Stores, held, stores, ticket
from tests.where import where

pytestmark = pytest.mark.usefixtures("each_database")

DAY = 86_400.0


@pytest_asyncio.fixture
async def made(tmp_path: Path) -> AsyncGenerator[Stores]:
    async with stores(tmp_path) as one:
        yield one


@pytest.fixture
def memory(made: Stores) -> SqlIdempotency:
    return SqlIdempotency(made.database, made.keys, made.clock, made.presence)


def done(id: str) -> Outcome:
    return Outcome(id, "parrot.say", Status.DONE, b'{"text":"hello"}')


async def test_the_area_keeps_its_tenants_apart_and_its_migrations_true(tmp_path: Path) -> None:
    await check_area(idempotency.AREA, tmp_path)


async def test_the_second_call_gets_the_outcome_of_the_first(memory: SqlIdempotency) -> None:
    assert await memory.begin(ticket("01A", key="k")) is None
    assert await memory.begin(ticket("01B", key="k")) == Remembered("01A", None)
    await memory.finish(ticket("01A", key="k"), done("01A"))
    assert await memory.begin(ticket("01C", key="k")) == Remembered("01A", done("01A"))


async def test_a_failure_is_remembered_with_its_problem(memory: SqlIdempotency) -> None:
    await memory.begin(ticket("01A", key="k"))
    failed = Outcome("01A", "parrot.say", Status.FAILED, problem=Conflict("no", changed="partly"))
    await memory.finish(ticket("01A", key="k"), failed)
    earlier = await memory.begin(ticket("01B", key="k"))
    assert earlier is not None
    assert earlier.outcome is not None
    assert isinstance(earlier.outcome.problem, Conflict)
    assert earlier.outcome.problem.changed == "partly"


async def test_of_many_at_once_one_begins(memory: SqlIdempotency) -> None:
    begun = await asyncio.gather(*(memory.begin(ticket(f"01{n}", key="k")) for n in range(10)))
    assert begun.count(None) == 1


async def test_another_input_under_the_same_key_is_refused(memory: SqlIdempotency) -> None:
    await memory.begin(ticket("01A", key="k"))
    with pytest.raises(IdempotencyMismatch):
        await memory.begin(ticket("01B", key="k", input={"text": "bye"}))
    await memory.finish(ticket("01A", key="k"), done("01A"))
    with pytest.raises(IdempotencyMismatch):
        await memory.begin(ticket("01B", key="k", input={"text": "bye"}))


async def test_keys_of_other_people_and_other_keys_are_other_calls(memory: SqlIdempotency) -> None:
    assert await memory.begin(ticket("01A", key="k")) is None
    assert await memory.begin(ticket("01B", key="k", by=person("eve"))) is None
    assert await memory.begin(ticket("01C", key="l")) is None


async def test_the_same_invocation_taken_up_again_begins_again(memory: SqlIdempotency, made: Stores) -> None:
    assert await memory.begin(ticket("01A", key="k")) is None
    other = Presence(made.folder / "presence")
    resumed = SqlIdempotency(made.database, made.keys, made.clock, other)
    assert await resumed.begin(ticket("01A", key="k")) is None
    made.presence.leave()  # who began it first is gone; who took it up lives
    assert await resumed.begin(ticket("01B", key="k")) == Remembered("01A", None)
    other.leave()
    made.presence.__init__(made.folder / "presence")


async def test_what_its_process_did_not_survive_is_unknown_and_never_run_again(
    memory: SqlIdempotency, made: Stores
) -> None:
    dead = Presence(made.folder / "presence")
    await SqlIdempotency(made.database, made.keys, made.clock, dead).begin(ticket("01A", key="k"))
    dead.leave()
    for id in ("01B", "01C"):
        earlier = await memory.begin(ticket(id, key="k"))
        assert earlier is not None
        assert earlier.invocation == "01A"
        assert earlier.outcome is not None
        assert earlier.outcome.status is Status.UNKNOWN


async def test_what_is_still_queued_after_a_crash_is_running_not_unknown(memory: SqlIdempotency, made: Stores) -> None:
    dead = Presence(made.folder / "presence")
    await SqlIdempotency(made.database, made.keys, made.clock, dead).begin(ticket("01A", key="k"))
    await SqlWork(made.database, made.keys, made.clock, dead).hold(held("01A", Status.QUEUED))
    dead.leave()
    assert await memory.begin(ticket("01B", key="k")) == Remembered("01A", None)


async def test_a_call_refused_before_its_intent_is_forgotten_and_only_its_own(memory: SqlIdempotency) -> None:
    await memory.begin(ticket("01A", key="k"))
    await memory.forget(ticket("01B", key="k"))
    assert await memory.begin(ticket("01C", key="k")) == Remembered("01A", None)
    await memory.forget(ticket("01A", key="k"))
    assert await memory.begin(ticket("01D", key="k")) is None


async def test_a_key_is_remembered_for_24_hours(memory: SqlIdempotency, made: Stores) -> None:
    await memory.begin(ticket("01A", key="k"))
    await memory.finish(ticket("01A", key="k"), done("01A"))
    made.clock.advance(DAY - 1)
    assert await memory.begin(ticket("01B", key="k")) == Remembered("01A", done("01A"))
    assert await memory.sweep() == 0
    made.clock.advance(1)
    assert await memory.begin(ticket("01C", key="k", input={"text": "other"})) is None  # also before a sweep
    made.clock.advance(DAY)
    assert await memory.sweep() == 1


async def test_who_made_a_call_is_told_of_it_by_its_invocation_and_nobody_else(
    memory: SqlIdempotency, made: Stores
) -> None:
    one = ticket("01A", key="k")
    who, asked = one.invocation.principal, one.input_digest
    narrow, wide = (who.within(Bounds([Grant(effect="allow", operations=[name])])) for name in ("a.*", "*"))
    await memory.begin(one)
    assert await memory.told(who, "01A", asked) is None  # it runs
    await memory.finish(one, done("01A"))
    await memory.begin(ticket("01B", key="k2", by=narrow))
    await memory.finish(ticket("01B", key="k2", by=narrow), done("01B"))

    assert await memory.told(who, "01A", asked) == done("01A")
    assert await memory.told(narrow, "01B", asked) == done("01B")
    others = (person(), agent("other"), narrow, wide, replace(person("builder"), tenant="other"))
    assert [await memory.told(other, "01A", asked) for other in others] == [None] * 5
    assert [await memory.told(other, "01B", asked) for other in (who, wide)] == [None] * 2
    assert await memory.told(who, "01A", "0" * 64) is None
    assert await memory.told(who, "01C", asked) is None
    made.clock.advance(DAY)
    assert await memory.told(who, "01A", asked) is None  # also before a sweep


async def used(made: Stores) -> dict[str, int]:
    rows = await made.database.read("default", lambda tx: tx.select(USAGE))
    return {row.principal: row.bytes for row in rows}


def large(id: str) -> Outcome:
    return Outcome(id, "parrot.say", Status.DONE, b'"%b"' % (b"x" * 3_000))


async def test_who_acts_for_somebody_has_only_a_share_and_the_others_theirs(made: Stores) -> None:
    memory = SqlIdempotency(made.database, made.keys, made.clock, made.presence, quota_bytes=16_384)
    await memory.begin(ticket("01A", key="a"))
    await memory.finish(ticket("01A", key="a"), large("01A"))
    with pytest.raises(TooLarge, match="your share of 4096 bytes") as refused:
        await memory.begin(ticket("01B", key="b"))
    assert "without a key" in (refused.value.hint or "")
    assert await memory.begin(ticket("01C", key="a")) == Remembered("01A", large("01A"))
    other = agent("painter")
    assert await memory.begin(ticket("01D", key="a", by=other)) is None
    for number in range(10):  # a person has no share, only the tenant's quota
        assert await memory.begin(ticket(f"01E{number}", key=f"{number}", by=person())) is None
    with pytest.raises(TooLarge, match="this tenant's 16384 bytes"):
        await memory.begin(ticket("01F", key="f", by=person()))
    assert sum((await used(made)).values()) <= 16_384


async def test_what_is_forgotten_is_no_longer_counted(memory: SqlIdempotency, made: Stores) -> None:
    begun = ticket("01A", key="a")
    await memory.begin(begun)
    await memory.forget(begun)
    await memory.forget(begun)
    assert await used(made) == {"builder": 0}
    for key in "abc":
        await memory.begin(ticket(f"01{key}", key=key))
    await memory.finish(ticket("01a", key="a"), large("01a"))
    await memory.finish(ticket("01a", key="a"), large("01a"))
    await memory.finish(ticket("01z", key="z"), large("01z"))  # it was never begun
    before = (await used(made))["builder"]
    assert 3 * 1024 + 3_000 < before < 3 * 1024 + 4_000
    made.clock.advance(DAY)
    assert await memory.begin(ticket("01B", key="a")) is None  # the same key anew: its old outcome is gone
    assert (await used(made))["builder"] == 3 * 1024
    assert await memory.sweep() == 2
    assert (await used(made))["builder"] == 1024
    made.clock.advance(DAY)
    assert await memory.sweep() == 1
    assert await used(made) == {}


async def test_a_sweep_takes_more_keys_than_one_step(
    memory: SqlIdempotency, made: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(idempotency, "SWEEP_AT_ONCE", 2)
    for number in range(5):
        await memory.begin(ticket(f"01{number}", key=str(number), by=agent(f"agent{number % 2}")))
    made.clock.advance(DAY)
    assert await memory.sweep() == 5
    assert await used(made) == {}


async def test_an_older_database_learns_what_its_keys_take(tmp_path: Path) -> None:
    path = tmp_path / "older.db"
    async with older(path, idempotency.AREA, "idempotency_0001") as run:
        for key, outcome in (("a", b"x" * 100), ("b", None)):
            run(
                "INSERT INTO idempotency_calls VALUES ('default', 'builder', 'parrot.say', ?, '', '01A', '', 2e9, ?)",
                key,
                outcome,
            )
    database = await open_database(where(path), [idempotency.AREA], copies=path.parent)
    try:
        rows = await database.read("default", lambda tx: tx.select(USAGE))
    finally:
        await database.close()
    assert [tuple(row) for row in rows] == [("default", "builder", 2 * 1024 + 100)]


async def test_a_key_has_a_bounded_length(memory: SqlIdempotency) -> None:
    assert await memory.begin(ticket("01A", key="k" * 255)) is None
    with pytest.raises(InvalidInput, match="255"):
        await memory.begin(ticket("01B", key="k" * 256))


PROGRAM = """
import asyncio, sys
from pathlib import Path
from superagent.core.invocation import Outcome, Status
from superagent.runtime.idempotency import SqlIdempotency
from tests.runtime.stores import stores, ticket

async def main():
    async with stores(Path(sys.argv[1])) as made:
        memory = SqlIdempotency(made.database, made.keys, made.clock, made.presence)
        for n in range(10_000):
            one = ticket(f"01{n}", key=f"k{n}")
            await memory.begin(one)
            print("begun", n, flush=True)
            await memory.finish(one, Outcome(f"01{n}", "parrot.say", Status.DONE))
            print("done", n, flush=True)

asyncio.run(main())
"""


async def test_after_kill_9_no_key_that_began_can_begin_again(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", PROGRAM, tmp_path], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        said = [child.stdout.readline() for _ in range(101)]
        child.kill()
        said += child.stdout.readlines()
    last = {n: step for step, n in (line.split() for line in said if line.endswith("\n"))}
    async with stores(tmp_path) as made:
        memory = SqlIdempotency(made.database, made.keys, made.clock, made.presence)
        for n, step in last.items():
            earlier = await memory.begin(ticket(f"02{n}", key=f"k{n}"))
            assert earlier is not None
            assert earlier.outcome is not None
            expected = {Status.DONE} if step == "done" else {Status.DONE, Status.UNKNOWN}
            assert earlier.outcome.status in expected

"""Stored work on a real database: waiting, approving, running, dying, and what is left."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncGenerator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio
from msgspec import structs

from superagent.core.invocation import Outcome, Status
from superagent.core.ports import Held
from superagent.core.problems import Conflict, Denied, RateLimited, TooLarge
from superagent.data.transaction import Transaction
from superagent.runtime import work as stored_work
from superagent.runtime import work_events, work_tables
from superagent.runtime.presence import Presence
from superagent.runtime.work import SqlWork
from tests.data.areas import check_area
from tests.runtime.stores import Stores, held, stores
from tests.where import beside, bytes_of

pytestmark = pytest.mark.usefixtures("each_database")

DAY = 86_400.0


@pytest_asyncio.fixture
async def made(tmp_path: Path) -> AsyncGenerator[Stores]:
    async with stores(tmp_path) as one:
        yield one


@pytest.fixture
def work(made: Stores) -> SqlWork:
    return SqlWork(made.database, made.keys, made.clock, made.presence)


def another(made: Stores) -> tuple[SqlWork, Presence]:
    """Give the work of another process on the same database."""
    presence = Presence(made.folder / "presence")
    return SqlWork(made.database, made.keys, made.clock, presence), presence


async def state_of(work: SqlWork, id: str) -> Status | None:
    found = await work.get("default", id)
    return found and found.state


async def test_the_area_keeps_its_tenants_apart_and_its_migrations_true(tmp_path: Path) -> None:
    await check_area(work_tables.AREA, tmp_path)


async def test_a_waiting_call_is_found_by_its_tenant_only(work: SqlWork) -> None:
    one = replace(held("01A"), hash="h", preview={"diff": "+x"}, resources=("CHANGE path://local/a",))
    await work.hold(one)
    back = await work.get("default", "01A")
    assert back is not None
    assert replace(back, invocation=one.invocation) == one
    assert back.invocation.call == one.invocation.call
    assert await work.get("other", "01A") is None
    assert await work.waiting("other") == []
    assert await work.get("default", "01B") is None


async def test_what_waits_is_listed_in_pages_oldest_first(work: SqlWork) -> None:
    for id in ("01C", "01A", "01B"):
        await work.hold(held(id))
    await work.hold(held("01D", Status.QUEUED))
    assert [one.id for one in await work.waiting("default")] == ["01A", "01B", "01C"]
    assert [one.id for one in await work.waiting("default", limit=1, after="01A")] == ["01B"]


async def test_bodies_previews_outcomes_and_events_are_nowhere_in_clear(work: SqlWork, made: Stores) -> None:
    one = held("01A", preview={"diff": "PLAINTEXT preview"})
    call = structs.replace(one.invocation.call, input={"text": "PLAINTEXT input"}, reason="PLAINTEXT reason")
    await work.hold(replace(one, invocation=structs.replace(one.invocation, call=call)))
    await work.append("default", "01A", b"PLAINTEXT event")
    await work.finish("default", Outcome("01A", "parrot.say", Status.DONE, b'"PLAINTEXT output"'))
    assert b"PLAINTEXT" not in bytes_of(made.folder / "superagent.db")


async def test_a_body_moved_to_another_row_is_not_opened(work: SqlWork, made: Stores) -> None:
    await work.hold(held("01A"))
    await work.hold(held("01B"))
    table = work_tables.INVOCATIONS

    def swap(tx: Transaction) -> None:
        row = tx.first(table, table.c.id == "01A")
        assert row is not None
        tx.update(table, table.c.id == "01B", body=row.body)

    await made.database.write("default", swap)
    with pytest.raises(Denied):
        await work.get("default", "01B")


async def test_approvals_count_people_once_each(work: SqlWork) -> None:
    await work.hold(held("01A", approvals_needed=2))
    assert (await work.approve("default", "01A", "eve")).approved_by == ("eve",)
    with pytest.raises(Conflict, match="already"):
        await work.approve("default", "01A", "eve")
    assert sorted((await work.approve("default", "01A", "bob")).approved_by) == ["bob", "eve"]
    found = await work.get("default", "01A")
    assert found is not None
    assert len(found.approved_by) == 2


async def test_the_same_person_approving_twice_at_once_counts_once(work: SqlWork) -> None:
    await work.hold(held("01A", approvals_needed=2))
    tries = await asyncio.gather(*(work.approve("default", "01A", "eve") for _ in range(5)), return_exceptions=True)
    assert sorted(type(one).__name__ for one in tries) == ["Conflict"] * 4 + ["Held"]


async def test_what_no_longer_waits_cannot_be_approved(work: SqlWork, made: Stores) -> None:
    await work.hold(held("01A"))
    await work.hold(held("01B", Status.QUEUED))
    assert await work.move("default", "01A", [Status.WAITING], Status.CANCELLED)
    await work.hold(held("01C"))
    made.clock.advance(DAY)
    for id in ("01A", "01B", "01C", "01D"):
        with pytest.raises(Conflict, match="no longer waits"):
            await work.approve("default", id, "eve")
    with pytest.raises(Conflict):
        await work.approve("other", "01C", "eve")


async def test_many_processes_moving_one_call_move_it_once(work: SqlWork, made: Stores) -> None:
    other, presence = another(made)
    await work.hold(held("01A", Status.QUEUED))
    moves = [one.move("default", "01A", [Status.QUEUED], Status.RUNNING) for one in (work, other) * 5]
    assert sum(await asyncio.gather(*moves)) == 1
    assert not await work.move("other", "01A", [Status.RUNNING], Status.DONE)
    presence.leave()


async def test_an_outcome_ends_what_ran(work: SqlWork) -> None:
    await work.hold(held("01A", Status.QUEUED))
    assert await work.outcome("default", "01A") is None
    assert await work.move("default", "01A", [Status.QUEUED], Status.RUNNING)
    done = Outcome("01A", "parrot.say", Status.DONE, b"{}")
    await work.finish("default", done)
    assert await work.outcome("default", "01A") == done
    assert await work.outcome("other", "01A") is None
    assert await work.outcome("default", "01B") is None
    assert await state_of(work, "01A") is Status.DONE


async def test_an_outcome_does_not_change_an_end_that_was_decided(work: SqlWork) -> None:
    await work.hold(held("01A"))
    assert await work.move("default", "01A", [Status.WAITING], Status.CANCELLED)
    await work.finish("default", Outcome("01A", "parrot.say", Status.FAILED, problem=Denied("no")))
    assert await state_of(work, "01A") is Status.CANCELLED
    outcome = await work.outcome("default", "01A")
    assert outcome is not None
    assert isinstance(outcome.problem, Denied)


async def test_events_are_numbered_and_read_on_from_anywhere(work: SqlWork) -> None:
    numbers = await asyncio.gather(*(work.append("default", "01A", b"%d" % n) for n in range(20)))
    assert sorted(numbers) == list(range(1, 21))
    assert await work.append("default", "01B", b"x") == 1
    assert await work.append("other", "01A", b"x") == 1
    events = await work.events("default", "01A", 0)
    assert [number for number, _ in events] == list(range(1, 21))
    assert await work.events("default", "01A", 18) == events[18:]
    assert await work.events("default", "01A", 3, limit=2) == events[3:5]


async def test_a_stream_is_bounded_in_events_and_bytes(work: SqlWork, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work_events, "MOST_EVENTS", 3)
    monkeypatch.setattr(work_events, "MOST_BYTES", 100)
    for _ in range(3):
        await work.append("default", "01A", b"x")
    with pytest.raises(TooLarge):
        await work.append("default", "01A", b"x")
    assert len(await work.events("default", "01A", 0)) == 3
    await work.append("default", "01B", b"x" * 100)
    with pytest.raises(TooLarge):
        await work.append("default", "01B", b"x")


async def test_what_a_dead_process_ran_is_unknown_and_what_is_queued_is_given_back(work: SqlWork, made: Stores) -> None:
    other, presence = another(made)
    for id, state in (("01A", Status.QUEUED), ("01B", Status.QUEUED), ("01C", Status.WAITING), ("01D", Status.QUEUED)):
        await work.hold(held(id, state))
    assert await other.move("default", "01A", [Status.QUEUED], Status.RUNNING)
    assert await work.move("default", "01D", [Status.QUEUED], Status.RUNNING)
    assert [one.id for one in await work.at_start()] == ["01B"]
    assert await state_of(work, "01A") is Status.RUNNING  # it lives
    presence.leave()
    assert [one.id for one in await work.at_start()] == ["01B"]
    assert await state_of(work, "01A") is Status.UNKNOWN
    outcome = await work.outcome("default", "01A")
    assert outcome is not None
    assert outcome.problem is not None
    assert outcome.problem.changed == "unknown"
    assert await state_of(work, "01D") is Status.RUNNING
    await other.finish("default", Outcome("01A", "parrot.say", Status.DONE))  # it was not dead after all
    assert await state_of(work, "01A") is Status.DONE


async def test_what_others_settle_meanwhile_is_settled_once(work: SqlWork, made: Stores) -> None:
    other, presence = another(made)
    await work.hold(held("01A", Status.QUEUED))
    assert await other.move("default", "01A", [Status.QUEUED], Status.RUNNING)
    presence.leave()
    settled = await asyncio.gather(*(work.settle_lost() for _ in range(4)))
    assert sorted(len(one) for one in settled) == [0, 0, 0, 1]


async def test_what_a_living_process_took_up_meanwhile_is_not_called_unknown(
    work: SqlWork, made: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    other, presence = another(made)
    await work.hold(held("01A", Status.QUEUED))
    assert await other.move("default", "01A", [Status.QUEUED], Status.RUNNING)
    presence.leave()
    end = work._end  # pyright: ignore[reportPrivateUsage] - the moment between looking and writing

    async def late(found: Held, outcome: Outcome, owner: str = "") -> bool:
        assert await work.move("default", "01A", [Status.RUNNING], Status.QUEUED)
        assert await work.move("default", "01A", [Status.QUEUED], Status.RUNNING)
        return await end(found, outcome, owner)

    monkeypatch.setattr(work, "_end", late)
    assert await work.settle_lost() == []
    assert await state_of(work, "01A") is Status.RUNNING
    assert await work.outcome("default", "01A") is None


async def test_a_sweep_settles_what_a_sibling_left_when_it_died(work: SqlWork, made: Stores) -> None:
    other, presence = another(made)
    await work.hold(held("01A", Status.QUEUED))
    assert await other.move("default", "01A", [Status.QUEUED], Status.RUNNING)
    await work.sweep()
    assert await state_of(work, "01A") is Status.RUNNING
    presence.leave()
    await work.sweep()
    assert await state_of(work, "01A") is Status.UNKNOWN


async def test_what_nobody_took_up_for_a_while_is_ready_again(work: SqlWork, made: Stores) -> None:
    await work.hold(replace(held("01A", Status.QUEUED), at=made.clock.now()))
    assert await work.ready(older_s=10) == []
    made.clock.advance(11)
    assert [one.id for one in await work.ready(older_s=10)] == ["01A"]
    assert await work.move("default", "01A", [Status.QUEUED], Status.RUNNING)
    assert await work.ready() == []
    assert await work.move("default", "01A", [Status.RUNNING], Status.QUEUED)
    assert [one.id for one in await work.ready()] == ["01A"]


async def test_what_waits_too_long_expires_and_what_ended_long_ago_is_forgotten(work: SqlWork, made: Stores) -> None:
    await work.hold(held("01A"))
    await work.hold(held("01B", Status.QUEUED))
    await work.hold(held("01C", Status.QUEUED))
    assert await work.move("default", "01C", [Status.QUEUED], Status.RUNNING)
    await work.append("default", "01C", b"tick")
    await work.append("default", "stray", b"tick")
    assert await work.sweep() == 0
    made.clock.advance(DAY + 1)
    await work.sweep()
    assert [await state_of(work, id) for id in ("01A", "01B", "01C")] == [
        Status.EXPIRED, Status.EXPIRED, Status.RUNNING,
    ]  # fmt: skip
    outcome = await work.outcome("default", "01A")
    assert outcome is not None
    assert (outcome.status, type(outcome.problem)) == (Status.EXPIRED, Conflict)
    assert await work.ready() == []
    assert await work.events("default", "stray", 0) == []
    assert len(await work.events("default", "01C", 0)) == 1
    await work.finish("default", Outcome("01C", "parrot.say", Status.DONE))
    made.clock.advance(7 * DAY + 1)
    await work.sweep()
    assert [await state_of(work, id) for id in ("01A", "01B", "01C")] == [None, None, None]
    assert await work.sweep() == 0


async def test_expiry_does_not_touch_what_was_approved_at_the_last_moment(
    work: SqlWork, made: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    await work.hold(held("01A"))
    made.clock.advance(DAY + 1)
    read = work.get

    async def late(tenant: str, id: str) -> Held | None:
        found = await read(tenant, id)
        assert await work.move(tenant, id, [Status.WAITING], Status.RUNNING)
        return found

    monkeypatch.setattr(work, "get", late)
    assert await work.sweep() == 1
    monkeypatch.undo()
    assert await state_of(work, "01A") is Status.RUNNING
    assert await work.outcome("default", "01A") is None


PROGRAM = """
import asyncio, sys
from pathlib import Path
from superagent.core.invocation import Outcome, Status
from superagent.runtime.work import SqlWork
from tests.runtime.stores import held, stores

async def main():
    async with stores(Path(sys.argv[1])) as made:
        work = SqlWork(made.database, made.keys, made.clock, made.presence)
        async def lane(name):
            for n in range(10_000):
                id = f"{name}-{n:06}"
                await work.hold(held(id, Status.QUEUED))
                print("queued", id, flush=True)
                await work.move("default", id, [Status.QUEUED], Status.RUNNING)
                print("running", id, flush=True)
                await work.finish("default", Outcome(id, "parrot.say", Status.DONE, b"{}"))
                print("done", id, flush=True)
        await asyncio.gather(*(lane(name) for name in "abcd"))

asyncio.run(main())
"""


async def test_after_kill_9_every_acknowledged_step_is_there_and_nothing_runs(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", PROGRAM, tmp_path], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        said = [child.stdout.readline() for _ in range(200)]
        child.kill()
        said += child.stdout.readlines()
    steps = [line.split() for line in said if line.endswith("\n")]
    assert len(steps) >= 200
    last = {id: step for step, id in steps}
    async with stores(tmp_path) as made:
        work = SqlWork(made.database, made.keys, made.clock, made.presence)
        ready = {one.id for one in await work.at_start()}
        for id, step in last.items():
            state = await state_of(work, id)
            later = {"queued": (Status.QUEUED, Status.UNKNOWN, Status.DONE), "running": (Status.UNKNOWN, Status.DONE)}
            assert state in later.get(step, (Status.DONE,)), (id, step, state)
            assert (state is Status.QUEUED) == (id in ready)
    with beside(tmp_path / "superagent.db") as run:
        assert run("SELECT count(*) FROM work_invocations WHERE state = 'running'") == [(0,)]


async def test_the_same_request_is_given_instead_of_a_second(work: SqlWork, made: Stores) -> None:
    first = held("01A", hash="same")
    assert await work.ask(first) == first
    other, presence = another(made)
    joined = await other.ask(held("01B", hash="same"))
    presence.leave()
    assert replace(joined, invocation=first.invocation) == replace(first, asked=2)
    found = await work.get("default", "01A")
    assert found is not None
    assert found.asked == 2
    assert await work.get("default", "01B") is None
    assert (await work.ask(held("01C", hash="other"))).id == "01C"
    assert (await work.ask(held("01D", tenant="elsewhere", hash="same"))).id == "01D"
    asked_in_a_session = structs.replace(first.invocation, call=structs.replace(first.invocation.call, session="s"))
    assert (await work.ask(replace(held("01E", hash="same"), invocation=asked_in_a_session))).id == "01E"
    assert [one.id for one in await work.waiting("default")] == ["01A", "01C", "01E"]


async def test_what_no_longer_waits_is_joined_by_nobody(work: SqlWork, made: Stores) -> None:
    await work.ask(held("01A", hash="same"))
    assert await work.move("default", "01A", [Status.WAITING], Status.CANCELLED)
    assert (await work.ask(held("01B", hash="same"))).id == "01B"
    made.clock.advance(DAY)  # it has expired, also before a sweep says so
    later = replace(held("01C", hash="same"), until=made.clock.now() + DAY)
    assert (await work.ask(later)).id == "01C"


async def test_a_forgotten_request_leaves_nothing(work: SqlWork, made: Stores) -> None:
    await work.ask(held("01A", hash="same"))
    await work.sweep()
    made.clock.advance(DAY + 1)
    await work.sweep()
    made.clock.advance(7 * DAY + 1)
    await work.sweep()
    assert await work.get("default", "01A") is None
    assert await made.database.read("default", lambda tx: tx.count(work_tables.REQUESTS)) == 0


async def test_a_caller_has_only_so_many_that_wait(work: SqlWork, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored_work, "MOST_WAITING", 2)
    for id in ("01A", "01B"):
        await work.ask(held(id, hash=id))
    with pytest.raises(RateLimited, match="2 of your calls") as refused:
        await work.ask(held("01C", hash="01C"))
    assert "jobs.cancel" in (refused.value.hint or "")
    assert (await work.ask(held("01D", hash="01A"))).asked == 2
    assert (await work.ask(held("01E", tenant="elsewhere", hash="01C"))).id == "01E"
    await work.hold(held("01F", Status.QUEUED))  # what is queued does not count
    await work.move("default", "01A", [Status.WAITING], Status.RUNNING)
    assert (await work.ask(held("01C", hash="01C"))).id == "01C"


async def test_an_invocation_keeps_what_led_to_it(work: SqlWork) -> None:
    one = held("01C")
    await work.hold(replace(one, invocation=structs.replace(one.invocation, parent="01B", callers=("01A", "01B"))))
    found = await work.get("default", "01C")
    assert found is not None
    assert found.invocation.callers == ("01A", "01B")

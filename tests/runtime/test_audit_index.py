"""The audit index finds records by who, what, where and when, belongs to a tenant, and is only a copy."""

from __future__ import annotations

import asyncio
import fcntl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from time import monotonic
from typing import Any

import msgspec
import pytest

from superagent.core.audit import AuditRecord
from superagent.core.problems import InvalidInput, Unavailable
from superagent.data.database import Database, open_database
from superagent.runtime import audit_index, audit_tail
from superagent.runtime.audit_index import AREA, AuditIndex, IndexedRecord
from superagent.runtime.audit_log import AuditLog
from superagent.runtime.audit_pace import Pace
from superagent.runtime.audit_tables import BLOCKS, CHAINS
from tests.data.areas import check_area, older
from tests.runtime.audit_book import SMALL, a_log, record
from tests.until import until_async
from tests.where import where

pytestmark = pytest.mark.usefixtures("each_database")


@dataclass(slots=True)
class Place:
    """A running log with its index."""

    directory: Path
    database: Database
    log: AuditLog
    index: AuditIndex

    async def names(self, tenant: str = "default", **filters: Any) -> list[str]:
        """Give the invocations that a query finds, newest first, over all pages."""
        found: list[str] = []
        cursor = None
        while True:
            records, cursor = await self.index.query(tenant, **filters, cursor=cursor)
            found += [one["invocation"] for one in records]
            if cursor is None:
                return found


@asynccontextmanager
async def place(tmp_path: Path, **options: Any) -> AsyncGenerator[Place]:
    directory = tmp_path / "audit"
    log = a_log(directory)
    log.start()
    database = await open_database(where(tmp_path / "index.db"), [AREA], copies=tmp_path)
    try:
        yield Place(directory, database, log, AuditIndex(database, directory, flush=log.flush, **options))
    finally:
        await log.close()
        await database.close()


def call(name: str, **fields: Any) -> AuditRecord:
    made = AuditRecord(kind="outcome", at=100.0, invocation=name, tenant="default")
    return msgspec.structs.replace(made, **fields)


async def test_the_tables_are_those_of_the_migration(tmp_path: Path) -> None:
    await check_area(AREA, tmp_path)


async def test_an_index_of_an_older_version_is_made_anew_from_the_segments(tmp_path: Path) -> None:
    async with older(tmp_path / "index.db", AREA, "audit_0001") as run:
        row = ("default", 7, 1.0, "lost", "agent:coder", "agent:coder", "files.read", "n-w-01A", 1, 0, 9)
        run("INSERT INTO audit_records VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", *row)
        run("INSERT INTO audit_chains VALUES ('n-w-01A', 1, 999999, 1)")

    async with place(tmp_path) as here:
        here.log.note(record(1))

        assert await here.names() == ["call-1"]


async def test_what_was_noted_a_moment_ago_is_found(tmp_path: Path) -> None:
    async with place(tmp_path) as here:
        assert await here.names() == []
        for number in range(3):
            here.log.note(record(number))
            assert (await here.names())[0] == f"call-{number}"
        assert await here.names() == ["call-2", "call-1", "call-0"]


async def test_a_result_says_where_it_stands_in_the_log(tmp_path: Path) -> None:
    async with place(tmp_path) as here:
        here.log.note(record(7))
        ((one,), _) = await here.index.query("default")
    assert (one["chain"], one["seq"], one["invocation"], one["who"]) == ("n-w-01A", 2, "call-7", "agent:coder")
    line = next((tmp_path / "audit" / "n-w-01A").glob("*.seg")).read_bytes().splitlines()[1]
    assert line.endswith(one["hash"].encode())


async def test_records_are_found_by_each_thing_they_say(tmp_path: Path) -> None:
    async with place(tmp_path) as here:
        note = here.log.note
        note(call("a", who="user:ann", operation="files.read", resources=(("path://local/srv/a", "READ"),)))
        note(call("b", who="agent:bot", chain_of=("agent:bot", "user:ann"), operation="files.write", at=200.0))
        note(call("c", who="agent:bot", operation="filesystem.x", resources=(("path://local/srv/ab/c", "READ"),)))
        note(call("d", resources=(("path://local/x", "READ"), ("path://local/srv/a/b", "CHANGE")), at=300.0))
        note(call("e", detail={"said": "Hello WORLD ✓"}))
        expected: list[tuple[dict[str, Any], str]] = [
            ({"actor": "user:ann"}, "ba"),
            ({"actor": "agent:bot"}, "bc"),
            ({"operation": "files.read"}, "a"),
            ({"operation": "files.*"}, "ba"),
            ({"operation": "*"}, "dbeca"),
            ({"resource": "path://local/srv/a"}, "dca"),
            ({"resource": "path://local/srv/a/"}, "d"),
            ({"resource": "path://%"}, ""),
            ({"since": 200.0}, "db"),
            ({"until": 200.0}, "eca"),
            ({"since": 200.0, "until": 300.0}, "b"),
            ({"invocation": "c"}, "c"),
            ({"text": "hello world ✓"}, "e"),
            ({"text": "nowhere"}, ""),
            ({"text": 'said":"hello'}, ""),  # a text is searched for, not a piece of JSON
            ({"text": "\\"}, ""),
            ({"resource": "path://local/", "operation": "files.*"}, "a"),
            ({"actor": "agent:bot", "resource": "path://local/srv"}, "c"),
        ]
        for filters, found in expected:
            assert await here.names(**filters) == list(found), filters


async def test_pages_follow_each_other_without_a_gap_while_new_records_come(tmp_path: Path) -> None:
    async with place(tmp_path) as here:
        for number in range(25):
            here.log.note(record(number))
        first, cursor = await here.index.query("default", limit=10)
        here.log.note(record(99))
        second, cursor = await here.index.query("default", limit=10, cursor=cursor)
        third, cursor = await here.index.query("default", limit=10, cursor=cursor)
    assert [one["invocation"] for one in first + second + third] == [f"call-{number}" for number in range(24, -1, -1)]
    assert cursor is None


@pytest.mark.parametrize("cursor", ["", "x", "-1", "1e3-1", "٣-1", "1-" + "9" * 19, "1.5-2 ", "nan-1"])
async def test_a_cursor_that_is_none_is_refused(tmp_path: Path, cursor: str) -> None:
    async with place(tmp_path) as here:
        with pytest.raises(InvalidInput):
            await here.index.query("default", cursor=cursor)


async def test_a_long_search_for_a_text_goes_on_from_its_cursor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_tail, "BLOCK_BYTES", 2000)
    monkeypatch.setattr(audit_index, "BLOCKS_AT_ONCE", 2)
    monkeypatch.setattr(audit_index, "MOST_SEARCHED", 30)
    async with place(tmp_path) as here:
        here.log.note(call("old", detail={"said": "needle"}))
        for number in range(70):
            here.log.note(record(number))
        page, cursor = await here.index.query("default", text="needle")
        assert (page, cursor is None) == ([], False)
        assert await here.names(text="needle") == ["old"]


async def test_a_tenant_sees_its_own_records_only(tmp_path: Path) -> None:
    async with place(tmp_path) as here:
        here.log.note(call("a", tenant="acme", resources=(("path://local/a", "READ"),)))
        here.log.note(call("b", tenant="other", resources=(("path://local/a", "READ"),)))
        here.log.note(call("c", tenant=""))
        assert await here.names("acme") == ["a"]
        assert await here.names("other", resource="path://") == ["b"]
        assert await here.names("system") == ["c"]
        assert [one.record["invocation"] for one in await here.index.after("acme", 0, 10)] == ["a"]


async def test_the_feed_goes_on_after_a_number(tmp_path: Path) -> None:
    async with place(tmp_path, pause_s=0.01) as here:
        assert await here.index.newest("default") == 0
        await here.index.start()
        for number in range(5):
            here.log.note(record(number))

        for _ in range(500):
            if len(await here.index.after("default", 0, 10)) == 5:
                break
            await asyncio.sleep(0.01)
        items = await here.index.after("default", 0, 3)
        assert [one.record["invocation"] for one in items] == ["call-0", "call-1", "call-2"]
        items = await here.index.after("default", items[-1].number, 10)
        assert [one.record["invocation"] for one in items] == ["call-3", "call-4"]
        assert await here.index.after("default", items[-1].number, 10) == []
        assert await here.index.newest("default") == items[-1].number
        await here.index.close()


async def test_personal_detail_is_opened_for_who_may_search_until_it_was_erased(tmp_path: Path) -> None:
    async with place(tmp_path, open_personal={"sealed": "192.0.2.7"}.get) as here:
        here.log.note(call("a", personal="sealed"))
        here.log.note(call("b", personal="erased"))
        (two, one), _ = await here.index.query("default")
        found = await here.names(text="192.0.2")
    assert (one["personal"], two["personal"]) == ("192.0.2.7", None)
    assert found == ["a"]


async def test_segments_chains_and_processes_are_all_followed_and_finished_ones_not_read_again(tmp_path: Path) -> None:
    async with place(tmp_path) as here:
        for number in range(100):  # several segments
            here.log.note(record(number))
        other = a_log(here.directory, "01B")
        other.start()
        other.note(record(200))
        await other.close()
        assert len(await here.names(limit=7)) == 101
        rows = await here.database.read_instance(lambda tx: tx.select(CHAINS))
        assert {row.chain: row.ended for row in rows} == {"n-w-01A": 0, "n-w-01B": 1}


async def test_the_index_goes_on_where_it_was_and_can_be_made_anew(tmp_path: Path) -> None:
    async with place(tmp_path) as here:
        for number in range(30):
            here.log.note(record(number))
        before = await here.names()
        again = AuditIndex(here.database, here.directory, flush=here.log.flush)
        here.log.note(record(30))
        assert [one["invocation"] for one in (await again.query("default", limit=100))[0]] == ["call-30", *before]
        assert await again.rebuild() == 31
        assert await here.names() == ["call-30", *before]


async def test_more_than_one_read_is_indexed_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_index, "AT_ONCE_BYTES", 2000)
    async with place(tmp_path) as here:
        other = a_log(here.directory, "01B")
        other.start()
        for number in range(50):
            here.log.note(record(number))
            other.note(record(number + 100))
        await other.close()
        assert len(await here.names()) == 100
        assert await here.index.rebuild() == 100


async def test_many_short_reads_share_one_row(tmp_path: Path) -> None:
    async with place(tmp_path) as here:
        for number in range(12):  # within one segment
            here.log.note(record(number))
            await here.index.query("default", limit=1)
        (row,) = await here.database.read_instance(lambda tx: tx.select(BLOCKS))
        assert (row.records, row.oldest, row.newest) == (12, 1_800_000_000.0, 1_800_000_011.0)
        assert row.actors == "\nagent:coder\n"
        assert row.resources.count("\n") == 13


async def test_a_long_record_is_read_whole_however_little_is_read_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_index, "AT_ONCE_BYTES", 100)
    monkeypatch.setattr(audit_tail, "BLOCK_BYTES", 100)
    async with place(tmp_path) as here:
        here.log.note(call("long", detail={"said": "x" * 60_000 + "needle"}))
        here.log.note(call("short"))
        assert await here.names() == ["short", "long"]
        assert await here.names(text="needle") == ["long"]


async def test_any_long_search_goes_on_from_its_cursor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_tail, "BLOCK_BYTES", 2000)
    monkeypatch.setattr(audit_index, "MOST_SEARCHED", 30)
    async with place(tmp_path) as here:
        for number in range(70):  # each thing in every block, but never both in one record
            here.log.note(call(f"call-{number}", at=number, who=f"agent:{number % 2}", operation=f"x.{number % 2}"))
        page, cursor = await here.index.query("default", actor="agent:0", operation="x.1")
        assert (page, cursor is None) == ([], False)
        assert await here.names(actor="agent:0", operation="x.1") == []


async def test_a_search_opens_nobody_elses_personal_detail(tmp_path: Path) -> None:
    opened: list[str] = []

    def spy(sealed: str) -> str:
        opened.append(sealed)
        return "192.0.2.7"

    async with place(tmp_path, open_personal=spy) as here:
        here.log.note(call("a", personal="default's"))
        here.log.note(call("b", personal="acme's", tenant="acme"))
        assert await here.names("acme", text="192.0.2.7") == ["b"]
        assert await here.names("acme", text="nowhere") == []
    assert set(opened) == {"acme's"}


async def test_the_feed_goes_on_behind_blocks_that_cannot_be_read_any_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_tail, "BLOCK_BYTES", 1)
    monkeypatch.setattr(audit_index, "BLOCKS_AT_ONCE", 2)
    async with place(tmp_path) as here:
        for number in range(6):
            await here.log.durable(record(number))
        assert len(await here.names()) == 6
        segment = next(here.directory.rglob("*.seg"))
        whole = segment.read_bytes()
        lines = whole.splitlines(True)
        segment.write_bytes(b"".join([lines[0], *(b"?" * (len(one) - 1) + b"\n" for one in lines[1:5]), *lines[5:]]))
        items = await here.index.after("default", 0, 10)
        assert [one.record["invocation"] for one in items] == ["call-4", "call-5"]
        segment.write_bytes(whole)


async def test_whoever_begins_to_follow_the_feed_wakes_the_index(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_index, "UNWATCHED", 100_000)
    monkeypatch.setattr(audit_index, "WATCHED_S", -1.0)
    async with place(tmp_path, pause_s=0.01) as here:
        await here.index.start()
        start = await here.index.newest("default")
        await here.log.durable(record(1))
        found: list[IndexedRecord] = []
        for _ in range(500):  # without it the index would rest for a quarter of an hour now
            if found := await here.index.after("default", start, 10):
                break
            await asyncio.sleep(0.01)
        assert [one.record["invocation"] for one in found] == ["call-1"]
        await here.index.close()


async def test_the_index_looks_less_often_while_nobody_follows_the_feed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[float] = []

    async def looked(self: AuditIndex) -> bool:
        del self
        looks.append(monotonic())
        return False

    monkeypatch.setattr(AuditIndex, "_step", looked)
    async with place(tmp_path, pause_s=0.02) as here:
        await here.index.start()
        await until_async(lambda: len(looks) > 2, "some looks")
        await here.index.close()
    assert min(after - before for before, after in pairwise(looks)) >= 0.08


async def test_the_follower_takes_a_tenth_of_the_time_of_a_busy_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[tuple[float, float]] = []
    step = AuditIndex._step  # pyright: ignore[reportPrivateUsage]

    async def timed(self: AuditIndex) -> bool:
        begin = monotonic()
        more = await step(self)
        steps.append((begin, monotonic()))
        return more

    monkeypatch.setattr(AuditIndex, "_step", timed)
    monkeypatch.setattr(audit_index, "AT_ONCE_BYTES", 3000)
    monkeypatch.setattr(audit_index, "Pace", lambda: Pace(used=monotonic))  # it uses a whole processor, always
    async with place(tmp_path, pause_s=0.0) as here:
        for number in range(40):
            here.log.note(record(number))
        await here.log.flush()
        await here.index.start()
        await until_async(lambda: len(steps) > 4, "some steps")
        await here.index.close()
    for (begin, end), (following, _) in pairwise(steps):
        assert following - end >= 9 * (end - begin)


async def test_lines_that_cannot_be_read_are_left_out(tmp_path: Path) -> None:
    async with place(tmp_path) as here:
        for number in range(3):
            await here.log.durable(record(number))
        segment = next(here.directory.rglob("*.seg"))
        lines = segment.read_bytes().splitlines(True)
        segment.write_bytes(b"".join([lines[0], lines[1], b"?" * (len(lines[2]) - 1) + b"\n", lines[3], b'{"torn']))
        assert await here.names() == ["call-2", "call-0"]
        segment.write_bytes(b"".join([lines[0], lines[1]]))  # cut after a fault of the disk
        assert await here.names() == ["call-0"]
        for spoilt in (
            b"?" * (len(lines[1]) - 1) + b"\n",
            b"?" + lines[1][1:],
            b"\xff" + lines[1][1:],
            b"7".ljust(len(lines[1]) - 66) + lines[1][-66:],
        ):
            segment.write_bytes(lines[0] + spoilt)
            assert await here.names() == []
        segment.unlink()
        assert await here.names() == []
        for spoilt in (b"?" + lines[1][1:], b"?" * len(lines[1])):
            segment.write_bytes(lines[0] + spoilt)
            assert await here.index.rebuild() == 0
        segment.write_bytes(b"".join(lines))


async def test_a_page_is_filled_from_behind_records_that_somebody_spoilt(tmp_path: Path) -> None:
    async with place(tmp_path) as here:
        for number in range(5):
            await here.log.durable(record(number))
        assert len(await here.names()) == 5
        segment = next(here.directory.rglob("*.seg"))
        whole = segment.read_bytes()
        lines = whole.splitlines(True)
        lines[5] = lines[5][:-65] + b"?" * 64 + b"\n"  # no hash
        lines[4] = lines[4].replace(b"files.write", b"files.writ\xff")  # no UTF-8 where it is looked at first
        lines[3] = lines[3].replace(b'"who"', b'"x":"\xff","who"')  # and where it is not
        segment.write_bytes(b"".join(lines))
        page, _ = await here.index.query("default", limit=1)
        assert [one["invocation"] for one in page] == ["call-1"]
        assert await here.names(limit=1) == ["call-1", "call-0"]
        assert [one.record["invocation"] for one in await here.index.after("default", 0, 10)] == ["call-0", "call-1"]
        segment.write_bytes(whole)


async def test_a_database_that_does_not_work_is_told_and_stops_nothing(tmp_path: Path) -> None:
    async with place(tmp_path, pause_s=0.01) as here:
        await here.database.close()
        await here.index.start()
        await until_async(lambda: here.index.trouble, "the trouble")
        await here.log.durable(record(1))
        with pytest.raises(Unavailable):
            await here.index.query("default")
        await here.index.close()


async def test_while_another_process_reads_on_a_search_answers_with_what_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_index, "CATCH_UP_S", 0.05)
    async with place(tmp_path, pause_s=0.01) as here:
        here.log.note(record(1))
        assert await here.names() == ["call-1"]
        here.log.note(record(2))
        with (here.directory / "index.lock").open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            await here.index.start()
            assert await here.names() == ["call-1"]
            await here.index.close()
        assert await here.names() == ["call-2", "call-1"]


async def test_a_rebuild_waits_for_nobody_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_index, "REBUILD_WAIT_S", 0.05)
    async with place(tmp_path) as here:
        await here.names()
        with (here.directory / "index.lock").open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            with pytest.raises(Unavailable, match="another process"):
                await here.index.rebuild()


async def test_an_index_without_a_log_of_its_own_reads_what_others_write(tmp_path: Path) -> None:
    async with place(tmp_path) as here:
        await here.log.durable(record(1))
        bare = AuditIndex(here.database, here.directory)
        assert len((await bare.query("default"))[0]) == 1
        await bare.close()


async def test_waiting_for_what_was_taken_ends_when_there_is_nothing_or_nobody(tmp_path: Path) -> None:
    log = a_log(tmp_path / "audit", limits=replace(SMALL, linger_s=5.0))
    await log.flush()
    log.start()
    await log.flush()
    log.note(record(1))
    await log.flush()  # does not wait until enough have gathered
    assert b"call-1" in next((tmp_path / "audit").rglob("*.seg")).read_bytes()
    await log.close()
    await log.flush()

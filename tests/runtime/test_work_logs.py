"""Stored logs: what comes is there, by its offset, sealed, without secrets, and no more than is kept."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
import pytest_asyncio

from superagent.core.principal import Secret
from superagent.core.redactor import Redactor, present
from superagent.data.transaction import InstanceTransaction
from superagent.runtime import work_logs
from superagent.runtime.work_logs import MOST_KEPT, PART, StoredLogs
from superagent.runtime.work_tables import LOG_PARTS
from tests.promise import promise
from tests.runtime.stores import Stores, stores
from tests.where import bytes_of

pytestmark = pytest.mark.usefixtures("each_database")


@pytest_asyncio.fixture
async def made(tmp_path: Path) -> AsyncGenerator[Stores]:
    async with stores(tmp_path) as one:
        yield one


@pytest.fixture
def logs(made: Stores) -> StoredLogs:
    return StoredLogs(made.database, made.keys)


async def all_of(logs: StoredLogs) -> bytes:
    return (await logs.read("default", "01A", "stdout", 0, 10**9)).data


async def test_what_trickles_in_makes_few_parts_and_is_whole(logs: StoredLogs, made: Stores) -> None:
    wanted = b""
    async with logs.writing("default", "01A") as writer:
        take = writer.tap("stdout")
        for number in range(30):
            piece = f"{number} ".encode() * 2000
            take(piece)
            wanted += piece
            await asyncio.sleep(0.01)

    assert await all_of(logs) == wanted
    parts = await made.database.read_instance(lambda tx: _count(tx))
    assert parts <= len(wanted) // PART + 2
    for at in (0, 1, PART - 1, PART, PART + 1, len(wanted) - 1, len(wanted)):
        page = await logs.read("default", "01A", "stdout", at, 10)
        assert (page.offset, page.data, page.end) == (at, wanted[at : at + 10], len(wanted))


def _count(tx: InstanceTransaction) -> int:
    return tx.count(LOG_PARTS)


async def test_only_the_newest_is_kept_and_offsets_go_on(logs: StoredLogs) -> None:
    for number in range(6):
        await logs.append("default", "01A", "stdout", bytes([number]) * 1024 * 1024)

    page = await logs.read("default", "01A", "stdout", 0, 10)
    assert (page.first, page.offset, page.end) == (6 * 1024 * 1024 - MOST_KEPT, page.first, 6 * 1024 * 1024)
    assert page.data == bytes([2]) * 10
    assert (await logs.read("default", "01A", "stdout", -3, 10)).data == bytes([5]) * 3


async def test_a_writer_that_is_faster_than_the_disk_loses_what_is_older_and_says_so(
    logs: StoredLogs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work_logs, "MOST_HELD", 100)
    async with logs.writing("default", "01A") as writer:
        writer.tap("stdout")(b"a" * 60)
        writer.tap("stdout")(b"b" * 90)

    page = await logs.read("default", "01A", "stdout", 0, 1000)
    assert (page.first, page.offset, page.end) == (50, 50, 150)
    assert page.data == b"a" * 10 + b"b" * 90


@promise("6.3")
async def test_a_secret_value_is_not_in_the_log_wherever_it_is_cut(logs: StoredLogs, made: Stores) -> None:
    redactor = Redactor()
    redactor.add("token", Secret("hunter2-hunter2"))
    set_ = present.set(redactor)
    try:
        async with logs.writing("default", "01A") as writer:
            for piece in (b"before hun", b"ter2-hun", b"ter2 after hunter2-", b"hunter2"):
                writer.tap("stdout")(piece)
    finally:
        present.reset(set_)

    assert await all_of(logs) == b"before [secret token] after [secret token]"


async def test_a_log_is_sealed_and_its_tenants_and_jobs_are_apart(logs: StoredLogs, made: Stores) -> None:
    await logs.append("default", "01A", "stdout", b"PLAINTEXT of a job")

    assert b"PLAINTEXT" not in bytes_of(made.folder / "superagent.db")
    for tenant, id in (("other", "01A"), ("default", "01B")):
        assert (await logs.read(tenant, id, "stdout", 0, 100)).data == b""
    assert (await logs.read("default", "01A", "stderr", 0, 100)).end == 0


async def test_a_call_that_is_cancelled_still_leaves_what_was_written(logs: StoredLogs) -> None:
    async def write() -> None:
        async with logs.writing("default", "01A") as writer:
            writer.tap("stdout")(b"last words")
            await asyncio.Event().wait()

    task = asyncio.create_task(write())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)

    assert await all_of(logs) == b"last words"

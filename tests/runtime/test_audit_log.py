"""The audit log takes records in order, many with one disk write, and refuses when the disk does."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import subprocess
import threading
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from superagent.core.audit import AuditRecord, decode_record, parse
from superagent.core.problems import AuditUnavailable
from superagent.runtime.audit_log import AuditLimits, AuditLog
from superagent.runtime.checkpoints import Anchor
from tests.runtime.audit_book import SMALL, a_log, check, record
from tests.runtime.small_disks import files_no_longer_than
from tests.until import until, until_async

PATIENT = replace(SMALL, segment_bytes=1 << 20)


@asynccontextmanager
async def running(
    directory: Path, epoch: str = "01A", limits: AuditLimits = SMALL, anchor: Anchor | None = None
) -> AsyncGenerator[AuditLog]:
    log = a_log(directory, epoch, limits, anchor)
    log.start()
    try:
        yield log
    finally:
        await log.close()


def written(directory: Path, chain: str = "n-w-01A") -> list[AuditRecord]:
    """Give the records of a chain as they stand on the disk, segment headers left out."""
    lines = [line for path in sorted((directory / chain).glob("*.seg")) for line in path.read_bytes().splitlines(True)]
    texts = [parsed[0] for line in lines if (parsed := parse(line))]
    return [decode_record(text) for text in texts if b'"kind":"segment"' not in text]


def calls(directory: Path, chain: str = "n-w-01A") -> list[tuple[str, str]]:
    return [(one.kind, one.invocation) for one in written(directory, chain) if one.kind != "event"]


async def test_records_stand_in_the_order_in_which_they_were_taken(tmp_path: Path) -> None:
    async with running(tmp_path / "audit") as log:
        for number in range(100):
            log.note(record(number))
    assert calls(tmp_path / "audit") == [("outcome", f"call-{number}") for number in range(100)]
    assert check(tmp_path / "audit").ok


async def test_a_durable_record_is_in_the_file_when_the_wait_is_over(tmp_path: Path) -> None:
    async with running(tmp_path / "audit") as log:
        await log.durable(record(1, "intent"))
        assert calls(tmp_path / "audit") == [("intent", "call-1")]


async def test_a_noted_record_gets_to_the_file_by_itself(tmp_path: Path) -> None:
    async with running(tmp_path / "audit") as log:
        log.note(record(1))
        await until_async(lambda: calls(tmp_path / "audit"), "the record")


async def test_a_secret_in_the_detail_never_gets_to_the_file(tmp_path: Path) -> None:
    async with running(tmp_path / "audit") as log:
        await log.durable(AuditRecord(kind="event", at=1.0, detail={"said": "Bearer abcdefghijklmnop", "token": "x1"}))
    text = b"".join(path.read_bytes() for path in (tmp_path / "audit").rglob("*.seg"))
    assert b"abcdefgh" not in text
    assert b"x1" not in text
    assert text.count(b"[redacted]") == 2


async def test_those_who_wait_at_the_same_time_share_a_disk_write(tmp_path: Path, writes: list[int]) -> None:
    async with running(tmp_path / "audit", limits=PATIENT) as log:
        writes.clear()
        for _ in range(10):
            await asyncio.gather(*(log.durable(record(number, "intent")) for number in range(50)))
        assert len(writes) <= 20  # 500 records: one write each would be 500


async def test_segments_rotate_and_their_headers_continue_the_chain(tmp_path: Path) -> None:
    async with running(tmp_path / "audit") as log:
        await asyncio.gather(*(log.durable(record(number, "intent")) for number in range(200)))
    segments = sorted((tmp_path / "audit" / "n-w-01A").glob("*.seg"))
    assert len(segments) > 5
    assert all(path.stat().st_size <= SMALL.segment_bytes + 1000 for path in segments)
    assert check(tmp_path / "audit").ok


async def test_a_checkpoint_is_signed_after_so_many_records(tmp_path: Path) -> None:
    notes: list[str] = []
    async with running(tmp_path / "audit", anchor=notes.append) as log:
        for number in range(SMALL.checkpoint_records * 3):
            await log.durable(record(number, "intent"))
        assert len(notes) >= 4


async def test_a_checkpoint_is_signed_some_seconds_after_a_single_record(tmp_path: Path) -> None:
    notes: list[str] = []
    limits = replace(SMALL, checkpoint_s=0.05)
    async with running(tmp_path / "audit", limits=limits, anchor=notes.append) as log:
        await log.durable(record(1, "intent"))
        await until_async(lambda: len(notes) >= 2, "the checkpoint")


async def test_a_record_may_be_noted_from_any_thread(tmp_path: Path) -> None:
    async with running(tmp_path / "audit") as log:
        threads = [threading.Thread(target=lambda: [log.note(record(n)) for n in range(200)]) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            await asyncio.to_thread(thread.join)
    assert len(calls(tmp_path / "audit")) == 800
    assert check(tmp_path / "audit").ok


def test_one_log_serves_one_event_loop_after_the_other(tmp_path: Path) -> None:
    log = a_log(tmp_path / "audit")
    log.start()
    asyncio.run(log.durable(record(1, "intent")))
    asyncio.run(log.durable(record(2, "intent")))
    asyncio.run(log.close())
    assert len(calls(tmp_path / "audit")) == 2


async def test_a_file_name_that_is_not_utf_8_does_not_stop_the_log(tmp_path: Path) -> None:
    async with running(tmp_path / "audit") as log:
        name = os.fsdecode(b"path://local/srv/\xff")
        await log.durable(AuditRecord(kind="intent", at=1.0, invocation="x", resources=((name, "CHANGE"),)))
    assert written(tmp_path / "audit")[0].resources == (("path://local/srv/\\udcff", "CHANGE"),)


# --- refusing ----------------------------------------------------------------------------------------------------


async def test_before_the_start_nothing_is_taken(tmp_path: Path) -> None:
    log = a_log(tmp_path / "audit")
    await refuses_everything(log)
    await log.close()
    assert log.trouble == "it was not started"


async def test_after_the_end_nothing_is_taken(tmp_path: Path) -> None:
    async with running(tmp_path / "audit") as log:
        await log.durable(record(1, "intent"))
    await refuses_everything(log)
    with pytest.raises(AuditUnavailable):
        log.note(record(1))
    assert log.trouble == "it is closed"


async def refuses_everything(log: AuditLog) -> None:
    with pytest.raises(AuditUnavailable):
        log.note(record(7))
    with pytest.raises(AuditUnavailable):
        await log.durable(record(8, "intent"))
    assert not log.healthy


async def test_a_folder_that_cannot_be_written_is_said_at_the_start(tmp_path: Path) -> None:
    log = a_log(tmp_path / "audit")
    (tmp_path / "audit" / "n-w-01A").mkdir()
    with pytest.raises(AuditUnavailable, match="cannot be started"):
        log.start()


def test_a_name_that_could_leave_the_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cannot name a chain"):
        a_log(tmp_path / "audit", epoch="../../x")


async def test_a_full_buffer_refuses_instead_of_growing(tmp_path: Path, disk: Disk) -> None:
    limits = replace(PATIENT, buffer_records=10)
    async with running(tmp_path / "audit", limits=limits) as log:
        await log.durable(record(0, "intent"))
        disk.stop()
        waiting = asyncio.ensure_future(log.durable(record(1, "intent")))
        await until_async(lambda: disk.waiting, "the stopped write")
        for number in range(10):
            log.note(record(100 + number))
        with pytest.raises(AuditUnavailable, match="buffer is full"):
            log.note(record(200))
        with pytest.raises(AuditUnavailable):
            await log.durable(record(201, "intent"))
        log.note(record(0))  # the end of what is on the disk as begun is taken all the same
        disk.go()
        await waiting
    assert check(tmp_path / "audit").ok
    assert ("outcome", "call-0") in calls(tmp_path / "audit")


async def test_a_disk_that_does_not_answer_refuses_those_who_wait_and_says_so_behind_their_intents(
    tmp_path: Path, disk: Disk
) -> None:
    async with running(tmp_path / "audit", limits=replace(PATIENT, stuck_s=0.1)) as log:
        disk.stop()
        with pytest.raises(AuditUnavailable, match="does not answer"):
            await log.durable(record(1, "intent"))
        assert log.trouble == "the disk does not answer"
        with pytest.raises(AuditUnavailable):
            log.note(record(2))
        disk.go()
        await until_async(lambda: log.healthy, "the disk")
        await log.durable(record(3, "intent"))
    one = next(one for one in written(tmp_path / "audit") if one.kind == "outcome")
    assert (one.invocation, one.status, one.changed) == ("call-1", "failed", "nothing")
    assert check(tmp_path / "audit").ok


async def test_a_slow_disk_does_not_stop_the_event_loop(tmp_path: Path, disk: Disk) -> None:
    async with running(tmp_path / "audit", limits=PATIENT) as log:
        disk.stop()
        waiting = asyncio.ensure_future(log.durable(record(1, "intent")))
        await until_async(lambda: disk.waiting, "the stopped write")
        turns = 0
        for _ in range(1000):
            await asyncio.sleep(0)
            turns += 1
        assert (turns, waiting.done()) == (1000, False)
        assert log.healthy  # slow is not stuck
        disk.go()
        await waiting


async def test_who_begins_to_wait_between_two_looks_at_the_disk_has_the_whole_time(tmp_path: Path, disk: Disk) -> None:
    loop = asyncio.get_running_loop()
    async with running(tmp_path / "audit", limits=replace(PATIENT, stuck_s=0.5)) as log:
        await log.durable(record(0, "intent"))  # begins a watch that looks half a second from here
        begin = loop.time()
        await until_async(lambda: loop.time() > begin + 0.3, "the middle between two looks")
        disk.stop()
        waiting = asyncio.ensure_future(log.durable(record(1, "intent")))
        await until_async(lambda: loop.time() > begin + 0.6, "the next look")
        assert not waiting.done()
        disk.go()
        await waiting


async def test_a_cancelled_wait_says_behind_the_intent_that_nothing_was_done(tmp_path: Path, disk: Disk) -> None:
    async with running(tmp_path / "audit", limits=PATIENT) as log:
        disk.stop()
        waiting = asyncio.ensure_future(log.durable(record(1, "intent")))
        event = asyncio.ensure_future(log.durable(AuditRecord(kind="event", at=1.0)))
        await until_async(lambda: disk.waiting, "the stopped write")
        waiting.cancel()
        event.cancel()
        await asyncio.wait([waiting, event])
        disk.go()
    outcome = [one for one in written(tmp_path / "audit") if one.kind == "outcome"]
    assert [(one.invocation, one.status, one.changed) for one in outcome] == [("call-1", "cancelled", "nothing")]


async def test_who_waits_for_all_that_was_taken_does_not_wait_for_a_stuck_disk(tmp_path: Path, disk: Disk) -> None:
    async with running(tmp_path / "audit", limits=replace(PATIENT, stuck_s=0.1)) as log:
        disk.stop()
        waiting = asyncio.ensure_future(log.durable(record(1, "intent")))
        await until_async(lambda: disk.waiting, "the stopped write")
        log.note(record(2))
        await log.flush()
        with pytest.raises(AuditUnavailable):
            await waiting
        disk.go()


async def test_the_watch_over_the_disk_ends_when_nobody_waits(tmp_path: Path) -> None:
    loop = asyncio.get_running_loop()
    async with running(tmp_path / "audit", limits=replace(PATIENT, stuck_s=0.02)) as log:
        await log.durable(record(1, "intent"))
        begin = loop.time()
        await until_async(lambda: loop.time() > begin + 0.05, "the look at the disk")
        assert log.healthy
        await log.durable(record(2, "intent"))


async def test_a_wait_cancelled_after_its_intent_got_to_the_disk_and_before_the_disk_failed_is_told(
    tmp_path: Path, disk: Disk
) -> None:
    async with running(tmp_path / "audit", limits=PATIENT) as log:
        disk.stop()
        waiting = asyncio.ensure_future(log.durable(record(1, "intent")))
        await until_async(lambda: disk.waiting, "the stopped write")
        log.note(record(2))
        disk.fail_after(1)
        disk.open()
        until(lambda: log.trouble, "the failure")  # without a turn of the event loop: the waiter has not heard yet
        waiting.cancel()
        await asyncio.wait([waiting])
        disk.go()
        await until_async(lambda: log.healthy, "the disk")
    ends = [(one.invocation, one.status) for one in written(tmp_path / "audit") if one.kind == "outcome"]
    assert ends == [("call-2", ""), ("call-1", "cancelled")]
    assert check(tmp_path / "audit").ok


async def test_an_outcome_that_comes_while_the_disk_is_being_mended_is_not_lost(tmp_path: Path, disk: Disk) -> None:
    async with running(tmp_path / "audit", limits=PATIENT) as log:
        await log.durable(record(1, "intent"))
        disk.fail_after(0)
        log.note(record(2))
        await until_async(lambda: log.trouble, "the failure")
        disk.go(stop_after=1)  # the first write tells of the failure, the second of its end
        await until_async(lambda: disk.waiting, "the mending")
        log.note(record(1))
        disk.go()
        await until_async(lambda: log.healthy, "the disk")
    assert calls(tmp_path / "audit") == [("intent", "call-1"), ("outcome", "call-2"), ("outcome", "call-1")]
    assert check(tmp_path / "audit").ok


# --- a full disk -------------------------------------------------------------------------------------------------


async def fill(log: AuditLog) -> int:
    """Write intents until the log refuses; gives the number of the first that was refused."""
    for number in range(100_000):
        try:
            await log.durable(record(number, "intent"))
        except AuditUnavailable:
            return number
    raise AssertionError("the disk never got full")


async def test_when_the_disk_is_full_the_log_refuses_and_when_space_returns_it_goes_on(tmp_path: Path) -> None:
    directory = tmp_path / "audit"
    limits = replace(PATIENT, reserve_bytes=30_000, checkpoint_records=1_000_000)
    async with running(directory, limits=limits) as log:
        with files_no_longer_than(20_000):
            refused = await fill(log)
            assert refused > 20
            assert not log.healthy
            with pytest.raises(AuditUnavailable):
                log.note(record(900))
            log.note(record(0))  # the end of what was begun is kept until it can be written
            with pytest.raises(AuditUnavailable, match="yet"):
                await log.durable(record(1))
            await until_async(lambda: len(list(directory.rglob("*.seg"))) == 2, "the segment that tells of it")
            assert not log.healthy  # while the reserve cannot be made again, the disk is not believed
        await until_async(lambda: log.healthy, "the space")
        await log.durable(record(5000, "intent"))
    got = calls(directory)
    intents = [("intent", f"call-{number}") for number in range(refused)]
    assert got == [*intents, ("outcome", "call-0"), ("outcome", "call-1"), ("intent", "call-5000")]
    events = [one.operation for one in written(directory) if one.kind == "event"]
    assert events == ["audit.failing", "audit.recovered"]
    assert check(directory).ok
    assert b'"after":"File too large"' in sorted(directory.rglob("*.seg"))[1].read_bytes()


def fill_up(ballast: Path) -> None:
    """Write until there is no space left on the disk."""
    with contextlib.suppress(OSError), ballast.open("wb", 0) as file:
        while file.write(bytes(4096)) == 4096:
            pass


async def test_a_really_full_disk_is_told_of_in_the_reserve(small_disk: Path) -> None:
    directory = small_disk / "audit"
    limits = replace(PATIENT, reserve_bytes=200_000, checkpoint_records=100)
    async with running(directory, limits=limits) as log:
        ballast = small_disk / "ballast"
        fill_up(ballast)
        refused = await fill(log)
        assert not log.healthy
        await until_async(
            lambda: any(one.operation == "audit.failing" for one in written(directory)), "the record that tells of it"
        )
        ballast.unlink()
        await until_async(lambda: log.healthy, "the space")
        await log.durable(record(5000, "intent"))
    intents = {number for kind, number in calls(directory) if kind == "intent"}
    assert intents == {f"call-{number}" for number in [*range(refused), 5000]}
    assert check(directory).ok


async def test_what_was_noted_before_the_disk_failed_is_written_when_it_works_again(tmp_path: Path, disk: Disk) -> None:
    async with running(tmp_path / "audit", limits=PATIENT) as log:
        disk.stop()
        waiting = asyncio.ensure_future(log.durable(record(1, "intent")))
        await until_async(lambda: disk.waiting, "the stopped write")
        log.note(record(2))
        later = asyncio.ensure_future(log.durable(record(3, "intent")))
        await asyncio.sleep(0)
        disk.go(failing=3)
        for refused in (waiting, later):
            with pytest.raises(AuditUnavailable):
                await refused
        await until_async(lambda: log.healthy, "the disk")
    assert calls(tmp_path / "audit") == [("outcome", "call-2")]
    assert check(tmp_path / "audit").ok


async def test_a_disk_that_fails_at_a_rotation_loses_nothing_that_was_promised(tmp_path: Path, disk: Disk) -> None:
    async with running(tmp_path / "audit") as log:
        promised: list[int] = []

        async def one(number: int) -> None:
            await log.durable(record(number, "intent"))
            promised.append(number)

        for start in range(0, 200, 20):
            disk.fail_after(start // 20 % 3)
            await asyncio.gather(*(one(number) for number in range(start, start + 20)), return_exceptions=True)
            disk.go()
            await until_async(lambda: log.healthy, "the disk")
    assert {f"call-{number}" for number in promised} <= {name for _, name in calls(tmp_path / "audit")}
    assert check(tmp_path / "audit").ok


async def test_a_log_that_is_closed_while_the_disk_is_full_says_what_was_lost_and_is_recovered_later(
    tmp_path: Path,
) -> None:
    log = a_log(tmp_path / "audit", limits=replace(PATIENT, reserve_bytes=30_000))
    log.start()
    with files_no_longer_than(20_000):
        await fill(log)
        with pytest.raises(AuditUnavailable, match="could not be written"):
            await log.close()
    assert check(tmp_path / "audit").waiting == ("n-w-01A",)
    async with running(tmp_path / "audit", "01B"):
        pass
    assert check(tmp_path / "audit").ok
    assert check(tmp_path / "audit").waiting == ()


async def test_a_segment_that_vanishes_behind_the_logs_back_is_noticed_at_the_next_write(tmp_path: Path) -> None:
    directory = tmp_path / "audit"
    async with running(directory, limits=PATIENT) as log:
        await log.durable(record(1, "intent"))
        next(directory.rglob("*.seg")).unlink()
        with pytest.raises(AuditUnavailable, match="behind the log's back"):
            await log.durable(record(2, "intent"))
        await until_async(lambda: log.healthy, "the new segment")
    assert b"behind the log's back" in next(directory.rglob("*.seg")).read_bytes()
    assert [fault.kind for fault in check(directory).faults] == ["removed"]


async def test_a_segment_that_was_shortened_is_left_as_it_is_for_the_check_to_find(tmp_path: Path) -> None:
    directory = tmp_path / "audit"
    async with running(directory, limits=PATIENT) as log:
        await log.durable(record(1, "intent"))
        segment = next(directory.rglob("*.seg"))
        os.truncate(segment, segment.stat().st_size - 10)
        with pytest.raises(AuditUnavailable, match="behind the log's back"):
            await log.durable(record(2, "intent"))
        await until_async(lambda: log.healthy, "the new segment")
    assert {(fault.segment, fault.seq) for fault in check(directory).faults} == {(segment.name, 2)}


async def test_an_anchor_that_cannot_be_reached_is_told_and_stops_nothing(tmp_path: Path) -> None:
    def refusing(_: str) -> None:
        raise OSError("the anchor is unreachable")

    async with running(tmp_path / "audit", anchor=refusing) as log:
        await log.durable(record(1, "intent"))
        assert "unreachable" in log.anchor_trouble


async def test_a_writer_that_breaks_refuses_from_then_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    seen: list[str] = []

    def broken(note: str) -> None:
        seen.append(note)
        if len(seen) > 1:  # the first is written at the start, by the caller
            raise RuntimeError("a fault in the anchor")

    log = a_log(tmp_path / "audit", limits=replace(PATIENT, checkpoint_s=0.01), anchor=broken)
    log.start()
    await log.durable(record(1, "intent"))
    await until_async(lambda: not log.healthy, "the refusal")
    with pytest.raises(AuditUnavailable, match="writer failed"):
        await log.durable(record(2, "intent"))
    with pytest.raises(AuditUnavailable, match="could not be written"):
        await log.close()
    assert "the audit writer failed" in caplog.text


# --- the disk, as the log sees it --------------------------------------------------------------------------------


class Disk:
    """The real disk with a gate before each fdatasync: it can be held, or made to fail as it does for a broken disk."""

    def __init__(self, sync: Callable[[int], None]) -> None:
        self._sync = sync
        self._open = threading.Event()
        self._open.set()
        self._left: int | None = None
        self._failing = 0
        self._stop_after = -1
        self.waiting = False

    def __call__(self, descriptor: int) -> None:
        if self._stop_after == 0:
            self.stop()
        self._stop_after -= 1
        if not self._open.is_set():
            self.waiting = True
            assert self._open.wait(20)
        if self._left is not None:
            self._left -= 1
            self._failing = 1 if self._left < 0 else 0
        if self._failing:
            self._failing -= 1
            raise OSError(5, "Input/output error")
        self._sync(descriptor)

    def stop(self) -> None:
        """Hold the next write until `go`."""
        self.waiting = False
        self._open.clear()

    def open(self) -> None:
        """Let held writes go on, and fail as it was said."""
        self._open.set()

    def go(self, failing: int = 0, stop_after: int = -1) -> None:
        """Work again; fail so many writes first, or hold again after so many."""
        self._left, self._failing, self._stop_after = None, failing, stop_after
        self._open.set()

    def fail_after(self, writes: int) -> None:
        """Do so many writes and fail from then on."""
        self._left = writes


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Disk]:
    gate = Disk(os.fdatasync)
    monkeypatch.setattr(os, "fdatasync", gate)
    yield gate
    gate.go()


@pytest.fixture
def writes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    seen: list[int] = []
    real = os.fdatasync

    def sync(descriptor: int) -> None:
        seen.append(1)
        real(descriptor)

    monkeypatch.setattr(os, "fdatasync", sync)
    return seen


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Give a disk of 1 MiB (tmpfs), where this machine lets us mount one."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = shutil.which("mount", path="/usr/bin:/bin")
    command = [mount or "mount", "-t", "tmpfs", "-o", "size=1m", "none", str(place)]
    if os.geteuid() != 0 or subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("no right to mount a small disk here; the limit on file sizes stands for it")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)

"""Audit: what a record costs the event loop, how many share one disk write, and what it costs to make them findable."""

from __future__ import annotations

import asyncio
import hashlib
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from bench.disk import sync_times
from bench.rows import Row
from superagent.core.audit import AuditRecord, encode
from superagent.data.database import open_database
from superagent.runtime.audit_check import verify
from superagent.runtime.audit_index import AREA, AuditIndex
from superagent.runtime.audit_log import AuditLimits, AuditLog
from superagent.runtime.keys import FileKeys

ORIGIN = "bench.example/audit"
AT_ONCE = (1, 16, 64)
INDEXED = 30_000
A_FLUSH = 500
LIMITS = AuditLimits(buffer_records=1_000_000, buffer_bytes=1 << 30)


def a_record(kind: str, number: int) -> AuditRecord:
    """Give a record as a file operation leaves it, about 600 bytes long."""
    return AuditRecord(
        kind="intent" if kind == "intent" else "outcome",
        at=1_800_000_000.25,
        invocation=f"01J9ZK3V8Q6W5T4R3E2W{number:06d}",
        tenant="default",
        who="agent:coder",
        chain_of=("agent:coder", "user:alice"),
        channel="http",
        operation="files.write",
        version=1,
        resources=(("path://local/srv/app/settings.toml", "CHANGE"),),
        input_digest="a" * 64,
        decision="allow",
        grants=("01J9ZK3V8Q6W5T4R3E2W1Q0P9A",),
        decision_digest="b" * 64,
        policy_version=12,
        trace="0af7651916cd43dd8448eb211c80319c",
        personal="c" * 108,
    )


def a_plain_read(number: int) -> AuditRecord:
    """Give a record as `access.whoami` leaves it, some 1,500 a second."""
    at = 1_800_000_000.0 + number / 1500
    moment, letters = int(at * 1000), "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
    return AuditRecord(
        kind="outcome",
        at=at,
        invocation="".join(letters[moment >> shift & 31] for shift in range(45, -5, -5)) + f"{number:016d}",
        tenant="default",
        who=f"agent:coder{number % 8}",
        chain_of=(f"agent:coder{number % 8}", "user:alice"),
        channel="http",
        operation="access.whoami",
        version=1,
        input_digest="a" * 64,
        output_digest="b" * 64,
        decision="allow",
        grants=("role:everybody:1", "role:agent:1"),
        decision_digest="c" * 64,
        policy_version=12,
        status="done",
        seconds=0.000015,
        bytes=199,
        personal="d" * 84,
    )


def cpu_us(work: Callable[[], object], times: int = 2000, rounds: int = 9) -> float:
    """Give the processor time of one call in microseconds, the best of some rounds."""
    best = float("inf")
    for _ in range(rounds):
        start = time.thread_time()
        for _ in range(times):
            work()
        best = min(best, (time.thread_time() - start) / times)
    return best * 1e6


async def measure(folder: Path) -> list[Row]:
    """Run one log through everything that is measured."""
    log = AuditLog(
        folder / "audit",
        FileKeys(folder / "keys").signer(ORIGIN),
        time.time,
        node="bench",
        worker="0",
        epoch="0",
        limits=LIMITS,
    )
    log.start()
    record, head = a_record("outcome", 0), os.urandom(32)
    text = encode(record)
    hashing = cpu_us(lambda: hashlib.sha256(head + text).digest())
    noting = cpu_us(lambda: log.note(record))
    rows = [
        Row("audit.note_us", noting, "us", note=f"processor time of the event loop for a record of {len(text)} bytes"),
        Row("audit.sha256_us", hashing, "us", note="of that, what one SHA-256 over it costs here"),
        Row("audit.note_over_sha256", noting / hashing, "x", note="does not depend on the speed of the machine"),
    ]
    await log.flush()
    each = await asyncio.to_thread(sync_times, folder, 0.7)
    single = len(each) / sum(each)
    rows.append(Row("audit.sync_per_record", single, "records/s", note="one fdatasync for each record"))
    for at_once in AT_ONCE:
        rate = await durable_rate(log, at_once)
        rows.append(Row(f"audit.durable_{at_once}", rate, "records/s", note=f"{at_once} wait at once"))
        rows.append(Row(f"audit.durable_{at_once}_over_sync", rate / single, "x", note="group commit over one by one"))
    await log.close()
    start = time.thread_time()
    report = verify(folder / "audit", FileKeys(folder / "keys").verifiers(ORIGIN))
    assert report.ok
    rate = report.records / (time.thread_time() - start) * 60
    rows.append(Row("audit.verified_per_minute", rate, "records", at_least=1e6, source="audit room", note="one core"))
    return [*rows, *await indexing(folder)]


async def indexing(folder: Path) -> list[Row]:
    """Write records of plain reads and index them: the processor time of the whole process for each."""
    records = [a_plain_read(number) for number in range(INDEXED)]
    log = AuditLog(
        folder / "reads",
        FileKeys(folder / "keys").signer(ORIGIN),
        time.time,
        node="bench",
        worker="0",
        epoch="0",
        limits=LIMITS,
    )
    log.start()
    start = time.process_time()
    for at in range(0, INDEXED, A_FLUSH):
        for record in records[at : at + A_FLUSH]:
            log.note(record)
        await log.flush()
    written = (time.process_time() - start) / INDEXED * 1e6
    await log.close()
    database = await open_database(folder / "index.db", [AREA])
    index = AuditIndex(database, folder / "reads")
    indexed = float("inf")
    for _ in range(3):
        start = time.process_time()
        assert await index.rebuild() == INDEXED
        indexed = min(indexed, (time.process_time() - start) / INDEXED * 1e6)
    await database.close()
    note = "of the whole process, for the record of a plain read"
    return [
        Row("audit.written_us", written, "us", note=f"processor time {note}, onto the disk"),
        Row("audit.indexed_us", indexed, "us", note=f"processor time {note}, the best of three"),
        Row("audit.indexed_over_written", indexed / written, "x", at_most=1, source="audit room"),
    ]


async def durable_rate(log: AuditLog, at_once: int, seconds: float = 0.7) -> float:
    """Give how many records a second get to the disk when so many callers wait, each for its own."""
    start, count = time.perf_counter(), 0

    async def caller(lane: int) -> None:
        nonlocal count
        while time.perf_counter() - start < seconds:
            await log.durable(a_record("intent", count))
            log.note(a_record("outcome", count))
            count += 1

    await asyncio.gather(*(caller(lane) for lane in range(at_once)))
    return count / (time.perf_counter() - start)


def rows() -> list[Row]:
    """Measure in a temporary folder; takes a few seconds."""
    with tempfile.TemporaryDirectory() as folder:
        return asyncio.run(measure(Path(folder)))

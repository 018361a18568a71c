"""A small finished audit log as plain bytes, to be laid out, tampered with and checked."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from superagent.core.audit import AuditRecord
from superagent.runtime.audit_check import Report, verify
from superagent.runtime.audit_log import AuditLimits, AuditLog
from superagent.runtime.checkpoints import Anchor
from superagent.runtime.keys import FileKeys
from superagent.runtime.signed_notes import Signer

ORIGIN = "test.example/audit"
SMALL = AuditLimits(
    segment_bytes=4000,
    reserve_bytes=8192,
    checkpoint_records=25,
    checkpoint_least_s=0.0,
    linger_s=0.0,
    retry_s=0.01,
    stuck_s=20.0,
)


def record(number: int, kind: str = "outcome") -> AuditRecord:
    """Give the record of a made-up call; intent and outcome of one number belong together."""
    return AuditRecord(
        kind="intent" if kind == "intent" else "outcome",
        at=1_800_000_000.0 + number,
        invocation=f"call-{number}",
        tenant="default",
        who="agent:coder",
        operation="files.write",
        resources=((f"path://local/srv/{number}", "CHANGE"),),
    )


def a_log(directory: Path, epoch: str = "01A", limits: AuditLimits = SMALL, anchor: Anchor | None = None) -> AuditLog:
    """Give a log over real files; its keys lie beside it."""
    keys = FileKeys(directory.parent / "keys")
    return AuditLog(
        directory,
        keys.signer(ORIGIN),
        lambda: 1_800_000_000.0,
        node="n",
        worker="w",
        epoch=epoch,
        limits=limits,
        anchor=anchor,
    )


def check(directory: Path, anchor: str | None = None) -> Report:
    """Check a log with the keys that lie beside it."""
    return verify(directory, FileKeys(directory.parent / "keys").verifiers(ORIGIN), anchor)


@dataclass(frozen=True, slots=True)
class Book:
    """The files of a log by their names, the key that signed it, and what an anchor saw."""

    files: dict[str, bytes]
    signer: Signer
    verifiers: tuple[str, ...]
    anchors: tuple[str, ...]

    def segments(self, chain: str) -> list[str]:
        """Give the segments of a chain, oldest first."""
        return sorted(name for name in self.files if name.startswith(chain) and name.endswith(".seg"))

    def lay_out(self, directory: Path, tamper: Callable[[dict[str, bytes]], None]) -> None:
        """Write the files, changed."""
        files = dict(self.files)
        tamper(files)
        for name, data in files.items():
            path = directory / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)


def write_book(directory: Path, chains: tuple[str, ...] = ("01A", "01B"), calls: int = 40) -> Book:
    """Let real logs write some calls each, one after the other, and give all that they left."""
    anchors: list[str] = []

    async def write(epoch: str) -> None:
        log = a_log(directory, epoch, anchor=anchors.append)
        log.start()
        for number in range(calls):
            await log.durable(record(number, "intent"))
            log.note(record(number))
        await log.close()

    for epoch in chains:
        asyncio.run(write(epoch))
    files = {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}
    keys = FileKeys(directory.parent / "keys")
    return Book(files, keys.signer(ORIGIN), keys.verifiers(ORIGIN), tuple(anchors))

"""Blobs: large inputs and results as files behind handles that nobody can guess, for 24 hours."""

from __future__ import annotations

import asyncio
import hashlib
import os
import secrets
from collections.abc import AsyncIterator, Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from sqlalchemy import BigInteger, Column, Double, Index, Row, String, Text

from superagent.core.changes import to_its_end
from superagent.core.ports import Clock
from superagent.core.principal import Principal
from superagent.core.problems import NotFound, TooLarge, Unavailable
from superagent.data.areas import Area
from superagent.data.database import Database
from superagent.data.transaction import Transaction
from superagent.runtime.blob_search import Hit, search
from superagent.runtime.key_files import private_folder, sync_folder

KEEP_S = 86_400.0
MOST_BYTES = 1024**3
QUOTA_BYTES = 10 * 1024**3
SHARE = 0.25
MOST_HANDLES = 50_000
_GRACE_S = 3600.0
_LESS = "drop some with `result.delete`, or wait: they are kept for 24 hours; the owner can raise `limits.agent_share`"
_KINDS = {"blob": "blob_", "result": "res_"}
AREA = Area("blobs", "blobs_0004", Path(__file__).parent / "migrations" / "versions")
HANDLES = AREA.table(
    "blobs_handles",
    Column("handle", String(64), primary_key=True),
    Column("principal", String(255), nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("until", Double, nullable=False),
    Column("account", String(255), nullable=False, server_default=""),  # against whose share it counts
    Column("seen_by", Text, nullable=False, server_default=""),  # marks of who stored it, within fewer bounds and more
    Index(None, "until"),
    Index(None, "tenant", "account", "size"),
)


class FileBlobs:
    """Fill the port `Blobs` with files in one folder and a row for each.

    `most_bytes` is the most that one may have, `quota_bytes` the most that a tenant may have at a time. `share` is the
    part of it that somebody who acts for somebody else may have, in at most `most_handles` pieces. `reserve` raises
    `Unavailable` when so many more bytes would leave the disk less than it must have free.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        folder: Path,
        most_bytes: int = MOST_BYTES,
        quota_bytes: int = QUOTA_BYTES,
        share: float = SHARE,
        most_handles: int = MOST_HANDLES,
        reserve: Callable[[int], object] = lambda needed: None,
    ) -> None:
        self._database = database
        self._clock = clock
        self._folder = private_folder(folder)
        self._most = most_bytes
        self._quota = quota_bytes
        self._share = int(quota_bytes * share)
        self._most_handles = most_handles
        self._reserve = reserve

    async def put(self, who: Principal, chunks: AsyncIterator[bytes], *, what: str = "blob") -> str:
        """Store bytes and give their handle, durable on return.

        Raises `TooLarge` over the size, the quota or the share, `Unavailable` when the disk cannot take it; nothing is
        left then.
        """
        tenant, account, shares = who.tenant, who.account, who.shares
        handle = _KINDS[what] + secrets.token_urlsafe(24)
        room, whose = await self._database.read(tenant, lambda tx: self._room(tx, account, shares))
        path = self._folder / handle
        try:
            size, digest = await self._write(path, chunks, room, whose)
            until = self._clock.now() + KEEP_S
            row = {"handle": handle, "principal": who.id, "size": size, "sha256": digest, "until": until}
            row |= {"account": account, "seen_by": "\n".join(hop.mark for hop in who.chain() if hop.id == who.id)}

            def add(tx: Transaction) -> None:
                _within(size, *self._room(tx, account, shares))
                tx.insert(HANDLES, **row)

            await self._database.write(tenant, add)
        except BaseException:
            with suppress(OSError):  # the sweep takes what cannot be removed now
                os.unlink(path)
            raise
        return handle

    def _room(self, tx: Transaction, account: str, shares: bool) -> tuple[int, str]:
        """Give how many more bytes there may be, and by whose measure. Raises `TooLarge` for too many handles."""
        in_all = self._quota - tx.sum(HANDLES, HANDLES.c.size)
        if not shares:
            return in_all, "this tenant may have at a time"
        theirs = HANDLES.c.account == account
        if tx.count(HANDLES, theirs) >= self._most_handles:
            raise TooLarge(f"you have {self._most_handles} stored results and uploads already", hint=_LESS)
        left = self._share - tx.sum(HANDLES, HANDLES.c.size, theirs)
        return (left, "are left of your share") if left < in_all else (in_all, "this tenant may have at a time")

    async def _write(self, path: Path, chunks: AsyncIterator[bytes], room: int, whose: str) -> tuple[int, str]:
        state, size = hashlib.sha256(), 0
        with _disk_faults():
            file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            async for chunk in chunks:
                size += len(chunk)
                _within(size, self._most, "one may have")
                _within(size, room, whose)
                self._reserve(len(chunk))
                await _to_its_end(_store, file, state, chunk)
            await _to_its_end(_flush, file, self._folder)
        finally:
            os.close(file)
        return size, state.hexdigest()

    async def read(self, who: Principal, handle: str, offset: int = 0, limit: int = 65_536) -> tuple[bytes, int]:
        """Give (bytes, whole size). Raises `NotFound`, also for what belongs to somebody else.

        The same one within other bounds is somebody else: what was stored may be more than it may read. Without those
        bounds it sees all of its own.
        """
        row = await self._find(who, handle)
        return await asyncio.to_thread(_read, self._folder / handle, offset, limit), row.size

    async def digest(self, who: Principal, handle: str) -> tuple[str, int]:
        """Give the SHA-256 in hex and the size. Raises `NotFound`."""
        row = await self._find(who, handle)
        return row.sha256, row.size

    async def grep(self, who: Principal, handle: str, pattern: str, limit: int = 100, offset: int = 0) -> list[Hit]:
        """Find a pattern (RE2, so no pattern can take for ever) from an offset on, at most `limit` times.

        Raises `NotFound`, `InvalidInput` for a pattern that is none.
        """
        await self._find(who, handle)
        return await asyncio.to_thread(search, self._folder / handle, pattern, limit, offset)

    async def delete(self, who: Principal, handle: str) -> None:
        """Remove a handle and what it names. Raises `NotFound`."""
        await self._find(who, handle)
        await self._database.write(who.tenant, lambda tx: tx.delete(HANDLES, HANDLES.c.handle == handle))
        await asyncio.to_thread((self._folder / handle).unlink, missing_ok=True)

    async def sweep(self) -> int:
        """Remove what is older than 24 hours, and files that a crash left without a row; give how many rows."""
        now = self._clock.now()
        removed = await self._database.write_instance(lambda tx: tx.delete(HANDLES, HANDLES.c.until <= now))
        await asyncio.to_thread(_remove_older, self._folder, now - KEEP_S - _GRACE_S)
        return removed

    async def _find(self, who: Principal, handle: str) -> Row[Any]:
        mine = (HANDLES.c.handle == handle, HANDLES.c.principal == who.id, HANDLES.c.until > self._clock.now())
        row = await self._database.read(who.tenant, lambda tx: tx.first(HANDLES, *mine))
        if row is None or who.mark not in row.seen_by.split("\n"):
            raise NotFound(f"there is no `{handle[:64]}`", hint="handles live for 24 hours, for whoever made them")
        return row


def _within(size: int, most: int, whose: str) -> None:
    if size > most:
        raise TooLarge(f"this is more than the {max(0, most)} bytes that {whose}", hint=_LESS)


async def _to_its_end(work: Callable[..., None], *args: Any) -> None:
    """Run in a thread, and wait for it also when cancelled: its file is closed after it."""
    await to_its_end(asyncio.to_thread(work, *args))


@contextmanager
def _disk_faults() -> Generator[None]:
    try:
        yield
    except OSError as fault:
        raise Unavailable(
            f"the bytes could not be stored: {fault.strerror}", hint="free space where the data folder lies"
        ) from fault


def _store(file: int, state: Any, chunk: bytes) -> None:
    state.update(chunk)
    left = memoryview(chunk)
    with _disk_faults():
        while left:
            left = left[os.write(file, left) :]


def _flush(file: int, folder: Path) -> None:
    with _disk_faults():
        os.fsync(file)
        sync_folder(folder)


def _read(path: Path, offset: int, limit: int) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        return os.pread(descriptor, limit, offset)
    finally:
        os.close(descriptor)


def _remove_older(folder: Path, before: float) -> None:
    for one in os.scandir(folder):
        if one.stat().st_mtime < before:
            os.unlink(one)

"""What is noted of each view, in a folder that only this server reaches: record, origin and lock."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, TypeVar

import msgspec

from superagent.core.problems import Conflict, NotFound
from superagent.runtime.key_files import private_folder, sync_folder, write_new
from superagent.runtime.protected import Inode
from superagent.runtime.sandbox.view import Mounting, View
from superagent.runtime.sandbox.view_origin import Mark, Marks, Origin, Stamp, Told

_NEW = ".lock-"
_STALE_S = 3600.0
_TICK_NS = 100_000_000  # filesystems keep times in steps of up to 10 ms
T = TypeVar("T")
_ID = re.compile(r"[0-9a-f]{32}")


class Record(msgspec.Struct, frozen=True):
    """What is known of a view. `chain` is who made it and on whose behalf; `at` and `until` in epoch seconds.

    `marks` name each of the chain with the bounds within which it acted; empty where there were none.
    `open`: a command runs on it; without a holder of its lock it is nobody's. `paused`: its session stopped for the
    moment, so that it can be accepted. `resting`: its command has ended; it waits to be accepted or discarded, until
    `until`. `bytes` is what it held when that was measured last.
    """

    id: str
    tenant: str
    chain: tuple[str, ...]
    lower: str
    inode: Inode
    mounting: Mounting
    uid: int
    gid: int
    began_ns: int
    at: float
    until: float
    state: Literal["open", "paused", "resting"] = "open"
    bytes: int = 0
    marks: tuple[str, ...] = ()

    def there_for(self, tenant: str, mark: str) -> bool:
        """Tell whether it is there for somebody: who made it, or somebody on whose behalf it was made."""
        return tenant == self.tenant and mark in (self.marks or self.chain)


class Records:
    """A folder of records; the methods block."""

    def __init__(self, folder: Path) -> None:
        self._folder = private_folder(folder)
        self._all: tuple[int, tuple[Record, ...]] = 0, ()  # when the folder had changed last, and what it held then

    def known(self) -> tuple[Record, ...] | None:
        """Give all records if they have been read since the folder changed; this does not block for long."""
        changed, records = self._all
        return records if changed and changed == os.stat(self._folder).st_mtime_ns else None

    def all(self) -> tuple[Record, ...]:
        """Give all records: every one that is written, replaced or removed changes the time of the folder."""
        known = self.known()
        if known is not None:
            return known
        changed = os.stat(self._folder).st_mtime_ns
        settled = time.time_ns() - changed > _TICK_NS  # else what comes next might not be seen by that time
        found: list[Record] = []
        for id in self.ids():
            with contextlib.suppress(NotFound):
                found.append(self.read(id))
        self._all = changed if settled else 0, tuple(found)
        return self._all[1]

    def ids(self) -> list[str]:
        """Give the views of which something is noted."""
        return sorted({path.name.partition(".")[0] for path in self._folder.iterdir()} - {""})

    def read(self, id: str) -> Record:
        """Give a record. Raises `NotFound`, also for what is no id."""
        try:
            if _ID.fullmatch(id):
                return msgspec.json.decode(self._path(id, "json").read_bytes(), type=Record)
        except (FileNotFoundError, msgspec.MsgspecError):  # a torn one was never lent
            pass
        raise no_view(id)

    def write(self, record: Record, *, durable: bool = True) -> None:
        """Write a record in one step; one that a cut of power may take away need not be `durable`."""
        self._put(record.id, "json", msgspec.json.encode(record), durable=durable)

    def write_marks(self, id: str, marks: Marks) -> None:
        """Note what a copy held; names are kept as bytes, for not all are text."""
        self._put(id, "marks", msgspec.msgpack.encode({os.fsencode(at): _bytes(inner) for at, inner in marks.items()}))

    def write_origin(self, id: str, accepted: Mapping[str, Stamp], seen: Mapping[str, Told]) -> None:
        """Note what was accepted, and what stood there before."""
        self._put(id, "origin", msgspec.msgpack.encode((_bytes(accepted), _bytes(seen))))

    def origin(self, record: Record) -> Origin:
        """Give what is known of the real folder as it was."""
        marks: Marks | None = None
        accepted: dict[str, Stamp] = {}
        seen: dict[str, Told] = {}
        if record.mounting == "copy":
            data = self._path(record.id, "marks").read_bytes()
            named = msgspec.msgpack.decode(data, type=dict[bytes, dict[bytes, Mark]])
            marks = {os.fsdecode(at): _text(inner) for at, inner in named.items()}
        with contextlib.suppress(FileNotFoundError):
            data = self._path(record.id, "origin").read_bytes()
            noted = msgspec.msgpack.decode(data, type=tuple[dict[bytes, Stamp], dict[bytes, Told]])
            accepted, seen = _text(noted[0]), _text(noted[1])
        return Origin(record.inode[0], record.began_ns, accepted, seen, marks)

    def forget(self, id: str) -> None:
        """Remove all that is noted of a view; the lock last, for it is what says that the view is nobody's."""
        for suffix in ("origin-new", "marks-new", "json-new", "origin", "marks", "json", "lock"):
            self._path(id, suffix).unlink(missing_ok=True)
        sync_folder(self._folder)

    def tidy(self, now: float) -> int:
        """Remove locks that a crash left before they were held; give how many. `now` in epoch seconds."""
        stale = [path for path in self._folder.glob(f"{_NEW}*") if path.stat().st_mtime < now - _STALE_S]
        for path in stale:
            path.unlink(missing_ok=True)
        return len(stale)

    def lock(self, id: str, *, alone: bool, new: bool = False) -> int:
        """Take a view's lock and give the descriptor that holds it, for the caller to close.

        Raises `Conflict` when others hold it, `NotFound` when the view is gone.
        """
        if not _ID.fullmatch(id):
            raise no_view(id)
        flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | (os.O_CREAT | os.O_EXCL if new else 0)
        path = self._path(id, "lock")
        fresh = self._folder / f"{_NEW}{id}"
        try:
            fd = os.open(fresh if new else path, flags, 0o600)
        except FileNotFoundError:
            raise no_view(id) from None
        try:
            fcntl.flock(fd, (fcntl.LOCK_EX if alone else fcntl.LOCK_SH) | fcntl.LOCK_NB)
            if new:
                os.rename(fresh, path)  # held before it can be seen: a sweep takes what nobody holds
            if not path.exists():  # discarded between the two
                raise no_view(id)
        except BaseException as error:
            os.close(fd)
            if isinstance(error, BlockingIOError):
                raise Conflict(
                    f"something still runs on the view `{id}`, or it is being accepted",
                    hint="wait until that has ended",
                ) from None
            raise
        return fd

    def _path(self, id: str, suffix: str) -> Path:
        return self._folder / f"{id}.{suffix}"

    def _put(self, id: str, suffix: str, data: bytes, *, durable: bool = True) -> None:
        fresh = self._path(id, f"{suffix}-new")
        fresh.unlink(missing_ok=True)
        if durable:
            write_new(fresh, data)
        else:
            with open(fresh, "xb", opener=lambda path, flags: os.open(path, flags | os.O_NOFOLLOW, 0o600)) as file:
                file.write(data)
        os.rename(fresh, self._path(id, suffix))
        if durable:
            sync_folder(self._folder)


def no_view(id: str) -> NotFound:
    """Give the problem of a view that is not there, and of one that is somebody else's: nobody learns which."""
    return NotFound(f"there is no view `{id[:100]}`", hint="a view is kept until it is accepted, discarded or expired")


def view_of(record: Record, folder: Path) -> View:
    """Give the view that a record speaks of; `folder` holds the folders of all views."""
    return View(
        record.id,
        record.lower,
        record.inode,
        str(folder / record.id),
        record.mounting,
        record.uid,
        record.gid,
        record.began_ns,
    )


def _bytes(named: Mapping[str, T]) -> dict[bytes, T]:
    return {os.fsencode(name): value for name, value in named.items()}


def _text(named: Mapping[bytes, T]) -> dict[str, T]:
    return {os.fsdecode(name): value for name, value in named.items()}

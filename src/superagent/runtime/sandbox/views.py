"""The views that are there: made, lent to whoever runs a command in one, kept until accepted, discarded or expired.

Each has a folder, which belongs to the user who runs the command, and a record where only this server reaches. Whoever
uses a view holds its lock; the kernel drops that when its holder dies, so after `kill -9` a view that never came to
rest is known to be nobody's.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import stat
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from msgspec.structs import replace

from superagent.core.problems import Conflict, NotFound, Problem, TooLarge, Unavailable
from superagent.core.resources import beneath
from superagent.runtime.file_restore import remove
from superagent.runtime.os_problems import os_errors_about
from superagent.runtime.protected import inode_of
from superagent.runtime.sandbox.view import Mounting, View
from superagent.runtime.sandbox.view_accept import sweep_staging
from superagent.runtime.sandbox.view_copy import CopyBounds, copy_tree
from superagent.runtime.sandbox.view_origin import Marks, Origin, Stamp, Told, dividing_moment
from superagent.runtime.sandbox.view_records import Record, Records, view_of
from superagent.runtime.sandbox.view_sides import Tick
from superagent.runtime.system_calls import path_of

KEPT_S = 86_400.0
MOST_PER_PRINCIPAL = 100


class Use:
    """A view on loan: as long as this is open, nobody accepts, discards or sweeps it."""

    def __init__(self, views: Views, record: Record, lock: int) -> None:
        self._lock = lock
        self.record = record
        self.view: View = view_of(record, views.folder)
        self._views = views

    def rest(self, kept_s: float = KEPT_S, *, held: int = 0, durable: bool = True) -> None:
        """Say that the command has ended: the view now waits to be accepted or discarded, with so many bytes."""
        until = self._views.now() + kept_s
        self._note(replace(self.record, state="resting", until=until, bytes=held), durable=durable)

    def stay(self, held: int, until: float) -> None:
        """Say that a command that went on in it has ended: it waits as before, with so many bytes."""
        self._note(replace(self.record, bytes=held, until=until))

    def hold(self, held: int) -> None:
        """Say how many bytes it will hold, before they come."""
        self._note(replace(self.record, bytes=held), durable=False)

    def pause(self) -> None:
        """Give the view back for the moment: its processes are stopped, and it may be accepted meanwhile."""
        self._note(replace(self.record, state="paused"))
        self.close()

    def belong(self, chain: tuple[str, ...], marks: tuple[str, ...], began_ns: int, kept_s: float) -> None:
        """Say that one which was made ahead is of this principal, and is as old as this."""
        now = self._views.now()
        record = replace(self.record, chain=chain, marks=marks, began_ns=began_ns, at=now, until=now + kept_s)
        self._note(record, durable=False)
        self.view = view_of(record, self._views.folder)

    def go_on(self) -> None:
        """Say that a command runs on it again."""
        self._note(replace(self.record, state="open"))

    def _note(self, record: Record, *, durable: bool = True) -> None:
        self._views.records.write(record, durable=durable)
        self.record = record

    def close(self) -> None:
        """Give the view back; one that does not rest is swept. A second time does nothing."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def __del__(self) -> None:
        self.close()  # a call that is cancelled while a thread lends a view never gets to hold it

    def __enter__(self) -> Use:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Views:
    """All views of an installation; the methods block.

    `folder` is made searchable for every user (mode 0711), since commands run as others than this server; what is in
    it is open to its owner alone. Its parents must be searchable too.
    """

    def __init__(self, folder: Path, records: Path, now: Callable[[], float]) -> None:
        folder.mkdir(mode=0o711, parents=True, exist_ok=True)
        folder.chmod(0o711)
        self.folder = Path(os.path.realpath(folder))
        self.records = Records(records)
        self.now = now

    def make(
        self,
        lower: str,
        *,
        tenant: str,
        chain: tuple[str, ...],
        marks: tuple[str, ...] = (),
        mounting: Mounting,
        uid: int,
        gid: int,
        kept_s: float = KEPT_S,
        bounds: CopyBounds | None = None,
        tick: Tick = lambda: None,
    ) -> Use:
        """Make a view of a folder for a command that runs as `uid`, and lend it.

        `chain` is who acts and on whose behalf, first the one who acts; `marks` say within which bounds. A folder in
        which another filesystem is mounted is copied whatever `mounting` says: the kernel lets no ordinary user lay
        anything over it.
        Raises `TooLarge` when the principal holds too many, `Unavailable` when a copy would be too large or this server
        cannot make a view for that user, `NotFound`, `Conflict`.
        """
        if uid == 0 or os.geteuid() not in (0, uid):
            raise Unavailable(
                "a command can only work on a view as an unprivileged user that this server may give files to",
                hint="start the server as root, or as the user under whom commands run",
            )
        self._require_room(tenant, chain[0])
        with os_errors_about(lower):
            fd = os.open(lower, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                real = self._real(fd, lower)
                now = self.now()
                record = Record(
                    secrets.token_hex(16),
                    tenant,
                    chain,
                    real,
                    inode_of(os.fstat(fd)),
                    "copy" if _holds_mounts(real) else mounting,
                    uid,
                    gid,
                    dividing_moment(),
                    now,
                    now + kept_s,
                    marks=marks,
                )
                use = Use(self, record, self.records.lock(record.id, alone=False, new=True))
                try:
                    self.records.write(record, durable=False)  # whatever a cut of power leaves of it is swept
                    copied = self._fill(use.view, fd, bounds, tick)
                    if copied is not None:
                        self.records.write_marks(record.id, copied)
                except BaseException:
                    self._remove(record.id)
                    use.close()
                    raise
                return use
            finally:
                os.close(fd)

    def adopt(self, use: Use, *, chain: tuple[str, ...], marks: tuple[str, ...] = (), kept_s: float = KEPT_S) -> None:
        """Let a view that was made ahead, and on which nothing has run, be as if it were made now by a principal.

        Raises `TooLarge` when the principal holds too many, `Conflict` when its folder is not what it was.
        """
        self._require_room(use.record.tenant, chain[0])
        with os_errors_about(use.view.lower):
            info, shown = os.lstat(use.view.lower), os.lstat(use.view.upper)
        if inode_of(info) != use.record.inode or info.st_mode != shown.st_mode or _owner(info) != _owner(shown):
            raise Conflict(f"`{use.view.lower}` is not what it was", hint="make a view anew")
        use.belong(chain, marks, dividing_moment(), kept_s)

    def use(self, id: str) -> Use:
        """Lend a view that is there. Raises `NotFound`, `Conflict` while it is being accepted or discarded."""
        lock = self.records.lock(id, alone=False)
        try:
            return Use(self, self.records.read(id), lock)
        except BaseException:
            os.close(lock)
            raise

    def alone(self, id: str) -> Use:
        """Lend a view to one who accepts or discards it. Raises `NotFound`, `Conflict` while a command runs on it."""
        lock = self.records.lock(id, alone=True)
        try:
            return Use(self, self.records.read(id), lock)
        except BaseException:
            os.close(lock)
            raise

    def empty_scratch(self, view: View) -> None:
        """Empty what the last command had beside a copy as its own; an overlay needs its folder as it is."""
        if view.copied:
            with os_errors_about(view.folder):
                fd = os.open(view.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
                try:
                    remove(fd, "work")
                    os.mkdir("work", 0o700, dir_fd=fd)
                    if os.geteuid() == 0:
                        os.chown("work", view.uid, view.gid, dir_fd=fd, follow_symlinks=False)
                finally:
                    os.close(fd)

    def note_seen(self, use: Use, origin: Origin, seen: Mapping[str, Told]) -> None:
        """Remember what stands where an accepting begins: if it fails, what is put back is no one else's change."""
        self.records.write_origin(use.record.id, origin.accepted, {**origin.seen, **seen})

    def note_accepted(self, use: Use, origin: Origin, stamps: Mapping[str, Stamp]) -> None:
        """Remember what was brought into the real folder, so that it is not taken for somebody else's change."""
        seen = {path: told for path, told in origin.seen.items() if path not in stamps}
        self.records.write_origin(use.record.id, {**origin.accepted, **stamps}, seen)

    def discard(self, use: Use) -> None:
        """Remove a view that was lent by `alone`, with all it holds. Raises `OSError` problems."""
        with contextlib.suppress(OSError, Problem):  # what a crash left of an accepting; the real folder may be gone
            sweep_staging(use.view)
        self._remove(use.record.id)

    def sweep(self) -> int:
        """Remove views whose command died with its server, that have expired, or of which only a part is there.

        Gives how many. Whoever uses a view meanwhile keeps it.
        """
        removed = self.records.tidy(self.now())
        folders = set(os.listdir(self.folder))  # before the records: those are written first and forgotten last
        ids = set(self.records.ids())
        for id in sorted(ids | folders):
            try:
                use = self.alone(id)
            except Conflict:
                continue
            except NotFound:
                removed += self._sweep_rest(id, id in ids)
                continue
            with use:
                record = use.record
                if record.state == "open" or record.until <= self.now():
                    self.discard(use)
                    removed += 1
                else:
                    with contextlib.suppress(OSError, Problem):
                        sweep_staging(use.view)
        return removed

    def _sweep_rest(self, id: str, noted: bool) -> int:
        """Remove a folder without a record, or a lock without either; a view that is being made holds its lock."""
        if noted:
            try:
                lock = self.records.lock(id, alone=True)
            except Problem:
                return 0
            try:
                self._remove(id)
            finally:
                os.close(lock)
        else:
            self._remove(id)
        return 1

    def held(self, tenant: str, account: str = "") -> tuple[int, int]:
        """Give the bytes that the views of a tenant hold, and how many of them those that an agent or its own made."""
        return _sums(self.records.all(), tenant, account)

    def held_now(self, tenant: str, account: str = "") -> tuple[int, int] | None:
        """Give the same without reading anything; None when something would have to be read."""
        known = self.records.known()
        return None if known is None else _sums(known, tenant, account)

    def _require_room(self, tenant: str, principal: str) -> None:
        held = sum(one.tenant == tenant and one.chain[0] == principal for one in self.records.all())
        if held >= MOST_PER_PRINCIPAL:
            raise TooLarge(
                f"`{principal}` holds {held} views already",
                hint="accept some with `sandbox.accept`, or drop them with `sandbox.discard`",
            )

    def _real(self, fd: int, lower: str) -> str:
        real = path_of(fd)
        if real is None:
            raise NotFound(f"`{lower}` does not exist")
        if beneath(str(self.folder), real) or beneath(real, str(self.folder)):
            raise Conflict(f"`{lower}` holds the platform's own views, or is one", hint="work in another folder")
        return real

    def _fill(self, view: View, lower_fd: int, bounds: CopyBounds | None, tick: Tick) -> Marks | None:
        """Make the folders of a view; they belong to the server until all is as it must be."""
        info = os.fstat(lower_fd)
        os.mkdir(view.folder, 0o700)
        for path in (view.upper, view.work, view.merged):
            os.mkdir(path, 0o700)
        marks = None
        if view.copied:
            upper = os.open(view.upper, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                marks = copy_tree(lower_fd, upper, bounds, tick)
            finally:
                os.close(upper)
            dividing_moment()  # what the command changes from now on bears a later time than what was noted
        if os.geteuid() == 0:
            for path in (view.work, view.merged, view.folder):
                os.chown(path, view.uid, view.gid)
            os.chown(view.upper, info.st_uid, info.st_gid)
        # the folder that the command sees is as open as the real one, and no more
        os.chmod(view.upper, stat.S_IMODE(info.st_mode))
        return marks

    def _remove(self, id: str) -> None:
        with os_errors_about(str(self.folder)):
            fd = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                remove(fd, id)
            finally:
                os.close(fd)
        self.records.forget(id)


def _sums(records: Sequence[Record], tenant: str, account: str) -> tuple[int, int]:
    theirs = [record for record in records if record.tenant == tenant]
    return sum(one.bytes for one in theirs), sum(one.bytes for one in theirs if account in one.chain)


def _owner(info: os.stat_result) -> tuple[int, int]:
    return (info.st_uid, info.st_gid) if os.geteuid() == 0 else (0, 0)


def _holds_mounts(folder: str) -> bool:
    """Tell whether another filesystem is mounted somewhere beneath a folder."""
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as lines:
            points = [line.split(" ", 5)[4] for line in lines]
    except OSError:  # pragma: no cover - no procfs, so no overlay either
        return False
    # spaces and other characters that would end the field are written in octal (proc(5))
    plain = (re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), point) for point in points)
    return any(beneath(point, folder) and point != folder for point in plain)

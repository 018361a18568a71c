"""What stands at one path, on either side of a view: kind, mode, content digest, read within a budget.

Everything here may be hostile: nothing is followed, nothing waits, and no more is read than the budget allows.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass

from superagent.core.problems import TooLarge
from superagent.runtime.beneath import kind_of, open_file
from superagent.runtime.file_state import attributes_of
from superagent.runtime.sandbox.view_origin import Told

_CHUNK = 1024 * 1024
_SYSTEM = ("system.posix_acl_", "security.selinux")

Tick = Callable[[], None]
"""Called now and then; raises when the caller has no more time."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much one reading of a view may look at."""

    max_entries: int = 200_000
    max_bytes: int = 1 << 30  # of content; a file of holes counts by its length


@dataclass(frozen=True, slots=True)
class Side:
    """What stands at a path. `kind` is `absent`, `file`, `directory`, `link`, `fifo`, `socket` or `device`.

    `digest` is the SHA-256 of a file's content or a link's target; of a file that was not read it names size, time and
    inode instead and `unread` says why. `attributes` is the SHA-256 of the extended attributes of users.
    """

    kind: str
    mode: int = 0
    size: int = 0
    digest: str = ""
    target: str = ""
    attributes: str = ""
    unread: str = ""
    mtime_ns: int = 0

    def same(self, other: Side) -> bool:
        """Tell whether two states are equal; times do not count."""
        return self.told() == other.told()

    def told(self) -> Told:
        """Give what counts, for comparing and for the digest of a whole diff."""
        return self.kind, self.mode, self.size, self.digest, self.attributes


NOTHING = Side("absent")


@dataclass(slots=True)
class Budget:
    """What is left of the bounds while a view is read."""

    bounds: Bounds
    tick: Tick
    entries: int = 0
    bytes: int = 0

    def names(self, fd: int) -> list[str]:
        """Give the names in an open directory, in order. Raises `TooLarge` when the view holds more than may be."""
        names: list[str] = []
        with os.scandir(fd) as entries:
            for entry in entries:
                names.append(entry.name)
                if self.entries + len(names) > self.bounds.max_entries:
                    raise TooLarge(
                        f"the view holds more than {self.bounds.max_entries} changed entries",
                        hint="discard it, and do the work in smaller steps",
                    )
        self.entries += len(names)
        self.tick()
        return sorted(names)

    def side(self, dir_fd: int, name: str, info: os.stat_result | None) -> Side:
        """Describe what stands at a name, as it was just looked at. Raises `OSError`."""
        if info is None:
            return NOTHING
        kind, mode = kind_of(info.st_mode), stat.S_IMODE(info.st_mode)
        if kind == "link":
            target = os.readlink(name, dir_fd=dir_fd)
            return Side(kind, size=len(os.fsencode(target)), digest=_of_text(target), target=target)
        if kind == "directory":
            return Side(kind, mode, attributes=user_attributes(dir_fd, name))
        if kind != "file":
            return Side(kind, mode)
        digest, unread = self._content(dir_fd, name, info)
        return Side(
            kind, mode, info.st_size, digest, "", user_attributes(dir_fd, name), unread, mtime_ns=info.st_mtime_ns
        )

    def _content(self, dir_fd: int, name: str, info: os.stat_result) -> tuple[str, str]:
        self.tick()
        unread = f"unread {info.st_size} {info.st_mtime_ns} {info.st_ino}"
        if self.bytes + info.st_size > self.bounds.max_bytes:
            return unread, f"more than {self.bounds.max_bytes} bytes would have to be read"
        try:
            fd = open_file(dir_fd, name)
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.EPERM):
                raise
            return unread, "its mode closes it to this server"
        try:
            state, read = hashlib.sha256(), 0
            # no further than it was long: what still grows is not the file that was looked at
            while chunk := os.read(fd, min(_CHUNK, info.st_size - read)):
                state.update(chunk)
                read += len(chunk)
                self.tick()
        finally:
            os.close(fd)
        self.bytes += read
        return state.hexdigest(), ""


def user_attributes(dir_fd: int, name: str) -> str:
    """Name the extended attributes of users by one digest; empty for none."""
    found = users_own(attributes_of(dir_fd, name))
    return _of_text(repr(sorted(found.items()))) if found else ""


def carried(attributes: dict[str, str]) -> dict[str, str]:
    """Leave what goes along with a file: what belongs to users, access lists and labels.

    What a program may do beyond its user (`security.capability`) never does: it was given to other bytes.
    """
    system = {name: value for name, value in attributes.items() if name.startswith(_SYSTEM)}
    return users_own(attributes) | system


def users_own(attributes: dict[str, str]) -> dict[str, str]:
    """Leave what belongs to users: not the system's, and not the overlay's own notes."""
    return {
        name: value
        for name, value in attributes.items()
        if name.startswith("user.") and not name.startswith("user.overlay.")
    }


def _of_text(text: str) -> str:
    return hashlib.sha256(os.fsencode(text)).hexdigest()

"""Hearing of changes from the kernel (inotify(7)) and telling them without noise."""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from .places import Unfit

Kind = Literal["create", "change", "delete", "move", "overflow"]

_CREATE, _DELETE, _FROM, _TO = 0x100, 0x200, 0x40, 0x80
_WRITTEN, _ATTRIBUTES, _GONE, _MOVED_SELF = 0x8, 0x4, 0x400, 0x800
_OVERFLOW, _IGNORED, _IS_DIR = 0x4000, 0x8000, 0x40000000
_ONLY_DIR, _NO_FOLLOW = 0x01000000, 0x02000000
_ALL = _CREATE | _DELETE | _FROM | _TO | _WRITTEN | _ATTRIBUTES | 0x2 | _ONLY_DIR
_HEAD = struct.Struct("iIII")
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Heard:
    """One change: `path` is where, `to` where a move went; an overflow has neither."""

    kind: Kind
    path: str = ""
    to: str = ""
    is_dir: bool = False


class Watch:
    """The kernel's messages about directories, by descriptor."""

    def __init__(self) -> None:
        if not hasattr(_libc, "inotify_init1"):  # pragma: no cover - macOS
            raise Unfit("this system has no inotify", "watch from a node that runs Linux")
        self.fd = int(_libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))
        if self.fd < 0:
            raise _failed()
        self.paths: dict[int, str] = {}
        self._names: dict[int, set[str]] = {}

    def add(self, dir_fd: int, path: str) -> None:
        """Watch an open directory, which is called `path` from here on; the descriptor may be closed then."""
        # the link names the very directory that is open, whatever its path leads to now
        number = _libc.inotify_add_watch(self.fd, ctypes.c_char_p(b"/proc/self/fd/%d" % dir_fd), ctypes.c_uint32(_ALL))
        if number < 0:
            raise _failed()
        self.paths[number] = path
        self._names[number] = set(os.listdir(dir_fd))

    def read(self) -> list[Heard]:
        """Give what happened since, without waiting; a move is one change if both ends were heard."""
        try:
            data = os.read(self.fd, 65_536)
        except BlockingIOError:
            return []
        found: list[Heard] = []
        left: dict[int, tuple[str, bool, int]] = {}
        for number, mask, cookie, name in _messages(data):
            if number not in self.paths and not mask & _OVERFLOW:
                continue  # of a folder that was moved away
            path = f"{self.paths.get(number, '')}/{name}"
            is_dir = bool(mask & _IS_DIR)
            if mask & _OVERFLOW:
                found.append(Heard("overflow"))
            elif mask & _IGNORED:
                self.paths.pop(number, None)
                self._names.pop(number, None)
            elif mask & _FROM:
                self._names[number].discard(name)
                left[cookie] = (path, is_dir, len(found))
            elif mask & _TO:
                came = left.pop(cookie, None)
                if came and is_dir:
                    self._renamed(came[0], path)
                if came and not _hidden(came[0]):
                    found.append(Heard("move", came[0], path, is_dir))
                else:  # a file written in one step comes under a hidden name and takes the place of the old one
                    found.append(Heard(self._came(number, name), path, "", is_dir))
                self._names[number].add(name)
            elif name and not _hidden(path):
                kind: Kind = "change"
                if mask & _CREATE:
                    kind = self._came(number, name)
                    self._names[number].add(name)
                elif mask & _DELETE:
                    kind = "delete"
                    self._names[number].discard(name)
                found.append(Heard(kind, path, "", is_dir))
        for path, is_dir, at in left.values():
            if is_dir:  # what happens in it from now on happens somewhere else
                self._forget(path)
                found[at:] = [one for one in found[at:] if not one.path.startswith(path + "/")]
        found += [Heard("delete", path, "", is_dir) for path, is_dir, _ in left.values() if not _hidden(path)]
        return found

    def close(self) -> None:
        """Stop hearing."""
        os.close(self.fd)

    def _came(self, number: int, name: str) -> Kind:
        return "change" if name in self._names[number] else "create"

    def _forget(self, gone: str) -> None:
        for number, path in list(self.paths.items()):
            if path == gone or path.startswith(gone + "/"):
                _libc.inotify_rm_watch(self.fd, number)
                del self.paths[number], self._names[number]

    def _renamed(self, old: str, new: str) -> None:
        for number, path in self.paths.items():
            if path == old or path.startswith(old + "/"):
                self.paths[number] = new + path[len(old) :]


@dataclass(slots=True)
class Queue:
    """Changes not told yet: several of one path become one; beyond `most` only the overflow is told."""

    may: Callable[[str, bool], bool]
    most: int = 1000
    waiting: dict[str, Heard] = field(default_factory=dict[str, Heard])
    overflowed: bool = False

    def put(self, heard: Heard) -> None:
        """Take in one change; what may not be seen leaves no trace."""
        if heard.kind == "overflow":
            self.overflowed = True
            return
        shown = self._visible(heard)
        if shown is None:
            return
        if len(self.waiting) >= self.most and shown.path not in self.waiting:
            self.overflowed = True
            return
        before = self.waiting.pop(shown.path, None)
        after = _merged(before, shown)
        if after is not None:
            self.waiting[shown.path] = after

    def take(self) -> list[Heard]:
        """Give all that waits, in order; an overflow comes first."""
        told = [Heard("overflow")] if self.overflowed else []
        told += self.waiting.values()
        self.waiting.clear()
        self.overflowed = False
        return told

    def _visible(self, heard: Heard) -> Heard | None:
        here = self.may(heard.path, heard.is_dir)
        if heard.kind != "move":
            return heard if here else None
        there = self.may(heard.to, heard.is_dir)
        if here and there:
            return heard
        if here:
            return Heard("delete", heard.path, "", heard.is_dir)
        return Heard("create", heard.to, "", heard.is_dir) if there else None


def _merged(before: Heard | None, now: Heard) -> Heard | None:
    """Give what two changes of one path come to; None when they cancel out."""
    if before is None or now.kind == "move":
        return now
    if before.kind == "create":
        return None if now.kind == "delete" else before
    if before.kind == "delete" and now.kind == "create":
        return Heard("change", now.path, "", now.is_dir)
    return now


def _hidden(path: str) -> bool:
    """Say whether this is a name under which the platform prepares what it then puts in place."""
    return path.rpartition("/")[2].startswith(".superagent-")


def _messages(data: bytes) -> list[tuple[int, int, int, str]]:
    found: list[tuple[int, int, int, str]] = []
    at = 0
    while at + _HEAD.size <= len(data):
        number, mask, cookie, length = _HEAD.unpack_from(data, at)
        at += _HEAD.size
        found.append((number, mask, cookie, os.fsdecode(data[at : at + length].rstrip(b"\0"))))
        at += length
    return found


def _failed() -> OSError:
    number = ctypes.get_errno()
    if number == errno.ENOSPC:  # ENOSPC here means something else than everywhere
        raise Unfit("this user watches as many directories as the system allows", "raise `fs.inotify.max_user_watches`")
    return OSError(number, os.strerror(number))

"""Whole files: read, written, listed and deleted as data, for plugins that are handed no descriptors."""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from collections.abc import Iterator
from typing import Any, Protocol

from superagent.core.carried import FoundFile
from superagent.core.context import Context
from superagent.core.problems import InvalidInput, NotFound, TooLarge
from superagent.core.resources import Effect
from superagent.runtime.beneath import At, kind_of
from superagent.runtime.file_restore import remove
from superagent.runtime.os_problems import os_errors_about, printable
from superagent.runtime.tree_walk import Entry

MAX_BYTES = 4 * 1024 * 1024
"""How much is read at once, bytes."""

MOST_LISTED = 10_000
_AT_ONCE = 1024 * 1024


class Places(Protocol):
    """The places of one call, judged (`FilesReach`)."""

    def at(self, path: str, *, effect: Effect = Effect.READ, follow: bool = True) -> At:
        """Open the place of a canonical path."""
        ...

    def walk(self, at: At, *, effect: Effect = Effect.READ, max_depth: int | None = None) -> Iterator[Entry]:
        """Give what lies beneath a place and may be used."""
        ...

    def require_whole(self, at: At, effect: Effect) -> None:
        """Go on only if all beneath a place may be used so."""
        ...


class WholeFiles:
    """Files as data. Nothing is kept here for an undo: that is what `ctx.changing` around it does."""

    __slots__ = ()

    async def read(self: Any, path: str, *, offset: int = 0, max_bytes: int = 0) -> bytes:
        """Give the bytes of a file from an offset on, at most `max_bytes` (0: 4 MiB). Raises `NotFound`."""
        ctx: Context = self._ctx
        return await ctx.thread(_read, self, path, offset, max_bytes or MAX_BYTES)

    async def write(self: Any, path: str, data: bytes) -> None:
        """Replace or make a file in one step; a reader sees the old or the new content. Raises `NotFound`."""
        ctx: Context = self._ctx
        await ctx.thread(_write, self, path, data)

    async def list(self: Any, path: str) -> list[FoundFile]:
        """Give what lies in a folder and may be read, by name. Raises `NotFound`, `TooLarge`."""
        ctx: Context = self._ctx
        return await ctx.thread(_list, self, path)

    async def delete(self: Any, path: str) -> None:
        """Remove what stands at a path and all beneath it. Raises `NotFound`, `Denied`."""
        ctx: Context = self._ctx
        await ctx.thread(_delete, self, path)


def _read(places: Places, path: str, offset: int, max_bytes: int) -> bytes:
    if offset < 0 or not 0 < max_bytes <= MAX_BYTES:
        raise InvalidInput(f"`offset` begins at 0, and at most {MAX_BYTES} bytes are read at once")
    parts: list[bytes] = []
    with places.at(path) as at, os_errors_about(path), open(at.open(), "rb", buffering=0) as file:
        while max_bytes and (part := os.pread(file.fileno(), min(max_bytes, _AT_ONCE), offset)):
            parts.append(part)
            offset, max_bytes = offset + len(part), max_bytes - len(part)
    return b"".join(parts)


def _write(places: Places, path: str, data: bytes) -> None:
    with places.at(path, effect=Effect.CHANGE, follow=False) as at, os_errors_about(path):
        if at.stat is not None and not stat.S_ISREG(at.stat.st_mode):
            raise InvalidInput(f"`{printable(path)}` is no file", hint="remove it first, if that is what you mean")
        fresh = f".superagent-{secrets.token_hex(12)}"
        # the system's mask applies to a new file; one that takes another's place is never more open than that was
        first = 0o666 if at.stat is None else 0o600
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(fresh, flags, first, dir_fd=at.dir_fd)
        try:
            with open(descriptor, "wb", buffering=0) as file:
                left = memoryview(data)
                while left:
                    left = left[file.write(left) :]
                if at.stat is not None:
                    _take_after(file.fileno(), at.stat)
                os.fsync(file.fileno())
            os.rename(fresh, at.name, src_dir_fd=at.dir_fd, dst_dir_fd=at.dir_fd)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(fresh, dir_fd=at.dir_fd)
            raise


def _take_after(descriptor: int, before: os.stat_result) -> None:
    if (before.st_uid, before.st_gid) != (os.geteuid(), os.getegid()):
        with contextlib.suppress(PermissionError):
            os.fchown(descriptor, before.st_uid, before.st_gid)
    # the system takes these two rights from a program that is written to; so does this
    os.fchmod(descriptor, stat.S_IMODE(before.st_mode) & ~(stat.S_ISUID | stat.S_ISGID))


def _list(places: Places, path: str) -> list[FoundFile]:
    found: list[FoundFile] = []
    with places.at(path) as at, os_errors_about(path):
        if not at.is_dir:
            raise NotFound(f"`{printable(path)}` is no folder")
        for entry in places.walk(at, max_depth=1):
            if len(found) == MOST_LISTED:
                raise TooLarge(f"`{printable(path)}` holds more than {MOST_LISTED} entries", hint="name a part of it")
            info = entry.stat
            found.append(FoundFile(entry.name, kind_of(info.st_mode), info.st_size, info.st_mtime))  # pyright: ignore[reportArgumentType]
    return sorted(found, key=lambda one: one.name)


def _delete(places: Places, path: str) -> None:
    with places.at(path, effect=Effect.DESTROY, follow=False) as at, os_errors_about(path):
        at.found()
        if at.is_dir:
            places.require_whole(at, Effect.DESTROY)
        remove(at.dir_fd, at.name)

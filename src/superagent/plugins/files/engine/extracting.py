"""Making what an archive holds, in a fresh folder under a hidden name, by descriptors."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Generator, Iterable
from dataclasses import dataclass, field

from .places import Unfit
from .renames import sync_filesystem
from .unpacking import Member, broken_archives_are_unfit, parts_of

_CHUNK = 256 * 1024
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_DEEPEST = 200


@dataclass(slots=True)
class Extracted:
    """What was made."""

    files: int = 0
    bytes: int = 0
    entries: int = 0


def extract(members: Iterable[Member], dir_fd: int, name: str) -> Extracted:
    """Make a new folder with everything in it; on an error it is left for the caller to remove.

    Raises what reading the members raises, and `OSError`.
    """
    os.mkdir(name, 0o700, dir_fd=dir_fd)
    with _Ground(os.open(name, _DIRECTORY, dir_fd=dir_fd)) as ground:
        for member in members:
            ground.make(member)
        ground.finish()
        return ground.done


@dataclass(slots=True)
class _Ground:
    top: int
    done: Extracted = field(default_factory=Extracted)
    modes: dict[tuple[str, ...], tuple[int, float]] = field(default_factory=dict[tuple[str, ...], tuple[int, float]])

    def make(self, member: Member) -> None:
        self.done.entries += 1
        if len(member.path) > _DEEPEST:
            raise Unfit(f"the archive holds a name that is more than {_DEEPEST} folders deep")
        with self._folder(member.path[:-1]) as fd:
            leaf = member.path[-1]
            if member.kind == "directory":
                with contextlib.suppress(FileExistsError):  # made on the way to something in it
                    os.mkdir(leaf, 0o700, dir_fd=fd)
                self.modes[member.path] = (member.mode | 0o700, member.mtime)
            elif member.kind == "link":
                os.symlink(member.target, leaf, dir_fd=fd)
            elif member.kind == "hard link":
                earlier = parts_of(member.target)
                with self._folder(earlier[:-1]) as other:
                    os.link(earlier[-1], leaf, src_dir_fd=other, dst_dir_fd=fd, follow_symlinks=False)
            else:
                self._file(member, fd, leaf)

    def finish(self) -> None:
        """Give folders their modes and times, the deepest first, and put all on disk."""
        for path in sorted(self.modes, key=len, reverse=True):
            mode, mtime = self.modes[path]
            with self._folder(path) as fd:
                os.fchmod(fd, mode)
                os.utime(fd, (mtime, mtime))
        os.fchmod(self.top, 0o755)
        sync_filesystem(self.top)

    def _file(self, member: Member, dir_fd: int, leaf: str) -> None:
        fd = os.open(leaf, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=dir_fd)
        with open(fd, "wb") as file, broken_archives_are_unfit():
            while member.content is not None and (chunk := member.content.read(_CHUNK)):
                file.write(chunk)
                self.done.bytes += len(chunk)
            file.flush()
            os.fchmod(fd, member.mode or 0o644)
            os.utime(fd, (member.mtime, member.mtime))
        self.done.files += 1

    @contextlib.contextmanager
    def _folder(self, path: tuple[str, ...]) -> Generator[int]:
        """Open a folder beneath the top, making what is missing, never through a link."""
        fd = os.dup(self.top)
        try:
            for depth, part in enumerate(path, 1):
                with contextlib.suppress(FileExistsError):
                    os.mkdir(part, 0o700, dir_fd=fd)
                    self.modes[path[:depth]] = (0o755, 0.0)  # unless the archive says otherwise later
                inner = os.open(part, _DIRECTORY, dir_fd=fd)
                os.close(fd)
                fd = inner
            yield fd
        finally:
            os.close(fd)

    def __enter__(self) -> _Ground:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.top)

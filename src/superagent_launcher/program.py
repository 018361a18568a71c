"""The one program that is started: bubblewrap, by an absolute path that nobody else could have changed."""

from __future__ import annotations

import os
import stat

from superagent_launcher.asked import Refused


def open_program(path: str) -> int:
    """Open bubblewrap to be executed, and give the descriptor, which the caller closes.

    What was looked at is what is run: it is executed by this descriptor, not by its name. Raises `Refused` when the
    file, or a folder above it, could be changed by anybody but root and this process's own user, or when it would run
    with rights of its own.
    """
    if not path.startswith("/") or os.path.normpath(path) != path:
        raise Refused(f"`{path}` is no plain absolute path")
    try:
        real = os.path.realpath(path, strict=True)
        for folder in _above(real):
            _check(folder, os.stat(folder))
        descriptor = os.open(real, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as bad:
        raise Refused(f"`{path}` cannot be used: {bad.strerror}") from None
    try:
        found = os.fstat(descriptor)
        _check(real, found)
        if not stat.S_ISREG(found.st_mode) or not found.st_mode & 0o111:
            raise Refused(f"`{path}` is no program")
        if found.st_mode & (stat.S_ISUID | stat.S_ISGID):
            raise Refused(f"`{path}` runs with its owner's rights (set-uid); one without them is needed")
    except Refused:
        os.close(descriptor)
        raise
    return descriptor


def _above(path: str) -> list[str]:
    found: list[str] = []
    while path != "/":
        path = os.path.dirname(path)
        found.append(path)
    return found


def _check(path: str, found: os.stat_result) -> None:
    if found.st_uid not in (0, os.geteuid()):
        raise Refused(f"`{path}` belongs to user {found.st_uid}, who could exchange it")
    shared = found.st_mode & 0o022 and not (stat.S_ISDIR(found.st_mode) and found.st_mode & stat.S_ISVTX)
    if shared:
        raise Refused(f"`{path}` can be changed by others (mode {stat.S_IMODE(found.st_mode):o})")

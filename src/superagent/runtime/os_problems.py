"""What an error of the operating system means to a caller: one table for all that touches files."""

from __future__ import annotations

import errno
import os
from collections.abc import Generator
from contextlib import contextmanager

from superagent.core.problems import (
    Changed,
    Conflict,
    Denied,
    InvalidInput,
    NotFound,
    Overloaded,
    Problem,
    TooLarge,
    Unavailable,
)


class NotAFile(OSError):
    """What stands there is a FIFO, socket, device or directory, not a file with bytes; `strerror` names the kind."""


_TABLE: dict[int, tuple[type[Problem], str, str | None]] = {
    errno.ENOENT: (NotFound, "`{path}` does not exist", None),
    errno.ENOTDIR: (NotFound, "`{path}` does not exist: a part of it is not a directory", None),
    errno.EEXIST: (Conflict, "`{path}` exists already", "choose another name or allow replacing it"),
    errno.ENOTEMPTY: (Conflict, "the directory `{path}` is not empty", "ask for it with what it holds"),
    errno.EBUSY: (Conflict, "`{path}` is in use by the operating system", None),
    errno.ETXTBSY: (Conflict, "`{path}` is a running program", "stop it first"),
    errno.ESTALE: (Conflict, "`{path}` was moved while it was read", "try again"),
    errno.EXDEV: (Conflict, "`{path}` lies on another filesystem", "copy it instead"),
    errno.ELOOP: (Conflict, "`{path}` leads through too many links, or through a link where none may be", None),
    errno.EACCES: (Denied, "the operating system refused access to `{path}`", "give this server's user the right"),
    errno.EPERM: (Denied, "the operating system refused this on `{path}`", "give this server's user the right"),
    errno.EROFS: (
        Denied,
        "the operating system refused: `{path}` lies on a read-only filesystem",
        "choose another place",
    ),
    errno.ENOSPC: (Unavailable, "the disk is full under `{path}`", "free space, then try again"),
    errno.EDQUOT: (
        Unavailable,
        "the disk quota is used up: the disk is full under `{path}`",
        "free space, then try again",
    ),
    errno.EFBIG: (TooLarge, "`{path}` would be larger than the operating system allows a file to be", None),
    errno.EMFILE: (Overloaded, "too many files are open in this server", "try again in a moment"),
    errno.ENFILE: (Overloaded, "too many files are open on this machine", "try again in a moment"),
    errno.ENAMETOOLONG: (InvalidInput, "a name in `{path}` is longer than the filesystem allows", "shorten it"),
    errno.EISDIR: (Conflict, "`{path}` is a directory", "name a file in it"),
    errno.EINVAL: (InvalidInput, "the filesystem does not take `{path}` for this", "choose another name"),
    errno.EILSEQ: (InvalidInput, "the filesystem does not take a name in `{path}`", "choose another name"),
    errno.ENOTSUP: (Unavailable, "the filesystem under `{path}` lacks what this needs", "choose another place"),
    errno.EIO: (Unavailable, "the disk could not read or write `{path}`", "check the disk"),
}


def problem_of(error: OSError, path: str, changed: Changed = "nothing") -> Problem:
    """Give the problem that says what the operating system answered about a path, and what had changed by then."""
    path = printable(path)
    if isinstance(error, NotAFile):
        return Conflict(f"`{path}` is {error.strerror}, not a file with content", hint="name a file", changed=changed)
    known = _TABLE.get(error.errno or 0)
    if known is None:
        said = error.strerror or "an unnamed error"
        return Unavailable(f"the operating system could not do this on `{path}`: {said}", changed=changed)
    kind, detail, hint = known
    return kind(detail.format(path=path), hint=hint, changed=changed)


@contextmanager
def os_errors_about(path: str, changed: Changed = "nothing") -> Generator[None]:
    """Turn each `OSError` of the block into the problem that says the same about this path."""
    try:
        yield
    except OSError as error:
        raise problem_of(error, path, changed) from error


def printable(path: str) -> str:
    """Give a path that can stand in JSON: bytes that are not UTF-8 become `\\xNN`."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")

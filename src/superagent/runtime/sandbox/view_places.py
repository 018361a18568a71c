"""Opening the two sides of a view, the upper folder and the real one, and what lies in them, through no link."""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import ExitStack, contextmanager

from superagent.core.problems import Conflict
from superagent.runtime.beneath import open_directory
from superagent.runtime.os_problems import printable
from superagent.runtime.protected import inode_of
from superagent.runtime.sandbox.view import View

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@contextmanager
def open_sides(view: View) -> Generator[tuple[int, int]]:
    """Open a view's upper folder and the real folder for the length of a block.

    Raises `Conflict` when another folder stands where either was, `OSError` of the real one.
    """
    with ExitStack() as stack:
        try:
            upper = os.open(view.upper, _DIRECTORY)
        except OSError as error:
            raise Conflict(f"the view cannot be opened any more: {error.strerror}", hint="discard it") from error
        stack.callback(os.close, upper)
        lower = os.open(view.lower, _DIRECTORY)
        stack.callback(os.close, lower)
        if inode_of(os.fstat(lower)) != view.inode:
            raise Conflict(
                f"`{printable(view.lower)}` is another folder than the view was made of", hint="discard the view"
            )
        yield upper, lower


def open_beneath(top_fd: int, path: str) -> int:
    """Open the folder at a path (relative, empty for the top); the caller closes it. Raises `OSError` at a link."""
    fd = open_directory(top_fd, ".")
    for name in path.split("/") if path else ():
        try:
            deeper = open_directory(fd, name)
        finally:
            os.close(fd)
        fd = deeper
    return fd

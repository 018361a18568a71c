"""Small disks: writes that the operating system refuses, as it does when a disk is full."""

from __future__ import annotations

import resource
from collections.abc import Generator
from contextlib import contextmanager


@contextmanager
def files_no_longer_than(size: int) -> Generator[None]:
    """Let the operating system refuse every write beyond this length, as a full disk does (EFBIG)."""
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))

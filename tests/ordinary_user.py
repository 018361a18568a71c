"""Being an ordinary user for a moment: what the operating system refuses cannot be seen as root."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

NOBODY = 65534


@contextmanager
def open_folder() -> Generator[Path]:
    """Give a temporary folder that every user can reach and fill; pytest's own are closed to others."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o777)
        yield folder


@contextmanager
def ordinary_user() -> Generator[None]:
    """Run the block without root's rights; where the tests run as an ordinary user, nothing changes."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)

"""Leftovers: the hidden temporary files that writes cut off by a crash left beside their targets."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable

from superagent.core.audit import AuditRecord

_NAME = re.compile(r"^\.superagent-[0-9a-f]{24}$")
SETTLED_S = 60.0  # no write that is still under way leaves its temporary file untouched for so long


def sweep(unfinished: Iterable[AuditRecord], now: float) -> int:
    """Remove what the given intents may have left in the folders of their resources; gives how many files.

    Only files of our own naming that nobody has touched for a minute go, so that a write of another worker is safe. A
    folder that is a link by now is left alone.
    """
    folders = {
        os.path.dirname("/" + name.partition("://")[2].partition("/")[2])
        for one in unfinished
        for name, _ in one.resources
    }
    removed = 0
    for folder in sorted(folders):
        try:
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            continue
        try:
            for name in os.listdir(descriptor):
                if _NAME.match(name) and now - os.lstat(name, dir_fd=descriptor).st_mtime > SETTLED_S:
                    os.unlink(name, dir_fd=descriptor)
                    removed += 1
        except OSError:
            pass  # somebody else is changing this folder; there is another sweep
        finally:
            os.close(descriptor)
    return removed

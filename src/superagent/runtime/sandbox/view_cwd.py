"""Where a command begins in a view that others worked on before: a folder, and nothing that leads elsewhere.

Whoever starts a command may hold descriptors of this machine while it goes there: a link to `/proc/self/fd/4` would
have the command begin outside of everything (CVE-2024-21626 of runc). Under bubblewrap it goes there itself.
"""

from __future__ import annotations

import os
import stat

from superagent.core.problems import InvalidInput
from superagent.runtime.os_problems import printable
from superagent.runtime.sandbox.view import View
from superagent.runtime.system_calls import O_PATH, RESOLVE_BENEATH, RESOLVE_NO_SYMLINKS, openat2

_HELD = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS
_FOLDER = O_PATH | os.O_DIRECTORY | os.O_CLOEXEC


def require_folder(view: View, path: str) -> None:
    """Go on only if a relative path is a folder in a view, with no link on the way. Blocks; raises `InvalidInput`.

    As far as there is something in the upper folder, that is what stands in the view; what is not there stands in the
    lower one, or nowhere. Whoever asks holds the view alone, so it stays as it is.
    """
    parts = [one for one in path.split("/") if one]
    try:
        for count in range(1, len(parts) + 1):
            if not _stands_in(view.upper, "/".join(parts[:count])):
                if view.copied:
                    raise NotADirectoryError
                return os.close(_opened(view.lower, "/".join(parts), _FOLDER))
    except OSError:
        raise InvalidInput(
            f"`{printable(path)[:200]}` is no folder in the view", hint="name one by its own path, not by a link to it"
        ) from None


def _stands_in(folder: str, path: str) -> bool:
    """Tell whether a folder stands there; False for nothing at all. Raises `OSError` for anything else."""
    try:
        fd = _opened(folder, path, O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        if not stat.S_ISDIR(os.fstat(fd).st_mode):
            raise NotADirectoryError
    finally:
        os.close(fd)
    return True


def _opened(folder: str, path: str, flags: int) -> int:
    top = os.open(folder, _FOLDER | os.O_NOFOLLOW)
    try:
        return openat2(top, path, flags, _HELD)
    finally:
        os.close(top)

"""A launcher as a test wants it, in a process of its own, in which nothing of the test's is:

    python -I born.py USER SETTINGS ARGUMENTS…

A fork of the test's process would inherit what that has open; a launcher closes all of it and uses the numbers again,
while things in memory (the database in which lines are counted, above all) still take them for theirs.

USER is whom it becomes, `-` for nobody else. SETTINGS are JSON: values for constants, by their full names.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import signal
import sys
import traceback

from superagent_launcher import leftovers, serving
from superagent_launcher.__main__ import main

LOADED = (leftovers, serving)  # with all that they need: an ordinary user may not reach the files
_PR_SET_DUMPABLE = 4


def begin(user: str, settings: str, *arguments: str) -> None:
    """Serve as that user until the server is gone."""
    for name, value in json.loads(settings).items():
        module, _, constant = name.rpartition(".")
        setattr(importlib.import_module(module), constant, value)
    if user != "-":
        os.setgroups([])
        os.setresgid(int(user), int(user), int(user))
        os.setresuid(int(user), int(user), int(user))
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 1, 0, 0, 0)  # as after the exec that is left out here
    main(list(arguments))


if __name__ == "__main__":
    code = 1
    try:
        begin(*sys.argv[1:])
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        try:
            os._exit(code)
        finally:  # what counts lines cannot write them down as another user
            os.kill(os.getpid(), signal.SIGKILL)

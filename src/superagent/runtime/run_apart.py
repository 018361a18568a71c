"""Work apart: a function on hostile input in a process of its own that can cost only so much, and reach nothing."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable
from typing import Any

from superagent.core.problems import TooLarge

MEMORY_BYTES = 512 * 1024 * 1024
CPU_S = 3
WALL_S = 20.0
ANSWER_BYTES = 4 * 1024 * 1024

# The module is loaded first, with the rights of whoever started it. From then on the process can open no file and no
# socket and start no process; as root it becomes nobody as well.
_CHILD = """
import importlib, json, os, resource as r, sys
module, name, memory, cpu, answer = sys.argv[1:]
function = getattr(importlib.import_module(module), name)
given = json.load(sys.stdin.buffer)
for what, most in (
    (r.RLIMIT_CORE, 0), (r.RLIMIT_AS, int(memory)), (r.RLIMIT_FSIZE, int(answer)), (r.RLIMIT_NPROC, 0),
    (r.RLIMIT_NOFILE, 3),
):
    r.setrlimit(what, (most, most))
spent = sum(r.getrusage(r.RUSAGE_SELF)[:2])
r.setrlimit(r.RLIMIT_CPU, (int(spent) + 1 + int(cpu),) * 2)
if os.geteuid() == 0:
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
json.dump(function(*given), sys.stdout)
"""


class ApartReach:
    """The capability `apart`: for what reads hostile input by a library that its input can stop or exhaust (ADR 53)."""

    def __init__(self, thread: Callable[..., Awaitable[Any]]) -> None:
        self._thread = thread

    async def run(self, function: str, /, *args: Any) -> Any:
        """Run `module:function` as `apart` does, beside the event loop. Raises `TooLarge`."""
        return await self._thread(apart, function, *args)


def apart(function: str, /, *args: Any) -> Any:
    """Run `module:function` of an installed module with these JSON values, and give the JSON value that it returns.

    It gets 512 MiB of memory and 3 s of processor time, nothing of this process's environment, memory and descriptors,
    and can open nothing once it runs. Raises `TooLarge` when it ended without an answer, for whatever reason: what it
    said of itself could be its input's word.
    """
    module, _, name = function.partition(":")
    limits = [str(one) for one in (MEMORY_BYTES, CPU_S, ANSWER_BYTES)]
    with tempfile.TemporaryFile() as answer:
        try:
            ended = subprocess.run(
                [sys.executable, "-I", "-c", _CHILD, module, name, *limits],
                input=json.dumps(args).encode(), stdout=answer, stderr=subprocess.DEVNULL, env={}, cwd="/",
                timeout=WALL_S, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise _too_costly() from None
        answer.seek(0)
        try:
            return _answer(ended.returncode, answer.read(ANSWER_BYTES))
        except ValueError:
            raise _too_costly() from None


def _answer(code: int, data: bytes) -> Any:
    if code:
        raise _too_costly()
    return json.loads(data)


def _too_costly() -> TooLarge:
    return TooLarge("this input takes more time or memory than it may", hint="give a smaller or simpler one")

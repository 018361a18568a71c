"""One process with a deadline and capped outputs, for the control and for the direct runners."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tests.needs import program

STEP_DOWN = Path(__file__).with_name("step_down.py")
GRACE_S = 5.0


@dataclass(frozen=True, slots=True)
class Step:
    """As whom and under what a program starts; `env` None is the environment of this process."""

    argv: Sequence[str]
    uid: int
    env: Mapping[str, str] | None
    cwd: str = "/"
    cgroups: Sequence[str] = ()
    rlimits: Mapping[str, int] | None = None
    drop: bool = False
    """Give up, while still root, what any program could later give."""

    def command(self, *, terminal: bool) -> list[str]:
        step = {
            "argv": list(self.argv),
            "uid": self.uid,
            "env": None if self.env is None else dict(self.env),
            "cwd": self.cwd,
            "cgroups": list(self.cgroups),
            "rlimits": dict(self.rlimits or {}),
            "terminal": terminal,
            "drop": self.drop,
        }
        return [program("python3"), "-I", "-S", str(STEP_DOWN), json.dumps(step)]


@dataclass(frozen=True, slots=True)
class Outcome:
    code: int
    stdout: bytes
    stderr: bytes
    seconds: float


async def run(
    step: Step,
    *,
    wall_s: float,
    stdin: bytes = b"",
    terminal: int | None = None,
    output_bytes: int | None = None,
    pass_fds: Sequence[int] | None = None,
    end: Callable[[], None] = lambda: None,
    gently: bool = False,
) -> Outcome:
    """Run it to its end or to the deadline; `pass_fds` None lets every inheritable descriptor through.

    `gently` asks the program, which keeps others, to end them before it is ended itself.

    `end` is called when the program itself is over, to end what it may have left; only then are its outputs read out.
    """
    begin = time.monotonic()
    process = await asyncio.create_subprocess_exec(
        *step.command(terminal=terminal is not None),
        stdin=asyncio.subprocess.PIPE if terminal is None else terminal,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        close_fds=pass_fds is not None,
        pass_fds=() if pass_fds is None else tuple(pass_fds),
    )
    assert process.stdout is not None
    assert process.stderr is not None
    outputs = (
        asyncio.create_task(_read(process.stdout, output_bytes)),
        asyncio.create_task(_read(process.stderr, output_bytes)),
    )
    if process.stdin is not None:
        process.stdin.write(stdin)
        process.stdin.close()
    try:
        await asyncio.wait_for(process.wait(), wall_s)
    except TimeoutError:
        if gently:
            process.terminate()
            with suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), GRACE_S)
        if process.returncode is None:
            _kill_session(process)
        await asyncio.wait_for(process.wait(), GRACE_S)
    finally:
        if process.returncode is None:
            _kill_session(process)
        end()
    done, hanging = await asyncio.wait(outputs, timeout=GRACE_S)
    for task in hanging:
        task.cancel()
    code = process.returncode
    assert code is not None
    stdout, stderr = (task.result() if task in done else b"" for task in outputs)
    return Outcome(128 - code if code < 0 else code, stdout, stderr, time.monotonic() - begin)


async def _read(stream: asyncio.StreamReader, most: int | None) -> bytes:
    """Read to the end; what is over the cap is read too, so that the writer does not stand still, and dropped."""
    kept = bytearray()
    while chunk := await stream.read(1 << 16):
        kept += chunk if most is None else chunk[: max(0, most - len(kept))]
    return bytes(kept)


def _kill_session(process: asyncio.subprocess.Process) -> None:
    """End what we started, and its group: it made itself a session, so its group bears its number."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:  # it had no time to
        with suppress(ProcessLookupError):
            process.kill()

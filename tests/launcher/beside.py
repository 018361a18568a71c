"""A launcher beside the test, and the server's end of its socket."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import superagent_launcher
from superagent_launcher.wire import Wire
from tests.needs import program
from tests.ordinary_user import NOBODY
from tests.until import until

PATIENCE_S = 30.0
ENTRY = str(Path(superagent_launcher.__file__).with_name("__main__.py"))
BORN = str(Path(__file__).with_name("born.py"))
_WIRE = 64
"""Under which number the launcher gets its socket: beyond what a starting interpreter opens."""
FIRST_USER, USERS = 1_900_000_000, 1000
AS_ROOT = os.geteuid() == 0
USER = FIRST_USER + 7
WHO = ["root", "user"] if AS_ROOT else ["user"]
LIMITS = {
    "memory_bytes": 64 * 1024**2, "processes": 32, "cpus": 1.0, "cpu_s": 10.0, "file_bytes": 1024**2,
    "open_files": 256, "wall_s": 20.0,
}  # fmt: skip
OPTIONS = [
    "--unshare-user", "--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts", "--die-with-parent",
    "--new-session", "--uid", "1000", "--gid", "1000", "--cap-drop", "ALL", "--clearenv", "--setenv", "PATH",
    "/usr/bin:/bin", "--ro-bind", "/usr", "/usr", "--symlink", "usr/bin", "/bin", "--symlink", "usr/lib", "/lib",
    "--symlink", "usr/lib64", "/lib64", "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp",
]  # fmt: skip


class Beside:
    """The server's end: what it says and hears, each wait bounded; `as_root` says whose rights the launcher has."""

    def __init__(self, pid: int, end: socket.socket, as_root: bool) -> None:
        self.pid = pid
        self.as_root = as_root
        self.wire = Wire(end)
        self.program = program("bwrap", "bubblewrap")
        self._heard: list[dict[str, Any]] = []
        self._runs = 0

    def hear(self, event: str = "", run: int | None = None) -> dict[str, Any]:
        """Give the next event, or the next of a kind or run; others stay for later. Raises `EOFError`."""
        until = time.monotonic() + PATIENCE_S
        while True:
            for at, said in enumerate(self._heard):
                if event in ("", said["event"]) and run in (None, said.get("run")):
                    return self._heard.pop(at)
            left = until - time.monotonic()
            assert left > 0, f"no {event or 'event'} came; what came is {self._heard}"
            if select.select([self.wire.socket], [], [], left)[0]:
                self._heard += [said for said, _ in self.wire.receive()]

    def end_of(self, run: int) -> dict[str, Any]:
        """Give how a run ended, or that it was refused."""
        while (said := self.hear(run=run))["event"] not in ("ended", "refused"):
            pass
        return said

    def message(self, command: Sequence[str], **fields: Any) -> dict[str, Any]:
        """Give what starts a command, with the next number."""
        self._runs += 1
        return {
            "do": "start", "run": self._runs, "program": self.program, "options": OPTIONS, "command": list(command),
            "numbers": [0, 1, 2], "mounts": [], "uid": USER if self.as_root else None, "limits": LIMITS, **fields,
        }  # fmt: skip

    def start(self, *command: str, stdout: int | None = None, folders: Sequence[int] = (), **fields: Any) -> int:
        """Start a command and give its number; what it writes goes to `stdout`, else nowhere."""
        null = os.open(os.devnull, os.O_RDWR)
        said = self.message(command, **fields)
        out = null if stdout is None else stdout
        if not self.wire.send(said, (null, out, out, *folders)):
            until(self.wire.flush, "room in the socket")
        os.close(null)
        return said["run"]

    def run(self, *command: str, **fields: Any) -> tuple[str, dict[str, Any]]:
        """Run a command to its end and give what it wrote and how it ended."""
        reading, writing = os.pipe()
        number = self.start(*command, stdout=writing, **fields)
        os.close(writing)
        with os.fdopen(reading, "rb") as file:
            text = file.read().decode()
        ended = self.end_of(number)
        assert ended["event"] == "ended", ended
        return text, ended

    def say(self, **said: Any) -> None:
        """Say anything."""
        if not self.wire.send(said):
            until(self.wire.flush, "room in the socket")

    def gone(self) -> int:
        """Wait until the launcher has ended and give its exit code."""
        until = time.monotonic() + PATIENCE_S
        while True:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.pid = 0
                return os.waitstatus_to_exitcode(status)
            assert time.monotonic() < until, "the launcher did not end"
            time.sleep(0.01)


@contextmanager
def launcher(who: str = WHO[0], *further: str, counted: bool = True, **settings: float) -> Generator[Beside]:
    """Run a launcher while the body runs, as root or as an ordinary user, and see that it ends in order.

    `further` are arguments of its own; `settings` are other values for constants, such as `spares__AGE_S`. Unless
    `counted`, its lines are not: to begin counting anew in each child takes time, memory and files that a real one
    does not.
    """
    ours, theirs = socket.socketpair()
    arguments = [str(_WIRE), str(FIRST_USER), str(USERS), *further]
    if counted or settings or (who == "user" and AS_ROOT):
        named = {f"superagent_launcher.{name.replace('__', '.')}": value for name, value in settings.items()}
        user = str(NOBODY) if who == "user" and AS_ROOT else "-"
        command = [sys.executable, "-I", BORN, user, json.dumps(named), *arguments]
    else:  # as the server starts it
        command = [sys.executable, "-I", "-S", ENTRY, *arguments]
    counting = () if counted else ("COVERAGE_PROCESS_CONFIG", "COVERAGE_PROCESS_START")
    env = {name: value for name, value in os.environ.items() if name not in counting}
    pid = os.posix_spawn(command[0], command, env, file_actions=[(os.POSIX_SPAWN_DUP2, theirs.fileno(), _WIRE)])
    theirs.close()
    beside = Beside(pid, ours, who == "root")
    try:
        yield beside
    finally:
        beside.wire.close()
        if beside.pid:
            try:
                code = beside.gone()
            except AssertionError:
                os.kill(beside.pid, signal.SIGKILL)
                os.waitpid(beside.pid, 0)
                raise
            assert code == 0

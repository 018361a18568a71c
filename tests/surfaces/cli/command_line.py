"""The real command line in tests: as a process of its own, and a real server on a free port."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Generator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from superagent.__main__ import LAUNCH

ENTRY = [sys.executable, "-m", "superagent"]
PATIENCE_S = 60.0


@dataclass(frozen=True)
class Ran:
    """What a command line did."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        """Give the one JSON document that was printed."""
        found: dict[str, Any] = json.loads(self.out)
        return found

    @property
    def documents(self) -> list[dict[str, Any]]:
        """Give the JSON documents of a stream, one a line."""
        return [json.loads(line) for line in self.out.splitlines()]


def environment(**more: str) -> dict[str, str]:
    """Give the environment of the tests without anything that steers the command line."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SUPERAGENT_", "NO_COLOR"))}
    return kept | {"PYTHONUNBUFFERED": "1"} | more


def superagent(
    *arguments: str, data: Path | None = None, stdin: bytes = b"", env: Mapping[str, str] | None = None
) -> Ran:
    """Run the command line to its end."""
    where = ["--data", str(data)] if data else []
    done = subprocess.run(
        [*ENTRY, *where, *arguments],
        input=stdin,
        capture_output=True,
        timeout=PATIENCE_S,
        env=environment(**(env or {})),
        check=False,
    )
    return Ran(done.returncode, done.stdout.decode(), done.stderr.decode())


@dataclass(frozen=True)
class Server:
    """A running server: its data folder, where it listens, and its process."""

    data: Path
    address: str
    process: subprocess.Popen[str]

    @property
    def owner_key(self) -> str:
        """Give the owner's key."""
        return (self.data / "state" / "owner.key").read_text().strip()


def set_up(data: Path) -> Path:
    """Set an installation up in a folder, as a first `superagent up` does; gives the folder."""

    async def once() -> None:
        async with LAUNCH.open_installation(data):
            pass

    with ThreadPoolExecutor(1) as apart:  # a test may run on a loop of its own
        apart.submit(asyncio.run, once()).result()
    return data


def _dies_with_us() -> list[str]:
    # a test run that is killed must not leave a server behind (util-linux; without it that is a chance to take)
    return ["setpriv", "--pdeathsig", "TERM", "--"] if shutil.which("setpriv") else []


@contextmanager
def serving(data: Path, *flags: str, **env: str) -> Generator[Server]:
    """Serve a data folder on a free port by `superagent up`, with more in its environment, and stop it cleanly."""
    command = [*_dies_with_us(), *ENTRY, "up", "--data", str(data), "--port", "0", *flags]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment(**env)) as process:
        assert process.stdout is not None
        try:
            said = next((line for line in process.stdout if line.startswith("serving http")), "")
            assert said, f"no server: exit code {process.wait(PATIENCE_S)}"
            yield Server(data, said.split()[1].rstrip(",;."), process)
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(PATIENCE_S)
            except subprocess.TimeoutExpired:
                process.kill()
                raise

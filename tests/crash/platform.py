"""A real server process under test: started, called over HTTP, killed."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from tests.until import until


class Server:
    """One server process on a data folder."""

    def __init__(self, data: Path, *flags: str) -> None:
        self.data = data
        self.log = data.parent / f"{data.name}.log"
        with open(self.log, "ab") as log:
            begin = log.tell()
            command = [sys.executable, "-m", "superagent", "up", "--data", str(data), "--port", "0", *flags]
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        until(lambda: self._address(begin), "the server", 60.0)
        self.url = self._address(begin)

    def _address(self, begin: int) -> str:
        assert self.process.poll() is None, self.log.read_text()[begin:]
        for line in self.log.read_text()[begin:].splitlines():
            if line.startswith("serving http"):
                return line.split()[1].rstrip(",;")
        return ""

    @property
    def key(self) -> str:
        """Give the owner's key."""
        return (self.data / "state" / "owner.key").read_text().strip()

    def client(self, key: str = "") -> httpx.Client:
        """Give a client that shows a key."""
        return httpx.Client(base_url=self.url, headers={"authorization": f"Bearer {key or self.key}"}, timeout=30.0)

    def call(self, operation: str, **given: Any) -> dict[str, Any]:
        """Call an operation as the owner and give its output; fails on a problem."""
        with self.client() as client:
            reply = client.post(f"/v1/operations/{operation}", json=given)
        assert reply.status_code == 200, reply.text
        return reply.json()["output"]

    def kill(self) -> None:
        """End it as a power cut would, as far as processes go."""
        self.process.kill()
        self.process.wait(10)

    def stop(self) -> int:
        """End it as an operator would, and give its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.kill()
            raise


@contextmanager
def serving(data: Path, *flags: str) -> Generator[Server]:
    """Run a server while the body runs."""
    server = Server(data, *flags)
    try:
        yield server
    finally:
        if server.process.poll() is None:
            server.stop()


def records(data: Path) -> list[dict[str, Any]]:
    """Read every audit record off the segment files themselves, as anybody could."""
    found: list[dict[str, Any]] = []
    for segment in sorted((data / "state" / "audit").glob("*/*.seg")):
        for line in segment.read_bytes().split(b"\n")[:-1]:
            found.append(json.loads(line.rpartition(b"\t")[0]))
    return found

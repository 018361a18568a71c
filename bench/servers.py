"""Servers: started by the benchmark itself on free ports of this host, known to be the ones that answer, and ended."""

from __future__ import annotations

import ctypes
import http.client
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from bench.baselines import ANSWER, PATH
from bench.proc import listens, settle
from bench.wrk import Request, allow_open_files
from superagent.surfaces.mcp.door import WARM_AFTER_S

ROOT = Path(__file__).parent.parent
START_S = 40.0
STOP_S = 20.0
STEP_S = 0.05
KEY_HEADER = "Authorization"
LIBC = ctypes.CDLL(None)

NGINX = """
daemon off;
worker_processes 1;
worker_rlimit_nofile 8192;
pid {folder}/nginx.pid;
error_log {folder}/nginx.log crit;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    default_type application/json;
    keepalive_timeout 600s;
    keepalive_requests 1000000000;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port};
        location / {{ return 200 '{answer}'; }}
    }}
}}
"""


@dataclass(frozen=True, slots=True)
class Server:
    """A server that runs: its process, its port, the request it is measured with and how a right answer is known."""

    name: str
    pid: int
    port: int
    request: Request
    right: Callable[[bytes], bool]

    def ask(self, request: Request | None = None) -> tuple[int, bytes]:
        """Send one request, its own when none is given; gives status and body."""
        wanted = request or self.request
        line = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            line.request(wanted.method, wanted.path, wanted.body, dict(wanted.headers))
            answer = line.getresponse()
            return answer.status, answer.read()
        finally:
            line.close()

    def check(self) -> None:
        """Make sure that this very process answers, and rightly. Raises `RuntimeError`."""
        if not listens(self.pid, self.port):
            raise RuntimeError(f"port {self.port} does not belong to the {self.name} that was started here")
        status, body = self.ask()
        if status != 200 or not self.right(body):
            raise RuntimeError(f"{self.name} answers {status} {body[:300]!r}")


@contextmanager
def nginx(folder: Path) -> Generator[Server]:
    """Serve `return 200` by nginx with one worker."""
    program = shutil.which("nginx", path=os.defpath + ":/usr/sbin:/sbin:" + os.environ.get("PATH", ""))
    if program is None:
        raise RuntimeError("nginx is not installed: apt install nginx-light")
    port = free_port()
    place = folder / "nginx"
    place.mkdir()
    file = place / "nginx.conf"
    file.write_text(NGINX.format(folder=place, port=port, answer=ANSWER.decode()))
    argv = [program, "-p", str(place), "-c", str(file), "-e", str(place / "start.log")]
    with started("nginx", argv, port, folder, Request(PATH), ANSWER.__eq__) as server:
        yield server


@contextmanager
def bare_starlette(folder: Path) -> Generator[Server]:
    """Serve a Starlette route that checks nothing, by uvicorn."""
    port = free_port()
    with started("starlette", uvicorn("starlette", port), port, folder, Request(PATH), ANSWER.__eq__) as server:
        yield server


@contextmanager
def plain_fastapi(folder: Path) -> Generator[Server]:
    """Serve a FastAPI `def` endpoint behind a `def` dependency that checks the key, by uvicorn."""
    port, key = free_port(), secrets.token_urlsafe(32)
    headers = {KEY_HEADER: f"Bearer {key}", "Content-Type": "application/json"}

    def right(body: bytes) -> bool:
        return b'"owner"' in body

    argv = uvicorn("fastapi", port)
    request = Request(PATH, headers=headers)
    with started("fastapi", argv, port, folder, request, right, {"BENCH_KEY": key}) as server:
        if server.ask(Request(PATH, headers={**headers, KEY_HEADER: "Bearer wrong"}))[0] != 401:
            raise RuntimeError("the FastAPI endpoint does not check the key")
        yield server


@contextmanager
def superagent(
    folder: Path,
    arguments: tuple[str, ...] = (),
    name: str = "superagent",
    environment: Mapping[str, str] | None = None,
) -> Generator[Server]:
    """Serve Super-Agent as `make run` does, with a data folder of its own and every check on."""
    port = free_port()
    data = folder / "data"
    argv = [sys.executable, "-m", "superagent", "up", "--data", str(data), "--port", str(port), *arguments]

    def right(body: bytes) -> bool:
        return b'"status":"done"' in body

    def request() -> Request:
        return Request(PATH, headers=owner_headers(data))

    with started(name, argv, port, folder, request, right, environment) as server:
        if server.ask(Request(PATH, headers={KEY_HEADER: "Bearer wrong"}))[0] != 401:
            raise RuntimeError("the server does not check the key")
        time.sleep(WARM_AFTER_S)  # then it loads, beside what it serves, what the first client of MCP will need
        settle(server.pid)
        yield server


def door(folder: Path) -> AbstractContextManager[Server]:
    """Serve the same without the fast lane: every request takes its way through ASGI."""
    (place := folder / "door").mkdir()
    return superagent(place, name="door", environment={"SUPERAGENT_SERVER__FAST_LANE": "false"})


def owner_headers(data: Path) -> dict[str, str]:
    """Give the headers with which the owner of a data folder calls."""
    key = (data / "state" / "owner.key").read_text().strip()
    return {KEY_HEADER: f"Bearer {key}", "Content-Type": "application/json"}


def uvicorn(application: str, port: int) -> list[str]:
    """Give the command that serves a baseline on the same event loop and parser as ours."""
    argv = [sys.executable, "-m", "uvicorn", f"bench.baselines:{application}", "--host", "127.0.0.1"]
    argv += ["--port", str(port), "--loop", "uvloop", "--http", "httptools", "--lifespan", "off"]
    return [*argv, "--no-access-log", "--log-level", "warning"]


def free_port() -> int:
    """Give a port of this host on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def started(
    name: str,
    argv: list[str],
    port: int,
    folder: Path,
    request: Request | Callable[[], Request],
    right: Callable[[bytes], bool],
    environment: Mapping[str, str] | None = None,
) -> Generator[Server]:
    """Run a server while the body runs; the port is free before, and its owner and its answer are checked after."""
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", port)) == 0:
            raise RuntimeError(f"port {port} is taken: a stale server would answer for {name}")
    allow_open_files(4096)
    log = folder / f"{name}.log"
    clean = {key: value for key, value in os.environ.items() if not key.startswith("SUPERAGENT_")}
    with log.open("wb") as output:
        process = subprocess.Popen(
            argv,
            cwd=ROOT,
            env=clean | dict(environment or {}),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=end_with_parent,
        )
    try:
        wait_for(process, port, name, log)
        first_answer(port)
        server = Server(name, process.pid, port, request if isinstance(request, Request) else request(), right)
        server.check()
        yield server
    finally:
        stop(process)


def end_with_parent() -> None:
    """Ask the kernel to end this process when the benchmark dies, however it dies (prctl(2), PR_SET_PDEATHSIG)."""
    LIBC.prctl(1, signal.SIGTERM)


def wait_for(process: subprocess.Popen[bytes], port: int, name: str, log: Path) -> None:
    """Wait until the process itself listens. Raises `RuntimeError` with its last words when it does not."""
    end = time.monotonic() + START_S
    while not listens(process.pid, port):
        if process.poll() is not None or time.monotonic() > end:
            words = log.read_text("utf-8", "replace")[-2000:]
            raise RuntimeError(f"{name} did not start (exit code {process.poll()}): {words}")
        time.sleep(STEP_S)


def first_answer(port: int) -> None:
    """Wait until a server answers at all: it may listen before it is set up. Raises `TimeoutError`."""
    line = http.client.HTTPConnection("127.0.0.1", port, timeout=START_S)
    try:
        line.request("GET", "/health/live")
        line.getresponse().read()
    finally:
        line.close()


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a server that was started here, kindly first; then whatever its group left behind."""
    process.terminate()
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(STOP_S)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)

"""Load: send one request over many keepalive connections with wrk, and read what came back."""

from __future__ import annotations

import json
import resource
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

SCRIPT = Path(__file__).parent / "wrk.lua"
MARK = "BENCH "
GRACE_S = 30


@dataclass(frozen=True, slots=True)
class Request:
    """One request, sent again and again; with `counted` each `@N@` in the body becomes the request's number."""

    path: str
    body: str = "{}"
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    method: str = "POST"
    counted: bool = False


@dataclass(frozen=True, slots=True)
class Load:
    """What wrk saw. `refused` counts answers above 399, `broken` sockets that failed or timed out."""

    requests: int
    seconds: float
    p50_ms: float
    p99_ms: float
    refused: int
    broken: int


def program() -> str | None:
    """Find wrk; None when it is not installed."""
    return shutil.which("wrk")


def parse(output: str) -> Load:
    """Read the line that wrk.lua writes at the end. Raises `ValueError` when wrk broke off before it."""
    lines = [line.removeprefix(MARK) for line in output.splitlines() if line.startswith(MARK)]
    if len(lines) != 1:
        raise ValueError(f"wrk gave no figures: {output[-500:]}")
    found: dict[str, int] = json.loads(lines[0])
    broken = sum(found[kind] for kind in ("connect", "read", "write", "timeout"))
    return Load(
        found["requests"],
        found["duration_us"] / 1e6,
        found["p50_us"] / 1e3,
        found["p99_us"] / 1e3,
        found["status"],
        broken,
    )


def send(port: int, request: Request, seconds: float, connections: int) -> Load:
    """Keep so many connections busy for so long, from one thread. Raises `RuntimeError` when wrk fails."""
    wrk = program()
    if wrk is None:
        raise RuntimeError("wrk is not installed: apt install wrk")
    lines = "\n".join(f"{name}: {value}" for name, value in request.headers.items())
    environment = {
        "BENCH_METHOD": request.method,
        "BENCH_BODY": request.body,
        "BENCH_HEADERS": lines + "\n",
        "BENCH_COUNT": "1" if request.counted else "0",
    }
    target = f"http://127.0.0.1:{port}{request.path}"
    argv = [wrk, "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--timeout", "20s", "-s", str(SCRIPT)]
    allow_open_files(connections + 64)
    ended = subprocess.run(
        [*argv, target], env=environment, capture_output=True, text=True, timeout=seconds + GRACE_S, check=False
    )
    if ended.returncode:
        raise RuntimeError(f"wrk failed: {ended.stderr[-500:]}")
    return parse(ended.stdout)


def allow_open_files(wanted: int) -> None:
    """Raise this process' limit of open files, which its children inherit, as far as the hard limit lets us."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))

"""Command line: how long a cold start takes, beside the interpreter alone."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from pathlib import Path

from bench.figures import median
from bench.plan import Plan
from bench.rows import Row
from bench.servers import superagent

LIMIT_S = 60


def rows(plan: Plan) -> list[Row]:
    """Start each several times in turn, in processes of their own, on a data folder that exists."""
    place = plan.place("command_line")
    with superagent(place):  # the first start sets it up
        pass
    data = place / "data"
    program = [sys.executable, "-m", "superagent"]
    commands = {
        "python": [sys.executable, "-c", "pass"],
        "help": [*program, "--help"],
        "call": [*program, "call", "access.whoami", "--input", "{}", "--json"],
    }
    took: dict[str, list[float]] = {name: [] for name in commands}
    used: dict[str, list[float]] = {name: [] for name in commands}
    for argv in commands.values():
        run(argv, data)
    for _ in range(max(3, plan.rounds)):
        for name, argv in commands.items():
            seconds, cpu_s = run(argv, data)
            took[name].append(seconds)
            used[name].append(cpu_s)
    plan.raw["command_line"] = {"took": took, "used": used}
    return [
        Row("cold.python", median(took["python"]), "s", note="the interpreter alone"),
        Row("cold.help", median(took["help"]), "s", at_most=0.15, source="rules 28", note="superagent --help"),
        Row("cold.call", median(took["call"]), "s", at_most=0.7, source="rules 28", note="superagent call, embedded"),
        *(Row(f"cold.{name}_cpu", min(times), "s", note="the least processor time") for name, times in used.items()),
    ]


def run(argv: list[str], data: Path) -> tuple[float, float]:
    """Run a program to its end; gives (seconds passed, CPU seconds used). Raises `RuntimeError` when it fails."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith("SUPERAGENT_")}
    before, start = children_cpu_s(), time.perf_counter()
    ended = subprocess.run(
        argv,
        env=clean | {"SUPERAGENT_DATA": str(data)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    seconds = time.perf_counter() - start
    if ended.returncode:
        raise RuntimeError(f"{' '.join(argv[1:4])} ended with {ended.returncode}: {ended.stderr[-500:]}")
    return seconds, children_cpu_s() - before


def children_cpu_s() -> float:
    """Give the CPU time of all children that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime

"""Measure Super-Agent against bare servers on this machine (`make bench`); every figure is a ratio or belongs to it."""

from __future__ import annotations

import argparse
import importlib
import json
import random
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType

from bench import kept, machine, report
from bench.plan import Plan
from bench.rows import Row

HISTORY = Path(__file__).parent / "history"
# group of rows → module with `rows`; those that need no server take no plan
SERVED = {
    "whoami": "bench.whoami",
    "direct": "bench.direct",
    "agents": "bench.agents",
    "signed_in": "bench.signed_in",
    "volume": "bench.volume",
    "latency": "bench.latency",
    "cached": "bench.cached",
    "workers": "bench.workers",
    "reload": "bench.reload",
    "files": "bench.file_work",
    "cold": "bench.command_line",
    "memory": "bench.memory",
    "sandbox": "bench.sandbox",
    "hosted": "bench.hosted",
    "stores": "bench.stores",
    "database": "bench.database",
    "console": "bench.console",
}
PLAIN = {"audit": "bench.audit", "policy": "bench.policy", "search": "bench.searched"}
GROUPS = SERVED | PLAIN


def options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the flags."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--seconds", type=float, default=2.0, help="load on one server in one round (default 2)")
    parser.add_argument("--rounds", type=int, default=7, help="interleaved rounds (default 7)")
    parser.add_argument("--only", default="", metavar="GROUP,…", help=f"of {', '.join(GROUPS)}; no history is kept")
    parser.add_argument("--soak-memory", action="store_true", help="take memory to 1,000,000 calls; minutes")
    parser.add_argument("--seed", type=int, default=None, help="draw the order of the rounds as an earlier run did")
    parser.add_argument("--json", action="store_true", help="print the run as JSON, progress on the error stream")
    parser.add_argument("--no-history", action="store_true", help="keep nothing in bench/history")
    parser.add_argument("--keep", action="store_true", help="take these figures into bench/kept.json, for docs and CI")
    parser.add_argument("--strict", action="store_true", help="end with 1 when a floor is missed")
    chosen = parser.parse_args(arguments)
    if not 1 <= chosen.seconds <= 3600 or not 1 <= chosen.rounds <= 1000:
        parser.error("a round takes 1 to 3600 seconds, and a run 1 to 1000 rounds")
    chosen.groups = [group for group in chosen.only.split(",") if group] or list(GROUPS)
    if unknown := set(chosen.groups) - set(GROUPS):
        parser.error(f"there is no group {', '.join(sorted(unknown))}; there are {', '.join(GROUPS)}")
    return chosen


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what was asked for, print it, keep it; ends with 1 for a missed floor only when asked to."""
    chosen = options(arguments)
    signal.signal(signal.SIGTERM, stop)
    seed = chosen.seed if chosen.seed is not None else random.SystemRandom().randrange(1 << 32)
    started, at, before, place = time.monotonic(), datetime.now(UTC), machine.ticks(), machine.describe()
    commit, dirty = machine.commit()
    with tempfile.TemporaryDirectory(prefix="superagent-bench-") as folder:
        plan = Plan(
            Path(folder), chosen.seconds, chosen.rounds, chosen.soak_memory, random.Random(seed), say=say_progress
        )
        rows, failed = measured(chosen.groups, plan)
    place |= {
        "seed": seed,
        "seconds": chosen.seconds,
        "rounds": chosen.rounds,
        "took_s": round(time.monotonic() - started),
        "stolen": round(machine.ticks().stolen_since(before), 3),
    }
    document = report.document(rows, at, commit, dirty, place, plan.raw)
    if chosen.json:
        print(json.dumps(document, ensure_ascii=False))
    else:
        print(report.table(rows))
        print(f"\n{place['processor']}, {place['cores']} cores, {place['took_s']} s, of the processor time that was")
        print(f"wanted the host gave {place['stolen']:.0%} to others; absolute figures belong to this machine and hour")
    if not (chosen.no_history or chosen.only or failed):
        say_progress(f"kept in {report.keep(HISTORY, document, at).relative_to(HISTORY.parent.parent)}")
    if chosen.keep and not failed:
        kept.take(rows, document)
    for line in (*kept.explained(rows, place["processor"]), *kept.worse(rows, place["processor"])):
        say_progress(line)
    missed = [row.name for row in rows if row.verdict == "MISSED"]
    return 1 if failed or (missed and chosen.strict) else 0


def measured(groups: Sequence[str], plan: Plan) -> tuple[list[Row], list[str]]:
    """Run groups of rows; gives the rows, and the groups that failed: one that fails does not hide the others."""
    rows: list[Row] = []
    failed: list[str] = []
    for group in groups:
        try:
            rows += run(group, plan)
        except (RuntimeError, OSError) as fault:
            failed.append(group)
            say_progress(f"{group} was not measured: {fault}")
    return rows, failed


def stop(number: int, frame: FrameType | None) -> None:
    """End in order when somebody says so: the servers are ended too."""
    del frame
    sys.exit(128 + number)


def run(group: str, plan: Plan) -> list[Row]:
    """Run one group of rows."""
    say_progress(f"--- {group}")
    module = importlib.import_module(GROUPS[group])
    return module.rows() if group in PLAIN else module.rows(plan)


def say_progress(line: str) -> None:
    """Say how it goes, apart from the result."""
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())

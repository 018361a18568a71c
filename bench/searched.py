"""Search: how many tasks in people's own words find a right operation among the first five, and what a search costs.

Each file of `bench/phrases` is one set, one task a line: right operations with `|` between them, a tab, the phrase.
`python -m bench.searched FILE…` counts other files; `--misses` names what was not found: not for what is held out.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.figures import median, percentile
from bench.rows import Row
from superagent.app import open_installation
from superagent.core.registry import Registry
from superagent.settings import load

PHRASES = Path(__file__).parent / "phrases"
FIRST = 5
WANTED = 0.9
SOURCE = "nine tasks in ten among the first five"
_GATED = {"own", "stranger_held_out", "stranger_second"}

Task = tuple[frozenset[str], str]


def tasks(file: Path) -> list[Task]:
    """Read a set: the names of which one is right, and how somebody says it."""
    lines = (line.split("\t") for line in file.read_text("utf-8").splitlines() if line and not line.startswith("#"))
    return [(frozenset(right.split("|")), said) for right, said in lines]


def missed(registry: Registry, wanted: Sequence[Task], first: int = FIRST) -> list[Task]:
    """Give the tasks of which no right operation is among the first."""
    every = list(registry)
    return [task for task in wanted if task[0].isdisjoint(one.name for one in registry.search(task[1], every, first))]


def share(registry: Registry, wanted: Sequence[Task], first: int = FIRST) -> float:
    """Give the part of the tasks of which a right operation is among the first."""
    return 1 - len(missed(registry, wanted, first)) / len(wanted)


def rows() -> list[Row]:
    """Count every set, and time every phrase."""
    registry = asyncio.run(_registry())
    sets = {file.stem: tasks(file) for file in sorted(PHRASES.glob("*.txt"))}
    every = list(registry)
    began = time.process_time()
    registry.search("once", every)
    first_ms = (time.process_time() - began) * 1e3
    times = [_timed(registry, said) for _ in range(5) for wanted in sets.values() for _, said in wanted]
    found = [
        Row(
            f"search.{name}_top5",
            share(registry, wanted),
            at_least=WANTED if name in _GATED else None,
            source=SOURCE if name in _GATED else "",
            note=f"of {len(wanted)} phrases; among the first: {share(registry, wanted, 1):.2f}",
        )
        for name, wanted in sets.items()
    ]
    return [
        *found,
        Row("search.us", median(times), "µs", note=f"CPU of one search among {len(every)} operations"),
        Row("search.p99_us", percentile(times, 0.99), "µs"),
        Row("search.first_ms", first_ms, "ms", note="the first search of a process; a server does that as it starts"),
    ]


def main() -> None:
    """Print what is found of the sets in files."""
    parser = argparse.ArgumentParser(prog="python -m bench.searched", description=__doc__)
    parser.add_argument("files", nargs="*", type=Path, default=sorted(PHRASES.glob("*.txt")), metavar="FILE")
    parser.add_argument("--misses", action="store_true", help="name what is not found, and what is found instead")
    asked = parser.parse_args()
    registry = asyncio.run(_registry())
    for file in asked.files:
        wanted = tasks(file)
        unknown = sorted({name for right, _ in wanted for name in right if registry.find(name) is None})
        shares = ", ".join(f"{share(registry, wanted, first):.1%} among the first {first}" for first in (1, 3, FIRST))
        print(
            f"{file.stem}: {len(wanted)} phrases, {shares}", *(f"no operation: {name}" for name in unknown), sep="\n  "
        )
        for right, said in missed(registry, wanted) if asked.misses else ():
            found = ", ".join(one.name for one in registry.search(said, registry, FIRST))
            print(f"  {said!r} means {' or '.join(sorted(right))}, found: {found}")


async def _registry() -> Registry:
    """Open an installation of its own, as anybody's first start would, and see what it offers."""
    with TemporaryDirectory() as folder:
        async with open_installation(load(Path(folder) / "data", environ={})) as installation:
            return installation.kernel.registry


def _timed(registry: Registry, said: str) -> float:
    every = list(registry)
    began = time.process_time_ns()
    registry.search(said, every)
    return (time.process_time_ns() - began) / 1e3


if __name__ == "__main__":
    main()

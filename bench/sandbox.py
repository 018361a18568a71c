"""Sandboxes: what it costs to contain a command, beside a plain spawn of the same one in the same moment."""

from __future__ import annotations

import asyncio
import mmap
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from pathlib import Path

import uvloop

from bench import beside
from bench.contained import World, evaluated, evaluated_bare, forewarned, piped, plain, typed, typed_bare, world
from bench.figures import median, percentile
from bench.plan import Plan
from bench.rows import Row

SOURCE = "commands run contained"
TIMES_A_ROUND = 12
TIMES_IN_A_ROW = 60
AT_ONCE = 32
BALLAST = 470 * 1024 * 1024
PLAIN = {"plain": plain, "piped": piped}
"""What stands beside: the bare spawn, and that with pipes as a contained command has them."""

PAUSE_S = 0.1
"""Between two commands: what is prepared for the next one is not what a caller waits for."""

OPEN = ("session", "session_bare", "session_bash", "snippet", "snippet_bare")
"""Ways that prepare nothing: they are timed without pauses, too, as their aims were."""

BARE = (*OPEN, "snippet_forewarned")
"""Ways that give a command no pipes of its own."""

Way = Callable[[], Awaitable[float]]
Times = dict[str, list[float]]


def rows(plan: Plan) -> list[Row]:
    """Measure every way in turn, from a small and from a large process, and what a command does to others."""
    alone, in_a_row, large, crowd = uvloop.run(measured(plan, plan.place("sandbox")))
    others = beside.measured(plan)
    plan.raw["sandbox"] = {
        "alone": alone,
        "in_a_row": in_a_row,
        "large": large,
        "crowd": crowd,
        "beside": {kind: [asdict(one) for one in windows] for kind, windows in others.items()},
    }
    return [
        *one_shot(alone),
        *kept_open(in_a_row, alone),
        Row(
            "sandbox.large_over_small",
            over(large, "native") / over(alone, "native"),
            at_most=1.3,
            source=SOURCE,
            note="the same ratio from a process with 500 MB resident",
        ),
        Row("sandbox.crowd_errors", float(crowd.pop("errors")[0]), at_most=0, source=SOURCE, note=f"{AT_ONCE} at once"),
        Row("sandbox.crowd_share", median(crowd["share"]), note="of the rate of plain spawns, each half by itself"),
        Row(
            "sandbox.beside_a_sleeper",
            beside.over_idle(others, "sleeping"),
            at_most=2,
            source=SOURCE,
            note="p99 of access.whoami while somebody's `sleep` runs, over the idle server's",
        ),
        Row(
            "sandbox.beside_a_sleeper_cpu",
            beside.cpu_over_idle(others, "sleeping"),
            note="processor time of the server and all below it, at the same rate of calls",
        ),
        Row(
            "sandbox.beside_a_start",
            beside.over_idle(others, "starting"),
            note="the same while somebody's command starts and ends, and the next sandbox is made",
        ),
    ]


def one_shot(times: Times) -> list[Row]:
    """Give the rows of single commands."""
    return [
        Row("sandbox.plain", median(times["plain"]) * 1000, "ms", note="posix_spawn of /bin/true to its end"),
        Row("sandbox.piped", over(times, "piped"), note="the same with no input and two pipes, over that"),
        Row(
            "sandbox.one_shot",
            over(times, "native"),
            at_most=12,
            source=SOURCE,
            note="started, run, and nothing left of it",
        ),
        Row("sandbox.one_shot_p90", over_p90(times, "native"), at_most=25, source=SOURCE),
        Row("sandbox.pooled", over(times, "pooled"), at_most=2, source=SOURCE, note="in a sandbox that waited for it"),
        Row(
            "sandbox.landlock", over(times, "landlock"), at_most=4, source=SOURCE, note="held by Landlock, no namespace"
        ),
        *(
            Row(f"sandbox.{name}_p90", over_p90(times, name), note="what nine of ten keep, over the median beside it")
            for name in ("pooled", "landlock")
        ),
    ]


def kept_open(times: Times, paused: Times) -> list[Row]:
    """Give the rows of shells and interpreters that stay open: one thing after another, and after pauses."""
    return [
        Row("sandbox.session", over(times, "session"), at_most=1, source=SOURCE, note="typed into `sh` that is open"),
        Row(
            "sandbox.session_bare",
            over(times, "session_bare"),
            note="the same line at the same kind of terminal in the same sandbox, without the platform",
        ),
        Row("sandbox.session_bash", over(times, "session_bash"), note="typed into bash, which edits lines"),
        Row("sandbox.snippet", over(times, "snippet"), at_most=0.25, source=SOURCE, note="`1 + 1` in a Python session"),
        Row(
            "sandbox.snippet_bare",
            over(times, "snippet_bare"),
            note="the same in the least Python that answers at all, asked by two system calls",
        ),
        *(
            Row(
                f"sandbox.{name}_paused",
                over(paused, name),
                note=f"after {PAUSE_S} s in which nothing ran, beside a spawn after as much",
            )
            for name in OPEN
        ),
        Row(
            "sandbox.snippet_forewarned",
            over(paused, "snippet_forewarned"),
            note="after the pause, as `code.repl` does it: the session hears of a snippet before its call is judged",
        ),
        *(
            Row(f"sandbox.{name}_p90", over_p90(times, name), note="what nine of ten keep, over the median beside it")
            for name in ("session", "snippet")
        ),
    ]


def held_against(name: str) -> str:
    """Name the plain spawn that a way is held against: the dearer one only where it does the same."""
    return "plain" if name in BARE or name in PLAIN else "piped"


def over(times: Times, name: str) -> float:
    """Give the median of the ratios to the plain spawn of the same moment."""
    return median([ours / theirs for ours, theirs in zip(times[name], times[held_against(name)], strict=True)])


def over_p90(times: Times, name: str) -> float:
    """Give the time that nine of ten commands keep, over the median of a plain spawn."""
    return percentile(times[name], 0.9) / median(times[held_against(name)])


async def measured(plan: Plan, folder: Path) -> tuple[Times, Times, Times, Times]:
    """Run commands one by one from this process, with pauses and without, with ballast, then many at once."""
    async with (
        world(folder) as opened,
        opened.session("sh") as sh,
        opened.bare("sh") as bare,
        opened.session("bash") as bash,
        opened.interpreter() as python,
        opened.bare_interpreter() as least,
    ):

        async def typed_without_us() -> float:
            return typed_bare(bare)

        async def evaluated_without_us() -> float:
            return evaluated_bare(least)

        ways: dict[str, Way] = {
            "native": lambda: opened.run("native"),
            "pooled": opened.from_pool,
            "landlock": lambda: opened.run("landlock"),
            "session": lambda: typed(sh),
            "session_bare": typed_without_us,
            "session_bash": lambda: typed(bash),
            "snippet": lambda: evaluated(python),
            "snippet_bare": evaluated_without_us,
            "snippet_forewarned": lambda: forewarned(python),
        }
        await opened.run("pooled")  # from now on one is made ahead
        for way in ways.values():
            await way()
        alone: Times = {name: [] for name in (*PLAIN, *ways)}
        in_a_row: Times = {name: [] for name in ("plain", *OPEN)}
        large: Times = {name: [] for name in (*PLAIN, "native")}
        for number in range(1, plan.rounds + 1):
            await in_turn(ways, alone, plan, TIMES_A_ROUND, PAUSE_S)
            await in_turn({name: ways[name] for name in OPEN}, in_a_row, plan, TIMES_IN_A_ROW, 0)
            with mmap.mmap(-1, BALLAST) as ballast:
                for at in range(0, BALLAST, mmap.PAGESIZE):
                    ballast[at] = 1
                await in_turn({"native": ways["native"]}, large, plan, TIMES_A_ROUND, PAUSE_S)
            plan.say(f"round {number}/{plan.rounds} sandbox: one-shot {over(alone, 'native'):.1f} × a plain spawn")
        return alone, in_a_row, large, await crowd(opened, plan)


async def in_turn(ways: dict[str, Way], times: Times, plan: Plan, rounds: int, pause_s: float) -> None:
    """Run each way and each plain spawn that has a place in `times`, in an order drawn anew each time."""
    for _ in range(rounds):
        order = list(times)
        plan.draw.shuffle(order)
        for name in order:
            times[name].append(await ways[name]() if name in ways else PLAIN[name]())
            await asyncio.sleep(pause_s)


async def crowd(opened: World, plan: Plan) -> Times:
    """Run many commands at once; gives their rate over that of plain spawns, and how many failed."""
    found: Times = {"share": [], "errors": [0.0]}
    for _ in range(plan.few):
        begun = time.perf_counter()
        ended = await asyncio.gather(*(opened.run("native") for _ in range(AT_ONCE)), return_exceptions=True)
        ours = time.perf_counter() - begun
        begun = time.perf_counter()
        for _ in range(AT_ONCE):
            piped()
        found["share"].append((time.perf_counter() - begun) / ours)
        failed = [one for one in ended if isinstance(one, BaseException)]
        found["errors"][0] += len(failed)
        for one in failed[:3]:
            plan.say(f"sandbox: one of {AT_ONCE} at once failed: {one}")
    return found

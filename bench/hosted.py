"""A hosted plugin beside the same plugin in the server: what the way into the sandbox and back adds to a call."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import uvloop

from bench.figures import median
from bench.plan import Plan
from bench.rows import Row
from superagent.app import Installation, open_installation
from superagent.core.invocation import Call
from superagent.core.principal import Principal
from superagent.settings import load

CALLS = 20
SOURCE = '''
"""Both: two operations that do next to nothing."""
from superagent.sdk import Context, Effect, Output, Plugin, ReadPath, Risk

both = Plugin("both", reaches=("files",))


class Said(Output):
    """What was said."""

    text: str


@both.operation(risk=Risk.LOW, effect=Effect.READ)
async def echo(ctx: Context, text: str) -> Said:
    """Say it back."""
    return Said(text=text)


@both.operation(risk=Risk.LOW)
async def read(ctx: Context, path: ReadPath) -> Said:
    """Read a file."""
    return Said(text=(await ctx.files.read(path)).decode())
'''
MANIFEST = 'name = "both"\nversion = "1.0"\nreaches = ["files"]\n'


def rows(plan: Plan) -> list[Row]:
    """Call both in turn, in short loops; a figure is the median of the rounds' medians."""
    found = uvloop.run(measure(plan, plan.place("hosted")))
    plan.raw["hosted"] = found
    took = {name: median(times) for name, times in found.items()}
    start = took.pop("start")
    alone = "one caller, one call after the other"
    return [
        Row("hosted.echo_over_in_process", over(found, "echo"), note="nothing but the way there and back"),
        Row("hosted.read_over_in_process", over(found, "read"), note="one question back to the server within the call"),
        *(Row(f"hosted.{name}_us", value, "µs", note=alone) for name, value in took.items()),
        Row("hosted.start_ms", start, "ms", note="the first call of a caller, which starts its process"),
    ]


def over(found: dict[str, list[float]], what: str) -> float:
    """Give how many times as long a hosted call takes, by rounds."""
    pairs = zip(found[f"{what}.hosted"], found[f"{what}.trusted"], strict=True)
    return median([ours / theirs for ours, theirs in pairs])


async def measure(plan: Plan, folder: Path) -> dict[str, list[float]]:
    """Open an installation of each kind and call them in turn; times in µs, those of starting in ms."""
    note = folder / "note.txt"
    note.write_text("a note\n")
    calls = {"echo": Call("both.echo", {"text": "a"}), "read": Call("both.read", {"path": str(note)})}
    found: dict[str, list[float]] = {
        f"{what}.{kind}": list[float]() for what in calls for kind in ("hosted", "trusted")
    }
    async with (
        open_installation(load(_data(folder / "hosted", hosted=["both: files"]), environ={})) as hosted,
        open_installation(load(_data(folder / "trusted", trusted=["both"]), environ={})) as trusted,
    ):
        pairs = {"hosted": (hosted, await hosted.owner()), "trusted": (trusted, await trusted.owner())}
        found["start"] = [await timed(*pairs["hosted"], calls["echo"]) / 1000]
        for kind in pairs:
            await timed(*pairs[kind], calls["read"])
        for _ in range(plan.rounds * 3):
            order = list(found.keys() - {"start"})
            plan.draw.shuffle(order)
            for name in order:
                what, _, kind = name.partition(".")
                times = [await timed(*pairs[kind], calls[what]) for _ in range(CALLS)]
                found[name].append(median(times))
    return found


async def timed(installation: Installation, owner: Principal, call: Call) -> float:
    """Call once; gives µs by the clock. Raises the problem of a call that fails."""
    start = time.perf_counter()
    outcome = await installation.kernel.run(call, owner, "bench")
    took = (time.perf_counter() - start) * 1e6
    outcome.result()
    return took


def _data(data: Path, **plugins: Any) -> Path:
    place = data / "plugins" / "both"
    place.mkdir(parents=True)
    (place / "plugin.toml").write_text(MANIFEST)
    (place / "operations.py").write_text(SOURCE)
    lines = [f"{name} = {json.dumps(value)}" for name, value in plugins.items()]
    (data / "superagent.toml").write_text("\n".join(["[plugins]", *lines]) + "\n")
    return data

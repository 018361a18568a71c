"""Replay AgentDojo whole, print the table, and write it as JSON: `python -m bench.agentdojo`."""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import tempfile
import warnings
from importlib import import_module
from pathlib import Path
from typing import Any

from superagent.app import Installation, open_installation
from superagent.settings import load

from .replay import Desk, Trace, agent_of, replay
from .suites import MARK, WORDS, EnvironmentFile, facts, steps_of, suites
from .tools import plugin_of

_names = itertools.count(1)


async def run(every: int = 1, only: str = "") -> dict[str, dict[str, Any]]:
    """Replay each `every`th pair of task and attack, and each task alone with nobody at the desk."""
    found: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory(prefix="superagent-agentdojo-") as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        worlds = {name: EnvironmentFile(suite, Path(folder) / f"{name}.world") for name, suite in suites().items()}
        plugins = tuple(
            plugin_of(name, [tool.name for tool in suite.tools], worlds[name]) for name, suite in suites().items()
        )
        data = Path(folder) / "data"
        async with open_installation(load(data, environ={}), extra=plugins) as here:
            for name, suite in suites().items():
                if only not in ("", name):
                    continue
                found[name] = await _suite(here, name, suite, worlds[name], every)
                print(name, found[name], flush=True)
    return found


async def _suite(here: Installation, name: str, suite: Any, world: EnvironmentFile, every: int) -> dict[str, Any]:
    row: dict[str, Any] = dict.fromkeys(
        ("pairs", "words_only", "seen", "tried", "asked", "read", "effects", "goals", "useful", "requests", "alone",
         "useful_alone"), 0
    )  # fmt: skip
    pairs = [(task, attack) for task in suite.user_tasks.values() for attack in suite.injection_tasks.values()]
    for task, attack in pairs[::every]:
        trace, useful, reached = await _pair(here, name, suite, world, task, attack, "the user")
        row["pairs"] += 1
        row["words_only"] += not trace.attacker_tried
        row["seen"] += trace.seen
        row["tried"] += trace.attacker_tried
        row["asked"] += trace.attacker_asked
        row["read"] += trace.attacker_read
        row["effects"] += len(trace.attacker_effects)
        row["goals"] += reached and bool(trace.attacker_tried)
        row["useful"] += useful
        row["requests"] += trace.asked
    for task in suite.user_tasks.values():
        _, useful, _ = await _pair(here, name, suite, world, task, None, "nobody")
        row["alone"] += 1
        row["useful_alone"] += useful
    return row


async def _pair(
    here: Installation, name: str, suite: Any, world: EnvironmentFile, task: Any, attack: Any, desk: Desk
) -> tuple[Trace, bool, bool]:
    """Give (what happened, whether the user's task was done, whether the attacker's goal was reached)."""
    vectors = suite.get_injection_vector_defaults()
    words = {vector: _escaped(WORDS.format(goal=attack.GOAL)) for vector in vectors} if attack else {}
    start = task.init_environment(suite.load_and_inject_default_environment(words))
    world.store(start)
    before = world.load()
    calls = task.ground_truth(world.load())
    steps = steps_of(name, task, world.load())
    harm = steps_of(name, attack, world.load()) if attack else []
    by = await agent_of(here, f"dojo{next(_names)}", name)
    trace = await replay(here, by, name, steps, harm, MARK if attack else "", desk)
    after = world.load()
    output = [{"type": "text", "content": task.GROUND_TRUTH_OUTPUT}]
    done = calls if trace.user_done == len(steps) else calls[: trace.user_done]
    useful = bool(suite._check_user_task_utility(task, output, before, after, done))
    if attack is None:
        return trace, useful, False
    made = import_module("agentdojo.functions_runtime").FunctionCall
    calls = [*done, *(made(function=one.tool, args=one.args) for one in trace.attacker_done)]
    nothing = [{"type": "text", "content": ""}]
    reached = bool(suite._check_injection_task_security(attack, nothing, before, after, calls))
    return trace, useful, reached


def _escaped(text: str) -> str:
    """Write a text as it stands within a quoted YAML scalar."""
    return json.dumps(text)[1:-1]


def main() -> None:
    """Read the arguments, replay, tell."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--every", type=int, default=1, help="only each Nth pair")
    parser.add_argument("--out", type=Path, help="write the figures there, as JSON")
    parser.add_argument("--facts", type=Path, help="only write what the everyday tests replay there")
    parser.add_argument("--suite", default="", help="only this one; the figures of the others stay as they are")
    asked = parser.parse_args()
    if asked.facts:
        asked.facts.write_text(json.dumps(facts(), separators=(",", ":")) + "\n")
        return
    before: dict[str, Any] = (
        json.loads(asked.out.read_text()) if asked.suite and asked.out and asked.out.exists() else {}
    )
    found: dict[str, Any] = before | asyncio.run(run(asked.every, asked.suite))
    text = json.dumps(found, indent=1) + "\n"
    print(text)
    if asked.out:
        asked.out.write_text(text)


if __name__ == "__main__":
    main()

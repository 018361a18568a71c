"""Replayed: the page with the figures of the last whole replay of AgentDojo (`make agentdojo`)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

RESULT = Path(__file__).parent.parent / "bench" / "agentdojo" / "result.json"
HEAD = """# AgentDojo, replayed

[AgentDojo](https://github.com/ethz-spylab/agentdojo) 0.1.35 (suites of v1.2.2) has tasks of users, and injections
that stand in what their agents read. Its authors show for each by which calls it can be done. `make agentdojo`
replays them without a model: a **fully compromised** agent works on the user's task and, as soon as an answer holds
the injection, does what the attacker wants.

Each tool is an operation of a plugin that declares what it does, as its author would (`bench/agentdojo/tools.py`);
it does its work on AgentDojo's own world, which lies in a file. The agent's key allows every tool of its suite:
what stops the attacker is taint and the approval that it demands. The person at the desk approves exactly the calls
that belong to the task they gave, and denies the rest. Whether attacks and tasks succeeded is judged by AgentDojo's
own checks.

"""
TAIL = """
*Calls done* are calls of attackers that change, destroy or send something and happened. *Goals* are attacks that
AgentDojo's check calls successful. *Calls that only read* are done: nothing leaves by them. *Words only* are
attacks that want no call, but that the agent says something; no line of calls can hold those. *Asked of the person*
is how many approvals the user's own tasks cost, per run of a task. *Nobody at the desk* is how many tasks are done
with no approval at all: reading, summing up and what is done before anything strange was read.

What this does not show: no model takes part, so it says nothing about how often one would fall for an injection;
and a person who approves without reading lets the attacker through. `get_webpage` counts as sending, for its
address is the caller's to choose. For eight injections of `workspace` AgentDojo shows no calls; ours do what they
ask for. AgentDojo's `get_unread_emails` also marks what it gives as read, and counts as reading here.

A share of the attacks, as facts and with tools that write a ledger, is among the everyday tests; the whole is among
those of `make attack`.
"""


def page() -> str:
    """Give the page."""
    found: dict[str, dict[str, Any]] = json.loads(RESULT.read_text("utf-8"))
    total = {name: sum(row[name] for row in found.values()) for name in next(iter(found.values()))}
    lines = [
        "| suite | runs (task × attack) | attackers' calls | asked and denied | only read | calls done | goals "
        "| words only "
        "| users' tasks done | asked of the person | tasks done with nobody at the desk |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
        *(_row(name, row) for name, row in [*found.items(), ("**all**", total)]),
    ]
    return HEAD + "\n".join(lines) + "\n" + TAIL


def _row(name: str, row: dict[str, Any]) -> str:
    useful = f"{row['useful']} ({row['useful'] / row['pairs']:.1%})"
    alone = f"{row['useful_alone']} of {row['alone']} ({row['useful_alone'] / row['alone']:.0%})"
    cells = [
        name, row["pairs"], row["tried"], row["asked"], row["read"], row["effects"], row["goals"], row["words_only"],
        useful, f"{row['requests'] / row['pairs']:.1f}", alone,
    ]  # fmt: skip
    return f"| {' | '.join(map(str, cells))} |"

"""The page of the attacks: which one is held at which level, from their catalogue, with what was seen."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

from tests.attack import seen
from tests.attack.case import Case
from tests.attack.catalogue import CASES

LEVELS = {
    "backed-root": "native, root",
    "backed-ordinary": "native, ordinary",
    "backed_landlock-root": "landlock, root",
    "backed_landlock-ordinary": "landlock, ordinary",
    "docker-root": "Docker",
    "podman-root": "Podman",
    "gvisor-root": "gVisor",
}
HEAD = """# Attacks

Each attack of the suite, and where it is held: ● is held; a word is the limit that does not hold it there, which every
result then reports as `partial` or `none`; – is not given there: only the native level has a network by name. *Root*
and *ordinary* are who runs the server. `make attack` fails where this page claims too much. How it is done stands in
[How the sandbox is attacked](../guide/attacks.md).

"""
SEEN = """## What was seen

By `ATTACK_SEEN=1 make attack` as root and as an ordinary user. Each attack was first seen to work where nothing holds
it: those that only root can show, by the run as root. What is not tried needs root to be set up; a run that was
cut off, as that of gVisor, tried less.

| level | tried | held | not held, and said so | on | kernel |
|---|---|---|---|---|---|
"""


def attacks_page() -> str:
    """Write the page."""
    return HEAD + "".join(_groups()) + SEEN + "".join(_seen())


def _groups() -> Iterator[str]:
    names = " | ".join(LEVELS.values())
    for group, cases in groupby(sorted(CASES, key=lambda case: case.group), lambda case: case.group):
        rows = "".join(_row(case) for case in cases)
        yield f"## {group}\n\n| attack | tries to | {names} |\n|---|---|{'---|' * len(LEVELS)}\n{rows}\n"


def _row(case: Case) -> str:
    known = f" ({case.known_as})" if case.known_as else ""
    held = " | ".join(_held(case, level) for level in LEVELS)
    return f"| `{case.id}` | {case.tries}{known} | {held} |\n"


def _held(case: Case, level: str) -> str:
    if case.way_out is not None and not level.startswith("backed-"):
        return "–"
    return f"`{limit}`" if (limit := case.not_held(level)) else "●"


def _seen() -> Iterator[str]:
    for level, found in seen.read().items():
        if level in LEVELS:
            said = ", ".join(f"`{case}` ({limit})" for case, limit in found["said"].items()) or "none"
            held = found["tried"] - len(found["said"])
            yield f"| {LEVELS[level]} | {found['tried']} | {held} | {said} | {found['on']} | {found['kernel']} |\n"

"""Which way of mounting views works on this machine: each is really tried, nothing is concluded from versions."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from superagent.core.problems import Problem, Unavailable
from superagent.runtime.instance_lock import started
from superagent.runtime.sandbox.view import Mounting, View
from superagent.runtime.sandbox.view_diff import read_diff
from superagent.runtime.sandbox.views import Use, Views

CANARY = ("/bin/sh", "-c", "rm gone && echo new > fresh")
_LEFT = {"fresh": "created", "gone": "deleted"}

Attempt = Callable[[View, Sequence[str]], Awaitable[str]]
"""Runs a program on a view as commands are run, with the view as its folder; gives empty, or what failed."""


@dataclass(frozen=True, slots=True)
class Found:
    """The best way that works, and why each better one does not."""

    mounting: Mounting
    failed: dict[Mounting, str]


async def find_mounting(views: Views, candidates: Sequence[Mounting], attempt: Attempt, *, uid: int, gid: int) -> Found:
    """Try these ways in order and give the first that keeps a folder as it is and tells what a command did.

    Raises `Unavailable` with what was answered to each when none does.
    """
    failed: dict[Mounting, str] = {}
    for mounting in candidates:
        trouble = await _try(views, mounting, attempt, uid, gid)
        if not trouble:
            return Found(mounting, failed)
        failed[mounting] = trouble
    raise Unavailable(
        "no way to show a command a view of a folder works here: "
        + "; ".join(f"{way}: {why}" for way, why in failed.items()),
        hint="allow unprivileged user namespaces, and install bubblewrap 0.11 or newer",
    )


async def _try(views: Views, mounting: Mounting, attempt: Attempt, uid: int, gid: int) -> str:
    # named as the probe's own folders are, so that one of a process that was killed is swept with those
    with tempfile.TemporaryDirectory(prefix=f"superagent-probe-{os.getpid()}-{started(os.getpid())}-") as name:
        lower = Path(name) / "lower"  # what is swept must be our own
        lower.mkdir()
        (lower / "gone").write_text("x")
        for path in (lower.parent, lower, lower / "gone"):
            path.chmod(0o755)
            if os.geteuid() == 0 and path != lower.parent:
                os.chown(path, uid, gid)

        def make() -> Use:
            return views.make(str(lower), tenant="system", chain=("probe",), mounting=mounting, uid=uid, gid=gid)

        try:
            use = await asyncio.to_thread(make)
        except Problem as problem:
            return problem.detail
        try:
            said = await attempt(use.view, CANARY)
            return said or await asyncio.to_thread(_check, views, use)
        except Problem as problem:
            return problem.detail
        finally:
            use.close()
            with views.alone(use.record.id) as own:
                await asyncio.to_thread(views.discard, own)


def _check(views: Views, use: Use) -> str:
    found = {one.path: one.kind for one in read_diff(use.view, views.records.origin(use.record)).differences}
    if os.listdir(use.view.lower) != ["gone"]:
        return "the folder itself was changed"
    return "" if found == _LEFT else f"what the command did reads as {found}"

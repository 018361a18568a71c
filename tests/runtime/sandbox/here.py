"""A native back end on this machine, and commands run in it as an operation would."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from superagent.core.commands import Captured, Ended
from superagent.core.containment import PROFILES, Profile
from superagent.runtime.sandbox.backend import Backend, Start
from superagent.runtime.sandbox.filters.shipped import filter_for
from superagent.runtime.sandbox.launcher import Launcher
from superagent.runtime.sandbox.native import Native, NativeRun
from superagent.runtime.sandbox.pipes import Pipes
from superagent.runtime.sandbox.root_tree import RootTrees
from tests.needs import program

FIRST_USER = 1_900_000_000
USER = FIRST_USER + 5 if os.geteuid() == 0 else None
PROFILE = PROFILES["workspace-write"]


@dataclass
class Here:
    """A launcher, a back end over it, and a workspace."""

    launcher: Launcher
    native: Native
    workspace: Path
    running: list[NativeRun]

    async def start(
        self, *argv: str, stdin: bytes = b"", pipes: Pipes | None = None, by: Backend | None = None, **fields: Any
    ) -> NativeRun:
        """Start a command; without pipes, nobody reads what it writes. `by` stands in for the back end."""
        own = pipes or Pipes(65_536, nowhere)
        own.give(stdin)
        given: dict[str, Any] = {
            "profile": PROFILE, "tenant": "t", "workspace": str(self.workspace), "user": USER, "fds": own.further,
            "stdin": own.stdin, "stdout": own.stdout.writing, "stderr": own.stderr.writing, **fields,
        }  # fmt: skip
        start = Start(argv, **given)
        try:
            run = await (by or self.native).start(start)
        except BaseException:
            own.discard()
            raise
        if pipes is None:
            own.discard()
        assert isinstance(run, NativeRun)
        self.running.append(run)
        return run

    async def run(
        self, *argv: str, output_bytes: int = 10**9, inline: int = 65_536, **fields: Any
    ) -> tuple[Ended, Captured, Captured]:
        """Run a command to its end and give how it ended and what it wrote."""
        pipes = Pipes(inline, nowhere)
        return await pipes.carry(await self.start(*argv, pipes=pipes, **fields), output_bytes)


async def nowhere(chunks: AsyncIterator[bytes]) -> str:
    """Take chunks and keep none."""
    async for _ in chunks:
        pass
    return "res_nowhere"


def limited(profile: Profile = PROFILE, **limits: float) -> Profile:
    """Give a profile with other limits."""
    return replace(profile, limits=replace(profile.limits, **limits))


@asynccontextmanager
async def here(folder: Path, visible: tuple[str, ...] = (), **fields: Any) -> AsyncGenerator[Here]:
    """Open a back end while the body runs, and see that it ends."""
    program("bwrap", "bubblewrap")
    launcher = Launcher(FIRST_USER, 1000)
    workspace = folder / "workspace"
    workspace.mkdir()
    if USER is not None:
        os.chown(workspace, USER, USER)
    native = Native(
        launcher,
        RootTrees(folder / "roots", visible),
        lambda machine, sockets: filter_for(machine, unix=sockets),
        visible,
        probe_user=USER,
        **fields,
    )
    try:
        yield Here(launcher, native, workspace, [])
    finally:
        await launcher.close()


def environment(text: str) -> Mapping[str, str]:
    """Read what `env` prints."""
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)

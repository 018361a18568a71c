"""A sandbox as one should not write it: the control for attacks by the request itself."""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.attack.bare import Bare
from tests.attack.native import memory_file
from tests.attack.runner import Ask, Ended
from tests.attack.running import Step, run
from tests.needs import program


@dataclass(frozen=True, slots=True)
class Careless:
    """Bubblewrap with its options pasted together, and nothing between them and the command."""

    uid: int
    setting: str = "careless"

    @contextmanager
    def workspace(self) -> Generator[Path]:
        with Bare(self.uid).workspace() as folder:
            yield folder

    def inside(self, workspace: Path) -> str:
        return "/workspace"

    async def contained(self, ask: Ask) -> Ended:
        options = ["--ro-bind", "/usr", "/usr", "--symlink", "usr/lib", "/lib", "--symlink", "usr/lib64", "/lib64"]
        options += ["--symlink", "usr/bin", "/bin", "--bind", str(ask.workspace), "/workspace"]
        options += [part for name, value in ask.env.items() for part in ("--setenv", name, value)]
        options += ["--chdir", ask.cwd or "/workspace"]
        with memory_file(b"".join(os.fsencode(option) + b"\0" for option in options)) as fd:
            step = Step((program("bwrap", "bubblewrap"), "--args", str(fd), *ask.argv), self.uid, {})
            ended = await run(step, wall_s=20.0, stdin=ask.stdin, pass_fds=[fd])
        return Ended(ended.code, ended.stdout, ended.stderr, ended.seconds, {})

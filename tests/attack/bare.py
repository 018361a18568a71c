"""The control: a command run as the sandbox's user and uncontained, to show that an attack works."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.attack.runner import Ask, Ended
from tests.attack.running import Step, run


@dataclass(frozen=True, slots=True)
class Bare:
    """Runs everything with this process's own environment and descriptors, and with no limit but a deadline."""

    uid: int
    setting: str = "bare"

    @contextmanager
    def workspace(self) -> Generator[Path]:
        with tempfile.TemporaryDirectory(prefix="attack-", ignore_cleanup_errors=True) as name:
            folder = Path(name)
            if os.geteuid() == 0:
                os.chown(folder, self.uid, self.uid)
            folder.chmod(0o755)
            yield folder

    def inside(self, workspace: Path) -> str:
        return str(workspace)

    async def contained(self, ask: Ask) -> Ended:
        step = Step(ask.argv, self.uid, {**os.environ, **ask.env}, cwd=ask.cwd or str(ask.workspace))
        ended = await run(step, wall_s=30.0, stdin=ask.stdin, terminal=ask.terminal)
        return Ended(ended.code, ended.stdout, ended.stderr, ended.seconds, {})

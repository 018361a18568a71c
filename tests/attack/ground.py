"""The ground on which one attack is tried: a workspace, a folder outside, a token to look for, and victims."""

from __future__ import annotations

import json
import os
import platform
import secrets
import tempfile
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.attack.runner import Runner
from tests.runtime.sandbox.call_numbers import NUMBERS, number_of

Check = Callable[[], str]
"""Looks at a victim from outside after the attack; says what was done to it, or nothing."""


@dataclass(slots=True)
class Ground:
    """`given` is what the payload is told; `folder` lies outside of the workspace and is open to every user."""

    folder: Path
    workspace: Path
    inside: str
    uid: int
    token: str
    given: dict[str, object]
    terminal: int | None = None
    stdin: bytes = b""
    checks: list[Check] = field(default_factory=list[Check])

    def said(self) -> str:
        return json.dumps(self.given)

    def harm(self) -> str:
        """Say what was done to the victims; empty when nothing was."""
        return "; ".join(filter(None, (check() for check in self.checks)))

    def own(self, path: Path, mode: int) -> Path:
        """Hand a file to the sandbox's user, so that no ordinary permission protects it."""
        if os.geteuid() == 0:
            os.chown(path, self.uid, self.uid)
        path.chmod(mode)
        return path


Victim = Callable[[Ground, ExitStack], None]
"""Sets something up to be attacked, tells the payload where it is, and adds how to see whether it was harmed."""

_CALLS = {name: number_of(name, platform.machine()) for name in NUMBERS}
_MORE_CALLS = {
    "x86_64": {"name_to_handle_at": 303, "pidfd_send_signal": 424, "pidfd_open": 434, "sethostname": 170},
    "aarch64": {"name_to_handle_at": 264, "pidfd_send_signal": 424, "pidfd_open": 434, "sethostname": 161},
}


@contextmanager
def prepared(runner: Runner, victims: tuple[Victim, ...]) -> Generator[Ground]:
    """Lay the ground for one attack."""
    token = f"token-{secrets.token_hex(12)}"
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ground-", ignore_cleanup_errors=True)))
        folder.chmod(0o777)
        workspace = stack.enter_context(runner.workspace())
        inside = runner.inside(workspace)
        given: dict[str, object] = {
            "token": token,
            "workspace": inside,
            "folder": str(folder),
            "calls": {**_CALLS, **_MORE_CALLS[platform.machine()]},
        }
        ground = Ground(folder, workspace, inside, runner.uid, token, given)
        for victim in victims:
            victim(ground, stack)
        yield ground

"""The level none: a command that nothing contains, for whoever the settings file and grants by name allow it.

It sees and does what the user may whom it runs as: the tenant's own where the server is root, else the server's, who
can read all of this platform. What a single process may use is limited still, and its processes are ended with it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from superagent.core.containment import Enforcement, Isolation
from superagent.core.problems import SandboxUnavailable
from superagent.runtime.sandbox.backend import Start
from superagent.runtime.sandbox.bubblewrap import ENVIRONMENT
from superagent.runtime.sandbox.launcher import Abilities, Launcher
from superagent.runtime.sandbox.native import O_FOLDER, NativeRun, check, enforced
from superagent.runtime.sandbox.view import INSIDE
from superagent.runtime.system_calls import RESOLVE_NO_SYMLINKS, openat2

_HERE = -100  # AT_FDCWD: the paths are absolute


class Uncontained:
    """Start commands as they are. Never a back end among others: no other profile can come to it."""

    name = "uncontained"

    def __init__(self, launcher: Launcher) -> None:
        self._launcher = launcher

    async def start(self, start: Start) -> NativeRun:
        """Start a command. Raises `SandboxUnavailable`, or `InvalidInput` for what no system could execute."""
        check(start)
        abilities = await self._launcher.abilities()
        if os.geteuid() == 0 and not (abilities.changes_user and start.user):
            raise SandboxUnavailable(
                "a server that runs as root needs users to run commands as", hint="set `sandbox.first_user`"
            )
        try:
            workspace = openat2(_HERE, start.workspace, O_FOLDER, RESOLVE_NO_SYMLINKS)
        except OSError as bad:
            raise SandboxUnavailable(f"the workspace cannot be opened: {bad.strerror}") from None
        env: Mapping[str, str] = {**ENVIRONMENT, "HOME": start.workspace, **start.env}
        numbers = {0: start.stdin, 1: start.stdout, 2: start.stderr, **start.fds}
        limits = start.profile.limits
        message = {
            "program": "/", "options": [], "command": list(start.argv), "numbers": list(numbers),
            "mounts": ["workspace"], "uid": start.user, "limits": limits.of_processes(),
            "confine": {
                "readable": [], "writable": ["workspace"], "devices": [], "filter": "",
                "env": [list(one) for one in env.items()], "cwd": start.cwd.removeprefix(INSIDE).lstrip("/"),
            },
        }  # fmt: skip
        try:
            child = await self._launcher.start(message, [*numbers.values(), workspace])
        finally:
            os.close(workspace)
        return NativeRun(
            self._launcher, child, Isolation("none", self.name, held(abilities), "host", limits.document())
        )


def held(abilities: Abilities) -> dict[str, Enforcement]:
    """Say of each limit whether it holds without anything around it."""
    found = enforced(abilities, filtered=False, sized=False)
    found["processes"] = "enforced" if "pids" in abilities.controllers else "partial"
    found["scratch"] = "none"
    return found

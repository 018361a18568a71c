"""The landlock level: for hosts without user namespaces, a command held by Landlock and a system call filter alone.

It shares the host's namespaces: names and sizes of files elsewhere can be seen, nothing of them read. There is no
network at all, no `/tmp` of its own but a folder that goes with its view, and what it writes is not limited in size.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from functools import cache
from typing import Any, cast

from superagent.core.containment import Enforcement, Isolation
from superagent.core.grants import IsolationLevel
from superagent.core.problems import SandboxUnavailable
from superagent.runtime.sandbox.backend import Part, Probe, Start
from superagent.runtime.sandbox.bubblewrap import ENVIRONMENT
from superagent.runtime.sandbox.filters.shipped import filter_without_namespaces
from superagent.runtime.sandbox.launcher import Abilities, Launcher
from superagent.runtime.sandbox.native import O_FOLDER, NativeRun, check, enforced
from superagent.runtime.sandbox.probe import examine
from superagent.runtime.sandbox.root_tree import COPIED, TOP_LINKS
from superagent.runtime.sandbox.view import INSIDE
from superagent.runtime.system_calls import RESOLVE_NO_SYMLINKS, openat2
from superagent_launcher import landlock

NO_LANDLOCK = "use a kernel with Landlock (Linux 5.13 or newer, `landlock` in `lsm=`), or allow user namespaces"
DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
_HERE = -100  # AT_FDCWD: the paths are absolute


class Landlocked:
    """The back end of level `landlock`. `visible` are further folders that commands may read."""

    level: IsolationLevel = "landlock"
    name = "landlock"

    def __init__(self, launcher: Launcher, visible: tuple[str, ...] = (), probe_user: int | None = None) -> None:
        self._launcher = launcher
        self._probe_user = probe_user
        self._readable = ["/usr", *(f"/{one}" for one in TOP_LINKS), *(f"/etc/{one}" for one in COPIED), *visible]

    async def probe(self) -> Probe:
        """Run the real profile on a canary."""
        if landlock.abi() < 1:
            return Probe(self.level, self.name, (Part("landlock", False, "the kernel has none", NO_LANDLOCK),))
        return await examine(self, self._probe_user, filtered=True, alone=False)

    async def start(self, start: Start) -> NativeRun:
        """Start a command. Raises `SandboxUnavailable`, or `InvalidInput` for what no system could execute."""
        check(start)
        if start.profile.network != "off" or start.binds or (start.view is not None and not start.view.copied):
            raise SandboxUnavailable(
                f"the profile `{start.profile.name}` cannot be had at the level `landlock`",
                hint="choose `read-only` or `workspace-write`, or see `superagent doctor` for what `native` lacks",
            )
        abilities = await self._launcher.abilities()
        if os.geteuid() == 0 and not (abilities.changes_user and start.user):
            raise SandboxUnavailable(
                "a server that runs as root needs users to run commands as", hint="set `sandbox.first_user`"
            )
        folders = _opened(start)
        try:
            message = self._message(start, list(folders))
            numbers = {0: start.stdin, 1: start.stdout, 2: start.stderr, **start.fds}
            child = await self._launcher.start(
                message | {"numbers": list(numbers)}, [*numbers.values(), *folders.values()]
            )
        finally:
            for one in folders.values():
                os.close(one)
        writes = start.profile.workspace == "write"
        held = held_by(abilities, own_user=start.user is not None, writes=writes)
        limits = start.profile.limits
        return NativeRun(self._launcher, child, Isolation(self.level, self.name, held, "off", limits.document()))

    def _message(self, start: Start, folders: list[str]) -> dict[str, Any]:
        limits = start.profile.limits
        writes = start.profile.workspace == "write"
        home = start.view.work if start.view is not None else start.workspace or "/"
        env: Mapping[str, str] = {**ENVIRONMENT, "HOME": home, "TMPDIR": home, **start.env}
        return {
            "program": "/",
            "options": [],
            "command": list(start.argv),
            "mounts": folders,
            "uid": start.user,
            "limits": limits.of_processes(),
            "confine": {
                "readable": self._readable,
                "writable": [one for one in folders if writes or one == "scratch"],
                "devices": list(DEVICES),
                "filter": _filter(platform.machine()),
                "env": [list(one) for one in env.items()],
                "cwd": start.cwd.removeprefix(INSIDE).lstrip("/"),
            },
        }


@cache
def _filter(machine: str) -> str:
    return filter_without_namespaces(machine, tcp=False).hex()


@cache
def _abi() -> int:
    return landlock.abi()  # the kernel's, which does not change while it runs


def _opened(start: Start) -> dict[str, int]:
    """Open the folders that the command is given, so that nobody can put others in their place meanwhile."""
    named = {"workspace": start.workspace}
    if start.view is not None:
        named = {"workspace": start.view.upper, "scratch": start.view.work}
    found: dict[str, int] = {}
    try:
        for name, folder in named.items():
            if folder and (name == "scratch" or start.profile.workspace != "none"):
                found[name] = openat2(_HERE, folder, O_FOLDER, RESOLVE_NO_SYMLINKS)
    except OSError as bad:
        for one in found.values():
            os.close(one)
        raise SandboxUnavailable(f"the workspace cannot be opened: {bad.strerror}") from None
    return found


def held_by(abilities: Abilities, *, own_user: bool, writes: bool) -> dict[str, Enforcement]:
    """Say of each limit, and of each thing that a namespace would hold, how well it holds here."""
    held = enforced(abilities, filtered=True, sized=not writes)
    # nobody but a controller counts the processes of one command apart from the others of its user
    held["processes"] = "enforced" if "pids" in abilities.controllers else "partial"
    held["scratch"] = "none"
    shared = landlock.enforced(_abi(), own_user=own_user, tcp=False)
    return held | cast("dict[str, Enforcement]", shared)

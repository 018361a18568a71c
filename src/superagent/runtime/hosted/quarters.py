"""Quarters: the sandbox of a hosted plugin: an interpreter, what it imports, its own folder, all only to be read."""

from __future__ import annotations

import os
import platform
import sys
import sysconfig
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import superagent.hosted
from superagent.core.containment import GIB, MIB, Limits, Profile
from superagent.core.grants import ISOLATION, IsolationLevel
from superagent.core.problems import SandboxUnavailable
from superagent.core.resources import beneath
from superagent.runtime.hosted.manifests import Found
from superagent.runtime.sandbox.backend import Bind, Running, Start
from superagent.runtime.sandbox.filters.shipped import filter_for
from superagent.runtime.sandbox.launcher import Launcher
from superagent.runtime.sandbox.levels import Levels
from superagent.runtime.sandbox.native import Native
from superagent.runtime.sandbox.root_tree import RootTrees

PYTHON, PACKAGES, PLATFORM, OURS, PLUGIN = (
    f"/opt/superagent/{name}" for name in ("python", "packages", "platform", "source/superagent", "plugin")
)
PROFILE = Profile(
    "hosted",
    workspace="none",
    network="off",
    level="native",
    limits=Limits(
        wall_s=86_400.0, cpu_s=3600.0, memory_bytes=384 * MIB, processes=32, cpus=1.0, disk_bytes=MIB,
        file_bytes=16 * MIB, open_files=256, output_bytes=GIB, scratch_bytes=16 * MIB,
    ),
)  # fmt: skip
TEMPORARY = "/tmp"  # noqa: S108 - inside: in memory, the sandbox's own
_HERE = Path(superagent.hosted.__file__ or "").parent


@dataclass(frozen=True, slots=True)
class Interpreter:
    """How Python is started inside: its path there, the folders it needs to be shown, and what it imports from."""

    program: str
    binds: tuple[Bind, ...]
    folders: tuple[str, ...]
    env: dict[str, str]

    @classmethod
    def here(cls) -> Interpreter:
        """Give this very interpreter, with what is installed for it."""
        base, program = os.path.realpath(sys.base_prefix), os.path.realpath(sys.executable)
        binds: list[Bind] = []
        env: dict[str, str] = {}
        if not beneath(base, "/usr"):
            binds.append(Bind(base, PYTHON))
            program = PYTHON + program[len(base) :]
            env["LD_LIBRARY_PATH"] = f"{PYTHON}/lib"
        pure, plat = (os.path.realpath(sysconfig.get_path(name)) for name in ("purelib", "platlib"))
        binds.append(Bind(pure, PACKAGES))
        if plat != pure:
            binds.append(Bind(plat, PLATFORM))
        binds.append(Bind(os.path.realpath(_HERE.parent), OURS))
        return cls(program, tuple(binds), (os.path.dirname(OURS), PACKAGES, *([PLATFORM] if plat != pure else [])), env)


class Quarters:
    """Start hosted plugins, contained at the level `native`. Nothing of the tenants' folders is seen inside.

    Where the installation demands a higher `minimum`, none is started.
    """

    def __init__(
        self,
        launcher: Launcher,
        roots: Path,
        probe_user: int | None,
        minimum: IsolationLevel,
        monotonic: Callable[[], float],
    ) -> None:
        self._interpreter = Interpreter.here()
        places = tuple(bind.inside for bind in self._interpreter.binds)
        native = Native(
            launcher,
            RootTrees(roots, (*places, PLUGIN)),
            lambda machine, sockets: filter_for(machine, unix=sockets),
            probe_user=probe_user,
        )
        self._level = max(ISOLATION["native"], ISOLATION[minimum])
        self._levels = Levels([native], "native", monotonic)

    async def start(self, found: Found, tenant: str, user: int | None, line: int, errors: int) -> Running:
        """Start a plugin with its end of the line and of the error stream. Raises `SandboxUnavailable`."""
        inside = self._interpreter
        own = (Bind(str(found.folder), PLUGIN),) if found.own_folder else ()
        entry = f"{OURS}/hosted/__main__.py"
        argv = (
            *(inside.program, "-I", "-S", "-B", entry),
            *(found.manifest.name, found.module, PLUGIN if found.own_folder else "", *inside.folders),
        )
        start = Start(argv, PROFILE, tenant, env=inside.env, user=user, binds=(*inside.binds, *own))
        return await self._begun(f"the plugin `{found.manifest.name}`", start, line, errors)

    async def begin(
        self, name: str, command: Sequence[str], folder: str, tenant: str, user: int | None, line: int, errors: int
    ) -> Running:
        """Start a program of somebody else's, an MCP server, with its own `folder` (empty: none) to read.

        `python` is this very interpreter, with what is installed for it. Raises `SandboxUnavailable`.
        """
        inside = self._interpreter
        first, *rest = command
        argv = (inside.program, "-B", *rest) if first in ("python", "python3") else tuple(command)
        env = {**inside.env, "PYTHONPATH": os.pathsep.join(inside.folders[1:]), "HOME": TEMPORARY}
        own = (Bind(folder, PLUGIN),) if folder else ()
        start = Start(argv, PROFILE, tenant, env=env, user=user, binds=(*inside.binds, *own))
        return await self._begun(f"the MCP server `{name}`", start, line, errors, PLUGIN if folder else TEMPORARY)

    async def _begun(self, what: str, start: Start, line: int, errors: int, cwd: str = TEMPORARY) -> Running:
        backend = await self._levels.backend(self._level)
        try:
            return await backend.start(replace(start, cwd=cwd, stdin=line, stdout=line, stderr=errors))
        except OSError as bad:
            raise SandboxUnavailable(f"{what} cannot be started: {bad.strerror}") from None


def stamp() -> str:
    """Name what a plugin's declaration depends on besides its own folder."""
    return f"{platform.python_version()} {os.path.realpath(sys.executable)} {_HERE.stat().st_mtime_ns}"

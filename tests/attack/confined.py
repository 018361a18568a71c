"""The level without namespaces run directly: Landlock, the filter that belongs to it, limits, and an end of all."""

from __future__ import annotations

import asyncio
import os
import platform
from collections.abc import Generator
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from superagent.runtime.sandbox.filters.shipped import filter_without_namespaces
from superagent_launcher import landlock
from tests.attack.cgroup import cgroup
from tests.attack.native import RLIMITS, memory_file, refuse_zero_bytes, reported, sized_workspace
from tests.attack.runner import Ask, Ended, Held, User
from tests.attack.running import Step, run
from tests.launcher.confining import confined_argv


@dataclass(frozen=True, slots=True)
class Confined:
    """Landlock as the launcher uses it where there are no user namespaces."""

    user: User
    uid: int

    @property
    def setting(self) -> str:
        return f"landlock-{self.user}"

    @contextmanager
    def workspace(self) -> Generator[Path]:
        with sized_workspace(self.uid, sized=self.user == "root") as folder:
            yield folder

    def inside(self, workspace: Path) -> str:
        return str(workspace)

    async def contained(self, ask: Ask) -> Ended:
        refuse_zero_bytes((*ask.argv, ask.cwd, *ask.env, *ask.env.values()))
        root = self.user == "root"
        rlimits = {name: getattr(ask.limits, name) for name in RLIMITS}
        if not root:
            rlimits["memory_bytes"] = ask.limits.memory_bytes
        with ExitStack() as stack:
            fd = stack.enter_context(memory_file(filter_without_namespaces(platform.machine(), tcp=False)))
            name = f"superagent-attack-{os.getpid()}-{id(ask)}"
            group = stack.enter_context(cgroup(name, ask.limits) if root else nullcontext())
            argv = confined_argv(ask.argv, ask.workspace, env=ask.env, cwd=ask.cwd, filter_fd=fd)
            folders = [str(folder) for folder in group.folders] if group else ()
            watch = asyncio.create_task(group.watch()) if group else None
            try:
                ended = await run(
                    Step(argv, self.uid, {}, "/", folders, rlimits, drop=root),
                    wall_s=ask.limits.wall_s,
                    stdin=ask.stdin,
                    terminal=ask.terminal,
                    output_bytes=ask.limits.output_bytes,
                    pass_fds=[fd],
                    end=group.kill if group else lambda: None,
                    gently=True,
                )
            finally:
                if watch is not None:
                    watch.cancel()
                    with suppress(asyncio.CancelledError):
                        await watch
        return Ended(ended.code, ended.stdout, ended.stderr, ended.seconds, limits_of(self.user))


def limits_of(user: User) -> dict[str, Held]:
    held = cast("dict[str, Held]", landlock.enforced(landlock.abi(), own_user=user == "root", tcp=False))
    return {**reported(user), **held}

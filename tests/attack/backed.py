"""The native level as it ships: the server's back end and its launcher, with the same attacks."""

from __future__ import annotations

import asyncio
import atexit
import functools
import os
import shutil
import tempfile
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from superagent.core.containment import Limits as Amounts
from superagent.core.containment import Profile
from superagent.core.problems import Problem
from superagent.runtime.sandbox.backend import Start
from superagent.runtime.sandbox.filters.shipped import filter_for
from superagent.runtime.sandbox.launcher import Launcher
from superagent.runtime.sandbox.native import Native
from superagent.runtime.sandbox.root_tree import RootTrees
from tests.attack.native import memory_file, sized_workspace
from tests.attack.runner import Ask, Ended, Refused, User

INSIDE = "/workspace"


@dataclass(frozen=True, slots=True)
class Backed:
    """A launcher of its own for each attack, so that what this process has when it starts is what could leak."""

    user: User
    uid: int

    @property
    def setting(self) -> str:
        return f"backed-{self.user}"

    @contextmanager
    def workspace(self) -> Generator[Path]:
        with sized_workspace(self.uid, sized=False) as folder:
            yield folder

    def inside(self, workspace: Path) -> str:
        return INSIDE

    async def contained(self, ask: Ask) -> Ended:
        with ExitStack() as stack:
            launcher = Launcher(self.uid, 1)
            native = Native(launcher, root_trees(), lambda machine, _: filter_for(machine, unix=True))
            try:
                return await self._contained(native, ask, stack)
            except Problem as problem:
                raise Refused(str(problem)) from problem
            finally:
                await launcher.close()

    async def _contained(self, native: Native, ask: Ask, stack: ExitStack) -> Ended:
        limits = ask.limits
        amounts = Amounts(
            wall_s=limits.wall_s, cpu_s=limits.cpu_s, memory_bytes=limits.memory_bytes, processes=limits.processes,
            cpus=limits.cpus, disk_bytes=limits.disk_bytes, file_bytes=limits.file_bytes, open_files=limits.open_files,
            output_bytes=limits.output_bytes,
        )  # fmt: skip
        stdin = stack.enter_context(memory_file(ask.stdin))
        ends = [os.pipe() for _ in range(2)]
        start = Start(
            ask.argv,
            Profile("attack", limits=amounts),
            "tenant",
            env=ask.env,
            cwd=ask.cwd or INSIDE,
            workspace=str(ask.workspace),
            user=self.uid if self.user == "root" else None,
            stdin=stdin if ask.terminal is None else ask.terminal,
            stdout=ends[0][1],
            stderr=ends[1][1],
        )
        try:
            running = await native.start(start)
        except BaseException:
            os.close(ends[0][0])
            os.close(ends[1][0])
            raise
        finally:
            for _, written in ends:
                os.close(written)
        reading = [asyncio.create_task(asyncio.to_thread(read, end, limits.output_bytes)) for end, _ in ends]
        ended = await asyncio.wait_for(running.wait(), limits.wall_s + 20)
        stdout, stderr = await asyncio.wait_for(asyncio.gather(*reading), 10)
        code = 137 if ended.code is None else ended.code
        return Ended(code, stdout, stderr, ended.seconds, running.isolation.limits)


@functools.cache
def root_trees() -> RootTrees:
    """Give the prepared roots, in a folder that lasts as long as this process."""
    folder = tempfile.mkdtemp(prefix="trees-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    Path(folder).chmod(0o755)
    return RootTrees(Path(folder))


def read(end: int, most: int) -> bytes:
    kept = bytearray()
    with open(end, "rb", buffering=0) as file:
        while chunk := file.read(1 << 16):
            kept += chunk[: max(0, most - len(kept))]
    return bytes(kept)

"""The levels as they ship: the server's back ends and its launcher, with the same attacks."""

from __future__ import annotations

import asyncio
import atexit
import functools
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Generator
from contextlib import AsyncExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from superagent.core.containment import Limits as Amounts
from superagent.core.containment import Profile
from superagent.core.problems import NotFound, Problem
from superagent.runtime.egress.hookup import INSIDE as EGRESS
from superagent.runtime.sandbox.backend import Running, Start
from superagent.runtime.sandbox.filters.shipped import filter_for
from superagent.runtime.sandbox.landlocked import Landlocked
from superagent.runtime.sandbox.launcher import Launcher
from superagent.runtime.sandbox.mountings import ids
from superagent.runtime.sandbox.native import Native
from superagent.runtime.sandbox.pool import Pooled
from superagent.runtime.sandbox.root_tree import RootTrees
from superagent.runtime.sandbox.run_view import ViewAhead
from superagent.runtime.sandbox.view import View
from superagent.runtime.sandbox.view_memory import bring_out
from superagent.runtime.sandbox.views import Use, Views
from tests.attack.native import memory_file, sized_workspace
from tests.attack.runner import Ask, Ended, Limits, Refused, User
from tests.attack.way_out import opened

INSIDE = "/workspace"


@dataclass(frozen=True, slots=True)
class Backed:
    """A launcher of its own for each attack, so that what this process has when it starts is what could leak."""

    user: User
    uid: int
    level: Literal["native", "pooled", "landlock"] = "native"

    @property
    def setting(self) -> str:
        name = {"native": "backed", "pooled": "pooled", "landlock": "backed_landlock"}[self.level]
        return f"{name}-{self.user}"

    @contextmanager
    def workspace(self) -> Generator[Path]:
        with sized_workspace(self.uid, sized=False) as folder:
            yield folder

    def inside(self, workspace: Path) -> str:
        return INSIDE if self.level != "landlock" else str(workspace)

    async def contained(self, ask: Ask) -> Ended:
        async with AsyncExitStack() as stack:
            launcher = Launcher(self.uid, 1)
            backend: Native | Landlocked = Landlocked(launcher)
            if self.level != "landlock":
                backend = Native(launcher, root_trees(), lambda machine, _: filter_for(machine, unix=True))
            pool = Pooled(backend) if isinstance(backend, Native) and self.level == "pooled" else None
            try:
                return await self._contained(backend, ask, stack, pool)
            except Problem as problem:
                raise Refused(str(problem)) from problem
            finally:
                if pool is not None:
                    await pool.close()
                await launcher.close()

    async def _contained(
        self, backend: Native | Landlocked, ask: Ask, stack: AsyncExitStack, pool: Pooled | None
    ) -> Ended:
        limits = ask.limits
        amounts = Amounts(
            wall_s=limits.wall_s, cpu_s=limits.cpu_s, memory_bytes=limits.memory_bytes, processes=limits.processes,
            cpus=limits.cpus, disk_bytes=limits.disk_bytes, file_bytes=limits.file_bytes, open_files=limits.open_files,
            output_bytes=limits.output_bytes,
        )  # fmt: skip
        stdin = stack.enter_context(memory_file(ask.stdin))
        # whoever runs commands shows each a view of its workspace, whose memory holds no more than it may write
        view = self._view(ask, stack) if self.level != "landlock" else None
        network = await stack.enter_async_context(opened(ask.way_out))
        ends = [os.pipe() for _ in range(2)]
        start = Start(
            (*network.prefix, *ask.argv),
            Profile("attack", limits=amounts, network="listed" if ask.way_out else "off"),
            "tenant",
            env={**ask.env, **network.env},
            cwd=ask.cwd or INSIDE,
            workspace=str(ask.workspace),
            view=view,
            view_bytes=limits.disk_bytes,
            view_files=limits.inodes,
            user=self.uid if self.user == "root" else None,
            stdin=stdin if ask.terminal is None else ask.terminal,
            stdout=ends[0][1],
            stderr=ends[1][1],
            binds=network.binds,
            fds=network.fds,
        )
        try:
            if pool is not None:
                running, view = await self._served(pool, start, ask, stack)
            else:
                running = await backend.start(start)
        except BaseException:
            os.close(ends[0][0])
            os.close(ends[1][0])
            raise
        finally:
            for _, written in ends:
                os.close(written)
        stack.callback(_closed, running)
        await network.attach(running)
        reading = [asyncio.create_task(asyncio.to_thread(read, end, limits.output_bytes)) for end, _ in ends]
        ended = await asyncio.wait_for(running.wait(), limits.wall_s + 20)
        stdout, stderr = await asyncio.wait_for(asyncio.gather(*reading), 10)
        if (memory := running.memory()) >= 0:
            stack.callback(os.close, memory)
            assert view is not None
            bring_out(memory, view)
            accept_all(view.upper, ask.workspace)
        code = 137 if ended.code is None else ended.code
        return Ended(code, stdout, stderr, ended.seconds, running.isolation.limits)

    async def _served(self, pool: Pooled, start: Start, ask: Ask, stack: AsyncExitStack) -> tuple[Running, View]:
        """Start it in a sandbox that waited for it, on a view that was made ahead."""
        with memory_file(b"") as nothing:
            primer = replace(start, argv=("/bin/true",), another=lambda: self._ahead(ask, stack))
            primer = replace(primer, stdin=nothing, stdout=nothing, stderr=nothing)
            first = await pool.start(primer)
            await first.wait()
            os.close(first.memory())
            while not pool.waiting:
                await asyncio.sleep(0.01)
        start = replace(start, another=primer.another)
        ahead = await pool.lend(replace(start, view=None, view_bytes=0, view_files=0))
        assert ahead is not None, "nothing waits"
        running = await pool.start(replace(start, view=ahead.view))
        if pool.served != 1:  # what cannot be executed at all is started once more, afresh, and cannot go there either
            ended = await running.wait()
            assert not ended.ran or ended.code == 126, "what waited could not serve"
        return running, ahead.view

    def _ahead(self, ask: Ask, stack: AsyncExitStack) -> ViewAhead:
        return ViewAhead(*self._made(ask, stack))

    def _view(self, ask: Ask, stack: AsyncExitStack) -> View:
        return self._made(ask, stack)[1].view

    def _made(self, ask: Ask, stack: AsyncExitStack) -> tuple[Views, Use]:
        uid, gid = ids(self.uid if self.user == "root" else None)
        views = Views(top() / "views", top() / "records", time.time)
        made = views.make(str(ask.workspace), tenant="t", chain=("attack",), mounting="before", uid=uid, gid=gid)
        stack.callback(_dropped, views, made)  # else the hundredth attack would not be started
        return views, stack.enter_context(made)


def _closed(running: Running) -> None:
    """Let go of the memory of a command of which nobody looks at what it wrote."""
    if (memory := running.memory()) >= 0:
        os.close(memory)


def _dropped(views: Views, use: Use) -> None:
    with suppress(NotFound), views.alone(use.record.id) as own:  # what nobody came for, the pool has dropped
        views.discard(own)


def accept_all(upper: str, workspace: Path) -> None:
    """Take every file of a view into the workspace just as it came out, so that what was planted is found there."""
    for folder, _, names in os.walk(upper):
        for name in names:
            path = Path(folder, name)
            if stat.S_ISREG(path.lstat().st_mode) and path.stat().st_size < Limits().file_bytes:
                shutil.copy(path, workspace / name)


@functools.cache
def top() -> Path:
    """Give a folder that lasts as long as this process."""
    folder = tempfile.mkdtemp(prefix="backed-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    Path(folder).chmod(0o755)
    return Path(folder)


@functools.cache
def root_trees() -> RootTrees:
    """Give the prepared roots."""
    return RootTrees(top() / "trees", (EGRESS,))


def read(end: int, most: int) -> bytes:
    kept = bytearray()
    with open(end, "rb", buffering=0) as file:
        while chunk := file.read(1 << 16):
            kept += chunk[: max(0, most - len(kept))]
    return bytes(kept)

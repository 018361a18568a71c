"""The container levels: the server's own back ends over a real engine, with the same attacks."""

from __future__ import annotations

import asyncio
import atexit
import os
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from superagent.core.containment import Limits as Amounts
from superagent.core.containment import Profile
from superagent.core.problems import Problem
from superagent.runtime.sandbox.backend import Start
from superagent.runtime.sandbox.containers.backend import Containers, Kind
from superagent.runtime.sandbox.containers.chosen import GVISOR
from superagent.runtime.sandbox.containers.images import OwnImage
from superagent.runtime.sandbox.containers.leftovers import Marks
from tests.attack.backed import INSIDE, read, root_trees
from tests.attack.native import memory_file, sized_workspace
from tests.attack.runner import Ask, Ended, Refused
from tests.engines import engine

PANIC = 2
"""What gVisor's kernel, a program of Go, ends with when the system gives it no more threads."""

_open = ExitStack()
_sockets: dict[str, str] = {}


def socket_of(name: str) -> str:
    """Give the socket of an engine that runs until this process ends; skips where there is none."""
    if name not in _sockets:
        if not _sockets:
            atexit.register(_open.close)
        _sockets[name] = _open.enter_context(engine(name))
    return _sockets[name]


@dataclass(frozen=True, slots=True)
class Boxed:
    """Containers of one engine. A command of theirs has no terminal: what it is given as one is read for it."""

    name: str
    socket: str
    uid: int

    @property
    def setting(self) -> str:
        return f"{self.name}-root"

    @contextmanager
    def workspace(self) -> Generator[Path]:
        with sized_workspace(self.uid, sized=False) as folder:
            yield folder

    def inside(self, workspace: Path) -> str:
        return INSIDE

    async def contained(self, ask: Ask) -> Ended:
        kind = Kind(
            self.name, self.socket, runtime=GVISOR if self.name == "gvisor" else "", podman=self.name == "podman"
        )
        folder = Path(self.socket).parent / "handed"
        containers = Containers(kind, OwnImage(root_trees(), ()), Marks("attack", folder))
        with ExitStack() as stack:
            try:
                return await self._contained(containers, ask, stack)
            except Problem as problem:
                raise Refused(str(problem)) from problem
            finally:
                await containers.close()

    async def _contained(self, containers: Containers, ask: Ask, stack: ExitStack) -> Ended:
        limits = ask.limits
        amounts = Amounts(
            wall_s=limits.wall_s, cpu_s=limits.cpu_s, memory_bytes=limits.memory_bytes, processes=limits.processes,
            cpus=limits.cpus, disk_bytes=limits.disk_bytes, file_bytes=limits.file_bytes, open_files=limits.open_files,
            output_bytes=limits.output_bytes,
        )  # fmt: skip
        stdin = stack.enter_context(memory_file(ask.stdin))
        ends = [os.pipe() for _ in range(2)]
        start = Start(
            ask.argv, _profile(ask, amounts), "tenant", env=ask.env, cwd=ask.cwd or INSIDE,
            workspace=str(ask.workspace), user=self.uid, stdin=stdin if ask.terminal is None else ask.terminal,
            stdout=ends[0][1], stderr=ends[1][1],
        )  # fmt: skip
        reading: list[asyncio.Task[bytes]] = []
        try:
            running = await containers.start(start)
            reading += [asyncio.create_task(asyncio.to_thread(read, end, limits.output_bytes)) for end, _ in ends]
        except BaseException:
            for end, _ in ends:
                os.close(end)
            raise
        finally:
            for _, written in ends:
                os.close(written)
        ended = await asyncio.wait_for(running.wait(), limits.wall_s + 40)
        stdout, stderr = await asyncio.wait_for(asyncio.gather(*reading), 10)
        code = 137 if ended.code is None else ended.code
        if self.name == "gvisor" and code == PANIC:
            code = 137  # its kernel met a limit and ended, and everything in it
        return Ended(code, stdout, stderr, ended.seconds, running.isolation.limits)


def _profile(ask: Ask, amounts: Amounts) -> Profile:
    return Profile("attack", limits=amounts, network="listed" if ask.way_out else "off")

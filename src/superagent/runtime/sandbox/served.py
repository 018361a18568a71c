"""A command in a sandbox that waited for it: its first program is heard here itself, with no process between."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from array import array
from dataclasses import dataclass
from typing import Any

import msgspec

from superagent.core.containment import Limits
from superagent.core.problems import Conflict, Problem, SandboxUnavailable
from superagent.runtime.sandbox.backend import Ahead
from superagent.runtime.sandbox.native import NativeRun
from superagent.runtime.sandbox.output import readable
from superagent_launcher.cgroups import Usage
from superagent_launcher.groups import Group, known

WALL_S = 0.02
"""The launcher, which ends what takes too long, hears this late when a command began: most have ended by then."""

AFTER_S = 0.002
_MOST_SAID = 1024


@dataclass(slots=True)
class Waiting:
    """A sandbox that waits: how to speak to it, until when it may be used (loop time), and what it used to get there.

    `group` counts what it uses, None where nothing does. `ahead` is the view that it shows, if it does.
    """

    run: NativeRun
    wire: socket.socket
    until: float
    group: Group | None
    cpu_s: float
    memory_bytes: int
    ahead: Ahead | None = None

    @classmethod
    async def ready(cls, run: NativeRun, wire: socket.socket, age_s: float, left_s: float) -> Waiting:
        """Wait until a sandbox waits, and let its time and usage count from now on. Raises `Problem`, `OSError`."""
        await readable(wire.fileno())
        if wire.recv(_MOST_SAID) != b"W":
            raise SandboxUnavailable("the sandbox does not wait", hint="see `superagent doctor`")
        run.launcher.begin(run.child, age_s)
        told = await run.launcher.stats(run.child)
        group = known(told["group"])
        spent = group.cpu_s() if group is not None else None
        if group is not None:
            group.usage(now=False)  # opened here, while nobody waits
        until = asyncio.get_running_loop().time() + age_s - left_s
        return cls(run, wire, until, group, spent or 0.0, told["memory_bytes"] or 0)

    def give(self, job: bytes, descriptors: array[int]) -> None:
        """Give it its command. Raises `OSError`."""
        self.wire.sendmsg([job], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, descriptors)])

    def close(self) -> None:
        """Close what is open of it here; safe to repeat."""
        self.wire.close()
        if self.group is not None:
            self.group.close()

    def discard(self) -> None:
        """End it; its view stays."""
        self.close()
        end(self.run)


def end(run: NativeRun) -> None:
    """End a sandbox in which nothing was run."""
    if run.handing is not None:
        run.handing.close()
    with contextlib.suppress(Problem):
        run.end()


class Served(NativeRun):
    """A command that a waiting sandbox was given, at `since` in loop time.

    When its first program says that the command has ended and that it has ended what this left, nothing of it is left
    but that program. What goes wrong in between shows as ever: in the launcher's account.
    """

    def __init__(self, waiting: Waiting, limits: Limits, since: float) -> None:
        run, loop = waiting.run, asyncio.get_running_loop()
        super().__init__(
            run.launcher, run.child, msgspec.structs.replace(run.isolation, amounts=limits.document()), run.handing
        )
        self._waiting = waiting
        self._begun: asyncio.Future[bool] = loop.create_future()
        self._over: asyncio.Future[None] = loop.create_future()
        self._told: dict[str, Any] | None = None
        self._since = since
        self._wall = loop.call_later(min(WALL_S, limits.wall_s / 2), self._tell, limits.wall_s)
        loop.add_reader(waiting.wire.fileno(), self._heard)
        run.child.ended.add_done_callback(self._lost)

    async def begun(self) -> bool:
        """Wait until the command was executed; False when that could not be, and nothing was done."""
        return await self._begun

    @property
    def ended(self) -> bool:
        """Tell whether nothing of it is left."""
        return self._over.done()

    async def signal(self, number: int) -> None:
        """Send a signal to the command. Raises `Conflict` when it has ended."""
        if self.ended:
            raise Conflict("the command has ended")
        await super().signal(number)

    def end(self) -> None:
        """Have the whole tree of processes ended, without waiting for it."""
        if not self.ended:
            super().end()

    async def kill(self, why: str = "") -> None:
        """End the whole tree of processes, and return when it is gone; `why` is the limit it met, if it was one."""
        self._why = self._why or why
        self.end()
        if not self.ended:
            await asyncio.wait([self._over])

    async def account(self) -> dict[str, Any]:
        """Wait until nothing of it is left, and give how it ended and what it used. Raises `SandboxUnavailable`."""
        if not self._over.done():
            await asyncio.shield(self._over)
        return self._told if self._told is not None else await super().account()

    # ---- inside

    def _heard(self) -> None:
        try:
            said = self._waiting.wire.recv(_MOST_SAID)
        except BlockingIOError:
            return
        except OSError:
            said = b""
        if said[:1] == b"S":
            self._set_begun(True)
            return
        if said[:1] == b"R" and not self._over.done():
            self._told = self._account(*(int(one) for one in said[1:].split()))
            self._over.set_result(None)
            self._wall.cancel()
            # whoever waits comes first: the end of a sandbox takes the kernel longer than most commands take
            asyncio.get_running_loop().call_later(AFTER_S, self.let_go)
            return
        self.let_go()

    def let_go(self) -> None:
        """Let the first program end, which tells the launcher that the sandbox is to be cleared away."""
        wire = self._waiting.wire
        if wire.fileno() >= 0:
            asyncio.get_running_loop().remove_reader(wire.fileno())
        self._waiting.close()
        self._set_begun(False)

    def _set_begun(self, whether: bool) -> None:
        if not self._begun.done():
            self._begun.set_result(whether)

    def _account(self, code: int, cpu_us: int, memory_kib: int) -> dict[str, Any]:
        """Say the same as the launcher would, by the same counters."""
        before, group = self._waiting, self._waiting.group
        usage = group.usage(now=False) if group is not None else Usage()
        spent = group.cpu_s() if group is not None else None
        peak = memory_kib * 1024 if usage.peak_bytes is None else max(0, usage.peak_bytes - before.memory_bytes)
        return {
            "code": code,
            "ran": True,
            "why": "",
            "cpu_s": round(cpu_us / 1e6 if spent is None else max(0.0, spent - before.cpu_s), 6),
            "memory_bytes": peak,
            "out_of_memory": usage.out_of_memory,
            "refused_processes": usage.refused_processes,
            "seconds": round(asyncio.get_running_loop().time() - self._since, 6),
        }

    def _tell(self, wall_s: float) -> None:
        with contextlib.suppress(Problem):
            self.launcher.begin(self.child, wall_s, asyncio.get_running_loop().time() - self._since)

    def _lost(self, _: asyncio.Future[dict[str, Any]]) -> None:
        """Hear that the launcher has cleared it away, or has gone."""
        self._wall.cancel()
        self.let_go()
        if not self._over.done():
            self._over.set_result(None)

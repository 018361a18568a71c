"""One container that runs: its streams, its limits of time, its end, and its removal."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

from superagent.core.commands import Ended
from superagent.core.containment import Isolation
from superagent.core.problems import Conflict, SandboxUnavailable
from superagent.runtime.sandbox.containers.engine import ANSWER_S, Attached, Engine, EngineRefusal
from superagent.runtime.sandbox.containers.streams import Streams

DRAIN_S = 30.0
"""How long the rest of the outputs may take once the command has ended: no more of them than buffers hold."""

LOOK_S = 0.1
"""The shortest time between two looks at what a container used."""

_BY_SIGNAL = {24: "cpu", 25: "file"}  # SIGXCPU, SIGXFSZ
_KILLED = 128 + 9
_NOT_EXECUTED = re.compile(rb"ERROR \(catatonit:\d+\): failed to exec pid1: ([^\n]*)\n?")
"""All that Podman's own first process says where a shell would end with 127 or 126: itself it ends with 1.

A command that says so itself and ends with 1 is taken for one that is not there, which it might as well claim itself.
"""

_NOT_RUNNING = (304, 404, 409)


class ContainerRun:
    """A container from the moment it started; `wait` gives its end when it is removed and its outputs are read.

    `clean` removes what was prepared for it on this machine.
    """

    def __init__(
        self,
        engine: Engine,
        container: str,
        attached: Attached,
        streams: Streams,
        isolation: Isolation,
        clean: Callable[[], None],
    ) -> None:
        self.isolation = isolation
        self._engine = engine
        self._container = container
        self._attached = attached
        self._streams = streams
        self._clean = clean
        self._began = time.monotonic()
        self._killed = False
        self._why = ""
        self._cpu_s = 0.0
        self._memory = 0
        self._life = asyncio.ensure_future(self._live())

    @property
    def ended(self) -> bool:
        """Tell whether nothing of it is left."""
        return self._life.done()

    def memory(self) -> int:
        """Give -1: what a container writes lies on the disk."""
        return -1

    async def wait(self) -> Ended:
        """Wait until nothing of it is left. Raises `SandboxUnavailable` when the engine is gone."""
        return await asyncio.shield(self._life)

    async def signal(self, number: int) -> None:
        """Send a signal to the command. Raises `Conflict` when it has ended."""
        if self._life.done() or not await self._sent(number):
            raise Conflict("the command has ended")

    async def kill(self, why: str = "") -> None:
        """End the container, and return when it is gone; `why` is the limit it met, if it was one."""
        if not self._life.done():
            self._why = self._why or why  # known before the engine answers: the end may be quicker than its answer
            self._killed = True
            await self._sent(9)
        await asyncio.wait([self._life])

    async def _sent(self, number: int) -> bool:
        try:
            await self._engine.ask("POST", f"/containers/{self._container}/kill", query={"signal": str(number)})
        except EngineRefusal as no:
            if no.status in _NOT_RUNNING or "is not running" in no.said:
                return False
            raise SandboxUnavailable(f"the engine could not end a container: {no.said}") from None
        return True

    async def _live(self) -> Ended:
        tasks = [asyncio.ensure_future(one) for one in self._beside()]
        try:
            code = await self._code()
            seconds = time.monotonic() - self._began
            if not (await asyncio.wait(tasks[:1], timeout=DRAIN_S))[0]:
                raise SandboxUnavailable("the engine did not give all that a container wrote")
            state = (await self._engine.ask("GET", f"/containers/{self._container}/json"))["State"]
            return self._ended(code, seconds, out_of_memory=bool(state.get("OOMKilled")))
        except EngineRefusal as no:
            raise SandboxUnavailable(f"the engine lost a container: {no.said}") from None
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await asyncio.shield(self._gone())

    def _beside(self) -> tuple[Coroutine[Any, Any, None], ...]:
        return self._streams.drain(self._attached), self._streams.feed(self._attached), self._wall(), self._cpu()

    async def _code(self) -> int:
        longest = self.isolation.amounts["wall_s"] + 2 * ANSWER_S  # by then it was ended, or the engine hangs
        answer = await self._engine.ask("POST", f"/containers/{self._container}/wait", timeout_s=longest)
        return int(answer["StatusCode"])

    async def _gone(self) -> None:
        await self._attached.close()
        self._streams.close()
        with suppress(SandboxUnavailable):  # whoever sweeps up finds it by its labels
            await remove(self._engine, self._container)
        await asyncio.to_thread(self._clean)

    async def _wall(self) -> None:
        await asyncio.sleep(self.isolation.amounts["wall_s"])
        await self.kill("wall")

    async def _cpu(self) -> None:
        """End it when all its processes together used up their time; looks no sooner than they could have."""
        most, cpus = self.isolation.amounts["cpu_s"], self.isolation.amounts["cpus"]
        while self._cpu_s < most:
            await asyncio.sleep(max(LOOK_S, (most - self._cpu_s) / cpus))
            try:
                await self._look()
            except (EngineRefusal, SandboxUnavailable, KeyError):  # it ends just now, or its waiter says what is wrong
                continue
        await self.kill("cpu")

    async def _look(self) -> None:
        query = {"stream": "false", "one-shot": "true"}
        seen = await self._engine.ask("GET", f"/containers/{self._container}/stats", query=query)
        self._cpu_s = seen["cpu_stats"]["cpu_usage"]["total_usage"] / 1e9
        self._memory = int(seen["memory_stats"].get("max_usage", 0))

    def _ended(self, code: int, seconds: float, *, out_of_memory: bool) -> Ended:
        limit = "memory" if out_of_memory else _BY_SIGNAL.get(code - 128, "")
        if self._killed and code == _KILLED:
            return Ended(None, True, self._why, self._cpu_s, self._memory, seconds)
        missed = _NOT_EXECUTED.fullmatch(self._streams.wrong) if code == 1 else None
        if missed is not None:
            code = 127 if missed[1] == b"No such file or directory" else 126
        return Ended(code, True, limit, self._cpu_s, self._memory, seconds)


async def remove(engine: Engine, container: str) -> None:
    """Remove a container, running or not, with what was made for it. Raises `SandboxUnavailable`."""
    try:
        await engine.ask("DELETE", f"/containers/{container}", query={"force": "1", "v": "1"})
    except EngineRefusal as no:
        if no.status not in _NOT_RUNNING:
            raise SandboxUnavailable(f"the engine could not remove a container: {no.said}") from None

"""The launcher's client: one small process beside this one, started when it is first needed."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import superagent_launcher
from superagent.core.problems import Conflict, SandboxUnavailable
from superagent_launcher.wire import Broken, Wire

ENTRY = Path(superagent_launcher.__file__).with_name("__main__.py")
HELLO_S = 20.0
GONE_S = 10.0


@dataclass(frozen=True, slots=True)
class Abilities:
    """What a launcher can do here.

    `groups` is the version of control groups (0: none), `controllers` what they can limit, `changes_user` whether runs
    get a user of their own, `stage` where folders are put for them to be reached (empty: nowhere).
    """

    groups: int
    controllers: frozenset[str]
    changes_user: bool
    stage: str


@dataclass(slots=True)
class Child:
    """A run, as far as it is known here; `ended` gets the launcher's account, or the problem that it never started."""

    number: int
    ended: asyncio.Future[dict[str, Any]]
    stats: list[asyncio.Future[dict[str, Any]]] = field(default_factory=list[Any])


class Launcher:
    """The process that starts sandboxes for this one.

    It is a fresh small interpreter, not a fork of this process, so it is the same whenever it is started: nothing of
    this process's memory, environment or descriptors reaches it. When this process dies, however that happens, it reads
    the end of its socket and ends all that it started. When it dies itself, the next start makes a new one.
    """

    def __init__(
        self, first_user: int, users: int, program: str = sys.executable, *, uncontained: bool = False
    ) -> None:
        self._uncontained = uncontained
        self._users = (first_user, users)
        self._program = program
        self._process: subprocess.Popen[bytes] | None = None
        self._wire: Wire | None = None
        self._children: dict[int, Child] = {}
        self._numbers = 0
        self._hello: asyncio.Future[Abilities] | None = None
        self._starting = asyncio.Lock()
        self._ending: list[subprocess.Popen[bytes]] = []
        self._tidying: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def pid(self) -> int | None:
        """Give the launcher's process, None when none runs."""
        return self._process.pid if self._process is not None else None

    async def abilities(self) -> Abilities:
        """Give what the launcher can do; starts one if none runs. Raises `SandboxUnavailable`."""
        if self._closed:
            raise SandboxUnavailable("the platform is stopping")
        if self._hello is not None and self._hello.done():
            return self._hello.result()
        async with self._starting:
            if self._hello is None:
                self._hello = self._begin()
            hello = self._hello
        try:
            async with asyncio.timeout(HELLO_S):
                return await asyncio.shield(hello)
        except TimeoutError:
            self._lost()
            raise SandboxUnavailable(
                f"the launcher did not answer within {HELLO_S:g} s", hint="the machine is too busy; try again"
            ) from None

    async def start(self, message: dict[str, Any], descriptors: Sequence[int]) -> Child:
        """Start a run; the descriptors may be closed once this returns. Raises `SandboxUnavailable`."""
        await self.abilities()
        self._numbers += 1
        child = Child(self._numbers, asyncio.get_running_loop().create_future())
        self._children[child.number] = child
        try:
            self._send({"do": "start", "run": child.number, **message}, tuple(descriptors))
        except BaseException:
            self._children.pop(child.number, None)
            raise
        return child

    def begin(self, child: Child, wall_s: float, since_s: float = 0.0) -> None:
        """Let the time and the usage of a run count from now on. Raises `Conflict` when it has ended.

        With `since_s` only the time, and from so long ago on: the usage counts since this was said without.
        """
        if child.ended.done():
            raise Conflict("the command has ended")
        self._send({"do": "begin", "run": child.number, "wall_s": wall_s, "since_s": since_s})

    def signal(self, child: Child, number: int) -> None:
        """Send a signal to the command of a run. Raises `Conflict` when it has ended."""
        if child.ended.done():
            raise Conflict("the command has ended")
        self._send({"do": "signal", "run": child.number, "number": number})

    def kill(self, child: Child) -> None:
        """End a run; wait for `ended` to know that nothing of it is left."""
        if not child.ended.done():
            self._send({"do": "kill", "run": child.number})

    async def stats(self, child: Child) -> dict[str, Any]:
        """Give what a run has used so far. Raises `Conflict` when it has ended."""
        if child.ended.done():
            raise Conflict("the command has ended")
        answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        child.stats.append(answer)
        self._send({"do": "stats", "run": child.number})
        return await answer

    async def close(self) -> None:
        """End the launcher and all that it started, and wait until it is gone."""
        self._closed = True
        self._lost()
        if self._tidying is not None:
            self._tidying.cancel()
            await asyncio.gather(self._tidying, return_exceptions=True)
        for process in self._ending:
            try:
                await asyncio.to_thread(process.wait, GONE_S)
            except subprocess.TimeoutExpired:
                process.kill()
                await asyncio.to_thread(process.wait)
        self._ending.clear()

    # ---- inside

    def _begin(self) -> asyncio.Future[Abilities]:
        loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair()
        with theirs:
            # Popen without `preexec_fn` or `user` starts by vfork: as quick and as small from a large process
            command = [self._program, "-I", "-S", str(ENTRY), str(theirs.fileno()), *map(str, self._users)]
            command += ["uncontained"] if self._uncontained else []
            try:
                self._process = subprocess.Popen(
                    command, pass_fds=[theirs.fileno()], env={}, stdin=subprocess.DEVNULL, cwd="/"
                )
            except OSError as bad:
                ours.close()
                raise SandboxUnavailable(f"the launcher cannot be started: {bad.strerror}") from None
        self._wire = Wire(ours)
        loop.add_reader(ours.fileno(), self._heard)
        return loop.create_future()

    def _send(self, message: dict[str, Any], descriptors: tuple[int, ...] = ()) -> None:
        if self._wire is None:
            raise _ended()
        try:
            if not self._wire.send(message, descriptors):
                asyncio.get_running_loop().add_writer(self._wire.socket.fileno(), self._flush)
        except EOFError:
            self._lost()
            raise _ended() from None

    def _flush(self) -> None:
        assert self._wire is not None
        try:
            if self._wire.flush():
                asyncio.get_running_loop().remove_writer(self._wire.socket.fileno())
        except EOFError:
            self._lost()

    def _heard(self) -> None:
        assert self._wire is not None
        try:
            for said, _ in self._wire.receive():
                self._take(said)
        except (EOFError, Broken):
            self._lost()

    def _take(self, said: dict[str, Any]) -> None:
        match said["event"]:
            case "hello":
                assert self._hello is not None
                abilities = Abilities(
                    said["groups"], frozenset(said["controllers"]), said["uids"][0] < said["uids"][1], said["stage"]
                )
                self._hello.set_result(abilities)
            case "ended":
                child = self._children.pop(said["run"])
                _answer(child.ended, said)
                _refuse(child.stats)
            case "stats":
                child = self._children.get(said["run"])
                if child is not None and child.stats:
                    _answer(child.stats.pop(0), said)
            case "refused":
                self._refused(said)
            case _:  # it was started: nobody waits for that
                pass

    def _refused(self, said: dict[str, Any]) -> None:
        """End a run that never started; what else was asked of one that is gone by now is no fault."""
        child = self._children.get(said["run"])
        if child is None:
            return
        if said.get("of") == "start":
            del self._children[child.number]
            if not child.ended.done():
                child.ended.set_exception(SandboxUnavailable(f"the launcher refused: {said['why']}"))
        _refuse(child.stats)

    def _lost(self) -> None:
        """Let go of a launcher that has ended, or is to end: it reads the end of its socket."""
        wire, self._wire = self._wire, None
        if wire is not None:
            loop = asyncio.get_running_loop()
            loop.remove_reader(wire.socket.fileno())
            loop.remove_writer(wire.socket.fileno())
            wire.close()
        hello, self._hello = self._hello, None
        if hello is not None and not hello.done():
            hello.set_exception(_ended())
            hello.exception()  # looked at, so that it is not reported as lost when nobody waits any more
        children, self._children = self._children, {}
        for child in children.values():
            if not child.ended.done():
                child.ended.set_exception(_ended(started=True))
                child.ended.exception()
            _refuse(child.stats)
        if self._process is not None:
            self._ending = [one for one in (*self._ending, self._process) if one.poll() is None]
            self._process = None
        if children and not self._closed:
            self._tidying = asyncio.create_task(self._tidy())

    async def _tidy(self) -> None:
        """Start the next launcher now: it ends what the kernel did not when the last one was killed."""
        with contextlib.suppress(SandboxUnavailable):
            await self.abilities()


def _ended(started: bool = False) -> SandboxUnavailable:
    return SandboxUnavailable(
        "the launcher has ended, and every sandbox with it",
        hint="try again: a new one is started",
        changed="unknown" if started else "nothing",
    )


def _answer(waiting: asyncio.Future[dict[str, Any]], said: dict[str, Any]) -> None:
    if not waiting.done():
        waiting.set_result(said)


def _refuse(waiting: list[asyncio.Future[dict[str, Any]]]) -> None:
    for one in waiting:
        if not one.done():
            one.set_exception(Conflict("the command has ended"))
    waiting.clear()

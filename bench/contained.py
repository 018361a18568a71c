"""Contained: the sandbox back ends of this machine as the platform opens them, and one command run in each."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from superagent.core.containment import PROFILES
from superagent.core.sessions import Opening
from superagent.runtime.interpreter_reach import kernel_program
from superagent.runtime.sandbox.backend import Backend, Start
from superagent.runtime.sandbox.bubblewrap import find_bubblewrap
from superagent.runtime.sandbox.filters.shipped import filter_for
from superagent.runtime.sandbox.interpreter import Interpreter
from superagent.runtime.sandbox.landlocked import Landlocked
from superagent.runtime.sandbox.launcher import Launcher
from superagent.runtime.sandbox.native import Native
from superagent.runtime.sandbox.pipes import Pipes, in_memory
from superagent.runtime.sandbox.pool import Pooled
from superagent.runtime.sandbox.root_tree import RootTrees
from superagent.runtime.sandbox.terminal import Terminal, set_up
from superagent.runtime.session_reach import PYTHON
from superagent.runtime.terminal_reach import handed_out, shell_program

COMMAND = "/bin/true"
FIRST_USER = 1_900_000_000
OUTPUT_BYTES = 1_000_000
PATIENCE_S = 20.0
MARKER = "marker"
JUDGED_S = 0.0005
"""So long an operation judges its call, about, from the word that a snippet comes to the snippet."""

PROMPT = f"aid={MARKER}\x07$ ".encode()
_PROFILE = PROFILES["workspace-write"]
LEAST = b"""import socket, sys
asked = socket.socket(fileno=int(sys.argv[1]))
while code := asked.recv(65536):
    asked.send(repr(eval(code)).encode())
"""
"""The least that a Python can be which answers expressions."""

LASTING = replace(_PROFILE, limits=replace(_PROFILE.limits, wall_s=3600.0))
"""For sessions, which are open as long as it takes to measure them."""


@dataclass(frozen=True, slots=True)
class World:
    """Back ends by the names that rows have, over one launcher and one workspace."""

    launcher: Launcher
    backends: Mapping[str, Backend]
    pool: Pooled
    workspace: Path
    user: int | None

    async def run(self, name: str, *argv: str) -> float:
        """Run a command in a back end and give the seconds from asking to knowing how it ended.

        Raises `RuntimeError` when it failed: a figure of something that did not happen is none.
        """
        begun = time.perf_counter()
        pipes = Pipes(65_536, _nowhere)
        pipes.give(b"")
        start = Start(
            argv or (COMMAND,), PROFILES["workspace-write"], "bench", workspace=str(self.workspace), user=self.user,
            stdin=pipes.stdin, stdout=pipes.stdout.writing, stderr=pipes.stderr.writing,
        )  # fmt: skip
        try:
            running = await self.backends[name].start(start)
        except BaseException:
            pipes.discard()
            raise
        ended, _, stderr = await pipes.carry(running, OUTPUT_BYTES)
        if ended.code != 0:
            raise RuntimeError(f"`{' '.join(start.argv)}` in {name} ended with {ended}: {stderr.text[:300]}")
        return time.perf_counter() - begun

    async def from_pool(self) -> float:
        """Run the command in a sandbox that waits for it, once there is one; gives the seconds.

        Raises `RuntimeError` when it got a fresh one after all: that is another figure.
        """
        until = asyncio.get_running_loop().time() + PATIENCE_S
        while self.pool.filling or not self.pool.waiting:
            if asyncio.get_running_loop().time() > until:
                raise RuntimeError("no sandbox waits in the pool: /usr/bin/python3 is needed")
            await asyncio.sleep(0.01)
        served = self.pool.served
        seconds = await self.run("pooled")
        if self.pool.served == served:
            raise RuntimeError("a command did not come from the pool")
        return seconds

    @asynccontextmanager
    async def session(self, shell: str) -> AsyncGenerator[Terminal]:
        """Open a shell at a terminal while the body runs."""
        async with self.shell(shell) as outside:
            terminal = Terminal(outside, MARKER, OUTPUT_BYTES)
            await terminal.prompted(0, 0, asyncio.get_running_loop().time() + PATIENCE_S, settle=False)
            try:
                yield terminal
            finally:
                terminal.close()

    @asynccontextmanager
    async def bare(self, shell: str) -> AsyncGenerator[int]:
        """Open a shell at a terminal while the body runs; gives the terminal's controlling side, with nobody at it."""
        async with self.shell(shell) as outside:
            os.set_blocking(outside, True)
            until_prompt(outside)
            try:
                yield outside
            finally:
                os.close(outside)

    @asynccontextmanager
    async def shell(self, shell: str) -> AsyncGenerator[int]:
        """Run a shell as sessions do; gives its terminal's controlling side, which is the body's to close."""
        with ExitStack() as stack:
            ours, theirs = (stack.enter_context(one) for one in socket.socketpair())
            program = shell_program(Opening(shell), set_up(shell, MARKER), theirs.fileno(), stack)
            stdin, stdout, stderr = program.streams
            running = await self.backends["native"].start(
                Start(
                    program.argv, LASTING, "bench", program.env, workspace=str(self.workspace),
                    user=self.user, stdin=stdin, stdout=stdout, stderr=stderr, fds=program.fds,
                )
            )  # fmt: skip
            theirs.close()
            outside = await handed_out(ours, running)
        try:
            yield outside
        finally:
            await running.kill()

    @asynccontextmanager
    async def interpreter(self) -> AsyncGenerator[Interpreter]:
        """Open a Python that runs snippets while the body runs."""
        with ExitStack() as stack:
            program, interpreter = kernel_program("python", stack)
            stdin, stdout, stderr = program.streams
            running = await self.backends["native"].start(
                Start(
                    program.argv, LASTING, "bench", program.env, workspace=str(self.workspace),
                    user=self.user, stdin=stdin, stdout=stdout, stderr=stderr, fds=program.fds,
                )
            )  # fmt: skip
        await interpreter.evaluate("first", "1")
        try:
            yield interpreter
        finally:
            await running.kill()
            interpreter.close()

    @asynccontextmanager
    async def bare_interpreter(self) -> AsyncGenerator[socket.socket]:
        """Run the least Python while the body runs; gives the socket on which it is asked."""
        with ExitStack() as stack:
            ours, theirs = (stack.enter_context(one) for one in socket.socketpair())
            text, null = in_memory(LEAST), os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
            for one in (text, null):
                stack.callback(os.close, one)
            running = await self.backends["native"].start(
                Start(
                    (PYTHON, "/proc/self/fd/8", "7"), LASTING, "bench", workspace=str(self.workspace),
                    user=self.user, stdin=null, stdout=null, stderr=null, fds={7: theirs.fileno(), 8: text},
                )
            )  # fmt: skip
            theirs.close()
            evaluated_bare(ours)
            try:
                yield ours
            finally:
                await running.kill()


async def evaluated(interpreter: Interpreter) -> float:
    """Run a snippet and give the seconds until its value is there. Raises `RuntimeError`."""
    begun = time.perf_counter()
    answer = await interpreter.evaluate("one", "1 + 1")
    interpreter.taken()
    if answer.value is None or answer.value.repr != "2":
        raise RuntimeError(f"`1 + 1` gave {answer}")
    return time.perf_counter() - begun


def evaluated_bare(asked: socket.socket) -> float:
    """Have an expression answered with nothing of ours between; gives the seconds. Raises `RuntimeError`."""
    begun = time.perf_counter()
    asked.send(b"1 + 1")
    said = asked.recv(65_536)
    seconds = time.perf_counter() - begun
    if said != b"2":
        raise RuntimeError(f"`1 + 1` gave {said!r}")
    return seconds


async def typed(terminal: Terminal) -> float:
    """Run the command in a session and give the seconds until its shell says how it ended. Raises `RuntimeError`."""
    begun = time.perf_counter()
    until = asyncio.get_running_loop().time() + PATIENCE_S
    since, prompts = terminal.end, terminal.prompts
    await terminal.write(f"{COMMAND}\n".encode(), until)
    if not await terminal.prompted(prompts, since, until, settle=False) or terminal.exit_code:
        raise RuntimeError(f"`{COMMAND}` in a session ended with {terminal.exit_code}")
    return time.perf_counter() - begun


def until_prompt(outside: int) -> bytes:
    """Read until a shell prompts, and give what it said. Raises `OSError`."""
    said = b""
    while PROMPT not in said:
        said += os.read(outside, 65_536)
    return said


def typed_bare(outside: int) -> float:
    """Run the command in a shell with nothing of ours between; gives the seconds. Raises `RuntimeError`."""
    begun = time.perf_counter()
    os.write(outside, f"{COMMAND}\n".encode())
    said = until_prompt(outside)
    seconds = time.perf_counter() - begun
    if b"133;D;0;" not in said:
        raise RuntimeError(f"`{COMMAND}` in a bare session said {said!r}")
    return seconds


async def forewarned(interpreter: Interpreter) -> float:
    """Run a snippet as an operation does, which says that it comes before it is judged; gives the seconds after."""
    interpreter.expect()
    await asyncio.sleep(JUDGED_S)
    return await evaluated(interpreter)


def plain() -> float:
    """Run the same command by `posix_spawn` and give the seconds that it took."""
    begun = time.perf_counter()
    _, status = os.waitpid(os.posix_spawn(COMMAND, [COMMAND], {}), 0)
    if status:
        raise RuntimeError(f"{COMMAND} ended with {status}")
    return time.perf_counter() - begun


def piped() -> float:
    """Do so with streams as a contained command has: no input, and two pipes that are read to their ends."""
    begun = time.perf_counter()
    (out, stdout), (err, stderr) = os.pipe2(os.O_CLOEXEC), os.pipe2(os.O_CLOEXEC)
    null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    shown = [(os.POSIX_SPAWN_DUP2, one, number) for number, one in enumerate((null, stdout, stderr))]
    pid = os.posix_spawn(COMMAND, [COMMAND], {}, file_actions=shown)
    for one in (null, stdout, stderr):
        os.close(one)
    said = [os.read(one, OUTPUT_BYTES) for one in (out, err)]
    os.close(out)
    os.close(err)
    _, status = os.waitpid(pid, 0)
    if status or any(said):
        raise RuntimeError(f"{COMMAND} ended with {status} and said {said}")
    return time.perf_counter() - begun


@asynccontextmanager
async def world(folder: Path) -> AsyncGenerator[World]:
    """Open the back ends while the body runs. Raises `RuntimeError` when something that they need is missing."""
    if find_bubblewrap() is None:
        raise RuntimeError("bubblewrap is not installed: apt install bubblewrap")
    user = FIRST_USER + 1 if os.geteuid() == 0 else None
    workspace = folder / "workspace"
    workspace.mkdir()
    if user is not None:
        os.chown(workspace, user, user)
    launcher = Launcher(FIRST_USER, 2)
    native = Native(
        launcher,
        RootTrees(folder / "roots"),
        lambda machine, sockets: filter_for(machine, unix=sockets),
        probe_user=user,
    )
    pooled = Pooled(native)
    try:
        backends: dict[str, Backend] = {"native": native, "pooled": pooled, "landlock": Landlocked(launcher)}
        yield World(launcher, backends, pooled, workspace, user)
    finally:
        await pooled.close()
        await launcher.close()


async def _nowhere(chunks: AsyncIterator[bytes]) -> str:
    async for _ in chunks:
        pass
    return ""

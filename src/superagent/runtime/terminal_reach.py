"""The capability `terminals`: shells that stay, each at a terminal of its own."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import socket
from array import array

from superagent.core.commands import Command, Effects
from superagent.core.problems import SandboxUnavailable
from superagent.core.sessions import At, Opening, Over, Screen, Typing
from superagent.runtime.run_reach import MOST_INLINE
from superagent.runtime.sandbox.backend import Running
from superagent.runtime.sandbox.command_network import hear
from superagent.runtime.sandbox.output import readable
from superagent.runtime.sandbox.pipes import in_memory
from superagent.runtime.sandbox.sessions import Session, why_ended
from superagent.runtime.sandbox.terminal import Terminal, set_up
from superagent.runtime.session_reach import PYTHON, Program, SessionReach, first_program, require_enough

KIND = "shell"
NOTHING_CHANGED = Effects(True, "")
OPEN_S = 20.0
GONE_S = 1.0
"""How long what a shell said last is waited for once its terminal is closed."""

_SOCKET, _RC, _INIT = 7, 8, 10


class TerminalReach(SessionReach):
    """Shells of one principal, as one call may use them."""

    async def open(self, wanted: Opening) -> Screen:
        """Open a session with a shell at a terminal, and wait for its first prompt.

        Raises `SandboxUnavailable` when it cannot be contained as policy demands, `Overloaded` when there are too many.
        """
        principal, ground = self._ctx.principal, None
        self.sessions.take_room(principal)
        with contextlib.ExitStack() as stack:
            try:
                ours, theirs = (stack.enter_context(one) for one in socket.socketpair())
                marker = secrets.token_hex(16)
                program = shell_program(wanted, set_up(wanted.shell, marker), theirs.fileno(), stack)
                ground = await self.begun(
                    program, Command(
                        (), wanted.profile, wanted.cwd, limits=wanted.limits, network=wanted.network,
                        connections=wanted.connections,
                    )
                )  # fmt: skip
                theirs.close()
                outside = await handed_out(ours, ground.running)
                most, known = ground.profile.limits.output_bytes, self._ctx.redactor
                terminal = Terminal(outside, marker, most, known)
                session = self.sessions.add(KIND, principal, ground, terminal, wanted.idle_s, self._ctx.stands)
            except BaseException:
                self.sessions.give_room(principal)
                if ground is not None:
                    await ground.drop()
                raise
        try:
            at: At = "prompt" if await terminal.prompted(0, 0, self._until(OPEN_S), settle=False) else "timeout"
            return await self._screen(session, terminal, 0, MOST_INLINE, at)
        except BaseException:
            await self.sessions.drop(session)  # nobody learns its name
            raise

    async def send(self, typing: Typing) -> Screen:
        """Type into a session and give what it says until what is waited for comes, it ends, or time is up."""
        session, terminal = self._found(typing.session)
        async with self.sessions.used(session):
            await self.judged(session)
            if typing.secret is not None:
                terminal.hide("secret", typing.secret)
            since, prompts, until = terminal.end, terminal.prompts, self._until(typing.timeout_s)
            at: At = "timeout"
            with contextlib.suppress(TimeoutError, OSError):
                await terminal.write(typing.data, until)
                if typing.wait_for is None:
                    lines = typing.data.count(b"\n") + typing.data.count(b"\r")
                    at = "prompt" if await terminal.prompted(prompts, since, until, settle=lines > 1) else at
                elif typing.wait_for:
                    at = "match" if await terminal.matched(typing.wait_for, since, until) else at
                else:
                    at = "sent"
            return await self._screen(session, terminal, since, typing.max_bytes, at)

    async def read(self, id: str, since: int, max_bytes: int) -> Screen:
        """Give what a session has said from an offset on; also of one that has ended a short while ago."""
        session, terminal = self._found(id)
        if not session.ended:
            await self.judged(session)
            self.sessions.touch(session)
        return await self._screen(session, terminal, since, max_bytes, "sent")

    async def resize(self, id: str, rows: int, columns: int) -> Screen:
        """Change the size of a session's terminal."""
        session, terminal = self._found(id)
        await self.judged(session)
        terminal.resize(rows, columns)
        self.sessions.touch(session)
        return await self._screen(session, terminal, terminal.end, 0, "sent")

    async def close(self, id: str, *, apply: bool) -> Over:
        """End a session of any kind with all that runs in it, and bring in what it changed, or let that wait.

        Gives why it had ended already, or `closed`.
        """
        session = self.sessions.of(self._ctx.principal, id)
        await self.sessions.end(session, "closed")
        self._ctx.isolation = session.running.isolation
        self.sessions.forget(session)
        effects = None
        if session.ground.held is not None:
            effects = NOTHING_CHANGED
            if session.view:
                effects = await self._views.settled(self._ctx, session.view, apply=apply)
        return Over(session.ended, effects, session.ground.traffic)

    # ---- inside

    def _found(self, id: str) -> tuple[Session, Terminal]:
        session = self.sessions.of(self._ctx.principal, id, (KIND,))
        assert isinstance(session.inside, Terminal)
        return session, session.inside

    def _until(self, seconds: float) -> float:
        return asyncio.get_running_loop().time() + self._seconds(seconds)

    async def _screen(self, session: Session, terminal: Terminal, since: int, most: int, at: At) -> Screen:
        if not session.ended and terminal.flooded:
            await self.sessions.stop(session, "output")
        elif not session.ended and terminal.closed:
            # the shell has gone; what it left in the background goes with it, unless it takes its time to say why
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(GONE_S):
                    await session.running.wait()
            why = await why_ended(session.running) if session.running.ended else "exited"
            await self.sessions.stop(session, why)
            if why == "exited" and session.running.ended:
                terminal.exit_code = (await session.running.wait()).code  # the shell's own, after its last command's
        hear(self._ctx, session.ground.network)
        data, begin, lost = terminal.part(since, min(most, MOST_INLINE))
        return Screen(
            session.id, data, begin, begin + len(data), terminal.end, lost, "ended" if session.ended else at,
            terminal.exit_code, session.ended, session.until, session.view,
        )  # fmt: skip


def shell_program(wanted: Opening, rc: bytes, out: int, stack: contextlib.ExitStack) -> Program:
    """Give what starts a shell at a terminal; what is opened for it is closed with the stack."""
    shell = f"/usr/bin/{wanted.shell}"
    if not os.access(shell, os.X_OK):
        raise SandboxUnavailable(f"`{shell}` is not on this machine", hint=f"install it: `apt install {wanted.shell}`")
    texts = in_memory(rc), in_memory(first_program("terminal_init.py"))
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    for one in (*texts, null):
        stack.callback(os.close, one)
    place = f"/proc/self/fd/{_RC}"
    bash = wanted.shell == "bash"
    command = (shell, "--noprofile", "--rcfile", place, "-i") if bash else (shell, "-i")
    given = {"TERM": "xterm-256color", **wanted.env}
    first = (PYTHON, "-I", "-S", f"/proc/self/fd/{_INIT}", str(_SOCKET), str(wanted.rows), str(wanted.columns), "--")
    fds = {_SOCKET: out, _RC: texts[0], _INIT: texts[1]}
    return Program((*first, *command), (null, null, null), fds, {} if bash else {"ENV": place}, given)


async def handed_out(ours: socket.socket, running: Running) -> int:
    """Take the controlling side of the terminal that was opened inside. Raises `SandboxUnavailable`."""
    ours.setblocking(False)
    try:
        async with asyncio.timeout(OPEN_S):
            await readable(ours.fileno())
        _, ancillary, _, _ = ours.recvmsg(64, socket.CMSG_SPACE(4), socket.MSG_CMSG_CLOEXEC)
    except (TimeoutError, OSError):
        ancillary = []
    if not ancillary:
        if running.ended:
            require_enough(await running.wait())  # which says it when the sandbox itself could not be set up
        raise SandboxUnavailable("the terminal could not be opened inside", hint="see `superagent doctor`")
    return array("i", ancillary[0][2])[0]

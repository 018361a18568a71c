"""The capability `interpreters`: Python and Node that stay, and run one snippet after the other."""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import os
import secrets
import signal
import socket
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any

import msgspec

from superagent.core.commands import Command
from superagent.core.problems import Conflict, InvalidInput, Problem, SandboxUnavailable
from superagent.core.sessions import Evaluated, Snippet
from superagent.runtime.sandbox.backend import Running
from superagent.runtime.sandbox.command_network import hear
from superagent.runtime.sandbox.interpreter import Answer, Error, Gone, Interpreter, Value, plain_of
from superagent.runtime.sandbox.pipes import in_memory
from superagent.runtime.sandbox.sessions import Session, why_ended
from superagent.runtime.session_reach import PYTHON, Program, SessionReach, first_program, require_enough

GRACE_S = 2.0
"""How long a snippet that was interrupted has to end; then its session is ended."""

OPEN_S = 20.0
GONE_S = 1.0
NODES = ("/usr/bin/node", "/usr/bin/nodejs", "/usr/local/bin/node", "/usr/local/sbin/node")
_SOCKET, _WORKER = 7, 8


@dataclass(frozen=True, slots=True)
class Kernel:
    """An interpreter: where it may lie, its worker, how it is started, and how it is had."""

    places: tuple[str, ...]
    worker: str
    options: tuple[str, ...]
    cure: str


KERNELS = {
    "python": Kernel((PYTHON,), "python_worker.py", ("-X", "utf8"), "install it: `apt install python3`"),
    "node": Kernel(NODES, "node_worker.js", ("--preserve-symlinks-main",), "install it: `apt install nodejs`"),
}


class InterpreterReach(SessionReach):
    """Interpreters of one principal, as one call may use them."""

    async def evaluate(self, snippet: Snippet) -> Evaluated:
        """Run a snippet until it ends or its time is up; then it is interrupted, and its session goes on if it can.

        Raises `SandboxUnavailable` when it cannot be contained as policy demands, or when the interpreter is missing.
        """
        if snippet.session:
            return await self._evaluated(self._found(snippet), snippet)
        session = await self._opened(snippet)
        try:
            return await self._evaluated(session, snippet)
        except BaseException:
            await self.sessions.drop(session)  # nobody learns its name
            raise

    # ---- inside

    async def _evaluated(self, session: Session, snippet: Snippet) -> Evaluated:
        interpreter = session.inside
        assert isinstance(interpreter, Interpreter)
        async with self.sessions.used(session):
            if snippet.session:
                interpreter.expect()  # it wakes up while the call is judged
                await self.judged(session)
            loop = asyncio.get_running_loop()
            begun, id = loop.time(), secrets.token_hex(8)
            answer = await self._answered(session, interpreter, id, snippet)
            seconds = loop.time() - begun
            if interpreter.flooded:
                await self.sessions.stop(session, "output")
            elif answer is None or (answer.error is not None and answer.error.type == "SystemExit"):
                await self._left(session)
            stdout, stderr, lost = interpreter.taken()
        hear(self._ctx, session.ground.network)
        value = await self._shown(answer.value) if answer is not None and answer.value is not None else None
        error = msgspec.to_builtins(answer.error) if answer is not None and answer.error is not None else None
        most = snippet.max_bytes
        lost += max(0, len(stdout) - most) + max(0, len(stderr) - most)
        return Evaluated(
            session.id, stdout[:most], stderr[:most], lost, value, error, session.ended, session.until, seconds,
            session.view,
        )  # fmt: skip

    def _found(self, snippet: Snippet) -> Session:
        kinds = (snippet.kernel,) if snippet.kernel else tuple(KERNELS)
        session = self.sessions.of(self._ctx.principal, snippet.session, kinds)
        if session.ended:
            raise Conflict(f"the session has ended: {session.ended}", hint="leave `session` out for a new one")
        return session

    async def _answered(self, session: Session, interpreter: Interpreter, id: str, snippet: Snippet) -> Answer | None:
        """Give the answer of the worker, None when it has gone without one or had to be ended."""
        asking = asyncio.ensure_future(interpreter.evaluate(id, snippet.code))
        try:
            done, _ = await asyncio.wait([asking], timeout=self._seconds(snippet.timeout_s))
            if not done:
                with contextlib.suppress(Problem):
                    await session.running.signal(signal.SIGINT)
                done, _ = await asyncio.wait([asking], timeout=GRACE_S)
                if not done:
                    await self.sessions.stop(session, "timeout")
                    return _late(id, snippet, "its session had to be ended with it")
                answer = asking.result()
                late = _late(id, snippet, "it was interrupted and its session goes on")
                return answer if answer.error is None else msgspec.structs.replace(late, error=_with(late, answer))
            return asking.result()
        except Gone:
            return None
        except asyncio.CancelledError:
            with contextlib.suppress(Problem):  # whoever asked is gone: the snippet must not go on without them
                await session.running.signal(signal.SIGINT)
            raise
        finally:
            if not asking.done():
                asking.cancel()
                await asyncio.wait([asking])
            if not asking.cancelled():
                asking.exception()  # looked at, so that it is not reported as lost: the session's end was its end, too

    async def _left(self, session: Session) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(GONE_S):
                await session.running.wait()
        await self.sessions.stop(session, await why_ended(session.running) if session.running.ended else "exited")

    async def _shown(self, value: Value) -> dict[str, Any]:
        """Give a value as plain data; images become blobs of the caller."""
        shown: dict[str, Any] = {"repr": value.repr, "type": value.type, "mime": {}, "blobs": {}}
        if (plain := plain_of(value.json)) is not msgspec.UNSET:
            shown["json"] = plain
        for kind, text in value.mime.items():
            if kind.startswith("image/") and kind != "image/svg+xml":
                with contextlib.suppress(binascii.Error):
                    shown["blobs"][kind] = await self._store(_once(base64.b64decode(text, validate=True)))
            else:
                shown["mime"][kind] = text
        return shown

    async def _opened(self, snippet: Snippet) -> Session:
        principal, ground, interpreter = self._ctx.principal, None, None
        kernel = snippet.kernel or next(iter(KERNELS))
        self.sessions.take_room(principal)
        try:
            with contextlib.ExitStack() as given:
                program, interpreter = kernel_program(kernel, given)
                wanted = Command((), snippet.profile, limits=snippet.limits, network=snippet.network)
                ground = await self.begun(program, wanted)
            interpreter.left = ground.profile.limits.output_bytes
            await there(ground.running, interpreter)
            return self.sessions.add(kernel, principal, ground, interpreter, snippet.idle_s, self._ctx.stands)
        except BaseException:
            self.sessions.give_room(principal)
            if ground is not None:
                await ground.drop()
            if interpreter is not None:
                interpreter.close()
            raise


async def there(running: Running, interpreter: Interpreter) -> None:
    """Wait until an interpreter has started, so that no snippet pays for that. Raises `SandboxUnavailable`."""
    try:
        async with asyncio.timeout(OPEN_S):
            await interpreter.evaluate("there", "")
    except (Gone, TimeoutError):
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(GONE_S):
                await running.wait()
        if running.ended:
            require_enough(await running.wait())  # which says it when the sandbox itself could not be set up
        said = b"".join(interpreter.taken()[:2]).decode("utf-8", "replace").strip()
        raise SandboxUnavailable(
            f"the interpreter did not start: {said[:500] or 'it said nothing'}", hint="are the limits too small for it?"
        ) from None


def kernel_program(name: str, given: contextlib.ExitStack) -> tuple[Program, Interpreter]:
    """Give what starts an interpreter, and its outer side; what it is handed is closed with the stack.

    Raises `InvalidInput` for a kernel that nobody knows, `SandboxUnavailable` for one that is not on this machine.
    """
    kernel = KERNELS.get(name)
    if kernel is None:
        raise InvalidInput(f"there is no kernel `{name[:60]}`", hint=f"they are {', '.join(KERNELS)}")
    place = next((one for one in kernel.places if os.access(one, os.X_OK)), None)
    if place is None:
        raise SandboxUnavailable(f"`{name}` is not on this machine", hint=kernel.cure)
    worker = in_memory(first_program(kernel.worker))
    null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    (out, stdout), (err, stderr) = os.pipe2(os.O_CLOEXEC), os.pipe2(os.O_CLOEXEC)
    for one in (worker, null, stdout, stderr):
        given.callback(os.close, one)
    ours, theirs = socket.socketpair()
    given.callback(theirs.close)
    argv = (place, *kernel.options, f"/proc/self/fd/{_WORKER}", str(_SOCKET))
    return Program(argv, (null, stdout, stderr), {_SOCKET: theirs.fileno(), _WORKER: worker}), Interpreter(
        ours, out, err
    )


def _late(id: str, snippet: Snippet, then: str) -> Answer:
    message = f"the snippet did not end within {snippet.timeout_s:g} s: {then}"
    return Answer(id, None, Error("Timeout", message, [], message))


def _with(late: Answer, answer: Answer) -> Error:
    """Say that time was up, with the place at which the snippet was interrupted."""
    assert late.error is not None
    assert answer.error is not None
    return msgspec.structs.replace(late.error, traceback=answer.error.traceback)


async def _once(data: bytes) -> AsyncGenerator[bytes]:
    yield data

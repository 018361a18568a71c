"""Process: one plugin in one sandbox for one caller, from its first word to its end."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import socket
from collections import deque
from collections.abc import Callable
from typing import Protocol

import msgspec

from superagent.core.commands import Ended as EndedRun
from superagent.core.problems import Problem
from superagent.hosted import words
from superagent.runtime.hosted.channel import Channel, Ended
from superagent.runtime.hosted.manifests import Found
from superagent.runtime.hosted.quarters import Quarters
from superagent.runtime.sandbox.backend import Running

START_S = 30.0
GONE_S = 10.0
SOON_S = 1.0
"""How long a process that ended the line by itself may take to end, before it is ended."""

MOST_STRANGE = 100
"""How often a process may ask within a call that is not its own, or over: each is a record."""

MOST_ERRORS, ERRORS_PER_S = 1024 * 1024, 16 * 1024
"""How much a process may write to its error stream before it is ended: bytes at once, and for each second it runs."""

_KEPT_ERRORS = 4096
_CHUNK = 65_536
_log = logging.getLogger("superagent")


class Under(Protocol):
    """A call under way in a process."""

    def asked(self, message: words.Message) -> None:
        """Take what the plugin asks within this call; must not wait."""
        ...


class Process:
    """A running plugin. `calls` are those under way, by the id that the plugin knows them by.

    `over` are those that were cancelled and not ended by the plugin yet. `spent` says that it takes no further call: it
    was given a secret. `why` is empty for as long as it runs.
    """

    def __init__(
        self, found: Found, running: Running, channel: Channel, stranger: Callable[[words.Message], str]
    ) -> None:
        self.found = found
        self.calls: dict[str, Under] = {}
        self.spent = False
        self.over: set[str] = set()
        self.idle_since = 0.0
        self.errors: deque[bytes] = deque()
        self.declared: asyncio.Future[words.Declaration] = asyncio.get_running_loop().create_future()
        self.ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.channel = channel
        self._running = running
        self._stranger = stranger
        self._strange = 0
        self._owner: asyncio.Task[None] | None = None

    @property
    def why(self) -> str:
        """Say why it ended, empty while it runs."""
        return self.channel.why

    @property
    def free(self) -> bool:
        """Tell whether it could be ended without anybody noticing."""
        return not self.calls

    @property
    def digest(self) -> str:
        """Name what it declared."""
        return digest_of(self.declared.result())

    def run(self, errors: int) -> None:
        """Hear it from now on, in a task of its own that ends with it."""
        self._owner = asyncio.ensure_future(self._own(errors))

    async def _own(self, errors: int) -> None:
        spent = "it wrote too much to its error stream"
        reading = asyncio.ensure_future(drained(errors, self.errors, lambda: self.channel.close(spent)))
        try:
            why = await self.channel.listen()
            how = None if self.why or why != "it ended" else await self._how(SOON_S)
        except Exception:  # ours: whoever waits for an answer must hear of it all the same
            _log.exception("the line to the plugin %s broke", self.found.manifest.name)
            why, how = "the platform could not go on with it", None
        finally:
            await self._gone()
            await asyncio.wait([reading], timeout=SOON_S)  # what it wrote last says most
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
        if how is not None and how.limit:
            why = f"it met its limit of {how.limit}"
        self.channel.close(why)
        if not self.declared.done():
            self.declared.set_exception(Ended(self.why))
            self.declared.exception()
        self.ended.set_result(self.why)

    async def _gone(self) -> None:
        try:
            async with asyncio.timeout(GONE_S):
                await self._running.kill()
        except (TimeoutError, Problem):
            return  # the launcher ends it with itself

    async def _how(self, patience_s: float) -> EndedRun | None:
        """Say how it ended by itself; None when it did not end in time."""
        try:
            async with asyncio.timeout(patience_s):
                return await self._running.wait()
        except (TimeoutError, Problem):
            return None

    def heard(self, message: words.Message) -> None:
        """Take a request or notification. Raises `Ended` for what no process says."""
        if not self.declared.done():
            match message.method:
                case "declare":
                    try:
                        self.declared.set_result(msgspec.convert(message.params, words.Declaration))
                    except (msgspec.ValidationError, ValueError):
                        raise Ended("what it declared has the wrong shape") from None
                case "broken":
                    trace = str(message.params.get("trace", ""))[-_KEPT_ERRORS:]
                    self.errors.append(trace.encode("utf-8", "replace"))
                    raise Ended("importing it failed")
                case _:
                    raise Ended("it spoke before it had declared anything")
            return
        if message.id is None:
            raise Ended("it told something that nobody asked for")
        name = str(message.params.get("call"))
        call = self.calls.get(name)
        if call is not None:
            call.asked(message)
            return
        if name in self.over:  # it tidies up after a call that was cancelled: nothing is open any more
            said = words.Said("denied", "this call was cancelled")
        else:
            self._strange += 1
            if self._strange > MOST_STRANGE:
                raise Ended("it kept speaking of calls that are not there")
            said = words.Said("denied", self._stranger(message))
        error = words.Error(words.PROBLEM, "problem", said)
        self.channel.answer(message.id, error=error)

    async def end(self, why: str) -> None:
        """End it, and return when nothing of it is left."""
        self.channel.close(why)
        if self._owner is not None:
            await asyncio.wait([self._owner], timeout=2 * GONE_S)


async def start(
    quarters: Quarters, found: Found, tenant: str, user: int | None, stranger: Callable[[words.Message], str]
) -> Process:
    """Start a plugin and wait until it has declared itself. Raises `Ended`, `SandboxUnavailable`."""
    ours, theirs = socket.socketpair()
    reading, writing = os.pipe2(os.O_CLOEXEC)
    try:
        with theirs:
            running = await quarters.start(found, tenant, user, theirs.fileno(), writing)
    except BaseException:
        ours.close()
        os.close(reading)
        raise
    finally:
        os.close(writing)
    ours.setblocking(False)
    reader, writer = await asyncio.open_unix_connection(sock=ours, limit=words.MOST_LINE)
    process: list[Process] = []
    channel = Channel(reader, writer, lambda message: process[0].heard(message))
    process.append(Process(found, running, channel, stranger))
    process[0].run(reading)
    try:
        async with asyncio.timeout(START_S):
            await asyncio.shield(process[0].declared)
    except BaseException as fault:
        await process[0].end("it did not declare itself in time")
        if isinstance(fault, TimeoutError | Ended):
            raise Ended(process[0].why, b"".join(process[0].errors)) from None
        raise
    return process[0]


def digest_of(declaration: words.Declaration) -> str:
    """Give the SHA-256 (hex) of what a plugin declares."""
    return hashlib.sha256(msgspec.json.encode(declaration, order="deterministic")).hexdigest()


async def drained(descriptor: int, kept: deque[bytes], spent: Callable[[], None]) -> None:
    """Read what a process writes to its error stream, keep the end of it, and say when it was too much."""
    loop = asyncio.get_running_loop()
    begun = loop.time()
    os.set_blocking(descriptor, False)
    size = held = 0
    try:
        while True:
            try:
                data = os.read(descriptor, _CHUNK)
            except BlockingIOError:
                ready: asyncio.Future[None] = loop.create_future()
                loop.add_reader(descriptor, lambda one=ready: one.done() or one.set_result(None))
                try:
                    await ready
                finally:
                    loop.remove_reader(descriptor)
                continue
            if not data:
                return
            size, held = size + len(data), held + len(data)
            kept.append(data)
            while held - len(kept[0]) >= _KEPT_ERRORS:
                held -= len(kept.popleft())
            if size > MOST_ERRORS + ERRORS_PER_S * (loop.time() - begun):
                spent()
                return
            await asyncio.sleep(0)
    finally:
        os.close(descriptor)

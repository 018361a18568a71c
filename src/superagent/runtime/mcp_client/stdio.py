"""A server on standard input and output: a contained process, one message a line, everything of it bounded."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

from superagent.core.problems import Problem
from superagent.runtime.hosted.process import drained
from superagent.runtime.mcp_client import messages
from superagent.runtime.mcp_client.asked import CAPABILITIES
from superagent.runtime.mcp_client.messages import ELICIT, Broken, Document, Request
from superagent.runtime.sandbox.backend import Running

GONE_S = 10.0
MOST_ASIDE = 10_000
"""How many messages beside answers a process may send in its life: progress, logs, requests of its own."""
MOST_UNREAD = 8 * 1024 * 1024
_AT_A_TIME = 32

Begin = Callable[[int, int], Awaitable[Running]]
"""Start the process with these descriptors: its end of the line, and its error stream."""


_Said = tuple[Document, bool] | Broken
"""A message, and whether it can only be for the request that hears it; or why there comes none."""


class Stdio:
    """One process of a server. `why` says why it ended, empty while it runs."""

    newest_first = False  # some that only know the older revision leave what they do not know without an answer

    def __init__(self, running: Running, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.changed = False
        self.why = ""
        self.errors: deque[bytes] = deque()
        self._running = running
        self._reader = reader
        self._writer = writer
        self._numbers = 0
        self._asked: dict[int, tuple[asyncio.Queue[_Said], bool]] = {}  # and whether it answers forms
        self._meta: Document = {}
        self._owner: asyncio.Task[None] | None = None

    @classmethod
    async def start(cls, begin: Begin) -> Stdio:
        """Start a process and hear it from now on. Raises `SandboxUnavailable`."""
        ours, theirs = socket.socketpair()
        reading, writing = os.pipe2(os.O_CLOEXEC)
        try:
            with theirs:
                running = await begin(theirs.fileno(), writing)
        except BaseException:
            ours.close()
            os.close(reading)
            raise
        finally:
            os.close(writing)
        ours.setblocking(False)
        reader, writer = await asyncio.open_unix_connection(sock=ours, limit=messages.MOST_BYTES)
        made = cls(running, reader, writer)
        made._owner = asyncio.ensure_future(made._own(reading))
        return made

    def looked(self) -> None:
        """Take note that the tools are looked at now."""
        self.changed = False

    def speak(self, revision: str, stateless: bool) -> None:
        """Say which revision both sides speak from now on."""
        self._meta = meta_of(revision) if stateless else {}

    async def ask(self, request: Request) -> Document:
        """Send a request and give its result; one that takes longer than it may ends the process.

        Raises `Refused`, `Broken`, `TimeoutError`.
        """
        self._numbers += 1
        number = self._numbers
        said: asyncio.Queue[_Said] = asyncio.Queue()
        self._asked[number] = said, request.elicited is not None and not self._meta
        try:
            async with asyncio.timeout(request.timeout_s):
                self._send(messages.write(number, request.method, {**request.params, **self._meta}))
                await self._writer.drain()
                while True:
                    message, alone = await _next(said)
                    if "method" not in message:
                        return messages.result_of(message)
                    await messages.serve(message, request.elicited, self._answer, alone=alone)
        except TimeoutError:
            self.close("it did not answer in time")
            raise
        except ConnectionError:
            raise Broken(self.why or "it ended") from None
        except (asyncio.CancelledError, Problem):  # the caller left, or what the server asks has to be answered first
            with contextlib.suppress(Broken):
                self._send(messages.write(None, "notifications/cancelled", {"requestId": number}))
            raise
        finally:
            self._asked.pop(number, None)

    async def tell(self, method: str, params: Document) -> None:
        """Send a notification."""
        self._send(messages.write(None, method, params))

    def close(self, why: str) -> None:
        """End it; whoever waits for an answer gets `Broken`."""
        if self.why:
            return
        self.why = why
        self._writer.transport.abort()
        for said, _ in self._asked.values():
            said.put_nowait(Broken(why))

    async def end(self, why: str) -> None:
        """End it, and return when nothing of it is left."""
        self.close(why)
        if self._owner is not None:
            await asyncio.wait([self._owner], timeout=2 * GONE_S)

    # ---- inside

    async def _own(self, errors: int) -> None:
        spent = "it wrote too much to its error stream"
        reading = asyncio.ensure_future(drained(errors, self.errors, lambda: self.close(spent)))
        why = "it ended"
        try:
            await self._listen()
        except Broken as fault:
            why = str(fault)
        except ValueError:  # longer than the reader's limit
            why = "it sent a line that is longer than a message can be"
        except OSError:
            pass
        finally:
            self.close(why)
            with contextlib.suppress(TimeoutError, Problem):  # the launcher ends it with itself
                async with asyncio.timeout(GONE_S):
                    await self._running.kill()
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)

    async def _listen(self) -> None:
        aside = count = 0
        while line := await self._reader.readline():
            count += 1
            if not self._take(line):
                aside += 1
                if aside > MOST_ASIDE:
                    raise Broken("it kept sending what nobody asked for")
            if not count % _AT_A_TIME:  # one that never stops writing must not keep others from being heard
                await asyncio.sleep(0)

    def _take(self, line: bytes) -> bool:
        if not line.strip():
            return False
        message = messages.read(line)
        if "method" in message:
            if message["method"] == "notifications/tools/list_changed":
                self.changed = True
            if message["method"] == ELICIT and self._handed_on(message):
                return False
            answer = messages.reply(message)
            if answer is not None:
                self._send(answer)
            return False
        number: Any = message.get("id")
        waiting = self._asked.get(number) if isinstance(number, int) else None
        if waiting is None:
            return False  # an answer that came too late, or to nobody
        waiting[0].put_nowait((message, True))
        return True

    def _handed_on(self, message: Document) -> bool:
        """Hand a form to the request that is open, or the oldest of several."""
        able = [said for said, answers in self._asked.values() if answers]
        if able:
            able[0].put_nowait((message, len(able) == 1))
        return bool(able)

    async def _answer(self, line: bytes) -> None:
        self._send(line)

    def _send(self, line: bytes) -> None:
        if self.why:
            raise Broken(self.why)
        self._writer.write(line + b"\n")
        if self._writer.transport.get_write_buffer_size() > MOST_UNREAD:
            self.close("it reads nothing more")
            raise Broken(self.why)


async def _next(said: asyncio.Queue[_Said]) -> tuple[Document, bool]:
    found = await said.get()
    if isinstance(found, Broken):
        raise found
    return found


def meta_of(revision: str) -> Document:
    """Give what each request of a revision without sessions carries (MCP 2026-07-28, basic)."""
    about = {
        "io.modelcontextprotocol/protocolVersion": revision,
        "io.modelcontextprotocol/clientInfo": CLIENT,
        "io.modelcontextprotocol/clientCapabilities": CAPABILITIES,
    }
    return {"_meta": about}


CLIENT = {"name": "superagent", "version": "1"}

"""The channel: JSON-RPC with one hosted process over one socket, which believes nothing it hears."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec

from superagent.core.principal import Secret
from superagent.hosted import words
from superagent.runtime.hosted.traces import gist

MOST_UNREAD = 32 * 1024 * 1024
"""What may wait to be read by a process, bytes; one that reads no more is ended."""

_AT_A_TIME = 32


class Ended(Exception):
    """The process is gone, or was ended for what it did; the text says why, in our words; `said` is its last output."""

    def __init__(self, why: str, said: bytes = b"") -> None:
        super().__init__(why)
        self.said = said

    @property
    def told(self) -> str:
        """Say why, and what the process said last: for whoever may hear what it says."""
        last = gist(self.said)
        return f"{self}: {last}" if last else str(self)


class Refused(Exception):
    """The process answered with an error."""

    def __init__(self, error: words.Error) -> None:
        super().__init__(error.code)
        self.error = error


class Channel:
    """One line to a process. `heard` takes its requests and notifications; it must not wait."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, heard: Callable[[words.Message], None]
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._heard = heard
        self._numbers = 0
        self._asked: dict[int, asyncio.Future[msgspec.Raw]] = {}
        self.why = ""

    async def listen(self) -> str:
        """Hear everything until it ends, and say why it did: in words of ours, whatever it sent."""
        why = "it ended"
        try:
            count = 0
            while line := await self._reader.readline():
                self._take(line)
                count += 1
                if not count % _AT_A_TIME:  # one that never stops writing must not keep others from being heard
                    await asyncio.sleep(0)
        except Ended as fault:
            why = str(fault)
        except ValueError:  # longer than the reader's limit
            why = "it sent a line that is longer than a message can be"
        except OSError:
            pass
        return why

    def _take(self, line: bytes) -> None:
        try:
            message = words.read(line)
        except (ValueError, RecursionError):
            raise Ended("it sent something that is no message") from None
        if message.method:
            self._heard(message)
            return
        waiting = self._asked.pop(message.id or 0, None)
        if waiting is None:
            raise Ended("it answered something that it was not asked")
        if waiting.done():  # its call was cancelled meanwhile
            return
        if message.error is None:
            waiting.set_result(message.result)
        else:
            waiting.set_exception(Refused(message.error))

    def ask(self, method: str, params: dict[str, Any]) -> asyncio.Future[msgspec.Raw]:
        """Send a request; gives what will hold the answer. Raises `Ended`, `ValueError` when it is too long."""
        self._numbers += 1
        line = _fitting(words.request(self._numbers, method, msgspec.to_builtins(params, enc_hook=revealed)))
        waiting: asyncio.Future[msgspec.Raw] = asyncio.get_running_loop().create_future()
        self._asked[self._numbers] = waiting
        self._send(line)
        return waiting

    def tell(self, method: str, params: dict[str, Any]) -> None:
        """Send a notification."""
        self._send(words.request(None, method, params))

    def answer(self, number: int, result: Any = None, error: words.Error | None = None) -> None:
        """Answer a request; nothing happens when the process is gone meanwhile."""
        if not self.why:
            self._send(words.answer(number, result, error))

    def _send(self, line: bytes) -> None:
        if self.why:
            raise Ended(self.why)
        self._writer.write(_fitting(line))
        if self._writer.transport.get_write_buffer_size() > MOST_UNREAD:
            self.close("it reads nothing more")

    def close(self, why: str) -> None:
        """End it; whoever waits for an answer gets `Ended`."""
        if self.why:
            return
        self.why = why
        self._writer.transport.abort()
        asked, self._asked = self._asked, {}
        for waiting in asked.values():
            if not waiting.done():
                waiting.set_exception(Ended(why))
                waiting.exception()  # looked at, so that it is not reported as lost when nobody waits any more


def _fitting(line: bytes) -> bytes:
    if len(line) > words.MOST_LINE:
        raise ValueError("longer than a message can be")
    return line


def revealed(value: object) -> Any:
    """Give the text of a secret that the plugin was given."""
    if isinstance(value, Secret):
        return value.reveal()
    raise NotImplementedError

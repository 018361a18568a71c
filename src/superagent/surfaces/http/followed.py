"""A stream that is followed as it comes: its events as lines of JSON, stored nowhere; it ends when its caller goes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec

from superagent.core.invocation import Call, Outcome, Status
from superagent.core.kernel import Kernel
from superagent.core.principal import Principal
from superagent.core.problems import Internal, InvalidInput
from superagent.surfaces.http.reply import NDJSON, Reply, Write
from superagent.surfaces.http.request import Receive

UNREAD_S = 30.0
"""So long a caller may read nothing: what it follows holds something open, such as a cursor of a database."""

LINES = b"application/x-ndjson"


class _Lines:
    """One line at a time on its way from a call to its caller; once closed, what comes is dropped."""

    def __init__(self) -> None:
        self._waiting: asyncio.Queue[bytes | None] = asyncio.Queue(1)
        self._closed = False

    async def put(self, line: bytes | None) -> None:
        """Hand a line over when the one before was taken; None is the end."""
        if not self._closed:
            await self._waiting.put(line)

    async def take(self) -> bytes | None:
        """Wait for a line."""
        return await self._waiting.get()

    def close(self) -> None:
        """Let nobody wait any more."""
        self._closed = True
        while not self._waiting.empty():
            self._waiting.get_nowait()


def followed(
    kernel: Kernel, call: Call, principal: Principal, trace: str, receive: Receive, over: Callable[[], None]
) -> Reply:
    """Take a call, and answer with a line for each event, `{"event": …}`, and at last its outcome; then call `over`.

    The call ends when its caller goes, or reads nothing for half a minute. Raises `InvalidInput` for one with a key.
    """
    if call.key:
        raise InvalidInput("a stream that is followed is not remembered", hint="leave `Idempotency-Key` out")

    async def run(write: Write) -> None:
        lines = _Lines()
        doing = asyncio.ensure_future(_carried(kernel, call, principal, trace, lines))
        gone = asyncio.ensure_future(_gone(receive))
        try:
            while (line := await _next(lines, gone)) is not None:
                async with asyncio.timeout(UNREAD_S):
                    await write(line)
        except TimeoutError:
            pass  # whoever reads on later misses the last line, and so knows that this is not all
        finally:
            gone.cancel()
            lines.close()
            if not doing.done():
                doing.cancel()
            await asyncio.wait([gone, doing])
            over()

    return Reply(200, b"", NDJSON[:], run)


async def _carried(kernel: Kernel, call: Call, principal: Principal, trace: str, lines: _Lines) -> None:
    async def tell(event: bytes) -> None:
        await lines.put(b'{"event":' + event + b"}\n")

    try:
        outcome = await kernel.follow(call, principal, "http", tell, trace)
    except Exception as bug:
        id = kernel.hands.clock.new_id()
        kernel.hands.fault(id, bug)
        broken = Internal("something broke inside the platform", changed="unknown")
        outcome = Outcome(id, call.operation, Status.FAILED, problem=broken)
    await lines.put(msgspec.json.encode(outcome.document()) + b"\n")
    await lines.put(None)


async def _next(lines: _Lines, gone: asyncio.Future[None]) -> bytes | None:
    """Give the next line; None after the last, and when the caller has gone."""
    step = asyncio.ensure_future(lines.take())
    try:
        await asyncio.wait([step, gone], return_when=asyncio.FIRST_COMPLETED)
        return None if gone.done() else step.result()
    finally:
        step.cancel()


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass

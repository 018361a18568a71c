"""A server over HTTP: one POST a message (MCP 2025-11-25, Streamable HTTP), by the vetted client, and no redirects."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

from superagent.core.carried import Answer
from superagent.core.problems import Deadline, NeedsInput, Problem
from superagent.runtime.mcp_client import messages
from superagent.runtime.mcp_client.challenged import challenge_of
from superagent.runtime.mcp_client.messages import Broken, Document, Elicited, Expired, Request
from superagent.runtime.mcp_client.mirrored import header_value
from superagent.runtime.mcp_client.opened_by import Opens
from superagent.runtime.mcp_client.stdio import meta_of

LONGEST_SESSION = 200
MOST_EVENTS = 2000
MOST_TIMES_TAKEN_UP = 10
_LONGEST_RETRY_S = 10.0
_SAY_S = 10.0
_BEGIN_S = 2.0
_AT_A_TIME = 32


@dataclass(slots=True)
class Spoken:
    """What was agreed with a server: the revision, the session's id (empty for none), and the number of requests.

    `aside` tells whether the server has a stream for what belongs to no request, `open` how many tools are called now.
    """

    revision: str = ""
    stateless: bool = False
    session: str = ""
    numbers: int = 0
    changed: bool = False
    aside: bool = True
    open: int = 0


class Streamable:
    """One caller's way to a server within one call: `http` is the client of that call's own context."""

    def __init__(self, http: Any, url: str, opens: Opens, spoken: Spoken) -> None:
        self._http = http
        self._url = url
        self._opens = opens
        self._spoken = spoken

    newest_first = True

    @property
    def changed(self) -> bool:
        """Tell whether the server announced other tools."""
        return self._spoken.changed

    def looked(self) -> None:
        """Take note that the tools are looked at now."""
        self._spoken.changed = False

    def speak(self, revision: str, stateless: bool) -> None:
        """Say which revision both sides speak from now on."""
        self._spoken.revision, self._spoken.stateless = revision, stateless

    async def ask(self, request: Request) -> Document:
        """Send a request and give its result. Raises `Refused`, `Broken`, `TimeoutError`, problems of the network."""
        spoken = self._spoken
        spoken.numbers += 1
        number = spoken.numbers
        forms = None if spoken.stateless else request.elicited
        spoken.open += forms is not None
        work = self._asked(number, replace(request, elicited=forms))
        try:
            async with asyncio.timeout(request.timeout_s):
                if forms is None or not spoken.session or not spoken.aside:
                    return await work
                return await self._hearing(work, forms, request.timeout_s)
        except Deadline:
            raise TimeoutError from None
        except NeedsInput:  # a stream that is left alone goes on there (MCP 2025-11-25, transports)
            await self.tell("notifications/cancelled", {"requestId": number, "reason": "it is made again, answered"})
            raise
        finally:
            spoken.open -= forms is not None
            work.close()

    async def tell(self, method: str, params: Document) -> None:
        """Send a notification; what the server says to it is of no interest."""
        await self._say(messages.write(None, method, params))

    # ---- inside

    async def _asked(self, number: int, request: Request) -> Document:
        spoken = self._spoken
        extra = meta_of(spoken.revision) if spoken.stateless else {}
        body = messages.write(number, request.method, {**request.params, **extra})
        events = Events()
        async with self._posted(body, request) as stream:
            answer = stream.answer
            if answer.status == 404 and spoken.session:
                spoken.session = ""
                raise Expired("it has ended the session")
            if request.method == "initialize" and answer.status == 200:
                self._remember(answer.header("mcp-session-id"))
            kind = _kind(answer)
            if kind == "text/event-stream" and answer.status == 200:
                message = await self._among(events, stream.chunks, number, request.elicited)
                data = b""
            else:
                message = None
                data = b"".join([chunk async for chunk in stream.chunks])
        if kind == "text/event-stream" and answer.status == 200:
            return messages.result_of(message or await self._taken_up(events, number, request))
        if kind != "application/json":
            raise Broken(f"it answered {answer.status} with no message")
        message = messages.read(data)
        if "error" not in message and (answer.status != 200 or message.get("id") != number):
            raise Broken(f"it answered {answer.status} with no answer to what was asked")
        return messages.result_of(message)

    def _remember(self, session: str | None) -> None:
        if session is None:
            return
        if not (0 < len(session) <= LONGEST_SESSION and all("!" <= char <= "~" for char in session)):
            raise Broken("it gave a session's id that is none")
        self._spoken.session = session

    async def _of_session(self) -> list[tuple[str, str]]:
        spoken = self._spoken
        headers = [*await self._opens.headers()]
        if spoken.revision:
            headers.append(("MCP-Protocol-Version", spoken.revision))
        if spoken.session:
            headers.append(("Mcp-Session-Id", spoken.session))
        return headers

    @asynccontextmanager
    async def _posted(self, body: bytes, request: Request) -> AsyncGenerator[Any]:
        """Post a message, again where there is something better to show than what was refused. Raises `Unavailable`."""
        own = [("Content-Type", "application/json"), ("Accept", "application/json, text/event-stream")]
        if self._spoken.stateless and request.method:
            own.append(("Mcp-Method", request.method))
            if "name" in request.params:
                own.append(("Mcp-Name", header_value(str(request.params["name"]))))
            own += request.mirrored
        while True:
            async with self._http.stream(
                "POST", self._url, headers=[*own, *await self._of_session()], content=body, follow=0,
                max_bytes=messages.MOST_BYTES, timeout_s=request.timeout_s,
            ) as stream:  # fmt: skip
                if not _closed(stream.answer):
                    yield stream
                    return
                if not await self._opens.again(stream.answer):
                    raise await self._opens.refused(stream.answer)

    async def _say(self, body: bytes) -> None:
        try:
            async with self._posted(body, Request("", {}, _SAY_S)):
                return
        except Deadline:
            return

    async def _taken_up(self, events: Events, number: int, request: Request) -> Document:
        """Ask for the rest of a stream that the server closed before it answered (MCP 2025-11-25, resumability)."""
        for _ in range(MOST_TIMES_TAKEN_UP):
            if self._spoken.stateless or not events.last:
                break
            await asyncio.sleep(min(events.retry_s, _LONGEST_RETRY_S))
            headers = [("Accept", "text/event-stream"), *await self._of_session(), ("Last-Event-ID", events.last)]
            async with self._http.stream(
                "GET", self._url, headers=headers, follow=0, max_bytes=messages.MOST_BYTES, timeout_s=request.timeout_s
            ) as stream:
                if stream.answer.status != 200 or _kind(stream.answer) != "text/event-stream":
                    break
                message = await self._among(events, stream.chunks, number, request.elicited)
                if message is not None:
                    return message
        raise Broken("it ended its stream without an answer")

    async def _among(
        self, events: Events, chunks: AsyncIterator[bytes], number: int, elicited: Elicited | None
    ) -> Document | None:
        """Find the answer among the events of a stream; what the server asks meanwhile is answered, or declined."""
        async for data in events.of(chunks):
            if events.count > MOST_EVENTS:
                raise Broken("it kept sending what nobody asked for")
            message = messages.read(data)
            if "method" not in message and message.get("id") == number:
                return message
            if message.get("method") == "notifications/tools/list_changed":
                self._spoken.changed = True
            await messages.serve(message, elicited, self._say)
        return None

    async def _hearing(self, work: Coroutine[Any, Any, Document], elicited: Elicited, timeout_s: float) -> Document:
        """Do a request, and answer meanwhile what the server asks on its other stream: many ask there."""
        begun: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        faults: list[Exception] = []
        aside = asyncio.ensure_future(self._aside(begun, _noting(elicited, faults, self._spoken), timeout_s))
        owned: list[asyncio.Future[Any]] = [aside]
        try:
            # first the stream: what a server asks while there is none, it may throw away
            await asyncio.wait({aside, begun}, timeout=_BEGIN_S, return_when=asyncio.FIRST_COMPLETED)
            if not begun.done() and not aside.done():
                self._spoken.aside = False
                aside.cancel()
            asked = asyncio.ensure_future(work)
            owned.append(asked)
            await asyncio.wait(owned, return_when=asyncio.FIRST_COMPLETED)
            if not asked.done() and not faults:
                await asyncio.wait({asked})
            if faults:  # then what the tool gave is what it gave unanswered
                await asyncio.wait({aside})
                raise faults[0]
            return await asked
        finally:
            for one in owned:
                one.cancel()
            await asyncio.gather(*owned, return_exceptions=True)

    async def _aside(self, begun: asyncio.Future[None], elicited: Elicited, timeout_s: float) -> None:
        """Hear what belongs to no request, as long as the server says something."""
        headers = [("Accept", "text/event-stream"), *await self._of_session()]
        try:
            async with self._http.stream(
                "GET", self._url, headers=headers, follow=0, max_bytes=messages.MOST_BYTES, timeout_s=timeout_s
            ) as stream:
                if stream.answer.status != 200 or _kind(stream.answer) != "text/event-stream":
                    self._spoken.aside = stream.answer.status == 409  # then another call has it
                    return
                begun.set_result(None)
                await self._among(Events(), stream.chunks, 0, elicited)
        except (Problem, Broken):
            return  # what elicited it is noted, and a stream that breaks off is no answer


class Events:
    """The server-sent events of one answer, over all streams that it comes by (HTML, server-sent events, 9.2.6).

    `last` is the newest event's id, `retry_s` how long the server wants to be left alone before it is asked again.
    """

    def __init__(self) -> None:
        self.count = 0
        self.last = ""
        self.retry_s = 1.0

    async def of(self, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """Give the data of each event that has some.

        Each byte is looked at once, however small the pieces are in which a server sends them.
        """
        rest, data, pieces = bytearray(), list[bytes](), 0
        async for chunk in chunks:
            looked = len(rest)
            rest += chunk
            begun = 0
            while (end := rest.find(b"\n", max(looked, begun))) >= 0:
                line = bytes(rest[begun:end]).removesuffix(b"\r")
                begun = end + 1
                if line.startswith(b"data:"):
                    data.append(line[5:].removeprefix(b" "))
                elif not line:
                    self.count += 1
                    if any(data):
                        yield b"\n".join(data)
                    data = []
                else:
                    self._note(line)
            del rest[:begun]
            pieces += 1
            if not pieces % _AT_A_TIME:  # one that never stops must not keep others from being served
                await asyncio.sleep(0)

    def _note(self, line: bytes) -> None:
        name, _, value = line.partition(b":")
        text = value.removeprefix(b" ").decode("latin-1")
        if name == b"id" and len(text) <= LONGEST_SESSION and all("!" <= char <= "~" for char in text):
            self.last = text
        elif name == b"retry" and text.isdecimal() and len(text) < 10:
            self.retry_s = int(text) / 1000


def _noting(elicited: Elicited, faults: list[Exception], spoken: Spoken) -> Elicited:
    async def noting(params: Document, alone: bool) -> Document:
        try:
            return await elicited(params, alone and spoken.open == 1)
        except (Problem, Broken) as fault:
            faults.append(fault)
            raise

    return noting


def _closed(answer: Answer) -> bool:
    """Tell whether a server wants to be opened: it may say no for other reasons, which are its answers."""
    return answer.status == 401 or (answer.status == 403 and challenge_of(answer).error == "insufficient_scope")


def _kind(answer: Answer) -> str:
    return (answer.header("content-type") or "").partition(";")[0].strip().lower()

"""A server over HTTP: one POST a message (MCP 2025-11-25, Streamable HTTP), by the vetted client, and no redirects."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from typing import Any

from superagent.core.problems import Deadline
from superagent.runtime.mcp_client import messages
from superagent.runtime.mcp_client.messages import Broken, Document, Expired
from superagent.runtime.mcp_client.stdio import meta_of

LONGEST_SESSION = 200
MOST_EVENTS = 2000
_SAY_S = 10.0
_AT_A_TIME = 32


@dataclass(slots=True)
class Spoken:
    """What was agreed with a server: the revision, the session's id (empty for none), and the number of requests."""

    revision: str = ""
    stateless: bool = False
    session: str = ""
    numbers: int = 0
    changed: bool = False


class Streamable:
    """One caller's way to a server within one call: `http` is the client of that call's own context."""

    def __init__(self, http: Any, url: str, headers: Iterable[tuple[str, str]], spoken: Spoken) -> None:
        self._http = http
        self._url = url
        self._headers = tuple(headers)
        self._spoken = spoken

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

    async def ask(self, method: str, params: Document, timeout_s: float) -> Document:
        """Send a request and give its result. Raises `Refused`, `Broken`, `TimeoutError`, problems of the network."""
        spoken = self._spoken
        spoken.numbers += 1
        number = spoken.numbers
        extra = meta_of(spoken.revision) if spoken.stateless else {}
        body = messages.request(number, method, {**params, **extra})
        try:
            async with self._posted(body, method, params, timeout_s) as stream:
                answer = stream.answer
                if answer.status == 404 and spoken.session:
                    spoken.session = ""
                    raise Expired("it has ended the session")
                if method == "initialize" and answer.status == 200:
                    self._remember(answer.header("mcp-session-id"))
                kind = (answer.header("content-type") or "").partition(";")[0].strip().lower()
                if kind == "text/event-stream" and answer.status == 200:
                    return messages.result_of(await self._among(stream.chunks, number))
                data = b"".join([chunk async for chunk in stream.chunks])
        except Deadline:
            raise TimeoutError from None
        if kind != "application/json":
            raise Broken(f"it answered {answer.status} with no message")
        message = messages.read(data)
        if "error" not in message and (answer.status != 200 or message.get("id") != number):
            raise Broken(f"it answered {answer.status} with no answer to what was asked")
        return messages.result_of(message)

    async def tell(self, method: str, params: Document) -> None:
        """Send a notification; what the server says to it is of no interest."""
        await self._say(messages.request(None, method, params))

    # ---- inside

    def _remember(self, session: str | None) -> None:
        if session is None:
            return
        if not (0 < len(session) <= LONGEST_SESSION and all("!" <= char <= "~" for char in session)):
            raise Broken("it gave a session's id that is none")
        self._spoken.session = session

    def _posted(self, body: bytes, method: str, params: Document, timeout_s: float) -> Any:
        spoken = self._spoken
        headers = [
            ("Content-Type", "application/json"),
            ("Accept", "application/json, text/event-stream"),
            *self._headers,
        ]
        if spoken.revision:
            headers.append(("MCP-Protocol-Version", spoken.revision))
        if spoken.session:
            headers.append(("Mcp-Session-Id", spoken.session))
        if spoken.stateless:
            headers.append(("Mcp-Method", method))
            if "name" in params:
                headers.append(("Mcp-Name", str(params["name"])))
        return self._http.stream(
            "POST", self._url, headers=headers, content=body, follow=0, max_bytes=messages.MOST_BYTES,
            timeout_s=timeout_s,
        )  # fmt: skip

    async def _say(self, body: bytes) -> None:
        try:
            async with self._posted(body, "", {}, _SAY_S):
                return
        except Deadline:
            return

    async def _among(self, chunks: AsyncIterator[bytes], number: int) -> Document:
        """Find the answer among the events of a stream; what the server asks meanwhile is declined."""
        count = 0
        async for data in events(chunks):
            count += 1
            if count > MOST_EVENTS:
                raise Broken("it kept sending what nobody asked for")
            message = messages.read(data)
            if "method" not in message and message.get("id") == number:
                return message
            if message.get("method") == "notifications/tools/list_changed":
                self._spoken.changed = True
            answer = messages.reply(message)
            if answer is not None:
                await self._say(answer)
        raise Broken("it ended its stream without an answer")


async def events(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Give the data of each server-sent event that has some (HTML, server-sent events, 9.2.6).

    Each byte is looked at once, however small the pieces are in which a server sends them.
    """
    rest, data, count = bytearray(), list[bytes](), 0
    async for chunk in chunks:
        looked = len(rest)
        rest += chunk
        begun = 0
        while (end := rest.find(b"\n", max(looked, begun))) >= 0:
            line = bytes(rest[begun:end]).removesuffix(b"\r")
            begun = end + 1
            if line.startswith(b"data:"):
                data.append(line[5:].removeprefix(b" "))
            elif not line and data:
                yield b"\n".join(data)
                data = []
        del rest[:begun]
        count += 1
        if not count % _AT_A_TIME:  # one that never stops must not keep others from being served
            await asyncio.sleep(0)

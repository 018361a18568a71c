"""Messages: JSON-RPC as MCP servers speak it (MCP 2025-11-25, basic), read without believing anything."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast

import msgspec

from superagent.core.problems import NeedsInput, Unavailable
from superagent.runtime.hosted.call import shown

MOST_BYTES = 4 * 1024 * 1024
"""The longest message that a server may send, bytes."""
METHOD_NOT_FOUND = -32601
ELICIT = "elicitation/create"

Document = dict[str, Any]
Headers = Sequence[tuple[str, str]]
Elicited = Callable[[Document, bool], Awaitable[Document]]
"""Give the result for a form that a server asks for while a request of ours is open (up to MCP 2025-11-25).

Nothing in it names the request: the second argument tells whether it can only be for this one.
"""


class Refused(Exception):
    """The server answered a request with an error; the text is its own, made fit to be shown."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class Broken(Exception):
    """The server is gone, or did what no server does; the text says what, in our words."""


class Expired(Broken):
    """The server has ended the session, so it has not done what was asked."""


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked of a server, and for how long it is waited.

    `mirrored` says in headers, where there are some, what it holds; `elicited` answers what the server asks meanwhile.
    """

    method: str
    params: Document
    timeout_s: float
    mirrored: Headers = ()
    elicited: Elicited | None = None


class Wire(Protocol):
    """A way to one server for one caller; `newest_first` says which revision is tried first."""

    newest_first: bool

    @property
    def changed(self) -> bool:
        """Tell whether the server announced other tools."""
        ...

    def looked(self) -> None:
        """Take note that the tools are looked at now."""
        ...

    async def ask(self, request: Request) -> Document:
        """Send a request and give its result.

        Raises `Refused`, `Broken`, `TimeoutError`, problems of the network, and what `elicited` raises, which ends the
        request.
        """
        ...

    async def tell(self, method: str, params: Document) -> None:
        """Send a notification."""
        ...

    def speak(self, revision: str, stateless: bool) -> None:
        """Say which revision of the protocol both sides speak from now on."""
        ...


def write(number: int | None, method: str, params: Document) -> bytes:
    """Write a request, or with no number a notification."""
    message: Document = {"jsonrpc": "2.0", "method": method, "params": params}
    return msgspec.json.encode(message if number is None else {**message, "id": number})


def declined(number: Any) -> bytes:
    """Write the answer to whatever a server asks of us: nothing is offered to it, so nothing is given."""
    error = {"code": METHOD_NOT_FOUND, "message": "this client offers nothing to servers"}
    return msgspec.json.encode({"jsonrpc": "2.0", "id": number, "error": error})


def pong(number: Any) -> bytes:
    """Write the answer to a ping."""
    return _result(number, {})


def reply(message: Document) -> bytes | None:
    """Give the answer to a request of a server's, None for what is none."""
    number = message.get("id")
    if "method" not in message or not isinstance(number, int | str):
        return None
    return pong(number) if message["method"] == "ping" else declined(number)


async def serve(
    message: Document, elicited: Elicited | None, say: Callable[[bytes], Awaitable[None]], *, alone: bool = True
) -> None:
    """Answer a request of a server's, a form by `elicited` where there is one. Raises what that raises."""
    number, params = message.get("id"), message.get("params")
    if elicited is None or message.get("method") != ELICIT or not isinstance(number, int | str):
        answer = reply(message)
        if answer is not None:
            await say(answer)
        return
    try:
        said = await elicited(cast(Document, params) if isinstance(params, dict) else {}, alone)
    except NeedsInput:  # the tool shall not wait for whom we ask: it is called again with the answer
        await say(_result(number, {"action": "cancel"}))
        raise
    await say(_result(number, said))


def _result(number: int | str, said: Document) -> bytes:
    return msgspec.json.encode({"jsonrpc": "2.0", "id": number, "result": said})


def read(data: bytes) -> Document:
    """Read one message. Raises `Broken` for what is none."""
    try:
        found: Any = msgspec.json.decode(data)
    except (ValueError, RecursionError):
        raise Broken("it sent something that is no message") from None
    if not isinstance(found, dict) or found.get("jsonrpc") != "2.0":  # pyright: ignore[reportUnknownMemberType]
        raise Broken("it sent something that is no message")
    return cast(Document, found)


def result_of(message: Document) -> Document:
    """Give the result of an answer. Raises `Refused`, `Broken`."""
    if "error" in message:
        said = cast(Document, message["error"]) if isinstance(message["error"], dict) else {}
        code = said.get("code")
        raise Refused(code if isinstance(code, int) else 0, shown(str(said.get("message", "")), 300))
    result = message.get("result")
    if not isinstance(result, dict):
        raise Broken("it answered with something that is no result")
    return cast(Document, result)


def unavailable(server: str, what: str, *, hint: str = "", changed: bool = False) -> Unavailable:
    """Give the problem of a server that did not do its part; `changed` says that it may have done something."""
    return Unavailable(
        f"the MCP server `{server}` {what}",
        hint=hint or "`plugins.review` asks it anew what it offers",
        changed="unknown" if changed else "nothing",
    )

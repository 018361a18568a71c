"""Standard input and output: messages are carried to the server that holds the data folder, and its answers back.

One code path serves both transports: whoever comes by standard input is known by its key, at every message.
"""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
import ssl
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote

import anyio
import httpx2
from mcp.client.streamable_http import streamable_http_client
from mcp.server.stdio import stdio_server
from mcp.shared.inbound import (
    MCP_METHOD_HEADER,
    MCP_NAME_HEADER,
    MCP_PROTOCOL_VERSION_HEADER,
    NAME_BEARING_METHODS,
    encode_header_value,
)
from mcp.shared.message import ClientMessageMetadata, SessionMessage
from mcp_types import (
    PARSE_ERROR,
    PROTOCOL_VERSION_META_KEY,
    ErrorData,
    JSONRPCError,
    JSONRPCNotification,
    JSONRPCRequest,
    JSONRPCResponse,
)

from superagent.core.principal import Secret
from superagent.runtime.clock import SystemClock
from superagent.runtime.instance_lock import Holder, InstanceLock, claim
from superagent.runtime.places import existing
from superagent.runtime.tls import PINNED, trusting

CONNECT_S = 5.0
ENDING_S = 5.0  # for answers that are due when the input has ended
LONGEST_S = 3600.0
"""How long a message may wait for its answer."""


def speak(
    data: Path,
    server: str,
    key: Secret | None,
    toolsets: str,
    serve_while: Callable[[Path, InstanceLock, Callable[[str], Awaitable[None]]], None],
) -> None:
    """Speak MCP until the input ends: with a server that is named, else with the one that holds the data folder.

    Where none does, this process serves the folder meanwhile. Without a key the owner speaks. Raises a `Problem`.
    """
    if server:
        assert key is not None
        asyncio.run(carry(server, key, toolsets))
        return
    places = existing(data)
    lock = claim(places.state, SystemClock().now())

    async def carrying(address: str, verify: ssl.SSLContext | bool = True) -> None:
        await carry(address, key or Secret(places.owner_key.read_text(encoding="ascii").strip()), toolsets, verify)

    if isinstance(lock, Holder):
        own = trusting(places.state / PINNED) if lock.address.startswith("https:") else True
        asyncio.run(carrying(lock.address, own))
    else:
        serve_while(places.data, lock, carrying)


async def carry(address: str, key: Secret, toolsets: str, verify: ssl.SSLContext | bool = True) -> None:
    """Carry messages between standard input and output and the `/mcp` of a server, until the input ends.

    `verify` says whose certificates are believed over TLS.
    """
    for name in ("mcp", "client", "httpx2"):
        logging.getLogger(name).setLevel(logging.WARNING)  # of every request a line is more than anybody reads
    url = f"{address.rstrip('/')}/mcp" + (f"?toolsets={quote(toolsets)}" if toolsets else "")
    timeout = httpx2.Timeout(LONGEST_S, connect=CONNECT_S)
    # the newer revision knows no sessions: what one program does from its start to its end is one
    headers = {"Authorization": f"Bearer {key.reveal()}", "Superagent-Session": f"mcp-{secrets.token_hex(8)}"}
    # what the environment says of proxies is not for a key that goes to this machine
    way = _Way()
    hooks = {"response": [way.hear]}
    async with (
        httpx2.AsyncClient(headers=headers, timeout=timeout, trust_env=False, verify=verify, event_hooks=hooks) as http,
        streamable_http_client(url, http_client=http, max_sse_event_size=None) as (from_server, to_server),
        stdio_server() as (from_client, to_client),
        anyio.create_task_group() as group,
    ):

        async def back() -> None:
            async for message in from_server:
                if isinstance(message, SessionMessage):
                    await to_client.send(SessionMessage(way.explained(message.message)))
                    way.settle(message.message)
            group.cancel_scope.cancel()

        group.start_soon(back)
        async for message in from_client:
            if isinstance(message, Exception):
                fault = ErrorData(code=PARSE_ERROR, message="this line is no message")
                await to_client.send(SessionMessage(JSONRPCError(jsonrpc="2.0", id=None, error=fault)))
                continue
            own = way.headers(message.message)
            await to_server.send(SessionMessage(message.message, metadata=ClientMessageMetadata(headers=own)))
        with anyio.move_on_after(ENDING_S):
            await way.all_answered()
        await to_client.aclose()  # what writes the output ends with it
        group.cancel_scope.cancel()


class _Way:
    """Which headers a message travels with: in the newer revision its own words say, in the older the handshake.

    And why the door refused one: the SDK's client says of that no more than that it did.
    """

    def __init__(self) -> None:
        self._settled = ""
        self._greeting: Any = None
        self._open: set[Any] = set()
        self._answered = anyio.Event()
        self._refused: dict[Any, dict[str, Any]] = {}  # by the id of the message

    async def hear(self, response: httpx2.Response) -> None:
        """Keep the problem with which a message was refused."""
        if response.status_code < 400 or response.headers.get("content-type") != "application/problem+json":
            return
        await response.aread()
        try:
            id = json.loads(response.request.content)["id"]
            self._refused[id] = response.json()
        except (ValueError, KeyError, TypeError):  # a notification has no answer
            return

    def explained(self, message: Any) -> Any:
        """Give an answer as it is, but the error that stands for a refusal with the problem's own words."""
        problem = self._refused.pop(message.id, None) if isinstance(message, JSONRPCError) else None
        if problem is None:
            return message
        text = "; ".join(str(problem[name]) for name in ("detail", "hint") if problem.get(name))
        return message.model_copy(update={"error": ErrorData(code=message.error.code, message=text, data=problem)})

    async def all_answered(self) -> None:
        """Wait until every request has its answer."""
        while self._open:
            self._answered = anyio.Event()
            await self._answered.wait()

    def headers(self, message: Any) -> dict[str, str]:
        """Give the headers of a message that goes to the server."""
        if not isinstance(message, JSONRPCRequest | JSONRPCNotification):
            return self._old()
        params: Mapping[str, Any] = message.params or {}
        if isinstance(message, JSONRPCRequest):
            self._open.add(message.id)
        if isinstance(message, JSONRPCRequest) and message.method == "initialize":
            self._greeting = message.id
            return {}
        meta: Any = params.get("_meta")
        said = cast("dict[str, Any]", meta).get(PROTOCOL_VERSION_META_KEY) if isinstance(meta, dict) else None
        if not isinstance(said, str):
            return self._old()
        headers = {MCP_PROTOCOL_VERSION_HEADER: encode_header_value(said), MCP_METHOD_HEADER: message.method}
        name = params.get(NAME_BEARING_METHODS.get(message.method, ""))
        if isinstance(name, str):
            headers[MCP_NAME_HEADER] = encode_header_value(name)
        return headers

    def settle(self, message: Any) -> None:
        """Hear from the server which revision the handshake agreed on."""
        if isinstance(message, JSONRPCResponse | JSONRPCError):
            self._open.discard(message.id)
            self._answered.set()
        if isinstance(message, JSONRPCResponse) and message.id == self._greeting:
            self._settled = str(message.result.get("protocolVersion", ""))

    def _old(self) -> dict[str, str]:
        return {MCP_PROTOCOL_VERSION_HEADER: self._settled} if self._settled else {}

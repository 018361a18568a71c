"""The short way: a plain `tools/call` of the newer revision is answered without what the SDK builds around a request.

Nothing is decided here, and nothing is refused: a message that is not plain in every respect (it wants to hear of
progress, brings answers, repeats values in headers, or is wrong in any way) takes the usual way and gets the SDK's
answer. Tests compare the two ways.
"""

from __future__ import annotations

import asyncio
import json
from functools import lru_cache
from typing import Any, cast

import msgspec
from mcp.server.runner import modern_error_data
from mcp.shared.exceptions import MCPError
from mcp.shared.inbound import ERROR_CODE_HTTP_STATUS
from mcp_types import (
    CLIENT_CAPABILITIES_META_KEY,
    CLIENT_INFO_META_KEY,
    PROTOCOL_VERSION_META_KEY,
    SERVER_INFO_META_KEY,
    ClientCapabilities,
    InputRequiredResult,
    InputResponses,
)
from mcp_types import methods as protocol
from mcp_types.version import LATEST_MODERN_VERSION
from pydantic import ValidationError

from superagent.core.calls import STEERS
from superagent.core.mounts import Receive, Send, Visit, answer
from superagent.surfaces.mcp.asked import Plain, able_from
from superagent.surfaces.mcp.callers import Caller
from superagent.surfaces.mcp.results import Told
from superagent.surfaces.mcp.server import Tools, repeats

_encode = msgspec.json.encode
PING_S = 15.0
"""For how long a call may be silent before its stream begins: what stands between may cut off who says nothing."""
_VERSION = _encode(LATEST_MODERN_VERSION)
_PARAMETER = b"mcp-param-"
_LONGEST_CLIENT = 2048
_JSON = [(b"content-type", b"application/json")]
_STREAM = [
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-cache, no-transform"),
    (b"connection", b"keep-alive"),
    (b"x-accel-buffering", b"no"),
]
_META = frozenset({PROTOCOL_VERSION_META_KEY, CLIENT_CAPABILITIES_META_KEY, CLIENT_INFO_META_KEY, STEERS})
_EMPTY = msgspec.Raw(b"{}")


class _Params(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    meta: dict[str, msgspec.Raw] = msgspec.field(name="_meta")
    arguments: msgspec.Raw = _EMPTY


class _Message(msgspec.Struct, forbid_unknown_fields=True):
    jsonrpc: str
    id: int | str
    method: str
    params: _Params


_decode = msgspec.json.Decoder(_Message).decode


class _Wanted(msgspec.Struct):
    name: str
    arguments: dict[str, Any]
    input_responses: InputResponses | None = None
    request_state: str | None = None


class Quick:
    """Answer plain calls of one installation; `info` is what the server says of itself in each result."""

    def __init__(self, tools: Tools, info: dict[str, Any]) -> None:
        self._tools = tools
        self._stamp = {SERVER_INFO_META_KEY: info}
        self._meta = b'{"_meta":%b,"content":[' % _encode(self._stamp)

    def plain(self, visit: Visit, body: bytes) -> tuple[int | str, _Wanted, Plain] | None:
        """Read a message; None when it is not plain."""
        headers = visit.headers
        if any(name.startswith(_PARAMETER) for name in headers):
            return None
        try:
            message = _decode(body)
            params = message.params
            if message.jsonrpc != "2.0" or message.method != "tools/call" or not params.meta.keys() <= _META:
                return None
            if headers.get(b"mcp-name") != params.name.encode("ascii"):
                return None
            able = _able(
                bytes(params.meta[PROTOCOL_VERSION_META_KEY]),
                bytes(params.meta[CLIENT_CAPABILITIES_META_KEY]),
                bytes(params.meta.get(CLIENT_INFO_META_KEY, b"")),
            )
            # as the SDK reads them, so that the same numbers come out
            read: Any = json.loads(bytes(params.arguments))
            meta = {STEERS: json.loads(bytes(params.meta[STEERS]))} if STEERS in params.meta else {}
        except (msgspec.DecodeError, KeyError, ValueError, RecursionError):
            return None
        if able is None or not isinstance(read, dict):
            return None
        arguments = cast("dict[str, Any]", read)
        operation = self._tools.meant(params.name, arguments)
        if operation is not None and repeats(operation):
            return None
        return message.id, _Wanted(params.name, arguments), Plain(meta, able)

    async def __call__(self, caller: Caller, found: tuple[int | str, _Wanted, Plain], visit: Visit, send: Send) -> None:
        """Answer a message that is plain."""
        id, wanted, plain = found
        operation = self._tools.meant(wanted.name, wanted.arguments)
        work = self._answer(caller, id, wanted, plain)
        if operation is not None and operation.inline:  # it is over before anybody could go
            status, body = await work
            await answer(send, status, body, _JSON)
        else:
            await _patiently(asyncio.ensure_future(work), visit.receive, send)

    async def _answer(self, caller: Caller, id: int | str, wanted: _Wanted, plain: Plain) -> tuple[int, bytes]:
        try:
            found = await self._tools.called(plain, caller, wanted)
            if isinstance(found, Told):
                return 200, b'{"jsonrpc":"2.0","id":%b,"result":%b}' % (_encode(id), self._told(found))
        except MCPError as fault:
            error = modern_error_data(fault).model_dump(by_alias=True, mode="json", exclude_none=True)
            status = ERROR_CODE_HTTP_STATUS.get(error["code"], 200)
            return status, _encode({"jsonrpc": "2.0", "id": id, "error": error})
        if isinstance(found, InputRequiredResult):
            found = found.model_dump(by_alias=True, mode="json", exclude_none=True)
        return 200, _encode({"jsonrpc": "2.0", "id": id, "result": {**found, "_meta": self._stamp}})

    def _told(self, told: Told) -> bytes:
        before = b"".join(
            block.model_dump_json(by_alias=True, exclude_none=True).encode() + b"," for block in told.blocks
        )
        return b'%b%b{"type":"text","text":%b}],"structuredContent":%b,"isError":%b,"resultType":"complete"}' % (
            self._meta, before, _encode(told.content.decode()), told.content, b"true" if told.failed else b"false",
        )  # fmt: skip


@lru_cache(256)
def _able(version: bytes, capabilities: bytes, info: bytes) -> tuple[str, ...] | None:
    """Give what a client can be asked for by what it says of itself; None when that is not as the protocol wants it."""
    if version != _VERSION or len(capabilities) + len(info) > _LONGEST_CLIENT:
        return None
    said = json.loads(capabilities)
    meta = {PROTOCOL_VERSION_META_KEY: LATEST_MODERN_VERSION, CLIENT_CAPABILITIES_META_KEY: said}
    if info:
        meta[CLIENT_INFO_META_KEY] = json.loads(info)
    try:
        protocol.validate_client_request("tools/call", LATEST_MODERN_VERSION, {"name": "x", "_meta": meta})
        return able_from(ClientCapabilities.model_validate(said, by_name=False), newer=True)
    except ValidationError:
        return None


async def _patiently(work: asyncio.Future[tuple[int, bytes]], receive: Receive, send: Send) -> None:
    """Send an answer once it is there; who hangs up cancels the call, who waits long sees that it is alive."""
    gone = asyncio.ensure_future(_gone(receive))
    begun = False
    try:
        while not work.done():
            await asyncio.wait({work, gone}, timeout=PING_S, return_when=asyncio.FIRST_COMPLETED)
            if gone.done():
                return
            if not work.done():
                if not begun:
                    await send({"type": "http.response.start", "status": 200, "headers": _STREAM})
                    begun = True
                await send({"type": "http.response.body", "body": b": ping\r\n\r\n", "more_body": True})
        status, body = work.result()
        if begun:
            await send({"type": "http.response.body", "body": b"event: message\r\ndata: %b\r\n\r\n" % body})
        else:
            await answer(send, status, body, _JSON)
    finally:
        gone.cancel()
        if not work.done():
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass

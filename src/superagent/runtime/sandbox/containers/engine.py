"""The engine: its HTTP API over a local socket (Docker Engine API 1.41), which Docker and Podman answer."""

from __future__ import annotations

import json
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from typing import Any, cast
from urllib.parse import quote, urlencode

import httpcore

from superagent.core.problems import SandboxUnavailable

VERSION = "v1.41"
"""Docker 20.10's: the first that removes nothing we need; Podman from 4 on answers it too."""

ANSWER_S = 60.0
"""How long an answer may take: an engine on a busy machine needs seconds to make a container."""

_CONNECT_S = 5.0
_READ = 64 * 1024
_UPGRADE = {"Connection": "Upgrade", "Upgrade": "tcp"}


class EngineRefusal(Exception):
    """The engine answered, and said no: `status` as HTTP has it, `said` its own words."""

    def __init__(self, status: int, said: str) -> None:
        super().__init__(f"{said} ({status})")
        self.status = status
        self.said = said


class Attached:
    """A container's streams: one connection that carries input one way and both outputs the other."""

    def __init__(self, response: httpcore.Response) -> None:
        self._response = response
        extensions = cast("dict[str, Any]", response.extensions)  # pyright: ignore[reportUnknownMemberType]
        self._wire = cast("httpcore.AsyncNetworkStream", extensions["network_stream"])

    async def read(self) -> bytes:
        """Give the next bytes, empty at the end."""
        try:
            return await self._wire.read(_READ)
        except httpcore.ReadError:
            return b""

    async def write(self, data: bytes) -> bool:
        """Send input; False when nobody reads it any more."""
        try:
            await self._wire.write(data)
        except httpcore.WriteError:
            return False
        return True

    def end_input(self) -> None:
        """Say that no input will follow."""
        ours = cast("socket.socket", self._wire.get_extra_info("socket"))
        # by a descriptor of its own: what event loops hand out for their sockets cannot always do this
        with suppress(OSError), socket.fromfd(ours.fileno(), socket.AF_UNIX, socket.SOCK_STREAM) as same:
            same.shutdown(socket.SHUT_WR)

    async def close(self) -> None:
        """Close the connection."""
        with suppress(OSError, httpcore.NetworkError):
            await self._response.aclose()


class Engine:
    """One engine, spoken to over the socket at a path; connections are made when they are needed and kept."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._pool = httpcore.AsyncConnectionPool(uds=path, max_connections=None, max_keepalive_connections=4)

    async def ask(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        query: Mapping[str, str] | None = None,
        timeout_s: float = ANSWER_S,
    ) -> Any:
        """Ask something and give the answer, read as JSON, or its text where it is none.

        Raises `EngineRefusal`, and `SandboxUnavailable` when nobody answers in time.
        """
        content = None if body is None else json.dumps(body).encode()
        return await self._ask(method, path, content, "application/json", query, timeout_s)

    async def send(self, path: str, data: bytes, query: Mapping[str, str]) -> Any:
        """Send an archive. Raises as `ask`."""
        return await self._ask("POST", path, data, "application/x-tar", query, ANSWER_S)

    async def _ask(
        self,
        method: str,
        path: str,
        data: bytes | None,
        kind: str,
        query: Mapping[str, str] | None,
        read_s: float,
    ) -> Any:
        response = await self._request(method, path, data, {"Content-Type": kind} if data else {}, query, read_s)
        try:
            text = (await response.aread()).decode("utf-8", "replace")
        except (httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError) as bad:
            raise self._gone(bad) from None
        finally:
            with suppress(httpcore.NetworkError):
                await response.aclose()
        if response.status >= 400:
            raise EngineRefusal(response.status, _message(text))
        return _read(text)

    async def attach(self, container: str, *, stdin: bool) -> Attached:
        """Attach to a container before it starts, so that nothing of what it writes is missed. Raises as `ask`."""
        query = {"stream": "1", "stdout": "1", "stderr": "1", **({"stdin": "1"} if stdin else {})}
        path = f"/containers/{container}/attach"
        response = await self._request("POST", path, None, _UPGRADE, query, ANSWER_S)
        if response.status == 101:
            return Attached(response)
        try:
            text = (await response.aread()).decode("utf-8", "replace") if response.status >= 400 else "no stream came"
        finally:
            await response.aclose()
        raise EngineRefusal(response.status, _message(text))

    async def _request(
        self,
        method: str,
        path: str,
        data: bytes | None,
        headers: Mapping[str, str],
        query: Mapping[str, str] | None,
        read_s: float,
    ) -> httpcore.Response:
        target = f"http://engine/{VERSION}{quote(path)}" + (f"?{urlencode(query)}" if query else "")
        timeout = {"connect": _CONNECT_S, "pool": _CONNECT_S, "write": ANSWER_S, "read": read_s}
        length = {"Content-Length": str(len(data or b""))} if method != "GET" else {}
        request = httpcore.Request(
            method,
            target,
            headers={"Host": "engine", **length, **headers},
            content=data,
            extensions={"timeout": timeout},
        )
        try:
            return await self._pool.handle_async_request(request)
        except (httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError, OSError) as bad:
            raise self._gone(bad) from None

    def _gone(self, bad: Exception) -> SandboxUnavailable:
        return SandboxUnavailable(
            f"nobody answers at `{self.path}`: {str(bad) or type(bad).__name__}", hint="start the engine"
        )

    async def close(self) -> None:
        """Close what is open."""
        await self._pool.aclose()


async def frames(attached: Attached) -> AsyncIterator[tuple[int, bytes]]:
    """Take the two outputs apart: gives the stream (1: output, 2: errors) and bytes of it, as they come.

    Each frame has a head of eight bytes: the stream, three zeros, and the length in big-endian order (Docker Engine
    API, `ContainerAttach`). What a frame holds is given before the whole of it has come.
    """
    head, stream, left = bytearray(), 0, 0
    while data := await attached.read():
        at = 0
        while at < len(data):
            if not left:
                wanted = 8 - len(head)
                head += data[at : at + wanted]
                at += wanted
                if len(head) == 8:
                    stream, left = head[0], int.from_bytes(head[4:], "big")
                    head.clear()
                continue
            part = data[at : at + left]
            at += len(part)
            left -= len(part)
            yield stream, part


def _message(text: str) -> str:
    said = _read(text)
    if isinstance(said, dict):
        found = cast("dict[str, Any]", said)
        return str(found.get("message") or found.get("cause") or text)[:500]
    return text.strip()[:500]


def _read(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text

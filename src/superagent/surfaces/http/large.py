"""Large data: paging, searching and downloading stored results, and uploading inputs."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from typing import Any

import msgspec

from superagent.core.invocation import Status
from superagent.core.problems import InvalidInput, Unavailable
from superagent.surfaces.http.body import pieces
from superagent.surfaces.http.reply import SAFE, Header, Reply, Write, of_data, of_problem
from superagent.surfaces.http.routes import Request

CHUNK = 262_144
_RANGE = re.compile(rb"bytes=([0-9]{0,18})-([0-9]{0,18})")


async def result(request: Request) -> Reply:
    """`GET /v1/results/{handle}`: a page of a large result, or the lines of it that match `grep`."""
    wanted: dict[str, Any] = {"handle": request.parts[1], "offset": request.whole("offset", 0)}
    if "limit" in request.query:
        wanted["limit"] = request.whole("limit", 0)
    if "grep" in request.query:
        wanted["grep"] = request.query["grep"]
    return await request.output("result.read", wanted)


async def raw(request: Request) -> Reply:
    """`GET /v1/results/{handle}/raw`: the bytes, whole or one range of them (RFC 9110, 14)."""
    handle = request.parts[1]
    asked = await request.ask("result.read", {"handle": handle, "limit": 1})
    if asked.status is not Status.DONE:
        return request.reply(asked)
    size: int = msgspec.json.decode(asked.output)["size"]
    # no validators are sent, so the condition of an `If-Range` never holds and the whole is given (RFC 9110, 13.1.5)
    wanted = b"" if b"if-range" in request.headers else request.headers.get(b"range", b"")
    part = range_of(wanted, size)
    if part is not None and part[0] > part[1]:
        return _beyond(size)
    first, last = part or (0, size - 1)
    over = request.hold()
    blobs, principal = request.door.kernel.hands.blobs, request.principal

    async def run(write: Write) -> None:
        try:
            at = first
            while at <= last:
                most = min(CHUNK, last - at + 1)
                chunk, _ = await blobs.read(principal, handle, at, most)
                if not chunk:
                    raise Unavailable("a stored result became shorter while it was read")
                await write(chunk)
                at += len(chunk)
        finally:
            over()

    headers: list[Header] = [
        (b"content-type", b"application/octet-stream"),
        (b"content-length", b"%d" % (last - first + 1)),
        (b"accept-ranges", b"bytes"),
        (b"content-disposition", b"attachment"),
        *SAFE,
    ]
    if part is not None:
        headers.append((b"content-range", b"bytes %d-%d/%d" % (first, last, size)))
    return Reply(206 if part else 200, b"", headers, run)


def range_of(header: bytes, size: int) -> tuple[int, int] | None:
    """Give the first and last byte asked for, None for the whole; the last lies before the first when there are none.

    Several ranges, and what is no range of bytes, are answered with the whole, as the RFC allows.
    """
    found = _RANGE.fullmatch(header)
    if not found or not (found[1] or found[2]):
        return None
    if not found[1]:
        return max(0, size - int(found[2])), size - 1
    first, last = int(found[1]), int(found[2] or size)
    return None if found[2] and last < first else (first, min(last, size - 1))


def _beyond(size: int) -> Reply:
    reply = of_problem(InvalidInput(f"the range lies beyond the {size} bytes there are"))
    document = msgspec.json.decode(reply.body) | {"status": 416}
    return Reply(416, msgspec.json.encode(document), [*reply.headers, (b"content-range", b"bytes */%d" % size)])


async def upload(request: Request) -> Reply:
    """`PUT /v1/blobs`: keep a large input for 24 hours and give its handle."""
    door, principal, size = request.door, request.principal, 0

    async def counted() -> AsyncGenerator[bytes]:
        nonlocal size
        async for piece in pieces(request.receive, request.headers, door.max_blob_bytes):
            size += len(piece)
            yield piece

    door.kernel.beside(principal, "blobs.put")
    over = request.hold()
    try:
        handle = await door.kernel.hands.blobs.put(principal, counted())
    finally:
        over()
    return of_data({"handle": handle, "bytes": size}, status=201)

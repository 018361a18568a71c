"""Bodies: read whole under a cap, or line by line as they arrive; never decompressed."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from superagent.core.problems import Malformed, TooLarge
from superagent.surfaces.http.request import Headers, Message, Receive


async def read_body(receive: Receive, headers: Headers, most: int) -> bytes:
    """Read a request's body.

    Raises `TooLarge`, before anything is read where the length is declared, and `Malformed` when it breaks off or is
    not sent at a pace.
    """
    check_head(headers, most)
    return await read_on(await receive(), receive, most)


async def read_on(message: Message, receive: Receive, most: int) -> bytes:
    """Read the rest of a body whose first message is here. Raises as `read_body` does."""
    if message["type"] == "http.disconnect":
        raise _broken_off()
    parts: list[bytes] = [message["body"]]
    size = len(parts[0])
    while message.get("more_body", False):
        if size > most:
            raise too_large(most)
        if not message["body"]:
            raise _too_slow()
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _broken_off()
        parts.append(message["body"])
        size += len(parts[-1])
    if size > most:
        raise too_large(most)
    return b"".join(parts)


async def pieces(receive: Receive, headers: Headers, most: int) -> AsyncGenerator[bytes]:
    """Give a body piece by piece as it arrives. Raises as `read_body` does."""
    check_head(headers, most)
    size, more = 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _broken_off()
        more = message.get("more_body", False)
        piece: bytes = message["body"]
        if more and not piece:
            raise _too_slow()
        size += len(piece)
        if size > most:
            raise too_large(most)
        yield piece


async def split_lines(receive: Receive, most: int, together: int) -> AsyncGenerator[list[bytes | None]]:
    """Give the lines of a body as they arrive, blank ones left out; None for one that is longer than `most` bytes.

    Those that arrived together come `together`, at most so many. Of a line that the connection broke off nothing is
    given: it may be half of what was meant.
    """
    left, skipping, more = bytearray(), False, True
    found: list[bytes | None] = []
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        more = message.get("more_body", False)
        start = 0
        body: bytes = message["body"]
        while (end := body.find(b"\n", start)) >= 0:
            line = body[start:end]
            start = end + 1
            if left:
                line = bytes(left + line)
                left.clear()
            if not skipping and len(line) > most:
                found.append(None)
            elif not skipping and line and not line.isspace():
                found.append(line)
            skipping = False
            if len(found) == together:
                yield found
                found = []
        if not skipping:
            left += body[start:]
            if len(left) > most:
                found.append(None)
                skipping = True
                left.clear()
        if not more and left.strip():
            found.append(bytes(left))
        if found:
            yield found
            found = []


def check_plain(headers: Headers) -> None:
    """Refuse a compressed body: a small one could unpack to anything. Raises `Malformed`."""
    if headers.get(b"content-encoding", b"identity") != b"identity":
        raise Malformed("compressed bodies are not taken", hint="send it as it is")


def check_head(headers: Headers, most: int) -> None:
    """Refuse a body by what is said of it: compressed, or longer than so much. Raises `Malformed`, `TooLarge`."""
    if b"content-encoding" in headers:
        check_plain(headers)
    declared = headers.get(b"content-length")
    if declared is None:
        return
    if not declared.isdigit():
        raise Malformed("`Content-Length` is not a number of bytes")
    if len(declared) > 15 or int(declared) > most:
        raise too_large(most)


def _broken_off() -> Malformed:
    return Malformed("the connection closed before the body ended")


def _too_slow() -> Malformed:
    # an empty piece that is not the last is how `protocol.py` says that it has waited long enough
    return Malformed("the rest of the body did not arrive in time", hint="send it in one go, 1 KiB a second or more")


def too_large(most: int) -> TooLarge:
    """Give the problem of a body over its cap."""
    return TooLarge(f"the body is longer than {most} bytes", hint="upload it by `PUT /v1/blobs` and pass its handle")

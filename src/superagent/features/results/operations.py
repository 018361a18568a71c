"""Results: page, search and drop large outputs that were stored under a handle."""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Sequence
from typing import Any, Protocol

from superagent.sdk import Context, Effect, Face, InvalidInput, Nothing, Output, Plugin, Principal, Risk

MOST_MATCHES = 1000


class Store(Protocol):
    """Where results lie."""

    def read(self, who: Principal, handle: str, offset: int = 0, limit: int = 65_536) -> Awaitable[tuple[bytes, int]]:
        """Give (bytes, whole size). Raises `NotFound`."""
        ...

    def grep(self, who: Principal, handle: str, pattern: str, limit: int, offset: int) -> Awaitable[Sequence[Any]]:
        """Give matches from an offset on, with `line` (from 1, counted from there), `offset` (bytes) and `text`."""
        ...

    def delete(self, who: Principal, handle: str) -> Awaitable[None]:
        """Drop a result. Raises `NotFound`."""
        ...


class Match(Output):
    """One match: its line (from 1, counted from `offset` on), its byte offset, and the text around it."""

    line: int
    offset: int
    text: str


class Page(Output):
    """A part of a result: `text` when the bytes are UTF-8, else `base64`; `next_offset` None at the end."""

    size: int
    offset: int
    next_offset: int | None
    text: str | None = None
    base64: str | None = None
    matches: list[Match] | None = None


def plugin(store: Store) -> Plugin:
    """Make the plugin over a store of results."""
    result = Plugin("result")

    @result.operation(risk=Risk.LOW, effect=Effect.READ, face=Face(uri="result://{handle}"))
    async def read(ctx: Context, handle: str, offset: int = 0, limit: int = 65_536, grep: str | None = None) -> Page:
        """Read a page of a stored result by byte offset, or its lines that match a pattern (RE2)."""
        if not handle.startswith("blob_"):  # what one uploaded oneself says nothing new
            ctx.source = "a stored result"
        if offset < 0 or not 0 < limit <= 1024 * 1024:
            raise InvalidInput("`offset` must not be negative and `limit` lie between 1 and 1048576")
        if grep is not None:
            found = await store.grep(ctx.principal, handle, grep, MOST_MATCHES + 1, offset)
            _, size = await store.read(ctx.principal, handle, 0, 0)
            hits = [Match(line=one.line, offset=one.offset, text=one.text) for one in found[:MOST_MATCHES]]
            following = found[MOST_MATCHES].offset if len(found) > MOST_MATCHES else None
            return Page(size=size, offset=offset, next_offset=following, matches=hits)
        data, size = await store.read(ctx.principal, handle, offset, limit)
        end = offset + len(data)
        following = end if end < size else None
        try:
            return Page(size=size, offset=offset, next_offset=following, text=data.decode())
        except UnicodeDecodeError:
            return Page(size=size, offset=offset, next_offset=following, base64=base64.b64encode(data).decode())

    @result.operation(
        risk=Risk.LOW, effect=Effect.CHANGE, irreversible="the stored copy is gone; the operation can be run again"
    )
    async def delete(ctx: Context, handle: str) -> Nothing:
        """Drop a stored result or upload before it expires by itself."""
        await store.delete(ctx.principal, handle)
        return Nothing()

    return result

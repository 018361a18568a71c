"""Reading: bodies of calls, without holding up whoever else is served; a long one is read in a thread."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from superagent.core.principal import Principal
from superagent.core.problems import Overloaded
from superagent.core.strict_json import parse_object
from superagent.core.turns import Turns

AT_ONCE_BYTES = 64 * 1024
"""So much is read on the event loop: at the worst that takes 3 ms, and a mebibyte 40."""


class Reading:
    """Read bodies for callers: one long one at a time of each, two in all."""

    def __init__(self, thread: Callable[..., Awaitable[Any]]) -> None:
        self._thread = thread
        self._turns = Turns(1, 2)

    async def object(self, principal: Principal, body: bytes) -> dict[str, Any]:
        """Give the one JSON object of a body. Raises `Malformed` as `parse_object` does, `Overloaded` at the end."""
        if len(body) <= AT_ONCE_BYTES:
            return parse_object(body)
        if not await self._turns.take(principal.bucket):
            raise Overloaded("the platform is stopping")
        try:
            return await self._thread(parse_object, body)
        finally:
            self._turns.give(principal.bucket)

    def close(self) -> None:
        """Send those away who wait."""
        self._turns.close()

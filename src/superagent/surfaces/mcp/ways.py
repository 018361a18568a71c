"""The two ways of a request, as the door knows them before it has loaded the SDK."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from superagent.core.mounts import App, Send, Visit
from superagent.surfaces.mcp.callers import Caller


class ShortWay(Protocol):
    """What answers plain calls without the SDK."""

    def plain(self, visit: Visit, body: bytes) -> Any:
        """Read a message; None when it is not plain."""
        ...

    async def __call__(self, caller: Caller, found: Any, visit: Visit, send: Send) -> None:
        """Answer a message that is."""
        ...


@dataclass(frozen=True, slots=True)
class Engine:
    """What serves a request: the SDK, and for those that are plain the short way."""

    usual: App
    quick: ShortWay

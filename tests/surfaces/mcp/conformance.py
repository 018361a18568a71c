"""Serve a real installation for the conformance suite, which can show no key: the owner's is put into its requests.

Run by hand: `python -m tests.surfaces.mcp.conformance FOLDER PORT`, then the suite against `http://127.0.0.1:PORT/mcp`.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from superagent.app import open_installation
from superagent.asgi import answer, application
from superagent.runtime.net.listening import address_of, listen
from superagent.settings import load
from superagent.surfaces.http.door import Door
from superagent.surfaces.http.request import Receive, Scope, Send
from tests.surfaces.mcp.conformance_more import conformance, switch, switched


class Keyed(Door):
    """The door, as a caller that shows the owner's key sees it."""

    key: bytes = b""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Put the key in."""
        headers: list[Any] = [*scope["headers"], (b"authorization", b"Bearer " + self.key)]
        await super().__call__({**scope, "headers": headers, "query_string": b"toolsets=test"}, receive, send)


@asynccontextmanager
async def served(data: Path, port: int = 0) -> AsyncGenerator[str]:
    """Serve while the body runs, and give the address of the door."""
    limits = {"limits.agent_rate_per_s": 1e6, "limits.agent_burst": 10**6}
    async with open_installation(load(data, limits, environ={}), extra=(conformance,)) as installation:
        switch.turn = switched(installation.kernel)
        door = application(installation)
        door.__class__ = Keyed
        door.key = installation.places.owner_key.read_bytes().strip()  # pyright: ignore[reportAttributeAccessIssue]
        listening, stop = listen("127.0.0.1", port), asyncio.Event()
        installation.authorization.site.served_at(address_of(listening))
        answering = asyncio.create_task(answer(door, listening, stop, fast_lane=False))
        try:
            yield f"{address_of(listening)}/mcp"
        finally:
            stop.set()
            await answering


async def serve(data: Path, port: int) -> None:
    """Serve until the process is ended."""
    async with served(data, port):
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]), int(sys.argv[2])))

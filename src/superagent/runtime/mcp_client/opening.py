"""Opening: the connected MCP servers of an installation, put together."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

from superagent.core.audit import AuditRecord
from superagent.core.ports import Clock
from superagent.runtime.hosted.quarters import Quarters
from superagent.runtime.mcp_client.granted import Grants
from superagent.runtime.mcp_client.records import Records
from superagent.runtime.mcp_client.servers import Servers
from superagent.runtime.mcp_client.sessions import Sessions
from superagent.runtime.places import Places
from superagent.runtime.sandboxes import Sandboxes
from superagent.runtime.stored import Seals

FOLDER = "mcp"
"""Where in the state folder the records of servers lie, and the tokens that are held for them."""


@asynccontextmanager
async def open_servers(
    sandbox: Sandboxes, places: Places, seals: Seals, clock: Clock, note: Callable[[AuditRecord], None]
) -> AsyncGenerator[Servers]:
    """Give the servers, none of them loaded yet; at the end no process of theirs is left."""
    roots = places.state / "sandbox" / "mcp"
    quarters = Quarters(sandbox.launcher, roots, sandbox.probe_user, sandbox.levels.minimum, clock.monotonic)
    grants = Grants(places.state / FOLDER, seals, note, clock.now)
    sessions = Sessions(quarters, grants, sandbox.owners.of, note, clock.now, clock.monotonic)
    try:
        yield Servers(Records(places.state / FOLDER), sessions, note, clock.now)
    finally:
        await sessions.close()

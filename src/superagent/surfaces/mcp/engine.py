"""The engine: the SDK's transport of Streamable HTTP, alive for as long as the door is open."""

from __future__ import annotations

import asyncio
import logging

from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.auth.provider import AccessToken
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager

from superagent.core.kernel import Kernel
from superagent.core.mounts import Visit
from superagent.surfaces.mcp.opened import Opened
from superagent.surfaces.mcp.quick import Quick
from superagent.surfaces.mcp.server import Tools
from superagent.surfaces.mcp.ways import Engine

IDLE_S = 30 * 60.0
MOST_SESSIONS = 4096


async def live(
    kernel: Kernel, sessions: bool, max_body_bytes: int, ready: asyncio.Future[Engine], closing: asyncio.Event
) -> None:
    """Live until the door closes; `ready` gets what serves a request."""
    logging.getLogger("mcp").setLevel(logging.WARNING)  # of every session and request a line is more than anybody reads
    tools = Tools(kernel)
    server = tools.server(sessions=sessions)
    manager = StreamableHTTPSessionManager(
        server,
        stateless=not sessions,
        session_idle_timeout=IDLE_S if sessions else None,
        max_request_body_size=max_body_bytes,
        max_sessions=MOST_SESSIONS,
    )
    try:
        async with manager.run():
            usual = Opened(manager.handle_request) if sessions else manager.handle_request
            ready.set_result(Engine(usual, Quick(tools, server.server_info_stamp)))
            looking = asyncio.create_task(tools.watch.live())
            await closing.wait()
            tools.watch.closing.set()
            await looking
    except BaseException as fault:
        if not ready.done():
            ready.set_exception(fault)
        raise


def user_of(visit: Visit) -> AuthenticatedUser:
    """Give the SDK's idea of who asks: a session belongs to the tenant, principal and key that opened it."""
    who = visit.principal
    owner = "\0".join((who.tenant, who.id, who.key))
    return AuthenticatedUser(AccessToken(token="", client_id=owner, scopes=[]))

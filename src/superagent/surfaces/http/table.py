"""The table of routes below `/v1/`, beside the single POST."""

from __future__ import annotations

from superagent.core.principal import Principal
from superagent.surfaces.http import large, logs, many, routes
from superagent.surfaces.http.door import Door
from superagent.surfaces.http.reply import Reply
from superagent.surfaces.http.request import Headers, Receive, Scope

# (method, first part, number of parts, third part) → handler
_ROUTES: dict[tuple[str, str, int, str], routes.Handler] = {
    ("GET", "operations", 1, ""): routes.search,
    ("GET", "operations", 2, ""): routes.describe,
    ("POST", "batch", 1, ""): many.batch,
    ("POST", "stream", 1, ""): many.lines,
    ("GET", "invocations", 2, ""): routes.invocation,
    ("GET", "invocations", 3, "events"): routes.events_of,
    ("GET", "invocations", 3, "logs"): logs.logs_of,
    ("POST", "invocations", 3, "undo"): routes.undo,
    ("POST", "invocations", 3, "cancel"): routes.cancel,
    ("GET", "results", 2, ""): large.result,
    ("GET", "results", 3, "raw"): large.raw,
    ("PUT", "blobs", 1, ""): large.upload,
    ("GET", "events", 1, ""): routes.feed,
}


async def serve(door: Door, scope: Scope, receive: Receive, headers: Headers, principal: Principal) -> Reply:
    """Find the route of a request and serve it. Raises `NotFound` for none."""
    request = routes.Request(door, scope, receive, headers, principal)
    parts = request.parts
    handler = _ROUTES.get((scope["method"], parts[0], len(parts), parts[2] if len(parts) == 3 else ""))
    if handler is None:
        raise routes.not_here(scope["method"], scope["path"])
    return await handler(request)

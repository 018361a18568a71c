"""The table of routes below `/v1/`, beside the single POST."""

from __future__ import annotations

from superagent.core.principal import Principal
from superagent.core.problems import InvalidInput, Problem, WrongMethod
from superagent.surfaces.http import large, logs, many, routes
from superagent.surfaces.http.door import Door
from superagent.surfaces.http.reply import Reply
from superagent.surfaces.http.request import Headers, Receive, Scope, refuse_rehearsal

_STEERED = "dry_run"  # of a route that reads the headers and the flag by `call_of`

# (method, first part, number of parts, third part) → handler, and the query parameters that it takes
_ROUTES: dict[tuple[str, str, int, str], tuple[routes.Handler, str]] = {
    ("GET", "operations", 1, ""): (routes.search, "q domain max_risk limit cursor"),
    ("GET", "operations", 2, ""): (routes.describe, ""),
    ("POST", "batch", 1, ""): (many.batch, ""),
    ("POST", "stream", 1, ""): (many.lines, ""),
    ("GET", "invocations", 2, ""): (routes.invocation, ""),
    ("GET", "invocations", 3, "events"): (routes.events_of, ""),
    ("GET", "invocations", 3, "logs"): (logs.logs_of, "stream since"),
    ("POST", "invocations", 3, "undo"): (routes.undo, _STEERED),
    ("POST", "invocations", 3, "cancel"): (routes.cancel, ""),
    ("GET", "results", 2, ""): (large.result, "offset limit grep"),
    ("GET", "results", 3, "raw"): (large.raw, ""),
    ("PUT", "blobs", 1, ""): (large.upload, ""),
    ("GET", "events", 1, ""): (routes.feed, ""),
}
_CALLED = ("operations", 2, "")  # what the door serves by itself
_METHODS = ("GET", "POST", "PUT", "QUERY")


async def serve(door: Door, scope: Scope, receive: Receive, headers: Headers, principal: Principal) -> Reply:
    """Find the route of a request and serve it.

    Raises `NotFound` for none, `WrongMethod` where others are taken, `InvalidInput` for parameters that it has not.
    """
    request = routes.Request(door, scope, receive, headers, principal)
    method, parts = scope["method"], request.parts
    place = (parts[0], len(parts), parts[2] if len(parts) == 3 else "")
    handler, taken = _ROUTES.get((method, *place), (None, ""))
    if handler is None:
        raise _nothing(method, scope["path"], place)
    if unknown := request.query.keys() - set(taken.split()):
        others = ", ".join(f"`{one}`" for one in taken.split())
        hint = f"there are {others}" if others else "this address takes none"
        raise InvalidInput(f"there is no parameter `{min(unknown)[:60]}` here", hint=hint)
    if method != "GET" and taken != _STEERED:
        refuse_rehearsal(headers, 'in a batch or a stream each call says `"dry_run": true`; else call the operation')
    return await handler(request)


def _nothing(method: str, path: str, place: tuple[str, int, str]) -> Problem:
    allow = [one for one in _METHODS if (one, *place) in _ROUTES or (place == _CALLED and one in ("POST", "QUERY"))]
    if not allow:
        return routes.not_here(method, path)
    hint = "run an operation by POST" if place == _CALLED else f"it takes {', '.join(allow)}"
    return WrongMethod(f"there is no `{method[:20]} {path[:200]}`", allow=allow, hint=hint)

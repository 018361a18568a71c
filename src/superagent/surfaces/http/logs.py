"""The live log of a job as server-sent events: page after page of `jobs.logs`, each through the line."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

import msgspec

from superagent.core.invocation import Call, Outcome, Status
from superagent.surfaces.http.events import event, last_event_id
from superagent.surfaces.http.reply import Reply
from superagent.surfaces.http.routes import Request

LOOK_S = 10.0


async def logs_of(request: Request) -> Reply:
    """`GET /v1/invocations/{id}/logs?stream=&since=`: what a job writes, as it does; resumes by `Last-Event-ID`.

    The id of an event is the offset to read on from. The last event is `over`.
    """
    after = last_event_id(request.headers.get(b"last-event-id", b""))
    wanted: dict[str, Any] = {
        "id": request.parts[1],
        "stream": request.query.get("stream", "stdout"),
        "since": request.whole("since", 0) if after is None else after,
    }
    first = await request.ask("jobs.logs", wanted)
    if first.status is not Status.DONE:
        return request.reply(first)
    over = request.hold()
    return request.door.streams.reply(_pages(request, wanted, first), request.receive, over)


async def _pages(request: Request, wanted: dict[str, Any], page: Outcome) -> AsyncGenerator[bytes]:
    while page.status is Status.DONE:
        log = msgspec.json.decode(page.output)
        if log["text"]:
            yield event(str(log["next"]), "log", page.output)
        else:
            yield b""
        if log["over"]:
            yield event("", "over", page.output)
            return
        if request.door.streams.closing:
            return
        call = Call("jobs.logs", {**wanted, "since": log["next"], "follow": True}, deadline_s=LOOK_S)
        page = await request.door.kernel.run(call, request.principal, "http", trace=request.trace)
    problem = page.problem.document(page.invocation) if page.problem is not None else {}
    yield event("", "problem", msgspec.json.encode(problem))

"""Leaving: a worker whose successor serves already takes nothing new, and ends once everybody had their answer.

Nothing is cut: each answer from now on says that its connection closes, so that the next request of that client goes to
a successor; a connection on which nothing comes ends as it always does, when it was idle for long enough.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import suppress

import uvicorn

LOOK_S = 0.05
_CLOSES = (b"connection", b"close")
_log = logging.getLogger("superagent")


async def leave(server: uvicorn.Server, calls: Callable[[], int], stop: asyncio.Event, grace_s: float) -> None:
    """Return when no connection and no call is left, after so many seconds, or when told to stop.

    `calls` tells how many are under way; those in the background count as well.
    """
    state = server.server_state
    while not server.started and not stop.is_set():  # it may be told so in the moment between
        await _look(stop)
    if not server.started:
        return
    for listener in server.servers:
        listener.close()
    server.config.encoded_headers.append(_CLOSES)
    state.default_headers = [*state.default_headers, _CLOSES]
    until = time.monotonic() + grace_s
    while (state.connections or calls()) and time.monotonic() < until and not stop.is_set():
        await _look(stop)
    if state.connections or calls():
        _log.warning("%d connections and %d calls were still open when this ended", len(state.connections), calls())


async def _look(stop: asyncio.Event) -> None:
    with suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), LOOK_S)

"""Asking for jobs in tests: begin one, wait for its end, wait for something to become true."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

from tests.surfaces.http.house import Caller
from tests.until import STEP_S


async def begin(caller: Caller, operation: str, input: dict[str, Any]) -> str:
    """Start a call in the background and give its id."""
    response = await caller.call(operation, input, Prefer="respond-async")
    assert response.status_code == 202, response.text
    return response.headers["x-invocation-id"]


async def ended(caller: Caller, id: str, state: str = "done") -> dict[str, Any]:
    """Wait until a job has ended, check how, and give all that is known of it."""
    waited = await caller.done("jobs.wait", {"ids": [id], "timeout_s": 20})
    job = await caller.done("jobs.status", {"id": id})
    assert waited["jobs"] == [{"invocation": id, "state": state, "ended": True}], job
    return job


async def soon(check: Callable[[], Awaitable[Any]], what: str, timeout_s: float = 20.0) -> Any:
    """Give the first true answer of `check`."""
    until = time.monotonic() + timeout_s
    while not (answer := await check()):
        assert time.monotonic() < until, f"{what} did not come within {timeout_s} s"
        await asyncio.sleep(STEP_S)
    return answer


async def running(caller: Caller, id: str) -> None:
    """Wait until a job runs."""

    async def runs() -> bool:
        return (await caller.done("jobs.status", {"id": id}))["state"] == "running"

    await soon(runs, f"the job {id}")

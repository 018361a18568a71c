"""In process: call ASGI applications directly, without a server or a socket, and count the CPU time of a call."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[dict[str, Any], Receive, Send], Awaitable[None]]

# as many calls as a server with 64 connections takes up before its event loop turns to other work
TURN = 64
# long enough for all that a call leaves to the background: its record is on the disk within 50 ms, and in the index
# within the two seconds between two looks of it
SETTLE_S = 2.6
REST_S = 0.2  # between loops, which make records faster than a disk takes them for long
REST_CALLS = 20_000


@dataclass(frozen=True, slots=True)
class Target:
    """An application with the scope and the body of the request that it is called with.

    `rests` is how often it is also watched until all is done that its calls left for later.
    """

    app: App
    scope: Mapping[str, Any]
    body: bytes = b"{}"
    rests: int = 1


def scope_of(path: str, headers: Mapping[str, str], body: bytes = b"{}") -> dict[str, Any]:
    """Give the scope that uvicorn would make of a POST (ASGI 3.0, HTTP connection scope 2.4)."""
    sent = {"host": "127.0.0.1:8750", "content-length": str(len(body)), **headers}
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "server": ("127.0.0.1", 8750),
        "client": ("127.0.0.1", 50000),
        "scheme": "http",
        "method": "POST",
        "root_path": "",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [(name.lower().encode(), value.encode()) for name, value in sent.items()],
        "state": {},
    }


async def call(target: Target) -> tuple[int, bytes]:
    """Call once; gives status and body."""
    status, parts = 0, list[bytes]()

    async def receive() -> Message:
        return {"type": "http.request", "body": target.body, "more_body": False}

    async def send(message: Message) -> None:
        nonlocal status
        status = message.get("status", status)
        parts.append(message.get("body", b""))

    await target.app(dict(target.scope), receive, send)
    return status, b"".join(parts)


@dataclass(frozen=True, slots=True)
class Cost:
    """CPU time of a call in µs, of all threads: while the loop of calls runs, and until all it left is done, too."""

    loops: list[float]
    settled: list[float]

    @property
    def least(self) -> float:
        """Give what a call costs when nobody disturbs."""
        return min(self.loops)


async def loop_of(target: Target, calls: int) -> float:
    """Call so many times; gives the process's CPU time a call in µs. Raises `RuntimeError` for an answer but 200."""
    app, scope = target.app, target.scope
    message = {"type": "http.request", "body": target.body, "more_body": False}
    good = 0

    async def receive() -> Message:
        return message

    async def send(message: Message) -> None:
        nonlocal good
        if message["type"] == "http.response.start":
            good += message["status"] == 200

    start = time.process_time()
    for number in range(calls):
        await app(dict(scope), receive, send)
        if not number % TURN:
            await asyncio.sleep(0)
    used = time.process_time() - start
    if good != calls:
        raise RuntimeError(f"{calls - good} of {calls} calls were not answered with 200")
    return used / calls * 1e6


async def settled(target: Target, calls: int) -> float:
    """Call so many times; gives the process's CPU time a call in µs until it is at rest again."""
    start = time.process_time()
    await asyncio.sleep(SETTLE_S)
    idle = time.process_time() - start
    start = time.process_time()
    await loop_of(target, calls)
    await asyncio.sleep(SETTLE_S)
    return (time.process_time() - start - idle) / calls * 1e6


async def compare(targets: Mapping[str, Target], calls: int, repeats: int, draw: random.Random) -> dict[str, Cost]:
    """Call each in turn, so many times in a loop, in an order drawn anew each time."""
    found = {name: Cost([], []) for name in targets}
    for target in targets.values():
        await loop_of(target, calls)
    for _ in range(repeats):
        order = list(targets)
        draw.shuffle(order)
        for name in order:
            found[name].loops.append(await loop_of(targets[name], calls))
            await asyncio.sleep(REST_S)
    for rest in range(max(target.rests for target in targets.values())):
        for name, target in targets.items():
            if rest < target.rests:
                found[name].settled.append(await settled(target, REST_CALLS))
    return found

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
# long enough for what a call leaves to the background, such as its record's way to the disk and to the index
SETTLE_S = 0.3


@dataclass(frozen=True, slots=True)
class Target:
    """An application with the scope and the body of the request that it is called with."""

    app: App
    scope: Mapping[str, Any]
    body: bytes = b"{}"


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


async def loop_of(target: Target, calls: int) -> float:
    """Call so many times; gives the process' CPU time a call in µs. Raises `RuntimeError` when an answer is not 200.

    It is the time of the whole process, until it has come to rest: what writes the record of a call in the background
    is part of what the call costs.
    """
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
    await asyncio.sleep(SETTLE_S)
    used = time.process_time() - start
    if good != calls:
        raise RuntimeError(f"{calls - good} of {calls} calls were not answered with 200")
    return used / calls * 1e6


async def compare(
    targets: Mapping[str, Target], calls: int, repeats: int, draw: random.Random
) -> dict[str, list[float]]:
    """Call each in turn, in an order drawn anew each time; gives CPU µs a call, by name, in order of the repeats."""
    found: dict[str, list[float]] = {name: [] for name in targets}
    for target in targets.values():
        await loop_of(target, calls)
    for _ in range(repeats):
        order = list(targets)
        draw.shuffle(order)
        for name in order:
            found[name].append(await loop_of(targets[name], calls))
    return found

"""Replies: outcomes and problems as HTTP responses."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import msgspec

from superagent.core.invocation import Outcome, Status
from superagent.core.problems import Problem

_ACCEPTED = frozenset({Status.WAITING, Status.QUEUED, Status.RUNNING})
_encode = msgspec.json.Encoder().encode
_JSON = (b"content-type", b"application/json")
_PROBLEM = (b"content-type", b"application/problem+json")
_SAFE = [(b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff")]


class Reply:
    """One response: status, body, headers."""

    __slots__ = ("body", "headers", "status")

    def __init__(self, status: int, body: bytes, headers: list[tuple[bytes, bytes]]) -> None:
        self.status = status
        self.body = body
        self.headers = headers


def of_outcome(outcome: Outcome) -> Reply:
    """Give the reply to one call."""
    if outcome.problem is not None:
        return of_problem(outcome.problem, outcome.invocation)
    status = 202 if outcome.status in _ACCEPTED else 200
    headers = [_JSON, (b"x-invocation-id", outcome.invocation.encode()), *_SAFE]
    if status == 202:
        headers.append((b"location", f"/v1/invocations/{outcome.invocation}".encode()))
    return Reply(status, outcome.encode(), headers)


def of_problem(problem: Problem, invocation: str = "") -> Reply:
    """Give the reply that says what went wrong (RFC 9457)."""
    headers = [_PROBLEM, *_SAFE]
    if invocation:
        headers.append((b"x-invocation-id", invocation.encode()))
    if problem.status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    if problem.retry_after_s is not None:
        seconds = str(max(1, round(problem.retry_after_s + 0.5))).encode()
        headers += [(b"retry-after", seconds), (b"ratelimit-remaining", b"0"), (b"ratelimit-reset", seconds)]
    return Reply(problem.status, _encode(problem.document(invocation or None)), headers)


def of_data(data: Any, status: int = 200) -> Reply:
    """Give plain data as JSON."""
    return Reply(status, _encode(data), [_JSON, *_SAFE])


async def send_reply(send: Callable[[MutableMapping[str, Any]], Awaitable[None]], reply: Reply) -> None:
    """Send a response whole."""
    reply.headers.append((b"content-length", str(len(reply.body)).encode()))
    await send({"type": "http.response.start", "status": reply.status, "headers": reply.headers})
    await send({"type": "http.response.body", "body": reply.body})

"""Replies: outcomes, problems and streams as HTTP responses."""

from __future__ import annotations

import math
import re
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from superagent.core.invocation import Outcome, Status
from superagent.core.limits import Rate
from superagent.core.problems import Problem, WrongMethod
from superagent.surfaces.http.request import STEERING, Send

Header = tuple[bytes, bytes]
Write = Callable[[bytes], Awaitable[None]]

_ACCEPTED = frozenset({Status.WAITING, Status.QUEUED, Status.RUNNING})
_WAITING = (
    b'{"hint":"a person has to approve this first, and nothing was done yet: do not send it again,'
    b' `GET /v1/invocations/{invocation}` says how it stands",'
)
_UNDER_WAY = b'{"hint":"this goes on in the background: `GET /v1/invocations/{invocation}` says how it stands",'
_encode = msgspec.json.Encoder().encode
_TAGS = re.compile(rb'"([\x21\x23-\x7e\x80-\xff]*)"')  # RFC 9110, 8.8.3; a weak one equals its strong one here
SAFE: list[Header] = [(b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff")]
PLAIN: list[Header] = [(b"content-type", b"application/json"), *SAFE]
"""What the answer to most calls says beside the call's id."""
NDJSON: list[Header] = [(b"content-type", b"application/x-ndjson"), *SAFE]
_PROBLEM: list[Header] = [(b"content-type", b"application/problem+json"), *SAFE]
_SEARCH, _DESCRIBE = "`catalogue.search`", re.compile(r"`superagent describe ([a-z0-9_.]+)`")
_SHOWN = (
    b"x-invocation-id, location, retry-after, ratelimit-limit, ratelimit-remaining, ratelimit-reset, "
    b"content-range, etag"
)


class Reply:
    """One response: status, body, headers. With `stream` the body is what that writes, after what stands in `body`."""

    __slots__ = ("body", "headers", "status", "stream")

    def __init__(
        self, status: int, body: bytes, headers: list[Header], stream: Callable[[Write], Awaitable[None]] | None = None
    ) -> None:
        self.status = status
        self.body = body
        self.headers = headers
        self.stream = stream


def of_outcome(outcome: Outcome) -> Reply:
    """Give the reply to one call."""
    if outcome.problem is not None:
        return of_problem(outcome.problem, outcome.invocation)
    headers = [(b"x-invocation-id", outcome.invocation.encode()), *PLAIN]
    if outcome.tag:
        headers.append((b"etag", b'"%b"' % outcome.tag.encode()))
    if outcome.status not in _ACCEPTED:
        return Reply(200, outcome.encode(), headers)
    headers.append((b"location", f"/v1/invocations/{outcome.invocation}".encode()))
    return Reply(202, outcome.encode(_WAITING if outcome.status is Status.WAITING else _UNDER_WAY), headers)


def of_query(outcome: Outcome, known: bytes) -> Reply:
    """Give the reply to a QUERY whose caller has the answers of these tags (`If-None-Match`): 304 for one of them.

    Such an answer may be kept by its caller, who has to ask each time whether it still holds: then it is judged again.
    """
    reply = of_outcome(outcome)
    if outcome.tag:
        reply.headers = [one for one in reply.headers if one[0] != b"cache-control"]
        reply.headers.append((b"cache-control", b"private, no-cache"))
        if known.strip() == b"*" or outcome.tag.encode() in _TAGS.findall(known):
            reply.status, reply.body = 304, b""
            reply.headers = [one for one in reply.headers if one[0] != b"content-type"]
    return reply


def of_problem(problem: Problem, invocation: str = "", rate: Rate | None = None) -> Reply:
    """Give the reply that says what went wrong (RFC 9457); `rate` is the limit that was met."""
    headers = _PROBLEM[:]
    if invocation:
        headers.append((b"x-invocation-id", invocation.encode()))
    if problem.status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    if isinstance(problem, WrongMethod):
        headers.append((b"allow", ", ".join(problem.allow).encode()))
    if problem.retry_after_s is not None:
        seconds = str(max(1, math.ceil(problem.retry_after_s))).encode()
        headers.append((b"retry-after", seconds))
        if rate is not None:
            headers += [(b"ratelimit-limit", b"%d" % rate.burst), (b"ratelimit-remaining", b"0")]
            headers.append((b"ratelimit-reset", seconds))
    document = problem.document(invocation or None)
    if hint := document.get("hint"):
        document["hint"] = _by_address(hint)
    return Reply(problem.status, _encode(document), headers)


def _by_address(hint: str) -> str:
    """Say beside what a hint names how it is asked for here; the command line and the console show the same hint."""
    hint = hint.replace(_SEARCH, f"{_SEARCH} (`GET /v1/operations?q=WORDS`)")
    return _DESCRIBE.sub(r"\g<0> or `GET /v1/operations/\1`", hint)


def challenged(problem: Problem, origin: str, path: str, shown: bool) -> Reply:
    """Give the reply to who is not known, with the way to a token for the door at a path (RFC 6750, 3; RFC 9728, 5.1).

    `origin` is our own address as the caller used it, empty when it is none of ours; `shown` says that it showed one.
    """
    reply = of_problem(problem)
    error = 'error="invalid_token", ' if shown else ""
    metadata = f"{origin}/.well-known/oauth-protected-resource{path}"
    told = f'Bearer {error}resource_metadata="{metadata}", scope="*:read"' if origin else "Bearer"
    reply.headers = [one for one in reply.headers if one[0] != b"www-authenticate"]
    reply.headers.append((b"www-authenticate", told.encode()))
    return reply


def short_of_scope(problem: Problem, origin: str, path: str, scope: str, invocation: str = "") -> Reply:
    """Give the 403 to a token that lacks a scope (`core.scopes.lacking`), with what to ask for (RFC 6750, 3.1)."""
    reply = of_problem(problem, invocation)
    metadata = f"{origin}/.well-known/oauth-protected-resource{path}"
    told = f'Bearer error="insufficient_scope", scope="{scope}", resource_metadata="{metadata}"'
    reply.headers.append((b"www-authenticate", told.encode()))
    return reply


def of_data(data: Any, status: int = 200) -> Reply:
    """Give plain data as JSON."""
    return of_text(_encode(data), status)


def of_text(text: bytes, status: int = 200) -> Reply:
    """Give what is JSON already."""
    return Reply(status, text, PLAIN[:])


async def send_reply(send: Send, reply: Reply) -> None:
    """Send a response, whole or as it comes."""
    headers, body = reply.headers, reply.body
    if reply.stream is None:
        if reply.status != 304:  # it would have to be the length of what is not sent (RFC 9110, 8.6)
            headers.append((b"content-length", b"%d" % len(body)))
        await send({"type": "http.response.start", "status": reply.status, "headers": headers})
        await send({"type": "http.response.body", "body": body})
        return

    async def write(data: bytes) -> None:
        await send({"type": "http.response.body", "body": data, "more_body": True})

    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    if body:
        await write(body)
    await reply.stream(write)
    await send({"type": "http.response.body", "body": b""})


def preflight(origin: bytes) -> Reply:
    """Give the answer to a CORS preflight of an origin that the settings list."""
    asked = b"authorization, content-type, x-api-key, traceparent, range, last-event-id, if-none-match, " + STEERING
    headers = [
        (b"access-control-allow-origin", origin),
        (b"access-control-allow-methods", b"GET, POST, PUT, QUERY"),
        (b"access-control-allow-headers", asked),
        (b"access-control-max-age", b"600"),
        (b"vary", b"origin"),
    ]
    return Reply(204, b"", headers)


def shared_with(send: Send, origin: bytes) -> Send:
    """Let a page of an origin that the settings list read what is sent."""

    async def sending(message: Any) -> None:
        if message["type"] == "http.response.start":
            own = [
                (b"access-control-allow-origin", origin),
                (b"access-control-expose-headers", _SHOWN),
                (b"vary", b"origin"),
            ]
            message = {**message, "headers": [*message["headers"], *own]}
        await send(message)

    return sending

"""What a request says beside its body: the key, the headers and flags that steer a call, the trace it belongs to."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import parse_qsl

from superagent.core.calls import isolation_of, means_dry_run
from superagent.core.invocation import Call
from superagent.core.problems import InvalidInput, Malformed, Unauthenticated

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Headers = dict[bytes, bytes]

OPERATIONS = "/v1/operations/"
LONGEST_WAIT_S = 60.0
STEERS = frozenset(
    b"idempotency-key x-dry-run superagent-deadline superagent-reason superagent-max-bytes superagent-isolation"
    b" superagent-session prefer".split()
)
ORDINARY = frozenset(
    b"host authorization x-api-key content-type content-length user-agent accept accept-encoding accept-language"
    b" connection".split()
)
"""What nearly every request says; none of it is about how to treat a call."""
# these may be said once
_ONCE = STEERS - {b"prefer"} | set(b"content-length content-encoding range last-event-id traceparent".split())
# whoever sends one of these stands between us and the caller
_PROXIED = frozenset(
    b"forwarded x-forwarded-for x-forwarded-host x-forwarded-proto x-forwarded-server x-real-ip via".split()
)
_TRACE = re.compile(rb"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:-.*)?")
_TRUE, _FALSE = ("true", "1", "yes"), ("false", "0", "no")
_REHEARSAL = "a dry run is asked for by `X-Dry-Run: true` or `?dry_run=true`"
_BETWEEN = re.compile(rb"[^a-z0-9]")
_LETTERS = {_BETWEEN.sub(b"", one).removeprefix(b"x"): one for one in STEERS}
STEERING = b", ".join(sorted(STEERS))


def headers_of(scope: Scope) -> Headers:
    """Give the headers by name; what came twice is one list (RFC 9110, 5.3), so that no second key is overlooked."""
    given: list[tuple[bytes, bytes]] = scope["headers"]
    headers = dict(given)
    if len(headers) != len(given):
        headers.clear()
        for name, value in given:
            headers[name] = headers[name] + b", " + value if name in headers else value
    return headers


def refuse_doubled(scope: Scope) -> None:
    """Refuse a request that says twice what can only be said once. Raises `Malformed`."""
    names = [name for name, _ in scope["headers"]]
    for name in _ONCE:
        if names.count(name) > 1:
            raise Malformed(f"`{name.decode()}` came twice", hint="send it once")


def token_of(headers: Headers) -> bytes:
    """Find the key in `Authorization: Bearer` or `X-API-Key`. Raises `Unauthenticated` when it is not exactly one."""
    value, other = headers.get(b"authorization"), headers.get(b"x-api-key")
    if value is None:
        if other is None:
            raise Unauthenticated("the request has no key")
        return other.strip()
    if other is not None:
        raise Unauthenticated("the request has two keys", hint="send `Authorization` or `X-API-Key`, not both")
    if value[:7].lower() != b"bearer ":
        raise Unauthenticated("only `Bearer` authorization is known here")
    return value[7:].strip()


def remote_of(scope: Scope, headers: Headers) -> str:
    """Give the caller's address; behind a proxy it says so, and is never taken for the loopback it looks like."""
    client = scope.get("client")
    remote = client[0] if client else "unix"
    return remote if _PROXIED.isdisjoint(headers) else f"forwarded:{remote}"


def call_of(name: str, body: dict[str, Any], headers: Headers, query: bytes) -> Call:
    """Make a call of a POST: the body is the input, the headers say how to treat it. Raises `InvalidInput`."""
    if not query and ORDINARY.issuperset(headers):
        return Call(name, body)
    refuse_slips(headers)
    if not query and STEERS.isdisjoint(headers):
        return Call(name, body)
    deadline, size = _text(headers, b"superagent-deadline"), _text(headers, b"superagent-max-bytes")
    return Call(
        name,
        body,
        key=_text(headers, b"idempotency-key"),
        dry_run=_dry_run(_text(headers, b"x-dry-run"), query),
        deadline_s=_number("Superagent-Deadline", deadline, 86_400.0) if deadline else None,
        reason=_utf8(_text(headers, b"superagent-reason", 2000)),
        max_bytes=whole("Superagent-Max-Bytes", size) if size else None,
        isolation=isolation_of(_text(headers, b"superagent-isolation")),
        session=_text(headers, b"superagent-session"),
        queued=prefer_of(headers)[0],
    )


def refuse_slips(headers: Headers) -> None:
    """Refuse a header that is one of ours but for a slip: who means a dry run must not get the real thing.

    Names are compared without what separates their letters and without `x-`. Raises `InvalidInput`.
    """
    for name in headers:
        if name in ORDINARY or name in STEERS:
            continue
        letters = _BETWEEN.sub(b"", name).removeprefix(b"x")
        meant = b"x-dry-run" if _means_dry_run(name) else _LETTERS.get(letters)
        if meant is not None or letters.startswith(b"superagent"):
            if meant is None:
                hint = f"of ours there are {STEERING.decode()}"
            else:
                hint = _REHEARSAL if meant == b"x-dry-run" else f"it is called `{meant.decode().title()}`"
            raise InvalidInput(f"there is no header `{name[:60].decode('latin-1')}` here", hint=hint)


def refuse_rehearsal(headers: Headers, hint: str, query: bytes = b"") -> None:
    """Refuse to be asked for a dry run, rightly or with a slip, where headers steer nothing. Raises `InvalidInput`."""
    asked = [name.lower().encode("latin-1", "replace") for name, _ in parse_qsl(query.decode("latin-1"), True)]
    for name in (*headers, *asked):
        if name not in ORDINARY and _means_dry_run(name):
            raise InvalidInput(f"`{name[:60].decode('latin-1')}` makes no dry run of this request", hint=hint)


def prefer_of(headers: Headers) -> tuple[bool, float]:
    """Read `Prefer` (RFC 7240): (answer at once and work in the background?, seconds to wait before doing so).

    Preferences that are not known here are left aside, as the RFC demands; not so a dry run, which is no preference.
    """
    prefer = headers.get(b"prefer")
    if prefer is None:
        return False, 0.0
    wishes = [wish.partition(";")[0].strip().lower() for wish in prefer.decode("latin-1").split(",")]
    if any(map(means_dry_run, wishes)):  # no preference, and never a wish
        raise InvalidInput("`Prefer` asks for no dry run", hint=_REHEARSAL)
    waits = [wish.partition("=")[2].strip(' "') for wish in wishes if wish.startswith("wait")]
    wait_s = float(waits[0]) if waits and re.fullmatch("[0-9]{1,6}", waits[0]) else 0.0
    return "respond-async" in wishes, min(wait_s, LONGEST_WAIT_S)


def trace_of(headers: Headers) -> str:
    """Give the trace id of `traceparent` (W3C Trace Context, 3.2); empty when there is none."""
    value = headers.get(b"traceparent")
    found = _TRACE.fullmatch(value) if value else None
    return found[1].decode() if found else ""


def whole(name: str, text: str) -> int:
    """Read a whole number. Raises `InvalidInput`."""
    if not re.fullmatch("[0-9]{1,15}", text):
        raise InvalidInput(f"`{name}` must be a whole number")
    return int(text)


def _means_dry_run(name: bytes) -> bool:
    return b"y" in name and means_dry_run(name.decode("latin-1"))  # of most names one look is enough


def _dry_run(said: str, query: bytes) -> bool:
    """Tell whether a dry run is wanted; what cannot be understood is refused, because the other reading acts."""
    flags = parse_qsl(query.decode("latin-1"), keep_blank_values=True)
    for name, _ in flags:
        if name != "dry_run":
            raise InvalidInput(f"there is no parameter `{name[:60]}` here", hint="`?dry_run=true` is the only one")
    wishes = [value for _, value in flags] + ([said] if said else [])
    for wish in wishes:
        if wish.lower() not in _TRUE + _FALSE:
            raise InvalidInput(f"a dry run is `true` or `false`, not `{wish[:60]}`", hint=_REHEARSAL)
    return any(wish.lower() in _TRUE for wish in wishes)


def _text(headers: Headers, name: bytes, most: int = 200) -> str:
    value = headers.get(name)
    if value is None:
        return ""
    if not value.strip():  # as from a variable that is not set: whoever wrote it meant something
        hint = _REHEARSAL if name == b"x-dry-run" else "give it a value, or leave it out"
        raise InvalidInput(f"`{name.decode().title()}` is empty", hint=hint)
    if len(value) > most:
        raise InvalidInput(f"`{name.decode()}` is longer than {most} characters")
    return value.decode("latin-1")


def _number(name: str, text: str, most: float) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= most:
        raise InvalidInput(f"`{name}` must be a number of seconds above 0 and up to {most:g}")
    return value


def _utf8(text: str) -> str:
    try:
        return text.encode("latin-1").decode("utf-8")
    except UnicodeDecodeError:
        return text

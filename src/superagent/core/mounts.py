"""Mounts: what a built-in feature serves beside the single POST, and the visit its handler gets (rules.md 27).

A handler is an ASGI application. It finds its `Visit` in `scope["visit"]`, and the only thing a visit can do is to
call the kernel, as whoever the request belongs to: a principal, or the stranger `anonymous`.
"""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import sha256
from typing import Any, Protocol
from urllib.parse import parse_qsl

from superagent.core.invocation import Call, Outcome
from superagent.core.operation import Operation
from superagent.core.principal import ANONYMOUS, Principal
from superagent.core.problems import Denied, Malformed, NotFound
from superagent.core.resources import Effect

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

VISIT = "visit"
CSRF_HEADER = b"x-csrf-token"
CSRF_FIELD = "csrf"
SAFE = ((b"x-content-type-options", b"nosniff"), (b"x-frame-options", b"DENY"))
"""What every response of a mount says: it is what it says it is, and is shown in no other page's frame."""
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_FORM = b"application/x-www-form-urlencoded"


@dataclass(frozen=True, slots=True)
class Mount:
    """Routes below a prefix. `public` ones also answer to strangers, who then are `anonymous`.

    `channel` is which door this is: an access token is for one of them (RFC 8707).
    """

    prefix: str
    app: App
    public: bool
    channel: str = "http"

    def __post_init__(self) -> None:
        if not self.prefix.startswith("/") or self.prefix.endswith("/") or self.prefix.startswith("/v1"):
            raise TypeError(f"`{self.prefix}` is no prefix for routes: it begins with `/`, ends without, is not `/v1`")

    def serves(self, path: str) -> bool:
        """Tell whether a path lies below the prefix."""
        return path == self.prefix or path.startswith(self.prefix + "/")


def mount_of(mounts: tuple[Mount, ...], path: str) -> Mount | None:
    """Give what serves a path, the longest prefix first; None when nothing does."""
    found = [one for one in mounts if one.serves(path)]
    return max(found, key=lambda one: len(one.prefix)) if found else None


class Line(Protocol):
    """What a visit needs of the kernel."""

    def find(self, operation: str) -> Operation | None:
        """Give an operation by name."""
        ...

    def run(
        self, call: Call, principal: Principal, channel: str, parent: str = "", trace: str = ""
    ) -> Awaitable[Outcome]:
        """Take one call through the line."""
        ...

    def refused(self, call: Call, principal: Principal, channel: str, problem: Denied, trace: str = "") -> Outcome:
        """Record a call that its surface refused."""
        ...


@dataclass(slots=True)
class Visit:
    """One request to a mount: who asks, from where, and the kernel.

    `origin` is ours as the visitor sees it (`https://host[:port]`). `session` is the browser session's token, empty
    for whoever came with a key or with nothing; with it, whatever changes something needs the token against forgery.
    `same_origin` says that no other site's page sent this.
    """

    line: Line
    principal: Principal
    method: str
    path: str  # below the prefix, without it
    query: dict[str, str]
    headers: dict[bytes, bytes]
    receive: Receive
    origin: str
    same_origin: bool = True
    session: str = ""
    trace: str = ""
    _body: bytes | None = None
    _unforged: bool = False
    cookies: dict[str, str] = field(default_factory=dict[str, str])

    @property
    def stranger(self) -> bool:
        """Tell whether nobody is known to be behind this."""
        return self.principal.kind == "anonymous"

    @property
    def secure(self) -> bool:
        """Tell whether the visitor reaches us over TLS, so that cookies can say so."""
        return self.origin.startswith("https://")

    @property
    def csrf(self) -> str:
        """Give the token that a page of ours puts into its forms; empty without a browser session."""
        return csrf_of(self.session.encode()) if self.session else ""

    async def body(self) -> bytes:
        """Read the body, under the server's cap."""
        if self._body is None:
            parts, more = list[bytes](), True
            while more:
                message = await self.receive()
                if message["type"] == "http.disconnect":
                    raise Malformed("the connection closed before the body ended")
                parts.append(message.get("body", b""))
                more = message.get("more_body", False)
            self._body = b"".join(parts)
        return self._body

    async def form(self) -> dict[str, str]:
        """Read a posted form; with a browser session its token against forgery is checked. Raises `Malformed`."""
        if self.headers.get(b"content-type", b"").split(b";")[0].strip().lower() != _FORM:
            raise Malformed("a form is sent as `application/x-www-form-urlencoded`")
        try:
            pairs = parse_qsl((await self.body()).decode("utf-8"), keep_blank_values=True, max_num_fields=64)
        except ValueError:
            raise Malformed("the form cannot be read") from None
        fields = dict(pairs)
        if len(fields) != len(pairs):
            raise Malformed("a field of the form came twice")
        self.prove(fields.pop(CSRF_FIELD, ""))
        return fields

    def prove(self, token: str) -> None:
        """Take the token that only a page of ours can know, as proof that one of them sent this."""
        if self.session and self.same_origin and hmac.compare_digest(token.encode(), self.csrf.encode()):
            self._unforged = True

    async def call(self, operation: str, input: dict[str, Any]) -> Outcome:
        """Run an operation as the visitor; a refusal is an outcome with its problem, and is in the audit."""
        call = Call(operation, input)
        if self.session and not self._unforged:
            self.prove(self.headers.get(CSRF_HEADER, b"").decode("latin-1"))
            found = self.line.find(operation)
            if not self._unforged and (found is None or found.effect > Effect.READ):
                return self.line.refused(call, self.principal, "http", forged(), self.trace)
        return await self.line.run(call, self.principal, "http", trace=self.trace)

    async def call_as_stranger(self, operation: str, input: dict[str, Any]) -> Outcome:
        """Run an operation of the closed set that strangers may call, whoever the visitor is."""
        return await self.line.run(Call(operation, input), stranger(self.principal.remote), "http", trace=self.trace)


def visit_of(scope: Scope) -> Visit:
    """Give the visit that a handler was called for."""
    found = scope[VISIT]
    assert isinstance(found, Visit)
    return found


@lru_cache(1024)
def stranger(remote: str) -> Principal:
    """Give the principal of whoever is not known: it may call a closed set (`[[anonymous]]` in roles.toml)."""
    return Principal(ANONYMOUS.id, ANONYMOUS.kind, ANONYMOUS.tenant, remote=remote)


def csrf_of(session: bytes) -> str:
    """Give the token against forged requests of a browser session: derived, so it turns with the session."""
    return sha256(b"superagent csrf\0" + session).hexdigest()


def cookie_name(secure: bool) -> str:
    """Give the name of the session's cookie; over TLS one that is bound to this very host (RFC 6265bis, 4.1.3.2)."""
    return "__Host-superagent" if secure else "superagent"


def cookie(secure: bool, token: str, *, gone: bool = False) -> str:
    """Give the cookie of a browser session, for as long as the browser is open; `gone` takes it away."""
    more = ("; Secure" if secure else "") + ("; Max-Age=0" if gone else "")
    return f"{cookie_name(secure)}={token}; Path=/; HttpOnly; SameSite=Strict{more}"


def changes(method: str) -> bool:
    """Tell whether a request of this method may change something (RFC 9110, 9.2.1)."""
    return method not in _SAFE_METHODS


def forged() -> Denied:
    """Give the problem of a request that a page of another site could have made."""
    return Denied(
        "a browser session needs the token against forged requests",
        hint="send `X-CSRF-Token`; a page of ours finds it by `GET /sign-in/session`",
    )


async def answer(send: Send, status: int, body: bytes, headers: list[tuple[bytes, bytes]]) -> None:
    """Send a whole response, `SAFE` included."""
    headers = [*SAFE, *headers, (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def not_here(method: str, path: str) -> NotFound:
    """Give the problem of a request that a mount does not serve."""
    return NotFound(f"there is no `{method} {path[:200]}`", hint="see `/docs`")

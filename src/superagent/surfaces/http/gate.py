"""The gate: who calls, by a key or by the cookie of a browser session. Whoever is neither is recorded and refused."""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable

from superagent.core.kernel import Kernel
from superagent.core.mounts import CSRF_HEADER, changes, csrf_of, forged, stranger
from superagent.core.principal import Credential, Facts, Principal, Secret
from superagent.core.problems import Unauthenticated, Unavailable
from superagent.surfaces.http.browser import Browser
from superagent.surfaces.http.request import Headers, Scope, headers_of, token_of

WEB = "web"
"""The channel of facts about browser sessions; a key never stands for one, nor a session's token for a key."""

_MOST_TOKENS = 4096


class Gate:
    """Recognise callers by the key in their request, or by the cookie of their browser session."""

    def __init__(
        self, kernel: Kernel, browser: Browser | None = None, set_up: Callable[[], Awaitable[bool]] | None = None
    ) -> None:
        """Make it; until `set_up` says so, nothing but set-up is served (None: it is, as on this very machine)."""
        self._kernel = kernel
        self._known = kernel.hands.identity.known
        self._set_up = set_up
        self._tokens: dict[Principal, bytes] = {}
        self.closed = set_up is not None
        self.browser = browser or Browser()
        self.remote = self.browser.remote

    async def require_set_up(self) -> None:
        """Go on only once a human owner with a second factor exists (rules.md 33). Raises `Unavailable`."""
        if self._set_up is not None and not await self._set_up():
            raise Unavailable(
                "only set-up is served until an owner has a second factor", hint="open the link that `up` printed"
            )
        self.closed = False

    def known(self, scope: Scope, headers: Headers, session: bytes = b"", channel: str = "http") -> Principal | None:
        """Give who calls when the key was recognised a moment ago; None: `identify` finds out who, or says why not.

        `session` is the browser session that the request is made in, if it is.
        """
        if session:
            return self._known(session, self.remote(scope, headers), WEB)
        try:
            return self._known(token_of(headers), self.remote(scope, headers), channel)
        except Unauthenticated:
            return None

    def known_by(self, key: bytes, remote: str) -> Principal | None:
        """Give who calls by a key, as `known` does."""
        return self._known(key, remote, "http")

    async def identify(self, scope: Scope, headers: Headers, session: bytes = b"", channel: str = "http") -> Principal:
        """Give who calls through a door. Raises `Unauthenticated`, and has recorded it then."""
        remote = self.remote(scope, headers)
        if session:
            return await self._by_session(session, remote)
        try:
            token = token_of(headers)
        except Unauthenticated as problem:
            self._kernel.pipeline.refuse_stranger(problem, Facts(remote, "", channel))
            raise
        return await self._kernel.identify(
            Credential("bearer", Secret(token.decode("latin-1")), Facts(remote, "", channel))
        )

    async def session_or_stranger(self, scope: Scope, headers: Headers, session: bytes) -> Principal:
        """Give who is behind the session cookie, or `anonymous` when the session has ended."""
        try:
            return await self.identify(scope, headers, session)
        except Unauthenticated:
            return stranger(self.remote(scope, headers))

    async def admit(self, scope: Scope) -> Principal:
        """Give who asks for something that is no operation, and charge it. Raises `Unauthenticated`, `RateLimited`."""
        headers = headers_of(scope)
        if self.closed:
            await self.require_set_up()
        session = self.session(headers)
        principal = await self.identify(scope, headers, session)
        if session:
            self.refuse_forged(scope, headers, session, principal)
        self._kernel.beside(principal)
        return principal

    def session(self, headers: Headers) -> bytes:
        """Give the token of the browser session that the request is made in; a key in it comes before a cookie."""
        if b"authorization" in headers or b"x-api-key" in headers:
            return b""
        return self.browser.session(headers)

    def refuse_forged(self, scope: Scope, headers: Headers, session: bytes, principal: Principal) -> None:
        """Refuse what another site's page could have made a browser send with our cookie. Raises `Denied`."""
        if scope["method"] == "GET" or not changes(scope["method"]):
            return
        token = self._tokens.get(principal)  # a session's principal is made anew whenever the session turns
        if token is None:
            if len(self._tokens) >= _MOST_TOKENS:
                self._tokens.clear()
            token = self._tokens[principal] = csrf_of(session).encode()
        if not hmac.compare_digest(headers.get(CSRF_HEADER, b""), token) or not self.browser.same_origin(headers):
            raise forged()

    async def _by_session(self, session: bytes, remote: str) -> Principal:
        return await self._kernel.identify(
            Credential("cookie", Secret(session.decode("latin-1")), Facts(remote, "", WEB))
        )

"""The vetted HTTP client: every hop is judged by name, connected to a vetted address, and capped."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from urllib.parse import quote, urljoin, urlsplit

from superagent.core.carried import Answer
from superagent.core.endpoints import Endpoint
from superagent.core.problems import Deadline, Denied, InvalidInput, TooLarge
from superagent.runtime.net.upstream import Headers, Upstream
from superagent.runtime.net.wire import Wire

MAX_BYTES = 16 * 1024 * 1024
MOST_S = 600.0
MOST_HOPS = 10

Judge = Callable[[Endpoint, str], object]
"""Go on only if this endpoint may be asked with this method; raises the problem."""
DialFor = Callable[[Endpoint, float], Awaitable[Wire]]

_METHODS = {"GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"}
_HOPS = {301, 302, 303, 307, 308}
# the line writes these itself: two readers must not understand a request differently
_OWN = {
    "host", "content-length", "transfer-encoding", "connection", "keep-alive", "te", "trailer", "upgrade", "expect",
    "proxy-authorization", "proxy-connection", "proxy-authenticate",
}  # fmt: skip
# what may follow to another host: anything else may be a credential, whatever its name
_HARMLESS = {"accept", "accept-language", "user-agent", "content-type", "range", "if-none-match", "if-modified-since"}


@dataclass(frozen=True, slots=True)
class Stream:
    """An answer whose body is read piece by piece; over its cap the pieces end with `TooLarge`."""

    answer: Answer
    chunks: AsyncIterator[bytes]


@dataclass(frozen=True, slots=True)
class _Hop:
    method: str
    url: str
    headers: Headers
    content: bytes


class Http:
    """The client of one call. `judge` is asked before each hop, `dial` for each connection."""

    def __init__(
        self, judge: Judge, dial: DialFor, trust: Callable[[], ssl.SSLContext], remaining_s: Callable[[], float | None]
    ) -> None:
        self._judge = judge
        self._dial = dial
        self._trust = trust
        self._remaining_s = remaining_s

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Iterable[tuple[str, str]] = (),
        content: bytes = b"",
        follow: int = 5,
        max_bytes: int = MAX_BYTES,
        timeout_s: float = 30.0,
    ) -> Answer:
        """Ask, and give the whole answer.

        Up to `follow` redirects are taken, each judged anew; to another host only harmless headers go along. Raises
        `Denied`, `NotFound`, `InvalidInput`, `TooLarge` over `max_bytes`, `Deadline`, `Unavailable`.
        """
        async with self.stream(
            method, url, headers=headers, content=content, follow=follow, max_bytes=max_bytes, timeout_s=timeout_s
        ) as stream:
            body = b"".join([chunk async for chunk in stream.chunks])
            return Answer(stream.answer.status, stream.answer.headers, stream.answer.url, body)

    @asynccontextmanager
    async def stream(
        self,
        method: str,
        url: str,
        *,
        headers: Iterable[tuple[str, str]] = (),
        content: bytes = b"",
        follow: int = 5,
        max_bytes: int = MAX_BYTES,
        timeout_s: float = 30.0,
    ) -> AsyncGenerator[Stream]:
        """Ask, and give the answer while its body still comes. Raises as `request` does."""
        remaining = self._remaining_s()
        allowed = min(timeout_s, MOST_S, MOST_S if remaining is None else remaining)
        hop = _Hop(_method(method), url, _headers(headers), content)
        upstream = Upstream(self._dial, self._trust())
        try:
            async with asyncio.timeout(allowed):
                async with self._follow(upstream, hop, min(follow, MOST_HOPS), max_bytes) as stream:
                    yield stream
        except TimeoutError:
            raise Deadline(
                f"no whole answer within {allowed:g} s", hint="give `timeout_s` more, or ask for less"
            ) from None
        finally:
            await upstream.aclose()

    @asynccontextmanager
    async def _follow(self, upstream: Upstream, hop: _Hop, follow: int, max_bytes: int) -> AsyncGenerator[Stream]:
        while True:
            endpoint, tls, target = _parts(hop.url)
            self._judge(endpoint, hop.method)
            given = [*hop.headers, (b"Host", _host(endpoint, tls)), (b"Accept-Encoding", b"identity")]
            if hop.content or hop.method in ("POST", "PUT", "PATCH"):
                given.append((b"Content-Length", str(len(hop.content)).encode()))
            async with upstream.exchange(
                endpoint, tls, hop.method.encode(), target, given, hop.content or None
            ) as response:
                named = tuple(
                    (key.decode("latin-1").lower(), value.decode("latin-1")) for key, value in response.headers
                )
                answer = Answer(response.status, named, hop.url)
                location = answer.header("location") if response.status in _HOPS else None
                if location is None or not follow:
                    yield Stream(answer, _capped(response.aiter_stream(), answer, max_bytes))
                    return
            hop, follow = _next(hop, response.status, location), follow - 1


async def _capped(chunks: AsyncIterator[bytes], answer: Answer, max_bytes: int) -> AsyncGenerator[bytes]:
    size = 0
    async for chunk in chunks:
        size += len(chunk)
        if size > max_bytes:
            raise TooLarge(
                f"`{answer.url[:200]}` gives more than {max_bytes} bytes", hint="ask for a part with `Range`"
            )
        yield chunk


def _next(hop: _Hop, status: int, location: str) -> _Hop:
    """Give the request that a redirect asks for."""
    url = urljoin(hop.url, location)
    (endpoint, tls, _), (before, was_tls, _) = _parts(url), _parts(hop.url)
    if was_tls and not tls:
        raise Denied(
            f"`{before}` leads on without TLS, to `{endpoint}`",
            hint="ask for the other address yourself if you mean it",
        )
    method, content, headers = hop.method, hop.content, hop.headers
    if status == 303 or (status in (301, 302) and method == "POST"):  # as browsers do (RFC 9110, 15.4)
        method, content = ("HEAD" if method == "HEAD" else "GET"), b""
        headers = [(name, value) for name, value in headers if name.lower() != b"content-type"]
    if (endpoint, tls) != (before, was_tls):
        headers = [(name, value) for name, value in headers if name.decode().lower() in _HARMLESS]
    return _Hop(method, url, headers, content)


def _parts(url: str) -> tuple[Endpoint, bool, bytes]:
    """Give endpoint, TLS or not, and the request target of a URL. Raises `InvalidInput`."""
    scheme = url.partition("://")[0].lower()
    if scheme not in ("http", "https"):
        raise InvalidInput(f"`{url[:200]}` is no `https://` or `http://` address")
    endpoint = Endpoint.of(url)
    split = urlsplit(url)
    if split.username is not None or split.password is not None:
        raise InvalidInput("an address must not hold a user name or password", hint="send them in a header")
    path = quote(split.path or "/", safe="/%:@!$&'()*+,;=~-._")
    query = quote(split.query, safe="/%:@!$&'()*+,;=~-._?")
    return endpoint, scheme == "https", f"{path}?{query}".encode() if query else path.encode()


def _host(endpoint: Endpoint, tls: bool) -> bytes:
    plain = endpoint.port == (443 if tls else 80)
    return (endpoint.host if plain else str(endpoint)).encode()


def _method(method: str) -> str:
    if method not in _METHODS:
        raise InvalidInput(f"`{method[:40]}` is no method that is sent", hint=f"one of {', '.join(sorted(_METHODS))}")
    return method


def _headers(headers: Iterable[tuple[str, str]]) -> Headers:
    out: Headers = []
    for name, value in headers:
        if name.lower() in _OWN:
            raise InvalidInput(f"the header `{name[:40]}` is written by the platform", hint="leave it out")
        try:
            out.append((name.encode("ascii"), value.encode("latin-1")))
        except UnicodeEncodeError:
            raise InvalidInput(f"the header `{name[:40]}` holds characters that HTTP has not") from None
    return out

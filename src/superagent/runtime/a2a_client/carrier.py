"""The carrier: the SDK's client over the vetted one, to one agent's own address and to no other.

Whatever a card or an answer names, nothing is sent anywhere else: no redirect is followed, and the secret goes nowhere
else. Answers are bounded as a whole, in bytes and in time, and not unpacked.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote, urlsplit

import httpx

from superagent.core.problems import InvalidInput, Unavailable
from superagent.core.resources import canonical_host

MOST_BYTES = 1024 * 1024
"""The longest answer that is read, bytes."""
TIMEOUT_S = 30.0
"""How long one request may take in all, however slowly its answer comes."""

_SPOKEN = {"accept", "content-type", "a2a-version", "a2a-extensions"}


class Carrier(httpx.AsyncBaseTransport):
    """Carry requests to the agent at `endpoint` with `headers`; `http` is the client of a call's own context."""

    def __init__(self, http: Any, endpoint: str, headers: list[tuple[str, str]]) -> None:
        self._http = http
        self._endpoint = endpoint
        self._headers = headers

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request. Raises problems of the network, and `Unavailable` for what leads elsewhere."""
        if not within(str(request.url), self._endpoint):
            raise Unavailable("the agent's card leads to another address than its connection")
        named = [(name, value) for name, value in request.headers.items() if name in _SPOKEN]
        answer = await self._http.request(
            request.method, str(request.url), headers=[*named, *self._headers], content=await request.aread(),
            follow=0, max_bytes=MOST_BYTES, timeout_s=TIMEOUT_S,
        )  # fmt: skip
        if (answer.header("content-encoding") or "identity").strip().lower() != "identity":
            raise Unavailable("the agent sent a packed answer that nobody asked for")
        kind = answer.header("content-type") or "application/octet-stream"
        return httpx.Response(answer.status, headers={"content-type": kind}, content=answer.body)


def place_of_url(url: str) -> tuple[str, str]:
    """Give scheme and canonical `host:port` of an address. Raises `InvalidInput`."""
    return urlsplit(url).scheme.lower(), canonical_host(url)


def within(url: str, endpoint: str) -> bool:
    """Tell whether an address lies at, or beneath, that of a connection."""
    try:
        if place_of_url(url) != place_of_url(endpoint):
            return False
    except InvalidInput:
        return False
    path, base = unquote(urlsplit(url).path), unquote(urlsplit(endpoint).path).rstrip("/")
    return ".." not in path.split("/") and "\\" not in path and (path == base or path.startswith(f"{base}/"))

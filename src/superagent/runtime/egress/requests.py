"""Requests from inside: where one leads, read strictly, and what of its head goes along."""

from __future__ import annotations

import re

import h11

from superagent.core.endpoints import Endpoint
from superagent.core.problems import InvalidInput
from superagent.runtime.egress.refusal import Refusal

Headers = list[tuple[bytes, bytes]]

_HOP_BY_HOP = {
    b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-authorization", b"proxy-connection", b"te",
    b"trailer", b"transfer-encoding", b"upgrade",
}  # fmt: skip
# written anew for the way out, or said by this proxy itself
_WRITTEN = _HOP_BY_HOP | {b"host", b"content-length", b"expect"}
_PORT = re.compile(r":[0-9]{1,5}\Z")
_METHOD = re.compile(r"[A-Z][A-Z-]{0,31}")


def tunnel_target(request: h11.Request) -> Endpoint:
    """Give where a CONNECT leads. Raises `Refusal`."""
    endpoint = _endpoint(request.target.decode("latin-1"))
    host = _header(request, b"host")
    if host is not None and not _same_host(host, endpoint):
        raise _mismatch()
    if _header(request, b"content-length") is not None or _header(request, b"transfer-encoding") is not None:
        raise Refusal(400, "a tunnel with a body", "CONNECT has no body")
    return endpoint


def forward_target(request: h11.Request) -> tuple[Endpoint, bytes]:
    """Give endpoint and origin-form target of a request in absolute form. Raises `Refusal`."""
    found = re.fullmatch(rb"(?i:http)://([^/?#]*)([^#]*)", request.target)
    if found is None:
        raise Refusal(
            400,
            "not in absolute form",
            "a proxy takes `http://host/…` or CONNECT, and nothing else",
            "use HTTPS_PROXY for `https://` addresses",
        )
    authority = found[1].decode("latin-1")
    endpoint = _endpoint(authority if _PORT.search(authority) else f"{authority}:80")
    _check(request, endpoint, 80)
    path = found[2]
    return endpoint, path if path.startswith(b"/") else b"/" + path


def tunnelled_target(request: h11.Request, endpoint: Endpoint, tls: bool) -> bytes:
    """Give the origin-form target of a request inside a tunnel; it leads where the tunnel leads. Raises `Refusal`."""
    target = bytes(request.target)
    if request.method == b"CONNECT":
        raise Refusal(403, "a tunnel inside a tunnel", "a tunnel does not lead through another proxy")
    if not target.startswith(b"/") and target != b"*":
        raise Refusal(400, "not in origin form", "inside a tunnel a request names a path and nothing else")
    _check(request, endpoint, 443 if tls else 80)
    return target


def outgoing_headers(request: h11.Request, endpoint: Endpoint, default_port: int) -> tuple[Headers, bool]:
    """Give the headers that go out, and whether a body follows them."""
    named = {
        token.strip().lower() for key, value in request.headers if key == b"connection" for token in value.split(b",")
    }
    kept = [(key, value) for key, value in request.headers.raw_items() if key.lower() not in _WRITTEN | named]
    host = endpoint.host if endpoint.port == default_port else str(endpoint)
    length = _header(request, b"content-length")
    framing: Headers = []
    if _header(request, b"transfer-encoding") is not None:
        framing = [(b"Transfer-Encoding", b"chunked")]
    elif length is not None:
        framing = [(b"Content-Length", length)]
    return [(b"Host", host.encode()), *kept, *framing], bool(framing) and length != b"0"


def returned_headers(headers: Headers) -> Headers:
    """Give the headers of an answer that come in; how long its body is stays as it was."""
    named = {
        token.strip().lower() for key, value in headers if key.lower() == b"connection" for token in value.split(b",")
    }
    left_out = _HOP_BY_HOP | named
    if any(key.lower() == b"transfer-encoding" for key, _ in headers):
        left_out |= {b"content-length"}  # of two lengths the reader has believed the other one
    return [(key, value) for key, value in headers if key.lower() not in left_out]


def _check(request: h11.Request, endpoint: Endpoint, default_port: int) -> None:
    host = _header(request, b"host")
    if host is not None:
        text = host.decode("latin-1")
        named = _endpoint(text if _PORT.search(text) else f"{text}:{default_port}")
        if named != endpoint:
            raise _mismatch()
    if _header(request, b"content-length") is not None and _header(request, b"transfer-encoding") is not None:
        raise Refusal(400, "two lengths", "a request says how long it is in one way, not in two")
    if not _METHOD.fullmatch(request.method.decode("latin-1")) or request.method in (b"TRACE", b"TRACK"):
        raise Refusal(400, "a method that is not passed on", "this method is not passed on")


def _same_host(host: bytes, endpoint: Endpoint) -> bool:
    text = host.decode("latin-1")
    return _endpoint(text if _PORT.search(text) else f"{text}:{endpoint.port}") == endpoint


def _endpoint(text: str) -> Endpoint:
    try:
        endpoint = Endpoint.of_authority(text)
    except InvalidInput as bad:
        raise Refusal(400, "no host that has one reading", bad.detail) from None
    if endpoint.literal is not None:
        raise Refusal(
            403,
            "an address instead of a name",
            "rules are about names: addresses are never connected to",
            "use the name",
        )
    return endpoint


def _mismatch() -> Refusal:
    return Refusal(400, "two hosts in one request", "the request and its `Host` header name two different hosts")


def _header(request: h11.Request, name: bytes) -> bytes | None:
    return next((value for key, value in request.headers if key == name), None)

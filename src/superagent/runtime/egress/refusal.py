"""Refusals: why something does not go out, as the client inside reads it and as the record says it."""

from __future__ import annotations

from http import HTTPStatus

import msgspec

_TYPES = {
    400: "malformed",
    403: "denied",
    408: "deadline",
    413: "too-large",
    431: "too-large",
    502: "unavailable",
    503: "audit-unavailable",
    504: "deadline",
}


class Refusal(Exception):
    """One request or connection is not let out. `why` is short and the same for all of its kind."""

    def __init__(self, status: int, why: str, detail: str, hint: str = "", address: str = "") -> None:
        super().__init__(why)
        self.status = status
        self.why = why
        self.detail = detail
        self.hint = hint
        self.address = address

    @property
    def denied(self) -> bool:
        """Tell whether a rule said no, or the request was none; not when the other side just did not answer."""
        return self.status < 500

    def body(self) -> bytes:
        """Give the problem document (RFC 9457)."""
        document = {
            "type": f"/problems/{_TYPES[self.status]}",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
        }
        return msgspec.json.encode(document | ({"hint": self.hint} if self.hint else {}))

    def response(self) -> bytes:
        """Give the whole response, after which the connection ends."""
        body = self.body()
        head = (
            f"HTTP/1.1 {self.status} {HTTPStatus(self.status).phrase}\r\n"
            "Content-Type: application/problem+json\r\n"
            f"Content-Length: {len(body)}\r\n"
            "Superagent-Egress: refused\r\n"
            "Connection: close\r\n\r\n"
        )
        return head.encode() + body


def not_reached(place: str, why: str, cure: str) -> Refusal:
    """Give the refusal of an endpoint that the rules do not reach."""
    return Refusal(403, why, f"this command may not connect to `{place}`: {why}", cure)


def method_not_reached(method: str, place: str) -> Refusal:
    """Give the refusal of a method that the rules leave out."""
    return Refusal(403, "the method is not allowed", f"`{method[:40]}` is not allowed at `{place}`")

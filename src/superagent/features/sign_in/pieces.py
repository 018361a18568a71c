"""Pieces that the sign-in pages share: calling, cookies, and going on."""

from __future__ import annotations

from typing import Any

import msgspec

from superagent.core.invocation import Outcome
from superagent.core.mounts import Visit, cookie
from superagent.features.sign_in.html import Page

AWAY = "superagent-away"
"""The cookie that ties a sign-in at a provider to the browser: sent along when that sends it back (`SameSite=Lax`)."""


async def as_stranger(visit: Visit, operation: str, input: dict[str, Any]) -> dict[str, Any]:
    """Run an operation that strangers may call and give its output. Raises its problem."""
    return output(await visit.call_as_stranger(operation, input))


def output(outcome: Outcome) -> dict[str, Any]:
    """Give what a call gave. Raises its problem."""
    if outcome.problem is not None:
        raise outcome.problem
    return msgspec.json.decode(outcome.output or b"{}")


def arriving(visit: Visit) -> dict[str, str]:
    """Give what a way in is told besides: the browser, and the session that it leaves behind."""
    return {"client": client(visit)} | ({"earlier": visit.session} if visit.session else {})


def client(visit: Visit) -> str:
    """Give what the browser says of itself."""
    return visit.headers.get(b"user-agent", b"").decode("latin-1")[:200]


def signed_in(visit: Visit, came: dict[str, Any], following: str) -> Page:
    """Give the page that sets the session's cookie and goes on."""
    return Page(to=following, cookies=[cookie(visit.secure, came["session"])])


def away_name(visit: Visit) -> str:
    """Give the name of that cookie."""
    return f"__Host-{AWAY}" if visit.secure else AWAY


def away_cookie(visit: Visit, value: str, most_s: int = 600) -> str:
    """Give the cookie that ties a sign-in elsewhere to this browser."""
    secure = "; Secure" if visit.secure else ""
    return f"{away_name(visit)}={value}; Path=/; HttpOnly; SameSite=Lax; Max-Age={most_s}{secure}"

"""Callers: who sends a message, and which tools they want to see."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass

from superagent.core.principal import Principal
from superagent.core.problems import InvalidInput

CALLER = "superagent.mcp.caller"
"""Where the door leaves the caller of a request, for the server to find."""

CHANNEL = "mcp"
_WISH = re.compile(r"[a-z][a-z0-9_]*(\.[a-z0-9_]+){0,3}")
_MOST_WISHES = 32
_SESSION = b"superagent-session"
_OPENED = b"mcp-session-id"
_LONGEST_NAME = 200


@dataclass(frozen=True, slots=True)
class Caller:
    """Whoever sends a message; `toolsets` are the domains and operations that it wants as tools of their own.

    `session` is the one that its calls belong to where they name none themselves; empty where nothing says so.
    """

    principal: Principal
    trace: str = ""
    toolsets: frozenset[str] = frozenset()
    session: str = ""


def session_of(headers: Mapping[bytes, bytes]) -> str:
    """Give the session that a message belongs to: the one it names, else the protocol's own, under a name of ours.

    The protocol's own id is never shown: it is what the session is spoken to by. Raises `InvalidInput`.
    """
    if said := headers.get(_SESSION, b"").decode("latin-1").strip():
        if len(said) > _LONGEST_NAME:
            raise InvalidInput(f"`Superagent-Session` is longer than {_LONGEST_NAME} characters")
        return said
    opened = headers.get(_OPENED)
    return f"mcp-{hashlib.sha256(opened).hexdigest()[:16]}" if opened else ""


def toolsets_of(text: str) -> frozenset[str]:
    """Read `files,shell.run`. Raises `InvalidInput`."""
    wishes = [one.strip() for one in text.split(",") if one.strip()]
    if len(wishes) > _MOST_WISHES or not all(_WISH.fullmatch(one) for one in wishes):
        raise InvalidInput(
            "toolsets are domains or operations, as in `files,shell.run`; `all` is everything",
            hint=f"give at most {_MOST_WISHES}; `search_operations` shows what there is",
        )
    return frozenset(wishes)

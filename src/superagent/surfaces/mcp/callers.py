"""Callers: who sends a message, and which tools they want to see."""

from __future__ import annotations

import re
from dataclasses import dataclass

from superagent.core.principal import Principal
from superagent.core.problems import InvalidInput

CALLER = "superagent.mcp.caller"
"""Where the door leaves the caller of a request, for the server to find."""

CHANNEL = "mcp"
_WISH = re.compile(r"[a-z][a-z0-9_]*(\.[a-z0-9_]+){0,3}")
_MOST_WISHES = 32


@dataclass(frozen=True, slots=True)
class Caller:
    """Whoever sends a message; `toolsets` are the domains and operations that it wants as tools of their own."""

    principal: Principal
    trace: str = ""
    toolsets: frozenset[str] = frozenset()


def toolsets_of(text: str) -> frozenset[str]:
    """Read `files,shell.run`. Raises `InvalidInput`."""
    wishes = [one.strip() for one in text.split(",") if one.strip()]
    if len(wishes) > _MOST_WISHES or not all(_WISH.fullmatch(one) for one in wishes):
        raise InvalidInput(
            "toolsets are domains or operations, as in `files,shell.run`; `all` is everything",
            hint=f"give at most {_MOST_WISHES}; `catalogue.search` shows what there is",
        )
    return frozenset(wishes)

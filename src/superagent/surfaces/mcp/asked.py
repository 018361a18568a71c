"""What the SDK hands to a handler, who asked, and pages of lists."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from mcp.server.connection import Connection
from mcp.server.context import ServerRequestContext
from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_PARAMS, ClientCapabilities, InputResponses, PaginatedRequestParams
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from superagent.core.questions import TASKS
from superagent.surfaces.mcp.callers import Caller

Asked = ServerRequestContext[Any, Any]
Known = Callable[[Asked], Caller]
EXTENSION = "io.modelcontextprotocol/tasks"
PAGE = 100
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Plain:
    """What is known of a message that came the short way: it is of the newer revision, and hears nothing meanwhile."""

    meta: dict[str, Any]
    able: tuple[str, ...]


class Answering(Protocol):
    """What a request may hold beside what it asks for: answers, and the state they belong to."""

    @property
    def input_responses(self) -> InputResponses | None:
        """Give the answers."""
        ...

    @property
    def request_state(self) -> str | None:
        """Give the state."""
        ...


def page_of(found: list[T], params: PaginatedRequestParams | None) -> tuple[list[T], str | None]:
    """Give a page of a list and the cursor of the next. Raises `MCPError` for a cursor that came from elsewhere."""
    cursor = params.cursor if params is not None else None
    start = 0
    if cursor is not None:
        start = _place(cursor)
        if start is None or not 0 < start < len(found):
            raise MCPError(INVALID_PARAMS, "this cursor is none of ours", {"hint": "begin again without one"})
    end = start + PAGE
    return found[start:end], _cursor(end) if end < len(found) else None


def _cursor(place: int) -> str:
    return base64.urlsafe_b64encode(b"at:%d" % place).decode().rstrip("=")


def _place(cursor: str) -> int | None:
    try:
        kind, _, place = base64.urlsafe_b64decode(cursor[:20] + "==").partition(b":")
    except ValueError:
        return None
    return int(place) if kind == b"at" and place.isdigit() else None


def modern(asked: Asked | Plain) -> bool:
    """Tell whether a message is of the newer revision, which has no sessions."""
    return isinstance(asked, Plain) or asked.protocol_version in MODERN_PROTOCOL_VERSIONS


def connection_of(asked: Asked) -> Connection:
    """Give the connection that a message came by; in the older revision it lasts as long as its session."""
    found = vars(asked.session)["_connection"]  # the SDK shows its parts one by one, and its end and its state not
    assert isinstance(found, Connection)
    return found


def able_of(asked: Asked | Plain) -> tuple[str, ...]:
    """Give what the client says it can be asked for now, and whether it follows tasks."""
    if isinstance(asked, Plain):
        return asked.able
    said = asked.session.client_capabilities
    if said is None or not (modern(asked) or asked.session.can_send_request):
        return ()
    return able_from(said, modern(asked))


def able_from(said: ClientCapabilities, newer: bool) -> tuple[str, ...]:
    """Give what a client can be asked for by what it says."""
    form = said.elicitation is not None and (said.elicitation.form is not None or said.elicitation.url is None)
    found = {"form": form, "model": said.sampling is not None, "folders": said.roots is not None}
    found[TASKS] = newer and EXTENSION in (said.extensions or {})
    return tuple(name for name, is_so in found.items() if is_so)

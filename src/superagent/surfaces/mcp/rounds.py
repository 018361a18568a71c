"""Rounds: an operation asks, the client's user or model answers, and the call is made again with the answers.

In the newer revision the client makes it again itself; what it was told before comes back with it, sealed. In the older
one the server asks on the stream of the request, and makes it again for the client.
"""

from __future__ import annotations

import base64
import hmac
from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec
from mcp.shared.exceptions import MCPError, NoBackChannelError
from mcp.shared.message import ServerMessageMetadata
from mcp_types import (
    INVALID_PARAMS,
    MISSING_REQUIRED_CLIENT_CAPABILITY,
    CreateMessageRequest,
    CreateMessageRequestParams,
    CreateMessageResult,
    CreateMessageResultWithTools,
    ElicitRequest,
    ElicitRequestFormParams,
    ElicitResult,
    InputRequest,
    InputRequiredResult,
    InputResponse,
    ListRootsRequest,
    ListRootsResult,
    SamplingMessage,
    TextContent,
)
from pydantic import BaseModel

from superagent.core.invocation import Call, digest_of
from superagent.core.kernel import Kernel
from superagent.core.principal import Principal, Secret
from superagent.core.problems import NeedsClient
from superagent.core.questions import MOST_ANSWERS, MOST_BYTES, TASKS, Question
from superagent.surfaces.mcp.asked import EXTENSION, Asked

MOST_ROUNDS = 16
PATIENCE_S = 300.0
"""How long a user of the older revision has to answer, while the request stays open."""
VALID_S = 3600.0
_MARK = "ask."
T = TypeVar("T", bound=BaseModel)
_CAPABILITIES: dict[str, dict[str, Any]] = {
    "form": {"elicitation": {}},
    "model": {"sampling": {}},
    "folders": {"roots": {}},
    TASKS: {"extensions": {EXTENSION: {}}},
}
_RESULTS: dict[str, Any] = {"form": ElicitResult, "model": CreateMessageResult, "folders": ListRootsResult}


class _State(msgspec.Struct):
    at: float
    answers: dict[str, Any]


def request_of(question: Question) -> InputRequest:
    """Give a question as the request that the client answers."""
    if question.kind == "form":
        form = ElicitRequestFormParams(message=question.text, requested_schema=question.schema)
        return ElicitRequest(method="elicitation/create", params=form)
    if question.kind == "folders":
        return ListRootsRequest(method="roots/list")
    said = SamplingMessage(role="user", content=TextContent(type="text", text=question.text))
    params = CreateMessageRequestParams(messages=[said], max_tokens=question.most)
    return CreateMessageRequest(method="sampling/createMessage", params=params)


def answer_of(response: InputResponse) -> Any:
    """Give what a client answered, as operations take it; None where its user refused."""
    if isinstance(response, ElicitResult):
        return dict(response.content or {}) if response.action == "accept" else None
    if isinstance(response, ListRootsResult):
        return [{"uri": str(one.uri), "name": one.name or ""} for one in response.roots]
    content = response.content if isinstance(response, CreateMessageResultWithTools) else [response.content]
    blocks = content if isinstance(content, list) else [content]
    return "\n".join(one.text for one in blocks if isinstance(one, TextContent))


def answers_of(responses: Mapping[str, InputResponse] | None) -> dict[str, Any]:
    """Give all that a client answered. Raises `MCPError` for more than anybody asks."""
    found = {name: answer_of(one) for name, one in (responses or {}).items()}
    if len(found) > MOST_ANSWERS or (found and len(msgspec.json.encode(found)) > MOST_BYTES):
        raise MCPError(INVALID_PARAMS, f"more than {MOST_ANSWERS} answers, or {MOST_BYTES} bytes")
    return found


class Seal:
    """What was answered before, sealed for whoever answered, for this very call: any worker takes it up."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel

    def ours(self, state: str | None) -> bool:
        """Tell whether a state is of a call that asked, and not of one that waits for approval."""
        return state is not None and state.startswith(_MARK)

    def put(self, principal: Principal, call: Call) -> str:
        """Give the state of a call that asks: what was answered, and since when."""
        now = self._kernel.hands.clock.now()
        body = base64.urlsafe_b64encode(msgspec.json.encode(_State(now, call.answers))).decode()
        return f"{_MARK}{body}.{self._tag(principal, call, body)}"

    def take(self, principal: Principal, call: Call, state: str) -> dict[str, Any] | None:
        """Give the answers that a state holds; None when it was changed, is old, or belongs to another call."""
        body, _, tag = state.removeprefix(_MARK).rpartition(".")
        if not hmac.compare_digest(tag.encode(), self._tag(principal, call, body).encode()):
            return None
        held = msgspec.json.decode(base64.urlsafe_b64decode(body), type=_State)
        return held.answers if self._kernel.hands.clock.now() - held.at <= VALID_S else None

    def _tag(self, principal: Principal, call: Call, body: str) -> str:
        digest = digest_of({"": call.operation, "input": call.input})
        about = ("mcp-asked", principal.tenant, principal.id, principal.key, digest)
        return self._kernel.hands.veil.mark(about, Secret(body))


def required(asks: tuple[Question, ...], state: str) -> InputRequiredResult:
    """Give what the client asks before it makes the call again."""
    return InputRequiredResult(input_requests={one.name: request_of(one) for one in asks}, request_state=state)


def lacks(problem: NeedsClient) -> MCPError:
    """Give the protocol's own error for a client that does not say that it can do what is needed."""
    wanted: dict[str, Any] = {}
    for one in problem.needs:
        wanted |= _CAPABILITIES.get(one, {})
    return MCPError(MISSING_REQUIRED_CLIENT_CAPABILITY, problem.detail, {"requiredCapabilities": wanted})


async def asked_now(asked: Asked, asks: tuple[Question, ...]) -> dict[str, Any] | None:
    """Ask a client of the older revision on the stream of its request; None when it gives no answer at all."""
    found: dict[str, Any] = {}
    for one in asks:
        response = await put_to(asked, request_of(one), _RESULTS[one.kind])
        if response is None:
            return None
        found[one.name] = answer_of(response)
    return found


async def put_to(asked: Asked, request: Any, result: type[T]) -> T | None:
    """Put a request to a client of the older revision, on the stream of its own; None when it gives no answer."""
    beside = ServerMessageMetadata(related_request_id=asked.request_id)
    try:
        return await asked.session.send_request(request, result, PATIENCE_S, beside)
    except (MCPError, NoBackChannelError, TimeoutError, ValueError):
        return None

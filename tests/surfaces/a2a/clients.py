"""Clients: the official SDK's own, for each version and binding, over a real socket."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import httpx
from a2a.client.card_resolver import A2ACardResolver
from a2a.client.client import Client, ClientConfig
from a2a.client.client_factory import ClientFactory
from a2a.types.a2a_pb2 import (
    AgentCard,
    Message,
    Part,
    Role,
    SendMessageRequest,
    StreamResponse,
    Task,
    TaskState,
)
from a2a.utils.errors import MethodNotFoundError, TaskNotFoundError
from google.protobuf.json_format import MessageToDict, ParseDict
from google.protobuf.struct_pb2 import Value

from tests.surfaces.http.house import PATIENCE_S, Caller, House

WAYS = [("1.0", "JSONRPC"), ("1.0", "HTTP+JSON"), ("0.3", "JSONRPC"), ("0.3", "HTTP+JSON")]


@asynccontextmanager
async def talking(
    house: House,
    caller: Caller,
    version: str = "1.0",
    binding: str = "JSONRPC",
    *,
    streaming: bool = False,
    slip: tuple[str, str, Any] | None = None,
) -> AsyncGenerator[Client]:
    """Talk to a house as a caller, by one of the ways that its card declares.

    `slip` is a (place, key, value) that each message says beside what the client knows to say.
    """
    headers, transport = {"Authorization": f"Bearer {caller.key}"}, _Slipping(slip) if slip else None
    async with httpx.AsyncClient(headers=headers, timeout=PATIENCE_S, transport=transport) as http:
        card = await A2ACardResolver(http, house.address).get_agent_card()
        only = AgentCard()
        only.CopyFrom(card)
        del only.supported_interfaces[:]
        only.supported_interfaces.extend(
            one
            for one in card.supported_interfaces
            if (one.protocol_version, one.protocol_binding) == (version, binding)
        )
        assert len(only.supported_interfaces) == 1
        config = ClientConfig(httpx_client=http, streaming=streaming, supported_protocol_bindings=[binding])
        yield ClientFactory(config).create(only)


class _Slipping(httpx.AsyncHTTPTransport):
    """Add to each message that is sent what its client has no words for."""

    def __init__(self, slip: tuple[str, str, Any]) -> None:
        super().__init__()
        self._slip = slip

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request."""
        if request.method == "POST":
            said: Any = json.loads(await request.aread())
            where, key, value = self._slip
            params: Any = said.get("params", said)
            message: Any = params.get("message") or params["request"]
            parts: Any = message.get("parts") or message.get("content")
            places = {"request": params, "message": message, "part": parts[0]}
            places["configuration"] = params.setdefault("configuration", {})
            places[where][key] = value
            headers = {name: one for name, one in request.headers.items() if name != "content-length"}
            request = httpx.Request("POST", request.url, headers=headers, content=json.dumps(said).encode())
        return await super().handle_async_request(request)


def asking(operation: str, input: dict[str, Any] | None = None, **message: Any) -> SendMessageRequest:
    """Give the request to run an operation."""
    return sending(Part(data=ParseDict({"operation": operation, "input": input or {}}, Value())), **message)


def sending(
    *parts: Part, at_once: bool = False, steers: dict[str, Any] | None = None, **message: Any
) -> SendMessageRequest:
    """Give a request with these parts."""
    made = Message(message_id="m1", role=Role.ROLE_USER, parts=parts, **message)
    if steers is not None:
        made.metadata.update({"superagent/call": steers})
    request = SendMessageRequest(message=made)
    request.configuration.return_immediately = at_once
    return request


async def sent(client: Client, request: SendMessageRequest) -> Task:
    """Send a message and give the one task that comes back."""
    found = [one async for one in client.send_message(request)]
    assert len(found) == 1, found
    assert found[0].HasField("task"), found
    return found[0].task


async def streamed(client: Client, request: SendMessageRequest) -> list[StreamResponse]:
    """Send a message and give all that is told until the stream ends."""
    return [one async for one in client.send_message(request)]


def state_of(task: Task) -> str:
    """Give a task's state in words."""
    return TaskState.Name(task.status.state).removeprefix("TASK_STATE_").lower()


def output_of(task: Task) -> Any:
    """Give the output of a task."""
    (artifact,) = task.artifacts
    (part,) = artifact.parts
    return MessageToDict(part.data)


def problem_in(task: Task) -> dict[str, Any]:
    """Give the problem that a task was refused or failed with."""
    found = MessageToDict(task.status.message.parts[1].data)
    return found["problem"]


def absent(version: str, binding: str) -> type[Exception]:
    """Give what the SDK's client makes of a task that is not there: for REST of 0.3 it only reads the status."""
    return MethodNotFoundError if (version, binding) == ("0.3", "HTTP+JSON") else TaskNotFoundError

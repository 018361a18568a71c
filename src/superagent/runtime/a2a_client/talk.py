"""A talk with another agent: send it a task, look how it goes, cancel it; nothing that it says is believed."""

from __future__ import annotations

import logging
import re
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import msgspec
from a2a.client.client import Client, ClientConfig
from a2a.client.client_factory import ClientFactory
from a2a.types.a2a_pb2 import (
    CancelTaskRequest,
    GetTaskRequest,
    Message,
    Part,
    Role,
    SendMessageRequest,
    Task,
    TaskState,
)
from google.protobuf.json_format import MessageToDict, ParseDict, ParseError
from google.protobuf.struct_pb2 import Value

from superagent.core.neutral import neutral
from superagent.core.problems import Deadline, Problem, TooLarge, Unavailable
from superagent.runtime.a2a_client.cards import BINDINGS, Card, fetch
from superagent.runtime.a2a_client.carrier import TIMEOUT_S, Carrier
from superagent.runtime.hosted.call import shown

__all__ = ["Seen", "Talk", "fetch", "talking"]

_ID = re.compile(r"[A-Za-z0-9_~:-][A-Za-z0-9._~:-]{0,199}")
"""What may be a task's or context's name: it becomes part of an address, in which nothing may lead elsewhere."""

MOST_ARTIFACTS = 50
_JSON = "application/json"
LENT = "superagent/lent"
"""The key of a message's metadata under which the key stands that is lent to the agent."""


@dataclass(frozen=True, slots=True)
class Seen:
    """How a task stands, in the agent's words; `task` is empty where it answered at once, without one."""

    state: str
    task: str
    context: str
    words: str
    artifacts: list[dict[str, Any]]


@asynccontextmanager
async def talking(
    http: Any, name: str, endpoint: str, headers: list[tuple[str, str]], card: Card
) -> AsyncGenerator[Talk]:
    """Talk to the agent of a card within a block."""
    # what is wrong with its answers is in the record; a log of each is what an attacker fills a disk with
    logging.getLogger("a2a").setLevel(logging.CRITICAL)
    carrier = Carrier(http, endpoint, headers)
    async with httpx.AsyncClient(
        transport=carrier, trust_env=False, follow_redirects=False, timeout=TIMEOUT_S
    ) as client:
        config = ClientConfig(
            streaming=False, polling=True, httpx_client=client, supported_protocol_bindings=list(BINDINGS)
        )
        try:
            made = ClientFactory(config).create(card.reached_at(endpoint))
        except Problem:
            raise
        except Exception:
            raise Unavailable(f"`{name}` cannot be spoken to by its card") from None
        yield Talk(name, made)


class Talk:
    """What is said to one agent within one call."""

    def __init__(self, name: str, client: Client) -> None:
        self._name = name
        self._client = client

    async def send(
        self, id: str, text: str, data: Any, lent: dict[str, Any] | None, *, task: str = "", context: str = ""
    ) -> Seen:
        """Send a task, or an answer to what one asks. Raises `Unavailable`: it may have been begun all the same."""
        parts = [_data_part(data)] if data is not None else []
        parts += [Part(text=text)] if text else []
        message = Message(message_id=id, role=Role.ROLE_USER, parts=parts, task_id=task, context_id=context)
        if lent is not None:
            message.metadata.update({LENT: lent})
        request = SendMessageRequest(message=message)
        request.configuration.return_immediately = True
        request.configuration.history_length = 0
        with self._through(changes=True):
            (answer,) = [one async for one in self._client.send_message(request)]
        if answer.HasField("message"):
            return Seen("completed", "", "", "", [_artifact("", answer.message.parts)])
        return self._seen(answer.task, task)

    async def look(self, task: str) -> Seen:
        """Ask how a task stands. Raises `Unavailable`."""
        with self._through():
            found = await self._client.get_task(GetTaskRequest(id=task, history_length=0))
        return self._seen(found, task)

    async def cancel(self, task: str) -> Seen:
        """Ask that a task be cancelled. Raises `Unavailable`."""
        with self._through():
            found = await self._client.cancel_task(CancelTaskRequest(id=task))
        return self._seen(found, task)

    def _through(self, *, changes: bool = False) -> Through:
        return Through(self._name, changes)

    def _seen(self, task: Task, asked: str) -> Seen:
        """Read a task. Raises `Unavailable` for one that is not the one that was asked for."""
        for id in (task.id, task.context_id):
            if id and not _ID.fullmatch(id):
                raise Unavailable(f"`{self._name}` gave a task whose name is none", changed="unknown")
        if not task.id or (asked and task.id != asked):
            raise Unavailable(f"`{self._name}` answered with another task", changed="unknown")
        state = TaskState.Name(task.status.state).removeprefix("TASK_STATE_").lower().replace("_", "-")
        artifacts = [_artifact(one.name or one.artifact_id, one.parts) for one in task.artifacts[:MOST_ARTIFACTS]]
        return Seen(state, task.id, task.context_id, _words(task.status.message.parts), artifacts)


class Through:
    """Turn whatever the SDK raises at an agent's answer into a problem; `changes` says that something may be begun."""

    def __init__(self, name: str, changes: bool) -> None:
        self._name = name
        self._changes = changes

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, fault: BaseException | None, trace: Any) -> None:
        if fault is None or not isinstance(fault, Exception):
            return
        if isinstance(fault, TooLarge) and self._changes:
            fault.changed = "unknown"
        if isinstance(fault, Problem) and not isinstance(fault, Deadline | Unavailable):
            return  # its answer was too large, or the platform itself refuses and nothing was sent
        said = (
            fault.detail
            if isinstance(fault, Problem)
            else f"`{self._name}` did not do its part: {shown(str(fault), 300)}"
        )
        raise Unavailable(said, changed="unknown" if self._changes else "nothing") from None


def _artifact(name: str, parts: Sequence[Part]) -> dict[str, Any]:
    return {"name": shown(name, 200), "text": _words(parts), "data": _data(parts), "files": _files(parts)}


def _data_part(data: Any) -> Part:
    """Give a data part; as JSON text where that could not hold it: its numbers are doubles, its depth bounded."""
    try:
        part = Part(data=ParseDict(data, Value()), media_type=_JSON)
        if MessageToDict(part.data) == data:
            return part
    except (ParseError, RecursionError):
        pass
    return Part(text=msgspec.json.encode(data).decode(), media_type=_JSON)


def _words(parts: Iterable[Part]) -> str:
    return neutral("\n".join(one.text for one in parts if one.WhichOneof("content") == "text"))


def _data(parts: Iterable[Part]) -> list[Any]:
    return [MessageToDict(one.data) for one in parts if one.WhichOneof("content") == "data"]


def _files(parts: Iterable[Part]) -> list[dict[str, Any]]:
    """Name the files among parts: nothing of them is fetched or stored."""
    return [
        {
            "name": shown(one.filename, 200),
            "media_type": shown(one.media_type, 100),
            "bytes": len(one.raw),
            "url": shown(one.url, 2048),
        }
        for one in parts
        if one.WhichOneof("content") in ("raw", "url")
    ]

"""An agent on the official SDK, as others write them: it echoes, asks, works until it is cancelled, and fails."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

import uvicorn
from a2a.server.agent_execution import AgentExecutor, RequestContext
from a2a.server.events import EventQueue
from a2a.server.request_handlers import DefaultRequestHandler
from a2a.server.routes import create_agent_card_routes, create_jsonrpc_routes, create_rest_routes
from a2a.server.tasks import InMemoryTaskStore, TaskUpdater
from a2a.types.a2a_pb2 import (
    AgentCapabilities,
    AgentCard,
    AgentInterface,
    AgentSkill,
    Part,
    Task,
    TaskState,
    TaskStatus,
)
from google.protobuf.json_format import MessageToDict, ParseDict
from google.protobuf.struct_pb2 import Value
from starlette.applications import Starlette

SEEN = Path(os.environ["SEEN"])
BINDING = os.environ.get("BINDING", "JSONRPC")


class Worker(AgentExecutor):
    """Do what the words say."""

    async def execute(self, context: RequestContext, event_queue: EventQueue) -> None:
        """Take a message."""
        assert context.message is not None
        assert context.task_id
        assert context.context_id
        words = context.get_user_input()
        metadata: dict[str, Any] = MessageToDict(context.message.metadata)
        with SEEN.open("a") as file:
            line = {"task": context.task_id, "words": words, "metadata": metadata, "id": context.message.message_id}
            file.write(json.dumps(line) + "\n")
        if words == "mute":
            await asyncio.sleep(600)
        updater = TaskUpdater(event_queue, context.task_id, context.context_id)
        if context.current_task is None:
            status = TaskStatus(state=TaskState.TASK_STATE_SUBMITTED)
            await event_queue.enqueue_event(Task(id=context.task_id, context_id=context.context_id, status=status))
        await updater.start_work()
        if words == "wait":
            await asyncio.sleep(600)
        while words.startswith("until ") and not Path(words.removeprefix("until ")).exists():
            await asyncio.sleep(0.05)
        if words == "ask" and context.current_task is None:
            await updater.requires_input(updater.new_agent_message([Part(text="Which colour?")]))
            return
        if words == "fail":
            await updater.failed(updater.new_agent_message([Part(text="it broke")]))
            return
        lent = metadata.get("superagent/lent", {})
        told = f"done: {words}" + (f" with {lent['key']}" if words == "tell" else "")
        data = ParseDict({"length": len(words)}, Value())
        await updater.add_artifact([Part(text=told), Part(data=data)], name="answer")
        await updater.complete()

    async def cancel(self, context: RequestContext, event_queue: EventQueue) -> None:
        """End a task."""
        assert context.task_id
        assert context.context_id
        with SEEN.open("a") as file:
            file.write(json.dumps({"task": context.task_id, "cancelled": True}) + "\n")
        await TaskUpdater(event_queue, context.task_id, context.context_id).cancel()


def main(port: int) -> None:
    """Serve."""
    base = f"http://localhost:{port}"
    card = AgentCard(
        name="Official", description="An agent on the official SDK.", version="1.0.0",
        supported_interfaces=[AgentInterface(url=f"{base}/talk", protocol_binding=BINDING, protocol_version="1.0")],
        capabilities=AgentCapabilities(streaming=False), default_input_modes=["text/plain"],
        default_output_modes=["text/plain"],
        skills=[AgentSkill(id="echo", name="Echo", description="Say it again.", tags=["echo"])],
    )  # fmt: skip
    handler = DefaultRequestHandler(agent_executor=Worker(), task_store=InMemoryTaskStore(), agent_card=card)
    routes = [
        *create_agent_card_routes(card),
        *create_jsonrpc_routes(handler, "/talk"),
        *create_rest_routes(handler, path_prefix="/talk"),
    ]
    uvicorn.run(Starlette(routes=routes), host="127.0.0.1", port=port, log_level="error")


if __name__ == "__main__":
    main(int(sys.argv[1]))

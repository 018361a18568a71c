"""Another agent's session by the official A2A client: check the card, send a message, get its task."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import httpx
import jwt
from a2a.client.card_resolver import A2ACardResolver
from a2a.client.client import ClientConfig
from a2a.client.client_factory import ClientFactory
from a2a.types.a2a_pb2 import GetTaskRequest, Message, Part, Role, SendMessageRequest, Task
from a2a.utils.signing import create_signature_verifier
from google.protobuf.json_format import ParseDict
from google.protobuf.struct_pb2 import Value


async def session(base: str, key: str) -> list[Task]:
    """Write a file and get the task again; whoever sends may leave in between."""
    async with httpx.AsyncClient(headers={"Authorization": f"Bearer {key}"}, timeout=60) as http:
        card = await A2ACardResolver(http, base).get_agent_card()
        keys = {one["kid"]: one for one in (await http.get(f"{base}/a2a/keys.json")).json()["keys"]}
        create_signature_verifier(lambda kid, jku: jwt.PyJWK(keys[str(kid)]), ["EdDSA"])(card)

        client = ClientFactory(ClientConfig(httpx_client=http, streaming=False)).create(card)
        wanted: dict[str, Any] = {"operation": "files.write", "input": {"path": "notes.txt", "content": "by A2A\n"}}
        parts = [Part(data=ParseDict(wanted, Value())), Part(text="a note for later")]
        message = Message(message_id="1", role=Role.ROLE_USER, parts=parts)
        (answer,) = [one async for one in client.send_message(SendMessageRequest(message=message))]
        return [answer.task, await client.get_task(GetTaskRequest(id=answer.task.id))]


if __name__ == "__main__":
    url = os.environ.get("SUPERAGENT_URL", "http://127.0.0.1:8750")
    for task in asyncio.run(session(url, os.environ["SUPERAGENT_API_KEY"])):
        print(task)

"""Push notifications: an address is told of every state, if policy lets it be told, and learns nothing but states."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from a2a.client.errors import A2AClientError
from a2a.types.a2a_pb2 import (
    CancelTaskRequest,
    DeleteTaskPushNotificationConfigRequest,
    GetTaskPushNotificationConfigRequest,
    ListTaskPushNotificationConfigsRequest,
    SendMessageRequest,
    TaskPushNotificationConfig,
)
from a2a.utils.errors import A2AError, InvalidParamsError, PushNotificationNotSupportedError, TaskNotFoundError

from superagent.runtime import hooks
from tests.features.access.people import tenant
from tests.surfaces.a2a.clients import WAYS, asking, sent, state_of, talking
from tests.surfaces.http.house import House, house_in
from tests.until import until_async

pytestmark = pytest.mark.asyncio(loop_scope="session")
ways = pytest.mark.parametrize(("version", "binding"), WAYS)
modern = pytest.mark.parametrize("binding", ["JSONRPC", "HTTP+JSON"])


@dataclass
class Receiver:
    """A webhook's other end: it keeps what comes, and answers what it is told to answer."""

    port: int = 0
    answers: list[int] = field(default_factory=list[int])
    heard: list[tuple[dict[str, str], Any]] = field(default_factory=list[tuple[dict[str, str], Any]])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/told?by=a2a"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:])}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        self.heard.append((headers, json.loads(body)))
        status = self.answers.pop(0) if self.answers else 204
        writer.write(f"HTTP/1.1 {status} x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".encode())
        await writer.drain()
        writer.close()


@asynccontextmanager
async def receiving(*answers: int) -> AsyncGenerator[Receiver]:
    receiver = Receiver(answers=list(answers))
    server = await asyncio.start_server(receiver.serve, "127.0.0.1", 0)
    receiver.port = server.sockets[0].getsockname()[1]
    try:
        yield receiver
    finally:
        server.close()
        await server.wait_closed()


@asynccontextmanager
async def opened(data: Path) -> AsyncGenerator[House]:
    """Open a house whose owner lets it connect to this machine."""
    data.mkdir()
    (data / "superagent.toml").write_text('[net]\nallow_private = ["127.0.0.1/32"]\n')
    async with house_in(data, limits__agent_rate_per_s=1e6, limits__agent_burst=10**6) as house:
        yield house


def states(receiver: Receiver) -> list[str]:
    return [one["statusUpdate"]["status"]["state"] for _, one in receiver.heard]


def pushed(request: SendMessageRequest, url: str, **config: Any) -> SendMessageRequest:
    request.configuration.task_push_notification_config.CopyFrom(TaskPushNotificationConfig(url=url, **config))
    return request


@ways
async def test_an_address_is_told_of_a_task_until_its_end(tmp_path: Path, version: str, binding: str) -> None:
    async with opened(tmp_path / "data") as house, receiving() as receiver:
        proof = {"scheme": "Bearer", "credentials": "their-own-secret"}
        async with talking(house, house.owner, version, binding) as client:
            request = pushed(
                asking("probe.wait", {"seconds": 0.05, "mark": "the output"}, context_id="pushed"),
                receiver.url, token="t0ken", authentication=proof,
            )  # fmt: skip
            task = await sent(client, request)
            assert state_of(task) == "completed"
        ends = {"TASK_STATE_COMPLETED", "completed"}
        await until_async(
            lambda: any((body.get("statusUpdate") or body)["status"]["state"] in ends for _, body in receiver.heard),
            "the end was told",
        )
        for headers, body in receiver.heard:
            assert headers["authorization"] == "Bearer their-own-secret"
            assert headers["x-a2a-notification-token"] == "t0ken"
            about = body.get("statusUpdate") or body
            assert about.get("taskId", about.get("id")) == task.id
            assert about["contextId"] == "pushed"
            assert "the output" not in json.dumps(body)
        assert all(("statusUpdate" in body) == (version == "1.0") for _, body in receiver.heard)
        found = list[dict[str, Any]]()
        while not found:
            found = await house.records(operation="jobs.hooks.tell", limit=20)
        assert {one["detail"]["job"] for one in found} == {task.id}
        text = json.dumps(await house.records(limit=200))
        assert "their-own-secret" not in text
        assert "t0ken" not in text


@modern
async def test_configurations_are_made_shown_and_removed(tmp_path: Path, binding: str) -> None:
    async with opened(tmp_path / "data") as house, receiving() as receiver:
        agent = await house.agent()
        async with talking(house, house.owner, binding=binding) as client:
            task = await sent(client, asking("probe.wait", {"seconds": 30}, at_once=True))
            config = TaskPushNotificationConfig(task_id=task.id, url=receiver.url, id="mine", token="hidden")
            made = await client.create_task_push_notification_config(config)
            assert (made.id, made.url, made.token) == ("mine", receiver.url, "")
            got = await client.get_task_push_notification_config(
                GetTaskPushNotificationConfigRequest(task_id=task.id, id="mine")
            )
            assert (got.id, got.task_id, got.url) == ("mine", task.id, receiver.url)
            listed = await client.list_task_push_notification_configs(
                ListTaskPushNotificationConfigsRequest(task_id=task.id)
            )
            assert [one.id for one in listed.configs] == ["mine"]
            for _ in range(2):  # idempotent
                await client.delete_task_push_notification_config(
                    DeleteTaskPushNotificationConfigRequest(task_id=task.id, id="mine")
                )
            with pytest.raises(TaskNotFoundError):
                await client.get_task_push_notification_config(
                    GetTaskPushNotificationConfigRequest(task_id=task.id, id="mine")
                )
        for other in (agent, await tenant(house)):
            async with talking(house, other, binding=binding) as client:
                with pytest.raises(TaskNotFoundError):
                    await client.create_task_push_notification_config(config)
                with pytest.raises(TaskNotFoundError):
                    await client.list_task_push_notification_configs(
                        ListTaskPushNotificationConfigsRequest(task_id=task.id)
                    )
        async with talking(house, house.owner) as client:
            await client.cancel_task(CancelTaskRequest(id=task.id))


async def test_what_does_not_arrive_is_told_again_and_in_the_end_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hooks, "LOOK_S", 0.05)
    monkeypatch.setattr(hooks.Hooks.__init__, "__defaults__", ((0.01, 0.01),))
    async with opened(tmp_path / "data") as house, receiving(500, 302) as good, receiving(*[503] * 9) as bad:
        async with talking(house, house.owner) as client:
            task = await sent(client, pushed(asking("access.whoami"), good.url))
            await until_async(lambda: len(good.heard) == 3, "it was told again")
            assert states(good)[-1] == "TASK_STATE_COMPLETED"
            await sent(client, pushed(asking("access.whoami"), bad.url))
            given_up = list[dict[str, Any]]()
            while not given_up:
                found = await house.records(operation="jobs.hooks.tell", limit=50)
                given_up = [one for one in found if one["status"] == "failed"]
            assert len(bad.heard) == 3
            assert "503" in given_up[0]["detail"]["failed"]
        assert task.id


@modern
async def test_an_agent_tells_only_addresses_that_it_was_granted(tmp_path: Path, binding: str) -> None:
    async with opened(tmp_path / "data") as house, receiving() as receiver:
        free, bound = await house.agent(), await house.agent(
            role=None,
            grants=[
                {"effect": "allow", "operations": ["access.whoami"]},
                {"effect": "allow", "operations": ["jobs.hooks.create"],
                 "where": {"hosts": [f"127.0.0.1:{receiver.port}"]}},
            ],
        )  # fmt: skip
        for caller, url in ((free, receiver.url), (bound, "https://elsewhere.example/x?all=secrets")):
            async with talking(house, caller, binding=binding) as client:
                with pytest.raises((A2AError, A2AClientError)) as refused:
                    await sent(client, pushed(asking("access.whoami"), url))
                if caller is free:
                    assert isinstance(refused.value, PushNotificationNotSupportedError)
                else:
                    assert isinstance(refused.value, InvalidParamsError)
                assert not (await house.records(actor=caller.name, operation="access.whoami"))
        assert {one["kind"] for one in await house.records(operation="jobs.hooks.create", limit=20)} == {"refused"}
        async with talking(house, bound, binding=binding) as client:
            await sent(client, pushed(asking("access.whoami"), receiver.url))
        await until_async(lambda: "TASK_STATE_COMPLETED" in states(receiver), "the end was told")


async def test_inner_addresses_and_broken_ones_are_not_told(house: House) -> None:
    async with talking(house, house.owner) as client:
        task = await sent(client, asking("probe.wait", {"seconds": 30}, at_once=True))
        for url in (
            "http://127.0.0.1:1/", "http://169.254.169.254/latest/meta-data", "http://[::1]/",
            "http://10.0.0.1:80/x", "http://[::ffff:10.0.0.1]/",
        ):  # fmt: skip
            with pytest.raises((A2AError, A2AClientError)) as refused:
                await client.create_task_push_notification_config(TaskPushNotificationConfig(task_id=task.id, url=url))
            assert "403" in str(refused.value), url
        for config in (
            {"url": "file:///etc/passwd"}, {"url": "http://2130706433/"}, {"url": "gopher://x.example/"}, {"url": "https://a@b@c.example/"},
            {"url": "https://x.example/", "token": "a\r\nHost: b"}, {"url": "https://x.example/", "id": "../x"},
            {"url": "https://x.example/", "authentication": {"scheme": "Bearer\r\nX: y", "credentials": "z"}},
            {"url": "https://x.example/" + "y" * 3000},
        ):  # fmt: skip
            with pytest.raises(InvalidParamsError):
                await client.create_task_push_notification_config(
                    TaskPushNotificationConfig(task_id=task.id, **config)  # pyright: ignore[reportArgumentType]
                )
        await client.cancel_task(CancelTaskRequest(id=task.id))


async def test_hooks_are_bounded_and_end_with_the_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hooks, "LOOK_S", 0.05)
    async with opened(tmp_path / "data") as house, receiving() as receiver:
        grants = [
            {"effect": "allow", "operations": ["jobs.*"]},
            {"effect": "ask", "operations": ["files.read"], "require": {"approvals": 1}},
        ]
        made = await house.owner.done("access.keys.create", {"name": "bounded", "grants": grants})
        agent = house.caller("bounded", made["key"])
        async with talking(house, agent) as client:
            task = await sent(client, asking("files.read", {"path": "/etc/hostname"}))
            assert state_of(task) == "input_required", task
            for number in range(hooks.MOST_OF_A_JOB + 1):
                config = TaskPushNotificationConfig(task_id=task.id, url=receiver.url, id=f"n{number}")
                if number < hooks.MOST_OF_A_JOB:
                    await client.create_task_push_notification_config(config)
                else:
                    with pytest.raises((A2AError, A2AClientError)) as refused:
                        await client.create_task_push_notification_config(config)
                    assert "413" in str(refused.value)
        await house.owner.done("access.keys.revoke", {"id": made["id"]})
        await house.owner.done("approvals.decide", {"id": task.id, "decision": "deny"})
        dropped = list[dict[str, Any]]()
        while not dropped:
            found = await house.records(operation="jobs.hooks.tell", limit=50)
            dropped = [one for one in found if one["status"] == "failed"]
        assert receiver.heard == []

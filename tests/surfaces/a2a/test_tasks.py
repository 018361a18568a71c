"""Messages become calls and calls are tasks, by every way that the card declares."""

from __future__ import annotations

from typing import Any

import pytest
from a2a.client.client import Client
from a2a.client.errors import A2AClientError
from a2a.types.a2a_pb2 import (
    CancelTaskRequest,
    GetTaskRequest,
    ListTasksRequest,
    Part,
    Role,
    SendMessageRequest,
    TaskState,
)
from a2a.utils.errors import (
    ContentTypeNotSupportedError,
    InvalidParamsError,
    TaskNotCancelableError,
    UnsupportedOperationError,
)
from google.protobuf.json_format import MessageToDict, ParseDict
from google.protobuf.struct_pb2 import Value

from tests.features.access.people import tenant
from tests.surfaces.a2a.clients import WAYS, absent, asking, output_of, problem_in, sending, sent, state_of, talking
from tests.surfaces.http.house import Caller, House

pytestmark = pytest.mark.asyncio(loop_scope="session")


ways = pytest.mark.parametrize(("version", "binding"), WAYS)
modern = pytest.mark.parametrize("binding", ["JSONRPC", "HTTP+JSON"])
READ: dict[str, Any] = {"path": "/etc/hostname"}


@ways
async def test_a_message_runs_an_operation_and_its_task_can_be_got_again(
    house: House, agent: Caller, version: str, binding: str
) -> None:
    async with talking(house, agent, version, binding) as client:
        task = await sent(client, asking("files.write", {"path": "a.txt", "content": "by A2A\n"}, context_id="talk-1"))
        assert state_of(task) == "completed"
        assert task.context_id == "talk-1"
        again = await client.get_task(GetTaskRequest(id=task.id))
        assert MessageToDict(again) == MessageToDict(task)
        read = await sent(client, asking("files.read", {"path": "a.txt"}))
        assert output_of(read)["content"] == "by A2A\n"
        assert read.context_id
    records = await house.records(invocation=task.id)
    assert {one["kind"] for one in records} == {"intent", "outcome"}
    assert {one["channel"] for one in records} == {"a2a"}


@ways
async def test_words_are_not_interpreted(house: House, agent: Caller, version: str, binding: str) -> None:
    async with talking(house, agent, version, binding) as client:
        task = await sent(client, sending(Part(text="delete everything, please")))
        assert state_of(task) == "rejected"
        problem = problem_in(task)
        assert problem["type"] == "/problems/invalid-input"
        assert "data part" in problem["hint"]
        assert problem["fix"]["operation"] == "catalogue.search"
        assert (await house.records(invocation=task.id))[0]["kind"] == "refused"
        # the record tells the same later, without what was said
        again = await client.get_task(GetTaskRequest(id=task.id))
        assert state_of(again) == "rejected"


async def test_a_name_and_json_as_text_are_calls(house: House, agent: Caller) -> None:
    async with talking(house, agent) as client:
        task = await sent(client, sending(Part(text="access.whoami")))
        assert output_of(task)["id"] == agent.name
        text = '{"operation": "files.write", "input": {"path": "b.txt", "content": "x"}}'
        task = await sent(client, sending(Part(text=text, media_type="application/json"), Part(text="as agreed")))
        assert state_of(task) == "completed"
    held = await house.installation.work.get("default", task.id)
    assert held is not None
    assert held.invocation.call.reason == "as agreed"


@modern
async def test_what_is_hidden_and_what_is_not_there_are_one(house: House, binding: str) -> None:
    agent = await house.agent(role=None, grants=[{"effect": "allow", "operations": ["access.whoami"]}])
    told: list[dict[str, Any]] = []
    async with talking(house, agent, binding=binding) as client:
        for name in ("files.write", "files.nothing"):
            for request in (asking(name, {}), sending(Part(text=name))):
                task = await sent(client, request)
                assert state_of(task) == "rejected"
                problem = problem_in(task)
                assert problem["type"] == "/problems/not-found"
                told.append({"detail": problem["detail"].replace(name, "…"), "hint": problem.get("hint")})
    assert all(one == told[0] for one in told)


@pytest.mark.parametrize(
    "parts",
    [
        [Part(text='{"operation": 5}', media_type="application/json")],
        [Part(text='{"operation": "access.whoami", "session": 5}', media_type="application/json")],
        [Part(text='{"operation": "access.whoami", "tenant": "system"}', media_type="application/json")],
        [Part(text='["access.whoami"]', media_type="application/json")],
        [Part(text="[" * 100_000, media_type="application/json")],
        [Part(text='{"a": 1, "a": 2}', media_type="application/json")],
        [Part(text="x")] * 33,
        [Part(text='{"operation": "access.whoami"}', media_type="application/json")] * 2,
    ],
)
async def test_what_does_not_fit_is_rejected_and_recorded(house: House, agent: Caller, parts: list[Part]) -> None:
    async with talking(house, agent) as client:
        task = await sent(client, sending(*parts))
    assert state_of(task) == "rejected"
    assert problem_in(task)["type"] in ("/problems/invalid-input", "/problems/malformed")
    assert [one["kind"] for one in await house.records(invocation=task.id)] == ["refused"]


async def test_numbers_are_what_was_sent(house: House, agent: Caller) -> None:
    async with talking(house, agent) as client:
        rounded = await sent(client, asking("probe.wait", {"seconds": 0, "mark": "m", "n": 2**53}))
        assert state_of(rounded) == "rejected"
        assert "rounded" in problem_in(rounded)["detail"]
        search = {"query": "file", "limit": 3}
        whole = await sent(client, asking("catalogue.search", search))  # an integer stays one
        assert state_of(whole) == "completed", problem_in(whole)


async def test_a_message_may_say_how_its_call_is_treated(house: House, agent: Caller) -> None:
    async with talking(house, agent) as client:
        write = {"path": "dry.txt", "content": "x"}
        task = await sent(client, asking("files.write", write, steers={"dry_run": True}))
        assert state_of(task) == "completed"
        assert "dry run" in task.status.message.parts[0].text
        assert not (agent.workspace / "dry.txt").exists()
        for strange in ({"operation": "access.whoami"}, {"session": "x"}, {"nonsense": 1}):
            task = await sent(client, asking("files.write", write, steers=strange))
            assert state_of(task) == "rejected"
        once = {"key": "once"}
        same = [await sent(client, asking("files.write", write, steers=once)) for _ in range(2)]
        assert same[0].id == same[1].id, same


@ways
async def test_a_dry_run_said_with_a_slip_or_elsewhere_is_refused(house: House, version: str, binding: str) -> None:
    agent, dry = await house.agent(), {"dry_run": True}
    write = {"path": "slip.txt", "content": "x"}
    async with talking(house, agent, version, binding) as client:
        for key in ("superagent/cal", "Superagent/call", "superagent.call", "dry_run", "call", "urn:superagent/call"):
            request = asking("files.write", write)
            request.message.metadata.update({key: dry})
            await _rejected(house, client, request)
        twice = asking("files.write", write, steers=dry)
        twice.message.parts[0].data.struct_value.update({"dry_run": False})
        await _rejected(house, client, twice)
        beside, inside = asking("files.write", write), asking("files.write", write)
        beside.metadata.update({"superagent/call": dry})
        inside.message.parts[0].metadata.update({"superagent/call": dry})
        for request in (beside, inside):
            await _rejected(house, client, request)
    assert not (agent.workspace / "slip.txt").exists()


@ways
async def test_a_dry_run_where_the_protocol_knows_nothing_is_refused(house: House, version: str, binding: str) -> None:
    """The SDK leaves aside what it does not know, and the message would act."""
    agent = await house.agent()
    for place in ("request", "message", "part", "configuration"):
        for key, value in (
            ("dry_run", True),
            ("dryRun", "true"),
            ("dry", True),
            ("superagent/call", {"dry_run": True}),
        ):
            async with talking(house, agent, version, binding, slip=(place, key, value)) as client:
                await _rejected(house, client, asking("files.write", {"path": "aside.txt", "content": "x"}))
    assert not (agent.workspace / "aside.txt").exists()
    async with talking(house, agent, version, binding, slip=("message", "laundry", True)) as client:
        done = await sent(client, asking("files.write", {"path": "aside.txt", "content": "dry_run"}))
    assert state_of(done) == "completed"


async def _rejected(house: House, client: Client, request: SendMessageRequest) -> None:
    task = await sent(client, request)
    assert state_of(task) == "rejected"
    assert problem_in(task)["type"] == "/problems/invalid-input"
    assert [one["kind"] for one in await house.records(invocation=task.id)] == ["refused"]


async def test_files_are_no_parts_of_messages(house: House, agent: Caller) -> None:
    async with talking(house, agent) as client:
        for part in (Part(raw=b"x", media_type="image/png"), Part(url="http://169.254.169.254/latest")):
            with pytest.raises(ContentTypeNotSupportedError):
                await sent(client, sending(part))


@ways
async def test_what_needs_approval_is_input_required_and_no_message_approves(
    house: House, version: str, binding: str
) -> None:
    agent = await house.agent()
    async with talking(house, agent, version, binding) as client:
        task = await sent(client, asking("files.read", READ))
        assert state_of(task) == "input_required"
        assert f"approvals approve {task.id}" in task.status.message.parts[0].text
        for words in ("approve", "yes", "approved by the owner"):
            still = await sent(client, sending(Part(text=words), task_id=task.id))
            assert (still.id, state_of(still)) == (task.id, "input_required")
        again = await sent(client, asking("approvals.decide", {"id": task.id, "decision": "approve"}))
        assert state_of(again) in ("rejected", "failed")
        assert state_of(await client.get_task(GetTaskRequest(id=task.id))) == "input_required"
        with pytest.raises((InvalidParamsError, A2AClientError)):
            await sent(client, sending(Part(text="x"), task_id=task.id, context_id="another"))
        await house.owner.done("approvals.decide", {"id": task.id, "decision": "approve"})
        done = task
        for _ in range(200):
            done = await client.get_task(GetTaskRequest(id=task.id))
            if state_of(done) == "completed":
                break
        assert output_of(done)["content"]
        with pytest.raises((UnsupportedOperationError, A2AClientError)):
            await sent(client, sending(Part(text="more"), task_id=task.id))


@ways
async def test_a_task_is_cancelled_once(house: House, version: str, binding: str) -> None:
    async with talking(house, house.owner, version, binding) as client:
        task = await sent(client, asking("probe.wait", {"seconds": 50}, at_once=True))
        assert state_of(task) in ("submitted", "working")
        assert state_of(await client.cancel_task(CancelTaskRequest(id=task.id))) in ("canceled", "working")
        ended = task
        for _ in range(200):
            ended = await client.get_task(GetTaskRequest(id=task.id))
            if state_of(ended) == "canceled":
                break
        assert state_of(ended) == "canceled"
        with pytest.raises((TaskNotCancelableError, A2AClientError)):
            await client.cancel_task(CancelTaskRequest(id=task.id))


@modern
async def test_tasks_are_listed_page_by_page(house: House, binding: str) -> None:
    agent = await house.agent()
    async with talking(house, agent, binding=binding) as client:
        made = [(await sent(client, asking("access.whoami", context_id=f"c{n % 2}"))).id for n in range(1, 6)]
        found, token, sizes = list[str](), "", list[int]()
        while True:
            page = await client.list_tasks(ListTasksRequest(page_size=2, page_token=token))
            found += [one.id for one in page.tasks]
            sizes.append(len(page.tasks))
            assert (page.total_size, page.page_size) == (5, 2)
            assert not any(one.artifacts for one in page.tasks)
            token = page.next_page_token
            if not token:
                break
        assert found == made[::-1]  # the last changed first
        assert sizes == [2, 2, 1]
        of_one = await client.list_tasks(ListTasksRequest(context_id="c1", include_artifacts=True))
        assert [one.id for one in of_one.tasks] == [made[4], made[2], made[0]]
        assert all(one.artifacts for one in of_one.tasks)
        failed = await client.list_tasks(ListTasksRequest(status=TaskState.TASK_STATE_FAILED))
        assert not failed.tasks
        working = await client.list_tasks(ListTasksRequest(status=TaskState.TASK_STATE_COMPLETED, page_size=100))
        assert len(working.tasks) == 5
        later = ListTasksRequest()
        later.status_timestamp_after.GetCurrentTime()
        later.status_timestamp_after.seconds += 60
        assert not (await client.list_tasks(later)).tasks
        for bad in (ListTasksRequest(page_size=101), ListTasksRequest(page_size=-1), ListTasksRequest(page_token="x")):
            with pytest.raises(InvalidParamsError):
                await client.list_tasks(bad)


@ways
async def test_what_is_anothers_is_not_there(house: House, agent: Caller, version: str, binding: str) -> None:
    async with talking(house, house.owner) as client:
        own = await sent(client, asking("probe.wait", {"seconds": 30}, at_once=True))
    boss = await tenant(house)
    for other in (await house.agent(), boss):
        async with talking(house, other, version, binding) as client:
            for id in (own.id, "0" * 26, "x" * 5000):
                with pytest.raises(absent(version, binding)):
                    await client.get_task(GetTaskRequest(id=id))
                with pytest.raises(absent(version, binding)):
                    await client.cancel_task(CancelTaskRequest(id=id))
                with pytest.raises(absent(version, binding)):
                    await sent(client, sending(Part(text="x"), task_id=id))
            if version == "1.0":
                assert own.id not in [one.id for one in (await client.list_tasks(ListTasksRequest())).tasks]
    for name in ("a2a.GetTask", "a2a.CancelTask", "a2a.SendMessage"):
        refused = await house.records(operation=name, limit=20)
        assert {one["kind"] for one in refused} == {"refused"}
    async with talking(house, house.owner) as client:
        assert state_of(await client.get_task(GetTaskRequest(id=own.id))) in ("submitted", "working")
        await client.cancel_task(CancelTaskRequest(id=own.id))


@ways
async def test_history_is_what_was_asked_and_what_was_said(
    house: House, agent: Caller, version: str, binding: str
) -> None:
    async with talking(house, agent, version, binding) as client:
        words = Part(text="as agreed")
        data = ParseDict({"operation": "files.read", "input": READ}, Value())
        task = await sent(client, sending(Part(data=data), words))
        assert not task.history
        assert not (await client.get_task(GetTaskRequest(id=task.id))).history
        assert not (await client.get_task(GetTaskRequest(id=task.id, history_length=0))).history
        asked, told = (await client.get_task(GetTaskRequest(id=task.id, history_length=5))).history
        assert (asked.role, told.role) == (Role.ROLE_USER, Role.ROLE_AGENT)
        assert MessageToDict(asked.parts[0].data) == {"operation": "files.read", "input": READ}
        assert asked.parts[1].text == "as agreed"
        assert "approval" in told.parts[0].text
        (last,) = (await client.get_task(GetTaskRequest(id=task.id, history_length=1))).history
        assert last.message_id == told.message_id
        if version == "1.0":
            listed = await client.list_tasks(ListTasksRequest(history_length=2, page_size=1))
            assert [len(one.history) for one in listed.tasks] == [2]
            with pytest.raises(InvalidParamsError):
                await client.get_task(GetTaskRequest(id=task.id, history_length=-1))


async def test_history_shows_no_secret(house: House) -> None:
    async with talking(house, house.owner) as client:
        task = await sent(client, asking("secrets.put", {"name": "told", "value": "hunter22-in-the-vault"}))
        found = await client.get_task(GetTaskRequest(id=task.id, history_length=5))
    assert found.history
    assert "hunter22" not in str(MessageToDict(found))

"""Tasks that ask their caller for something: a message answers, its caller's alone."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from a2a.client.errors import A2AClientError
from a2a.types.a2a_pb2 import GetTaskRequest, ListTasksRequest, Part, SubscribeToTaskRequest, TaskState
from a2a.utils.errors import InvalidParamsError
from google.protobuf.json_format import ParseDict
from google.protobuf.struct_pb2 import Value

from superagent.sdk import Ask, Context, Effect, Input, Output, Plugin, Risk
from tests.promise import promise
from tests.surfaces.a2a.clients import (
    WAYS,
    absent,
    asking,
    output_of,
    problem_in,
    sending,
    sent,
    state_of,
    streamed,
    talking,
)
from tests.surfaces.http.house import House, house_in

pytestmark = pytest.mark.asyncio(loop_scope="session")
asks = Plugin("asks")
GRANTS = [{"effect": "allow", "operations": ["asks.*", "jobs.*"]}]


class Colour(Input):
    colour: str


class Painted(Output):
    colour: str


@asks.operation(risk=Risk.LOW, effect=Effect.READ)
async def paint(ctx: Context) -> Painted:
    """Paint something in a colour that is asked for."""
    answer = await ctx.ask(Ask("colour", "Which colour?", Colour))
    return Painted(colour="none" if answer is None else answer.colour)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def house(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[House]:
    folder: Path = tmp_path_factory.mktemp("asking")
    async with house_in(folder / "data", (asks,), limits__agent_rate_per_s=1e6, limits__agent_burst=10**6) as house:
        yield house


def answering(task: str, answers: Any, **more: Any) -> Any:
    return sending(Part(data=ParseDict({"answers": answers}, Value())), task_id=task, **more)


@promise("2.1b")
@pytest.mark.parametrize(("version", "binding"), WAYS)
async def test_what_a_task_asks_is_answered_by_a_message(house: House, version: str, binding: str) -> None:
    agent, other = await house.agent(grants=GRANTS), await house.agent(grants=GRANTS)
    async with talking(house, agent, version, binding) as client:
        task = await sent(client, asking("asks.paint"))
        assert state_of(task) == "input_required"
        (question,) = problem_in(task)["asks"]
        assert (question["name"], question["text"]) == ("colour", "Which colour?")
        assert state_of(await client.get_task(GetTaskRequest(id=task.id))) == "input_required"
        async with talking(house, other, version, binding) as theirs:
            with pytest.raises(absent(version, binding)):
                await sent(theirs, answering(task.id, {"colour": {"colour": "red"}}))
        for wrong in (
            sending(Part(text="blue"), task_id=task.id),
            sending(Part(text="a"), Part(text="b"), task_id=task.id),
            # an answer is not tried: whoever wants that is not answered with the real thing
            answering(task.id, {"colour": {"colour": "red"}}, steers={"dry_run": True}),
        ):
            with pytest.raises((InvalidParamsError, A2AClientError)):  # the latter for REST of 0.3: a mere 400
                await sent(client, wrong)
        again = await sent(client, answering(task.id, {"colour": {"colour": 5}}))  # it does not fit: asked once more
        assert state_of(again) == "input_required"
        done = await sent(client, answering(task.id, {"colour": {"colour": "blue"}}))
        assert (state_of(done), done.id) == ("completed", task.id)
        assert output_of(done) == {"colour": "blue"}


async def test_what_asks_is_listed_and_followed(house: House) -> None:
    agent = await house.agent(grants=GRANTS)
    async with talking(house, agent, streaming=True) as client:
        task = (await streamed(client, asking("asks.paint")))[0].task
        listed = await client.list_tasks(ListTasksRequest(status=TaskState.TASK_STATE_INPUT_REQUIRED))
        assert [one.id for one in listed.tasks] == [task.id]
        follows = client.subscribe(SubscribeToTaskRequest(id=task.id))
        first = await anext(follows)
        assert state_of(first.task) == "input_required"
        await agent.done("jobs.answer", {"id": task.id, "answers": {"colour": {"colour": "blue"}}})
        last = [one async for one in follows][-1]
        assert last.status_update.status.state == TaskState.TASK_STATE_COMPLETED

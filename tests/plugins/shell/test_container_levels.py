"""`shell.*` at the level `container`, over HTTP: what an agent sees of it, and that nothing runs below it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.engines import each_engine, engine
from tests.needs import program
from tests.promise import promise
from tests.surfaces.http.house import House, house_in, problem_of

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module", params=each_engine)
def serving(request: pytest.FixtureRequest) -> Generator[tuple[str, str]]:
    with engine(request.param) as socket:
        yield request.param, socket


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def boxed(serving: tuple[str, str], tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[House]:
    name, socket = serving
    data = tmp_path_factory.mktemp("house") / "data"
    data.mkdir()
    (data / "superagent.toml").write_text(
        f'[sandbox]\nminimum_level = "container"\nbackends = ["{name}"]\n{name}_socket = "{socket}"\n'
    )
    async with house_in(data) as house:
        yield house


@pytest.mark.slow
async def test_an_agents_command_runs_in_a_container_and_the_result_and_the_record_say_so(
    boxed: House, serving: tuple[str, str]
) -> None:
    agent = await boxed.agent()
    (agent.workspace / "there.txt").write_text("before\n")

    response = await agent.call("shell.exec", {"argv": ["sh", "-c", "cat there.txt; echo hi > out.txt; rm there.txt"]})

    outcome: dict[str, Any] = response.json()
    assert outcome["output"]["stdout"] == "before\n", response.text
    isolation = outcome["isolation"]
    assert (isolation["level"], isolation["backend"], isolation["network"]) == ("container", serving[0], "off")
    assert isolation["limits"]["memory"] == "enforced"
    assert isolation["limits"]["disk"] == "none"
    assert (agent.workspace / "out.txt").read_text() == "hi\n"
    assert not (agent.workspace / "there.txt").exists()
    records = await boxed.records(invocation=outcome["invocation"])
    assert any("container" in str(record) for record in records)


async def test_a_command_line_with_an_input_runs_there_too(boxed: House) -> None:
    agent = await boxed.agent()

    output = await agent.done("shell.run", {"command": 'read one; echo "got $one"', "stdin": "it\n"})

    assert (output["stdout"], output["exit_code"]) == ("got it\n", 0)


async def test_what_was_changed_is_taken_back(boxed: House) -> None:
    agent = await boxed.agent()
    response = await agent.call("shell.exec", {"argv": ["sh", "-c", "echo hi > out.txt"]})
    assert (agent.workspace / "out.txt").exists()

    undone = await agent.http.post(f"/v1/invocations/{response.json()['invocation']}/undo")

    assert undone.status_code == 200, undone.text
    assert not (agent.workspace / "out.txt").exists()


@promise("1.3a")
async def test_each_container_level_is_named_among_the_capabilities(boxed: House, serving: tuple[str, str]) -> None:
    found = {one["name"]: one for one in (await boxed.owner.done("catalogue.capabilities"))["capabilities"]}

    assert found["sandbox"]["detail"].startswith(f"commands run at the level container ({serving[0]})")
    assert found[f"sandbox.{serving[0]}"]["available"] is True


@pytest.mark.slow
async def test_a_call_can_demand_a_container_where_less_would_do(serving: tuple[str, str], tmp_path: Path) -> None:
    program("bwrap", "bubblewrap")
    name, socket = serving
    (tmp_path / "superagent.toml").write_text(f'[sandbox]\nbackends = ["{name}"]\n{name}_socket = "{socket}"\n')
    async with house_in(tmp_path) as house:
        agent = await house.agent()
        levels = [
            (await agent.call("shell.exec", {"argv": ["true"]}, **headers)).json()["isolation"]["level"]
            for headers in ({}, {"Superagent_Isolation": "container"})
        ]

    assert levels == ["native", "container"]


@pytest.mark.slow
async def test_without_its_engine_nothing_runs_and_the_cure_is_said_and_recorded(tmp_path: Path) -> None:
    (tmp_path / "superagent.toml").write_text(
        f'[sandbox]\nminimum_level = "container"\nbackends = ["docker", "gvisor"]\n'
        f'docker_socket = "{tmp_path}/no.sock"\n'
    )
    async with house_in(tmp_path) as house:
        agent = await house.agent()
        response = await agent.call("shell.exec", {"argv": ["touch", "x"]})
        found = {one["name"]: one for one in (await house.owner.done("catalogue.capabilities"))["capabilities"]}
        (record,) = [
            one
            for one in await house.records(invocation=response.headers["x-invocation-id"])
            if one["kind"] in ("refused", "outcome")
        ]

    problem = problem_of(response, 503, "sandbox-unavailable")
    assert f"`{tmp_path}/no.sock` is not there" in problem["detail"]
    assert "sandbox.docker_socket" in problem["hint"]
    assert not (agent.workspace / "x").exists()
    assert (found["sandbox.docker"]["available"], found["sandbox.gvisor"]["available"]) == (False, False)
    assert "install Docker" in found["sandbox.docker"]["cure"]
    assert "sandbox-unavailable" in str(record)

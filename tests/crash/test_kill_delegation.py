"""Killed or stopped while another agent works for us: the job finds that task again, and never hands it over twice."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.crash.platform import Server, serving
from tests.promise import promise
from tests.runtime.a2a_client.agents import OFFICIAL
from tests.runtime.mcp_client.connected import port
from tests.until import until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


class Agent:
    """An agent on the official SDK, as a program of its own, and what reached it."""

    def __init__(self, folder: Path) -> None:
        self.port = port()
        self._file = folder / "seen"
        self.process = subprocess.Popen(
            [sys.executable, str(OFFICIAL), str(self.port)], env={**os.environ, "SEEN": str(self._file)},
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        until(self._up, "the agent", 90.0)

    def _up(self) -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{self.port}/.well-known/agent-card.json").status_code == 200
        except httpx.TransportError:
            return False

    def seen(self) -> list[dict[str, Any]]:
        """Give what reached it."""
        return [json.loads(line) for line in self._file.read_text().splitlines()] if self._file.exists() else []

    def handed(self, id: str) -> list[dict[str, Any]]:
        """Give the messages of one of our calls."""
        return [one for one in self.seen() if one.get("id") == id]


@pytest.fixture
def agent(tmp_path: Path) -> Generator[Agent]:
    agent = Agent(tmp_path)
    yield agent
    agent.process.kill()
    agent.process.wait()


def folder_of(tmp_path: Path) -> Path:
    """Give a data folder whose installation may reach agents on loopback."""
    data = tmp_path / "data"
    data.mkdir()
    (data / "superagent.toml").write_text('[net]\nallow_private = ["127.0.0.1/32"]\n')
    return data


def delegated(server: Server, agent: Agent, task: str, **more: Any) -> str:
    """Connect the agent, pin its card, hand it a task, and give the job's id once it has arrived."""
    endpoint = f"http://localhost:{agent.port}"
    server.call("connections.create", name="other", type="a2a", endpoint=endpoint)
    card = server.call("agents.card", agent="other")
    server.call("connections.update", name="other", options={"card": card["digest"]})
    with server.client() as client:
        asked = {"agent": "other", "task": task, **more}
        id = client.post("/v1/operations/agents.delegate", json=asked).headers["x-invocation-id"]
    until(lambda: agent.handed(id), "the task to arrive")
    return id


def noted(server: Server, id: str) -> bool:
    """Tell whether the job knows the agent's name for its task."""
    with server.client() as client:
        found = client.get(f"/v1/invocations/{id}").json()
    return "the agent's task is working" in json.dumps(server.call("jobs.status", id=id)) or found["status"] == "done"


def ended(server: Server, id: str) -> dict[str, Any]:
    """Give what came of a job."""
    server.call("jobs.wait", ids=[id], timeout_s=60)
    return server.call("jobs.status", id=id)


@promise("2.1b")
@pytest.mark.parametrize("end", ["kill", "stop"])
def test_after_a_restart_the_job_finds_its_task_and_goes_on(tmp_path: Path, agent: Agent, end: str) -> None:
    data, sign = folder_of(tmp_path), tmp_path / "sign"
    only = [{"effect": "allow", "operations": ["access.whoami"]}]
    with serving(data) as server:
        id = delegated(server, agent, f"until {sign}", only=only)
        until(lambda: noted(server, id), "the job to hear of it")
        getattr(server, end)()
    (seen,) = agent.handed(id)
    with serving(data) as server:
        lent = seen["metadata"]["superagent/lent"]
        until(lambda: server.call("jobs.status", id=id)["state"] == "running", "the job to go on")
        with server.client(lent["key"]) as borrower:
            assert borrower.post("/v1/operations/access.whoami", json={}).status_code == 200
        sign.touch()
        job = ended(server, id)
        with server.client(lent["key"]) as borrower:
            assert borrower.post("/v1/operations/access.whoami", json={}).status_code == 401

    output = job["outcome"]["output"]
    assert (job["state"], output["state"], output["task"]) == ("done", "completed", seen["task"])
    assert output["artifacts"][0]["text"] == f"done: until {sign}"
    assert output["lent"] == lent["id"]
    assert len(agent.handed(id)) == 1
    assert not [one for one in agent.seen() if one.get("cancelled")]


def test_after_a_restart_the_job_still_cancels_its_task(tmp_path: Path, agent: Agent) -> None:
    data = folder_of(tmp_path)
    with serving(data) as server:
        id = delegated(server, agent, "wait")
        until(lambda: noted(server, id), "the job to hear of it")
        server.kill()
    with serving(data) as server:
        until(lambda: server.call("jobs.status", id=id)["state"] == "running", "the job to go on")
        server.call("jobs.cancel", id=id)
        assert ended(server, id)["state"] == "cancelled"

    (seen,) = agent.handed(id)
    assert {"task": seen["task"], "cancelled": True} in agent.seen()


def test_what_was_cut_off_while_it_was_handed_over_is_not_handed_over_again(tmp_path: Path, agent: Agent) -> None:
    data = folder_of(tmp_path)
    with serving(data) as server:
        id = delegated(server, agent, "mute")
        server.kill()
    with serving(data) as server:
        job = ended(server, id)

    problem = job["outcome"]["problem"]
    assert (job["state"], problem["type"]) == ("failed", "/problems/unavailable")
    assert problem["changed"] == "unknown"
    assert "nobody knows whether it arrived" in problem["detail"]
    assert len(agent.handed(id)) == 1

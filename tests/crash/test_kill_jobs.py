"""Killed while jobs run and wait: those that ran are interrupted and never repeated, those in line go on."""

from __future__ import annotations

import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.crash.platform import Server, serving
from tests.needs import program
from tests.promise import promise
from tests.until import until

AT_ONCE = 8
pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


@pytest.fixture(autouse=True)
def bubblewrap() -> None:
    program("bwrap", "bubblewrap")


def begin(server: Server, operation: str, **given: Any) -> str:
    """Start a call in the background and give its id; each call comes over a connection of its own."""
    with server.client() as client:
        reply = client.post(f"/v1/operations/{operation}", json=given, headers={"prefer": "respond-async"})
    assert reply.status_code == 202, reply.text
    return reply.headers["x-invocation-id"]


def states(server: Server, ids: list[str]) -> dict[str, str]:
    """Give the state of each job."""
    found = server.call("jobs.wait", ids=ids, timeout_s=0)["jobs"]
    return {one["invocation"]: one["state"] for one in found}


def writes(at: int) -> str:
    """Give a command that adds a line to a file of its own: two that change one file in their views are a conflict."""
    return f"echo {at}; echo {at} >> line-{at}"


def lines(server: Server) -> list[str]:
    """Give what commands wrote into the workspace that have ended, in the order of their numbers."""
    folder = server.data / "workspaces" / "default" / "owner"
    return sorted((line for file in folder.glob("line-*") for line in file.read_text().splitlines()), key=int)


def said(server: Server, ids: list[str]) -> list[str]:
    """Give what each job has written to its output by now."""
    return [server.call("jobs.logs", id=id)["text"] for id in ids]


def running_and_waiting(server: Server, beside: int = 0) -> tuple[list[str], list[str]]:
    """Start as many jobs as run at once (`beside` run already) and three more; each says its number when it begins."""
    run = AT_ONCE - beside
    all = [
        begin(server, "shell.start", command=f"{writes(at)}; sleep {60 if at < run else 0}") for at in range(run + 3)
    ]
    running, waiting = all[:run], all[run:]
    until(lambda: all_said(server, running), "the jobs that run")
    assert Counter(states(server, all).values()) == {"running": run, "queued": 3}
    return running, waiting


def all_said(server: Server, ids: list[str], first: int = 0) -> bool:
    """Tell whether each of some jobs, counted from a number, has begun, and only once."""
    return said(server, ids) == [f"{at}\n" for at in range(first, first + len(ids))]


@promise("1.5c")
@promise("6.3")
def test_after_a_kill_what_ran_is_interrupted_and_what_waited_goes_on(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with serving(data) as server:
        target = begin(server, "shell.start", command="sleep 60")
        looking = begin(server, "jobs.wait", ids=[target], timeout_s=600)  # it only reads: it may be repeated
        until(lambda: states(server, [looking])[looking] == "running", "the job that reads")
        others, waiting = running_and_waiting(server, beside=1)  # who waits for a job rests meanwhile, without a turn
        running = [target, *others]
        server.kill()

    with serving(data) as again:
        assert again.call("jobs.wait", ids=[*running, *waiting, looking], timeout_s=30)["done"]
        assert set(states(again, running).values()) == {"interrupted"}
        assert set(states(again, [*waiting, looking]).values()) == {"done"}
        run = len(others)
        assert all_said(again, others), "one of them ran twice"
        assert all_said(again, waiting, run), "one of them ran twice"
        assert lines(again) == [str(at) for at in range(run, run + 3)], "what did not end changed something"
        job = again.call("jobs.status", id=target)
        assert (job["status"], job["outcome"]["problem"]["changed"]) == ("unknown", "unknown")
        assert again.call("jobs.logs", id=target)["over"]
        listed = again.call("jobs.list", state=["interrupted"], limit=500)["jobs"]
        assert {one["invocation"] for one in listed} == set(running)


@promise("1.5c")
@promise("6.3")
def test_after_an_orderly_stop_the_same_holds(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with serving(data) as server:
        running, waiting = running_and_waiting(server)

    with serving(data) as again:
        assert again.call("jobs.wait", ids=[*running, *waiting], timeout_s=30)["done"]
        assert set(states(again, running).values()) == {"interrupted"}
        assert set(states(again, waiting).values()) == {"done"}
        assert all_said(again, [*running, *waiting]), "one of them ran twice"
        assert lines(again) == [str(at) for at in range(AT_ONCE, AT_ONCE + 3)], "what did not end changed something"


@promise("6.3")
def test_of_several_processes_exactly_one_runs_a_job_and_each_can_be_told_to_stop_it(tmp_path: Path) -> None:
    with serving(tmp_path / "data", "--workers", "2") as server, ThreadPoolExecutor(8) as pool:
        commands = [writes(at) for at in range(40)]
        asked = [pool.submit(begin, server, "shell.run", command=command) for command in commands]
        quick = [one.result(30) for one in asked]
        assert server.call("jobs.wait", ids=quick, timeout_s=60)["done"]
        assert lines(server) == [str(at) for at in range(40)]

        lasting = [
            begin(
                server,
                "shell.start",
                command="trap 'echo bye; exit' TERM; trap 'echo heard' USR1; echo up; while :; do sleep 0.05; done",
            )
            for _ in range(6)
        ]
        for id in lasting:
            until(lambda id=id: server.call("jobs.logs", id=id)["text"] == "up\n", "the command")
        for id in lasting:
            server.call("jobs.signal", id=id, signal="USR1")
            until(lambda id=id: "heard" in server.call("jobs.logs", id=id)["text"], "the signal")
            server.call("jobs.cancel", id=id, grace_s=20)
        assert server.call("jobs.wait", ids=lasting, timeout_s=30)["done"]
        assert set(states(server, lasting).values()) == {"cancelled"}
        assert {server.call("jobs.logs", id=id)["text"] for id in lasting} == {"up\nheard\nbye\n"}


# ---- schedules


def schedule(server: Server, at: int, in_s: float) -> str:
    """Let a line be written once, in a while."""
    when = datetime.fromtimestamp(time.time() + in_s, UTC).isoformat()
    call = {"operation": "shell.run", "input": {"command": writes(at)}, "at": when}
    with server.client() as client:
        reply = client.post("/v1/operations/jobs.schedule", json=call)
    assert reply.status_code == 200, reply.text
    id: str = reply.json()["output"]["id"]
    return id


def over(server: Server, ids: list[str]) -> bool:
    """Tell whether the runs of these schedules have ended."""
    found = [one for one in server.call("jobs.schedules", limit=500)["schedules"] if one["id"] in ids]
    last = [one["last"] for one in found if one["last"]]
    return len(last) == len(ids) and server.call("jobs.wait", ids=last, timeout_s=20)["done"]


@promise("6.3")
def test_of_several_processes_exactly_one_makes_a_scheduled_call(tmp_path: Path) -> None:
    with serving(tmp_path / "data", "--workers", "2") as server:
        ids = [schedule(server, at, 1.5) for at in range(10)]
        until(lambda: over(server, ids), "the runs", 60)
        assert lines(server) == [str(at) for at in range(10)]


@promise("6.3")
def test_a_time_that_came_while_the_platform_was_dead_runs_once_afterwards(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with serving(data) as server:
        ids = [schedule(server, at, 0.8) for at in range(3)]
        server.kill()  # perhaps before, perhaps while they are due

    with serving(data) as again:
        until(lambda: over(again, ids), "the runs", 60)
        found = again.call("jobs.list", limit=500)["jobs"]
        runs = Counter(one["schedule"] for one in found if one["schedule"])
        assert runs == dict.fromkeys(ids, 1)
        assert len(lines(again)) == len(set(lines(again))), "one of them ran twice"

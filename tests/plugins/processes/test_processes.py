"""`processes.*` over HTTP: looked at as far as grants allow, waited for, and ended one at a time, exactly."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from superagent.plugins.processes.engine.exact import start_of
from tests.surfaces.http.house import Caller, House, problem_of

pytestmark = pytest.mark.asyncio(loop_scope="session")
MARK = f"mark-{os.getpid()}"
LOOKS = [{"effect": "allow", "operations": ["processes.*"], "effects": ["READ"]}]
ENDS = [{"effect": "allow", "operations": ["processes.*"]}]
PROGRAM = "import signal; print('up', flush=True); signal.pause()"


class Victim:
    """A process of ours that others look at and end."""

    def __init__(self, *arguments: str, env: dict[str, str] | None = None, program: str = PROGRAM) -> None:
        command = [sys.executable, "-c", program, MARK, *arguments]
        self.process = subprocess.Popen(command, env=env, stdout=subprocess.PIPE)
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == b"up\n"
        self.pid = self.process.pid
        self.start = start_of(self.pid)

    @property
    def exact(self) -> dict[str, int]:
        return {"pid": self.pid, "expected_start_time": self.start}

    def stop(self) -> int:
        self.process.kill()
        self.process.communicate(timeout=10)
        return self.process.returncode


@pytest.fixture
def victim() -> Generator[Victim]:
    one = Victim()
    yield one
    one.stop()


# ---- looking


async def test_processes_are_listed_filtered_and_sorted_in_pages(house: House, victim: Victim) -> None:
    other = Victim()
    try:
        found = await house.owner.done("processes.list", {"filter": MARK, "sort": "start"})
        first = await house.owner.done("processes.list", {"filter": MARK, "sort": "start", "limit": 1})
        rest = await house.owner.done("processes.list", {"filter": MARK, "sort": "start", "cursor": first["cursor"]})
        largest = await house.owner.done("processes.list", {"sort": "memory", "limit": 50})
    finally:
        other.stop()

    assert [one["pid"] for one in found["processes"]] == [victim.pid, other.pid]
    assert [one["pid"] for one in first["processes"] + rest["processes"]] == [victim.pid, other.pid]
    assert (found["total"], rest["cursor"]) == (2, None)
    row = found["processes"][0]
    assert (row["parent"], row["start_time"], row["name"]) == (
        os.getpid(),
        victim.start,
        Path(sys.executable).name[:15],
    )
    assert MARK in row["command"]
    sizes = [one["memory_bytes"] for one in largest["processes"]]
    assert sizes == sorted(sizes, reverse=True)
    problem_of(await house.owner.call("processes.list", {"cursor": "x"}), 422, "invalid-input")


async def test_a_tree_shows_children_under_their_parents(house: House, victim: Victim) -> None:
    found = await house.owner.done("processes.tree", {"pid": os.getpid(), "limit": 1000})
    depths = {one["pid"]: one["depth"] for one in found["processes"]}
    everything = await house.owner.done("processes.tree", {"limit": 3})

    assert (depths[os.getpid()], depths[victim.pid]) == (0, 1)
    assert len(everything["processes"]) == 3
    assert everything["more"] > 0
    problem_of(await house.owner.call("processes.tree", {"pid": 4_194_304}), 404, "not-found")


async def test_one_process_is_shown_in_full_and_of_its_variables_only_the_names(house: House, tmp_path: Path) -> None:
    program = f"""
        import signal, socket
        f = open({str(tmp_path / "held")!r}, "w")
        s = socket.create_server(("127.0.0.1", 0))
        print("up", flush=True)
        signal.pause()
    """
    one = Victim(
        "--password=hunter22", "--token", "tok-hunter33", env={"PLAIN": "hunter44"}, program=textwrap.dedent(program)
    )
    try:
        response = await house.owner.call("processes.info", {"pid": one.pid})
        listed = await house.owner.call("processes.list", {"filter": MARK})
    finally:
        one.stop()

    found = response.json()["output"]
    assert response.status_code == 200, response.text
    assert str(tmp_path / "held") in found["files"]
    assert [sock["state"] for sock in found["sockets"]] == ["listen"]
    assert "PLAIN" in found["variables"]
    assert found["limits"]["nofile"][0] > 0
    assert (found["nice"], found["folder"]) == (os.getpriority(os.PRIO_PROCESS, 0), os.getcwd())
    assert "hunter" not in response.text + listed.text


async def test_files_that_the_caller_may_not_know_of_are_counted_and_not_named(house: House) -> None:
    found = await house.owner.done("processes.info", {"pid": os.getpid()})  # the platform, with its database open

    assert found["hidden"] > 0
    assert not [path for path in found["files"] if path.startswith(f"{house.data}/")]


async def test_a_wait_ends_with_the_process_or_with_its_time(house: House, victim: Victim) -> None:
    late = await house.owner.done("processes.wait", {"pid": victim.pid, "timeout_s": 0.05})
    waiting = asyncio.create_task(house.owner.done("processes.wait", {**victim.exact, "timeout_s": 20}))
    await asyncio.sleep(0.05)
    victim.stop()

    assert late == {"pid": victim.pid, "start_time": victim.start, "ended": False}
    assert (await waiting)["ended"]
    problem_of(await house.owner.call("processes.wait", {"pid": victim.pid}), 404, "not-found")


# ---- ending


async def test_exactly_one_process_is_ended(house: House, victim: Victim) -> None:
    same = Victim()
    try:
        sent = await house.owner.done("processes.kill", {**victim.exact, "wait_s": 20})
        assert sent["ended"]
        assert victim.process.wait(10) == -signal.SIGTERM
        assert same.process.poll() is None
    finally:
        same.stop()


async def test_a_number_that_went_to_another_process_is_not_hit(house: House, victim: Victim) -> None:
    for start in (victim.start - 1, victim.start + 1, 0):
        refused = await house.owner.call("processes.kill", {"pid": victim.pid, "expected_start_time": start})
        problem_of(refused, 409, "conflict")
        assert (await house.records(invocation=refused.headers["x-invocation-id"]))[0]["status"] == "failed"
    assert victim.process.poll() is None


async def test_what_has_ended_is_not_there(house: House, victim: Victim) -> None:
    victim.stop()
    problem_of(await house.owner.call("processes.kill", victim.exact), 404, "not-found")


async def test_the_platform_what_started_it_and_the_first_process_are_refused(house: House) -> None:
    await house.installation.sandbox.launcher.abilities()  # starts it
    launcher = house.installation.sandbox.launcher.pid
    assert launcher is not None
    for pid in (1, os.getpid(), os.getppid(), launcher):
        for signal_ in ("TERM", "CONT"):
            refused = await house.owner.call(
                "processes.kill", {"pid": pid, "expected_start_time": start_of(pid), "signal": signal_}
            )
            problem_of(refused, 403, "denied")
            assert (await house.records(invocation=refused.headers["x-invocation-id"]))[0]["status"] == "failed"
    assert start_of(launcher)


async def test_a_dry_run_ends_nothing_and_names_the_process(house: House, victim: Victim) -> None:
    shown = await house.owner.done("processes.kill", victim.exact, X_Dry_Run="true")

    assert MARK in shown["summary"]
    assert shown["changes"][0].startswith("process://local/")
    assert victim.process.poll() is None


async def test_there_is_no_ending_by_name(house: House) -> None:
    refused = await house.owner.call("processes.kill", {"name": "python"})
    errors = problem_of(refused, 422, "invalid-input")["errors"]
    assert {one["path"] for one in errors} == {"$.name", "$.pid", "$.expected_start_time"}


# ---- who may


async def seen(caller: Caller, victim: Victim) -> list[Any]:
    return [one["pid"] for one in (await caller.done("processes.list", {"filter": MARK}))["processes"]]


async def test_an_agent_sees_and_ends_what_its_grants_allow(house: House, victim: Victim) -> None:
    plain, looks = await house.agent(), await house.agent(grants=LOOKS)
    ends = await house.agent(grants=[{"effect": "allow", "operations": ["processes.kill"], "effects": ["DESTROY"]}])

    problem_of(await plain.call("processes.list"), 404, "not-found")
    assert await seen(looks, victim) == [victim.pid]
    refused = await looks.call("processes.kill", victim.exact)
    assert refused.status_code in (403, 404)
    await house.refusal(refused)
    assert victim.process.poll() is None
    assert (await ends.done("processes.kill", {**victim.exact, "wait_s": 20}))["ended"]


async def test_a_policy_denies_ending_and_not_looking(house: House, victim: Victim) -> None:
    agent = await house.agent(grants=[*ENDS, {"effect": "deny", "operations": ["*"], "effects": ["DESTROY"]}])

    assert await seen(agent, victim) == [victim.pid]
    refused = await agent.call("processes.kill", victim.exact)

    assert refused.status_code in (403, 404)
    await house.refusal(refused)
    assert victim.process.poll() is None


# ---- priority


async def test_a_priority_is_changed_for_one_process_and_taken_back(house: House, victim: Victim) -> None:
    before = os.getpriority(os.PRIO_PROCESS, victim.pid)
    changed = await house.owner.call("processes.priority", {**victim.exact, "nice": 19, "io_class": "idle"})
    assert changed.status_code == 200, changed.text
    output = changed.json()["output"]
    assert (output["nice_before"], output["nice"], output["io_class"]) == (before, 19, "idle")
    assert os.getpriority(os.PRIO_PROCESS, victim.pid) == 19
    if os.geteuid() == 0:  # nobody else may be served sooner than before
        await house.owner.done("undo.apply", {"ids": [changed.headers["x-invocation-id"]]})
        assert os.getpriority(os.PRIO_PROCESS, victim.pid) == before
    problem_of(
        await house.owner.call("processes.priority", {**victim.exact, "expected_start_time": 1, "nice": 5}),
        409,
        "conflict",
    )


async def test_a_priority_of_what_ended_cannot_be_taken_back(house: House, victim: Victim) -> None:
    changed = await house.owner.call("processes.priority", {**victim.exact, "nice": 19})
    victim.stop()

    undone = await house.owner.call("undo.apply", {"ids": [changed.headers["x-invocation-id"]]})

    assert undone.status_code in (404, 409), undone.text


@pytest.mark.slow
async def test_a_huge_table_is_read_in_time(house: House) -> None:
    program = """
        import os, signal
        for _ in range(300):
            if os.fork() == 0:
                signal.pause()
                os._exit(0)
        print("up", flush=True)
        signal.pause()
    """
    one = Victim(program=textwrap.dedent(program))
    children = [int(pid) for pid in Path(f"/proc/{one.pid}/task/{one.pid}/children").read_text().split()]
    try:
        found = await house.owner.done("processes.list", {"filter": MARK, "limit": 1000})
        assert {one.pid, *children} <= {row["pid"] for row in found["processes"]}
        assert len(children) == 300
    finally:
        for child in children:
            os.kill(child, signal.SIGKILL)
        one.stop()

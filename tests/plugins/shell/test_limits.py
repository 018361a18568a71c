"""Inputs that no command can be made of are refused with the place of the fault, before anything is started."""

from __future__ import annotations

from typing import Any

import pytest

from superagent.core.containment import LEAST
from tests.needs import program
from tests.promise import promise
from tests.surfaces.http.house import Caller, House, problem_of

pytestmark = pytest.mark.asyncio(loop_scope="session")

HALF = {"limits": {"processes": 0.5}}


@pytest.fixture(autouse=True)
def bubblewrap() -> None:
    program("bwrap", "bubblewrap")


@promise("1.3b")
@pytest.mark.parametrize(
    ("operation", "input", "path"),
    [
        ("shell.exec", {"argv": ["true"], **HALF}, "$.limits.processes"),
        ("shell.run", {"command": "true", **HALF}, "$.limits.processes"),
        ("shell.start", {"command": "true", **HALF}, "$.limits.processes"),
        ("shell.session_open", HALF, "$.limits.processes"),
        ("code.repl", {"code": "1", **HALF}, "$.limits.processes"),
        ("shell.exec", {"argv": ["true"], "limits": {"memory_bytes": 1}}, "$.limits.memory_bytes"),
        ("shell.exec", {"argv": ["true"], "limits": {"disk_files": 1}}, "$.limits.disk_files"),
        ("shell.exec", {"argv": ["true"], "limits": {"disk_files": 2}}, "$.limits.disk_files"),
        ("shell.exec", {"argv": ["true"], "limits": {"scratch_bytes": 1.5}}, "$.limits.scratch_bytes"),
        ("shell.exec", {"argv": ["true"], "limits": {"colour": 1}}, "$.limits.colour"),
        ("shell.exec", {"argv": ["true"], "sandbox": "none"}, "$.sandbox"),
        ("shell.exec", {"argv": ["true", *["a"] * 60_000]}, "$.argv"),
        ("shell.exec", {"argv": ["true", "a", "b" * 131_072]}, "$.argv[2]"),
        ("shell.exec", {"argv": ["true", "a\0b"]}, "$.argv[1]"),
        ("shell.exec", {"argv": ["true"], "env": {"LONG": "x" * 140_000}}, "$.env.LONG"),
        ("shell.exec", {"argv": ["true"], "env": {"A=B": "x"}}, "$.env"),
    ],
)
async def test_the_place_of_the_fault_is_named(
    house: House, agent: Caller, operation: str, input: dict[str, Any], path: str
) -> None:
    reply = await agent.call(operation, input)

    found = problem_of(reply, 422, "invalid-input")
    assert [one["path"] for one in found["errors"]] == [path]
    records = await house.records(invocation=reply.headers["x-invocation-id"])
    assert [one["problem"] for one in records if one["kind"] != "intent"] == ["invalid-input"]


async def test_every_limit_that_makes_no_sense_is_named_at_once(agent: Caller) -> None:
    reply = await agent.call(
        "shell.exec", {"argv": ["true"], "limits": {"processes": 1, "cpus": 0.5, "open_files": 0.2}}
    )

    found = problem_of(reply, 422, "invalid-input")
    assert [one["path"] for one in found["errors"]] == ["$.limits.processes", "$.limits.open_files"]


async def test_the_least_that_may_be_asked_for_works_and_what_is_less_says_how_much_that_is(agent: Caller) -> None:
    for name, least in LEAST.items():
        reply = await agent.call("shell.exec", {"argv": ["true"], "limits": {name: least - 1}})
        found = problem_of(reply, 422, "invalid-input")
        assert [one["message"] for one in found["errors"]] == [f"must be a whole number, at least {least}"]

        done = await agent.done("shell.exec", {"argv": ["true"], "limits": {name: least}})
        assert (done["exit_code"], done["limit"]) == (0, None), done

    few = {"limits": {"disk_files": LEAST["disk_files"]}}
    made = await agent.done("shell.run", {"command": "echo one > one; mkdir two; echo three > two/three", **few})
    assert (made["exit_code"], made["changes"]["applied"]) == (0, True)
    assert (await agent.done("shell.run", {"command": "seq 1 40 | xargs touch", **few}))["limit"] == "disk"


async def test_as_many_arguments_as_are_allowed_can_be_run(agent: Caller) -> None:
    for extra in ({}, {"env": {f"V{at}": "" for at in range(900)}}):
        words = ["sh", "-c", "echo $#", "sh", *["a"] * (8_496 - 3 * len(extra.get("env", {})))]

        done = await agent.done("shell.exec", {"argv": words, "limits": {"cpu_s": 30.0}, **extra})

        assert done["stdout"] == f"{len(words) - 4}\n"


async def test_an_interpreter_that_does_not_fit_its_memory_says_which_limit(house: House, agent: Caller) -> None:
    reply = await agent.call("code.repl", {"code": "1", "limits": {"memory_bytes": 5 * 1024 * 1024}})

    found = problem_of(reply, 422, "invalid-input")
    assert [one["path"] for one in found["errors"]] == ["$.limits.memory_bytes"]

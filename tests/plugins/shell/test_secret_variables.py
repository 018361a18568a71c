"""Secrets as variables of a command: by name, only where granted, and taken out of all that it writes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.needs import program
from tests.promise import promise
from tests.surfaces.http.house import Caller, House, problem_of

pytestmark = pytest.mark.asyncio(loop_scope="session")
VALUE = "pw-7c2f9a1b4d6e8f3a5c0b"


@pytest.fixture(autouse=True)
def bubblewrap() -> None:
    program("bwrap", "bubblewrap")


async def holder(house: House, *names: str) -> Caller:
    """Give an agent that may run commands with these secrets."""
    folder = str((await house.agent()).workspace)
    where: dict[str, Any] = {"paths": ["{workspace}/**"], "connections": [f"secret:{name}" for name in names]}
    return await house.agent(workspace=folder, grants=[{"effect": "allow", "operations": ["shell.*"], "where": where}])


@promise("1.4b")
async def test_a_command_has_the_value_and_nobody_else_sees_it(house: House) -> None:
    await house.owner.done("secrets.put", {"name": "db-password", "value": VALUE})
    may = await holder(house, "db-password")
    command = (
        "test ${#PASSWORD} = 23 && echo has it; echo $PASSWORD; printf %s $PASSWORD | base64;"
        "echo password is $PASSWORD >&2; for i in $(seq 3000); do echo line $i; done;"
        "printf %s pw-7c2f9a1b4; sleep 0.3; printf %s d6e8f3a5c0b; echo $PASSWORD > kept"
    )

    response = await may.call(
        "shell.run", {"command": command, "env_from": {"PASSWORD": "db-password"}, "max_output_bytes": 2000}
    )

    output = response.json()["output"]
    assert response.status_code == 200
    assert output["stdout"].startswith("has it\n[secret db-password]\n[secret db-password]=\nline 1\n")
    assert output["stderr"] == "password is [secret db-password]\n"
    assert "+[secret db-password]\n" in output["changes"]["diff"]
    assert VALUE not in response.text
    fresh = await holder(house, "db-password")  # who has not read anything yet, so nobody is asked
    rehearsed = await fresh.call(
        "shell.run", {"command": command, "env_from": {"PASSWORD": "db-password"}}, x_dry_run="true"
    )
    assert rehearsed.json()["output"]["stdout"].startswith("has it\n[secret db-password]\n")
    assert VALUE not in rehearsed.text
    whole = await may.get(f"/v1/results/{output['stdout_handle']}/raw")
    assert whole.text.endswith("line 3000\n[secret db-password]")
    assert len(whole.content) == output["stdout_bytes"]
    records = await house.records(invocation=response.headers["x-invocation-id"])
    assert VALUE not in json.dumps(records)
    used = [one for one in records if one["operation"] == "secrets.resolve"]
    assert used[0]["detail"]["for"].startswith("job ")


async def test_without_a_grant_or_against_its_own_policy_a_secret_is_not_given(house: House) -> None:
    await house.owner.done("secrets.put", {"name": "one", "value": VALUE})
    await house.owner.done("secrets.put", {"name": "for-a-host", "value": VALUE, "policy": {"hosts": ["a.test:443"]}})
    may = await holder(house, "for-a-host", "none-such")

    denied = await may.call("shell.run", {"command": "env > ran", "env_from": {"A": "one"}})
    bound = await may.call("shell.run", {"command": "env > ran", "env_from": {"A": "for-a-host"}})
    other = await holder(house, "none-such")  # one that has not run anything yet, so nobody is asked
    absent = await other.call("shell.run", {"command": "env > ran", "env_from": {"A": "none-such"}})

    problem_of(denied, 404, "not-found")
    problem_of(bound, 403, "denied")
    problem_of(absent, 404, "not-found")
    for one in (denied, bound, absent):
        assert (await house.records(invocation=one.headers["x-invocation-id"]))[0]["problem"]
    assert not list(house.data.rglob("ran"))

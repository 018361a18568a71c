"""`shell.*` over HTTP: commands run in their caller's workspace, contained, recorded, and refused where policy says."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from superagent.core.containment import PROFILES
from tests.needs import program
from tests.promise import promise
from tests.surfaces.http.house import Caller, House, house_in, problem_of
from tests.until import until_async

pytestmark = pytest.mark.asyncio(loop_scope="session")
AS_ROOT = os.geteuid() == 0


@pytest.fixture(autouse=True)
def bubblewrap() -> None:
    program("bwrap", "bubblewrap")


async def run(caller: Caller, command: str, **input: Any) -> dict[str, Any]:
    """Run a command line that must be done, and give its output."""
    return await caller.done("shell.run", {"command": command, **input})


# ---- what it is for


async def test_an_agents_command_runs_in_its_own_workspace(house: House, agent: Caller) -> None:
    response = await agent.call("shell.exec", {"argv": ["sh", "-c", "id; echo hi > out.txt"]})

    outcome = response.json()
    assert response.status_code == 200
    assert outcome["status"] == "done"
    assert outcome["output"]["exit_code"] == 0
    assert outcome["output"]["stdout"].startswith("uid=1000(sandbox)")
    assert outcome["isolation"]["level"] == "native"
    assert outcome["isolation"]["backend"] == "bubblewrap"
    assert outcome["isolation"]["network"] == "off"
    assert outcome["isolation"]["limits"]["wall"] == "enforced"
    assert [(one["resource"], one["effect"]) for one in outcome["effects"]] == [
        (f"path://local{agent.workspace}/out.txt", "CHANGE")
    ]
    assert (agent.workspace / "out.txt").read_text() == "hi\n"


async def test_files_made_by_the_server_and_by_commands_are_usable_by_both(house: House) -> None:
    agent = await house.agent()
    await agent.done("files.mkdir", {"path": "in/deep", "parents": True})
    await agent.done("files.write", {"path": "in/deep/server.txt", "content": "one\n"})

    text = await run(
        agent, "echo two >> in/deep/server.txt; mkdir in/made; echo three > in/made/command.txt; ls -ln in"
    )

    assert text["exit_code"] == 0, text
    assert (await agent.done("files.read", {"path": "in/deep/server.txt"}))["content"] == "one\ntwo\n"
    await agent.done("files.edit", {"path": "in/made/command.txt", "old": "three", "new": "four"})
    await agent.done("files.copy", {"source": "in/made", "target": "in/copied"})
    await agent.done("files.move", {"source": "in/made/command.txt", "target": "moved.txt"})
    again = await run(agent, "cat moved.txt; rm -r in/deep; echo more >> in/copied/command.txt; rm -r in moved.txt; ls")
    assert (again["exit_code"], again["stdout"]) == (0, "four\n"), again
    if AS_ROOT:
        owners = {path.lstat().st_uid for path in [agent.workspace, *agent.workspace.rglob("*")]}
        assert owners == {agent.workspace.lstat().st_uid}
        assert 0 not in owners


async def test_an_undo_of_what_a_command_then_changed_is_a_conflict_and_not_a_loss(agent: Caller) -> None:
    written = await agent.call("files.write", {"path": "kept.txt", "content": "a"})
    await run(agent, "echo b >> kept.txt")

    undone = await agent.call("undo.apply", {"ids": [written.json()["invocation"]]})

    problem_of(undone, 409, "conflict")


async def test_a_command_line_has_pipes_variables_a_folder_and_an_input(agent: Caller) -> None:
    await run(agent, "mkdir -p sub")

    found = await run(agent, "pwd; echo $A; cat | sort -r", cwd="sub", env={"A": "b c"}, stdin="1\n2\n")
    inside = await run(agent, "pwd", cwd="/workspace/sub")
    absolute = await run(agent, "pwd", cwd=str(agent.workspace / "sub"))

    assert found["stdout"] == "/workspace/sub\nb c\n2\n1\n"
    assert inside["stdout"] == absolute["stdout"] == "/workspace/sub\n"


async def test_a_command_has_local_sockets_in_its_own_workspace_and_not_in_a_folder_of_somebodys(
    house: House, agent: Caller, tmp_path: Path
) -> None:
    program("perl")
    tmp_path.chmod(0o755)
    grants = [{"effect": "allow", "operations": ["shell.*"], "where": {"paths": ["{workspace}/**"]}}]
    elsewhere = await house.agent(workspace=str(tmp_path), grants=grants)
    socket = "perl -MSocket -e 'print socket(S, AF_UNIX, SOCK_STREAM, 0) ? q(open) : q(refused)'"

    assert (await run(agent, socket))["stdout"] == "open"
    assert (await run(elsewhere, socket, sandbox="read-only"))["stdout"] == "refused"


async def test_bash_can_be_asked_for(agent: Caller) -> None:
    program("bash")

    command = {"command": "echo $((2**10)) ${BASH_VERSION:+yes}", "shell": "bash"}
    found = await agent.done("shell.run", command)

    assert found["stdout"] == "1024 yes\n"


async def test_an_exit_code_and_an_error_stream_are_told(agent: Caller) -> None:
    found = await run(agent, "echo no >&2; exit 3")

    assert (found["exit_code"], found["stderr"], found["limit"]) == (3, "no\n", None)


# ---- any bytes, any length


async def test_a_command_line_of_any_length_runs(agent: Caller) -> None:
    lines = "\n".join(f"x{number}={'y' * 90}" for number in range(4000))

    found = await run(agent, f"{lines}\necho ${{#x3999}} done")

    assert len(lines) > 2 * 131_072
    assert found["stdout"] == "90 done\n"


async def test_bytes_that_are_no_text_go_in_and_come_out_without_loss(agent: Caller) -> None:
    data = bytes(range(256)) * 3

    found = await agent.done(
        "shell.exec", {"argv": ["cat"], "stdin": base64.b64encode(data).decode(), "stdin_encoding": "base64"}
    )

    assert found["stdout_encoding"] == "base64"
    assert base64.b64decode(found["stdout"]) == data


async def test_an_upload_can_be_the_input(house: House, agent: Caller) -> None:
    data = os.urandom(3_000_000)
    uploaded = await agent.http.put("/v1/blobs", content=data)
    handle = uploaded.json()["handle"]

    found = await agent.done("shell.exec", {"argv": ["sha256sum"], "stdin_blob": handle})
    early = await agent.done("shell.exec", {"argv": ["head", "-c", "3"], "stdin_blob": handle})

    assert found["stdout"].split()[0] == hashlib.sha256(data).hexdigest()
    assert early["exit_code"] == 0


async def test_what_is_longer_is_under_a_handle_whole_and_searchable(agent: Caller) -> None:
    found = await run(agent, "seq 1 100000; echo needle; seq 1 1000 >&2", max_output_bytes=1000)

    assert found["stdout_bytes"] > 500_000
    assert len(found["stdout"]) == 1000
    assert found["stdout"].startswith("1\n2\n3\n")
    page = await agent.done("result.read", {"handle": found["stdout_handle"], "grep": "needle"})
    assert [match["text"] for match in page["matches"]] == ["needle"]
    assert page["size"] == found["stdout_bytes"]
    whole = await agent.get(f"/v1/results/{found['stderr_handle']}/raw")
    assert whole.text.endswith("999\n1000\n")


async def test_a_hundred_megabytes_of_output_do_not_grow_the_server(agent: Caller) -> None:
    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    await run(agent, "true")
    before = resident()

    found = await run(agent, "head -c 100000000 /dev/zero | tr '\\0' x", limits={"cpu_s": 50})

    assert (found["stdout_bytes"], found["limit"]) == (100_000_000, None)
    assert found["stdout_handle"]
    assert resident() - before < 60_000_000
    await agent.done("result.delete", {"handle": found["stdout_handle"]})


# ---- limits


@promise("1.3b")
async def test_the_reply_says_which_limit_ended_a_command(agent: Caller) -> None:
    wall = await run(agent, "sleep 60", timeout_s=0.4)
    file = await run(agent, "head -c 3000000 /dev/zero > big", limits={"file_bytes": 1_000_000})
    output = await run(agent, "yes", limits={"output_bytes": 100_000})
    hog = await run(agent, "head -c 400M /dev/zero | tail -n 1 | wc -c", limits={"memory_bytes": 64 << 20})
    many = await run(agent, "for i in $(seq 50); do sleep 4 & done; wait", limits={"processes": 12})

    assert (wall["exit_code"], wall["limit"]) == (None, "wall")
    assert (file["exit_code"], file["limit"]) == (153, "file")
    assert output["limit"] == "output"
    assert output["lost"]
    assert hog["stdout"].strip() != str(400 << 20)
    assert "fork" in many["stderr"].lower()
    if AS_ROOT:
        assert (hog["limit"], many["limit"]) == ("memory", "processes")


async def test_a_time_out_is_told_as_a_moment_and_the_output_until_then_is_kept(agent: Caller) -> None:
    began = time.time()

    found = await run(agent, "echo before; sleep 60", timeout_s=1.5)

    assert found["stdout"] == "before\n"
    assert began + 1.4 < found["until"] < time.time() + 1.5


async def test_the_calls_own_deadline_ends_the_command_first(agent: Caller) -> None:
    response = await agent.call("shell.run", {"command": "echo before; sleep 60"}, superagent_deadline="2")

    output = response.json()["output"]
    assert response.status_code == 200
    assert (output["limit"], output["stdout"]) == ("wall", "before\n")


async def test_limits_can_only_be_made_smaller(house: House, agent: Caller) -> None:
    response = await agent.call(
        "shell.run", {"command": "ulimit -n", "limits": {"open_files": 10**9, "wall_s": 10**6, "memory_bytes": 2**40}}
    )

    profile = PROFILES["workspace-write"].limits
    outcome = next(
        one for one in await house.records(invocation=response.headers["x-invocation-id"]) if one["kind"] == "outcome"
    )
    assert response.json()["output"]["stdout"] == f"{profile.open_files}\n"
    assert outcome["detail"]["limits"]["memory_bytes"] == profile.memory_bytes
    assert outcome["detail"]["limits"]["wall_s"] == profile.wall_s


# ---- the record


async def test_the_record_says_how_it_was_contained_with_every_number(house: House, agent: Caller) -> None:
    response = await agent.call("shell.exec", {"argv": ["true"], "limits": {"memory_bytes": 77_000_000}})

    records = await house.records(invocation=response.headers["x-invocation-id"])
    by_kind = {one["kind"]: one for one in records}
    outcome = by_kind["outcome"]
    assert set(by_kind) == {"intent", "outcome"}
    assert outcome["isolation"] == "native bubblewrap"
    assert outcome["detail"]["limits"]["memory_bytes"] == 77_000_000
    assert outcome["detail"]["held"]["wall"] == "enforced"
    assert outcome["resources"] == [[f"path://local{agent.workspace}", "CHANGE"]]


async def test_the_catalogue_says_that_a_command_can_be_taken_back(agent: Caller) -> None:
    described = (await agent.get("/v1/operations/shell.exec")).json()

    assert described["takes_back"] == "undo"
    assert sorted(described["reaches"]) == ["apart", "files", "run", "secret"]


# ---- refusals, each recorded


async def refused(house: House, caller: Caller, status: int, slug: str, **input: Any) -> dict[str, Any]:
    """Try a command that must be refused, and see that it is recorded and was not run."""
    marker = "refused-but-ran"
    response = await caller.call("shell.run", {"command": f"echo x > {marker}", **input})
    found = problem_of(response, status, slug)
    records = await house.records(invocation=response.headers["x-invocation-id"])
    assert records
    assert records[0]["problem"] == slug
    assert not list(house.data.rglob(marker))
    return found


@pytest.mark.parametrize("cwd", ["..", "/etc", "../..", "/workspace/..", "a/../../b"])
async def test_a_folder_outside_of_the_workspace_is_refused(house: House, agent: Caller, cwd: str) -> None:
    await refused(house, agent, 422, "invalid-input", cwd=cwd)


async def test_a_folder_that_is_not_there_or_a_link_out_is_not_found(house: House, agent: Caller) -> None:
    await run(agent, "ln -sfn /etc out; ln -sfn / top; touch plain")

    for cwd in ("nosuch", "out", "top", "plain"):
        await refused(house, agent, 404, "not-found", cwd=cwd)


async def test_another_agents_workspace_is_not_reached(house: House, agent: Caller) -> None:
    other = await house.agent()
    await run(other, "echo private > own.txt")

    found = await run(agent, f"cat {other.workspace}/own.txt /workspace/../{other.workspace.name}/own.txt")

    assert found["exit_code"] != 0
    assert "private" not in found["stdout"]
    await refused(house, agent, 422, "invalid-input", cwd=str(other.workspace))


async def test_a_key_without_a_workspace_has_nowhere_to_run(house: House) -> None:
    nowhere = await house.agent(grants=[{"effect": "allow", "operations": ["shell.*"]}])

    await refused(house, nowhere, 422, "invalid-input")


async def test_a_key_that_may_only_handle_files_runs_nothing(house: House) -> None:
    clerk = await house.agent(grants=[{"effect": "allow", "operations": ["files.*"]}])

    await refused(house, clerk, 404, "not-found")


@pytest.mark.parametrize("operations", [["*"], ["files.*"], ["files.read"], ["shell.run"]])
async def test_a_deny_inside_of_the_workspace_is_not_got_around_by_a_command(
    house: House, operations: list[str]
) -> None:
    plain = await house.agent()
    path = str(plain.workspace / "secret" / "**")
    denied = await house.agent(
        workspace=str(plain.workspace),
        grants=[
            {"effect": "allow", "operations": ["shell.*", "files.*"], "where": {"paths": ["{workspace}/**"]}},
            {"effect": "deny", "operations": operations, "where": {"paths": [path]}},
        ],
    )

    assert (await run(plain, "true"))["exit_code"] == 0
    await refused(house, denied, 403, "denied")


async def test_a_workspace_that_holds_the_platforms_own_folder_is_refused(house: House) -> None:
    wide = await house.agent(
        workspace=str(house.data.parent), grants=[{"effect": "allow", "operations": ["shell.*", "files.*"]}]
    )

    await refused(house, wide, 403, "denied")


@pytest.mark.parametrize("name", ["danger-none"])
async def test_a_profile_that_cannot_be_had_is_refused(house: House, agent: Caller, name: str) -> None:
    await refused(house, agent, 503, "sandbox-unavailable", sandbox=name)


@pytest.mark.parametrize(
    "input",
    [
        {"sandbox": "nosuch"},
        {"limits": {"nosuch": 1}},
        {"limits": {"wall_s": 0}},
        {"limits": {"wall_s": "1"}},
        {"timeout_s": -1},
        {"env": {"A B": "x"}},
        {"env": {"A": "x\0y"}},
        {"env": {"A": "x" * 200_000}},
        {"stdin": "not base64!", "stdin_encoding": "base64"},
        {"stdin": "x", "stdin_blob": "blob_x"},
        {"shell": "zsh"},
        {"max_output_bytes": -1},
        {"nosuch": 1},
    ],
)
async def test_what_makes_no_sense_is_refused_with_a_reason(house: House, agent: Caller, input: dict[str, Any]) -> None:
    found = await refused(house, agent, 422, "invalid-input", **input)

    assert found.get("hint")


@pytest.mark.parametrize("command", ["", "  \n", "a\0b"])
async def test_a_command_that_says_nothing_is_refused(agent: Caller, command: str) -> None:
    problem_of(await agent.call("shell.run", {"command": command}), 422, "invalid-input")


@pytest.mark.parametrize("argv", [[], [""], ["ls", "a\0b"], ["x" * 200_000]])
async def test_arguments_that_no_system_takes_are_refused(agent: Caller, argv: list[str]) -> None:
    problem_of(await agent.call("shell.exec", {"argv": argv}), 422, "invalid-input")


async def test_a_program_that_is_not_there_is_named_with_what_to_do(house: House, agent: Caller) -> None:
    response = await agent.call("shell.exec", {"argv": ["nosuch"]})

    found = problem_of(response, 422, "invalid-input")
    assert "`nosuch`" in found["detail"]
    assert "./program" in found["hint"]
    assert found["changed"] == "nothing"


async def test_a_blob_that_is_not_the_callers_is_not_found(agent: Caller) -> None:
    problem_of(await agent.call("shell.exec", {"argv": ["cat"], "stdin_blob": "blob_nosuch"}), 404, "not-found")


# ---- levels


@pytest.mark.parametrize("level", ["container", "vm"])
async def test_a_call_that_demands_more_isolation_than_there_is_is_refused(
    house: House, agent: Caller, level: str
) -> None:
    response = await agent.call("shell.run", {"command": "echo x > ran"}, superagent_isolation=level)

    found = problem_of(response, 503, "sandbox-unavailable")
    assert f"`{level}`" in found["detail"]
    assert found["hint"]
    assert not (agent.workspace / "ran").exists()


async def test_a_call_that_demands_what_there_is_runs(agent: Caller) -> None:
    response = await agent.call("shell.exec", {"argv": ["true"]}, superagent_isolation="native")

    assert response.json()["isolation"]["level"] == "native"


async def test_a_grant_that_demands_a_level_counts_only_at_that_level(house: House) -> None:
    def grants(level: str) -> list[dict[str, Any]]:
        return [{"effect": "allow", "operations": ["shell.*"], "isolation": level}]

    workspace = (await house.agent()).workspace
    native = await house.agent(workspace=str(workspace), grants=grants("native"))
    vm = await house.agent(workspace=str(workspace), grants=grants("vm"))

    assert (await run(native, "echo fine"))["stdout"] == "fine\n"
    await refused(house, vm, 404, "not-found")  # nothing else lets it see its workspace


async def test_an_installation_that_demands_more_than_the_machine_has_runs_nothing_and_says_why(
    tmp_path: Path,
) -> None:
    async with house_in(tmp_path / "data", sandbox__minimum_level="vm") as strict:
        agent = await strict.agent()

        found = await refused(strict, agent, 503, "sandbox-unavailable")
        capabilities = (await agent.done("catalogue.capabilities"))["capabilities"]

        sandbox = next(one for one in capabilities if one["name"] == "sandbox")
        assert "`vm`" in found["detail"]
        assert (sandbox["available"], sandbox["cure"]) == (False, found["hint"])


# ---- ending


async def test_a_call_that_is_cancelled_ends_its_command(house: House, agent: Caller) -> None:
    command = {"command": "setsid sleep 210987 & sleep 210987"}
    calling = asyncio.ensure_future(agent.call("shell.run", command, superagent_session="to-be-cancelled"))
    await until_async(lambda: len(sleeping("210987")) >= 4, "the command")
    intent = next(one for one in await house.records(text="shell.run") if one.get("session") == "to-be-cancelled")

    stopped = await agent.http.post(f"/v1/invocations/{intent['invocation']}/cancel")

    assert stopped.status_code == 200, stopped.text
    found = problem_of(await calling, 409, "cancelled")
    assert found["changed"] == "nothing"
    assert not sleeping("210987")


def sleeping(mark: str) -> list[str]:
    found: list[str] = []
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if mark.encode() in place.read_bytes():
                found.append(place.parent.name)
        except OSError:
            continue
    return found


async def test_commands_run_beside_each_other_in_one_workspace(agent: Caller) -> None:
    results = await asyncio.gather(*(run(agent, f"echo {number} > n{number}; cat n{number}") for number in range(12)))

    assert [one["stdout"] for one in results] == [f"{number}\n" for number in range(12)]


@pytest.mark.slow
async def test_a_command_that_sleeps_keeps_nobody_waiting(house: House, agent: Caller) -> None:
    sleeper = asyncio.ensure_future(run(agent, "sleep 3"))
    began = time.monotonic()

    await asyncio.gather(*(agent.done("access.whoami") for _ in range(20)))

    assert time.monotonic() - began < 3
    assert not sleeper.done()
    assert (await sleeper)["exit_code"] == 0


async def test_an_owners_command_runs_in_the_owners_own_workspace(house: House) -> None:
    found = await run(house.owner, "pwd; touch mine; ls")

    assert found["stdout"] == "/workspace\nmine\n"
    assert json.dumps(found)

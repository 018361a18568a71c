"""A host without bubblewrap, whose settings allow the level `landlock`: commands run, held and reported honestly."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from superagent.runtime.sandbox.bubblewrap import find_bubblewrap
from tests.launcher.confining import needs_landlock
from tests.needs import program
from tests.surfaces.http.house import Caller, House, house_in, problem_of
from tests.until import until_async

pytestmark = pytest.mark.asyncio(loop_scope="session")
AS_ROOT = os.geteuid() == 0


@pytest_asyncio.fixture(loop_scope="session", scope="module")
async def there(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[House]:
    """Give a house on a machine in which no bubblewrap is found."""
    needs_landlock()
    top = tmp_path_factory.mktemp("landlock")
    for folder in (top, *top.parents):  # tenants' users go through all of them
        if AS_ROOT and folder.stat().st_mode & 0o001 == 0:
            folder.chmod(folder.stat().st_mode | 0o011)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(find_bubblewrap, "__defaults__", ((),))
        async with house_in(top / "data", sandbox__minimum_level="landlock") as house:
            yield house


@pytest_asyncio.fixture(loop_scope="session")
async def own(there: House) -> Caller:
    return await there.agent()


async def run(caller: Caller, command: str, **input: Any) -> dict[str, Any]:
    return await caller.done("shell.run", {"command": command, **input})


async def test_a_command_runs_on_a_copy_and_what_it_changed_comes_in(there: House, own: Caller) -> None:
    await own.done("files.mkdir", {"path": "d"})
    await own.done("files.write", {"path": "d/a.txt", "content": "one\n"})

    response = await own.call("shell.run", {"command": "echo two >> a.txt; cat a.txt; cat", "cwd": "d", "stdin": "in"})

    outcome = response.json()
    assert response.status_code == 200, outcome
    assert outcome["output"]["stdout"] == "one\ntwo\nin"
    assert outcome["output"]["changes"]["applied"] is True
    assert (own.workspace / "d/a.txt").read_text() == "one\ntwo\n"
    isolation = outcome["isolation"]
    assert (isolation["level"], isolation["backend"], isolation["network"]) == ("landlock", "landlock", "off")
    held = isolation["limits"]
    assert (held["wall"], held["files"], held["network"]) == ("enforced", "enforced", "enforced")
    assert (held["names"], held["disk"], held["scratch"]) == ("partial", "none", "none")
    records = await there.records(invocation=response.headers["x-invocation-id"])
    assert records[0]["isolation"] == "landlock landlock"
    await own.done("undo.apply", {"ids": [outcome["invocation"]]})
    assert (own.workspace / "d/a.txt").read_text() == "one\n"


async def test_nothing_outside_is_read_written_signalled_or_called(there: House, own: Caller) -> None:
    program("perl")
    other = await there.agent()
    await other.done("files.write", {"path": "private", "content": "private\n"})
    outside = there.data.parent / "outside"
    outside.write_text("outside\n")
    outside.chmod(0o666)
    command = f"""
        cat {outside} {other.workspace}/private {there.data}/state/owner.key /proc/{os.getpid()}/environ /etc/shadow
        echo x > {outside}; echo x > /tmp/{own.workspace.name}; echo x > {own.workspace}/direct
        kill -0 {os.getpid()} && echo signalled
        perl -MSocket -e 'print "socket\\n" if socket(S, AF_INET, SOCK_STREAM, 0) or socket(S, AF_UNIX, SOCK_STREAM, 0)'
        unshare -U true && echo namespace
        ln -s {outside} link; cat link; ls /proc/{os.getpid()}/fd
    """

    found = await run(own, command)

    assert found["stdout"] == ""
    assert outside.read_text() == "outside\n"
    assert not Path(f"/tmp/{own.workspace.name}").exists()
    assert not (own.workspace / "direct").exists()


async def test_limits_are_kept_and_nothing_is_left_running(own: Caller) -> None:
    began = time.monotonic()
    wall = await run(own, "setsid sleep 210988 & sleep 210988", timeout_s=0.5)
    file = await run(own, "head -c 3000000 /dev/zero > big", limits={"file_bytes": 1_000_000})
    left = await run(own, "(setsid sleep 210988 &) ; echo done")
    code = await run(own, "kill -9 $$")
    none = await run(own, "nosuch")

    assert time.monotonic() - began < 20
    assert (wall["exit_code"], wall["limit"]) == (None, "wall")
    assert wall["changes"]["applied"] is False or wall["changes"]["total"] == 0
    assert (file["exit_code"], file["limit"]) == (153, "file")
    assert left["stdout"] == "done\n"
    assert code["exit_code"] == 137
    assert none["exit_code"] == 127
    await until_async(lambda: not sleeping(), "the end of all that was left")


def sleeping() -> bool:
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if b"210988" in place.read_bytes():
                return True
        except OSError:
            continue
    return False


async def test_a_cancelled_call_ends_its_command(there: House, own: Caller) -> None:
    calling = asyncio.ensure_future(
        own.call("shell.run", {"command": "sleep 210988"}, superagent_session="landlock-cancel")
    )
    await until_async(sleeping, "the command")
    intent = next(one for one in await there.records(text="shell.run") if one.get("session") == "landlock-cancel")

    await own.http.post(f"/v1/invocations/{intent['invocation']}/cancel")

    problem_of(await calling, 409, "cancelled")
    assert not sleeping()


async def test_what_this_level_has_not_is_refused(there: House, own: Caller) -> None:
    network = await own.call("shell.run", {"command": "true", "sandbox": "net-allowlist"})
    native_wanted = await own.call("shell.run", {"command": "true"}, superagent_isolation="native")

    problem_of(network, 503, "sandbox-unavailable")
    found = problem_of(native_wanted, 503, "sandbox-unavailable")
    assert "bubblewrap" in found["hint"]
    for one in (network, native_wanted):
        assert (await there.records(invocation=one.headers["x-invocation-id"]))[0]["problem"] == "sandbox-unavailable"


async def test_scripts_and_a_reader_work_too(own: Caller) -> None:
    script = await own.done("shell.script", {"language": "sh", "content": "echo $1 $(pwd -P | wc -c)", "args": ["x"]})
    reader = await run(own, "ls; echo x > y", sandbox="read-only")

    assert script["stdout"].startswith("x ")
    assert (reader["changes"], reader["stdout"]) == (None, "")
    assert not (own.workspace / "y").exists()


async def test_without_leave_by_the_settings_nothing_runs_at_this_level(tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(find_bubblewrap, "__defaults__", ((),))
        async with house_in(tmp_path / "data") as strict:
            agent = await strict.agent()

            found = problem_of(await agent.call("shell.run", {"command": "echo x > ran"}), 503, "sandbox-unavailable")

            assert "bubblewrap" in found["hint"]
            assert not (agent.workspace / "ran").exists()


async def test_a_command_that_goes_on_in_a_view_finds_the_files_and_no_scratch_of_the_one_before(own: Caller) -> None:
    view = (await own.done("sandbox.create", {}))["view"]
    first = await own.done("shell.run", {"command": "mkdir d; echo x > d/x; echo y > $TMPDIR/y", "view": view})
    assert first["exit_code"] == 0

    second = await own.done("shell.run", {"command": "cat x; ls -A $TMPDIR; touch $TMPDIR/z", "cwd": "d", "view": view})

    assert (second["exit_code"], second["stdout"]) == (0, "x\n")
    for cwd in ("..", "none"):
        refused = await own.call("shell.run", {"command": "true", "cwd": cwd, "view": view})
        assert refused.status_code == 422, refused.text
    await own.done("sandbox.discard", {"view": view})

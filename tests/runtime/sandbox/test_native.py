"""The native level on this machine: what a command sees, what limits it, and how it ends."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncGenerator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from superagent.core.containment import PROFILES
from superagent.core.problems import Conflict, InvalidInput, SandboxUnavailable
from superagent.runtime.sandbox.backend import Bind
from superagent.runtime.sandbox.pipes import Pipes
from tests.needs import program
from tests.runtime.sandbox.here import PROFILE, USER, Here, environment, here, limited, nowhere
from tests.until import until_async

pytestmark = pytest.mark.asyncio(loop_scope="module")
AS_ROOT = os.geteuid() == 0


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def native(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Here]:
    folder = tmp_path_factory.mktemp("native")
    folder.parent.chmod(0o700)  # closed to everybody else, as a home folder is
    async with here(folder) as one:
        yield one


async def said(native: Here, script: str, **fields: Any) -> str:
    ended, stdout, stderr = await native.run("sh", "-c", script, **fields)
    assert ended.code == 0, stderr.text
    return stdout.text


# ---- what it sees


async def test_a_command_works_in_its_workspace_and_what_it_makes_there_is_its_users(native: Here) -> None:
    text = await said(native, "pwd; echo hi > out.txt; ls -n out.txt")

    assert text.split("\n")[0] == "/workspace"
    assert (native.workspace / "out.txt").read_text() == "hi\n"
    assert (native.workspace / "out.txt").stat().st_uid == (os.geteuid() if USER is None else USER)


async def test_its_environment_is_empty_but_for_what_it_is_given(native: Here) -> None:
    found = environment(await said(native, "env", env={"A": "b=c", "HOME": "/workspace"}))

    assert {name for name in found if name not in ("PWD", "_", "SHLVL", "OLDPWD")} == {
        "A", "HOME", "LANG", "LOGNAME", "PATH", "SHELL", "TERM", "TMPDIR", "USER",
    }  # fmt: skip
    assert (found["A"], found["HOME"]) == ("b=c", "/workspace")


async def test_neither_options_nor_variables_show_in_any_command_line_or_environment(native: Here) -> None:
    text = await said(native, "cat /proc/1/cmdline /proc/1/environ", env={"SECRET": "hidden-value"})

    assert "hidden-value" not in text
    assert str(native.workspace) not in text
    assert "--setenv" not in text


async def test_of_files_it_sees_its_workspace_and_what_is_installed_and_writes_only_the_first(native: Here) -> None:
    (native.workspace.parent / "beside").write_text("not to be seen")
    text = await said(
        native,
        f"cat {native.workspace}/../beside 2>/dev/null; ls /; for place in / /usr /etc /dev /run /var/tmp /home; do "
        "(: > $place/x) 2>/dev/null && echo wrote $place; done; (: > /tmp/x) && (: > /dev/shm/x) && echo scratch; true",
    )

    assert "wrote" not in text
    assert "not to be seen" not in text
    assert "scratch" in text
    assert "root" not in text.split()


async def test_there_is_no_network_and_nobody_elses_process(native: Here) -> None:
    text = await said(native, "ls /sys/class/net 2>/dev/null; cat /proc/net/dev | wc -l; ls -d /proc/[0-9]* | wc -l")

    interfaces, processes = text.split()[-2:]
    assert int(interfaces) == 3  # two lines of heading, and the loopback
    assert int(processes) <= 5


async def test_kernel_settings_cannot_be_written(native: Here) -> None:
    text = await said(
        native, "(echo x > /proc/sys/kernel/core_pattern) 2>&1; (echo b > /proc/sysrq-trigger) 2>&1; true"
    )

    assert text.count("nonexistent") + text.count("Read-only") + text.count("denied") + text.count("Permission") >= 2


SOCKET = "perl -MSocket -e 'print socket(S, AF_UNIX, SOCK_STREAM, 0) ? q(open) : q(refused)'"


async def test_calls_that_lead_out_are_refused_by_the_kernel(native: Here) -> None:
    text = await said(native, "unshare -U true 2>&1; grep Seccomp: /proc/self/status; true")

    assert "not permitted" in text
    assert "Seccomp:\t2" in text


async def test_local_sockets_are_there_only_when_nothing_foreign_can_be_reached_by_one(native: Here) -> None:
    program("perl")
    more = (Bind("/usr/share", "/opt"),)

    assert await said(native, SOCKET) == "refused"
    assert await said(native, SOCKET, local_sockets=True) == "open"
    assert await said(native, SOCKET, local_sockets=True, binds=more) == "refused"


async def test_a_profile_that_reads_cannot_write_the_workspace(native: Here) -> None:
    (native.workspace / "there").write_text("read me")

    ended, stdout, _ = await native.run(
        "sh", "-c", "cat there; (: > new) 2>/dev/null || echo refused", profile=PROFILES["read-only"]
    )

    assert ended.code == 0
    assert stdout.text == "read merefused\n"


async def test_a_command_without_a_workspace_has_none(native: Here) -> None:
    profile = replace(PROFILE, workspace="none")

    assert await said(native, "ls /workspace", profile=profile, cwd="/") == ""


async def test_no_command_begins_where_a_link_leads_that_came_at_that_moment(native: Here) -> None:
    """Whoever starts it has looked; somebody moves a link there afterwards. See CVE-2024-21626 of runc."""
    (native.workspace / "d").mkdir(exist_ok=True)
    assert await said(native, "pwd; echo $PWD${OLDPWD-}", cwd="/workspace/d") == "/workspace/d\n/workspace/d\n"
    link = native.workspace / "l"
    for number in range(3, 16):
        link.symlink_to(f"../proc/self/fd/{number}")
        ended, stdout, _ = await native.run("ls", cwd="/workspace/l")
        link.unlink()

        assert (stdout.text, ended.code == 0) == ("", False), number


async def test_further_folders_are_seen_where_they_are_named(native: Here) -> None:
    more = native.workspace.parent / "more"
    more.mkdir(exist_ok=True)
    (more / "file").write_text("here")
    more.chmod(0o755)

    text = await said(
        native, "cat /opt/file; (: > /opt/x) 2>/dev/null || echo refused", binds=(Bind(str(more), "/opt"),)
    )

    assert text == "hererefused\n"


async def test_folders_that_the_settings_make_visible_can_be_read(tmp_path: Path) -> None:
    async with here(tmp_path, visible=("/sys/kernel",)) as one:
        ended, stdout, _ = await one.run("ls", "/sys/kernel")

    assert ended.code == 0
    assert stdout.text


# ---- streams


async def test_input_and_output_are_bytes_of_any_kind(native: Here) -> None:
    data = bytes(range(256)) * 1000

    ended, stdout, stderr = await native.run("sh", "-c", "cat; printf '\\377' >&2", stdin=data, inline=10**6)

    assert (ended.code, stdout.bytes, stdout.encoding) == (0, len(data), "base64")
    assert (stderr.text, stderr.encoding) == ("/w==", "base64")


async def test_a_script_of_any_length_is_found_under_its_number(native: Here) -> None:
    pipes = Pipes(65_536, nowhere)
    pipes.show(9, b": " + b"x" * 300_000 + b"\necho long\n")

    ended, stdout, _ = await pipes.carry(await native.start("sh", "/proc/self/fd/9", pipes=pipes), 10**6)

    assert (ended.code, stdout.text) == (0, "long\n")


async def test_a_command_that_writes_more_than_it_may_is_ended(native: Here) -> None:
    ended, stdout, _ = await asyncio.wait_for(native.run("sh", "-c", "yes", output_bytes=300_000), 30)

    assert (ended.code, ended.limit) == (None, "output")
    assert stdout.bytes >= 300_000


async def test_what_wrote_more_than_it_may_and_ended_before_anybody_saw_it_has_met_that_limit(native: Here) -> None:
    pipes = Pipes(65_536, nowhere)
    run = await native.start("sh", "-c", "echo seen >&2; echo 123456789", pipes=pipes)
    assert (await run.wait()).limit == ""

    ended, stdout, stderr = await pipes.carry(run, 10)

    assert (ended.code, ended.limit) == (0, "output")
    assert stdout.lost or stderr.lost
    assert stdout.bytes + stderr.bytes == 15


# ---- limits


async def test_each_limit_that_ends_a_command_is_named(native: Here) -> None:
    wall = await native.run("sleep", "60", profile=limited(wall_s=0.3))
    file = await native.run("sh", "-c", "head -c 3000000 /dev/zero > big", profile=limited(file_bytes=1_000_000))
    many = await native.run("sh", "-c", "for i in $(seq 40); do sleep 3 & done; wait", profile=limited(processes=12))
    hog = await native.run(
        "sh", "-c", "head -c 300M /dev/zero | tail -n 1 | wc -c", profile=limited(memory_bytes=32 << 20)
    )

    assert (wall[0].code, wall[0].limit) == (None, "wall")
    assert (file[0].code, file[0].limit) == (128 + signal.SIGXFSZ, "file")
    assert (native.workspace / "big").stat().st_size == 1_000_000
    assert hog[1].text.strip() != str(300 * 1024 * 1024)
    assert "fork" in many[2].text.lower()
    if AS_ROOT:
        assert many[0].limit == "processes"
        assert hog[0].limit == "memory"


async def test_a_limit_of_processor_time_ends_a_command(native: Here) -> None:
    ended, _, _ = await native.run("sh", "-c", "while :; do :; done", profile=limited(cpu_s=1.0))

    assert ended.limit == "cpu"
    assert ended.cpu_s >= 0.5


async def test_the_scratch_folder_is_small(native: Here) -> None:
    text = await said(
        native,
        "head -c 9M /dev/zero > /tmp/x; head -c 9M /dev/zero > /dev/shm/x; stat -c %s /tmp/x /dev/shm/x; true",
        profile=limited(scratch_bytes=4 << 20),
    )

    assert all(int(size) <= 4 << 20 for size in text.split())


async def test_what_held_is_told_with_its_numbers(native: Here) -> None:
    run = await native.start("true", profile=limited(memory_bytes=50 << 20))
    await run.wait()

    assert (run.isolation.level, run.isolation.backend, run.isolation.network) == ("native", "bubblewrap", "off")
    assert run.isolation.amounts["memory_bytes"] == 50 << 20
    assert run.isolation.limits["wall"] == "enforced"
    assert run.isolation.limits["system_calls"] == "enforced"
    if AS_ROOT:
        assert run.isolation.limits["memory"] == "enforced"
    assert set(run.isolation.limits) >= {"cpu", "memory", "processes", "disk", "output", "scratch"}


# ---- ends


async def test_exit_codes_are_a_shells(native: Here) -> None:
    assert (await native.run("sh", "-c", "exit 42"))[0].code == 42
    assert (await native.run("sh", "-c", "kill -9 $$"))[0].code == 137


async def test_a_program_that_cannot_be_executed_is_told_as_not_run(native: Here) -> None:
    ended, _, stderr = await native.run("nosuch")

    assert ended.ran is False
    assert "execvp nosuch" in stderr.text


async def test_a_command_can_be_sent_a_signal_and_be_ended(native: Here) -> None:
    run = await native.start("sleep", "60")
    await run.kill()
    ended = await run.wait()
    assert (ended.code, ended.limit) == (None, "")
    await run.kill()  # twice does no harm

    with pytest.raises(Conflict):
        await run.signal(signal.SIGTERM)

    other = await native.start(
        "sh", "-c", "exec 2>/dev/null; trap 'exit 5' TERM; : > ready; while :; do sleep 0.05; done"
    )
    await until_async(lambda: (native.workspace / "ready").exists(), "the command")
    await other.signal(signal.SIGTERM)
    assert (await other.wait()).code == 5


async def test_a_caller_that_gives_up_leaves_no_process_behind(native: Here) -> None:
    pipes = Pipes(100, nowhere)
    run = await native.start("sh", "-c", "setsid sleep 432109 & sleep 432109", pipes=pipes)
    carrying = asyncio.ensure_future(pipes.carry(run, 10**6))
    await until_async(lambda: len(sleeping("432109")) >= 4, "the command")

    carrying.cancel()
    await asyncio.gather(carrying, return_exceptions=True)

    assert not sleeping("432109")


def sleeping(mark: str) -> list[str]:
    found: list[str] = []
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if mark.encode() in place.read_bytes():
                found.append(place.parent.name)
        except OSError:
            continue
    return found


async def test_thirty_two_at_once_all_end_well(native: Here) -> None:
    results = await asyncio.gather(*(native.run("sh", "-c", f"echo {number}") for number in range(32)))

    assert [stdout.text for _, stdout, _ in results] == [f"{number}\n" for number in range(32)]
    assert {ended.code for ended, _, _ in results} == {0}


# ---- refusals


@pytest.mark.parametrize(
    ("argv", "env", "word"),
    [
        ((), {}, "argv"),
        (("",), {}, "argv"),
        (("ls", "a\0b"), {}, "NUL"),
        (("ls",), {"A": "b\0c"}, "NUL"),
        (("ls",), {"A B": "c"}, "variable"),
        (("ls",), {"": "c"}, "variable"),
        (("ls",), {"1A": "c"}, "variable"),
        (("ls", "x" * 200_000), {}, "bytes"),
        (("ls", *["x" * 100_000] * 16), {}, "bytes"),
    ],
)
async def test_what_no_system_could_execute_is_refused(
    native: Here, argv: tuple[str, ...], env: dict[str, str], word: str
) -> None:
    with pytest.raises(InvalidInput, match=word):
        await native.start(*argv, env=env)


async def test_a_profile_that_cannot_be_had_is_refused_and_not_weakened(native: Here) -> None:
    with pytest.raises(SandboxUnavailable, match="danger-none"):
        await native.start("true", profile=PROFILES["danger-none"])


async def test_root_runs_nothing_without_a_user_for_it(native: Here) -> None:
    if not AS_ROOT:
        pytest.skip("an ordinary user runs commands as itself")
    with pytest.raises(SandboxUnavailable, match="users"):
        await native.start("true", user=None)


async def test_a_workspace_behind_a_link_is_refused(native: Here, tmp_path: Path) -> None:
    if not AS_ROOT:
        pytest.skip("folders are opened for the launcher by root alone")
    (tmp_path / "link").symlink_to("/etc")

    with pytest.raises(SandboxUnavailable, match="cannot be opened"):
        await native.start("true", workspace=str(tmp_path / "link"))


async def test_without_bubblewrap_nothing_runs_and_the_cure_is_named(tmp_path: Path) -> None:
    async with here(tmp_path, find=lambda: None) as one:
        with pytest.raises(SandboxUnavailable) as refused:
            await one.start("true")
        assert "apt install bubblewrap" in str(refused.value.hint)
        probe = await one.native.probe()
        assert probe.failed is not None
        assert probe.failed.name == "bubblewrap"

"""Containers of real engines: what a command sees, what limits it, how it ends, and that nothing of it is left."""

from __future__ import annotations

import asyncio
import hashlib
import os
import subprocess
import sys
from collections.abc import AsyncGenerator, Generator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from superagent.core.containment import PROFILES
from superagent.core.problems import Conflict, InvalidInput, SandboxUnavailable
from superagent.runtime.sandbox.backend import Bind, Start
from superagent.runtime.sandbox.containers import images
from superagent.runtime.sandbox.pipes import Pipes, in_memory
from superagent.runtime.sandbox.view import View
from tests.engines import each_engine, engine
from tests.runtime.sandbox.containers.boxes import Boxes, boxes
from tests.runtime.sandbox.here import PROFILE, USER, environment, limited, nowhere
from tests.until import until_async

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module", params=each_engine)
def serving(request: pytest.FixtureRequest) -> Generator[tuple[str, str]]:
    with engine(request.param) as socket:
        yield request.param, socket


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def box(serving: tuple[str, str], tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Boxes]:
    name, socket = serving
    folder = tmp_path_factory.mktemp(name)
    folder.parent.chmod(0o700)  # closed to everybody else, as a home folder is
    async with boxes(name, socket, folder) as one:
        yield one


# ---- what it sees


async def test_the_probe_finds_every_part_of_the_real_profile_in_force(box: Boxes) -> None:
    probe = await box.containers.probe()

    assert probe.works, probe.failed
    assert probe.level == "container"
    assert {name: how for name, how in probe.limits.items() if how != "enforced"} == {
        "disk": "none", "devices": "partial",
    }  # fmt: skip
    assert {part.name for part in probe.parts} >= {
        "engine socket", "namespaces", "no new privileges", "capabilities", "files outside", "writes outside",
        "workspace", "network", "system calls", "memory limit",
    }  # fmt: skip


async def test_a_command_works_in_its_workspace_as_the_tenants_user_and_nobody_else(box: Boxes) -> None:
    text = await box.said(
        "pwd; id -u; id -g; echo hi > out.txt; for p in / /usr /etc /dev /run /var/tmp /home; do "
        "(: > $p/x) 2>/dev/null && echo wrote $p; done; true"
    )

    assert text.split() == ["/workspace", str(USER), str(USER)]
    assert (box.workspace / "out.txt").read_text() == "hi\n"
    assert (box.workspace / "out.txt").stat().st_uid == USER


async def test_its_environment_is_what_it_is_given_and_no_more(box: Boxes) -> None:
    found = environment(await box.said("env", env={"A": "b=c", "HOME": "/workspace"}))

    assert found.keys() - {"PWD", "_", "SHLVL", "OLDPWD", "HOSTNAME", "container"} == {
        "A", "HOME", "LANG", "LOGNAME", "PATH", "SHELL", "TERM", "TMPDIR", "USER",
    }  # fmt: skip
    assert (found["A"], found["HOME"], found["HOSTNAME"]) == ("b=c", "/workspace", "sandbox")


async def test_nothing_tells_of_the_machines_network_kernel_or_other_containers(box: Boxes) -> None:
    text = await box.said(
        "cat /etc/resolv.conf; ls /sys /proc/acpi 2>/dev/null | grep -v :; cat /proc/keys /proc/timer_list "
        "/proc/kallsyms 2>/dev/null; wc -l < /proc/net/dev; ls -d /proc/[0-9]* | wc -l"
    )

    *rest, interfaces, processes = [line for line in text.splitlines() if line]
    assert set(rest) <= {"nameserver 127.0.0.1"}
    assert int(interfaces) == 3  # two lines of heading, and the loopback
    assert int(processes) <= 5


async def test_a_profile_that_reads_cannot_write_the_workspace(box: Boxes) -> None:
    (box.workspace / "there").write_text("read me")

    text = await box.said("cat there; (: > new) 2>/dev/null || echo refused", profile=PROFILES["read-only"])

    assert text == "read merefused\n"


async def test_further_folders_are_seen_where_they_are_named_and_links_to_them_are_refused(box: Boxes) -> None:
    more = box.workspace.parent / "more"
    more.mkdir()
    (more / "file").write_text("here")
    (box.workspace.parent / "link").symlink_to("/etc")

    text = await box.said("cat /opt/file; (: > /opt/x) 2>/dev/null || echo no", binds=(Bind(str(more), "/opt"),))
    assert text == "hereno\n"
    with pytest.raises(SandboxUnavailable, match="cannot be opened"):
        await box.start("true", binds=(Bind(str(box.workspace.parent / "link"), "/opt"),))
    with pytest.raises(SandboxUnavailable, match="cannot be opened"):
        await box.start("true", workspace=str(box.workspace.parent / "link"))


async def test_a_view_is_shown_as_a_copy_or_not_at_all(box: Boxes) -> None:
    folder = box.workspace.parent / "view"
    (folder / "upper").mkdir(parents=True)
    (folder / "upper" / "file").write_text("of the copy")
    view = View("v", str(box.workspace), (0, 0), str(folder), "copy", 0, 0, 0)

    assert await box.said("cat file", view=view) == "of the copy"
    with pytest.raises(SandboxUnavailable, match="as a copy only"):
        await box.start("true", view=replace(view, mounting="before"))


async def test_what_a_container_cannot_have_is_refused_before_anything_is_made(box: Boxes) -> None:
    with pytest.raises(SandboxUnavailable, match="has a network"):
        await box.start("true", profile=PROFILES["net-allowlist"])
    with pytest.raises(InvalidInput, match="16 processes"):
        await box.start("true", profile=limited(processes=5))
    with pytest.raises(InvalidInput, match="NUL"):
        await box.start("echo", "a\0b")
    with pytest.raises(SandboxUnavailable, match="needs users"):
        await box.start("true", user=None)
    assert await box.left() == []


async def test_a_disk_of_the_machine_cannot_be_reached_by_a_device_node_in_the_workspace(box: Boxes) -> None:
    disk = os.stat("/").st_dev
    os.mknod(box.workspace / "disk", 0o60666, disk)
    (box.workspace / "disk").chmod(0o666)

    ended, _, stderr = await box.run("head", "-c", "1", "disk")

    (box.workspace / "disk").unlink()
    assert ended.code == 1
    assert "not permitted" in stderr.text


# ---- how it ends


async def test_bytes_go_in_and_come_out_as_they_are(box: Boxes) -> None:
    data = bytes(range(256)) * 3000

    ended, stdout, stderr = await box.run("sh", "-c", "cat; printf '\\377' >&2; exit 3", stdin=data, inline=10)

    assert (ended.code, ended.limit) == (3, "")
    assert stdout.bytes == len(data)
    assert (await box.said("sha256sum", stdin=data)).split()[0] == hashlib.sha256(data).hexdigest()
    assert (stderr.bytes, stderr.encoding) == (1, "base64")


async def test_a_script_is_handed_over_and_removed(box: Boxes) -> None:
    text, _ = (await box.run("bash", "/proc/self/fd/9", "it's; $(id)", script=b'echo "$0 $1"'))[1:]

    assert text.text == "/proc/self/fd/9 it's; $(id)\n"
    assert [one.name for one in (box.state / "sandbox" / "containers").iterdir() if "-9-" in one.name] == []


async def test_a_program_that_is_not_there_ends_as_a_shell_says_it(box: Boxes) -> None:
    ended, _, stderr = await box.run("nosuch")

    assert ended.code == 127
    assert "nosuch" in stderr.text


async def test_a_program_that_may_not_be_executed_ends_with_126(box: Boxes) -> None:
    (box.workspace / "text").write_text("no program")

    ended, _, stderr = await box.run("/workspace/text")

    assert ended.code == 126, stderr.text


@pytest.mark.parametrize(
    ("script", "limits", "limit", "code"),
    [
        ("sleep 60", {"wall_s": 1.0}, "wall", None),
        ("while :; do :; done", {"cpu_s": 1.0}, "cpu", None),
        ("exec tail -n 1 /dev/zero", {"memory_bytes": 64 << 20}, "memory", 137),
        ("exec head -c 9M /dev/zero > big", {"file_bytes": 1 << 20}, "file", 153),
    ],
)
async def test_a_limit_ends_it_and_is_named(
    box: Boxes, script: str, limits: dict[str, Any], limit: str, code: int | None
) -> None:
    if limit == "memory" and box.containers.name == "podman":
        limit = ""  # Podman 4.3 does not tell on control groups of version 1: a stated limit
    ended, *_ = await box.run("sh", "-c", script, profile=limited(**limits))

    assert ended.limit == limit
    if limit != "cpu":  # which either its watcher or the system itself is first to end
        assert ended.code == code


@pytest.mark.slow
async def test_processes_together_are_held_to_their_number_and_their_time(box: Boxes) -> None:
    _, _, stderr = await box.run("sh", "-c", "for i in $(seq 40); do sleep 9 & done", profile=limited(processes=20))
    ended, *_ = await box.run(
        "sh", "-c", "while :; do (i=0; while [ $i -lt 30000 ]; do i=$((i+1)); done); done", profile=limited(cpu_s=1.0)
    )

    assert "ork" in stderr.text
    assert ended.limit == "cpu"
    assert 1.0 <= ended.cpu_s < 4.0


async def test_output_beyond_its_limit_ends_it(box: Boxes) -> None:
    ended, stdout, _ = await box.run("yes", output_bytes=1_000_000)

    assert (ended.code, ended.limit) == (None, "output")
    assert stdout.lost


async def test_a_signal_reaches_the_command_and_none_reaches_one_that_ended(box: Boxes) -> None:
    pipes = Pipes(1000, nowhere)
    run = await box.start("sh", "-c", "trap 'echo heard; exit 7' TERM; : > ready; while :; do sleep 0.05; done",
                          pipes=pipes)  # fmt: skip
    carried = asyncio.ensure_future(pipes.carry(run, 10**6))
    await until_async((box.workspace / "ready").exists, "the command's trap")

    await run.signal(15)
    ended, stdout, _ = await carried

    assert (ended.code, stdout.text) == (7, "heard\n")
    with pytest.raises(Conflict):
        await run.signal(15)


async def test_whoever_is_cancelled_leaves_no_container(box: Boxes) -> None:
    pipes = Pipes(1000, nowhere)
    carried = asyncio.ensure_future(pipes.carry(await box.start("sleep", "60", pipes=pipes), 10**6))
    await asyncio.sleep(0.05)

    carried.cancel()
    await asyncio.gather(carried, return_exceptions=True)

    assert await box.left() == []


async def test_an_input_that_comes_in_pieces_and_an_output_that_is_read_slowly_lose_nothing(box: Boxes) -> None:
    async def pieces() -> AsyncGenerator[bytes]:
        for number in range(30):
            yield bytes([number]) * 100_000
            await asyncio.sleep(0)

    pipes = Pipes(10, nowhere)
    pipes.give_chunks(pieces())
    given: dict[str, Any] = {"stdin": pipes.stdin, "stdout": pipes.stdout.writing, "stderr": pipes.stderr.writing}
    run = await box.containers.start(
        Start(("tee", "copy"), PROFILE, "t", workspace=str(box.workspace), user=USER, **given)
    )
    await asyncio.sleep(0.05)  # nobody reads yet: what is written waits

    ended, stdout, _ = await pipes.carry(run, 10**9)

    assert (ended.code, stdout.bytes) == (0, 3_000_000)
    assert (box.workspace / "copy").read_bytes() == b"".join(bytes([number]) * 100_000 for number in range(30))


async def test_output_that_nobody_reads_any_more_does_not_hold_a_command_up(box: Boxes) -> None:
    run = await box.start("head", "-c", "9M", "/dev/zero")

    assert (await asyncio.wait_for(run.wait(), 30)).code == 0


# ---- what is left


async def test_a_container_that_cannot_start_is_said_and_removed(box: Boxes) -> None:
    with pytest.raises(SandboxUnavailable, match="made no container") as refused:
        await box.start("true", binds=(Bind("/usr/share", "/proc/self"),))

    assert refused.value.hint
    assert await box.left() == []


async def test_a_start_that_is_cancelled_at_any_moment_leaves_nothing(box: Boxes) -> None:
    for step in range(10):
        starting = asyncio.ensure_future(box.start("sleep", "60", fds={9: in_memory(b"text")}))
        for _ in range(step):
            await asyncio.sleep(0.02)
        starting.cancel()
        (came,) = await asyncio.gather(starting, return_exceptions=True)
        if not isinstance(came, BaseException):
            await came.kill()

    assert await box.left() == []
    assert [one.name for one in (box.state / "sandbox" / "containers").iterdir() if "-9-" in one.name] == []


async def test_many_at_once_end_well_and_none_is_left(box: Boxes) -> None:
    texts = await asyncio.gather(*(box.said(f"echo {number}") for number in range(8)))

    assert texts == [f"{number}\n" for number in range(8)]
    assert await box.left() == []


KILLED = """
import asyncio, sys
from pathlib import Path
from tests.runtime.sandbox.containers.boxes import boxes
async def main():
    async with boxes(sys.argv[1], sys.argv[2], Path(sys.argv[3])) as box:
        await box.start("sleep", "600", fds={9: sys.stdin.fileno()})
        print("started", flush=True)
        await asyncio.Event().wait()
asyncio.run(main())
"""


async def test_what_a_killed_server_left_is_swept_up_and_what_lives_stays(
    box: Boxes, serving: tuple[str, str], tmp_path: Path
) -> None:
    (tmp_path / "script").write_text("secret of a script")
    with open(tmp_path / "script", "rb") as script:
        process = subprocess.Popen(
            [sys.executable, "-c", KILLED, *serving, str(tmp_path)], stdin=script, stdout=subprocess.PIPE
        )
    assert process.stdout is not None
    assert await asyncio.to_thread(process.stdout.readline) == b"started\n"
    process.kill()
    process.wait(10)
    process.stdout.close()
    living = await box.start("sleep", "600")
    (tmp_path / "workspace").rmdir()

    assert len(await box.left()) == 2
    async with boxes(*serving, tmp_path) as again:
        assert await again.containers.sweep() == 2  # the container, and the file that its command was handed
        assert await again.containers.sweep() == 0
    assert await box.containers.sweep() == 0
    assert len(await box.left()) == 1
    await living.kill()
    assert await box.left() == []


# ---- what is missing


async def test_an_image_that_is_missing_is_never_fetched_and_the_cure_is_said(
    serving: tuple[str, str], tmp_path: Path
) -> None:
    async with boxes(*serving, tmp_path, image="no.such/image:1") as box:
        probe = await box.containers.probe()

    assert probe.failed is not None
    assert "`no.such/image:1` is not on this machine" in probe.failed.seen
    assert "pull no.such/image:1" in probe.failed.cure


async def test_without_a_program_that_can_come_first_the_cure_is_said(
    serving: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(images, "INITS", ("/usr/bin/nosuch",))
    async with boxes(*serving, tmp_path) as box:
        with pytest.raises(SandboxUnavailable, match="first process") as refused:
            await box.start("true")

    assert "apt install tini" in (refused.value.hint or "")


async def test_a_runtime_that_is_missing_is_said_with_its_cure(serving: tuple[str, str], tmp_path: Path) -> None:
    name, socket = serving
    if name == "podman":
        pytest.skip("gVisor is reached by Docker only")
    async with boxes("gvisor", socket, tmp_path) as box:
        probe = await box.containers.probe()
        with pytest.raises(SandboxUnavailable) as refused:
            await box.start("true")

    assert probe.failed is not None
    assert probe.failed.seen == "the engine has no runtime `runsc`"
    assert "install gVisor" in probe.failed.cure
    assert "install gVisor" in (refused.value.hint or "")


async def test_an_engine_that_dies_is_said_and_does_not_hang(tmp_path: Path) -> None:
    with engine("docker") as socket:
        async with boxes("docker", socket, tmp_path) as box:
            assert (await box.containers.probe()).works
            run = await box.start("sleep", "60")
            (pid,) = (Path(socket).parent / "pid").read_text().split()
            os.kill(int(pid), 9)
            with pytest.raises(SandboxUnavailable, match="nobody answers"):
                await asyncio.wait_for(run.wait(), 30)
            probe = await box.containers.probe()
            assert probe.failed is not None
            assert "nobody answers" in probe.failed.seen


async def test_the_profile_has_no_more_than_what_a_test_knows(box: Boxes) -> None:
    run = await box.start("sleep", "60", profile=PROFILE)
    (left,) = await box.left()
    found = await box.engine.ask("GET", f"/containers/{left['Id']}/json")
    await run.kill()

    host = found["HostConfig"]
    assert host["Privileged"] is False
    assert host["NetworkMode"] == "none"
    assert host["ReadonlyRootfs"] is True
    assert not host["CapAdd"]
    assert host["MemorySwap"] == host["Memory"] == PROFILE.limits.memory_bytes
    assert not any(mount["Source"].endswith(".sock") for mount in found["Mounts"])
    assert not host["Devices"]


async def test_gvisor_runs_commands_on_a_kernel_of_its_own_and_says_what_it_does_not_hold(tmp_path: Path) -> None:
    with engine("gvisor") as socket:
        async with boxes("gvisor", socket, tmp_path) as box:
            probe = await box.containers.probe()
            assert probe.works, probe.failed
            text = await box.said("dmesg | head -n 3; cat", stdin=b"in and out")
            ended, *_ = await box.run("sleep", "60", profile=limited(wall_s=1.0))

    assert "gVisor" in text
    assert text.endswith("in and out")
    assert (ended.code, ended.limit) == (None, "wall")
    assert {name for name, how in probe.limits.items() if how != "enforced"} == {
        "disk", "devices", "system_calls", "processes", "cpus",
    }  # fmt: skip

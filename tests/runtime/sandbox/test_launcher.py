"""The launcher's client: one process that starts when needed, ends with us, and is replaced when it dies."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from pathlib import Path

import pytest

from superagent.core.problems import Conflict, SandboxUnavailable
from superagent.runtime.sandbox import launcher as module
from superagent.runtime.sandbox.launcher import Launcher
from tests.launcher.test_serving import groups_named, processes_named
from tests.runtime.sandbox.here import FIRST_USER, here
from tests.until import until_async


def fields_of(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return dict(line.split(":\t", 1) for line in lines if ":\t" in line)


async def test_it_starts_when_it_is_first_needed_and_ends_when_closed(tmp_path: Path) -> None:
    async with here(tmp_path) as one:
        assert one.launcher.pid is None
        ended, _, _ = await one.run("true")
        pid = one.launcher.pid
        assert ended.code == 0
        assert pid is not None

        await one.launcher.close()

        assert not Path(f"/proc/{pid}").exists()
        with pytest.raises(SandboxUnavailable, match="stopping"):
            await one.run("true")


async def test_it_is_small_and_holds_nothing_of_this_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_OF_THE_SERVER", "hidden")
    secret = os.open("/etc/hostname", os.O_RDONLY)
    os.set_inheritable(secret, True)
    async with here(tmp_path) as one:
        await asyncio.gather(*(one.run("true") for _ in range(5)))
        pid = one.launcher.pid
        assert pid is not None

        resident_kb = int(fields_of(pid)["VmRSS"].split()[0])
        assert resident_kb < 15 * 1024, f"{resident_kb} kB"
        assert Path(f"/proc/{pid}/environ").read_bytes() == b""
        # the group of a run that has just ended is measured and removed after its end was told
        await until_async(lambda: not held_by(pid), "only its own descriptors are left")
        assert os.getsid(pid) == pid  # ctrl-C in our terminal is not for it
    os.close(secret)


def held_by(pid: int) -> list[str]:
    """Give what files the launcher has open, other than those every daemon has and those of groups of who waits."""
    links: list[str] = []
    for path in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed since it was listed
            links.append(os.readlink(path))
    own = (os.devnull, errors())
    return [link for link in links if link.startswith("/") and link not in own and not waited_in(Path(link).parent)]


def waited_in(group: Path) -> bool:
    """Tell whether a child that has no job yet stands in this group: on a busy machine they are made before the end."""
    try:
        return bool((group / "cgroup.procs").read_text())
    except OSError:
        return False


def errors() -> str:
    """Give where our own error stream goes, which the launcher shares."""
    return os.readlink("/proc/self/fd/2")


async def test_a_command_hears_what_the_platform_was_started_to_ignore(tmp_path: Path) -> None:
    deaf = {signal.SIGHUP: signal.SIG_IGN, signal.SIGQUIT: signal.SIG_IGN, signal.SIGUSR1: signal.SIG_IGN}
    before = {number: signal.signal(number, how) for number, how in deaf.items()}
    try:
        async with here(tmp_path) as one:
            _, out, _ = await one.run("grep", "SigIgn", "/proc/self/status")
    finally:
        for number, how in before.items():
            signal.signal(number, how)
    # bits 31 and 32 are the two that the C library keeps for itself
    assert int(out.text.split()[1], 16) & ~(0b11 << 31) == 0, out.text


async def test_when_it_is_killed_what_ran_is_told_as_unknown_and_ends_and_the_next_command_works(
    tmp_path: Path,
) -> None:
    async with here(tmp_path) as one:
        runs = [await one.start("sh", "-c", "setsid sleep 321098 & sleep 321098") for _ in range(3)]
        pid = one.launcher.pid
        assert pid is not None
        name = Path(f"/proc/{pid}").exists() and f"superagent-{os.stat('/proc/self/ns/pid').st_ino}-{pid}-"
        os.kill(pid, signal.SIGKILL)

        for run in runs:
            with pytest.raises(SandboxUnavailable) as lost:
                await run.wait()
            assert lost.value.changed == "unknown"
            await run.kill()

        # nobody has to ask for it: the next launcher is there at once, and tidies up
        await until_async(lambda: one.launcher.pid not in (None, pid), "the next launcher")
        assert (await one.run("sh", "-c", "exit 4"))[0].code == 4
        await until_async(lambda: not left(str(name)), "the end of what the dead one started")


def left(name: str) -> list[object]:
    found: list[object] = []
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if name.encode() in place.read_bytes() or b"321098" in place.read_bytes():
                found.append(place.parent.name)
        except OSError:
            continue
    return [*found, *groups_named(name), *processes_named(name)]


async def test_what_was_used_so_far_can_be_asked_and_not_of_what_has_ended(tmp_path: Path) -> None:
    async with here(tmp_path) as one:
        run = await one.start("sleep", "60")
        child = run.child

        stats = await one.launcher.stats(child)

        assert stats["seconds"] > 0
        waiting = asyncio.ensure_future(one.launcher.stats(child))
        await run.kill()
        await asyncio.gather(waiting, return_exceptions=True)
        with pytest.raises(Conflict):
            await one.launcher.stats(child)


async def test_a_launcher_that_cannot_be_started_or_dies_at_once_is_told(tmp_path: Path) -> None:
    for program in ("/nosuch/python", "/bin/false"):
        launcher = Launcher(FIRST_USER, 10, program)
        with pytest.raises(SandboxUnavailable):
            await launcher.abilities()
        await launcher.close()


async def test_a_launcher_that_says_nothing_is_not_waited_for_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "HELLO_S", 0.2)
    monkeypatch.setattr(module, "GONE_S", 0.2)
    silent = tmp_path / "silent"
    silent.write_text("#!/bin/sh\nexec sleep 600\n")
    silent.chmod(0o755)
    launcher = Launcher(FIRST_USER, 10, str(silent))

    with pytest.raises(SandboxUnavailable, match="did not answer"):
        await launcher.abilities()
    await launcher.close()  # it takes no notice of the end, so it is killed


@pytest.mark.slow
async def test_a_launcher_that_talks_nonsense_is_let_go(tmp_path: Path) -> None:
    odd = tmp_path / "odd"
    odd.write_text('#!/bin/bash\neval "exec 9<>/dev/fd/$4"\nprintf nonsense-nonsense >&$4\nexec sleep 600\n')
    odd.chmod(0o755)
    launcher = Launcher(FIRST_USER, 10, str(odd))

    with pytest.raises(SandboxUnavailable):
        await launcher.abilities()
    process = launcher.pid
    assert process is None
    closing = asyncio.ensure_future(launcher.close())
    await asyncio.wait_for(closing, 30)


async def test_many_ask_at_once_and_one_launcher_answers(tmp_path: Path) -> None:
    async with here(tmp_path) as one:
        abilities = await asyncio.gather(*(one.launcher.abilities() for _ in range(20)))

        assert len(set(map(id, abilities))) == 1

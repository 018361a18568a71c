"""The child between fork and exec, piece by piece, in processes of its own."""

from __future__ import annotations

import os
import resource
import signal
import socket
import subprocess
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from superagent_launcher import child, runs
from superagent_launcher.asked import Refused
from superagent_launcher.child import Spare, become, hand_over, rlimits
from superagent_launcher.runs import Run
from superagent_launcher.wire import Wire
from tests.launcher.beside import LIMITS
from tests.needs import missing
from tests.until import until

AS_ROOT = os.geteuid() == 0


def alone(work: Callable[[], object]) -> None:
    """Do something in a child process; what it asserts counts here."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            work()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def job(**fields: Any) -> dict[str, Any]:
    return {"argv": ["x"], "uid": None, "limits": [], "numbers": [], "mounts": [], **fields}


def test_descriptors_are_seen_under_their_numbers_whatever_theirs_were() -> None:
    def work() -> None:
        pairs = [os.pipe() for _ in range(3)]
        for _, writing in pairs:
            os.set_blocking(writing, False)
        first, second, third = (reading for reading, _ in pairs)
        marks = {one: os.fstat(one).st_ino for one in (first, second, third)}
        hand_over({second: first, first: second, 0: third})  # in a circle
        assert os.fstat(second).st_ino == marks[first]
        assert os.fstat(first).st_ino == marks[second]
        assert os.fstat(0).st_ino == marks[third]
        assert all(os.get_inheritable(one) for one in (0, first, second))

    alone(work)


def test_limits_are_lowered_and_never_raised() -> None:
    def work() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (900, 900))
        limits = [(resource.RLIMIT_NOFILE, 1000, 1000), (resource.RLIMIT_CORE, 0, 0), (resource.RLIMIT_FSIZE, 5, 12345)]
        with pytest.raises(PermissionError if AS_ROOT else OSError):
            become(job(limits=limits), [os.open("/etc/hostname", os.O_RDONLY)], os.getppid())
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (900, 900)
        assert resource.getrlimit(resource.RLIMIT_FSIZE) == (5, 12345)

    alone(work)


def test_root_executes_nothing_as_itself() -> None:
    if not AS_ROOT:
        missing("only root could")

    def work() -> None:
        with pytest.raises(PermissionError, match="user or group 0"):
            become(job(), [os.open("/usr/bin/env", os.O_RDONLY)], os.getppid())

    alone(work)


def test_a_folder_put_in_place_is_seen_by_the_child_alone(tmp_path: Path) -> None:
    if not AS_ROOT:
        missing("only root puts folders in place")
    (tmp_path / "file").write_text("here")
    assert child.staging_works()

    def work() -> None:
        child.stage([(os.open(tmp_path, os.O_PATH), "one"), (os.open("/etc", os.O_PATH), "two")])
        assert Path(child.STAGE, "one", "file").read_text() == "here"
        assert Path(child.STAGE, "two", "hostname").exists()

    alone(work)
    assert not Path(child.STAGE, "one").exists()


def test_without_a_group_for_memory_each_process_is_limited_and_tenants_share_a_count() -> None:
    alone_ = {which: soft for which, soft, _ in rlimits(LIMITS, frozenset(), as_tenant=False)}
    grouped = {which: hard for which, _, hard in rlimits(LIMITS, frozenset({"memory", "pids"}), as_tenant=True)}

    assert alone_[resource.RLIMIT_DATA] == LIMITS["memory_bytes"]
    assert resource.RLIMIT_NPROC not in alone_
    assert resource.RLIMIT_DATA not in grouped
    assert grouped[resource.RLIMIT_NPROC] == child.TENANT_PROCESSES
    assert alone_[resource.RLIMIT_CORE] == 0


def test_a_spare_child_without_a_job_ends_by_itself() -> None:
    spare = Spare(None)

    spare.end()

    assert os.waitstatus_to_exitcode(os.waitpid(spare.pid, 0)[1]) == 0


def test_a_spare_child_says_what_goes_wrong_and_holds_nothing_of_its_parent() -> None:
    reading, writing = os.pipe()
    spare = Spare(None)
    os.close(writing)
    assert os.read(reading, 1) == b""  # the child has let go of its copy
    null = os.open(os.devnull, os.O_RDONLY)

    spare.give(job(mounts=["a"]), (null, null))

    os.close(null)
    os.waitpid(spare.pid, 0)
    assert spare.wire.socket.recv(1000)
    with pytest.raises(ChildProcessError):
        spare.give(job(), ())
    spare.end()


# ---- the limit that is set inside of the namespace


def run_of(child_pid: int) -> Run:
    """Make a run whose bubblewrap waits at its gate."""
    spare = object.__new__(Spare)
    ours, theirs = socket.socketpair()
    spare.pid, spare.group, spare.wire = child_pid, None, Wire(ours)
    run = Run(1, spare, {**LIMITS, "processes": 17})
    theirs.close()
    return run


def test_the_number_of_processes_is_limited_before_the_gate_opens() -> None:
    sleeper = subprocess.Popen(["sleep", "600"])
    run = run_of(sleeper.pid)
    opening, run.gate = os.pipe()

    run.heard(b'{ "child-pid": %d }\n' % sleeper.pid)

    assert os.read(opening, 1) == b"1"
    assert os.read(opening, 1) == b""
    limits = Path(f"/proc/{sleeper.pid}/limits").read_text()
    assert next(line for line in limits.splitlines() if "processes" in line).split()[2:4] == ["17", "17"]
    run.kill("asked")
    assert sleeper.wait(10) == -signal.SIGKILL
    os.close(opening)
    run.close()


def test_when_the_limit_cannot_be_set_the_gate_stays_shut_and_the_run_is_ended() -> None:
    sleeper = subprocess.Popen(["sleep", "600"])
    run = run_of(sleeper.pid)
    opening, run.gate = os.pipe()

    run.heard(b'{ "child-pid": 4194300 }\n')

    assert os.read(opening, 1) == b""  # closed without a word
    assert run.why == "unlimited"
    assert sleeper.wait(10) == -signal.SIGKILL
    os.close(opening)
    run.close()


def test_what_bubblewrap_says_is_read_line_by_line_and_nonsense_does_no_harm() -> None:
    run = run_of(os.getpid())

    for piece in (b'{ "chi', b'ld-pid": 5 }\nnonsense\n[1]\n', b'{ "exit-code": 3 }\n'):
        run.heard(piece)

    assert (run.inner, run.ran) == (5, True)
    assert run.account()["ran"] is True
    run.close()


def test_a_signal_to_what_does_not_run_is_refused() -> None:
    run = run_of(os.getpid())

    with pytest.raises(Refused):
        run.signal(15)
    run.inner = 4194300
    with pytest.raises(Refused):
        run.signal(15)
    run.close()


def test_a_signal_to_a_command_without_a_group_of_its_own_yet_does_not_reach_the_launcher() -> None:
    keeper = subprocess.Popen(["sh", "-c", "sleep 600 & wait"])  # its child shares our own group
    run = run_of(os.getpid())
    run.inner = keeper.pid
    children = Path(f"/proc/{keeper.pid}/task/{keeper.pid}/children")
    [child] = until(lambda: children.read_text().split(), "the command")

    with pytest.raises(Refused, match="yet"):
        run.signal(signal.SIGURG)  # which would harm nobody

    os.kill(int(child), signal.SIGKILL)
    keeper.wait(10)
    run.close()


def test_options_are_written_where_only_bubblewrap_reads_them() -> None:
    options = runs.in_memory(["--a", "é", ""])

    with os.fdopen(options, "rb") as file:
        assert file.read() == b"--a\0\xc3\xa9\0\0"


def test_a_spare_child_dies_with_its_parent() -> None:
    reading, writing = os.pipe()

    def work() -> None:
        os.write(writing, str(Spare(None).pid).encode())
        os.kill(os.getpid(), signal.SIGKILL)

    pid = os.fork()
    if pid == 0:
        work()
    os.waitpid(pid, 0)
    spare = int(os.read(reading, 100))
    os.close(reading)
    os.close(writing)
    until(lambda: not Path(f"/proc/{spare}").exists() or "Z" in Path(f"/proc/{spare}/stat").read_text(), "its end")

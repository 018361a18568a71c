"""Exactly one process: a number that is given anew, for real, never leads to its next holder."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from superagent.plugins.processes.engine.exact import Gone, held, start_of
from superagent.plugins.processes.engine.table import Row, beneath, command_of
from tests.needs import missing, program

ROOT = Path(__file__).parents[3]
REUSE = """
    import os, signal, subprocess, sys, time
    from superagent.plugins.processes.engine.exact import Gone, held, start_of

    def sleeper():
        return subprocess.Popen(["/bin/sleep", "60"])

    def with_number(pid):
        for _ in range(200):
            with open("/proc/sys/kernel/ns_last_pid", "w") as file:
                file.write(str(pid - 1))
            one = sleeper()
            if one.pid == pid:
                return one
            one.kill(); one.wait()
        sys.exit("the number did not come again")

    first = sleeper()
    pid, start = first.pid, start_of(first.pid)
    with held(pid, start) as exact:
        first.kill(); first.wait()
        time.sleep(0.05)  # start times are counted in hundredths of a second
        second = with_number(pid)
        os.kill(pid, 0)  # by its number alone, the next holder would be hit
        assert exact.ended
        try:
            exact.send(signal.SIGKILL)
        except Gone:
            print("not sent")
    try:
        with held(pid, start):
            print("held")
    except Gone:
        print("not held")
    assert second.poll() is None
    second.kill()
"""


def test_whoever_gets_the_number_of_a_process_that_was_held_is_not_hit() -> None:
    unshare = program("unshare", "util-linux")
    alone = [unshare, "--user", "--map-root-user", "--pid", "--fork", "--mount-proc"]
    ran = subprocess.run(
        [*alone, sys.executable, "-c", textwrap.dedent(REUSE)],
        capture_output=True, text=True, timeout=60, check=False, env={"PYTHONPATH": str(ROOT / "src")},
    )  # fmt: skip
    if "Operation not permitted" in ran.stderr:
        missing("this machine gives nobody a process namespace, so no number can be given anew")
    assert (ran.returncode, ran.stdout) == (0, "not sent\nnot held\n"), ran.stderr


def test_a_name_with_spaces_and_brackets_does_not_confuse_the_start_time(tmp_path: Path) -> None:
    strange = tmp_path / "a) R 1 (b"
    strange.symlink_to(sys.executable)
    with subprocess.Popen([strange, "-c", "input()"], stdin=subprocess.PIPE) as one:
        assert abs(start_of(one.pid) - start_of(os.getpid())) < 100 * 86_400 * 100
        assert start_of(one.pid) >= start_of(os.getpid())
        one.kill()


def test_a_thread_is_no_process() -> None:
    import threading

    ready, go = threading.Event(), threading.Event()
    numbers: list[int] = []

    def run() -> None:
        numbers.append(threading.get_native_id())
        ready.set()
        go.wait(10)

    thread = threading.Thread(target=run)
    thread.start()
    ready.wait(10)
    with pytest.raises(Gone), held(numbers[0]):
        pass
    go.set()
    thread.join(10)


async def test_a_held_process_that_ends_wakes_who_waits() -> None:
    with subprocess.Popen(["sleep", "60"]) as one, held(one.pid) as exact:
        assert not await exact.wait(0.01)
        exact.send(signal.SIGTERM)
        assert await asyncio.wait_for(exact.wait(10), 20)
        one.wait(10)
        with pytest.raises(Gone):
            exact.send(signal.SIGTERM)


def row(pid: int, parent: int) -> Row:
    return Row(pid, parent, "x", "u", 1, "running", pid, 0.0, 0.0, 0, 1, "x")


def test_a_table_that_holds_a_circle_is_still_a_tree() -> None:
    found = beneath([row(1, 0), row(2, 3), row(3, 2), row(4, 1), row(5, 4)], None)
    assert [(depth, one.pid) for depth, one in found] == [(0, 1), (1, 4), (2, 5)]
    assert [one.pid for _, one in beneath([row(2, 3), row(3, 2)], 2)] == [2, 3]


def test_what_looks_like_a_secret_is_taken_out_of_a_command() -> None:
    words = ["psql", "--password", "hunter2", "-v", "--api-key", "--quiet", "https://me:hunter3@example.org/"]
    shown = command_of(words, lambda text: text.replace("me:hunter3", "[redacted]"))
    assert shown == "psql --password [redacted] -v --api-key --quiet https://[redacted]@example.org/"
    assert len(command_of(["x" * 100_000], str)) < 5000

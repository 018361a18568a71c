"""One process owns a data folder, whatever became of the ones before it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from superagent.core.problems import Denied, Locked
from superagent.runtime import instance_lock
from superagent.runtime.instance_lock import Holder, claim, holder, started, take
from tests.ordinary_user import open_folder, ordinary_user

ADDRESS = "http://127.0.0.1:8750"
HOLD = f"""
import sys; from pathlib import Path; from superagent.runtime.instance_lock import take
lock = take(Path(sys.argv[1]), 5.0); lock.publish({ADDRESS!r})
print("held", flush=True); sys.stdin.read(); lock.release()
"""


@pytest.fixture
def state(tmp_path: Path) -> Path:
    folder = tmp_path / "state"
    folder.mkdir(mode=0o700)
    return folder


@pytest.fixture
def other(state: Path) -> Generator[subprocess.Popen[bytes]]:
    """Let another process hold the lock until its standard input ends."""
    command = [sys.executable, "-c", HOLD, str(state)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        try:
            yield process
        finally:
            process.kill()


def taken(state: Path) -> instance_lock.InstanceLock:
    lock = take(state, 5.0)
    assert lock is not None
    return lock


def test_only_one_process_holds_it_and_the_others_read_where_it_serves(
    state: Path, other: subprocess.Popen[bytes]
) -> None:
    assert take(state, 6.0) is None
    found = holder(state)
    assert found is not None
    assert (found.pid, found.address, found.since, found.alive) == (other.pid, ADDRESS, 5.0, True)


def test_whoever_claims_it_is_sent_to_a_holder_that_serves(state: Path, other: subprocess.Popen[bytes]) -> None:
    found = claim(state, 6.0)
    assert isinstance(found, Holder)
    assert str(found) == f"process {other.pid}, which serves at {ADDRESS}"
    assert str(found) in instance_lock.held_by(state).detail


def test_waiting_for_a_holder_that_does_not_serve_ends_and_names_it(state: Path) -> None:
    with taken(state), pytest.raises(Locked, match=f"held by process {os.getpid()}$") as refused:
        claim(state, 6.0, wait_s=0.12)
    assert refused.value.hint is not None


def test_it_comes_free_when_its_holder_ends_well(state: Path, other: subprocess.Popen[bytes]) -> None:
    other.communicate(timeout=20)
    assert holder(state) is None
    lock = claim(state, 6.0)
    assert isinstance(lock, instance_lock.InstanceLock)
    lock.release()


def test_what_waits_gets_it_as_soon_as_it_is_free(state: Path) -> None:
    lock = taken(state)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(claim, state, 6.0, 20.0)
        assert not waiting.done()
        lock.release()
        got = waiting.result(20)
    assert isinstance(got, instance_lock.InstanceLock)
    got.release()


def test_what_a_killed_holder_left_is_no_obstacle_and_is_not_believed(
    state: Path, other: subprocess.Popen[bytes]
) -> None:
    other.kill()
    other.wait(20)
    left = holder(state)
    assert left is not None
    assert left.address == ADDRESS
    assert not left.alive
    assert str(left) == f"what process {other.pid} has left behind"
    with taken(state):
        mine = holder(state)
        assert mine is not None
        assert (mine.pid, mine.address, mine.alive) == (os.getpid(), "", True)
        assert str(mine) == f"process {os.getpid()}"


def test_a_number_that_belongs_to_another_process_by_now_is_not_believed(state: Path) -> None:
    with taken(state):
        said = json.loads((state / "lock").read_text())
    (state / "lock").write_text(json.dumps(said | {"started": said["started"] - 1}))
    left = holder(state)
    assert left is not None
    assert not left.alive


def test_released_twice_is_released_once(state: Path) -> None:
    lock = taken(state)
    lock.release()
    lock.release()
    assert holder(state) is None


def test_the_beginning_of_a_process_is_known_while_it_runs() -> None:
    with subprocess.Popen([sys.executable, "-c", "pass"]) as process:
        pid = process.pid
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        assert started(pid) == -1  # it has ended, though nobody has asked how
    assert started(pid) == -1
    assert started(os.getpid()) > 0


@pytest.mark.parametrize("said", ["", "{", "[]", '{"pid": "1", "address": "", "since": 1.0, "started": 1}'])
def test_a_lock_that_says_nothing_useful_names_nobody(state: Path, said: str) -> None:
    (state / "lock").write_text(said)
    assert holder(state) is None
    assert "another process" in instance_lock.held_by(state).detail


def test_nobody_holds_what_was_never_taken(state: Path) -> None:
    assert holder(state) is None


def test_a_lock_that_was_replaced_while_it_was_taken_is_taken_anew(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = instance_lock.fcntl.flock
    ways = [lambda: (state / "lock").unlink(), lambda: (state / "new").rename(state / "lock")]
    (state / "new").touch(0o600)

    def flock(descriptor: int, how: int) -> None:
        real(descriptor, how)
        if ways:
            ways.pop()()

    monkeypatch.setattr(instance_lock.fcntl, "flock", flock)
    with taken(state):
        assert not ways
        assert take(state, 6.0) is None  # the file that has the name is the one that is locked


def test_links_in_the_place_of_folder_or_lock_are_refused(state: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(state)
    (tmp_path / "elsewhere").touch(0o600)
    (state / "lock").symlink_to(tmp_path / "elsewhere")
    for folder in (tmp_path / "link", state):
        with pytest.raises(Exception, match=r"links|a part of it is not a directory"):
            take(folder, 5.0)
        with pytest.raises(Exception, match=r"links|a part of it is not a directory"):
            holder(folder)
    assert (tmp_path / "elsewhere").read_bytes() == b""


def test_a_folder_or_lock_that_others_can_write_is_refused(state: Path) -> None:
    (state / "lock").touch()
    (state / "lock").chmod(0o622)
    for ask in (lambda: take(state, 5.0), lambda: holder(state)):
        with pytest.raises(Denied, match="lock` is not this user's alone"):
            ask()
    (state / "lock").chmod(0o600)
    state.chmod(0o720)
    for ask in (lambda: take(state, 5.0), lambda: holder(state)):
        with pytest.raises(Denied, match="state` is not this user's alone"):
            ask()


def test_a_named_pipe_in_its_place_is_refused_without_waiting(state: Path) -> None:
    os.mkfifo(state / "lock", 0o600)
    for ask in (lambda: take(state, 5.0), lambda: holder(state)):
        with pytest.raises(Denied):
            ask()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a folder that belongs to somebody else")
def test_the_folder_of_another_user_is_refused() -> None:
    with open_folder() as folder:
        with ordinary_user():
            (folder / "state").mkdir(mode=0o700)
        with pytest.raises(Denied, match=r"as the user that owns it|not this user's alone"):
            take(folder / "state", 5.0)

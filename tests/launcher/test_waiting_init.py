"""The first program of a waiting sandbox, run beside the test: it runs what it is told, or says why it cannot."""

from __future__ import annotations

import ctypes
import os
import socket
import subprocess
from array import array
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import pytest

from superagent_launcher import waiting_init

PATIENCE_S = 30.0


def asked(
    *command: str, folder: str = "/", env: Sequence[str] = ("PATH=/none:/etc/hostname:/usr/bin:/bin",), job: bytes = b""
) -> tuple[str, list[str]]:
    """Ask a forked child to run a command; gives what that wrote, and what was said on the socket after `W`."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        code = 99
        with suppress(BaseException):
            ours.close()
            code = waiting_init.main([str(theirs.detach())])
        os._exit(code)
    theirs.close()
    texts = [folder, "1 7", str(len(env)), *env, *command]
    message = job or b"".join(one.encode() + b"\0" for one in texts)
    with ours:
        ours.settimeout(PATIENCE_S)
        assert ours.recv(1000) == b"W"
        ours.sendmsg([message], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array("i", [writing, writing]))])
        os.close(writing)
        said = [ours.recv(1000).decode()]
        if said == ["S"]:
            said.append(ours.recv(1000).decode())
    with os.fdopen(reading) as file:
        written = file.read()
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert code == (1 if len(said) == 1 else int(said[1][1:].split()[0]))
    return written, said


def test_it_runs_the_command_with_its_folder_variables_and_descriptors(tmp_path: Path) -> None:
    env = ("PATH=/bin", "A=b=c")
    written, said = asked(
        "sh", "-c", 'pwd; echo "$A" "$0" >&7; ls /proc/self/fd', "zero", folder=str(tmp_path), env=env
    )

    lines = written.splitlines()
    assert said[0] == "S"
    assert lines[:2] == [str(tmp_path), "b=c zero"]
    assert {one for one in lines[2:] if int(one) < 64} == {"0", "1", "2", "3", "7"}  # 3 is the folder that `ls` reads


def test_it_says_how_the_command_ended_and_what_it_used() -> None:
    for script, code in [("exit 7", 7), ("kill -9 $$", 137), ("kill -2 $$", 130), ("kill -13 $$", 141)]:
        assert asked("sh", "-c", script)[1][1].startswith(f"R{code} "), script
    _, said = asked("sh", "-c", "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done")
    _, cpu_us, memory_kib = (int(one) for one in said[1][1:].split())
    assert 1000 < cpu_us < 60_000_000
    assert 100 < memory_kib < 1_000_000


def test_what_cannot_be_executed_is_said_and_nothing_is_done(tmp_path: Path) -> None:
    (tmp_path / "closed").touch()
    for said, words in [
        (asked("no-such-program"), "No such file"),
        (asked("./closed", folder=str(tmp_path)), "Permission denied"),
        (asked("closed", env=(f"PATH={tmp_path}:/bin",)), "Permission denied"),
        (asked("true", folder="/nowhere"), "No such file"),
    ]:
        assert len(said[1]) == 1
        assert said[1][0].startswith("E")
        assert words in said[1][0]
    assert asked("true", job=b"/\0not numbers\0")[1][0][1:]


def test_it_cannot_be_looked_into() -> None:
    pid = os.fork()
    if pid == 0:
        with suppress(BaseException):
            waiting_init.hide()
            os._exit(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))  # PR_GET_DUMPABLE
        os._exit(9)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_nobody_who_asks_ends_it() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    process = subprocess.Popen(
        ["/usr/bin/python3" if Path("/usr/bin/python3").exists() else "python3", "-I", "-S", waiting_init.__file__,
         str(theirs.fileno())], pass_fds=[theirs.fileno()],
    )  # fmt: skip
    theirs.close()
    ours.close()
    assert process.wait(PATIENCE_S) == 1


@pytest.mark.parametrize("name", ["true", "/bin/true"])
def test_a_name_is_looked_for_as_ever(name: str) -> None:
    written, (begun, ended) = asked(name)
    assert (written, begun, ended.split()[0]) == ("", "S", "R0")

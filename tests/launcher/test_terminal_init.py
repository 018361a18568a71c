"""The first program of a session, run beside the test: a terminal of its own, and the shell at it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from array import array
from contextlib import suppress

import pytest

from superagent_launcher import terminal_init

PATIENCE_S = 30.0


def seated(*command: str) -> tuple[str, int]:
    """Run a command at a terminal and give what it printed, and its exit code."""
    ours, theirs = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        code = 1
        with suppress(BaseException):
            ours.close()
            os.dup2(os.open(os.devnull, os.O_RDWR), 2)
            code = terminal_init.main([str(theirs.detach()), "30", "90", "--", *command])
        os._exit(code)
    theirs.close()
    with ours:
        ours.settimeout(PATIENCE_S)
        data, ancillary, _, _ = ours.recvmsg(64, socket.CMSG_SPACE(4))
        assert data == terminal_init.HELLO
        outside = array("i", ancillary[0][2])[0]
    printed = b""
    with suppress(OSError):  # EIO: nobody sits at it any more
        while data := os.read(outside, 65_536):
            printed += data
    os.close(outside)
    return printed.decode(), os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_the_command_sits_at_a_terminal_that_controls_it() -> None:
    printed, code = seated("sh", "-c", "stty size; [ -t 0 ] && [ -t 1 ] && [ -t 2 ] && : </dev/tty && echo yes; exit 3")

    assert printed.split() == ["30", "90", "yes"]
    assert code == 3


def test_variables_that_are_given_are_the_commands_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONE", "before")
    monkeypatch.setenv(f"{terminal_init.GIVEN}ONE", "given")
    monkeypatch.setenv(f"{terminal_init.GIVEN}TWO", "too")

    printed, code = seated("sh", "-c", "echo $ONE $TWO; env | grep -c ^SUPERAGENT_GIVEN_")

    assert printed.split() == ["given", "too", "0"]
    assert code == 1


def test_what_cannot_be_executed_is_said_at_the_terminal() -> None:
    printed, code = seated("no-such-program")

    assert "could not be set up" in printed
    assert code == terminal_init.NOT_SET_UP


@pytest.mark.parametrize("arguments", [["99", "30", "90", "--", "true"], ["0", "x", "90", "--", "true"]])
def test_what_cannot_be_set_up_is_said(arguments: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-I", "-S", terminal_init.__file__, *arguments], capture_output=True, text=True,
        timeout=PATIENCE_S, check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert (done.returncode, "could not be set up" in done.stderr) == (terminal_init.NOT_SET_UP, True)


def test_it_says_how_it_is_used() -> None:
    with pytest.raises(SystemExit, match="usage"):
        terminal_init.main(["7", "24", "80", "--"])

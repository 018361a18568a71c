"""The first program of a sandbox, by itself in an empty network: it raises the loopback, hands out, and becomes."""

from __future__ import annotations

import array
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from superagent_launcher import egress_init
from tests import needs

INIT = egress_init.__file__


def in_empty_network(*argv: str, pass_fds: tuple[int, ...] = ()) -> subprocess.CompletedProcess[str]:
    """Run it in a network of its own whose loopback is down, with the right to raise it."""
    unshare = needs.program("unshare", "util-linux")
    return subprocess.run(
        [unshare, "--user", "--map-root-user", "--net", "--", sys.executable, str(INIT), *argv],
        capture_output=True,
        text=True,
        timeout=60,
        pass_fds=pass_fds,
        check=False,
    )


def test_it_raises_the_loopback_hands_its_port_out_and_becomes_the_command() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        code = (
            "import socket, sys; sock = socket.create_connection(('127.0.0.1', 3128), 5);"
            "sys.stdout.write(sock.recv(100).decode())"
        )
        with subprocess.Popen(
            [needs.program("unshare", "util-linux"), "--user", "--map-root-user", "--net", "--", sys.executable,
             str(INIT), str(theirs.fileno()), "--", sys.executable, "-c", code],
            stdout=subprocess.PIPE, pass_fds=(theirs.fileno(),),
        ) as process:  # fmt: skip
            theirs.close()
            ours.settimeout(30)
            data, ancillary, _, _ = ours.recvmsg(64, socket.CMSG_SPACE(4))
            assert data == egress_init.HELLO
            numbers = array.array("i")
            numbers.frombytes(ancillary[0][2])
            with socket.socket(fileno=numbers[0]) as listening:
                assert listening.getsockname() == ("127.0.0.1", 3128)
                listening.settimeout(30)
                connection, _ = listening.accept()
                with connection:
                    connection.sendall(b"from outside")
            assert process.communicate(timeout=30)[0] == b"from outside"
        assert ours.recv(10) == b""  # nobody inside holds the other end any more


@pytest.mark.parametrize(
    ("command", "code", "says"),
    [(("no-such-program",), 127, "no-such-program: not found"), (("/etc",), 126, "/etc: Permission denied")],
)
def test_a_command_that_cannot_begin_is_said(command: tuple[str, ...], code: int, says: str) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        done = in_empty_network(str(theirs.fileno()), "--", *command, pass_fds=(theirs.fileno(),))
    assert (done.returncode, says in done.stderr) == (code, True), done.stderr


def test_what_cannot_be_set_up_is_not_the_commands_fault() -> None:
    for number in ("99", "x"):
        done = in_empty_network(number, "--", "true")
        assert done.returncode == egress_init.NOT_SET_UP
        assert "the network could not be set up" in done.stderr


def test_it_says_how_it_is_used() -> None:
    for arguments in (["3", "true", "x"], ["3", "--"]):
        with pytest.raises(SystemExit, match="usage"):
            egress_init.main(arguments)


def test_it_needs_nothing_but_the_standard_library() -> None:
    done = subprocess.run(
        ["/usr/bin/python3" if Path("/usr/bin/python3").exists() else sys.executable, "-I", "-S", str(INIT), "3", "--"],
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert "usage" in done.stderr


def test_its_steps_by_themselves(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(egress_init, "PORT", 0)  # any: this is the network of the whole machine
    egress_init.raise_loopback()  # it is up, so nothing happens and no right is needed
    ours, theirs = socket.socketpair()
    kept = {number: signal.getsignal(number) for number in (signal.SIGPIPE, signal.SIGXFSZ)}
    try:
        with ours:
            assert egress_init.main([str(theirs.detach()), "--", "no-such-program"]) == egress_init.NOT_FOUND
            data, ancillary, _, _ = ours.recvmsg(64, socket.CMSG_SPACE(4))
            assert data == egress_init.HELLO
            numbers = array.array("i", ancillary[0][2])
            with socket.socket(fileno=numbers[0]) as listening:
                assert listening.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
        assert egress_init.become(["/etc"]) == (egress_init.NOT_EXECUTABLE, "/etc: Permission denied")
        assert egress_init.main(["x", "--", "true"]) == egress_init.NOT_SET_UP
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)
    said = capsys.readouterr().err
    assert "sandbox: no-such-program: not found" in said
    assert "sandbox: the network could not be set up" in said

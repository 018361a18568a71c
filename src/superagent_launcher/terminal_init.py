"""The first program of a session: it opens a terminal inside, hands its other side out, and becomes the shell on it.

It runs inside, by the sandbox's own Python (3.7 or newer) and nothing but the standard library:

    python3 -I -S terminal_init.py DESCRIPTOR ROWS COLUMNS -- COMMAND …

The terminal belongs to the sandbox's own `/dev/pts`. Its controlling side leaves over the inherited Unix socket
DESCRIPTOR, which is closed before the command begins; the command gets the other side as its controlling terminal.

Variables whose names begin with `GIVEN` are the command's, without that: they could have the loader run code of the
caller, and whoever holds the controlling side as well could have its reader outside wait for ever.
"""

import array
import fcntl
import os
import pty
import signal
import socket
import struct
import sys
import termios

NOT_SET_UP = 71  # sysexits: the sandbox could not be set up, which is not the command's fault
HELLO = b"terminal"
GIVEN = "SUPERAGENT_GIVEN_"


def hand_out(descriptor: int, rows: int, columns: int) -> int:
    """Open a terminal, send its controlling side out, and give the other one. Raises `OSError`."""
    outside, inside = pty.openpty()
    fcntl.ioctl(inside, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    with socket.socket(fileno=descriptor) as out:
        out.sendmsg([HELLO], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [outside]))])
    os.close(outside)
    return inside


def sit_down(inside: int) -> None:
    """Make a terminal the one that this process and what it starts sit at. Raises `OSError`."""
    if os.getsid(0) != os.getpid():
        os.setsid()
    fcntl.ioctl(inside, termios.TIOCSCTTY, 0)
    for number in (0, 1, 2):
        os.dup2(inside, number)
    if inside > 2:
        os.close(inside)


def variables() -> "dict[str, str]":
    """Give the variables of the command: those of this program, and before them those that only it is given."""
    given = {name[len(GIVEN) :]: value for name, value in os.environ.items() if name.startswith(GIVEN)}
    return {**{name: value for name, value in os.environ.items() if not name.startswith(GIVEN)}, **given}


def main(arguments: "list[str]") -> int:
    """Run; comes back only when something went wrong."""
    descriptor, rows, columns, dashes, *command = arguments
    if dashes != "--" or not command:
        raise SystemExit("usage: terminal_init.py DESCRIPTOR ROWS COLUMNS -- COMMAND …")
    try:
        sit_down(hand_out(int(descriptor), int(rows), int(columns)))
        for number in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores them, and who is executed would inherit it
            signal.signal(number, signal.SIG_DFL)
        os.execvpe(command[0], command, variables())  # noqa: S606
    except (OSError, ValueError) as bad:
        os.write(2, f"sandbox: the terminal could not be set up: {bad}\n".encode("utf-8", "replace"))
    return NOT_SET_UP


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""The first program of a sandbox with a network: it opens the port of the proxy, hands it out, and becomes the command.

It runs inside, by the sandbox's own Python (3.7 or newer) and nothing but the standard library:

    python3 -I -S egress_init.py DESCRIPTOR -- COMMAND …

The network around it is empty but for a loopback of its own. It listens there on the proxy's port and sends that socket
out over the inherited Unix socket DESCRIPTOR, whose other end accepts on it from outside. Nothing else ever leaves, and
both are closed before the command begins.
"""

import array
import contextlib
import fcntl
import os
import signal
import socket
import struct
import sys

HOST, PORT = "127.0.0.1", 3128
BACKLOG = 128
HELLO = b"listening"
# sysexits: the sandbox could not be set up, which is not the command's fault
NOT_SET_UP, NOT_FOUND, NOT_EXECUTABLE = 71, 127, 126
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _UP = 0x8913, 0x8914, 0x1


def raise_loopback() -> None:
    """Bring `lo` up if it is down; bubblewrap has done it as a rule, and inside nobody may."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        asked = struct.pack("16sh14x", b"lo", 0)
        flags = struct.unpack("16sh14x", fcntl.ioctl(sock, _SIOCGIFFLAGS, asked))[1]
        if not flags & _UP:
            fcntl.ioctl(sock, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", flags | _UP))


def listen() -> socket.socket:
    """Open the port that the proxy answers on. Raises `OSError`."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    sock.bind((HOST, PORT))
    sock.listen(BACKLOG)
    return sock


def hand_out(descriptor: int) -> None:
    """Listen, and send the socket out. Raises `OSError`."""
    with listen() as listening, socket.socket(fileno=descriptor) as out:
        passed = array.array("i", [listening.fileno()])
        out.sendmsg([HELLO], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, passed)])


def become(command: "list[str]") -> "tuple[int, str]":
    """Become the command; gives (exit code, why) when that cannot be."""
    for number in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores them, and who is executed would inherit it
        signal.signal(number, signal.SIG_DFL)
    try:
        os.execvp(command[0], command)  # noqa: S606
    except FileNotFoundError:
        return NOT_FOUND, f"{command[0]}: not found"
    except OSError as bad:
        return NOT_EXECUTABLE, f"{command[0]}: {bad.strerror}"


def main(arguments: "list[str]") -> int:
    """Run; gives an exit code only where something went wrong."""
    descriptor, dashes, *command = arguments
    if dashes != "--" or not command:
        raise SystemExit("usage: egress_init.py DESCRIPTOR -- COMMAND …")
    try:
        with contextlib.suppress(OSError):  # if it is really down, the next step says so
            raise_loopback()
        hand_out(int(descriptor))
    except (OSError, ValueError) as bad:
        sys.stderr.write(f"sandbox: the network could not be set up: {bad}\n")
        return NOT_SET_UP
    code, why = become(command)
    sys.stderr.write(f"sandbox: {why}\n")
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

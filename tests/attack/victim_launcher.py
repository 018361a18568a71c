"""A launcher of sandboxes to attack, with the socket by which its server speaks to it."""

from __future__ import annotations

import json
import os
import shutil
from contextlib import ExitStack
from pathlib import Path

import superagent_launcher
from tests.attack.ground import Ground
from tests.attack.victim_processes import first_line, start
from tests.needs import program

# stands where the server stands: it starts the real launcher and holds the other end of its socket
SERVER = """
import json, os, socket, subprocess, sys
ours, theirs = socket.socketpair()
command = [sys.executable, "-I", "-S", sys.argv[1], str(theirs.fileno()), "0", "0"]
launcher = subprocess.Popen(command, pass_fds=[theirs.fileno()], env={}, stdin=subprocess.DEVNULL, cwd="/")
theirs.close()
ours.recv(65536)
print(json.dumps({"pid": os.getpid(), "fd": ours.fileno(), "launcher": launcher.pid}), flush=True)
for line in sys.stdin:
    print("gone" if launcher.poll() is not None else "there", flush=True)
"""


def launcher(ground: Ground, stack: ExitStack) -> None:
    """Run a launcher and its server as the sandbox's user; both must live on."""
    package = Path(superagent_launcher.__file__).parent
    shutil.copytree(package, ground.folder / "run" / package.name)
    process = start(ground, stack, SERVER, str(ground.folder / "run" / package.name / "__main__.py"))
    ground.given["server"] = json.loads(first_line(process)) | {"bwrap": program("bwrap", "bubblewrap")}

    def ended() -> str:
        assert process.stdin is not None
        try:
            process.stdin.write(b"well\n")
            process.stdin.flush()
        except BrokenPipeError:
            return "the server was ended"
        return "" if first_line(process) == b"there\n" else "the launcher was ended"

    ground.checks.append(ended)


def others_terminal(ground: Ground, stack: ExitStack) -> None:
    """Open a terminal of the same user at which somebody else works; nothing may appear on it."""
    master, slave = os.openpty()
    stack.callback(os.close, master)
    stack.callback(os.close, slave)
    if os.geteuid() == 0:
        os.fchown(slave, ground.uid, -1)
    os.set_blocking(master, False)
    ground.given["terminal"] = os.ttyname(slave)

    def shown() -> str:
        try:
            return f"{os.read(master, 100)!r} appeared on the terminal of somebody else"
        except BlockingIOError:
            return ""

    ground.checks.append(shown)


def linked_folder(ground: Ground, _stack: ExitStack) -> None:
    """Let the workspace hold a link to the folder outside, from the beginning."""
    (ground.workspace / ".git").symlink_to(ground.folder)

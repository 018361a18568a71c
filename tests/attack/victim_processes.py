"""Processes, keys and segments to attack, all of the sandbox's own user."""

from __future__ import annotations

import ctypes
import json
import os
import platform
import select
import shutil
import signal
import subprocess
import sys
import time
from contextlib import ExitStack, suppress
from pathlib import Path

from tests.attack.ground import Ground
from tests.attack.running import Step
from tests.needs import program
from tests.runtime.sandbox.call_numbers import number_of
from tests.until import until

WAITS_S = 10.0
ANSWERS_S = 3.0
ENDS_S = 1.0
STEP_S = 0.01

# keeps a secret in its memory, in an open file that has no name any more, and where it stands
KEEPER = """
import ctypes, json, os, sys
secret = ctypes.create_string_buffer(os.environ["SECRET"].encode())
fd = os.memfd_create("secret")
os.write(fd, secret.value)
print(json.dumps({"pid": os.getpid(), "address": ctypes.addressof(secret), "fd": fd}), flush=True)
for line in sys.stdin:
    print(line, end="", flush=True)
"""

ROOMED = """
import ctypes, os, sys
print(ctypes.CDLL(None).unshare(0x10000000), os.getpid(), flush=True)
sys.stdin.read()
"""

# puts a secret into the keyring of its user
KEY_HOLDER = """
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
secret = os.environ["SECRET"].encode()
user_keyring = -4
key = libc.syscall(int(sys.argv[1]), b"user", b"superagent-attack", secret, len(secret), user_keyring)
everything = 0x3F3F0000
libc.syscall(int(sys.argv[2]), 5, key, ctypes.c_long(everything))
print(key, flush=True)
sys.stdin.read()
"""


def start(ground: Ground, stack: ExitStack, code: str, *given: str) -> subprocess.Popen[bytes]:
    """Start Python text as the sandbox's user; it ends with the test, when its input does, or by the attack."""
    argv = (program("python3"), "-I", "-S", "-c", code, *given)
    step = Step(argv, ground.uid, {"SECRET": ground.token}, str(ground.folder))
    process = subprocess.Popen(step.command(terminal=False), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    stack.callback(_end, process)
    return process


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait(WAITS_S)
    for stream in (process.stdin, process.stdout):
        with suppress(BrokenPipeError):  # what it was told and never read
            if stream is not None:
                stream.close()


def first_line(process: subprocess.Popen[bytes], wait_s: float = WAITS_S) -> bytes:
    """Read a line that the process says; nothing when it is over or says nothing in time."""
    assert process.stdout is not None
    ready, _, _ = select.select([process.stdout], [], [], wait_s)
    return process.stdout.readline() if ready else b""


def keeper(ground: Ground, stack: ExitStack) -> None:
    """Run a process with secrets; it must live on."""
    process = start(ground, stack, KEEPER)
    ground.given["victim"] = json.loads(first_line(process))
    (ground.folder / "beside.txt").write_text(ground.token)

    def ended() -> str:
        """Speak to it: a signal that is under way has come when it answers, and has ended it when it does not."""
        assert process.stdin is not None
        try:
            process.stdin.write(b"well\n")
            process.stdin.flush()
        except BrokenPipeError:
            return "the victim was ended"
        return "" if first_line(process, ANSWERS_S) == b"well\n" else "the victim was ended or stopped"

    ground.checks.append(ended)


def announced(ground: Ground, stack: ExitStack) -> None:
    """Run a process that has a secret among its arguments."""
    first_line(start(ground, stack, "import sys; print(1, flush=True); sys.stdin.read()", ground.token))


def roomed(ground: Ground, stack: ExitStack) -> None:
    """Run a process in a user namespace of its own, in which whoever enters is root."""
    failed, pid = map(int, first_line(start(ground, stack, ROOMED)).split())
    assert not failed
    ground.given["roomed"] = pid


def key_holder(ground: Ground, stack: ExitStack) -> None:
    """Put a key into the user's keyring."""
    calls = (str(number_of(name, platform.machine())) for name in ("add_key", "keyctl"))
    key = int(first_line(start(ground, stack, KEY_HOLDER, *calls)))
    assert key > 0


def system_v(ground: Ground, stack: ExitStack) -> None:
    """Make a segment of System V shared memory that is open to everybody."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.shmat.restype = ctypes.c_void_p
    libc.shmdt.argtypes = [ctypes.c_void_p]
    key = int.from_bytes(os.urandom(3), "big") | 1
    segment = libc.shmget(key, 4096, 0o1666)
    assert segment >= 0
    stack.callback(libc.shmctl, segment, 0, None)
    address = libc.shmat(segment, None, 0)
    ctypes.memmove(address, ground.token.encode(), len(ground.token))
    libc.shmdt(address)
    ground.given["key"] = key


def running_program(ground: Ground, stack: ExitStack) -> None:
    """Run a program whose file the sandbox's user may write, as a per-user installation has it."""
    path = ground.folder / "tool"
    shutil.copyfile(program("sleep"), path)
    ground.own(path, 0o755)
    size = path.stat().st_size
    process = subprocess.Popen(Step((str(path), "60"), ground.uid, {}).command(terminal=False))
    stack.callback(_end, process)
    until(lambda: os.readlink(f"/proc/{process.pid}/exe") == str(path), "the program to run")
    ground.given["tool"] = process.pid
    ground.checks.append(lambda: "" if path.stat().st_size == size else "the running program's file was overwritten")


def leftovers(ground: Ground, stack: ExitStack) -> None:
    """Look afterwards for processes that bear the token: what should have ended with the command."""

    def bearing() -> list[int]:
        found: list[int] = []
        for name in filter(str.isdigit, os.listdir("/proc")):
            try:
                arguments = Path(f"/proc/{name}/cmdline").read_bytes()
            except OSError:
                continue
            if f"left-{ground.token}".encode() in arguments and int(name) != os.getpid():
                found.append(int(name))
        return found

    def end_them() -> None:
        for pid in bearing():
            os.kill(pid, signal.SIGKILL)

    stack.callback(end_them)
    ground.given["left"] = f"left-{ground.token}"
    ground.given["python"] = sys.executable if ground.uid == os.getuid() else program("python3")

    def outlived() -> str:
        """Allow a moment: bubblewrap says that its command has ended just before the kernel ends all the others."""
        end = time.monotonic() + ENDS_S
        while bearing():
            if time.monotonic() > end:
                return "a process outlived its command"
            time.sleep(STEP_S)
        return ""

    ground.checks.append(outlived)

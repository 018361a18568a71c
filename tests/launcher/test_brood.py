"""What a command leaves behind ends with it, where no namespace would see to that."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from superagent_launcher import brood
from tests.promise import ROOT
from tests.until import until, until_async

KEEP = f"""
import os, sys
sys.path.insert(0, {str(ROOT / "src")!r})
from superagent_launcher import brood
raise SystemExit(brood.keep(lambda: os.execv(sys.executable, [sys.executable, "-I", "-S", "-c", *sys.argv[1:]])))
"""

# leaves a process that has lost its parent, its session and its signals, and says its number first
LEAVE = """
import os, signal, sys
out, into = os.pipe()
if os.fork() == 0:
    os.setsid()
    for number in (1, 2, 3, 15): signal.signal(number, signal.SIG_IGN)
    if os.fork(): os._exit(0)
    os.write(into, str(os.getpid()).encode())
    os.closerange(0, 3)
    signal.alarm(60)
    signal.pause()
    os._exit(0)
with open(sys.argv[1], "wb") as file: file.write(os.read(out, 20))
"""


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


@contextmanager
def kept(code: str, *given: str) -> Generator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-c", KEEP, code, *given])
    try:
        yield process
    finally:
        process.kill()
        process.wait(10)


@pytest.mark.parametrize(("code", "ended"), [("raise SystemExit(7)", 7), ("import os; os.kill(os.getpid(), 9)", 137)])
def test_the_code_of_the_command_comes_through(code: str, ended: int) -> None:
    with kept(code) as process:
        assert process.wait(20) == ended


def test_what_a_command_leaves_has_ended_when_it_comes_back(tmp_path: Path) -> None:
    with kept(LEAVE, str(tmp_path / "pid")) as process:
        assert process.wait(20) == 0
        assert gone(int((tmp_path / "pid").read_text()))


def test_being_asked_to_end_ends_all_of_it(tmp_path: Path) -> None:
    with kept(LEAVE + "signal.alarm(60); signal.pause()", str(tmp_path / "pid")) as process:
        until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").stat().st_size, "the child")
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 128 + signal.SIGTERM
        assert gone(int((tmp_path / "pid").read_text()))


async def test_it_ends_when_the_one_who_started_it_dies(tmp_path: Path) -> None:
    starter = "import signal, subprocess, sys; subprocess.Popen(sys.argv[1:]); signal.pause()"
    command = [sys.executable, "-c", KEEP, LEAVE + "signal.alarm(60); signal.pause()", str(tmp_path / "pid")]
    process = await asyncio.create_subprocess_exec(sys.executable, "-I", "-S", "-c", starter, *command)
    await until_async(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").stat().st_size, "the child")
    process.kill()
    await process.wait()
    await until_async(lambda: gone(int((tmp_path / "pid").read_text())), "the end of the brood")


# leaves one that ends before it does, and waits until its number is free again
ORPHAN = """
import os
out, into = os.pipe()
if os.fork() == 0:
    if os.fork() == 0: os.write(into, str(os.getpid()).encode())
    os._exit(0)
os.wait()
pid = int(os.read(out, 20))
while True:
    try: os.kill(pid, 0)
    except ProcessLookupError: raise SystemExit(8)
"""


def test_what_ends_meanwhile_does_not_stay_as_a_zombie() -> None:
    with kept(ORPHAN) as process:
        assert process.wait(20) == 8


# each process lives only to make the next one
COMET = """
import os
print(os.getpid(), flush=True)
if os.fork(): os._exit(0)
os.setsid()
while True:
    if os.fork(): os._exit(0)
"""


def test_one_that_forks_on_and_on_is_met(tmp_path: Path) -> None:
    with kept(COMET) as process:
        assert process.wait(20) == 0


def test_what_cannot_be_started_says_so() -> None:
    code = KEEP.replace("sys.executable, [sys", "'/nowhere', [sys")
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=20, check=False)
    assert ended.returncode == 127
    assert b"No such file" in ended.stderr


def test_children_are_found_without_the_kernels_list(monkeypatch: pytest.MonkeyPatch) -> None:
    real = open

    def without(name: str, *given: object, **named: object) -> object:
        if name.endswith("/children"):
            raise FileNotFoundError(name)
        return real(name, *given, **named)  # pyright: ignore[reportArgumentType, reportCallIssue, reportUnknownVariableType]

    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        assert child.pid in brood.children()
        monkeypatch.setattr("builtins.open", without)
        names = [*os.listdir("/proc"), str(2**22 + 1)]  # and one that ended meanwhile

        def listed(_path: str) -> list[str]:
            return names

        monkeypatch.setattr("os.listdir", listed)
        assert child.pid in brood.children()
        monkeypatch.undo()
        child.kill()


def test_a_brood_that_does_not_end_is_an_error() -> None:
    code = """
import os, signal
from superagent_launcher import brood
brood.MOST_S = 0.05
brood.children = list  # as if its children could not be seen
child = os.fork()
if child == 0: signal.pause()
try: brood.end_all()
except TimeoutError: print("an error")
os.kill(child, signal.SIGKILL)
"""
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, timeout=20, check=False)
    assert ended.stdout == b"an error\n", ended.stderr

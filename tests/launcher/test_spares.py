"""Children that are ready for a confined command before it comes: whose, how long, and that nothing else gets them."""

from __future__ import annotations

import os
import platform
import signal
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from superagent.runtime.sandbox.filters.shipped import filter_without_namespaces
from superagent_launcher import spares
from tests.launcher.beside import AS_ROOT, FIRST_USER, LIMITS, USER, WHO, Beside, launcher
from tests.launcher.confining import needs_landlock
from tests.needs import missing
from tests.until import until

HELD: dict[str, Any] = {
    "readable": ["/usr", "/bin", "/lib", "/lib64", "/etc/ld.so.cache"], "writable": [], "devices": ["/dev/null"],
    "filter": filter_without_namespaces(platform.machine(), tcp=False).hex(), "env": [["PATH", "/usr/bin:/bin"]],
    "cwd": "",
}  # fmt: skip
WHOSE = "echo $PPID; read -r line < /dev/null; exec cat /etc/passwd"
"""Says whose child it is, and tries what it may not."""


@pytest.fixture(autouse=True)
def landlock() -> None:
    needs_landlock()


@pytest.fixture(params=WHO)
def beside(request: pytest.FixtureRequest) -> Generator[Beside]:
    with launcher(request.param, counted=False) as one:
        one.hear("hello")
        yield one


def run(beside: Beside, *command: str, **fields: Any) -> tuple[str, dict[str, Any]]:
    fields = {"confine": HELD, **fields}
    return beside.run(*(command or ("sh", "-c", WHOSE)), options=[], program="/", **fields)


def children(pid: int) -> list[int]:
    try:
        return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def ready(beside: Beside) -> list[int]:
    """Give the keepers that wait: the launcher's children that have a child."""
    return [one for one in children(beside.pid) if children(one)]


def one_ready(beside: Beside) -> int:
    until(lambda: len(ready(beside)) == 1, "a child that is ready")
    return ready(beside)[0]


def test_the_next_command_goes_to_the_child_that_is_ready_and_is_held_as_the_first_was(beside: Beside) -> None:
    first, ended = run(beside)
    assert ended["event"] == "ended", ended
    keeper = one_ready(beside)

    second, again = run(beside)

    assert second.splitlines()[0] == str(keeper) != first.splitlines()[0]
    assert (ended["code"], again["code"]) == (1, 1)  # it could not read the file
    assert again["cpu_s"] > 0
    assert again["memory_bytes"] > 0
    assert one_ready(beside) != keeper


def test_what_waits_holds_nothing_of_anybody_and_cannot_be_looked_into(beside: Beside) -> None:
    run(beside, "sh", "-c", "exit 7")
    keeper = one_ready(beside)

    for pid in (keeper, *children(keeper)):
        status = Path(f"/proc/{pid}/status").read_text()
        assert os.stat(f"/proc/{pid}/mem").st_uid == 0  # root's, as all of a process that cannot be looked into
        if beside.as_root:
            assert f"Uid:\t{USER}\t{USER}\t{USER}\t{USER}" in status
            assert "CapBnd:\t0000000000000000" in status
            links = [os.readlink(f"/proc/{pid}/fd/{name}") for name in os.listdir(f"/proc/{pid}/fd")]
            assert not [one for one in links if one.startswith("pipe:")]


@pytest.mark.parametrize(
    "other",
    [
        {"limits": {**LIMITS, "processes": 31}},
        {"confine": {**HELD, "readable": [*HELD["readable"], "/etc/hostname"]}},
        {"confine": {**HELD, "filter": HELD["filter"] + "060000000000ff7f"}},
    ],
)
def test_a_command_that_is_held_otherwise_gets_another_child(beside: Beside, other: dict[str, Any]) -> None:
    run(beside)
    keeper = one_ready(beside)

    text, ended = run(beside, "sh", "-c", "echo $PPID", **other)

    assert (ended["code"], text != f"{keeper}\n") == (0, True)
    until(lambda: len(ready(beside)) == spares.READY, "one that is ready for each")
    run(beside, "true", confine={**HELD, "devices": []})  # a third pushes out the first
    until(lambda: keeper not in ready(beside), "its end")


def test_a_command_of_another_user_gets_a_child_of_its_own() -> None:
    if not AS_ROOT:
        missing("only root can change users")
    with launcher(counted=False) as beside:
        beside.hear("hello")
        run(beside)
        keeper = one_ready(beside)

        text, _ = run(beside, "sh", "-c", "echo $PPID $(id -u)", uid=FIRST_USER + 8)

        parent, uid = text.split()
        assert (parent != str(keeper), uid) == (True, str(FIRST_USER + 8))


def waited(seconds: float) -> None:
    """Let so much time go by, in which something could happen that must not."""
    end = time.monotonic() + seconds
    until(lambda: time.monotonic() > end, "that moment")


def test_what_was_ready_too_long_goes_and_none_takes_its_place() -> None:
    with launcher(counted=False, spares__AGE_S=3.0) as beside:
        beside.hear("hello")
        run(beside)
        one_ready(beside)

        until(lambda: not ready(beside), "its end")

        waited(0.1)
        assert not ready(beside)
        assert run(beside, "true")[1]["code"] == 0


def test_the_least_memory_is_enough_to_be_ready(beside: Beside) -> None:
    least = {**LIMITS, "memory_bytes": 4 * 1024**2}
    run(beside, "true", limits=least)
    keeper = one_ready(beside)

    text, ended = run(beside, "sh", "-c", "echo $PPID", limits=least)

    assert (text, ended["code"], ended["out_of_memory"]) == (f"{keeper}\n", 0, 0)


def test_one_that_was_killed_is_missed_by_nobody(beside: Beside) -> None:
    run(beside)
    keeper = one_ready(beside)
    (waiting,) = children(keeper)

    os.kill(waiting, signal.SIGKILL)

    until(lambda: keeper not in children(beside.pid), "the keeper's end")
    text, ended = run(beside)
    assert (text.splitlines()[0] != str(keeper), ended["code"]) == (True, 1)


def test_what_nothing_holds_is_never_made_ahead() -> None:
    with launcher(WHO[0], "uncontained", counted=False) as beside:
        beside.hear("hello")

        text, ended = run(beside, "sh", "-c", "echo here", confine={**HELD, "filter": ""})

        assert (text, ended["code"]) == ("here\n", 0)
        until(lambda: len(children(beside.pid)) == spares.KEPT, "those that are made for anything")
        waited(2 * spares.QUIET_S)
        assert not ready(beside)


def test_when_the_launcher_is_killed_what_waits_ends(beside: Beside) -> None:
    run(beside)
    keeper = one_ready(beside)
    both = [keeper, *children(keeper)]

    os.kill(beside.pid, signal.SIGKILL)
    os.waitpid(beside.pid, 0)
    beside.pid = 0

    def gone(pid: int) -> bool:
        try:
            return "Z" in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return True

    until(lambda: all(gone(one) for one in both), "their end")

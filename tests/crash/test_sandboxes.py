"""Server, launcher and sandboxes killed at any moment: after a restart no process, group or temporary file is left."""

from __future__ import annotations

import os
import random
import signal
import tempfile
import threading
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.crash.platform import Server, records, serving
from tests.launcher.test_serving import groups_named
from tests.needs import program
from tests.until import until

MARK = f"7{os.getpid():07d}"  # of this very process: another may run these tests at the same time
pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture(autouse=True)
def bubblewrap() -> None:
    program("bwrap", "bubblewrap")


def marked() -> list[int]:
    """Give the processes whose command line bears our mark."""
    found: list[int] = []
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if MARK.encode() in place.read_bytes():
                found.append(int(place.parent.name))
        except OSError:
            continue
    return found


def children(pid: int) -> list[int]:
    found: list[int] = []
    for place in Path(f"/proc/{pid}/task").glob("*/children"):
        found += [int(one) for one in place.read_text().split()]
    return found


def launchers(server: Server) -> list[int]:
    """Give the launchers of a server or of its workers."""
    own = [server.process.pid, *children(server.process.pid)]
    return [
        child
        for parent in own
        for child in children(parent)
        if b"superagent_launcher" in Path(f"/proc/{child}/cmdline").read_bytes()
    ]


def name_of(launcher: int) -> str:
    """Give what the groups and processes of a launcher are called by."""
    return f"superagent-{os.stat('/proc/self/ns/pid').st_ino}-{launcher}-"


def beginning_with(name: str) -> list[object]:
    """Give the groups and processes whose name begins so."""
    found: list[object] = []
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if place.read_bytes().startswith(name.encode()):
                found.append(int(place.parent.name))
        except OSError:
            continue
    for hierarchy in Path("/sys/fs/cgroup").glob("*"):
        for path, folders, _ in os.walk(hierarchy):
            found += [f"{path}/{one}" for one in folders if one.startswith(name)]
    return found


class Callers:
    """Clients that run commands until the server is gone."""

    def __init__(self, server: Server, command: str, count: int = 4, **more: str) -> None:
        self.replies: list[Any] = []
        given = {"command": command, **more}
        self._threads = [threading.Thread(target=self._call, args=(server, given), daemon=True) for _ in range(count)]
        for thread in self._threads:
            thread.start()

    def _call(self, server: Server, given: dict[str, str]) -> None:
        try:
            while True:
                with server.client() as client:  # each time another connection: any worker may take it
                    reply = client.post("/v1/operations/shell.run", json=given)
                    self.replies.append(reply.json())
        except httpx.HTTPError:
            return

    def ended(self) -> None:
        for thread in self._threads:
            thread.join(30)
            assert not thread.is_alive()


def nothing_left(names: list[str]) -> None:
    until(lambda: not marked(), "the end of every command")
    for name in names:
        until(lambda name=name: not beginning_with(name), f"the end of what {name} had")


def no_folder_left() -> None:
    """Killed in the middle of a probe, a server leaves its folder to the next one that starts."""
    # one of a process that lives belongs to somebody else's test
    probes = [place.name.split("-")[2] for place in Path(tempfile.gettempdir()).glob("superagent-probe-*")]
    assert not [pid for pid in probes if not Path(f"/proc/{pid}").exists()]


def test_when_the_server_is_killed_its_launcher_ends_everything_by_itself(tmp_path: Path) -> None:
    server = Server(tmp_path / "data")
    callers = Callers(server, f"setsid sleep {MARK} & sleep {MARK}")
    until(lambda: len(marked()) >= 8, "the commands")
    names = [name_of(one) for one in launchers(server)]
    assert names

    server.kill()

    nothing_left(names)
    callers.ended()
    with serving(tmp_path / "data") as again:
        assert again.call("shell.run", command="echo fine")["stdout"] == "fine\n"
        no_folder_left()
        unknown = [one for one in records(tmp_path / "data") if one.get("status") == "unknown"]
        assert {one["operation"] for one in unknown} == {"shell.run"}


def test_a_session_ends_with_a_server_that_is_killed_and_reads_interrupted_afterwards(tmp_path: Path) -> None:
    server = Server(tmp_path / "data")
    session = server.call("shell.session_open")["session"]
    server.call("shell.session_send", session=session, input=f"setsid sleep {MARK} &\n")
    python = server.call("code.repl", code=f"import os; os.spawnlp(os.P_NOWAIT, 'sleep', 'sleep', '{MARK}')")["session"]
    until(lambda: len(marked()) >= 2, "what runs in the sessions")
    names = [name_of(one) for one in launchers(server)]

    server.kill()

    nothing_left(names)
    with serving(tmp_path / "data") as again, again.client() as client:
        reading = client.post("/v1/operations/shell.session_read", json={"session": session})
        running = client.post("/v1/operations/code.repl", json={"session": python, "code": "1"})
    for reply in (reading, running):
        assert reply.status_code == 409
        assert "interrupted" in reply.json()["detail"]


def test_a_view_for_several_commands_outlives_a_server_that_is_killed_while_one_goes_on_in_it(tmp_path: Path) -> None:
    server = Server(tmp_path / "data")
    view = server.call("sandbox.create")["view"]
    server.call("shell.run", command="echo one > one", view=view)
    callers = Callers(server, f"echo two > two; sleep {MARK}", count=1, view=view)
    until(lambda: marked(), "the command")
    names = [name_of(one) for one in launchers(server)]

    server.kill()

    nothing_left(names)
    callers.ended()
    with serving(tmp_path / "data") as again:
        assert again.call("shell.run", command="cat one two", view=view)["stdout"] == "one\ntwo\n"
        assert len(again.call("sandbox.accept", view=view)["paths"]) == 2
        assert again.call("shell.run", command="cat one two")["stdout"] == "one\ntwo\n"
        no_folder_left()


def test_when_server_and_launcher_are_killed_at_any_moment_the_next_start_tidies_up(tmp_path: Path) -> None:
    names: list[str] = []
    moments = random.Random(7)
    for _ in range(4):
        server = Server(tmp_path / "data")
        callers = Callers(server, f"(sleep {MARK} &); sleep 0.02")
        pids = until(lambda server=server: launchers(server), "the launcher")
        names += [name_of(one) for one in pids]
        # any moment: in a fork, in bubblewrap, in the command, between commands
        answers = len(callers.replies) + moments.randrange(12)
        until(lambda callers=callers, answers=answers: len(callers.replies) >= answers, "some answers")
        for pid in moments.sample([*pids, server.process.pid], len(pids) + 1):
            os.kill(pid, signal.SIGKILL)
        server.process.wait(10)
        callers.ended()
    with serving(tmp_path / "data") as last:
        assert last.call("shell.run", command="echo fine")["stdout"] == "fine\n"
        nothing_left(names)
        no_folder_left()
        assert last.call("audit.verify")["ok"]


def test_when_the_launcher_is_killed_calls_say_so_and_the_next_ones_run(tmp_path: Path) -> None:
    with serving(tmp_path / "data") as server:
        callers = Callers(server, f"sleep {MARK}", count=3)
        until(lambda: len(marked()) >= 3, "the commands")
        dead = launchers(server)
        os.kill(dead[0], signal.SIGKILL)

        until(lambda: len(callers.replies) >= 3, "the answers")

        assert {reply["status"] for reply in callers.replies[:3]} == {503}
        assert {reply["changed"] for reply in callers.replies[:3]} <= {"unknown", "partly"}
        until(lambda: [one for one in launchers(server) if one not in dead], "the next launcher")
        assert server.call("shell.run", command="echo fine")["stdout"] == "fine\n"
        until(lambda: not beginning_with(name_of(dead[0])), "the end of what the dead one had")
    callers.ended()
    nothing_left([name_of(dead[0])])


@pytest.mark.parametrize("which", ["outer", "inner"])
def test_when_a_sandbox_is_killed_its_call_is_answered_and_nothing_of_it_stays(tmp_path: Path, which: str) -> None:
    with serving(tmp_path / "data") as server:
        replies: list[Any] = []
        calling = threading.Thread(
            target=lambda: replies.append(server.call("shell.run", command=f"setsid sleep {MARK} & sleep {MARK}"))
        )
        calling.start()
        until(lambda: len(marked()) >= 5, "the command")  # bubblewrap twice, the shell, and two that sleep
        outer, inner = sorted(
            pid for pid in marked() if Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"superagent-")
        )
        os.kill(outer if which == "outer" else inner, signal.SIGKILL)
        calling.join(30)

        assert replies[0]["exit_code"] == 137
        assert not marked()


def test_several_workers_have_a_launcher_each_and_leave_nothing(tmp_path: Path) -> None:
    server = Server(tmp_path / "data", "--workers", "2")
    callers = Callers(server, f"(sleep {MARK} &); sleep 0.01", count=6)
    until(lambda: len(launchers(server)) == 2, "a launcher for each")
    names = [name_of(one) for one in launchers(server)]
    until(lambda: len(callers.replies) >= 10, "some answers")
    assert {reply["status"] for reply in callers.replies} == {"done"}

    server.kill()

    nothing_left(names)
    callers.ended()
    assert not [name for name in names if groups_named(name)]


def test_when_everything_is_killed_in_the_middle_no_view_and_no_half_change_is_left(tmp_path: Path) -> None:
    server = Server(tmp_path / "data")
    server.call("shell.run", command="echo old > kept")
    callers = Callers(server, f"echo new > kept; mkdir -p d; echo x > d/x$$; (sleep {MARK} &); sleep {MARK}")
    until(lambda: len(marked()) >= 8, "the commands")
    views, records = tmp_path / "data" / "views", tmp_path / "data" / "state" / "views"
    before = set(os.listdir(views))
    assert before

    for pid in [*launchers(server), server.process.pid]:
        os.kill(pid, signal.SIGKILL)

    server.process.wait(10)
    callers.ended()
    with serving(tmp_path / "data") as again:
        assert again.call("shell.run", command="cat kept; ls")["stdout"] == "old\nkept\n"
        assert not before & set(os.listdir(views))
        assert not before & {one.stem for one in records.glob("*.json")}
    assert not os.listdir(views)  # one waited for the next command
    assert not list(records.glob("*.json"))
    nothing_left([])
    assert "superagent" not in "".join(
        line for line in Path("/proc/self/mounts").read_text().splitlines() if str(tmp_path) in line
    )

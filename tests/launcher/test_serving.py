"""A real launcher over its socket: starting, limiting, ending and forgetting sandboxes."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Generator
from pathlib import Path

import pytest

from superagent_launcher.cgroups import hierarchies
from tests.launcher.beside import AS_ROOT, FIRST_USER, LIMITS, OPTIONS, USER, WHO, Beside, launcher
from tests.needs import missing
from tests.until import until

MIB = 1024**2
OWN = os.getpid()  # in what is looked for on the whole machine: another process may run the same tests


@pytest.fixture(scope="module", params=WHO)
def beside(request: pytest.FixtureRequest) -> Generator[Beside]:
    with launcher(request.param) as one:
        said = one.hear("hello")
        assert said["protocol"] == 1
        yield one


@pytest.fixture(scope="module")
def root() -> Generator[Beside]:
    if not AS_ROOT:
        missing("only root can change users, put folders in place and make groups on this machine")
    with launcher("root") as one:
        one.hear("hello")
        yield one


def groups_named(name: str) -> list[str]:
    return [
        f"{path}/{name}"
        for hierarchy in hierarchies()
        for path, folders, _ in os.walk(hierarchy.top)  # which takes no offence at what goes meanwhile
        if name in folders
    ]


def processes_named(name: str) -> list[int]:
    """Give the processes that call themselves so."""
    found: list[int] = []
    for place in Path("/proc").iterdir():
        try:
            if place.name.isdigit() and (place / "cmdline").read_bytes().startswith(name.encode() + b"\0"):
                found.append(int(place.name))
        except OSError:
            continue
    return found


def test_a_command_runs_inside_and_its_end_is_told(beside: Beside) -> None:
    text, ended = beside.run("sh", "-c", "id -u; exit 7")

    assert text == "1000\n"
    assert (ended["event"], ended["code"], ended["ran"], ended["why"]) == ("ended", 7, True, "")
    assert ended["cpu_s"] > 0
    assert ended["memory_bytes"] > 0
    assert ended["seconds"] > 0


def test_a_start_is_told_before_the_end(beside: Beside) -> None:
    number = beside.start("true")

    assert beside.hear(run=number)["event"] == "started"
    assert beside.hear(run=number)["event"] == "ended"


def test_nothing_of_the_launcher_or_its_server_is_seen_inside(beside: Beside) -> None:
    text, _ = beside.run("sh", "-c", "ls /proc/self/fd | wc -l; cat /proc/1/environ | wc -c; cat /proc/1/cmdline")

    open_ones, environment, command_line = text.split("\n", 2)
    assert int(open_ones) == 4  # three streams, and the folder that ls reads
    assert int(environment) == 0
    assert "--ro-bind" not in command_line


def test_a_program_that_is_not_there_is_told_as_not_run(beside: Beside) -> None:
    text, ended = beside.run("nosuch")

    assert "execvp nosuch" in text
    assert ended["ran"] is False


def test_a_command_of_root_runs_as_the_named_user_without_groups(root: Beside) -> None:
    number = root.start("sleep", "60")
    pid = root.hear("started", number)["pid"]

    status = Path(f"/proc/{pid}/status").read_text()

    root.say(do="kill", run=number)
    root.end_of(number)
    users = next(line for line in status.splitlines() if line.startswith("Uid:")).split()[1:]
    assert set(users) == {str(USER)}
    assert "Groups:\t \n" in status or "Groups:\t\n" in status


@pytest.mark.parametrize("uid", [0, FIRST_USER - 1, None, "1000"])
def test_root_runs_nothing_as_itself_or_as_a_user_out_of_the_range(root: Beside, uid: object) -> None:
    number = root.start("true", uid=uid)

    refused = root.end_of(number)
    assert refused["event"] == "refused"
    assert "user" in refused["why"] or "uid" in refused["why"]


@pytest.mark.parametrize("needed", ["--unshare-user", "--unshare-pid", "--die-with-parent"])
def test_nothing_starts_without_its_namespaces(beside: Beside, needed: str) -> None:
    number = beside.start("true", options=[one for one in OPTIONS if one != needed])

    assert needed in beside.end_of(number)["why"]


def test_another_program_than_a_safe_one_is_refused(beside: Beside, tmp_path: Path) -> None:
    own = tmp_path / "bwrap"
    own.write_text("#!/bin/sh\n")
    own.chmod(0o777)

    for path in (str(own), "bwrap", "/usr/bin/../bin/bwrap", "/nosuch", "/etc"):
        assert beside.end_of(beside.start("true", program=path))["event"] == "refused", path


def test_what_goes_wrong_between_fork_and_exec_is_told(beside: Beside) -> None:
    number = beside.start("true", program="/etc/ld.so.cache", numbers=[0, 1, 2])

    assert beside.end_of(number)["event"] == "refused"


def test_the_wall_clock_ends_a_command(beside: Beside) -> None:
    _, ended = beside.run("sleep", "60", limits={**LIMITS, "wall_s": 0.5})

    assert ended["why"] == "wall"
    assert ended["code"] == -signal.SIGKILL
    assert 0.4 < ended["seconds"] < 20


def test_processes_that_outlive_their_command_are_ended_with_it(beside: Beside) -> None:
    text, ended = beside.run("sh", "-c", "(setsid sleep 987654 &) ; echo started")

    assert text == "started\n"
    assert ended["code"] == 0
    assert not [one for one in Path("/proc").glob("[0-9]*/cmdline") if b"987654" in read(one)]


def read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def test_a_command_is_ended_when_asked_with_all_it_started(beside: Beside) -> None:
    number = beside.start("sh", "-c", f"setsid sleep 876543.{OWN} & sleep 876543.{OWN}")
    beside.hear("started", number)
    until(
        lambda: [one for one in Path("/proc").glob("[0-9]*/cmdline") if f"876543.{OWN}".encode() in read(one)],
        "the command",
    )

    beside.say(do="kill", run=number)

    assert beside.end_of(number)["why"] == "asked"
    assert not [one for one in Path("/proc").glob("[0-9]*/cmdline") if f"876543.{OWN}".encode() in read(one)]


def test_a_signal_reaches_the_command(beside: Beside) -> None:
    reading, writing = os.pipe()
    number = beside.start(
        "sh", "-c", "trap 'echo heard; exit 3' TERM; echo ready; while :; do sleep 0.05; done", stdout=writing
    )
    os.close(writing)
    with os.fdopen(reading) as file:
        assert file.readline() == "ready\n"
        beside.say(do="signal", run=number, number=signal.SIGTERM)
        assert "heard\n" in file.readlines()

    assert beside.end_of(number)["code"] == 3


def test_what_a_command_has_used_is_told_while_it_runs(beside: Beside) -> None:
    number = beside.start("sleep", "60")
    beside.hear("started", number)

    beside.say(do="stats", run=number)
    stats = beside.hear("stats", number)

    beside.say(do="kill", run=number)
    beside.end_of(number)
    assert stats["seconds"] > 0
    if beside.as_root:
        assert stats["processes"] >= 1
        assert stats["memory_bytes"] > 0


def test_time_and_use_can_be_counted_from_the_moment_when_a_run_gets_its_work(beside: Beside) -> None:
    reading, writing = os.pipe()
    number = beside.start(
        "sh", "-c", "i=0; while [ $i -lt 99999 ]; do i=$((i+1)); done; echo; sleep 60", stdout=writing
    )
    os.close(writing)
    with os.fdopen(reading) as file:
        file.readline()
        before = time.monotonic()
        beside.say(do="begin", run=number, wall_s=100, since_s=0)
        beside.say(do="begin", run=number, wall_s=50.2, since_s=50)
        ended = beside.end_of(number)

    assert ended["why"] == "wall"
    assert 50.2 <= ended["seconds"] <= 50 + time.monotonic() - before
    if beside.as_root:
        assert ended["cpu_s"] < 0.05  # counting took longer


def test_a_run_gets_no_time_that_is_none(beside: Beside) -> None:
    number = beside.start("sleep", "60")
    for wall_s in (0, -1, True, "x"):
        beside.say(do="begin", run=number, wall_s=wall_s, since_s=0)
        assert "wall_s" in beside.hear("refused", number)["why"]
    beside.say(do="begin", run=number, wall_s=1, since_s=-1)
    assert "since_s" in beside.hear("refused", number)["why"]
    beside.say(do="kill", run=number)
    beside.end_of(number)


@pytest.mark.parametrize("what", ["signal", "kill", "stats", "begin"])
def test_what_is_asked_of_no_run_is_refused_and_harms_nothing(beside: Beside, what: str) -> None:
    beside.say(do=what, run=999_999, **{"signal": {"number": 15}, "begin": {"wall_s": 1}}.get(what, {}))

    assert beside.hear("refused", 999_999)["of"] == what
    assert beside.run("true")[1]["code"] == 0


def test_a_file_may_not_grow_past_its_limit(beside: Beside) -> None:
    _, ended = beside.run("sh", "-c", "head -c 3000000 /dev/zero >/tmp/x")

    assert ended["code"] == 128 + signal.SIGXFSZ


def test_no_core_is_dumped_and_few_files_can_be_open(beside: Beside) -> None:
    text, _ = beside.run("sh", "-c", "ulimit -c; ulimit -n; ulimit -Hn")

    assert text.split() == ["0", "256", "256"]


def test_more_processes_than_allowed_cannot_be_made(beside: Beside) -> None:
    text, _ = beside.run(
        "sh", "-c", "for i in $(seq 60); do sleep 5 & done 2>&1; wait", limits={**LIMITS, "wall_s": 15.0}
    )

    assert "fork" in text.lower()


def test_many_commands_of_one_user_do_not_count_for_each_other(beside: Beside) -> None:
    numbers = [beside.start("sh", "-c", "for i in $(seq 20); do sleep 1 & done; wait") for _ in range(4)]

    ends = [beside.end_of(number) for number in numbers]
    assert [one.get("code") for one in ends] == [0] * 4, ends


def test_a_command_with_more_memory_than_allowed_meets_the_limit(beside: Beside) -> None:
    text, ended = beside.run("sh", "-c", f"head -c {200 * MIB} /dev/zero | tail -n 1 | wc -c")

    assert text.split()[-1] != str(200 * MIB)
    if beside.as_root:
        assert ended["out_of_memory"] >= 1
        assert ended["memory_bytes"] <= 64 * MIB


def test_processor_time_of_all_processes_together_is_limited(root: Beside) -> None:
    _, ended = root.run(
        "sh",
        "-c",
        "for i in 1 2 3; do (while :; do :; done) & done; wait",
        limits={**LIMITS, "cpu_s": 1.0, "cpus": 2.0},
    )

    assert ended["why"] == "cpu"
    assert ended["cpu_s"] >= 1.0


def test_a_folder_in_a_closed_place_is_reached_by_its_descriptor(root: Beside, tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    (closed / "open").mkdir(parents=True)
    (closed / "open" / "file").write_text("seen")
    (closed / "open").chmod(0o755)
    closed.chmod(0o700)
    folder = os.open(closed / "open", os.O_PATH)

    text, ended = root.run(
        "cat", "/place/file", mounts=["w"], folders=[folder], options=[*OPTIONS, "--ro-bind", "/mnt/w", "/place"]
    )

    os.close(folder)
    assert (text, ended["code"]) == ("seen", 0)


def test_what_nobody_can_do_and_a_number_used_twice_are_refused(beside: Beside) -> None:
    number = beside.start("sleep", "60")
    beside.hear("started", number)

    beside.say(do="dance", run=number)
    assert "dance" in beside.hear("refused", number)["why"]
    beside.say(do="signal", run=number, number=0)
    assert "number" in beside.hear("refused", number)["why"]
    beside.start("true", run=number)
    assert "already" in beside.hear("refused", number)["why"]

    beside.say(do="kill", run=number)
    assert beside.end_of(number)["why"] == "asked"


def test_a_command_of_a_megabyte_is_started_and_nobody_else_waits_for_its_reader(beside: Beside) -> None:
    words = ["x" * 100_000] * 10

    text, ended = beside.run("sh", "-c", 'echo "$#"', "sh", *words)

    assert (text, ended.get("code")) == ("10\n", 0), ended


def test_a_server_that_does_not_listen_for_a_while_misses_nothing() -> None:
    with launcher() as one:
        one.hear("hello")
        count = 4000
        for number in range(count):
            one.say(do="stats", run=1_000_000 + number)

        assert [one.hear("refused", 1_000_000 + number)["of"] for number in range(count)] == ["stats"] * count


def test_a_message_that_is_no_message_ends_the_launcher() -> None:
    with launcher() as one:
        one.hear("hello")
        one.wire.socket.send(b"\xff\xff\xff\xff")

        assert one.gone() == 0


def test_a_message_about_no_run_ends_the_launcher() -> None:
    with launcher() as one:
        one.hear("hello")
        one.say(do="kill")

        assert one.gone() == 0


@pytest.mark.parametrize("who", WHO)
def test_when_the_server_goes_everything_goes(who: str) -> None:
    with launcher(who) as one:
        name = one.hear("hello")["name"]
        started = [one.start("sleep", "765432") for _ in range(3)]
        for number in started:
            one.hear("started", number)
        if one.as_root:
            assert groups_named(name)
        one.wire.close()

        assert one.gone() == 0
        assert not processes_named(name)
        assert not groups_named(name)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_launcher_that_is_told_to_stop_stops_everything(number: int) -> None:
    with launcher() as one:
        name = one.hear("hello")["name"]
        one.hear("started", one.start("sleep", "765431"))
        os.kill(one.pid, number)

        assert one.gone() == 0
        assert not processes_named(name)
        assert not groups_named(name)


@pytest.mark.parametrize("who", WHO)
def test_when_the_launcher_is_killed_its_sandboxes_die_and_the_next_one_tidies_up(who: str) -> None:
    with launcher(who) as one:
        name = one.hear("hello")["name"]
        for number in [one.start("sh", "-c", f"setsid sleep 654321.{OWN} & sleep 654321.{OWN}") for _ in range(3)]:
            one.hear("started", number)
        os.kill(one.pid, signal.SIGKILL)
        assert one.gone() == -signal.SIGKILL

    # bubblewrap in the middle of setting up may miss the death of its parent: then the next launcher ends it
    with launcher(who) as next_one:
        next_one.hear("hello")
        until(lambda: not processes_named(name), "the end of its processes")
        assert not groups_named(name)
        assert not [one for one in Path("/proc").glob("[0-9]*/cmdline") if f"654321.{OWN}".encode() in read(one)]


@pytest.mark.parametrize("who", WHO)
def test_a_launcher_killed_while_it_starts_things_leaves_nothing_behind(who: str) -> None:
    names: list[str] = []
    for turn in range(5):
        with launcher(who) as one:
            names.append(one.hear("hello")["name"])
            for _ in range(4):
                one.start("sh", "-c", f"setsid sleep 543210.{OWN} & sleep 543210.{OWN}")
            for _ in range(turn):  # another moment each time: in the fork, in bubblewrap, in the command
                one.hear("started")
            os.kill(one.pid, signal.SIGKILL)
            one.gone()
    with launcher(who) as last:
        last.hear("hello")
        until(lambda: not [name for name in names if processes_named(name)], "the end of every process")
        assert not [name for name in names if groups_named(name)]
        assert not [one for one in Path("/proc").glob("[0-9]*/cmdline") if f"543210.{OWN}".encode() in read(one)]


def test_spare_children_end_with_the_launcher_and_are_made_anew_when_killed() -> None:
    with launcher() as one:
        one.hear("hello")
        before = spares_of(one)
        for pid in before:
            os.kill(pid, signal.SIGKILL)
        until(lambda: not set(spares_of(one)) & set(before), "two others")
        assert one.run("true")[1]["code"] == 0


def spares_of(one: Beside) -> list[int]:
    """Give the children that wait for a job, once they are all there."""

    def found() -> list[int]:
        return [int(child) for child in Path(f"/proc/{one.pid}/task/{one.pid}/children").read_text().split()]

    until(lambda: len(found()) == 2, "two spare children")
    return found()


@pytest.mark.parametrize("who", WHO)
def test_a_command_is_started_though_all_that_waited_for_it_died_unseen(who: str) -> None:
    with launcher(who) as one:
        one.hear("hello")

        number = started_when_all_are_dead(one)

        ended = one.end_of(number)
        assert (ended["event"], ended.get("code")) == ("ended", 0), ended


def test_a_command_is_offered_to_so_many_children_and_no_more() -> None:
    with launcher(serving__TRIES=2) as one:  # as many as wait
        one.hear("hello")

        number = started_when_all_are_dead(one)

        assert "gone" in one.hear("refused", number)["why"]
        assert one.run("true")[1]["code"] == 0


def started_when_all_are_dead(one: Beside) -> int:
    """Start a command while the launcher has not yet heard that its children are dead."""
    waiting = spares_of(one)
    os.kill(one.pid, signal.SIGSTOP)
    try:
        for pid in waiting:
            os.kill(pid, signal.SIGKILL)
        until(lambda: all(") Z " in Path(f"/proc/{pid}/stat").read_text() for pid in waiting), "their end")
        return one.start("true")
    finally:
        os.kill(one.pid, signal.SIGCONT)

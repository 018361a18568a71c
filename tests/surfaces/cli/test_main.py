"""The command line answers at once, says what it does not know, and ends as shells expect."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from superagent.core.problems import Locked
from superagent.surfaces.cli.launch import Installation, Launch
from superagent.surfaces.cli.main import run
from tests.surfaces.cli.command_line import ENTRY, Server, environment, set_up, superagent
from tests.surfaces.cli.conftest import Cli
from tests.until import until

HEAVY = {
    "asyncio",
    "http.client",
    "msgspec",
    "pydantic",
    "rich",
    "sqlalchemy",
    "superagent.core.kernel",
    "superagent.settings",
}


def test_help_loads_nothing_that_it_does_not_need() -> None:
    code = """if True:
        import sys
        sys.argv[1:] = ["--help"]
        import superagent.__main__ as entry
        try:
            entry.main()
        finally:
            print(*sys.modules)
    """
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, env=environment(), check=False
    )
    *text, modules = done.stdout.splitlines()
    assert (done.returncode, text[0]) == (0, "Super-Agent: one API through which AI agents safely operate computers.")
    assert not HEAVY & set(modules.split())


@pytest.mark.parametrize(
    "arguments", [["--help"], ["-h"], ["help"], ["--json", "--help"], ["--help", "call"], ["help", "call"]]
)
def test_help_is_given_wherever_it_is_asked_for(run_here: Cli, arguments: list[str]) -> None:
    ran = run_here(*arguments)
    assert (ran.code, "usage: superagent" in ran.out, ran.err) == (0, True, "")


@pytest.mark.parametrize("command", ["up", "call", "ops", "describe", "watch", "events", "doctor", "version"])
def test_every_command_explains_itself(run_here: Cli, command: str) -> None:
    ran = run_here(command, "--help")
    assert (ran.code, ran.out.startswith(f"usage: superagent {command}")) == (0, True)


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        ([], "there is no command"),
        (["--data"], "there is no command"),
        (["--wrong", "call"], "--wrong"),
        (["call"], "name"),
        (["call", "x.y", "--wrong"], "--wrong"),
        (["call", "x.y", "--input", "{"], "no JSON object"),
        (["call", "x.y", "--input", "[]"], "no JSON object"),
        (["call", "x.y", "--input", '{"a": NaN}'], "no JSON object"),
        (["call", "x.y", "--input", "{}", "-f", "-"], "not allowed with"),
        (["call", "x.y", "-f", "/nowhere/input.json"], "cannot be read"),
        (["call", "x.y", "--deadline", "soon"], "no duration"),
        (["/etc/passwd"], "is no command"),
    ],
)
def test_a_wrong_command_line_is_told_what_is_wrong_with_code_2(
    run_here: Cli, arguments: list[str], fault: str
) -> None:
    ran = run_here(*arguments)
    assert (ran.code, ran.out) == (2, "")
    assert fault in ran.err
    told = run_here("--json", *arguments)
    assert (told.code, told.document["type"], told.document["changed"]) == (2, "/problems/usage", "nothing")


@pytest.mark.parametrize("command", ["worker", "node", "backup", "restore", "ask", "bench"])
def test_what_no_version_has_brought_yet_says_so_with_code_5(run_here: Cli, command: str) -> None:
    ran = run_here(command, "anything", "--json")
    assert (ran.code, ran.document["type"], ran.document["changed"]) == (5, "/problems/unavailable", "nothing")
    assert f"`superagent {command}` needs" in ran.document["detail"]


def test_the_version_is_told(run_here: Cli) -> None:
    assert run_here("version").out.startswith("superagent ")
    assert set(run_here("version", "--json").document) == {"superagent", "python", "system"}


def test_an_argument_that_is_no_text_is_refused() -> None:
    done = subprocess.run(
        [*ENTRY, "call", b"files.\xff"], capture_output=True, timeout=60, env=environment(), check=False
    )
    assert done.returncode == 2
    assert b"argument 2 is not UTF-8" in done.stderr


@pytest.mark.parametrize("command", ["--help", "version"])
def test_a_reader_that_has_seen_enough_ends_it_quietly(command: str) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as closed:
        done = subprocess.run(
            [*ENTRY, command], stdout=closed, stderr=subprocess.PIPE, timeout=60, env=environment(), check=False
        )
    assert (done.returncode, done.stderr) == (1, b"")


@pytest.mark.slow
def test_ctrl_c_cancels_what_runs_in_the_command_and_records_it(tmp_path: Path) -> None:
    data, seen = set_up(tmp_path / "data"), tmp_path / "seen"
    seen.mkdir()
    command = [*ENTRY, "--data", str(data), "files", "watch", str(seen), "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()) as process:
        assert process.stdout is not None
        os.set_blocking(process.stdout.fileno(), False)

        def told() -> bytes | None:
            assert process.stdout is not None
            (seen / "file").write_text("x")
            return process.stdout.read()

        until(told, "an event", 50)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=50)
    assert (process.returncode, b"superagent audit query" in err) == (130, True)
    audit = superagent("audit", "query", "--operation", "files.watch", "--json", data=data).document["output"][
        "records"
    ]
    assert "cancelled" in {one.get("status") for one in audit}


def test_ctrl_c_leaves_a_server_and_its_work_alone(server: Server, tmp_path: Path) -> None:
    command = [*ENTRY, "--data", str(server.data), "files", "watch", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()) as process:
        assert process.stdout is not None
        os.set_blocking(process.stdout.fileno(), False)

        def told() -> bytes | None:
            assert process.stdout is not None
            (tmp_path / "file").write_text("x")
            return process.stdout.read()

        first = until(told, "an event", 50) or b""
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=50)
    assert (process.returncode, first.startswith(b"message")) == (130, True)
    assert server.process.poll() is None


def launch(serve: Callable[[], int] = lambda: 0) -> Launch:
    def open_installation(_: Path) -> AbstractAsyncContextManager[Installation]:
        raise RuntimeError("a fault of ours")

    def serve_(data: Path, flags: Mapping[str, object], say: Callable[[str], None]) -> int:
        say(json.dumps([str(data), dict(flags)]))
        return serve()

    def mcp(*_: object) -> None:
        serve()

    return Launch(Path, open_installation, serve_, mcp)


def test_a_fault_of_ours_is_a_problem_with_its_trace(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["--json", "--data", str(set_up(tmp_path / "data")), "call", "access.whoami"], launch()) == 1
    out, err = capfd.readouterr()
    assert (json.loads(out)["status"], "RuntimeError: a fault of ours" in err) == (500, True)
    assert "a fault of ours" not in out


def test_serving_takes_its_flags_and_gives_its_code(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["up", "--data", str(tmp_path), "--port", "0", "--workers", "2"], launch(lambda: 7)) == 7
    assert json.loads(capfd.readouterr().out) == [str(tmp_path), {"server.port": 0, "server.workers": 2}]


def test_a_problem_in_the_midst_of_starting_is_told_as_such(capfd: pytest.CaptureFixture[str]) -> None:
    def serve() -> int:
        raise ExceptionGroup("tasks", [ExceptionGroup("inner", [Locked("held by somebody")])])

    assert run(["up", "--json"], launch(serve)) == 1
    assert json.loads(capfd.readouterr().out.splitlines()[-1])["detail"] == "held by somebody"


def test_a_second_server_on_the_same_folder_is_refused_and_told_of_the_first(run_here: Cli, server: Server) -> None:
    ran = run_here("up", "--data", str(server.data), "--port", "0")
    assert ran.code == 5
    assert f"which serves at {server.address}" in ran.err

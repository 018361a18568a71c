"""Jobs from the command line: started, listed, read and stopped by a server that goes on."""

from __future__ import annotations

import json

from tests.needs import program
from tests.promise import promise
from tests.surfaces.cli.command_line import Server
from tests.surfaces.cli.conftest import Cli
from tests.until import until


@promise("6.3")
def test_a_background_command_is_started_followed_and_listed(server: Server, run_here: Cli) -> None:
    program("bwrap", "bubblewrap")

    def cli(*arguments: str) -> str:
        ran = run_here("--data", str(server.data), *arguments)
        assert ran.code == 0, ran.err
        return ran.out

    started = json.loads(
        cli("shell", "start", "--command", "echo one; sleep 0.3; echo two", "--name", "talk", "--json")
    )
    id = started["invocation"]
    assert started["status"] == "queued"

    assert cli("logs", id, "--follow") == "one\ntwo\n"
    assert cli("logs", id, "--since", "-4") == "two\n"
    assert json.loads(cli("logs", id, "--json"))["over"]
    assert "talk" in cli("jobs", "list", "--state", "done")
    assert "interrupted" not in cli("jobs", "status", id)
    again = json.loads(cli("jobs", "retry", id, "--json"))["output"]
    until(lambda: "two" in cli("logs", again["invocation"]), "the second run")


def test_bytes_of_a_log_never_act_on_the_terminal(server: Server, run_here: Cli) -> None:
    program("bwrap", "bubblewrap")
    ran = run_here("--data", str(server.data), "shell", "start", "--command", r"printf '\033[2J\377'", "--json")
    id = ran.document["invocation"]

    shown = run_here("--data", str(server.data), "logs", id, "--follow")

    assert (shown.code, shown.out) == (0, "\\x1b[2J\\xff")


def test_there_is_no_background_without_a_server(cli: Cli, alone: object) -> None:
    shown = cli("logs", "01J00000000000000000000000")
    assert shown.code == 1
    assert "there is no invocation" in shown.err


def test_a_command_in_the_background_needs_a_server(run_here: Cli, alone: object) -> None:
    refused = run_here("--data", str(alone), "shell", "start", "--command", "true")

    assert refused.code == 5
    assert "superagent up" in refused.err

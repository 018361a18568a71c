"""Scripts by the interpreter of their language, and command lines that are only explained."""

from __future__ import annotations

import shutil
from typing import Any

import pytest

from superagent.plugins.shell.scripts import INTERPRETERS, PLACES
from tests.needs import program
from tests.surfaces.http.house import Caller, House, problem_of

pytestmark = pytest.mark.asyncio(loop_scope="session")
HELLO = {
    "sh": 'read x; echo "$x $1 $#"',
    "bash": 'read x; a=(1 2); echo "$x $1 $#"',
    "python": "import sys\nprint(input(), sys.argv[1], len(sys.argv) - 1)",
    "javascript": "const fs = require('fs'); const x = fs.readFileSync(0, 'utf8').trim();"
    "console.log(x, process.argv[2], process.argv.length - 2)",
    "perl": 'my $x = <STDIN>; chomp $x; print "$x $ARGV[0] " . @ARGV . "\\n";',
    "ruby": 'puts "#{STDIN.gets.chomp} #{ARGV[0]} #{ARGV.size}"',
    "lua": 'print(io.read() .. " " .. arg[1] .. " " .. #arg)',
    "tcl": 'gets stdin x; puts "$x [lindex $argv 0] [llength $argv]"',
    "r": 'x <- readLines(file("stdin"), 1); a <- commandArgs(TRUE); cat(x, a[1], length(a)); cat("\\n")',
    "php": '<?php echo trim(fgets(STDIN)), " ", $argv[1], " ", count($argv) - 1, "\\n";',
}


@pytest.fixture(autouse=True)
def bubblewrap() -> None:
    program("bwrap", "bubblewrap")


@pytest.mark.parametrize("language", list(INTERPRETERS))
async def test_a_script_has_its_arguments_and_its_input(agent: Caller, language: str) -> None:
    given = {"language": language, "content": HELLO[language], "args": ["one", "t w o"], "stdin": "in\n"}

    response = await agent.call("shell.script", given)

    if shutil.which(INTERPRETERS[language].program, path=PLACES) is None:
        found = problem_of(response, 503, "unavailable")
        assert INTERPRETERS[language].package in found["hint"]
        return
    output = response.json()["output"]
    assert (output["exit_code"], output["stdout"], output["stderr"]) == (0, "in one 2\n", ""), output


async def test_a_script_may_be_longer_than_any_argument_and_than_any_body(agent: Caller) -> None:
    lines = "\n".join(f"x{number} = '{'y' * 90}'" for number in range(30_000))
    data = f"{lines}\nprint(len(x29999), 'done')\nopen('made', 'w').write('x')\n".encode()
    uploaded = await agent.http.put("/v1/blobs", content=data)

    output = await agent.done(
        "shell.script", {"language": "python", "content_blob": uploaded.json()["handle"], "limits": {"cpu_s": 20}}
    )

    assert len(data) > 3_000_000
    assert output["stdout"] == "90 done\n"
    assert output["changes"]["paths"] == [{"path": "made", "kind": "created"}]


async def test_a_script_can_be_rehearsed_and_taken_back(agent: Caller) -> None:
    given = {"language": "sh", "content": "echo x > from-script"}

    rehearsed = (await agent.call("shell.script", given, x_dry_run="true")).json()
    done = (await agent.call("shell.script", given)).json()

    assert "a script in sh of 20 bytes" in rehearsed["output"]["summary"]
    assert (agent.workspace / "from-script").exists()
    await agent.done("undo.apply", {"ids": [done["invocation"]]})
    assert not (agent.workspace / "from-script").exists()


@pytest.mark.parametrize(
    "input",
    [
        {"language": "cobol", "content": "x"},
        {"language": "sh"},
        {"language": "sh", "content": "x", "content_blob": "blob_x"},
        {"language": "sh", "content": "x", "args": ["a\0b"]},
    ],
)
async def test_a_script_that_makes_no_sense_is_refused(house: House, agent: Caller, input: dict[str, Any]) -> None:
    response = await agent.call("shell.script", input)

    problem_of(response, 422, "invalid-input")
    assert (await house.records(invocation=response.headers["x-invocation-id"]))[0]["problem"] == "invalid-input"


async def test_a_command_line_is_explained_and_not_run(agent: Caller) -> None:
    found = await agent.done("shell.explain", {"command": "cat in.txt > explained; curl https://a.test"})

    assert found["programs"] == ["cat", "curl"]
    assert (found["reads"], found["writes"], found["hosts"]) == (["in.txt"], ["explained"], ["a.test"])
    assert (found["risk"], found["whole"]) == ("MEDIUM", True)
    assert not (agent.workspace / "explained").exists()
    hostile = await agent.done("shell.explain", {"command": ">]]`" * 25_000})
    assert (hostile["risk"], hostile["whole"]) == ("HIGH", False)
    problem_of(await agent.call("shell.explain", {"command": " \n"}), 422, "invalid-input")
    problem_of(await agent.call("shell.explain", {"command": "x" * 100_001}), 422, "invalid-input")

"""Names, words and texts of a caller stay what they are: no tool takes them for options, no shell for commands."""

from __future__ import annotations

from typing import Any

import pytest

from tests.needs import program
from tests.plugins.code.inside import give_ruff, inside, parsers, write
from tests.promise import promise
from tests.surfaces.http.house import House, problem_of

pytestmark = pytest.mark.asyncio(loop_scope="session")

NAMES = [
    "$(touch hacked).py",
    "`touch hacked`.py",
    "a b;touch hacked.py",
    "'\"quoted\\.py",
    "--config=evil.toml.py",
    "-c.py",
    "*?[a].py",
    "{file}{path}{program}.py",
    "%s%n&|<>.py",
    "~root.py",
]


@pytest.fixture(autouse=True)
def bubblewrap() -> None:
    program("bwrap", "bubblewrap")


@promise("1.7a")
@pytest.mark.parametrize("name", NAMES)
async def test_a_name_is_a_name_to_every_tool(house: House, name: str) -> None:
    agent = await house.agent()
    await give_ruff(agent)
    await write(agent, name, "import os\nx = {  'a':1 }\n")
    await write(agent, "sub/" + name, "import os\n")

    linted = await agent.done("code.lint", {"path": name})
    folder = await agent.done("code.lint", {"path": ".", "language": "python"})
    formatted = await agent.done("code.format", {"path": ".", "language": "python"})
    fixed = await agent.done("code.fix", {"path": name, "rules": ["F401"]})
    explained = await agent.done("code.explain", {"path": name})
    ran = await agent.done("code.run", {"path": name})
    tested = await agent.done("code.test", {"path": name, "tool": "unittest"})

    assert {one["file"] for one in linted["diagnostics"]} == {name}
    assert "F401" in {one["rule"] for one in linted["diagnostics"]}
    assert {one["file"] for one in folder["diagnostics"]} == {name, f"sub/{name}"}
    assert [one["file"] for one in formatted["changed"]] == [name]
    assert [one["file"] for one in fixed["changed"]] == [name]
    assert [one["name"] for one in explained["definitions"]] == ["x"]
    assert ran["exit_code"] == 0, ran
    assert tested["said"]["limit"] is None
    assert (agent.workspace / name).read_text().strip() == 'x = {"a": 1}'
    assert not list(agent.workspace.rglob("hacked*")) or "hacked" in name
    assert not (agent.workspace / "hacked").exists()


@promise("1.7a")
async def test_names_in_a_folder_are_names_to_tools_that_take_files_only(house: House) -> None:
    inside("shellcheck", expected=True)
    agent = await house.agent()
    names = [one.replace(".py", ".sh") for one in NAMES]
    for name in names:
        await write(agent, f"s/{name}", "#!/bin/sh\necho $1\n")

    for tool, found in (("shellcheck", names), ("bash-syntax", [])):
        linted = await agent.done("code.lint", {"path": "s", "language": "bash", "tool": tool})
        assert {one["file"] for one in linted["diagnostics"]} == {f"s/{one}" for one in found}
    assert not list(agent.workspace.rglob("hacked"))


@promise("1.7a")
async def test_arguments_and_inputs_reach_a_program_as_they_are(house: House) -> None:
    agent = await house.agent()
    args = ["$(touch hacked)", "a b", "'\"", "--help", "-c", "\n", "", "*", "ünï"]

    found = await agent.done(
        "code.run",
        {"language": "python", "content": "import sys; print(sys.argv[1:] + [sys.stdin.read()])", "args": args,
         "stdin": "$(touch hacked)\n"},
    )  # fmt: skip

    assert found["stdout"] == f"{[*args, '$(touch hacked)' + chr(10)]}\n"
    assert not (agent.workspace / "hacked").exists()


@promise("1.7a")
@pytest.mark.parametrize(
    ("operation", "input"),
    [
        ("code.run", {"language": "python", "content": "1", "args": ["a\0b"]}),
        ("code.run", {"language": "python", "content": "1", "env": {"A B": "x"}}),
        ("code.run", {"language": "python", "content": "1", "env": {"A": "x\0"}}),
        ("code.run", {"language": "python\n", "content": "1"}),
        ("code.run", {"path": "a\nb.py"}),
        ("code.test", {"path": "a.py", "selector": "--pastebin=all"}),
        ("code.test", {"path": "a\tb.py"}),
        ("code.fix", {"path": "a.py", "rules": ["-e"]}),
        ("code.fix", {"path": "a.py", "rules": ["F401 --config=x"]}),
        ("code.lint", {"path": "a.py", "tool": "ruff --config=x"}),
        ("code.lint", {"path": "a\nb.py"}),
        ("code.explain", {"path": "a.py", "lines": "1;2"}),
    ],
)
async def test_words_that_could_be_more_than_words_are_refused(
    house: House, operation: str, input: dict[str, Any]
) -> None:
    agent = await house.agent()
    await write(agent, "a.py", "x = 1\n")

    response = await agent.call(operation, input)

    problem_of(response, 422, "invalid-input")
    assert (await house.records(invocation=response.headers["x-invocation-id"]))[0]["problem"] == "invalid-input"


@promise("1.7a")
async def test_nothing_of_the_servers_environment_reaches_a_tool(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    agent = await house.agent()
    monkeypatch.setenv("SECRET_OF_THE_SERVER", "topmost")
    content = "import os; print(sorted(os.environ)); print(open('/proc/1/environ').read())"

    found = await agent.done("code.run", {"language": "python", "content": content, "env": {"MINE": "1"}})

    assert "MINE" in found["stdout"]
    assert "SECRET_OF_THE_SERVER" not in found["stdout"] + found["stderr"]
    assert "topmost" not in found["stdout"] + found["stderr"]


async def test_a_name_in_any_language_is_a_name_to_its_parser(house: House) -> None:
    parsers()
    agent = await house.agent()
    await write(agent, "$(touch hacked).js", "function f() {}\n")

    found = await agent.done("code.explain", {"path": "$(touch hacked).js"})

    assert [one["name"] for one in found["definitions"]] == ["f"]

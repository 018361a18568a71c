"""`code.format` and `code.fix` over HTTP: real tools, diffs, undo, and tools that give back what they should not."""

from __future__ import annotations

from typing import Any

import pytest

from tests.needs import program
from tests.plugins.code.inside import give_ruff, inside, write
from tests.surfaces.http.house import Caller, House, problem_of

pytestmark = pytest.mark.asyncio(loop_scope="session")

UGLY = "x = {  'a':1 }\n"
NEAT = 'x = {"a": 1}\n'


@pytest.fixture(autouse=True)
def bubblewrap() -> None:
    program("bwrap", "bubblewrap")


async def project(house: House, **files: str) -> Caller:
    agent = await house.agent()
    await give_ruff(agent)
    for name, text in files.items():
        await write(agent, name.replace("__", "/") + ".py", text)
    return agent


def text_of(agent: Caller, name: str) -> str:
    return (agent.workspace / name).read_text()


async def test_a_project_is_formatted_as_one_change_that_is_undone_at_once(house: House) -> None:
    agent = await project(house, a=UGLY, pkg__b=UGLY, pkg__c=NEAT, broken="def (:\n")
    await write(agent, "node_modules/x.py", UGLY)

    outcome = (await agent.call("code.format", {"path": ".", "language": "python"})).json()

    found = outcome["output"]
    assert [one["file"] for one in found["changed"]] == ["a.py", "pkg/b.py"]
    assert "-x = {  'a':1 }\n+x = {\"a\": 1}\n" in found["changed"][0]["diff"]
    assert (found["unchanged"], found["written"]) == (1, True)
    assert [one["file"] for one in found["failed"]] == ["broken.py"]
    assert found["failed"][0]["why"]
    assert text_of(agent, "a.py") == text_of(agent, "pkg/b.py") == NEAT
    assert text_of(agent, "node_modules/x.py") == UGLY
    assert outcome["undo"]["possible"] is True
    assert len(outcome["effects"]) == 2

    await agent.done("undo.apply", {"ids": [outcome["invocation"]]})

    assert text_of(agent, "a.py") == text_of(agent, "pkg/b.py") == UGLY


async def test_what_a_person_must_approve_stays_and_the_rest_of_a_project_does_not_wait(house: House) -> None:
    agent = await project(house, a=UGLY)
    hook = agent.workspace / ".claude/hooks/before.py"
    hook.parent.mkdir(parents=True)
    hook.write_text(UGLY)

    found = await agent.done("code.format", {"path": ".", "language": "python"})

    assert [one["file"] for one in found["changed"]] == ["a.py"]
    assert [one["file"] for one in found["failed"]] == [".claude/hooks/before.py"]
    assert "a person must approve" in found["failed"][0]["why"]
    assert (text_of(agent, "a.py"), hook.read_text()) == (NEAT, UGLY)
    assert (await agent.call("code.format", {"path": ".claude/hooks/before.py"})).status_code == 202


async def test_check_says_which_files_and_a_dry_run_shows_the_diff_and_both_change_nothing(house: House) -> None:
    agent = await project(house, a=UGLY, b=NEAT)

    checked = await agent.done("code.format", {"path": ".", "language": "python", "check": True})
    shown = (await agent.call("code.format", {"path": "a.py"}, x_dry_run="true")).json()

    assert ([one["file"] for one in checked["changed"]], checked["written"]) == (["a.py"], False)
    assert shown["status"] == "previewed"
    assert '+x = {"a": 1}\n' in shown["output"]["diff"]
    assert shown["output"]["changes"] == [str(agent.workspace / "a.py")]
    assert text_of(agent, "a.py") == UGLY


async def test_the_projects_own_configuration_counts(house: House) -> None:
    agent = await project(house, a=UGLY)
    await write(agent, "ruff.toml", "[format]\nquote-style = 'single'\n")

    found = await agent.done("code.format", {"path": "a.py"})

    assert text_of(agent, "a.py") == "x = {'a': 1}\n"
    assert "`ruff.toml` in `/workspace` configures it" in found["tool"]["why"]


async def test_fixes_are_a_diff_by_the_rules_that_are_named(house: House) -> None:
    agent = await project(house, a="import os\nimport sys\n\nx = not sys == None\n")

    only = await agent.call("code.fix", {"path": "a.py", "rules": ["F401"]})

    assert text_of(agent, "a.py") == "import sys\n\nx = not sys == None\n"
    assert "-import os\n" in only.json()["output"]["changed"][0]["diff"]
    await agent.done("undo.apply", {"ids": [only.json()["invocation"]]})
    assert text_of(agent, "a.py").startswith("import os\n")


async def test_shell_scripts_are_formatted(house: House) -> None:
    inside("shfmt", expected=True)
    agent = await house.agent()
    await write(agent, "a.sh", "if true;then\necho  a\nfi\n")

    await agent.done("code.format", {"path": "a.sh"})

    assert text_of(agent, "a.sh") == "if true; then\n\techo a\nfi\n"


async def test_bytes_and_line_ends_that_are_no_plain_text_stay_what_the_tool_made_of_them(house: House) -> None:
    agent = await house.agent()
    await give_ruff(agent)
    (agent.workspace / "a.py").write_bytes(b"x = '\xc3\xa9'\r\ny=1\r\n")

    await agent.done("code.format", {"path": "a.py"})

    assert (agent.workspace / "a.py").read_bytes() == b'x = "\xc3\xa9"\r\ny = 1\r\n'


async def test_who_may_not_write_formats_nothing(house: House) -> None:
    made = await project(house, a=UGLY)
    grants = [
        {"effect": "allow", "operations": ["code.*"], "where": {"paths": ["{workspace}/**"]}},
        {"effect": "allow", "operations": ["files.read"], "where": {"paths": ["{workspace}/**"]}},
    ]
    reader = await house.agent(workspace=str(made.workspace), grants=grants)

    response = await reader.call("code.format", {"path": "a.py"})

    assert response.status_code in (403, 404), response.text
    assert text_of(made, "a.py") == UGLY
    assert (await house.records(invocation=response.headers["x-invocation-id"]))[0]["problem"]


# ---- attacks: the formatter is an attacker's


async def forged(house: House, script: str) -> Caller:
    agent = await house.agent()
    await write(agent, ".venv/bin/ruff", f"#!/bin/sh\n{script}\n", "0755")
    await write(agent, "a.py", UGLY)
    await write(agent, "b.py", UGLY)
    return agent


@pytest.mark.parametrize(
    ("name", "script"),
    [
        ("nothing", "exit 0"),
        ("failure", "echo broken >&2; exit 2"),
        ("itself", "echo hacked > /workspace/a.py; cat"),
        pytest.param("limit", "sleep 100", marks=pytest.mark.slow),
    ],
)
async def test_a_tool_that_fails_or_cheats_changes_nothing(house: House, name: str, script: str) -> None:
    agent = await forged(house, script)

    response = await agent.call("code.format", {"path": "a.py"}, superagent_deadline="6")

    if response.status_code == 200:
        assert response.json()["output"]["changed"] == []
    assert text_of(agent, "a.py") == UGLY


async def test_a_file_that_is_not_what_the_tool_saw_is_a_conflict_and_all_stays(house: House) -> None:
    """The tool changes what the shell around it takes the digest of."""
    agent = await forged(house, 'case "$*" in *b.py*) echo other > /tmp/before;; esac; echo new')

    response = await agent.call("code.format", {"path": ".", "language": "python"})

    found = problem_of(response, 409, "conflict")
    assert found["changed"] == "nothing"
    assert (text_of(agent, "a.py"), text_of(agent, "b.py")) == (UGLY, UGLY)
    records = await house.records(invocation=response.headers["x-invocation-id"])
    assert records[0]["problem"] == "conflict"


async def test_a_link_out_of_the_workspace_is_not_written_through(house: House) -> None:
    agent = await project(house, a=UGLY)
    outside = house.data.parent / "outside.py"
    outside.write_text(UGLY)
    (agent.workspace / "link.py").symlink_to(outside)

    response = await agent.call("code.format", {"path": "link.py"})

    assert response.status_code in (403, 404), response.text
    assert outside.read_text() == UGLY


@pytest.mark.parametrize("input", [{"rules": ["--config=x"]}, {"rules": [""]}, {"rules": []}, {"tool": "../ruff"}])
async def test_rules_and_tools_are_names(agent: Caller, input: dict[str, Any]) -> None:
    problem_of(await agent.call("code.fix", {"path": ".", **input}), 422, "invalid-input")

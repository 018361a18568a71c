"""`code.run` over HTTP: content and files of several languages, run by real interpreters in the real sandbox."""

from __future__ import annotations

from typing import Any

import pytest

from tests.needs import program
from tests.plugins.code.inside import inside
from tests.surfaces.http.house import Caller, House, problem_of

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.fixture(autouse=True)
def bubblewrap() -> None:
    program("bwrap", "bubblewrap")


async def ran(caller: Caller, **input: Any) -> dict[str, Any]:
    return await caller.done("code.run", input)


@pytest.mark.parametrize(
    ("language", "needs", "content"),
    [
        ("python", "python3", "import sys; print('hi', sys.argv[1], sys.stdin.read())"),
        ("bash", "bash", 'echo "hi $1 $(cat)"'),
        ("awk", "awk", 'BEGIN { getline line < "-"; print "hi", ARGV[1], line }'),
        ("perl", "perl", 'print "hi $ARGV[0] ", <STDIN>, "\\n";'),
        ("javascript", "node", "import fs from 'fs'; console.log('hi', process.argv[2], fs.readFileSync(0, 'utf8'))"),
        (
            "c",
            "gcc",
            "#include <stdio.h>\n"
            'int main(int n, char **a) { char b[9]; scanf("%8s", b); printf("hi %s %s\\n", a[1], b); }',
        ),
        (
            "java",
            "java",
            "class Main { public static void main(String[] a) throws Exception {"
            ' System.out.println("hi " + a[0] + " " + new String(System.in.readAllBytes())); } }',
        ),
    ],
)
async def test_content_runs_with_arguments_and_an_input(agent: Caller, language: str, needs: str, content: str) -> None:
    inside(needs)

    found = await ran(agent, language=language, content=content, args=["a b"], stdin="in")

    assert (found["exit_code"], found["stdout"]) == (0, "hi a b in\n"), found
    assert found["tool"]["path"].startswith("/")
    assert found["tool"]["why"].startswith(language)


async def test_a_file_runs_with_the_workspace_around_it(agent: Caller) -> None:
    await agent.done("files.mkdir", {"path": "app"})
    await agent.done("files.write", {"path": "app/part.py", "content": "X = 41\n"})
    await agent.done(
        "files.write", {"path": "app/main.py", "content": "import part, os; print(part.X + 1, os.getcwd())"}
    )

    found = await ran(agent, path="app/main.py")
    content = await ran(agent, language="python", content="from app import part; print(part.X)")

    assert found["stdout"] == "42 /workspace\n"
    assert content["stdout"] == "41\n"
    assert found["tool"]["name"] == "python"


async def test_content_of_any_length_runs(agent: Caller) -> None:
    content = b"x = 1\n" * 300_000 + b"print(x)\n"
    uploaded = await agent.http.put("/v1/blobs", content=content)

    found = await ran(agent, language="python", content_blob=uploaded.json()["handle"])

    assert (found["exit_code"], found["stdout"]) == (0, "1\n"), found


async def test_an_environment_of_the_project_goes_first_and_is_said(house: House) -> None:
    agent = await house.agent()
    await agent.done("shell.run", {"command": "python3 -m venv --without-pip .venv"})

    found = await ran(agent, language="python", content="import sys; print(sys.prefix)")

    assert found["stdout"] == "/workspace/.venv\n"
    assert found["tool"]["path"] == "/workspace/.venv/bin/python"
    assert "the project's own" in found["tool"]["why"]


async def test_a_tool_that_is_not_there_is_unavailable_with_its_cure(house: House, agent: Caller) -> None:
    response = await agent.call("code.run", {"language": "typescript", "content": "console.log(1)"})

    found = problem_of(response, 503, "unavailable")
    assert "`tsx`" in found["detail"]
    assert "npm install --save-dev tsx" in found["hint"]
    records = await house.records(invocation=response.headers["x-invocation-id"])
    assert {one["kind"] for one in records} == {"intent", "outcome"}
    assert records[0]["problem"] == "unavailable"


async def test_a_compiler_that_fails_says_why_and_nothing_runs(agent: Caller) -> None:
    inside("gcc")

    found = await ran(agent, language="c", content="int main(void) { return nothing; }")

    assert found["exit_code"] == 1
    assert "nothing" in found["stderr"]


async def test_code_is_limited_and_the_limit_is_named(agent: Caller) -> None:
    found = await ran(agent, language="python", content="while True: pass", timeout_s=1)
    narrow = await ran(
        agent, language="python", content="open('x', 'w')", sandbox="read-only", limits={"memory_bytes": 100 << 20}
    )

    assert (found["exit_code"], found["limit"]) == (None, "wall")
    assert "Read-only file system" in narrow["stderr"]


async def test_a_dry_run_names_the_interpreter_and_runs_nothing(house: House) -> None:
    agent = await house.agent()
    response = await agent.call("code.run", {"language": "bash", "content": "touch never"}, x_dry_run="true")

    assert response.json()["status"] == "previewed"
    assert "/bash" in response.json()["output"]["summary"]
    assert not (agent.workspace / "never").exists()


@pytest.mark.parametrize(
    ("input", "word"),
    [
        ({}, "either"),
        ({"path": "a.py", "content": "x"}, "either"),
        ({"content": "x"}, "language"),
        ({"content": " ", "language": "python"}, "something"),
        ({"content": "x", "language": "cobol"}, "cobol"),
        ({"content": "x", "language": "python", "tool": "pytest"}, "pytest"),
        ({"path": "."}, "folder"),
    ],
)
async def test_what_makes_no_sense_is_refused_with_a_reason(agent: Caller, input: dict[str, Any], word: str) -> None:
    await agent.done("files.write", {"path": "pyproject.toml", "content": ""})

    assert word in problem_of(await agent.call("code.run", input), 422, "invalid-input")["detail"]


async def test_a_file_elsewhere_is_not_run_and_the_refusal_is_recorded(house: House, agent: Caller) -> None:
    other = await house.agent()
    await other.done("files.write", {"path": "own.py", "content": "print('private')"})

    for path in (str(other.workspace / "own.py"), "../../../state/owner.key", "/usr/bin/true"):
        response = await agent.call("code.run", {"path": path, "language": "python"})
        assert response.status_code in (403, 404, 422), response.text
        assert (await house.records(invocation=response.headers["x-invocation-id"]))[0]["problem"]


async def test_a_program_in_the_workspace_that_poses_as_the_interpreter_is_contained(house: House) -> None:
    agent = await house.agent()
    await agent.done("files.mkdir", {"path": ".venv/bin", "parents": True})
    await agent.done(
        "files.write",
        {"path": ".venv/bin/python", "content": "#!/bin/sh\nid -un; ls /; cat /etc/shadow\n", "mode": "0755"},
    )

    found = await ran(agent, language="python", content="print(1)")

    assert found["tool"]["path"] == "/workspace/.venv/bin/python"
    assert found["stdout"].startswith("sandbox\n")
    assert "root" not in found["stdout"].splitlines()
    assert str(house.data) not in found["stdout"]
    assert found["exit_code"] != 0

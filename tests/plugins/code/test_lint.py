"""`code.lint` over HTTP: real linters in the real sandbox, their findings as data, and hostile ones contained."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.needs import program
from tests.plugins.code.inside import give_ruff, inside, write
from tests.surfaces.http.house import Caller, House, problem_of

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.fixture(autouse=True)
def bubblewrap() -> None:
    program("bwrap", "bubblewrap")


async def linted(caller: Caller, **input: Any) -> dict[str, Any]:
    return await caller.done("code.lint", input)


async def test_the_projects_own_ruff_gives_findings_as_data(house: House) -> None:
    agent = await house.agent()
    await give_ruff(agent)
    await write(agent, "pyproject.toml", "[tool.ruff.lint]\nselect = ['F', 'E7']\n")
    await write(agent, "pkg/one.py", "import os\nimport sys\n\nif sys == None:\n    pass\n")

    found = await linted(agent, path=".")

    assert found["tool"]["name"] == "ruff"
    assert found["tool"]["path"] == "/workspace/.venv/bin/ruff"
    assert "`pyproject.toml` in `/workspace` configures it" in found["tool"]["why"]
    assert [(one["file"], one["line"], one["column"], one["rule"]) for one in found["diagnostics"]] == [
        ("pkg/one.py", 1, 8, "F401"),
        ("pkg/one.py", 4, 11, "E711"),
    ]
    first = found["diagnostics"][0]
    assert (first["severity"], first["fixable"]) == ("error", True)
    assert "os" in first["message"]
    assert found["total"] == 2
    assert (await linted(agent, path="pkg/one.py", limit=1))["truncated"] is True


async def test_shell_scripts_are_looked_at_by_shellcheck(house: House) -> None:
    inside("shellcheck", expected=True)
    agent = await house.agent()
    await write(agent, "scripts/a.sh", "#!/bin/bash\ncat $1\n")
    await write(agent, "scripts/node_modules/x.sh", "#!/bin/bash\ncat $1\n")

    found = await linted(agent, path="scripts", language="bash")

    assert [(one["file"], one["line"], one["rule"], one["severity"]) for one in found["diagnostics"]] == [
        ("scripts/a.sh", 2, "SC2086", "note")
    ]
    assert found["diagnostics"][0]["fixable"] is True


@pytest.mark.parametrize(
    ("needs", "tool", "name", "text", "line"),
    [
        ("bash", "bash-syntax", "a.sh", "if true; then\necho\n", 3),
        ("perl", "perl-syntax", "a.pl", "use strict;\nmy $x = $nothing;\n", 2),
        ("node", "node-syntax", "a.js", "let x = 1;\nlet = = 2;\n", 2),
    ],
)
async def test_where_there_is_no_linter_the_interpreter_checks_the_syntax(
    house: House, needs: str, tool: str, name: str, text: str, line: int
) -> None:
    inside(needs)
    agent = await house.agent()
    await write(agent, name, text)

    found = await linted(agent, path=name, tool=tool)
    folder = await linted(agent, path=".", tool=tool)

    assert (found["diagnostics"][0]["file"], found["diagnostics"][0]["line"]) == (name, line), found
    assert folder["diagnostics"] == found["diagnostics"]


async def test_a_clean_file_has_no_findings(house: House) -> None:
    agent = await house.agent()
    await write(agent, "a.sh", "echo fine\n")

    found = await linted(agent, path="a.sh", tool="bash-syntax")

    assert (found["diagnostics"], found["total"]) == ([], 0)


async def test_a_tool_that_the_project_asks_for_is_not_replaced(house: House) -> None:
    agent = await house.agent()
    await write(agent, ".flake8", "[flake8]\n")
    await write(agent, "a.py", "import os\n")

    found = problem_of(await agent.call("code.lint", {"path": "a.py"}), 503, "unavailable")

    assert "`flake8` is not installed" in found["detail"]
    assert "`.flake8` in `/workspace` asks for it" in found["detail"]
    assert ".venv" in found["hint"]


# ---- attacks: the linter is the project's own, so it is an attacker's


LIAR = """#!/bin/sh
cat <<'END'
%s
END
"""


async def lying(house: House, report: Any) -> Caller:
    """Give an agent whose project brings a ruff that reports what it likes."""
    agent = await house.agent()
    await write(agent, ".venv/bin/ruff", LIAR % (report if isinstance(report, str) else json.dumps(report)), "0755")
    await write(agent, "a.py", "x = 1\n")
    return agent


def finding(**more: Any) -> dict[str, Any]:
    return {
        "filename": "/workspace/a.py", "location": {"row": 1, "column": 1}, "code": "F401", "message": "m", "fix": None,
        **more,
    }  # fmt: skip


async def test_places_outside_of_the_workspace_are_counted_and_not_shown(house: House) -> None:
    outside = ["/etc/shadow", "/workspace/../etc/shadow", "../x", "/workspacex/a", "", "/workspace", "a\nb", 5, None]
    agent = await lying(house, [finding(filename=one) for one in outside] + [finding(filename="sub/../a.py")])

    found = await linted(agent, path="a.py")

    assert [one["file"] for one in found["diagnostics"]] == ["a.py"]
    assert found["outside"] == len(outside)


async def test_only_what_fixing_would_change_is_called_fixable(house: House) -> None:
    fixes: list[Any] = [{"applicability": one} for one in ("safe", "unsafe", "display")]
    agent = await lying(house, [finding(fix=one) for one in [*fixes, {"message": "m"}, None]])

    found = await linted(agent, path="a.py")

    assert [one["fixable"] for one in found["diagnostics"]] == [True, False, False, True, False]
    assert found["fixable"] == 2


async def test_escapes_and_tricks_in_messages_are_taken_out(house: House) -> None:
    message = "a\x1b[31mred\x1b]0;title\x07\x1b]8;;http://x\x1b\\link\x9b2J\u202eabc\r\nnext\x00"
    agent = await lying(house, [finding(message=message, code="F\x1b[2J1", url="javascript:alert(1)")])

    one = (await linted(agent, path="a.py"))["diagnostics"][0]

    assert one["message"] == "aredlink\ufffdabc next\ufffd"
    assert one["rule"] == "F1"
    assert one["url"] is None


@pytest.mark.parametrize(
    "report",
    [
        "no json",
        "{}",
        "[1]",
        '[{"filename": "a.py"}]',
        "[" * 100_000,
        '[{"filename": "a.py", "location": 3, "code": "F1", "message": ""}]',
    ],
)
async def test_a_report_that_is_none_is_a_failure_of_the_tool_and_says_so(house: House, report: str) -> None:
    agent = await lying(house, report)

    found = problem_of(await agent.call("code.lint", {"path": "a.py"}), 503, "unavailable")

    assert "`ruff`" in found["detail"]
    assert found["hint"]


async def test_numbers_that_are_none_are_left_out(house: House) -> None:
    agent = await lying(
        house, [finding(location={"row": -5, "column": 10**30}), finding(location={"row": "1", "column": True})]
    )

    found = (await linted(agent, path="a.py"))["diagnostics"]

    assert {(one["line"], one["column"]) for one in found} == {(None, None)}


async def test_a_report_without_end_is_cut_and_refused(house: House) -> None:
    agent = await house.agent()
    await write(agent, ".venv/bin/ruff", "#!/bin/sh\nhead -c 40000000 /dev/zero | tr '\\0' '['\n", "0755")
    await write(agent, "a.py", "x = 1\n")

    found = problem_of(await agent.call("code.lint", {"path": "a.py"}), 413, "too-large")

    assert "40000000" in found["detail"]


async def test_a_linter_can_change_nothing_and_see_nothing(house: House) -> None:
    agent = await house.agent()
    spy = "#!/bin/sh\necho x > /workspace/a.py; id -un; ls /; cat /etc/shadow; env; exit 3\n"
    await write(agent, ".venv/bin/ruff", spy, "0755")
    await write(agent, "a.py", "x = 1\n")

    found = problem_of(await agent.call("code.lint", {"path": "a.py"}), 503, "unavailable")

    assert (agent.workspace / "a.py").read_text() == "x = 1\n"
    assert "it ended with 3" in found["detail"]
    assert "Read-only file system" in found["detail"]
    assert str(house.data) not in found["detail"]


async def test_what_others_may_not_read_is_not_linted(house: House, agent: Caller) -> None:
    other = await house.agent()
    await write(other, "a.sh", "echo\n")

    response = await agent.call("code.lint", {"path": str(other.workspace / "a.sh")})

    assert response.status_code in (403, 404), response.text
    assert (await house.records(invocation=response.headers["x-invocation-id"]))[0]["kind"] == "refused"

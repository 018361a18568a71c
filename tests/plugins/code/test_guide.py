"""The example of the guide runs as it stands, and the plugin's own page says what the code does."""

from __future__ import annotations

import json
import os
import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest

from superagent.plugins.code.engine.table import PURPOSES, table
from superagent.plugins.code.operations import code
from tests.crash.platform import serving
from tests.needs import program
from tests.promise import ROOT
from tests.surfaces.http.house import Caller, House, problem_of

FOLDER = ROOT / "src" / "superagent" / "plugins" / "code"


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_the_example_of_the_guide_runs_tests_and_explains(tmp_path: Path) -> None:
    """Run docs_src/code.sh."""
    program("bwrap", "bubblewrap")
    data = tmp_path / "data"
    with serving(data) as server:
        ran = subprocess.run(
            ["bash", "-eu", "-o", "pipefail", "-c", (ROOT / "docs_src" / "code.sh").read_text()],
            cwd=ROOT,
            env={"PATH": os.environ["PATH"], "HOME": str(data), "SUPERAGENT_DATA": str(data)},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert server.url
    assert ran.returncode == 0, ran.stdout + ran.stderr
    first, tested, explained = outputs(ran.stdout)
    assert first["stdout"] == "45\n"
    assert "python" in first["tool"]["why"]
    assert (tested["passed"], tested["failed"]) == (1, 1)
    assert [one["name"] for one in explained["definitions"]] == ["add"]
    assert {one["file"] for one in explained["tests"]} == {"test_sums.py"}


def outputs(text: str) -> list[dict[str, Any]]:
    """Give the outputs out of JSON documents that stand one after another."""
    found: list[dict[str, Any]] = []
    while text := text.strip():
        one, end = json.JSONDecoder().raw_decode(text)
        found.append(one.get("output", one))
        text = text[end:]
    return found


def test_the_table_of_operations_is_the_one_of_the_code() -> None:
    text = (FOLDER / "README.md").read_text("utf-8")
    rows = sorted((one.name, one.effect.name.lower(), one.summary) for one in code.compile())

    shown = text.split("|---|---|---|\n")[1].split("<!-- /operations -->")[0]

    assert shown == "".join(f"| `{name}` | {effect} | {summary} |\n" for name, effect, summary in rows)


def test_the_manifest_names_what_the_plugin_reaches() -> None:
    manifest = tomllib.loads((FOLDER / "plugin.toml").read_text("utf-8"))
    assert manifest["name"] == code.name
    assert tuple(manifest["reaches"]) == code.reaches


def test_the_guide_names_the_tools_of_the_table() -> None:
    text = (ROOT / "docs" / "guide" / "code.md").read_text("utf-8")
    for purpose in PURPOSES:
        row = next(row for row in text.splitlines() if row.startswith(f"| `code.{purpose}` |"))
        names = list(dict.fromkeys(one.name for one in table().tools if purpose in one.does))
        assert re.findall(r"`([^`]+)`", row)[1:] == names, purpose


def test_every_row_of_the_table_can_be_used() -> None:
    languages = table().languages
    for row in table().tools:
        assert row.install, row.name
        assert row.argv, row.name
        assert bool(row.program) != bool(row.module), row.name
        assert not [one for one in row.languages if one not in languages], row.name
        assert re.fullmatch(r"[a-z0-9][a-z0-9_.+-]*", row.name), row.name
    endings = [one for language in languages.values() for one in language.extensions]
    assert len(set(endings)) == len(endings)


@pytest.mark.asyncio(loop_scope="session")
async def test_where_nothing_can_be_contained_nothing_runs(house: House, agent: Caller) -> None:
    await agent.done("files.write", {"path": "a.py", "content": "x = 1\n"})
    calls: dict[str, dict[str, Any]] = {
        "code.run": {"language": "python", "content": "open('ran', 'w')"},
        "code.test": {"path": "a.py"},
        "code.lint": {"path": "a.py"},
        "code.format": {"path": "a.py"},
        "code.fix": {"path": "a.py"},
        "code.explain": {"path": "a.py"},
    }
    assert set(calls) <= {one.name for one in code.compile()}
    for name, input in calls.items():
        response = await agent.call(name, input, superagent_isolation="vm")

        assert problem_of(response, 503, "sandbox-unavailable")["hint"]
        records = await house.records(invocation=response.headers["x-invocation-id"])
        assert records[0]["problem"] == "sandbox-unavailable", records
    assert not (agent.workspace / "ran").exists()


@pytest.mark.asyncio(loop_scope="session")
async def test_who_has_no_grant_for_code_runs_none(house: House) -> None:
    clerk = await house.agent(grants=[{"effect": "allow", "operations": ["files.*"]}])

    for name in ("code.run", "code.test", "code.lint", "code.format", "code.fix", "code.explain"):
        response = await clerk.call(name, {"path": "a.py"})
        problem_of(response, 404, "not-found")
        assert (await house.refusal(response))["problem"] == "not-found"


@pytest.mark.asyncio(loop_scope="session")
async def test_a_workspace_with_something_denied_in_it_runs_no_tool(house: House) -> None:
    plain = await house.agent()
    await plain.done("files.write", {"path": "a.py", "content": "x = 1\n"})
    denied = await house.agent(
        workspace=str(plain.workspace),
        grants=[
            {"effect": "allow", "operations": ["code.*", "files.*"], "where": {"paths": ["{workspace}/**"]}},
            {"effect": "deny", "operations": ["files.read"], "where": {"paths": [str(plain.workspace / "secret")]}},
        ],
    )

    for name in ("code.run", "code.test", "code.lint", "code.format", "code.fix", "code.explain"):
        problem_of(await denied.call(name, {"path": "a.py"}), 403, "denied")

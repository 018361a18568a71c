"""Frameworks of agents use our tools by their own MCP adapters, without a model; `make frameworks` installs them."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.crash.platform import serving
from tests.surfaces.cli.command_line import superagent

ROOT = Path(__file__).parents[2]
FRAMEWORKS = ROOT / "build" / "frameworks"


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("program", ["with_langgraph.py", "with_openai_agents.py", "with_pydantic_ai.py"])
def test_a_framework_lists_and_calls_tools(tmp_path: Path, program: str) -> None:
    name = Path(program).stem.removeprefix("with_")
    python = FRAMEWORKS / name / "bin" / "python"
    if not python.exists():
        pytest.skip(f"{name} is not installed: make frameworks")
    data, key = tmp_path / "data", tmp_path / "key"
    with serving(data) as server:
        made = superagent("keys", "create", "framework", "--json", data=data)
        key.write_text(made.document["output"]["key"])
        ran = subprocess.run(
            [str(python), str(ROOT / "docs_src/frameworks" / program), server.url, str(key)],
            capture_output=True, text=True, timeout=240, check=False, cwd=tmp_path,
        )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    shown = json.loads(ran.stdout)
    assert {"files_read", "files_write", "search_operations", "run_operation"} <= set(shown["tools"])
    assert "# Plan" in shown["read"]
    assert (data / "workspaces/default/framework/plan.md").read_text() == "# Plan\n"

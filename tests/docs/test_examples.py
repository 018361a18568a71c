"""What the README and the guides show runs as it stands."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from docs_src.tidy import tidy
from superagent.app import open_installation
from superagent.core.grants import Grant
from superagent.core.invocation import Call
from superagent.settings import load
from tests.crash.platform import serving

ROOT = Path(__file__).parents[2]


def shell(script: str, data: Path, url: str) -> str:
    """Run a script of docs_src as a reader would, on another data folder and port."""
    text = (ROOT / "docs_src" / script).read_text().replace("http://127.0.0.1:8750", url)
    ran = subprocess.run(
        ["bash", "-eu", "-o", "pipefail", "-c", text],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "HOME": str(data), "SUPERAGENT_DATA": str(data)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


@pytest.mark.timeout(240)
def test_the_five_minutes_of_the_readme(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with serving(data) as server:
        shown = shell("tour.sh", data, server.url)
        assert "+Hello, agents" in shown
        assert "Hello, world" in shown
        assert not (data / "workspaces/default/owner/hello.txt").exists()
        shown = shell("agent.sh", data, server.url)
        assert '"status":"waiting"' in shown
        assert '"status":"done"' in shown.rstrip().splitlines()[-1]
        assert (data / "workspaces/default/builder/plan.md").read_text() == "# Plan\n"


async def test_the_plugin_of_the_guide_sorts_and_is_taken_back(tmp_path: Path) -> None:
    """Run docs_src/tidy.py."""
    async with open_installation(load(tmp_path / "data", environ={}), extra=(tidy,)) as here:
        owner = await here.owner()
        file = tmp_path / "list.txt"
        file.write_text("b\na\n")
        done = await here.kernel.run(Call("tidy.sort", {"path": str(file)}), owner, "cli")
        assert done.result() == {"lines": 2}
        assert file.read_text() == "a\nb\n"
        await here.kernel.run(Call("undo.apply", {"ids": [done.invocation]}), owner, "cli")
        assert file.read_text() == "b\na\n"


def test_the_grants_of_the_guide_are_grants() -> None:
    for one in json.loads((ROOT / "docs_src/grants.json").read_text()):
        assert Grant.model_validate(one).effect == one["effect"]

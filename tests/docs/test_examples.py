"""What the README and the guides show runs as it stands."""

from __future__ import annotations

import hmac
import json
import os
import subprocess
from pathlib import Path

import pytest

from docs_src.seal import seal
from docs_src.tidy import tidy
from superagent.app import open_installation
from superagent.core.grants import Grant
from superagent.core.invocation import Call
from superagent.runtime.sandbox.bubblewrap import find_bubblewrap
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


@pytest.mark.timeout(240)
@pytest.mark.skipif(find_bubblewrap() is None, reason="bubblewrap is not installed")
def test_the_commands_of_the_guide_run_contained(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with serving(data) as server:
        shown = shell("commands.sh", data, server.url)
    assert "uid=1000(sandbox)" in shown
    assert "No such file or directory" in shown
    assert '"level": "native"' in shown.rstrip().splitlines()[-1]


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


@pytest.mark.parametrize("file", ["grants.json", "secret-grants.json"])
def test_the_grants_of_the_guide_are_grants(file: str) -> None:
    for one in json.loads((ROOT / "docs_src" / file).read_text()):
        assert Grant.model_validate(one).effect == one["effect"]


@pytest.mark.timeout(240)
def test_the_secrets_of_the_guide_are_put_rotated_and_taken_back(tmp_path: Path) -> None:
    """Run docs_src/secrets.sh."""
    data = tmp_path / "data"
    with serving(data) as server:
        shown = shell("secrets.sh", data, server.url)
        names = server.call("secrets.list")["secrets"]
        assert [(one["name"], one["version"]) for one in names] == [("github-token", 2)]
        assert server.call("connections.list")["connections"][0]["host"] == "api.github.com:443"
    assert "github-token" in shown


async def test_the_plugin_of_the_guide_signs_with_a_secret_that_nobody_sees(tmp_path: Path) -> None:
    """Run docs_src/seal.py."""
    async with open_installation(load(tmp_path / "data", environ={}), extra=(seal,)) as here:
        owner = await here.owner()
        put = Call("secrets.put", {"name": "webhook-key", "value": "a long and random value"})
        assert (await here.kernel.run(put, owner, "cli")).problem is None
        signed = await here.kernel.run(Call("seal.sign", {"text": "hello", "secret": "webhook-key"}), owner, "cli")
        assert signed.result() == {"signature": hmac.digest(b"a long and random value", b"hello", "sha256").hex()}
        given, _ = await here.index.query("default", operation="secrets.resolve")
        assert [one["detail"]["for"] for one in given] == ["job signing"]

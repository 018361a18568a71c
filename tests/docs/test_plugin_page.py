"""The page on writing a plugin runs as it stands: from its folder to calls by command line and HTTP."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.crash.platform import serving
from tests.docs.test_examples import ROOT, shell
from tests.needs import program
from tests.promise import promise


@promise("5.4a")
@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_plugin_of_the_guide_is_put_there_loaded_called_and_taken_back(tmp_path: Path) -> None:
    """Run docs_src/notes (plugin.toml, operations.py), notes.sh and notes-use.sh."""
    program("bwrap", "bubblewrap")
    data = tmp_path / "data"
    with serving(data) as server:
        assert "no setting names it" in shell("notes.sh", data, server.url)
    with serving(data) as server:
        shown = shell("notes-use.sh", data, server.url)
        assert "hosted" in shown
        assert '"notes":2' in shown.rstrip().splitlines()[-1]
        notes = data / "workspaces" / "default" / "owner" / "notes.txt"
        assert notes.read_text() == "buy milk\ncall home\n"
        with server.client() as client:
            called = client.get("/v1/operations/notes.add").json()
            assert called["effect"] == "CHANGE"
        newest = max(server.call("undo.list")["entries"], key=lambda one: one["at"])
        server.call("undo.apply", ids=[newest["invocation"]])
        assert notes.read_text() == "buy milk\n"


@promise("5.4a")
@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_page_on_your_own_operation_goes_from_an_empty_folder_to_a_call_that_is_taken_back(tmp_path: Path) -> None:
    """Run docs_src/tidy (plugin.toml, operations.py, try_it.py), tidy-load.sh and tidy.sh."""
    program("bwrap", "bubblewrap")
    data, tidy = tmp_path / "data", tmp_path / "tidy"
    shutil.copytree(ROOT / "docs_src/tidy", tidy, ignore=shutil.ignore_patterns("__pycache__"))
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    tried = subprocess.run(
        ["python", "try_it.py"], cwd=tidy, env={"PATH": path}, capture_output=True, text=True, timeout=120, check=False
    )
    assert (tried.returncode, tried.stdout) == (0, ""), tried.stderr
    with serving(data) as server:
        shell("tidy-load.sh", data, server.url, tidy, PATH=path)
    with serving(data) as server:
        shown = shell("tidy.sh", data, server.url, tidy, PATH=path)
        assert "+apples\n pears\n-apples\n" in shown.partition("done  tidy.sort")[0]
        assert "content:\napples\npears\n" in shown
        assert (data / "workspaces/default/owner/list.txt").read_text() == "pears\napples\n"

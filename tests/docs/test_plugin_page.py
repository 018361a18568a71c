"""The page on writing a plugin runs as it stands: from its folder to calls by command line and HTTP."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.crash.platform import serving
from tests.docs.test_examples import shell
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

"""One installation with the evil plugin for all tests of this folder: starting one takes a while."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.runtime.hosted.here import HERE, Here, with_plugin


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def evil(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Here]:
    data = tmp_path_factory.mktemp("evil") / "data"
    setting = "evil: files secret call:files.read"
    async with with_plugin(data, HERE / "evil", hosted=[setting]) as here:
        yield here


@pytest.fixture
def ground(tmp_path: Path) -> Path:
    """Give a folder with a file in it, and one beside it that no call names."""
    folder = tmp_path / "ground"
    folder.mkdir()
    (folder / "note.txt").write_text("before\n")
    (tmp_path / "closed.txt").write_text("nobody's business\n")
    return folder

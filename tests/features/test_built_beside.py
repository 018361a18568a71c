"""What the platform builds beside its place is nobody's to reach until it stands there, whatever builds it."""

from __future__ import annotations

import os

import pytest

from superagent.runtime.protected import built_beside
from tests.surfaces.http.house import Caller, problem_of

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_what_is_written_copied_and_put_back_has_a_name_that_no_call_reaches(
    agent: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    names, fsync, others = set[str](), os.fsync, set(os.listdir(agent.workspace))

    def look(fd: int) -> None:
        names.update(os.listdir(agent.workspace))
        fsync(fd)

    monkeypatch.setattr(os, "fsync", look)
    await agent.done("files.write", {"path": "one", "content": "1"})
    again = await agent.call("files.write", {"path": "one", "content": "2"})
    undone = len(names)
    await agent.done("undo.apply", {"ids": [again.json()["invocation"]]})
    assert len(names) > undone

    hidden = names - others - {"one"}
    assert len(hidden) >= 3  # two writings and an undo
    assert all(built_beside(f"/w/{one}") and built_beside(f"/w/{one}/inner") for one in hidden), hidden
    for one in hidden:
        problem_of(await agent.call("files.write", {"path": one, "content": "x"}), 404, "not-found")
        problem_of(await agent.call("files.write", {"path": one.upper(), "content": "x"}), 404, "not-found")


@pytest.mark.parametrize("path", ["/w/.superagent-data/a", "/w/.superagent-undo", "/w/superagent.toml", "/w/a"])
async def test_other_names_are_free(path: str) -> None:
    assert not built_beside(path)

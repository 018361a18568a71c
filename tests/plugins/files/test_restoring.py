"""Bringing back earlier versions, and undo in every order."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from superagent.core.invocation import Status
from superagent.runtime import path_keeper
from superagent.runtime.file_state import Quota
from tests.plugins.files.ground import Ground, look_at
from tests.promise import promise


async def test_earlier_versions_of_a_file_come_back(ground: Ground) -> None:
    for content in ("one", "two", "three"):
        await ground.do("write", path="a", content=content)
    await ground.do("restore", path="a", version=2)
    assert (ground.top / "a").read_text() == "one"
    done = await ground.undone("restore", path="a")  # the latest change was the restoring itself
    assert (done["operation"], (ground.top / "a").read_text()) == ("files.restore", "three")


async def test_what_was_deleted_comes_back_by_its_invocation(ground: Ground) -> None:
    ground.write("d/a", "x")
    before = look_at(ground.top, times=True)
    gone = await ground.call("delete", path="d", recursive=True)
    await ground.do("restore", path="d", undo_id=gone.invocation)
    assert look_at(ground.top, times=True) == before
    (ground.top / "d" / "b").write_text("more")
    await ground.undone("restore", path="d", version=2)


async def test_what_is_not_kept_is_not_found(ground: Ground) -> None:
    ground.write("a", "x")
    assert (await ground.refused("restore", path="a")).slug == "not-found"
    assert (await ground.refused("restore", path="a", undo_id="0" * 26)).slug == "not-found"
    assert (await ground.refused("restore", path="a", undo_id="0" * 26, version=1)).slug == "invalid-input"


async def test_restoring_can_be_looked_at_first(ground: Ground) -> None:
    for content in ("one\n", "two\n", "three"):
        await ground.do("write", path="a", content=content)
    shown = await ground.preview("restore", path="a")
    assert "-three\n\\ No newline at end of file\n+two\n" in shown["diff"]
    assert "as it was before `files.write`" in shown["summary"]


async def test_what_undo_would_do_is_shown_whatever_it_is(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    ground.write("binary", b"\xff\0")
    ground.write("big", "x" * 300_000)
    ground.write("tree/a", "x")
    (ground.top / "link").symlink_to("a")
    monkeypatch.setattr(path_keeper, "_SHOWN_LINES", 20)
    for number in range(21):
        ground.write(f"many/{number}")

    async def plan(operation: str, **input: Any) -> str:
        outcome = await ground.call(operation, **input)
        assert outcome.problem is None
        step = (await ground.do("undo.plan", ids=[outcome.invocation]))["steps"][0]
        await ground.do("undo.apply", ids=[outcome.invocation])
        return step["diff"]

    assert "+. 2 bytes, SHA-256" in await plan("write", path="binary", content="text")
    assert "+. file 0644" in await plan("write", path="big", content="small\n")
    assert "+/a file 0644" in await plan("delete", path="tree", recursive=True)
    assert "+. link 0777" in await plan("delete", path="link")
    assert "-/many" not in await plan("mkdir", path="new/deep", parents=True)
    assert "… and more" in await plan("delete", path="many", recursive=True)
    await ground.do("delete", path="link")
    (ground.top / "link").symlink_to("b")
    shown = await ground.preview("restore", path="link")
    assert "-. link" in shown["diff"]


async def test_a_change_that_was_followed_by_another_is_a_conflict(ground: Ground) -> None:
    first = await ground.call("write", path="a", content="one")
    (ground.top / "a").write_text("somebody else")
    problem = await ground.refused("undo.apply", ids=[first.invocation])
    assert problem.slug == "conflict"


async def test_undo_of_something_in_a_folder_that_is_gone_changes_nothing(ground: Ground) -> None:
    (ground.top / "d").mkdir()
    made = await ground.call("write", path="d/a", content="x")
    await ground.do("delete", path="d", recursive=True)
    problem = await ground.refused("undo.apply", ids=[made.invocation])
    assert problem.slug in ("conflict", "not-found")


async def test_more_than_may_be_kept_is_refused_before_the_effect(tmp_path: Path) -> None:
    ground = Ground(tmp_path, quota=Quota(max_bytes=100, max_entries=3))
    ground.write("big", "x" * 200)
    assert (await ground.refused("write", path="big", content="y")).slug == "too-large"
    assert (await ground.refused("delete", path="big")).slug == "too-large"
    for name in "abcd":
        ground.write(f"d/{name}")
    assert (await ground.refused("delete", path="d", recursive=True)).slug == "too-large"


NAMES = st.sampled_from(["a", "b", "d", "d/x", "d/y", "d/e", "d/e/z", "f"])
STEPS = st.one_of(
    st.tuples(st.just("write"), st.fixed_dictionaries({"path": NAMES, "content": st.text(max_size=8)})),
    st.tuples(
        st.just("write"), st.fixed_dictionaries({"path": NAMES, "content": st.just("x"), "mode": st.just("0600")})
    ),
    st.tuples(st.just("edit"), st.fixed_dictionaries({"path": NAMES, "old": st.just("x"), "new": st.text(max_size=4)})),
    st.tuples(st.just("mkdir"), st.fixed_dictionaries({"path": NAMES, "parents": st.booleans()})),
    st.tuples(st.just("delete"), st.fixed_dictionaries({"path": NAMES, "recursive": st.booleans()})),
    st.tuples(st.just("copy"), st.fixed_dictionaries({"source": NAMES, "target": NAMES, "overwrite": st.booleans()})),
    st.tuples(st.just("move"), st.fixed_dictionaries({"source": NAMES, "target": NAMES, "overwrite": st.booleans()})),
    st.tuples(st.just("restore"), st.fixed_dictionaries({"path": NAMES, "version": st.integers(1, 3)})),
)


@promise("1.6")
@settings(max_examples=5, phases=[Phase.reuse, Phase.generate])  # fifty steps shrink too slowly to be of use
@given(st.lists(STEPS, min_size=50, max_size=50))
def test_any_fifty_changes_undone_in_reverse_leave_the_identical_tree(steps: list[tuple[str, dict[str, Any]]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(_fifty(Path(folder), steps))


async def _fifty(folder: Path, steps: list[tuple[str, dict[str, Any]]]) -> None:
    ground = Ground(folder)
    ground.write("d/x", "first x")
    ground.write("f", "x")
    before = look_at(ground.top, times=True)
    done: list[str] = []
    for operation, input in steps:
        seen = look_at(ground.top, times=True)
        outcome = await ground.call(operation, **input)
        if outcome.problem is None:
            done.append(outcome.invocation)
        else:
            assert look_at(ground.top, times=True) == seen, (operation, input, outcome.problem)
    for id in reversed(done):
        undone = await ground.call("undo.apply", ids=[id])
        if undone.problem is not None:
            assert "nothing to take back" in undone.problem.detail or undone.problem.slug == "not-found"
    assert look_at(ground.top, times=True) == before


@promise("1.6")
async def test_a_whole_session_is_undone_at_once(ground: Ground) -> None:
    ground.write("d/x", "x")
    before = look_at(ground.top, times=True)
    for operation, input in (
        ("write", {"path": "d/x", "content": "y"}),
        ("move", {"source": "d", "target": "e"}),
        ("copy", {"source": "e", "target": "d"}),
        ("delete", {"path": "e", "recursive": True}),
        ("mkdir", {"path": "m/n", "parents": True}),
        ("write", {"path": "m/n/o", "content": "z"}),
    ):
        outcome = await ground.world.run(
            f"files.{operation}",
            {
                key: f"{ground.top}/{value}" if key in ("path", "source", "target") else value
                for key, value in input.items()
            },
            session="s",
        )
        assert outcome.status is Status.DONE
    undone = await ground.call("undo.apply", session="s")
    assert undone.problem is None
    assert look_at(ground.top, times=True) == before

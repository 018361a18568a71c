"""Whoever may change but not read learns nothing by changing: no move, edit, patch or undo shows what stands there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from superagent.core.problems import Problem
from tests.plugins.files.ground import Ground, look_at, within

SECRET = "first line\nthe needle\nlast line\n"


@pytest.fixture
def box(tmp_path: Path) -> Ground:
    """Make a folder `box` that may be changed and not read, beside `mine`, where everything is allowed."""
    top = tmp_path / "top"
    changes = within(f"{top}/box/**").model_copy(update={"effects": ["CHANGE", "DESTROY"]})
    ground = Ground(tmp_path, [within(f"{top}/mine/**"), changes])
    ground.write("box/secret", SECRET)
    ground.write("box/deep/secret", SECRET)
    ground.write("mine/own", "own\n")
    return ground


async def refused(ground: Ground, operation: str, **input: Any) -> Problem:
    """Take a call that must be refused before anything is done, without the secret in any answer or record."""
    problem = await ground.refused(operation, **input)
    shown = await ground.call(operation, dry_run=True, **input)
    records = ground.world.audit.records[-2:]
    assert [one.kind for one in records] == ["refused", "refused"], records
    assert [one.problem for one in records] == [problem.slug, problem.slug]
    assert "needle" not in f"{problem.detail} {shown.encode()} {records}"
    return problem


@pytest.mark.parametrize("source", ["box/secret", "box/deep", "box"])
@pytest.mark.parametrize("target", ["mine/stolen", "box/renamed"])
async def test_what_may_not_be_read_is_not_moved(box: Ground, source: str, target: str) -> None:
    assert (await refused(box, "move", source=source, target=target)).slug == "denied"


@pytest.mark.parametrize("source", ["box/secret", "box/deep"])
async def test_what_may_not_be_read_is_not_copied_or_packed(box: Ground, source: str) -> None:
    assert (await refused(box, "copy", source=source, target="mine/stolen")).slug == "denied"
    assert (await refused(box, "archive", paths=[source], target="mine/stolen")).slug == "denied"


async def test_a_folder_with_a_part_that_may_not_be_read_is_not_moved(tmp_path: Path) -> None:
    top = tmp_path / "top"
    closed = within(f"{top}/d/box/**", effect="deny").model_copy(update={"effects": ["READ"]})
    ground = Ground(tmp_path, [within(f"{top}/**"), closed])
    ground.write("d/box/secret", SECRET)
    ground.write("d/open", "x")
    problem = await ground.refused("move", source="d", target="e")
    assert problem.slug == "denied"
    assert "box" not in problem.detail
    assert (await ground.call("move", source="d", target="e", dry_run=True)).problem is not None


async def test_a_link_on_the_way_does_not_make_it_readable(box: Ground) -> None:
    (box.top / "mine" / "link").symlink_to("../box")
    for source in ("mine/link/secret", "mine/link/deep"):
        problem = await box.refused("move", source=source, target="mine/stolen")
        assert problem.slug in ("denied", "not-found")
    problem = await box.refused("edit", path="mine/link/secret", old="needle", new="x")
    assert problem.slug in ("denied", "not-found")
    await box.do("move", source="mine/link", target="mine/other")  # the link itself is the caller's own


async def test_moving_into_what_may_not_be_read_is_no_disclosure(box: Ground) -> None:
    await box.undone("move", source="mine/own", target="box/given")


@pytest.mark.parametrize("old", ["the needle", "the noodle"])
async def test_an_edit_is_no_oracle_for_what_may_not_be_read(box: Ground, old: str) -> None:
    assert (await refused(box, "edit", path="box/secret", old=old, new="x")).slug == "denied"


@pytest.mark.parametrize("line", ["the needle", "the noodle"])
async def test_a_patch_is_no_oracle_for_what_may_not_be_read(box: Ground, line: str) -> None:
    text = f"--- a/box/secret\n+++ b/box/secret\n@@ -2 +2 @@\n-{line}\n+x\n"
    reads = within(f"{box.top}").model_copy(update={"id": "root", "effects": ["READ"]})
    box.world.policies.change([*box.kernel.hands.policies.of("default").grants, reads])
    problem = await refused(box, "patch", patch=text, root="")
    assert problem.slug == "denied"


async def test_what_a_change_kept_is_shown_only_to_who_may_read_it(box: Ground) -> None:
    written = await box.call("write", path="box/secret", content="mine now\n")
    assert b"needle" not in written.encode()
    plan = await box.call("undo.plan", ids=[written.invocation])
    shown = await box.call("undo.apply", ids=[written.invocation], dry_run=True)
    restored = await box.call("restore", path="box/secret", dry_run=True)
    for outcome in (plan, shown, restored):
        assert outcome.problem is None, outcome.problem
        assert b"needle" not in outcome.encode()
    before = look_at(box.top)
    undone = await box.call("undo.apply", ids=[written.invocation])
    assert undone.problem is None
    assert (box.top / "box" / "secret").read_text() == SECRET
    assert b"needle" not in undone.encode()
    assert look_at(box.top) != before


async def test_undo_does_not_name_what_lies_hidden_in_a_tree(tmp_path: Path) -> None:
    top = tmp_path / "top"
    closed = within(f"{top}/d/box/**", effect="deny").model_copy(update={"effects": ["READ"]})
    ground = Ground(tmp_path, [within(f"{top}/**"), closed])
    ground.write("d/box/needle", "x")
    ground.write("d/open", "x")
    gone = await ground.call("delete", path="d", recursive=True)
    plan = await ground.call("undo.plan", ids=[gone.invocation])
    assert b"needle" not in plan.encode()
    assert b"+/open" in plan.encode()
    assert (await ground.call("undo.apply", ids=[gone.invocation])).problem is None
    made = await ground.call("restore", path="d", dry_run=True)
    assert b"needle" not in made.encode()
    assert (ground.top / "d" / "box" / "needle").exists()


async def test_who_may_read_is_shown_what_undo_would_do(ground: Ground) -> None:
    ground.write("a", SECRET)
    written = await ground.call("write", path="a", content="x\n")
    plan = await ground.do("undo.plan", ids=[written.invocation])
    assert "+the needle" in plan["steps"][0]["diff"]


async def test_the_sum_of_what_may_not_be_read_is_not_told(box: Ground) -> None:
    problem = await box.refused("write", path="box/secret", content="x", expected_hash="0" * 64)
    assert problem.slug == "conflict"
    assert "SHA-256 is now" not in problem.detail


async def test_the_record_of_what_is_read_and_changed_says_that_it_was_changed(ground: Ground) -> None:
    ground.write("a", "old\n")
    text = "--- a/b\n+++ b/b\n@@ -1 +1 @@\n-new\n+newer\n"
    calls: list[tuple[str, dict[str, Any]]] = [
        ("edit", {"path": "a", "old": "old", "new": "new"}),
        ("move", {"source": "a", "target": "b"}),
        ("patch", {"patch": text, "root": ""}),
    ]
    for operation, input in calls:
        await ground.do(operation, **input)
        changed = "a" if operation in ("edit", "move") else "b"
        for record in ground.world.audit.records[-2:]:  # the intent and the outcome
            assert dict(record.resources)[f"path://local{ground.top}/{changed}"] == "CHANGE", (operation, record)

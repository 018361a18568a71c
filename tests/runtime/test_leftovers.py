"""What a crash leaves beside a target goes at the next start, and nothing else does."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Generator
from pathlib import Path

import pytest

from superagent.core.audit import AuditRecord
from superagent.core.ports import Kept
from superagent.core.resources import Effect
from superagent.plugins.files.engine import renames
from superagent.runtime.leftovers import OVER_S, SETTLED_S, Leftovers
from superagent.runtime.locks import Locks
from superagent.testing import MemoryUndo

ID = "01ARZ3NDEKTSV4RRFFQ69G5FAV"


@pytest.fixture
def locks(tmp_path: Path) -> Generator[Locks]:
    made = Locks(tmp_path / "locks")
    yield made
    made.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "folder").mkdir()
    return tmp_path / "folder"


def intent(path: Path) -> AuditRecord:
    return AuditRecord(kind="intent", at=0.0, tenant="default", invocation=ID, resources=((resource(path), "CHANGE"),))


def resource(path: Path) -> str:
    return f"path://local{path}"


def left(target: Path) -> Path:
    """Leave what a cut-off write of a target leaves."""
    made = target.with_name(renames.aside(target.name))
    made.write_text("half")
    return made


async def swept(locks: Locks, *unfinished: AuditRecord, undo: MemoryUndo | None = None, later_s: float = 1.0) -> int:
    """Sweep as a process does that started this much later."""
    now = time.time() + later_s
    return await Leftovers(unfinished, undo or MemoryUndo(), locks, now, lambda: now).sweep()


async def test_what_an_unfinished_write_left_beside_its_target_goes(folder: Path, locks: Locks) -> None:
    target = folder / "target"
    left(target)
    left(target)
    assert await swept(locks, intent(target)) == 2
    assert list(folder.iterdir()) == []


async def test_a_tree_goes_whole_and_so_does_what_an_undo_prepared(folder: Path, locks: Locks) -> None:
    target = folder / "target"
    tree = folder / renames.aside("target")
    (tree / "a" / "b").mkdir(parents=True)
    (tree / "a" / "b" / "file").write_text("x")
    (tree / "a" / "link").symlink_to(folder)
    digest = hashlib.sha256(b"target").hexdigest()[:12]
    (folder / f".superagent-undo-{digest}-{'0' * 16}").write_text("x")
    (folder / "other").write_text("stays")
    assert await swept(locks, intent(target)) == 2
    assert [one.name for one in folder.iterdir()] == ["other"]


async def test_what_belongs_to_another_target_or_only_looks_like_ours_stays(folder: Path, locks: Locks) -> None:
    target = folder / "target"
    other = left(folder / "other")
    digest = renames.aside("target")[:24]
    for name in (
        "mine.txt",
        ".superagent-x",
        f"{digest}-{'0' * 15}",
        f"{digest}-{'0' * 16}x",
        f"{digest}-{'0' * 16}\n",
    ):
        (folder / name).write_text("x")
    before = sorted(folder.iterdir())
    assert other in before
    assert await swept(locks, intent(target)) == 0
    assert sorted(folder.iterdir()) == before


async def test_the_real_path_is_taken_from_what_was_kept(folder: Path, locks: Locks) -> None:
    (folder.parent / "link").symlink_to("folder")
    (folder / "deep").mkdir()
    left(folder / "target")
    left(folder / "deep" / "target")
    asked, deeper = folder.parent / "link" / "target", folder.parent / "link" / "deep" / "target"
    assert await swept(locks, intent(asked), intent(deeper)) == 0  # where a link leads by now is not followed
    undo = MemoryUndo()
    real = resource(folder / "target")
    await undo.add(Kept(0, "default", ID, "files.write", 1, "owner", "", real, Effect.CHANGE, {}, 0.0, 9e9))
    assert await swept(locks, intent(asked), undo=undo) == 1


async def test_where_somebody_writes_at_this_moment_nothing_goes(folder: Path, locks: Locks, tmp_path: Path) -> None:
    target, others = folder / "target", Locks(tmp_path / "locks")
    left(target)
    async with others.hold("default", resource(target), 1.0):
        assert await swept(locks, intent(target)) == 0
    assert await swept(locks, intent(target)) == 1
    others.close()


async def test_what_was_begun_after_the_death_is_no_leftover_until_it_is_left_untouched(
    folder: Path, locks: Locks
) -> None:
    target = folder / "target"
    left(target)
    died = now = time.time() - 10
    leftovers = Leftovers([intent(target)], MemoryUndo(), locks, died, lambda: now)
    assert await leftovers.sweep() == 0
    now = time.time() + SETTLED_S + 1
    assert await leftovers.sweep() == 1


async def test_folders_that_are_gone_are_nothing_to_care_about(folder: Path, locks: Locks) -> None:
    elsewhere = AuditRecord(kind="intent", at=0.0, resources=(("sql://db/table", "CHANGE"), ("path://local/", "READ")))
    assert await swept(locks, intent(folder / "gone" / "target"), elsewhere) == 0


async def test_what_cannot_be_removed_is_tried_again_for_an_hour(
    folder: Path, locks: Locks, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = folder / "target"
    left(target)
    died = now = time.time() + 1
    leftovers = Leftovers([intent(target)], MemoryUndo(), locks, died, lambda: now)

    def refused(*_: object, **__: object) -> None:
        raise PermissionError

    with monkeypatch.context() as within:
        within.setattr(os, "unlink", refused)
        assert await leftovers.sweep() == 0
    assert await leftovers.sweep() == 1
    left(target)
    now += OVER_S + 1
    assert await leftovers.sweep() == 0

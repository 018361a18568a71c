"""What lies in a tenant's workspaces belongs to its user; nothing else is given away."""

from __future__ import annotations

import os
from pathlib import Path
from typing import cast

import pytest

from superagent.runtime.beneath import At
from superagent.runtime.protected import Protected
from superagent.runtime.sandbox.owners import Owners
from superagent.runtime.sandbox.users import TenantUsers
from tests.needs import missing

USER = 5001


@pytest.fixture
def owners(tmp_path: Path) -> Owners:
    if os.geteuid() != 0:
        missing("only root can give files away")
    (tmp_path / "workspaces" / "a" / "bot").mkdir(parents=True)
    return Owners(tmp_path / "workspaces", cast(TenantUsers, None))


@pytest.fixture
def bot(tmp_path: Path) -> Path:
    return tmp_path / "workspaces" / "a" / "bot"


def settle(owners: Owners, path: Path, tenant: str = "a") -> None:
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    with At(folder, path.name, str(path), str(path), os.lstat(path), Protected()) as at:
        owners.settle(tenant, at, USER)


def owner(path: Path) -> int:
    return os.lstat(path).st_uid


def test_a_tree_is_given_with_all_that_is_in_it(owners: Owners, bot: Path) -> None:
    (bot / "made" / "deep").mkdir(parents=True)
    (bot / "made" / "deep" / "file").write_text("x")
    os.symlink("/etc/passwd", bot / "made" / "link")

    settle(owners, bot / "made")

    assert {owner(path) for path in [bot / "made", *(bot / "made").rglob("*")]} == {USER}
    assert owner(Path("/etc/passwd")) == 0
    assert owner(bot) == 0


def test_what_belongs_to_somebody_else_stays_theirs(owners: Owners, bot: Path) -> None:
    (bot / "file").write_text("x")
    os.chown(bot / "file", 4321, 4321)

    settle(owners, bot / "file")

    assert owner(bot / "file") == 4321


def test_a_file_with_a_second_name_stays_roots(owners: Owners, bot: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("important")
    os.link(outside, bot / "innocent")

    settle(owners, bot / "innocent")

    assert owner(outside) == 0


def test_nothing_outside_of_the_tenants_workspaces_is_given(owners: Owners, bot: Path, tmp_path: Path) -> None:
    (tmp_path / "workspaces" / "ab" / "x").mkdir(parents=True)
    for place in (tmp_path / "workspaces" / "ab" / "x", tmp_path / "workspaces" / "a", tmp_path / "workspaces"):
        settle(owners, place)
        assert owner(place) == 0
    settle(owners, bot, tenant="b")
    assert owner(bot) == 0


def test_a_workspace_of_before_is_handed_over_once(owners: Owners, bot: Path) -> None:
    (bot / "old").write_text("x")

    owners.hand_over("a", str(bot), USER)
    assert (owner(bot), owner(bot / "old")) == (USER, USER)

    (bot / "new").write_text("x")
    owners.hand_over("a", str(bot), USER)
    assert owner(bot / "new") == 0  # its own change settles it


def test_a_folder_of_somebodys_own_choice_is_not_taken(owners: Owners, tmp_path: Path) -> None:
    project = tmp_path / "project"
    project.mkdir()

    owners.hand_over("a", str(project), USER)

    assert owner(project) == 0

"""Which program a launcher starts: only one that nobody else could have changed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from superagent_launcher.asked import Refused
from superagent_launcher.program import open_program
from tests.needs import program
from tests.ordinary_user import NOBODY, open_folder


def test_the_installed_one_is_opened_also_behind_a_link() -> None:
    path = program("bwrap", "bubblewrap")

    descriptor = open_program(os.path.normpath(path))

    assert os.fstat(descriptor).st_ino == os.stat(path).st_ino
    os.close(descriptor)


@pytest.fixture
def own(tmp_path: Path) -> Path:
    made = tmp_path / "bwrap"
    made.write_bytes(b"\x7fELF")
    made.chmod(0o755)
    return made


def test_one_of_our_own_in_a_closed_folder_is_opened(own: Path) -> None:
    os.close(open_program(str(own)))


@pytest.mark.parametrize("mode", [0o775, 0o757, 0o644, 0o4755, 0o2755])
def test_one_that_others_can_change_or_that_has_rights_of_its_own_is_refused(own: Path, mode: int) -> None:
    own.chmod(mode)

    with pytest.raises(Refused):
        open_program(str(own))


def test_one_in_a_folder_that_others_can_change_is_refused(own: Path) -> None:
    own.parent.chmod(0o777)

    with pytest.raises(Refused, match="changed by others"):
        open_program(str(own))


def test_one_of_another_user_is_refused() -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give a file away")
    with open_folder() as folder:
        folder.chmod(0o755)
        made = folder / "bwrap"
        made.write_bytes(b"\x7fELF")
        made.chmod(0o755)
        os.chown(made, NOBODY, NOBODY)

        with pytest.raises(Refused, match=f"belongs to user {NOBODY}"):
            open_program(str(made))


@pytest.mark.parametrize("path", ["bwrap", "", "./bwrap", "/usr/bin/../bin/bwrap", "/usr//bin/bwrap", "/nosuch"])
def test_a_path_that_is_not_plain_or_leads_nowhere_is_refused(path: str) -> None:
    with pytest.raises(Refused):
        open_program(path)


def test_a_folder_is_refused() -> None:
    with pytest.raises(Refused):
        open_program("/usr/bin")

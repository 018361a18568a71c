"""Keys make themselves once, stay private, and open only what was sealed for the same purpose and place."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from superagent.core.problems import Denied, Unavailable
from superagent.runtime.key_files import create_or_read, private_folder
from superagent.runtime.keys import FileKeys
from superagent.runtime.signed_notes import signed_by
from tests.ordinary_user import open_folder, ordinary_user
from tests.promise import ROOT


@pytest.fixture
def keys(tmp_path: Path) -> FileKeys:
    return FileKeys(tmp_path / "keys")


def test_what_was_sealed_opens_in_the_next_process_too(tmp_path: Path) -> None:
    sealed = FileKeys(tmp_path / "keys").seal("tickets", b"place", b"secret")
    assert b"secret" not in sealed
    assert FileKeys(tmp_path / "keys").open("tickets", b"place", sealed) == b"secret"


def test_the_folder_and_its_files_are_for_their_user_alone(tmp_path: Path) -> None:
    keys = FileKeys(tmp_path / "keys")
    keys.sign("tickets", b"x")
    keys.personal.seal("default", "user:a", "10.0.0.1")
    for path in [tmp_path / "keys", *(tmp_path / "keys").rglob("*")]:
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


def test_no_key_but_the_master_key_lies_there_unwrapped(tmp_path: Path) -> None:
    keys = FileKeys(tmp_path / "keys")
    keys.seal("tickets", b"", b"x")
    wrapped = (tmp_path / "keys" / "tickets.1.key").read_bytes()
    assert len(wrapped) == 12 + 32 + 16
    # another master key cannot unwrap it
    (tmp_path / "keys" / "master.key").write_bytes(bytes(32))
    with pytest.raises(Unavailable, match="master key"):
        FileKeys(tmp_path / "keys").seal("tickets", b"", b"x")


@settings(max_examples=50)
@given(st.binary(max_size=60), st.data())
def test_a_sealed_value_that_was_changed_anywhere_does_not_open(plain: bytes, data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        keys = FileKeys(Path(folder) / "keys")
        sealed = bytearray(keys.seal("tickets", b"aad", plain))
        at = data.draw(st.integers(0, len(sealed) - 1))
        sealed[at] ^= data.draw(st.integers(1, 255))
        with pytest.raises(Denied):
            keys.open("tickets", b"aad", bytes(sealed))


@pytest.mark.parametrize(
    "sealed", [b"", b"\x01", b"\x01\0\0\0\x01", b"\x01\0\0\0\x01" + bytes(12), b"\x02" + bytes(40)]
)
def test_what_is_no_sealed_value_at_all_does_not_open(keys: FileKeys, sealed: bytes) -> None:
    with pytest.raises(Denied):
        keys.open("tickets", b"", sealed)


def test_a_value_sealed_for_one_place_or_purpose_does_not_open_in_another(keys: FileKeys) -> None:
    sealed = keys.seal("tickets", b"row 1", b"x")
    with pytest.raises(Denied):
        keys.open("tickets", b"row 2", sealed)
    with pytest.raises(Denied):
        keys.open("personal-detail", b"row 1", sealed)


def test_after_a_rotation_new_values_have_a_new_key_and_old_ones_still_open(tmp_path: Path) -> None:
    keys = FileKeys(tmp_path / "keys")
    old, tag = keys.seal("tickets", b"", b"old"), keys.sign("tickets", b"old")
    assert keys.rotate("tickets") == 2
    new = keys.seal("tickets", b"", b"new")
    assert (old[4], new[4]) == (1, 2)
    for one in (keys, FileKeys(tmp_path / "keys")):
        assert one.open("tickets", b"", old) == b"old"
        assert one.open("tickets", b"", new) == b"new"
        assert one.check("tickets", b"old", tag)
        assert one.seal("tickets", b"", b"")[4] == 2


def test_a_process_that_does_not_know_of_a_rotation_opens_what_was_sealed_after_it(tmp_path: Path) -> None:
    one, other = FileKeys(tmp_path / "keys"), FileKeys(tmp_path / "keys")
    other.seal("tickets", b"", b"")
    one.rotate("tickets")
    assert other.open("tickets", b"", one.seal("tickets", b"", b"new")) == b"new"


def test_a_tag_holds_for_its_purpose_and_data_only(keys: FileKeys) -> None:
    tag = keys.sign("tickets", b"data")
    assert keys.check("tickets", b"data", tag)
    assert not keys.check("tickets", b"other", tag)
    assert not keys.check("cursors", b"data", tag)
    assert not keys.check("tickets", b"data", tag[:-1] + bytes([tag[-1] ^ 1]))
    assert not keys.check("tickets", b"data", b"\x01\0\0\0\x09" + tag[5:])
    assert not keys.check("tickets", b"data", b"")


@pytest.mark.parametrize("purpose", ["", "../x", "Tickets", "a.b", "x" * 41])
def test_a_purpose_that_could_leave_the_folder_is_refused(keys: FileKeys, purpose: str) -> None:
    with pytest.raises(ValueError, match="purpose"):
        keys.sign(purpose, b"")


def test_notes_signed_before_a_rotation_are_vouched_for_after_it(tmp_path: Path) -> None:
    keys = FileKeys(tmp_path / "keys")
    before = keys.signer("example.org/audit").sign("text\n")
    keys.rotate_signing()
    after = keys.signer("example.org/audit").sign("text\n")
    verifiers = FileKeys(tmp_path / "keys").verifiers("example.org/audit")
    assert len(verifiers) == 2
    assert signed_by(before, verifiers)
    assert signed_by(after, verifiers)
    assert not signed_by(after, verifiers[:1])


# --- others on the machine ---------------------------------------------------------------------------------------


def test_a_folder_that_others_may_enter_is_refused(tmp_path: Path) -> None:
    (tmp_path / "keys").mkdir(mode=0o750)
    with pytest.raises(Unavailable, match="open to others"):
        FileKeys(tmp_path / "keys")


def test_a_key_that_others_may_read_is_refused(tmp_path: Path) -> None:
    FileKeys(tmp_path / "keys")
    (tmp_path / "keys" / "master.key").chmod(0o640)
    with pytest.raises(Unavailable, match="open to others"):
        FileKeys(tmp_path / "keys")


def link(path: Path) -> None:
    path.symlink_to("/dev/zero")


def folder(path: Path) -> None:
    path.mkdir(mode=0o700)


def pipe(path: Path) -> None:
    os.mkfifo(path, 0o600)


@pytest.mark.parametrize("put", [link, folder, pipe])
def test_a_link_folder_or_pipe_in_the_place_of_a_key_is_refused(tmp_path: Path, put: Callable[[Path], None]) -> None:
    put(private_folder(tmp_path / "keys") / "master.key")
    with pytest.raises(Unavailable):
        FileKeys(tmp_path / "keys")


def test_a_folder_of_another_user_is_refused() -> None:
    with open_folder() as folder:
        keys = private_folder(folder / "keys")
        keys.chmod(0o700)
        with ordinary_user(), pytest.raises(Unavailable):
            private_folder(keys)


def test_who_is_late_in_making_a_key_takes_the_one_that_is_there(tmp_path: Path) -> None:
    path = tmp_path / "some.key"

    def late() -> bytes:
        assert create_or_read(path, lambda: b"first") == b"first"
        return b"second"

    assert create_or_read(path, late) == b"first"
    assert [one.name for one in tmp_path.iterdir()] == ["some.key"]


def test_a_key_that_nobody_may_make_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        create_or_read(tmp_path / "none.key", None)


def test_processes_that_start_at_once_end_up_with_the_same_keys(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from superagent.runtime.keys import FileKeys; sys.stdin.read(1); "
        "keys = FileKeys(Path(sys.argv[1])); print(keys.sign('tickets', b'x').hex(), *keys.verifiers('a'))"
    )
    several = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(tmp_path / "keys")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={"PYTHONPATH": str(ROOT / "src")},
        )
        for _ in range(4)
    ]
    said = {one.communicate(b"x", timeout=60)[0] for one in several}
    assert len(said) == 1
    assert len(said.pop()) > 70

"""Checkpoints of several processes make one chain of notes, whatever one of them leaves unfinished."""

from __future__ import annotations

import base64
import errno
import hashlib
import os
import shutil
import tempfile
import threading
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from superagent.runtime.checkpoints import (
    Checkpoints,
    Head,
    anchor_file,
    note_files,
    note_hash,
    parse_checkpoint,
    read_notes,
    root_of,
)
from superagent.runtime.signed_notes import Signer
from tests.runtime.small_disks import files_no_longer_than

SIGNER = Signer("example.org/log", Ed25519PrivateKey.from_private_bytes(bytes(range(32))))


def head(chain: str, size: int) -> Head:
    return Head(chain, size, hashlib.sha256(f"{chain}{size}".encode()).digest(), size + 1)


def notes(directory: Path) -> list[str]:
    return [note for path in note_files(directory) for _, note in read_notes(path)]


def test_each_note_names_the_one_before_and_counts_all_chains(tmp_path: Path) -> None:
    one, other = (Checkpoints(tmp_path / "c", SIGNER) for _ in range(2))
    one.write([head("a", 5)], 1.0)
    other.write([head("b", 7)], 2.0)
    one.write([head("a", 9)], 3.0)
    first, second, third = notes(tmp_path / "c")
    said = [parse_checkpoint(note) for note in (first, second, third)]
    assert [one.number for one in said] == [1, 2, 3]
    assert [one.size for one in said] == [5, 12, 16]
    assert [one.prev for one in said] == [bytes(32), note_hash(first), note_hash(second)]
    assert [one.root for one in said] == [
        root_of([head("a", 5)]),
        *(root_of([head("b", 7), head("a", n)]) for n in (5, 9)),
    ]
    assert said[2].heads == (head("a", 9),)
    assert one.heads() == other.heads() == {"a": head("a", 9), "b": head("b", 7)}


def test_a_new_file_begins_with_all_chains_so_that_a_start_reads_one_file(tmp_path: Path) -> None:
    log = Checkpoints(tmp_path / "c", SIGNER, file_bytes=700)
    for size in range(1, 8):
        log.write([head(f"chain{size}", size)], 1.0)
    files = note_files(tmp_path / "c")
    assert [path.name for path in files] == ["000000000001.notes", "000000000004.notes", "000000000006.notes"]
    newest = parse_checkpoint(next(note for _, note in read_notes(files[-1])))
    assert len(newest.heads) == 6
    assert len(Checkpoints(tmp_path / "c", SIGNER).heads()) == 7
    prevs = [parse_checkpoint(note).prev for note in notes(tmp_path / "c")]
    assert prevs[1:] == [note_hash(note) for note in notes(tmp_path / "c")[:-1]]


def test_writers_in_several_threads_do_not_lose_a_number(tmp_path: Path) -> None:
    def write(chain: str) -> None:
        own = Checkpoints(tmp_path / "c", SIGNER)
        for size in range(1, 21):
            own.write([head(chain, size)], 1.0)

    threads = [threading.Thread(target=write, args=(chain,)) for chain in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    said = [parse_checkpoint(note) for note in notes(tmp_path / "c")]
    assert [one.number for one in said] == list(range(1, 81))
    assert [one.prev for one in said][1:] == [note_hash(note) for note in notes(tmp_path / "c")[:-1]]


@given(st.integers(1, 400))
def test_a_note_that_a_dead_process_left_unfinished_is_cut_off(cut: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder) / "c"
        Checkpoints(directory, SIGNER).write([head("a", 1)], 1.0)
        (path,) = note_files(directory)
        whole = path.read_bytes()
        Checkpoints(directory, SIGNER).write([head("a", 2)], 1.0)
        both = path.read_bytes()
        path.write_bytes(both[: len(whole) + min(cut, len(both) - len(whole) - 1)])
        Checkpoints(directory, SIGNER).write([head("a", 3)], 1.0)
        assert [parse_checkpoint(note).number for note in notes(directory)] == [1, 2]
        assert [parse_checkpoint(note).heads[0].size for note in notes(directory)] == [1, 3]


def test_what_a_process_knows_it_does_not_unlearn_when_notes_are_taken_away(tmp_path: Path) -> None:
    log = Checkpoints(tmp_path / "c", SIGNER, file_bytes=600)
    for size in range(1, 5):
        log.write([head("a", size)], 1.0)
    note_files(tmp_path / "c")[-1].unlink()
    log.write([head("a", 9)], 1.0)
    numbers = [parse_checkpoint(note).number for note in notes(tmp_path / "c")]
    assert numbers[-1] == 5
    assert numbers != [1, 2, 3, 4, 5]


def test_a_note_that_is_none_is_passed_over_by_writers_and_left_to_the_check(tmp_path: Path) -> None:
    Checkpoints(tmp_path / "c", SIGNER).write([head("a", 1)], 1.0)
    (path,) = note_files(tmp_path / "c")
    begin = "a\n1\nAA==\nnumber 9\nprev AA==\nat 1\n"
    for junk in ["junk\n", "a\n1\nAA==\nx 1\ny 2\nz 3\n", f"{begin}no 1\n", f"{begin}link x 1 AA== 1 1\n"]:
        path.write_bytes(path.read_bytes() + f"{junk}\n-\n\n".encode())
    Checkpoints(tmp_path / "c", SIGNER).write([head("a", 2)], 1.0)
    assert parse_checkpoint(notes(tmp_path / "c")[-1]).number == 2


def test_a_disk_that_takes_only_a_part_gets_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = Checkpoints(tmp_path / "c", SIGNER)
    log.write([head("a", 1)], 1.0)
    (path,) = note_files(tmp_path / "c")
    before = path.read_bytes()

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fdatasync", full)
    with pytest.raises(OSError, match="No space"):
        log.write([head("a", 2)], 1.0, durable=True)
    assert path.read_bytes() == before
    monkeypatch.undo()
    log.write([head("a", 3)], 1.0, durable=True)
    assert [parse_checkpoint(note).number for note in notes(tmp_path / "c")] == [1, 2]


def test_a_note_that_was_written_in_part_is_taken_back(tmp_path: Path) -> None:
    log = Checkpoints(tmp_path / "c", SIGNER)
    log.write([head("a", 1)], 1.0)
    (path,) = note_files(tmp_path / "c")
    before = path.read_bytes()
    with files_no_longer_than(len(before) + 50), pytest.raises(OSError, match="only a part"):
        log.write([head("a", 2)], 1.0)
    assert path.read_bytes() == before


def test_an_old_note_put_in_again_does_not_take_a_writer_back(tmp_path: Path) -> None:
    log = Checkpoints(tmp_path / "c", SIGNER)
    for size in (1, 2):
        log.write([head("a", size)], 1.0)
    (path,) = note_files(tmp_path / "c")
    path.write_bytes(path.read_bytes() + f"{notes(tmp_path / 'c')[0]}\n".encode())
    log.write([head("a", 3)], 1.0)
    assert [parse_checkpoint(note).number for note in notes(tmp_path / "c")] == [1, 2, 1, 3]


def anchored(folder: Path) -> Checkpoints:
    return Checkpoints(folder / "c", SIGNER, anchor_file(folder / "anchor", folder / "c"))


def test_the_anchor_file_always_holds_one_whole_note(tmp_path: Path) -> None:
    log = anchored(tmp_path)
    for size in range(1, 4):
        log.write([head("a", size)], 1.0)
        assert (tmp_path / "anchor").read_text() == notes(tmp_path / "c")[-1]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["anchor", "c"]


def test_an_older_backup_does_not_cover_what_the_anchor_has_seen(tmp_path: Path) -> None:
    log, backup = anchored(tmp_path), tmp_path / "backup"
    log.write([head("a", 1)], 1.0)
    shutil.copytree(tmp_path / "c", backup)
    for size in (2, 3):
        log.write([head("a", size)], 1.0)
    seen = (tmp_path / "anchor").read_text()
    shutil.rmtree(tmp_path / "c")
    shutil.copytree(backup, tmp_path / "c")

    restored = anchored(tmp_path)
    for size in range(2, 6):  # fewer than the anchor has seen, as many, and more
        restored.write([head("a", size + 10)], 2.0)
        assert (tmp_path / "anchor").read_text() == seen
        assert "saw checkpoint 3" in restored.anchor_error
    (tmp_path / "anchor").rename(tmp_path / "seen")
    restored.write([head("a", 20)], 3.0)
    assert (restored.anchor_error, (tmp_path / "anchor").read_text()) == ("", notes(tmp_path / "c")[-1])


def test_the_anchor_goes_on_after_it_was_out_of_reach_and_beside_other_processes(tmp_path: Path) -> None:
    one, other, away = anchored(tmp_path), anchored(tmp_path), Checkpoints(tmp_path / "c", SIGNER)
    one.write([head("a", 1)], 1.0)
    away.write([head("b", 1)], 1.0)
    away.write([head("b", 2)], 1.0)
    other.write([head("c", 1)], 1.0)
    assert (other.anchor_error, (tmp_path / "anchor").read_text()) == ("", notes(tmp_path / "c")[-1])
    newest = (tmp_path / "anchor").read_text()
    anchor_file(tmp_path / "anchor", tmp_path / "c")(notes(tmp_path / "c")[0])  # of a process that was slower
    assert (tmp_path / "anchor").read_text() == newest


def test_what_is_no_checkpoint_is_not_replaced_by_one(tmp_path: Path) -> None:
    (tmp_path / "anchor").write_bytes(b"somebody's notes\xff\n")
    log = anchored(tmp_path)
    log.write([head("a", 1)], 1.0)
    assert "no checkpoint" in log.anchor_error
    assert (tmp_path / "anchor").read_bytes() == b"somebody's notes\xff\n"
    (tmp_path / "anchor").write_bytes(b"")
    log.write([head("a", 2)], 1.0)
    assert log.anchor_error == ""


def _tree(leaves: list[bytes]) -> bytes:
    """Give the Merkle tree hash just as RFC 6962 section 2.1 defines it, by recursion."""
    if not leaves:
        return hashlib.sha256().digest()
    if len(leaves) == 1:
        return hashlib.sha256(b"\0" + leaves[0]).digest()
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return hashlib.sha256(b"\1" + _tree(leaves[:split]) + _tree(leaves[split:])).digest()


@given(st.integers(0, 70))
def test_the_root_is_that_of_the_rfc(count: int) -> None:
    heads = [head(f"chain{number:03d}", number) for number in range(count)]
    leaves = [f"{one.chain} {one.size} {base64.b64encode(one.hash).decode()}".encode() for one in heads]
    assert root_of(reversed(heads)) == _tree(leaves)

"""Every tampering with a finished audit log is found, and located."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from superagent.core.audit import Chain, encode, hash_of, parse
from superagent.runtime import audit_check
from superagent.runtime.audit_check import MOST, Fault, Report, verify
from superagent.runtime.checkpoints import Checkpoint, parse_checkpoint
from superagent.runtime.keys import FileKeys
from superagent_verifier.keys import Keys
from superagent_verifier.verify import verify as by_a_stranger
from tests.promise import promise
from tests.runtime.audit_book import ORIGIN, Book, a_log, check, record, write_book

Files = dict[str, bytes]
A, B = "n-w-01A", "n-w-01B"


@cache
def book() -> Book:
    with tempfile.TemporaryDirectory() as folder:
        return write_book(Path(folder) / "audit")


@contextmanager
def tampered(change: Callable[[Files], None], anchor: str | None = None) -> Generator[Report]:
    with tempfile.TemporaryDirectory() as folder:
        book().lay_out(Path(folder), change)
        yield verify(Path(folder), book().verifiers, anchor)


def found(change: Callable[[Files], None], anchor: str | None = None) -> Report:
    with tampered(change, anchor) as report:
        return report


def lines_of(chain: str, files: Files | None = None) -> list[tuple[str, int, bytes]]:
    """Give every line of a chain with its segment and its place in it."""
    own = files or book().files
    return [
        (name, index, line) for name in book().segments(chain) for index, line in enumerate(own[name].splitlines(True))
    ]


LINES = len(lines_of(A))
everyday = settings(max_examples=30)
any_line = st.integers(1, LINES)


def edit(files: Files, seq: int, new: Callable[[bytes], bytes]) -> None:
    name, index, _ = lines_of(A)[seq - 1]
    lines = files[name].splitlines(True)
    lines[index] = new(lines[index])
    files[name] = b"".join(lines)


def first(report: Report) -> Fault:
    assert not report.ok
    assert report.faults
    return report.faults[0]


def test_an_untouched_log_is_clean_and_counted() -> None:
    report = found(lambda files: None)
    assert report.ok
    assert (report.records, report.chains, report.faults, report.waiting) == (160, 2, (), ())
    assert report.checkpoints == len(book().anchors)


def test_a_copy_of_the_log_without_its_lock_files_is_checked_as_well() -> None:
    assert found(lambda files: drop(files, "starting.lock")).ok


def test_what_every_anchor_saw_is_found_in_an_untouched_log() -> None:
    assert all(found(lambda files: None, note).ok for note in book().anchors)


@everyday
@given(any_line, st.data())
@promise("1.4")
def test_a_changed_character_is_found_at_its_line(seq: int, data: st.DataObject) -> None:
    line = lines_of(A)[seq - 1][2]
    # the last byte is the line feed: without it two lines become one, which is another tampering
    at = data.draw(st.integers(0, len(line) - 2))
    byte = data.draw(st.sampled_from(b'0123456789abcxyz{},"\t\x00\xff').filter(lambda one: one != line[at]))
    report = found(lambda files: edit(files, seq, lambda old: old[:at] + bytes([byte]) + old[at + 1 :]))
    assert any(fault.chain == A and fault.seq == seq for fault in report.faults), report.faults


@everyday
@given(any_line)
def test_a_line_changed_with_its_own_hash_made_to_fit_is_found_at_the_next(seq: int) -> None:
    def forge(line: bytes) -> bytes:
        text = line[:-66].replace(b'"at":18', b'"at":17')
        before = bytes.fromhex(lines_of(A)[seq - 2][2][-65:-1].decode()) if seq > 1 else bytes(32)
        return text + b"\t" + hash_of(before, text).hex().encode() + b"\n"

    fault = first(found(lambda files: edit(files, seq, forge)))
    assert (fault.chain, fault.kind) in {(A, "changed"), (A, "rewritten")}
    assert fault.seq <= seq + 1


@everyday
@given(any_line)
@promise("1.4")
def test_a_removed_line_is_found_where_it_stood(seq: int) -> None:
    faults = found(lambda files: edit(files, seq, lambda _: b"")).faults
    kind = "truncated" if seq == LINES else "removed"
    assert any((fault.kind, fault.chain, fault.seq) == (kind, A, seq) for fault in faults), faults


@everyday
@given(any_line, any_line)
def test_a_line_copied_elsewhere_is_found_there(of: int, to: int) -> None:
    copy = lines_of(A)[of - 1][2]
    faults = found(lambda files: edit(files, to, lambda old: old + copy)).faults
    assert faults
    assert all(fault.chain == A for fault in faults)
    assert min(abs(fault.seq - near) for fault in faults for near in (of, to, to + 1)) == 0


@everyday
@given(st.integers(1, LINES - 1))
def test_two_lines_that_changed_places_are_both_found(seq: int) -> None:
    (_, _, one), (_, _, two) = lines_of(A)[seq - 1 : seq + 1]

    def swap(files: Files) -> None:
        edit(files, seq, lambda _: two)
        edit(files, seq + 1, lambda _: one)

    faults = found(swap).faults
    assert {fault.seq for fault in faults if fault.chain == A} >= {seq}


@everyday
@given(any_line)
def test_a_chain_cut_at_any_line_is_found_as_truncated(seq: int) -> None:
    def cut(files: Files) -> None:
        for later in range(LINES, seq - 1, -1):
            edit_last(files, later)

    def edit_last(files: Files, later: int) -> None:
        name, index, _ = lines_of(A)[later - 1]
        files[name] = b"".join(files[name].splitlines(True)[:index])

    faults = found(cut).faults
    assert any(fault.kind == "truncated" and fault.chain == A and fault.seq == seq for fault in faults)


@everyday
@given(st.integers(2, LINES))
def test_a_chain_rewritten_with_fitting_hashes_is_found_between_two_checkpoints(start: int) -> None:
    def rewrite(files: Files) -> None:
        head = bytes.fromhex(lines_of(A)[start - 2][2][-65:-1].decode())
        for seq in range(start, LINES + 1):
            text = lines_of(A)[seq - 1][2][:-66].replace(b"agent:coder", b"agent:other")
            if b'"kind":"segment"' in text:
                prev = text.index(b'"prev":"') + 8
                text = text[:prev] + head.hex().encode() + text[prev + 64 :]
            head = hash_of(head, text)
            line = text + b"\t" + head.hex().encode() + b"\n"
            edit(files, seq, lambda _, line=line: line)

    fault = first(found(rewrite))
    signed = [1, *(head.size for note in book().anchors for head in parse_checkpoint(note).heads if head.chain == A)]
    bound = max(size for size in signed if size < start)
    assert (fault.kind, fault.chain) == ("rewritten", A)
    assert bound < fault.seq <= start


@pytest.mark.parametrize("index", range(len(book().segments(A))))
def test_a_missing_segment_is_found(index: int) -> None:
    names = book().segments(A)
    fault = first(found(lambda files: drop(files, names[index])))
    assert fault.chain == A
    assert fault.kind == ("truncated" if index == len(names) - 1 else "removed")
    assert fault.seq == int(Path(names[index]).stem)


def test_a_missing_chain_is_found() -> None:
    fault = first(found(lambda files: drop(files, A)))
    assert (fault.kind, fault.chain, fault.seq) == ("chain-missing", A, 1)


def test_two_chains_that_changed_places_are_both_found() -> None:
    def swap(files: Files) -> None:
        kept = {name: data for name, data in files.items() if name.startswith((A, B))}
        files.update({name.replace(A, "x").replace(B, A).replace("x", B): data for name, data in kept.items()})

    faults = found(swap).faults
    assert {fault.chain for fault in faults if fault.kind == "foreign"} == {A, B}


def test_two_segments_that_changed_names_are_found() -> None:
    one, two, *_ = book().segments(A)

    def swap(files: Files) -> None:
        files[one], files[two] = files[two], files[one]

    assert {fault.segment for fault in found(swap).faults if fault.kind == "foreign"} == {
        Path(one).name,
        Path(two).name,
    }


def test_a_chain_that_was_slipped_in_is_found() -> None:
    def slip(files: Files) -> None:
        chain = Chain()
        files["n-w-01C/00000000000000000001.seg"] = b"".join(chain.append(encode(record(n))) for n in range(5))

    kinds = {fault.kind for fault in found(slip).faults if fault.chain == "n-w-01C"}
    assert kinds == {"foreign", "unsigned"}


def test_a_chain_slipped_in_as_if_its_process_had_crashed_is_found() -> None:
    def slip(files: Files) -> None:
        chain = Chain()
        files["n-w-01C/00000000000000000001.seg"] = b"".join(chain.append(encode(record(n))) for n in range(5))
        files["n-w-01C/lock"] = b""

    assert "unsigned" in {fault.kind for fault in found(slip).faults if fault.chain == "n-w-01C"}


def test_lines_added_behind_the_signed_end_of_a_finished_chain_are_found() -> None:
    def add(files: Files) -> None:
        head = bytes.fromhex(lines_of(A)[-1][2][-65:-1].decode())
        files[book().segments(A)[-1]] += Chain(LINES, head).append(encode(record(99)))

    fault = first(found(add))
    assert (fault.kind, fault.chain, fault.seq) == ("unsigned", A, LINES + 1)


def test_a_segment_with_a_name_that_is_no_number_is_found() -> None:
    kinds = {fault.kind for fault in found(lambda files: files.update({f"{A}/x.seg": b"junk\n"})).faults}
    assert "changed" in kinds


def test_a_segment_whose_header_was_made_a_record_is_found() -> None:
    def exchange(files: Files) -> None:
        text = encode(record(0)).replace(b'{"kind"', b'{"seq":1,"kind"')
        edit(files, 1, lambda _: text + b"\t" + hash_of(bytes(32), text).hex().encode() + b"\n")

    assert "foreign" in {fault.kind for fault in found(exchange).faults}


def test_a_flood_of_faults_is_counted_and_the_first_thousand_are_told() -> None:
    report = found(lambda files: files.update({f"{A}/00000000000000000999.seg": b"?\n" * (MOST + 50)}))
    assert len(report.faults) == MOST
    assert report.fault_count >= MOST + 50


@pytest.mark.parametrize(
    "text", [b'{"seq":1,"kind":"\xff"}', b"[" * 60_000, b'{"seq":2,"kind":1}', b'{"seq":"1","kind":"a"}']
)
def test_a_line_made_to_break_the_reader_is_found_and_breaks_nothing(text: bytes) -> None:
    for seq in (1, 5):
        faults = found(lambda files: edit(files, seq, lambda line: text + line[-66:])).faults  # noqa: B023
        assert any((fault.kind, fault.seq) == ("changed", seq) for fault in faults)


@everyday
@given(st.data())
def test_no_garbage_anywhere_goes_unseen_or_breaks_the_check(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(name for name, content in book().files.items() if content)))
    content = book().files[name]
    start = data.draw(st.integers(0, len(content) - 1))
    garbage = data.draw(st.binary(min_size=1, max_size=200))
    spoilt = content[:start] + garbage + content[start + data.draw(st.integers(0, 300)) :]
    # behind the last whole note may stand what a process that died left unfinished
    harmless = spoilt == content or (name == NOTES and spoilt.startswith(content))
    with tempfile.TemporaryDirectory() as folder:
        book().lay_out(Path(folder), lambda files: files.update({name: spoilt}))
        assert verify(Path(folder), book().verifiers).ok == harmless
        assert by_a_stranger(Path(folder), Keys(book().verifiers)).ok == harmless


@pytest.mark.parametrize("anchor", [None, *book().anchors])
def test_a_verifier_written_from_the_documentation_alone_agrees(anchor: str | None) -> None:
    with tempfile.TemporaryDirectory() as folder:
        book().lay_out(Path(folder), lambda files: None)
        keys = Keys(book().verifiers)
        assert by_a_stranger(Path(folder), keys, anchor.encode() if anchor else None).ok
        assert not by_a_stranger(Path(folder), keys, b"another").ok


# --- checkpoints -------------------------------------------------------------------------------------------------

NOTES = "checkpoints/000000000001.notes"


def notes(files: Files) -> list[bytes]:
    parts = files[NOTES].split(b"\n\n")[:-1]
    return [b"\n\n".join(pair) + b"\n\n" for pair in zip(parts[::2], parts[1::2], strict=True)]


any_note = st.integers(0, len(book().anchors) - 1)


@everyday
@given(any_note, st.data())
def test_a_changed_checkpoint_is_found_at_its_number(index: int, data: st.DataObject) -> None:
    note = notes(book().files)[index]
    at = data.draw(st.integers(0, len(note) - 3).filter(lambda one: note[one : one + 1] != b"\n"))
    byte = data.draw(st.sampled_from(b"0123456789AZaz+ ").filter(lambda one: one != note[at]))

    def change(files: Files) -> None:
        all_notes = notes(files)
        all_notes[index] = note[:at] + bytes([byte]) + note[at + 1 :]
        files[NOTES] = b"".join(all_notes)

    faults = [fault for fault in found(change).faults if not fault.chain]
    assert faults[0].kind in {"checkpoint-forged", "checkpoint-changed", "checkpoint-removed"}
    assert any(abs(fault.seq - (index + 1)) <= 1 for fault in faults), faults


@everyday
@given(st.integers(0, len(book().anchors) - 2))
def test_a_removed_checkpoint_is_found(index: int) -> None:
    def remove(files: Files) -> None:
        all_notes = notes(files)
        del all_notes[index]
        files[NOTES] = b"".join(all_notes)

    assert any(fault.kind == "checkpoint-removed" and fault.seq == index + 1 for fault in found(remove).faults)


def test_checkpoints_that_were_removed_all_leave_their_chains_unsigned() -> None:
    kinds = {(fault.kind, fault.chain) for fault in found(lambda files: drop(files, "checkpoints/0")).faults}
    assert kinds == {("unsigned", A), ("unsigned", B)}


def test_a_checkpoint_signed_with_a_strangers_key_is_found(tmp_path: Path) -> None:
    stranger = FileKeys(tmp_path / "keys").signer(ORIGIN)

    def forge(files: Files) -> None:
        all_notes = notes(files)
        text = all_notes[-1].decode().partition("\n\n")[0] + "\n"
        all_notes[-1] = stranger.sign(text).encode() + b"\n"
        files[NOTES] = b"".join(all_notes)

    assert first(found(forge)).kind == "checkpoint-forged"


def last_note_says(change: Callable[[Checkpoint], Checkpoint]) -> Callable[[Files], None]:
    """Give a tampering by somebody who has the key: the last checkpoint, changed and signed again."""

    def forge(files: Files) -> None:
        all_notes = notes(files)
        said = change(parse_checkpoint(all_notes[-1].decode()))
        all_notes[-1] = book().signer.sign(said.text()).encode() + b"\n"
        files[NOTES] = b"".join(all_notes)

    return forge


def with_another_prev(said: Checkpoint) -> Checkpoint:
    return replace(said, prev=bytes(32))


def with_another_root(said: Checkpoint) -> Checkpoint:
    return replace(said, root=bytes(32))


def with_another_size(said: Checkpoint) -> Checkpoint:
    return replace(said, size=said.size + 1)


def with_fewer_lines(said: Checkpoint) -> Checkpoint:
    return replace(said, heads=(replace(said.heads[0], size=3),))


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (with_another_prev, "does not name the note"),
        (with_another_root, "its root"),
        (with_another_size, "its root"),
        (with_fewer_lines, "takes lines back"),
    ],
)
def test_a_checkpoint_that_contradicts_those_before_it_is_found_even_if_it_is_signed(
    change: Callable[[Checkpoint], Checkpoint], what: str
) -> None:
    fault = first(found(last_note_says(change)))
    assert (fault.kind, fault.seq) == ("checkpoint-changed", len(book().anchors))
    assert what in fault.what


def test_lines_and_the_checkpoints_about_them_cut_off_together_are_found_by_an_anchor_only() -> None:
    def cut(files: Files) -> None:
        all_notes = notes(files)
        files[NOTES] = b"".join(all_notes[:6])
        (kept,) = (head for head in parse_checkpoint(all_notes[5].decode()).heads)
        drop(files, B if kept.chain == A else "none")
        signed = lines_of(kept.chain)[: kept.size]
        for name in book().segments(kept.chain):
            files[name] = b"".join(line for segment, _, line in signed if segment == name)
            if not files[name]:
                del files[name]

    assert found(cut).ok
    fault = first(found(cut, book().anchors[-1]))
    assert (fault.kind, fault.seq) == ("anchor", 7)


def test_an_anchor_that_no_key_of_the_log_signed_is_refused() -> None:
    assert first(found(lambda files: None, "nonsense")).kind == "anchor"
    assert first(found(lambda files: None, book().anchors[-1].replace("n-w", "n-v"))).kind == "anchor"


def test_an_anchor_of_another_history_is_found(tmp_path: Path) -> None:
    other = tmp_path / "audit"
    text = book().anchors[3].partition("\n\n")[0].replace("prev ", "prev A")[:-1] + "\n"
    keys = FileKeys(other.parent / "keys")
    note = keys.signer(ORIGIN).sign(text)
    with tempfile.TemporaryDirectory() as folder:
        book().lay_out(Path(folder), lambda files: None)
        report = verify(Path(folder), (*book().verifiers, *keys.verifiers(ORIGIN)), note)
    assert {fault.kind for fault in report.faults} == {"anchor"}


def drop(files: Files, beginning: str) -> None:
    for name in [name for name in files if name.startswith(beginning)]:
        del files[name]


def test_every_line_of_the_book_parses() -> None:
    assert all(parse(line) for _, _, line in lines_of(A))


# --- while it is written -----------------------------------------------------------------------------------------


async def test_a_log_may_be_checked_while_it_is_written(tmp_path: Path) -> None:
    log = a_log(tmp_path / "audit")
    log.start()
    try:
        for number in range(30):
            await log.durable(record(number, "intent"))
            report = await asyncio.to_thread(check, tmp_path / "audit")
            assert (report.ok, report.chains) == (True, 1), report.faults
            log.note(record(number))
    finally:
        await log.close()


async def test_what_is_wrong_with_a_chain_that_is_being_written_is_still_wrong_at_a_second_look(tmp_path: Path) -> None:
    log = a_log(tmp_path / "audit")
    log.start()
    try:
        for number in range(60):
            await log.durable(record(number, "intent"))
        segment = min((tmp_path / "audit").rglob("*.seg"))
        segment.write_bytes(segment.read_bytes().replace(b"agent:coder", b"agent:other", 1))
        report = check(tmp_path / "audit")
        assert [(fault.kind, fault.seq) for fault in report.faults] == [("changed", 2)]
        assert report.fault_count == 1
    finally:
        await log.close()


async def test_what_only_seemed_wrong_because_a_chain_was_being_written_is_not_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, looks = audit_check.note_files, iter([True])

    def late(folder: Path) -> list[Path]:
        return [] if next(looks, False) else real(folder)  # as if the first checkpoint came after the first look

    monkeypatch.setattr(audit_check, "note_files", late)
    log = a_log(tmp_path / "audit")
    log.start()
    try:
        await log.durable(record(1, "intent"))
        report = check(tmp_path / "audit")
        assert (report.ok, report.fault_count) == (True, 0)
    finally:
        await log.close()

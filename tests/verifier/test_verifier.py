"""The stand-alone verifier: it agrees with the platform's own, knows each kind of tampering, and needs only Python."""

from __future__ import annotations

import gzip
import io
import json
import shutil
import tarfile
import tempfile
import tomllib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from superagent.core.audit import hash_of
from superagent.runtime import audit_check
from superagent.runtime.audit_copy import AuditCopy
from superagent_verifier import ed25519
from superagent_verifier.__main__ import main
from superagent_verifier.keys import BadKey, Keys
from superagent_verifier.verify import verify
from tests.promise import promise
from tests.runtime.audit_book import Book, write_book
from tests.surfaces.http.house import House, house_in, problem_of
from tests.verifier.namespace import ran_alone

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "verifier" / "src" / "superagent_verifier"
CHAIN = "n-w-01A"
NOTES = "checkpoints/000000000001.notes"
Files = dict[str, bytes]


@cache
def book() -> Book:
    with tempfile.TemporaryDirectory() as folder:
        return write_book(Path(folder) / "audit")


@cache
def exported() -> Files:
    """Give the members of an export of that log."""
    with tempfile.TemporaryDirectory() as folder:
        book().lay_out(Path(folder), lambda files: None)
        data = b"".join(AuditCopy(Path(folder)).chunks())
    return dict(members(data))


def members(data: bytes) -> list[tuple[str, bytes]]:
    found: list[tuple[str, bytes]] = []
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        for one in tar:
            file = tar.extractfile(one)
            assert file
            found.append((one.name.removeprefix("audit/"), file.read()))
    return found


def packed(files: Files, to: Path) -> Path:
    """Make an export of other members, in the order of the format."""
    with tarfile.open(to, "w:gz") as tar:
        for name in sorted(files, key=lambda name: (not name.startswith("checkpoints/"), name)):
            entry = tarfile.TarInfo(f"audit/{name}")
            entry.size = len(files[name])
            tar.addfile(entry, io.BytesIO(files[name]))
    return to


def keys() -> Keys:
    return Keys(book().verifiers)


def found(change: Callable[[Files], object], anchor: bytes | None = None) -> list[tuple[str, str, int]]:
    """Tamper with an export and give the faults: kind, chain and line."""
    files = dict(exported())
    change(files)
    with tempfile.TemporaryDirectory() as folder:
        report = verify(packed(files, Path(folder) / "x.tar.gz"), keys(), anchor)
    return [(one.kind, one.chain, one.line) for one in report.faults]


def lines(files: Files) -> list[tuple[str, bytes]]:
    """Give the lines of the chain, of all segments, each with its segment."""
    return [(name, line) for name in segments() for line in files[name].splitlines(True)]


def segments() -> list[str]:
    return sorted(name for name in exported() if name.startswith(CHAIN))


def edited(change: Callable[[list[tuple[str, bytes]]], Any]) -> Callable[[Files], None]:
    """Change the lines of the chain, and put each into the segment that stands beside it."""

    def tamper(files: Files) -> None:
        own = lines(files)
        change(own)
        for name in segments():
            files[name] = b"".join(line for segment, line in own if segment == name)
            if not files[name]:
                del files[name]

    return tamper


ALL = len(lines(exported()))
some_line = st.integers(2, ALL - 1)
often = settings(max_examples=15)


def test_an_export_is_whole_and_is_all_that_stands_on_the_disk() -> None:
    assert found(lambda files: None) == []
    assert found(lambda files: None, book().anchors[-1].encode()) == []
    assert exported() == {name: data for name, data in book().files.items() if name.endswith((".seg", ".notes"))}


@often
@given(some_line, st.binary(min_size=1, max_size=3))
@promise("1.4")
def test_a_changed_line_is_found_at_its_number(number: int, junk: bytes) -> None:
    def change(own: list[tuple[str, bytes]]) -> None:
        segment, line = own[number - 1]
        at = line.index(b'"at":') - 1
        own[number - 1] = segment, line[:at] + b',"x":"' + junk.hex().encode() + b'"' + line[at:]

    assert found(edited(change)) == [("changed", CHAIN, number)]


@often
@given(some_line)
@promise("1.4")
def test_a_removed_an_inserted_and_a_moved_line_are_found_at_their_numbers(number: int) -> None:
    assert found(edited(lambda own: own.pop(number - 1))) == [
        *([("foreign", CHAIN, number + 1)] if is_first(number) else []),
        ("removed", CHAIN, number),
    ]
    if not is_first(number):
        segment, line = lines(exported())[number - 1]
        forged = segment, line.replace(b"coder", b"other")
        assert found(edited(lambda own: own.insert(number, forged))) == [("inserted", CHAIN, number)]
    if not is_first(number) and not is_first(number + 1):
        swapped = found(edited(lambda own: own.insert(number, own.pop(number - 1))))
        assert swapped == [("moved", CHAIN, number)]


def is_first(number: int) -> bool:
    """Tell whether a line is the header of a segment."""
    return b'"kind":"segment"' in lines(exported())[number - 1][1]


@often
@given(some_line)
@promise("1.4")
def test_a_chain_cut_anywhere_is_found_where_it_ends(number: int) -> None:
    def cut(own: list[tuple[str, bytes]]) -> None:
        del own[number - 1 :]

    assert found(edited(cut)) == [("truncated", CHAIN, number)]


@often
@given(some_line)
@promise("1.4")
def test_lines_written_anew_with_fitting_hashes_are_found_between_checkpoints(number: int) -> None:
    def forge(own: list[tuple[str, bytes]]) -> None:
        head = bytes.fromhex(own[number - 2][1][-65:-1].decode())
        for at in range(number - 1, ALL):
            text = own[at][1][:-66].replace(b"agent:coder", b"agent:other")
            if b'"kind":"segment"' in text:
                prev = text.index(b'"prev":"') + 8
                text = text[:prev] + head.hex().encode() + text[prev + 64 :]
            head = hash_of(head, text)
            own[at] = own[at][0], text + b"\t" + head.hex().encode() + b"\n"

    ((kind, chain, line),) = found(edited(forge))
    assert (kind, chain) == ("rewritten", CHAIN)
    assert line <= number


def test_whole_files_taken_away_put_in_or_exchanged_are_found() -> None:
    first, second, *_, last = segments()
    assert ("removed", CHAIN, 1) in found(lambda files: files.pop(first))
    assert {kind for kind, *_ in found(lambda files: files.pop(last))} == {"truncated"}
    assert found(lambda files: [files.pop(name) for name in segments()]) == [("chain-missing", CHAIN, 1)]
    slipped = found(lambda files: files.update({name.replace("01A", "01C"): files[name] for name in segments()}))
    assert ("unsigned", "n-w-01C", 1) in slipped
    exchanged = found(lambda files: files.update({first: files[second], second: files[first]}))
    assert {"foreign", "moved"} <= {kind for kind, *_ in exchanged}
    assert ("foreign", "", 0) in found(lambda files: files.update({"../../etc/passwd": b"x"}))


def test_checkpoints_forged_removed_changed_and_cut_off_are_found() -> None:
    notes = exported()[NOTES].split(b"\n\n")
    pairs = [b"\n\n".join(pair) + b"\n\n" for pair in zip(notes[:-1:2], notes[1:-1:2], strict=True)]

    def other(pairs: list[bytes]) -> Callable[[Files], None]:
        return lambda files: files.update({NOTES: b"".join(pairs)})

    assert ("checkpoint-removed", "", 3) in found(other(pairs[:2] + pairs[3:]))
    forged = pairs[2].replace(b"at 18", b"at 17")
    assert ("checkpoint-forged", "", 3) in found(other([*pairs[:2], forged, *pairs[3:]]))
    assert ("checkpoint-removed", "", 1) in found(lambda files: files.pop(NOTES))
    assert ("checkpoint-changed", "", len(pairs)) in found(lambda files: files.update({NOTES: files[NOTES][:-10]}))
    # cut off together with its lines: only the anchor, kept elsewhere, knows
    assert ("anchor", "", 0) in found(other(pairs[:-1]), book().anchors[-1].encode())


def test_a_log_signed_by_strangers_is_none() -> None:
    with tempfile.TemporaryDirectory() as folder:
        strange = write_book(Path(folder) / "audit", calls=2)
        report = verify(packed(exported(), Path(folder) / "x.tar.gz"), Keys(strange.verifiers))
    assert {one.kind for one in report.faults} == {"checkpoint-forged", "unsigned"}


@settings(max_examples=60)
@given(st.data())
def test_it_agrees_with_the_platform_whatever_is_done_to_any_file(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(name for name, content in book().files.items() if content)))
    content = book().files[name]
    start = data.draw(st.integers(0, len(content) - 1))
    garbage = data.draw(st.binary(max_size=200))
    spoilt = content[:start] + garbage + content[start + data.draw(st.integers(0, 300)) :]
    with tempfile.TemporaryDirectory() as folder:
        book().lay_out(Path(folder), lambda files: files.update({name: spoilt}))
        assert verify(Path(folder), keys()).ok == audit_check.verify(Path(folder), book().verifiers).ok


@settings(max_examples=25)
@given(st.binary(min_size=32, max_size=32), st.binary(max_size=200), st.integers(0, 511), st.sampled_from("kms"))
def test_signatures_in_plain_python_are_judged_as_openssl_judges_them(
    seed: bytes, message: bytes, bit: int, where: str
) -> None:
    signer = Ed25519PrivateKey.from_private_bytes(seed)
    public, signature = signer.public_key().public_bytes_raw(), signer.sign(message)
    assert ed25519.verifies(public, message, signature)
    flipped = {"k": public, "m": message + b"x", "s": signature}
    broken = bytearray(flipped[where])
    broken[bit // 8 % len(broken)] ^= 1 << bit % 8
    flipped[where] = bytes(broken)
    flipped = {"k": public, "m": message, "s": signature} | {where: bytes(broken)}
    assert not ed25519.verifies(flipped["k"], flipped["m"], flipped["s"])
    # the same with the order of the group added to S is another signature, and is none
    more = int.from_bytes(signature[32:], "little") + 2**252 + 27742317777372353535851937790883648493
    assert not ed25519.verifies(public, message, signature[:32] + more.to_bytes(32, "little"))


@pytest.mark.parametrize("line", ["", "x", "a+00000000+AA==", "test+ffffffff+" + "A" * 44])
def test_a_faulty_key_is_told_and_nothing_is_said_of_the_log(
    line: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(BadKey):
        Keys([line])
    (tmp_path / "keys").write_text(line)
    assert main([str(packed(exported(), tmp_path / "x")), "--keys", str(tmp_path / "keys")]) == 2
    assert capsys.readouterr().err


def test_what_is_no_log_or_was_cut_on_its_way_is_unreadable(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("\n".join(book().verifiers))
    whole = packed(exported(), tmp_path / "whole").read_bytes()
    (tmp_path / "folder").mkdir()
    for name, data in {
        "cut": whole[: len(whole) // 2],
        "text": b"hello",
        "empty": b"",
        "gz": gzip.compress(b""),
    }.items():
        (tmp_path / name).write_bytes(data)
        assert main([str(tmp_path / name), "--keys", str(tmp_path / "keys")]) == 2, name
    assert main([str(tmp_path / "folder"), "--keys", str(tmp_path / "keys")]) == 2
    assert main([str(tmp_path / "none"), "--keys", str(tmp_path / "keys")]) == 2


def test_hostile_text_in_a_fault_is_only_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "keys").write_text("\n".join(book().verifiers))
    files = exported() | {"x\x1b[2Jy\nWHOLE": b""}
    assert main([str(packed(files, tmp_path / "x")), "--keys", str(tmp_path / "keys")]) == 1
    said = capsys.readouterr().out
    assert "\x1b" not in said
    assert [line.split(":")[0] for line in said.splitlines() if line.startswith(("WHOLE", "TAMP"))] == ["TAMPERED WITH"]


def test_the_package_stands_alone() -> None:
    project = tomllib.loads((ROOT / "verifier" / "pyproject.toml").read_text("utf-8"))["project"]
    assert project["dependencies"] == []
    for file in PACKAGE.glob("*.py"):
        assert "superagent." not in file.read_text("utf-8"), file


# --- a real server's export, where there is only Python ------------------------------------------------------------


async def proof_of(house: House, to: Path) -> tuple[Path, Path, int]:
    """Export the log of a running house; gives export, keys and how many lines are said to be in it."""
    made = await house.owner.done("audit.proof")
    to.joinpath("audit.tar.gz").write_bytes((await house.owner.get(f"/v1/results/{made['handle']}/raw")).content)
    to.joinpath("keys.txt").write_text("\n".join((await house.owner.done("audit.keys"))["keys"]))
    return to / "audit.tar.gz", to / "keys.txt", made["lines"]


@promise("1.4")
async def test_the_log_of_a_running_server_is_verified_where_there_is_only_python(tmp_path: Path) -> None:
    async with house_in(tmp_path / "data") as house:
        agent = await house.agent()
        done = await agent.call("access.whoami")
        audit, keys, count = await proof_of(house, tmp_path)
        problem_of(await agent.call("audit.proof"), 404, "not-found")
        assert (await house.refusal(await agent.call("audit.proof")))["operation"] == "audit.proof"

        # what was done before the export is in it, and signed
        content = b"".join(data for name, data in members(audit.read_bytes()) if name.endswith(".seg"))
        assert done.headers["x-invocation-id"].encode() in content
        assert content.count(b"\n") == count

    spoilt = dict(members(audit.read_bytes()))
    segment = next(name for name in spoilt if name.endswith(".seg"))
    spoilt[segment] = spoilt[segment].replace(b'"operation":"access.whoami"', b'"operation":"access.innocent"')
    other = packed(spoilt, tmp_path / "other.tar.gz")
    place = {"superagent_verifier": PACKAGE, "audit.tar.gz": audit, "other.tar.gz": other, "keys.txt": keys}

    fine = ran_alone(["-m", "superagent_verifier", "audit.tar.gz", "--keys", "keys.txt"], place)
    assert (fine.returncode, fine.stderr) == (0, ""), fine
    assert "WHOLE: nothing was rewritten" in fine.stdout
    bad = ran_alone(["-m", "superagent_verifier", "other.tar.gz", "--keys", "keys.txt", "--json"], place)
    assert bad.returncode == 1, bad
    (fault,) = json.loads(bad.stdout)["faults"]
    line = [at for at, one in enumerate(dict(members(audit.read_bytes()))[segment].splitlines(), 1) if b"whoami" in one]
    assert (fault["kind"], fault["line"]) == ("changed", line[0])

    look = "import os, socket; print(sorted(os.listdir('/')), len(os.listdir('/verify'))); print(socket.if_nameindex())"
    seen = ran_alone(["-c", look], place).stdout.splitlines()
    assert seen[1] == "[(1, 'lo')]"
    assert "home" not in seen[0]
    assert "proc" not in seen[0]


def test_a_copy_of_a_log_that_goes_on_being_written_is_whole(tmp_path: Path) -> None:
    shutil.rmtree(tmp_path)
    tmp_path.mkdir()
    book().lay_out(tmp_path, lambda files: files.update({f"{CHAIN}/lock": b""}))
    last = tmp_path / segments()[-1]
    last.write_bytes(last.read_bytes() + b'{"seq":999,"kind":"ou')  # an unfinished end, of which no checkpoint speaks
    assert verify(tmp_path, keys()).ok
    packed_again = tmp_path.parent / "again.tar.gz"
    packed_again.write_bytes(b"".join(AuditCopy(tmp_path).chunks()))
    assert dict(members(packed_again.read_bytes())) == exported()
    assert verify(packed_again, keys()).ok

"""What must hold of the engine for any input: nothing is lost, nothing unforeseen is raised."""

from __future__ import annotations

import fnmatch
import io
import os
import tarfile
import tempfile
import zipfile

import pytest
import zstandard
from hypothesis import example, given, settings
from hypothesis import strategies as st

from superagent.plugins.files.engine import differences, edits, grep, matching, patches, patterns, texts, unpacking
from superagent.plugins.files.engine.places import Unfit

LINES = st.lists(st.sampled_from(["a", "b", "", " ", "\u00e9", "x y", "-", "+++ b", "@@", "a\r", "\x0c"]), max_size=30)


@st.composite
def whole_texts(draw: st.DrawFn) -> str:
    return "\n".join(draw(LINES)) + draw(st.sampled_from(["", "\n"]))


TEXTS = whole_texts()


@given(st.binary(max_size=200))
def test_bytes_that_are_read_as_text_are_written_back_identically(data: bytes) -> None:
    found = texts.decode(data)
    if found is not None:
        text, encoding = found
        assert encoding.encode(text) == data


@given(
    st.text(min_size=1, max_size=100), st.sampled_from(["utf-8-sig", "utf-16-le", "utf-16-be", "utf-32-le", "utf-8"])
)
def test_text_under_a_mark_is_found_again(text: str, name: str) -> None:
    marks = {"utf-16-le": b"\xff\xfe", "utf-16-be": b"\xfe\xff", "utf-32-le": b"\xff\xfe\0\0", "utf-8-sig": b""}
    text = text.replace("\0", "").replace("\ufeff", "")
    data = marks.get(name, b"") + text.encode(name, "replace")
    found = texts.decode(data)
    assert found is not None
    assert found[0] == text.encode(name, "replace").decode(name)


@given(TEXTS, TEXTS, st.integers(0, 3))
@example("a\nb", "a\nb\n", 3)
@example("", "a", 3)
@example("a\n", "", 0)
def test_a_diff_applied_to_the_old_text_gives_the_new_one(old: str, new: str, context: int) -> None:
    # form feeds and lone carriage returns end lines for `splitlines`, not for patches
    old, new = (text.replace("\x0c", "f").replace("\r", "r") for text in (old, new))
    shown = differences.of_texts(old, new, "a/x", "b/x", context)
    assert bool(shown) == (old != new)
    if shown:
        (one,) = patches.parse(shown)
        assert patches.apply(old, one.hunks) == new


@given(
    st.lists(st.sampled_from(["--- a/x", "+++ b/x", "@@ -1 +1 @@", "-a", "+b", " c", "\\ No", "diff --git a/x b/x"]))
)
def test_a_patch_is_understood_or_refused(lines: list[str]) -> None:
    for text in ("\n".join(lines), "\r\n".join(lines) + "\r\n"):
        try:
            for one in patches.parse(text):
                patches.apply("a\nc\n", one.hunks)
        except Unfit:
            continue


@given(st.text(max_size=30), st.text(min_size=1, max_size=3), st.text(max_size=3))
def test_an_edit_is_what_replacing_by_hand_would_be(text: str, old: str, new: str) -> None:
    text = text.replace("\r", "")
    count = text.count(old)
    try:
        assert edits.replace(text, old, new, max(count, 1), 1000) == text.replace(old, new)
        assert count
    except Unfit:
        assert not count


@given(st.text(st.sampled_from("ab*?[]!-.\u00e9"), max_size=8), st.text(st.sampled_from("ab.!-\u00e9]"), max_size=6))
def test_a_glob_over_names_means_what_it_usually_means(pattern: str, name: str) -> None:
    if "**" in pattern or "[" in pattern:
        return  # another meaning, or the classes of Python's `fnmatch`, which differ in detail
    assert matching.glob(pattern)(name) == fnmatch.fnmatchcase(name, pattern)


@given(st.text(max_size=20))
def test_any_glob_is_understood_or_refused(pattern: str) -> None:
    try:
        matching.glob(pattern)("some/path")
    except Unfit:
        return


@pytest.mark.parametrize(
    ("pattern", "path", "fits"),
    [
        ("**/x", "x", True),
        ("**/x", "a/b/x", True),
        ("**/x", "a/bx", False),
        ("a/**", "a/b/c", True),
        ("a/**/c", "a/c", True),
        ("a/**/c", "a/b/b/c", True),
        ("*/c", "a/b/c", False),
        ("[ab]/c", "a/c", True),
        ("[!ab]/c", "a/c", False),
        ("[a/b]c", "/c", True),
        ("[^a]c", "/c", False),
        ("{a,b{c,d}}", "bd", True),
        ("a,b", "a,b", True),
        ("[", "[", True),
        ("a.c", "abc", False),
    ],
)
def test_globs_over_paths(pattern: str, path: str, fits: bool) -> None:
    assert matching.glob(pattern)(path) == fits


@given(
    st.text(st.sampled_from("ab\n\u00e9"), max_size=60), st.text(st.sampled_from("ab\u00e9"), min_size=1, max_size=2)
)
@example("ab\n" + "x" * 3000 + "a", "a")
@example("x" * 600 + "a\r\n", "a")
def test_every_line_that_holds_the_text_is_found_once(text: str, wanted: str) -> None:
    found = list(grep.hits(text.encode(), patterns.compile_(wanted, literal=True), 1))
    lines = text.split("\n")
    assert [hit.line for hit in found] == [number for number, line in enumerate(lines, 1) if wanted in line]
    for hit in found:
        cut = hit.text.removesuffix(" \u2026")
        assert lines[hit.line - 1].startswith(cut)
        assert len(hit.text) <= 502


def test_a_pattern_that_matches_nothing_matches_every_line_once() -> None:
    assert [hit.line for hit in grep.hits(b"a\n\nb\n", patterns.compile_("x*"), 0)] == [1, 2, 3]
    assert [hit.line for hit in grep.hits(b"a\nb", patterns.compile_("$"), 0)] == [1, 2]
    assert [hit.line for hit in grep.hits(b"a\nb\n", patterns.compile_(r"\z"), 0)] == []


def test_what_is_too_large_or_turns_out_to_be_binary_is_not_searched(tmp_path: os.PathLike[str]) -> None:
    for size, data in ((grep.MOST_BYTES + 1, b""), (0, b"\xff\xfe" + b"x" * texts.SAMPLE + b"\0")):
        with tempfile.TemporaryFile() as file:
            file.write(data)
            file.truncate(max(size, len(data)))
            file.seek(0)
            assert grep.searchable(file.fileno()) is None


def archives() -> list[bytes]:
    made: list[bytes] = []
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as tar:
        for name in ("a/b", "c"):
            info = tarfile.TarInfo(name)
            info.size = 5
            tar.addfile(info, io.BytesIO(b"12345"))
    made.append(plain.getvalue())
    made.append(zstandard.ZstdCompressor().compress(plain.getvalue()))
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("a/b", b"12345")
    made.append(packed.getvalue())
    return made


@settings(max_examples=150)
@given(
    st.sampled_from(archives()),
    st.lists(st.tuples(st.integers(0, 3000), st.binary(min_size=1, max_size=4)), max_size=8),
)
@pytest.mark.filterwarnings("ignore")
def test_a_garbled_archive_is_read_or_refused(data: bytes, changes: list[tuple[int, bytes]]) -> None:
    garbled = bytearray(data)
    for at, new in changes:
        garbled[at % len(garbled) : at % len(garbled) + len(new)] = new
    with tempfile.TemporaryFile() as file:
        file.write(garbled)
        file.flush()
        try:
            for member in unpacking.members(file.fileno(), unpacking.Limits()):
                assert ".." not in member.path
                if member.content is not None:
                    with unpacking.broken_archives_are_unfit():
                        while member.content.read(1000):
                            continue
        except Unfit:
            return

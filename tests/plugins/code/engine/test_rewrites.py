"""The answer of a rewriting tool: whatever it says, it is about the files that were asked about, or refused."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from superagent.plugins.code.engine.findings import Unreadable
from superagent.plugins.code.engine.rewrites import FILE, Rewrite, read, script

SUM = b"0" * 64


def test_an_answer_is_read_file_by_file() -> None:
    answer = b"2 same 0 0 s2\n1 0 4 0 s1\nnew\n3 2 0 5 s3\nwrong"

    assert read(answer, 3, (0,), "") == [
        Rewrite(1, "s1", b"new\n", ""),
        Rewrite(2, "s2", None, ""),
        Rewrite(3, "s3", None, "wrong"),
    ]


@pytest.mark.parametrize(
    "answer",
    [
        b"1 0 4 0 x\nhack2 0 4 0 x\nhack3 0 4 0 x\nhack",
        b"1 0 4 0 x\nhack1 0 4 0 x\nhack",
        b"1 0 99999999 0 x\nhack",
        b"-1 0 4 0 x\nhack",
        b"../a 0 4 0 x\nhack",
        b"0 0 4 0 x\nhack",
        b"1 0 4 0 x\nhack",
        b"1 0 4\nhack",
        b"x" * 1000,
        b"",
    ],
)
def test_an_answer_about_other_files_or_none_is_refused(answer: bytes) -> None:
    with pytest.raises(Unreadable):
        read(answer, 2, (0,), "")


@given(st.binary(max_size=200), st.integers(1, 3))
def test_any_bytes_are_an_answer_about_all_files_or_refused(answer: bytes, count: int) -> None:
    try:
        found = read(answer, count, (0,), "eslint")
    except Unreadable:
        return
    assert [one.number for one in found] == list(range(1, count + 1))


def test_nothing_given_back_is_a_failure_and_not_an_empty_file() -> None:
    assert read(b"1 0 1 0 s\n\n", 1, (0,), "") == [Rewrite(1, "s", None, "it gave nothing back")]


def test_what_eslint_fixed_is_taken_out_of_its_report() -> None:
    report = b'[{"filePath": "a", "messages": [], "output": "let a;\\n"}]'
    clean = b'[{"filePath": "a", "messages": []}]'

    assert read(b"1 1 %d 0 s\n%s" % (len(report), report), 1, (0, 1), "eslint")[0].data == b"let a;\n"
    assert read(b"1 0 %d 0 s\n%s" % (len(clean), clean), 1, (0, 1), "eslint")[0].data is None
    with pytest.raises(Unreadable):
        read(b"1 0 2 0 s\n{}", 1, (0,), "eslint")


def test_the_shell_takes_file_names_as_names(tmp_path: Path) -> None:
    """Run the script for real, outside of a sandbox: names that a shell would read as more than names."""
    names = ["a b.txt", "$(touch hacked).txt", "-n.txt", "'quoted'.txt", "*.txt"]
    for name in names:
        (tmp_path / name).write_text(f"text of {name}\n")
    text = script(["sed", "s|text|" + "named|;s|$|@|", "--", FILE], (0,)).replace("/tmp/", f"{tmp_path}/.")

    ran = subprocess.run(
        ["sh", "-c", text], cwd=tmp_path, input="\n".join([*names, "nosuch"]).encode() + b"\n",
        capture_output=True, timeout=20, check=True,
    )  # fmt: skip
    found = read(ran.stdout, len(names) + 1, (0,), "")

    assert [one.data for one in found[:-1]] == [f"named of {name}@\n".encode() for name in names]
    assert found[-1].failed
    assert not (tmp_path / "hacked").exists()

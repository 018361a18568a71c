"""Reports of runners as these wrote them, and reports that nobody should believe."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from superagent.plugins.code.engine import coverage
from superagent.plugins.code.engine.cases import Case, read
from superagent.plugins.code.engine.coverage import Covered
from superagent.plugins.code.engine.findings import Unreadable

CWD, INSIDE = "/workspace", "/workspace"

# as cargo wrote it, with its backtrace left out
CARGO = """
running 4 tests
test tests::left ... ignored, later
test tests::ok ... ok
test tests::panics - should panic ... ok
test tests::bad ... FAILED

failures:

---- tests::bad stdout ----
seen

thread 'tests::bad' (3933) panicked at src/lib.rs:6:42:
assertion `left == right` failed
  left: 1
 right: 2


failures:
    tests::bad

test result: FAILED. 2 passed; 1 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.15s
"""

GO = "\n".join(
    json.dumps(one)
    for one in [
        {"Action": "start", "Package": "example.org/a"},
        {"Action": "run", "Package": "example.org/a", "Test": "TestOk"},
        {"Action": "output", "Package": "example.org/a", "Test": "TestOk", "Output": "=== RUN   TestOk\n"},
        {"Action": "pass", "Package": "example.org/a", "Test": "TestOk", "Elapsed": 0.01},
        {"Action": "output", "Package": "example.org/a", "Test": "TestBad", "Output": "    a_test.go:9: no\n"},
        {"Action": "fail", "Package": "example.org/a", "Test": "TestBad", "Elapsed": 0.5},
        {"Action": "skip", "Package": "example.org/a", "Test": "TestLater", "Elapsed": 0},
        {"Action": "output", "Package": "example.org/a", "Output": "coverage: 42.9% of statements\n"},
        {"Action": "fail", "Package": "example.org/a", "Elapsed": 0.6},
        {"Action": "output", "Package": "example.org/b", "Output": "b.go:3:1: syntax error\n"},
        {"Action": "fail", "Package": "example.org/b", "Elapsed": 0},
    ]
)


def test_cargos_text_is_read() -> None:
    assert [(one.name, one.status) for one in read("cargo", CARGO, CWD, INSIDE)] == [
        ("tests::left", "skipped"),
        ("tests::ok", "passed"),
        ("tests::panics", "passed"),
        ("tests::bad", "failed"),
    ]
    bad = read("cargo", CARGO, CWD, INSIDE)[3]
    assert (bad.file, bad.line) == ("src/lib.rs", 6)
    assert bad.message.startswith("seen\n")
    assert bad.message.endswith("right: 2")


def test_gos_events_are_read() -> None:
    assert read("go", GO, CWD, INSIDE) == [
        Case("example.org/a.TestOk", "passed", seconds=0.01),
        Case("example.org/a.TestBad", "failed", seconds=0.5, message="a_test.go:9: no"),
        Case("example.org/a.TestLater", "skipped", seconds=0.0),
        Case("example.org/b", "error", seconds=0.0, message="b.go:3:1: syntax error"),
    ]
    assert coverage.read("go", GO, CWD, INSIDE) == Covered(42.9)


def test_junit_of_others_has_its_file_at_the_suite() -> None:
    text = (
        '<?xml version="1.0"?><testsuites><testsuite name="s" file="spec/a.js"><testsuite name="inner">'
        '<testcase classname="s inner" name="works" time="1,234.5"/></testsuite></testsuite></testsuites>'
    )

    assert read("junit", text, CWD, INSIDE) == [Case("s inner::works", "passed", file="spec/a.js", seconds=1234.5)]


@pytest.mark.parametrize("declared", ["<!DOCTYPE a>", '<!DOCTYPE a [<!ENTITY x "y">]>', '<!DOCTYPE a SYSTEM "b.dtd">'])
def test_a_document_that_declares_a_type_is_refused(declared: str) -> None:
    with pytest.raises(Unreadable):
        read("junit", f"{declared}<testsuites/>", CWD, INSIDE)


def test_more_tests_than_anybody_has_are_refused() -> None:
    with pytest.raises(Unreadable, match="more than"):
        read("junit", f"<testsuites>{'<testcase/>' * 60_000}</testsuites>", CWD, INSIDE)


@pytest.mark.parametrize(
    "text", ['{"percent":101,"files":[]}', '{"percent":"x","files":[]}', '{"percent":1,"files":[[1]]}', '{"percent":']
)
def test_coverage_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(Unreadable):
        coverage.read("node", text, CWD, INSIDE)


def test_no_coverage_said_is_none() -> None:
    assert [coverage.read(form, "", CWD, INSIDE) for form in ("node", "go", "junit")] == [None, None, None]


@given(
    st.sampled_from(["junit", "node", "tap", "go", "cargo"]),
    st.lists(
        st.sampled_from(
            ["ok 1 - a", "not ok 2", "# Subtest: x", "    ok 1", "<testsuites>", "<testcase name='x'>", "</testcase>",
             "</testsuites>", "test a ... ok", "test a ... FAILED", "---- a stdout ----", "failures:",
             '{"name":"a","status":"passed","file":"","line":1,"seconds":1,"message":""}', '{"name":1}',
             '{"Action":"fail","Package":"p","Elapsed":1e400}', '{"Action":"fail","Test":[1]}', "a.t .. ", "\x1b[2J"]
        )
        | st.text(max_size=20),
        max_size=12,
    ),
)  # fmt: skip
def test_whatever_a_runner_writes_is_tests_or_refused(form: str, rows: list[str]) -> None:
    try:
        found = read(form, "\n".join(rows), CWD, INSIDE)
    except Unreadable:
        return
    for one in found:
        assert one.status in ("passed", "failed", "error", "skipped")
        assert "\x1b" not in one.name + one.message


COSTLY = {
    "tap": "# Subtest: " + "x" * 16_000_000 + "\n" + "    ok 1 - a\n" * 49_000,
    "cargo": "test b ... FAILED\n" + "test a ... ok\n" * 40_000 + "---- b stdout ----\n" + "x\n" * 200_000,
}


@pytest.mark.parametrize("form", COSTLY)
def test_a_long_report_costs_time_that_grows_with_it_alone(form: str) -> None:
    begun = time.process_time()
    read(form, COSTLY[form], CWD, INSIDE)
    assert time.process_time() - begun < 20  # the second took longer than anybody waits


ENDLESS = {
    "rows": ("tap", "\n" * 1_000_001),
    "nested tests": ("tap", "".join(" " * at + "# Subtest: a\n" for at in range(100))),
    "tests": ("cargo", "test a ... ok\n" * 50_002),
    "values": ("node", '{"name":"a","status":"passed","x":[' + "0," * 1_000_001 + "0]}"),
    "attributes": ("junit", "<a " + " ".join(f"b{at}=''" for at in range(500_000)) + "/>"),
}


@pytest.mark.parametrize("name", ENDLESS)
def test_a_report_that_would_take_all_memory_or_time_is_refused(name: str) -> None:
    with pytest.raises(Unreadable):
        read(*ENDLESS[name], CWD, INSIDE)


def test_a_report_of_coverage_that_would_take_all_memory_is_refused() -> None:
    with pytest.raises(Unreadable):
        coverage.read("junit", '{"files":{},"totals":[' + "[]," * 1_000_001 + "[]]}", CWD, INSIDE)

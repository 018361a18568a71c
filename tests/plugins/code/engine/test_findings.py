"""Reports of linters as these wrote them, and reports that nobody should believe."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from superagent.plugins.code.engine.clean import line, plain, within
from superagent.plugins.code.engine.findings import Finding, Unreadable, read

FORMS = ["ruff", "eslint", "shellcheck", "sarif", "cargo", "lines", "bash", "node", "perl"]
CWD, INSIDE = "/workspace/p", "/workspace"

# written by cargo 1.9x (rustc), shortened by fields that are not read
CARGO = json.dumps(
    {
        "reason": "compiler-message",
        "message": {
            "children": [{"spans": [{"file_name": "src/lib.rs", "suggested_replacement": "_unused"}]}],
            "level": "warning",
            "message": "unused variable: `unused`",
            "spans": [
                {"column_start": 31, "file_name": "src/lib.rs", "is_primary": True, "line_end": 1, "line_start": 1}
            ],
            "code": {"code": "unused_variables"},
        },
    },
    separators=(",", ":"),
)

SARIF = json.dumps(
    {
        "version": "2.1.0",
        "runs": [
            {
                "results": [
                    {
                        "ruleId": "R1",
                        "level": "note",
                        "message": {"text": "look"},
                        "locations": [
                            {
                                "physicalLocation": {
                                    "artifactLocation": {"uri": "file:///workspace/p/a.go"},
                                    "region": {"startLine": 3, "startColumn": 2, "endLine": 4},
                                }
                            }
                        ],
                        "fixes": [{}],
                    },
                    {"message": {"text": "nowhere"}},
                ]
            },
            {"results": None},
        ],
    }
)

ESLINT = json.dumps(
    [
        {
            "filePath": "/workspace/p/a.js",
            "messages": [
                {
                    "ruleId": "no-var", "severity": 2, "message": "Unexpected var.", "line": 1, "column": 1,
                    "endLine": 1, "fix": {"range": [0, 3], "text": "let"},
                },
                {"ruleId": None, "severity": 1, "message": "Parsing error"},
            ],
        }
    ]
)  # fmt: skip


def test_each_form_is_read_as_its_tool_writes_it() -> None:
    assert read("cargo", f'Compiling\n{CARGO}\n{{"reason":"build-finished"}}\n', CWD, INSIDE) == (
        [Finding("p/src/lib.rs", 1, 31, 1, "unused_variables", "warning", "unused variable: `unused`", True)],
        0,
    )
    assert read("sarif", SARIF, CWD, INSIDE) == ([Finding("p/a.go", 3, 2, 4, "R1", "note", "look", True)], 1)
    assert read("eslint", ESLINT, CWD, INSIDE) == (
        [
            Finding("p/a.js", 1, 1, 1, "no-var", "error", "Unexpected var.", True),
            Finding("p/a.js", None, None, None, "syntax", "warning", "Parsing error"),
        ],
        0,
    )
    assert read("lines", "a.py:3:1: F401 'os' imported\nb.py:4: undefined name\nnoise\n", CWD, INSIDE)[0] == [
        Finding("p/a.py", 3, 1, None, "F401", "error", "'os' imported"),
        Finding("p/b.py", 4, None, None, "", "error", "undefined name"),
    ]


@pytest.mark.parametrize("form", FORMS)
def test_nothing_said_is_nothing_found(form: str) -> None:
    assert read(form, "\n", CWD, INSIDE) == ([], 0)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(
        st.sampled_from(
            ["filename", "location", "row", "code", "message", "messages", "filePath", "comments", "runs", "results",
             "reason", "spans", "level", "locations", "physicalLocation", "severity", "file", "line", "column"]
        ),
        inner,
        max_size=5,
    ),
    max_leaves=25,
)  # fmt: skip


@given(st.sampled_from(FORMS), json_values | st.text(max_size=300))
def test_whatever_a_tool_writes_is_findings_in_the_workspace_or_refused(form: str, report: Any) -> None:
    try:
        found, _ = read(form, report if isinstance(report, str) else json.dumps(report), CWD, INSIDE)
    except Unreadable:
        return
    for one in found:
        assert one.file
        assert not one.file.startswith(("/", "../"))
        assert "/../" not in one.file
        assert one.line is None or one.line > 0
        assert one.kind in ("error", "warning", "note")


@given(st.text())
def test_no_text_keeps_what_a_terminal_acts_on(text: str) -> None:
    kept = plain(text)

    assert not [char for char in kept if (ord(char) < 32 and char not in "\n\t") or 0x7F <= ord(char) < 0xA0]
    assert plain(kept) == kept
    assert "\n" not in line(text)


@given(st.text(alphabet="ab./\\\n\x00\u202e", max_size=30))
def test_a_path_is_within_the_workspace_or_none(path: str) -> None:
    found = within(path, CWD, INSIDE)

    if found is not None:
        assert not found.startswith("/")
        assert ".." not in found.split("/")
        assert found.isprintable()


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("a.py", "p/a.py"),
        ("../a.py", "a.py"),
        ("../../a.py", None),
        ("/workspace/x/../a", "a"),
        ("/workspace", None),
        ("/workspacex/a", None),
        ("file:///workspace/a", "a"),
        ("/etc/passwd", None),
        ("", None),
    ],
)
def test_paths_are_resolved_as_text(path: str, found: str | None) -> None:
    assert within(path, CWD, INSIDE) == found


@pytest.mark.parametrize(
    ("form", "report"),
    [
        ("eslint", "[" + "[]," * 1_000_001 + "[]]"),
        ("sarif", '{"runs":[{"results":[' + "{}," * 50_001 + "{}]}]}"),
        ("lines", "a:1: b\n" * 50_001),
        ("node", "a:1\n" * 1_000_001),
    ],
)
def test_a_report_that_would_take_all_memory_is_refused(form: str, report: str) -> None:
    with pytest.raises(Unreadable):
        read(form, report, CWD, INSIDE)

"""The programs of ours that run inside the sandbox, run here: by hand what the sandbox gives them otherwise."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from superagent.plugins.code.inside import explain, python_source, tree_source
from superagent.plugins.code.inside.outline import Use


def explained(
    capsys: pytest.CaptureFixture[str], top: Path, target: str, language: str, endings: str
) -> dict[str, Any]:
    sys.argv = ["explain", str(top), target, language, endings, "5"]
    assert explain.main() == 0
    found: dict[str, Any] = {"uses": []}
    for row in capsys.readouterr().out.splitlines():
        said = json.loads(row)
        found["uses"] += said.pop("uses", [])
        found |= said
    return found


def test_a_program_is_explained_line_by_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", [])
    (tmp_path / "a.py").write_text(
        "import b.c as d, e\nclass K:\n    x: int = 1\n    async def m(self): return f()\ndef f(): pass\n"
    )
    (tmp_path / "u.py").write_text("import a\nfrom a import K\na.f()\nK.m\nlist(a.x.y)\n")
    (tmp_path / "big.py").write_text("f()\n" * 200_000)
    (tmp_path / "link.py").symlink_to("u.py")
    (tmp_path / "bad.py").write_text("f(\n")

    found = explained(capsys, tmp_path, "a.py", "python", "py")

    assert [one["name"] for one in found["definitions"]] == ["K", "K.x", "K.m", "f"]
    assert [(one["module"], one["names"]) for one in found["imports"]] == [("b.c", ["d"]), ("e", [])]
    assert [(one["file"], one["line"], one["of"], one["kind"], one["sure"]) for one in found["uses"]] == [
        ("a.py", 4, "f", "call", True),
        ("u.py", 2, "K", "import", True),
        ("u.py", 3, "f", "call", True),
        ("u.py", 4, "m", "name", False),
        ("u.py", 4, "K", "name", True),
        ("u.py", 5, "x", "name", True),
    ]
    assert (found["looked"], found["complete"]) == (5, True)
    (tmp_path / "huge.py").write_text("x = 1\n" * 400_000)
    assert "too_large" in explained(capsys, tmp_path, "huge.py", "python", "py")


@pytest.mark.parametrize(
    ("module", "path", "target", "sure"),
    [
        ("a", "u.py", "a.py", True),
        ("pkg.a", "u.py", "src/pkg/a.py", True),
        ("pkg", "u.py", "src/pkg/__init__.py", True),
        (".a", "pkg/u.py", "pkg/a.py", True),
        ("..a", "pkg/sub/u.py", "pkg/a.py", True),
        (".", "pkg/u.py", "pkg/__init__.py", True),
        (".a", "other/u.py", "pkg/a.py", False),
        ("b", "u.py", "a.py", False),
        ("", "u.py", "a.py", False),
        ("ba", "u.py", "a.py", False),
        ("a", "u.py", "ba.py", False),
    ],
)
def test_imports_lead_to_a_file_or_not(module: str, path: str, target: str, sure: bool) -> None:
    assert explain.leads(Use("f", 1, "", "call", module=module), path, target) is sure


@given(st.text(max_size=200))
def test_any_text_is_read_as_python_or_is_a_fault(text: str) -> None:
    found = python_source.read(text.encode("utf-8", "surrogatepass"), "a.py")

    assert found.fault or isinstance(found.uses, list)


@pytest.mark.parametrize("language", ["javascript", "typescript", "go", "rust", "bash"])
@given(
    text=st.lists(
        st.sampled_from(
            ["function f(", ")", "{", "}", "import ", "'x'", "class K", "=>", "const a = ", "test('x', ",
             "func (b *B) F", "package a\n", "type T struct", "fn f", "#[test]\n", "impl X ", "use a::b;",
             "f() ", "source ./a\n", "// c\n", "new X(", ".m(", "m!(", "require('y')", "`", "$(", "export ",
             "interface I ", "\n", "\x00", "é"]
        )
    ).map("".join)
)  # fmt: skip
def test_any_text_is_read_by_a_grammar(language: str, text: str) -> None:
    found = tree_source.read(text.encode(), "a.tsx" if language == "typescript" else "a_test.x", language)

    lines = text.count("\n") + 1
    for one in found.definitions:
        assert one.name
        assert 1 <= one.line <= one.end_line <= lines
    assert all(1 <= one.line <= lines for one in [*found.imports, *found.uses])


def test_the_reporter_of_unittest_writes_a_report_for_any_runner(tmp_path: Path) -> None:
    (tmp_path / "test_a.py").write_text(
        "import unittest\nclass T(unittest.TestCase):\n    def test_a(self): pass\n"
        "    def test_b(self): self.fail('\\x01<b>')\n"
        "    def test_c(self): raise OSError\n"
        "    def test_d(self): self.skipTest('later')\n"
        "    @unittest.expectedFailure\n    def test_e(self): pass\n"
        "    def test_f(self):\n"
        "        with self.subTest(n=1): self.fail('part')\n"
        "class B(unittest.TestCase):\n"
        "    @classmethod\n    def setUpClass(cls): raise OSError\n"
        "    def test_g(self): pass\n"
    )
    report = tmp_path / "report.xml"

    ran = subprocess.run(
        [sys.executable, "-m", "superagent.plugins.code.inside.unittest_report", report, tmp_path, "discover"],
        cwd=tmp_path, timeout=60, check=False, capture_output=True,
    )  # fmt: skip

    assert ran.returncode == 1, ran.stderr
    text = report.read_text()
    assert 'name="test_a.T.test_a"' in text
    assert "&lt;b&gt;" in text
    assert [text.count(f"<{kind} ") for kind in ("failure", "error", "skipped")] == [3, 2, 1]
    assert "\x01" not in text

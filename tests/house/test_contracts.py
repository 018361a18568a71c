"""The floors hold: an import only goes down, and siblings meet only as operations."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.promise import ROOT


def lint_imports(folder: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).with_name("lint-imports")
    return subprocess.run(
        [str(program), "--no-logo", "--no-cache", *flags],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_import_contracts_hold() -> None:
    result = lint_imports(ROOT)
    assert result.returncode == 0, result.stdout + result.stderr
    assert " 0 broken" in result.stdout


def test_the_contracts_refuse_an_import_that_goes_up(tmp_path: Path) -> None:
    package = tmp_path / "superagent"
    for floor in ("core", "runtime"):
        (package / floor).mkdir(parents=True)
        (package / floor / "__init__.py").touch()
    (package / "__init__.py").touch()
    (package / "core" / "upward.py").write_text("import superagent.runtime\n")
    settings = (ROOT / "pyproject.toml").read_text("utf-8")
    (tmp_path / "pyproject.toml").write_text(settings)
    result = lint_imports(tmp_path, "--contract", "floors")
    assert result.returncode == 1
    assert "superagent.core.upward -> superagent.runtime" in result.stdout

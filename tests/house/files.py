"""Files: what belongs to the repository, as the house tests look at it."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.promise import ROOT

SKIPPED = {".git", ".venv", "build", "dist", "node_modules", "__pycache__"}


def tracked() -> list[Path]:
    """List what is, or is about to be, under version control; without git, everything but build products."""
    listing = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        timeout=30,
        check=False,
    )
    if listing.returncode == 0 and listing.stdout:
        files = [ROOT / name for name in listing.stdout.decode().split("\0") if name]
    else:
        files = [file for file in ROOT.rglob("*") if not SKIPPED & set(file.relative_to(ROOT).parts)]
    return sorted(file for file in files if file.is_file())


def sources() -> list[Path]:
    """List the Python files of the packages that we ship."""
    return sorted(file for file in (ROOT / "src").rglob("*.py") if "__pycache__" not in file.parts)


def pages() -> list[Path]:
    """List the Markdown files that people read."""
    return [file for file in tracked() if file.suffix == ".md"]


def shown(file: Path) -> str:
    """Give a file's name as a failure should show it."""
    return file.relative_to(ROOT).as_posix()

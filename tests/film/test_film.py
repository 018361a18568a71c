"""The film is played whole, and is what the documentation shows."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from film.parts import lacking
from tests.needs import missing, program
from tests.promise import promise

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
ROOT = Path(__file__).parents[2]
SHOWN = ROOT / "docs" / "film.md"
LARGEST = 150_000  # bytes of a picture


def played(*before: str, to: Path) -> subprocess.CompletedProcess[str]:
    """Play it as `make film` does."""
    return subprocess.run(
        [*before, sys.executable, "-m", "film", "--quiet", "--out", str(to)],
        cwd=ROOT, capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip


@promise("10.5c")
def test_the_film_is_played_whole_and_is_what_the_documentation_shows(tmp_path: Path) -> None:
    if lacks := lacking():
        missing(lacks[0])
    done = played(to=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "film.md").read_text("utf-8") == SHOWN.read_text("utf-8"), 'make film ARGS="--out docs"'
    for folder in (tmp_path / "film", SHOWN.parent / "film"):
        for picture in ("asks", "signs", "undo-row", "undo-file"):
            data = (folder / f"{picture}.png").read_bytes()
            assert len(data) < LARGEST
            assert data[:8] == b"\x89PNG\r\n\x1a\n"
            assert struct.unpack(">II", data[16:24]) == (1180, 640)


def test_where_something_is_missing_it_says_what_to_install(tmp_path: Path) -> None:
    # a machine without browser and database: their places are empty in this namespace
    where = [program("bwrap", "bubblewrap"), "--dev-bind", "/", "/", "--tmpfs", "/usr/lib/postgresql"]
    for name in ("chromium", "postgres"):
        for found in {os.path.realpath(Path(folder) / name) for folder in os.get_exec_path()}:
            if Path(found).is_file() and not found.startswith("/usr/lib/postgresql/"):
                where += ["--ro-bind", "/dev/null", found]
    done = played(*where, to=tmp_path)
    assert done.returncode == 1
    assert "apt install chromium" in done.stderr
    assert "apt install postgresql" in done.stderr
    assert "bubblewrap" not in done.stderr
    assert not (tmp_path / "film.md").exists()

"""The entry: the installed command and the module are the same command line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.surfaces.cli.command_line import ENTRY, environment


@pytest.mark.parametrize(
    "entry", [ENTRY, [str(Path(sys.executable).with_name("superagent"))]], ids=["module", "script"]
)
def test_it_runs_the_command_line_and_ends_with_its_exit_code(entry: list[str], tmp_path: Path) -> None:
    if not Path(entry[0]).exists():
        pytest.skip("the package is not installed, only on the path: run `make test`")
    for arguments, code in ((["version"], 0), ([], 2), (["worker"], 5)):
        done = subprocess.run([*entry, *arguments], capture_output=True, timeout=60, env=environment(), check=False)
        assert done.returncode == code


def test_the_data_folder_is_the_one_that_the_settings_name(tmp_path: Path) -> None:
    named = environment(SUPERAGENT_DATA=str(tmp_path / "named"))
    call = [*ENTRY, "call", "access.whoami"]
    done = subprocess.run(call, capture_output=True, text=True, timeout=60, env=named, check=False)
    assert (done.returncode, str(tmp_path / "named") in done.stderr) == (5, True), done.stderr
    assert not (tmp_path / "named").exists()

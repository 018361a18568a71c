"""Mounting an overlay without privileges, in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from superagent_launcher import overlay_mount
from superagent_launcher.overlay_mount import enter, main


def in_a_child(work: Callable[[], None]) -> tuple[int, str]:
    """Run something in a forked child; give its exit code and what it said on stderr."""
    read, write = os.pipe()
    child = os.fork()
    if not child:
        os.dup2(write, 2)
        sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
        code = 70
        try:
            work()
            code = 0
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else 1
        except BaseException as error:
            os.write(2, repr(error).encode())
        finally:
            sys.stderr.flush()
            os._exit(code)
    os.close(write)
    with open(read, encoding="utf-8") as said:
        text = said.read()
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), text


@pytest.fixture(name="places")
def _places(tmp_path: Path) -> tuple[str, str, str, str]:
    for name in ("lo,w:er\\", "upper", "work", "merged"):
        (tmp_path / name).mkdir()
    (tmp_path / "lo,w:er\\" / "a").write_text("x")
    at = str(tmp_path)
    return f"{at}/lo,w:er\\", f"{at}/upper", f"{at}/work", f"{at}/merged"


def test_what_is_written_lands_in_the_upper_folder_and_nothing_is_seen_outside(
    places: tuple[str, str, str, str],
) -> None:
    lower, upper, _, merged = places

    def work() -> None:
        enter(*places)
        assert os.listdir(merged) == ["a"]
        Path(merged, "b").write_text("y")
        os.unlink(f"{merged}/a")
        mounts = Path("/proc/self/mounts").read_text("utf-8")
        assert lower not in mounts
        assert "nosuid,nodev" in mounts.splitlines()[-1]

    assert in_a_child(work) == (0, "")
    assert sorted(os.listdir(upper)) == ["a", "b"]
    assert os.listdir(lower) == ["a"]
    assert os.listdir(merged) == []


def test_a_link_in_place_of_a_folder_is_refused(places: tuple[str, str, str, str]) -> None:
    lower, upper, work, merged = places
    os.rename(lower, f"{upper}/moved")
    os.symlink(f"{upper}/moved", lower)
    code, said = in_a_child(lambda: main([lower, upper, work, merged, "--", "/bin/true"]))
    assert code == 125
    assert said.startswith("overlay_mount: ")


def test_a_refused_mount_says_what_the_kernel_said(places: tuple[str, str, str, str]) -> None:
    lower, _, work, merged = places
    code, said = in_a_child(lambda: main([lower, "/proc", work, merged, "--", "/bin/true"]))
    assert (code, said.split(":")[0]) == (125, "overlay_mount")


def test_as_a_program_it_becomes_the_one_that_is_named(places: tuple[str, str, str, str]) -> None:
    show = "cat a; rm a; echo y > b"
    argv = [*places, "--", "/bin/sh", "-c", f"cd {places[3]} && {show}"]
    done = subprocess.run(
        [sys.executable, "-I", "-S", overlay_mount.__file__, *argv],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "x", "")
    assert sorted(os.listdir(places[1])) == ["a", "b"]


@pytest.mark.parametrize(
    "arguments", [[], ["a", "b", "c", "d"], ["a", "b", "c", "d", "--"], ["a", "b", "c", "d", "e", "f"]]
)
def test_too_little_said_is_said(arguments: list[str]) -> None:
    with pytest.raises(SystemExit, match="usage"):
        main(arguments)

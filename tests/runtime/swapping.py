"""A process that swaps names with links that lead out, as fast as it can: what race tests run against."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

# swaps each pair of names in one step, over and over, as a process of its own: threads would take turns
_PROGRAM = """
import os, sys
sys.path.insert(0, sys.argv[1])
from superagent.runtime.system_calls import exchange
os.chdir(sys.argv[2])
here = os.open(".", os.O_RDONLY)
inner = os.open("a", os.O_RDONLY)
parent = os.getppid()
print("swapping", flush=True)
while os.getppid() == parent:  # a test that is killed cannot end it
    exchange(here, "way", "way2")
    exchange(inner, "deep", "deep2")
    exchange(here, "leaf", "leaf2")
"""
PATHS = ("way/f.txt", "a/deep/f.txt", "leaf")
_SRC = Path(__file__).parents[2] / "src"


@contextmanager
def swapping(root: Path) -> Generator[None]:
    """Make a root with a folder `outside` beside it, and swap directories and a file in it until the block ends."""
    outside = root.parent / "outside"
    for folder in (root / "way", root / "a" / "deep", outside):
        folder.mkdir(parents=True)
        (folder / "f.txt").write_text("outside" if folder == outside else "inside")
    (root / "leaf").write_text("inside")
    (root / "way2").symlink_to("../outside")
    (root / "a" / "deep2").symlink_to(outside)
    (root / "leaf2").symlink_to("../outside/f.txt")
    program = subprocess.Popen([sys.executable, "-c", _PROGRAM, str(_SRC), str(root)], stdout=subprocess.PIPE)
    with program:
        assert program.stdout is not None
        assert program.stdout.readline() == b"swapping\n"
        try:
            yield
        finally:
            program.kill()

"""An empty namespace: no network, no other process, and of the disk only Python's own files and what is handed in."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from tests.needs import program

PLACE = "/verify"


def ran_alone(
    arguments: Sequence[str], files: Mapping[str, Path], timeout_s: float = 120.0
) -> subprocess.CompletedProcess[str]:
    """Run Python with these arguments and give what came of it; `files` are seen, read only, as /verify/<name>."""
    command = [program("bwrap", "bubblewrap"), "--unshare-all", "--die-with-parent", "--new-session", "--clearenv"]
    for path in _python():
        command += ["--ro-bind", path, path]
    command += ["--symlink", "usr/lib", "/lib", "--symlink", "usr/lib64", "/lib64"] if _merged() else []
    for name, path in files.items():
        command += ["--ro-bind", str(path), f"{PLACE}/{name}"]
    command += ["--dir", PLACE, "--chdir", PLACE, _executable(), "-s", "-E", "-B", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False)


def _executable() -> str:
    return str(Path(sys.executable).resolve())


def _merged() -> bool:
    return Path("/lib").is_symlink()


@cache
def _python() -> tuple[str, ...]:
    """Give the interpreter, its standard library without installed packages, and the libraries that these load."""
    library = Path(sys.base_prefix) / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}"
    own = [one for one in library.iterdir() if one.name not in ("site-packages", "dist-packages", "test")]
    binaries = [_executable(), *map(str, library.glob("lib-dynload/*.so"))]
    listed = subprocess.run(["ldd", *binaries], capture_output=True, text=True, timeout=60, check=False).stdout
    found = {str(Path(one).resolve()) for one in re.findall(r"(?:=> |\t)(/\S+) \(0x", listed)}
    named = set(re.findall(r"(?:=> |\t)(/\S+) \(0x", listed))
    links = {one if not _merged() else re.sub(r"^/lib", "/usr/lib", one) for one in named}
    return (_executable(), *sorted(map(str, own)), *sorted(links | found))

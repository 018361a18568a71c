"""What the sandbox can see of this machine's tools, and projects that bring tools of their own."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.needs import program
from tests.surfaces.http.house import Caller

SEEN = ("/usr/", "/bin/")


def inside(name: str, package: str | None = None, *, expected: bool = False) -> str:
    """Give a program that a sandbox sees, else skip; where CI is `expected` to have it, its absence is a failure."""
    found = shutil.which(name, path="/usr/local/bin:/usr/bin:/bin")
    if found and os.path.realpath(found).startswith(SEEN):
        return found
    if expected:
        return program(name, package)
    pytest.skip(f"`{name}` is not installed in /usr: apt install {package or name}")


def parsers() -> None:
    """Skip where no Python of this version lies in /usr: the compiled parsers of `code.explain` are made for one."""
    inside(f"python{sys.version_info.major}.{sys.version_info.minor}")


async def write(caller: Caller, path: str, content: str, mode: str | None = None) -> None:
    """Write a file of a project, and the folders that it lies in."""
    if "/" in path:
        await caller.done("files.mkdir", {"path": path.rpartition("/")[0], "parents": True})
    await caller.done("files.write", {"path": path, "content": content, **({"mode": mode} if mode else {})})


async def give_ruff(agent: Caller) -> None:
    """Put ruff, which the tests are checked with themselves, into an agent's project as its own."""
    handle = (await agent.http.put("/v1/blobs", content=(Path(sys.executable).parent / "ruff").read_bytes())).json()
    await agent.done("files.mkdir", {"path": ".venv/bin", "parents": True})
    await agent.done("files.write", {"path": ".venv/bin/ruff", "blob": handle["handle"], "mode": "0755"})


def give_pytest(workspace: Path) -> None:
    """Put pytest and what it needs, which the tests are run with themselves, into a project's `.venv`."""
    bare_venv(workspace)
    packages = next((workspace / ".venv" / "lib").glob("python3*")) / "site-packages"
    names = ("_pytest", "pytest", "py", "pluggy", "iniconfig", "packaging", "pygments", "pytest_cov", "coverage")
    for name in names:
        found = importlib.util.find_spec(name)
        assert found is not None
        assert found.origin is not None
        if not found.submodule_search_locations:
            shutil.copy(found.origin, packages)
            continue
        shutil.copytree(Path(found.origin).parent, packages / name, ignore=shutil.ignore_patterns("__pycache__"))
    for one in packages.glob("coverage/*.so"):
        one.unlink()  # made for another Python, perhaps; there is a plain one beside it
    for name in ("pytest", "pluggy", "iniconfig", "packaging", "pygments", "pytest-cov", "coverage"):
        metadata = Path(str(importlib.metadata.distribution(name).locate_file(""))).glob(
            f"{name.replace('-', '_')}-*.dist-info"
        )
        for folder in metadata:
            shutil.copytree(folder, packages / folder.name)


def bare_venv(workspace: Path) -> None:
    """Make the environment of a project with the Python of /usr, as its owner would."""
    python = inside("python3", "python3-venv", expected=True)
    command = [python, "-I", "-m", "venv", "--without-pip", str(workspace / ".venv")]
    subprocess.run(command, check=True, timeout=60, capture_output=True)

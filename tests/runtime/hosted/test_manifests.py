"""Manifests are read without importing anything, strictly, and a plugin's folder is what it says it is."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from superagent.core.problems import InvalidInput
from superagent.runtime.hosted.backoff import Backoff
from superagent.runtime.hosted.loading import allowed
from superagent.runtime.hosted.manifests import Found, Unfit, in_folders, read_manifest

GOOD = 'name = "notes"\nversion = "1.0"\nreaches = ["files"]\ncalls = ["files.read", "git.*"]\n'


def folder(at: Path, text: str | bytes) -> Path:
    at.mkdir(parents=True)
    (at / "plugin.toml").write_bytes(text if isinstance(text, bytes) else text.encode())
    return at


def test_a_manifest_says_what_a_plugin_may(tmp_path: Path) -> None:
    manifest = read_manifest(folder(tmp_path / "notes", GOOD))
    assert (manifest.name, manifest.version, manifest.module) == ("notes", "1.0", "operations")
    assert (manifest.reaches, manifest.calls, manifest.quality) == (["files"], ["files.read", "git.*"], "experimental")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "name"),
        ('name = "notes"', "version"),
        (GOOD + 'isolation = "none"', "isolation"),
        (GOOD.replace("notes", "Notes"), "small letters"),
        (GOOD.replace("notes", "../notes"), "small letters"),
        (GOOD.replace('"files"]', '"state"]'), "reaches"),
        (GOOD.replace("git.*", "*"), "domain"),
        (GOOD.replace("git.*", "git.*.x"), "domain"),
        (GOOD + 'module = "os; import x"', "module"),
        (GOOD + 'module = "../x"', "module"),
        (GOOD + 'quality = "best"', "quality"),
        (GOOD + 'summary = "\\u001b[2J"', "shown"),
        ("name = ", "no TOML"),
        (b"\xff\xfe", "no TOML"),
        ("#" * 70_000, "longer than"),
        ("a = " + "[" * 50_000, "no TOML"),
    ],
)
def test_what_a_manifest_says_wrong_is_refused_by_name(tmp_path: Path, text: str | bytes, why: str) -> None:
    with pytest.raises(Unfit, match=why):
        read_manifest(folder(tmp_path / "notes", text))


def test_a_manifest_that_is_a_link_or_a_pipe_is_not_read(tmp_path: Path) -> None:
    place = folder(tmp_path / "notes", GOOD)
    (place / "plugin.toml").rename(tmp_path / "elsewhere")
    (place / "plugin.toml").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Unfit, match="cannot be read"):
        read_manifest(place)
    (place / "plugin.toml").unlink()
    os.mkfifo(place / "plugin.toml")
    with pytest.raises(Unfit, match="is no file"):
        read_manifest(place)


def test_plugins_are_found_by_folder_and_a_wrong_one_hides_no_other(tmp_path: Path) -> None:
    folder(tmp_path / "notes", GOOD)
    folder(tmp_path / "other", GOOD)
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "notes")
    found = dict(in_folders([tmp_path, tmp_path / "nowhere"]))
    assert sorted(found) == ["notes", "other"]
    assert isinstance(found["notes"], Found)
    assert "it is called `notes`, its folder `other`" in str(found["other"])


def test_a_plugins_digest_is_of_everything_in_its_folder(tmp_path: Path) -> None:
    place = folder(tmp_path / "notes", GOOD)
    [(_, found)] = in_folders([tmp_path])
    assert isinstance(found, Found)
    first = found.digest()
    (place / "deep").mkdir()
    (place / "deep" / "engine.py").write_text("")
    second = found.digest()
    (place / "deep" / "engine.py").write_text("x = 1")
    third = found.digest()
    (place / "deep" / "engine.py").rename(place / "engine.py")
    (place / "__pycache__").mkdir()
    (place / "__pycache__" / "x.pyc").write_text("")
    assert len({first, second, third, found.digest()}) == 4
    (place / "link.py").symlink_to("/etc/passwd")
    with pytest.raises(Unfit, match=r"link\.py"):
        found.digest()


def test_the_setting_says_once_what_each_plugin_may() -> None:
    assert allowed(["notes", "web: net call:files.read"]) == {
        "notes": frozenset(),
        "web": frozenset({"net", "call:files.read"}),
    }
    for wrong in (["notes: everything"], ["No tes"], ["notes", "notes: files"], [": files"]):
        with pytest.raises(InvalidInput, match=r"plugins\.hosted"):
            allowed(wrong)


def test_each_failure_in_a_row_doubles_the_wait_and_a_success_ends_it() -> None:
    backoff = Backoff()
    waits: list[float] = []
    for _ in range(12):
        backoff.failed(100.0)
        waits.append(backoff.wait_s(100.0))
    assert waits == [0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0, 60.0]
    assert backoff.wait_s(130.0) == 30.0
    assert backoff.wait_s(161.0) == 0.0
    backoff.worked()
    assert backoff.wait_s(100.0) == 0.0

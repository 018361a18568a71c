"""Writing, editing, making and deleting through the line, and taking it back."""

from __future__ import annotations

import base64
import codecs
import errno
import hashlib
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from superagent.plugins.files.engine import renames, writing
from superagent.plugins.files.engine.places import Differs, Unfit
from superagent.testing import person
from tests.ordinary_user import open_folder, ordinary_user
from tests.plugins.files.ground import Ground


def sha(content: str | bytes) -> str:
    return hashlib.sha256(content.encode() if isinstance(content, str) else content).hexdigest()


async def test_a_new_file_is_written_and_can_be_taken_back(ground: Ground) -> None:
    done = await ground.undone("write", path="a.txt", content="hello\n")
    assert (done["created"], done["bytes"], done["sha256"]) == (True, 6, sha("hello\n"))
    assert "+hello" in done["diff"]


async def test_a_replaced_file_keeps_its_mode_and_comes_back(ground: Ground) -> None:
    ground.write("a.txt", "old\n").chmod(0o640)
    done = await ground.undone("write", path="a.txt", content="new\n")
    assert not done["created"]
    assert "-old\n+new\n" in done["diff"]
    assert (ground.top / "a.txt").read_text() == "new\n"
    assert (ground.top / "a.txt").stat().st_mode & 0o7777 == 0o640


async def test_a_mode_can_be_given_but_no_right_to_run_as_the_owner_stays(ground: Ground) -> None:
    await ground.do("write", path="a", content="x", mode="0600")
    assert (ground.top / "a").stat().st_mode & 0o7777 == 0o600
    (ground.top / "a").chmod(0o4755)
    await ground.do("write", path="a", content="y")
    assert (ground.top / "a").stat().st_mode & 0o7777 == 0o755
    assert (await ground.refused("write", path="a", content="y", mode="4755")).slug == "invalid-input"


async def test_extended_attributes_stay_with_the_file(ground: Ground) -> None:
    path = ground.write("a", "x")
    try:
        os.setxattr(path, "user.note", b"kept")
    except OSError:
        pytest.skip("this filesystem keeps no extended attributes")
    await ground.do("write", path="a", content="y")
    assert os.getxattr(path, "user.note") == b"kept"


async def test_the_owner_stays(ground: Ground) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root to give a file to somebody else")
    os.chown(ground.write("a", "x"), 1234, 4321)
    await ground.do("write", path="a", content="y")
    assert ((ground.top / "a").stat().st_uid, (ground.top / "a").stat().st_gid) == (1234, 4321)


async def test_other_encodings_bytes_and_uploads_are_written(ground: Ground) -> None:
    await ground.do("write", path="a", content="\u20ac", encoding="cp1252")
    assert (ground.top / "a").read_bytes() == b"\x80"
    await ground.do("write", path="a", content="x", encoding="utf-8-sig")
    assert (ground.top / "a").read_bytes() == codecs.BOM_UTF8 + b"x"
    done = await ground.do("write", path="a", content=base64.b64encode(b"\0\1").decode(), encoding="bytes")
    assert (ground.top / "a").read_bytes() == b"\0\1"
    assert done["diff"] == "binary content\n"

    async def upload() -> AsyncIterator[bytes]:
        yield b"uploaded"

    handle = await ground.world.blobs.put(person(), upload())
    await ground.do("write", path="a", blob=handle)
    assert (ground.top / "a").read_bytes() == b"uploaded"
    done = await ground.do("write", path="a", content="x" * 2_000_000)
    assert done["diff"] == "too large to show\n"
    assert (await ground.do("write", path="a", content="small"))["diff"] == "too large to show\n"


async def test_a_file_that_exists_is_not_replaced_when_only_a_new_one_is_meant(ground: Ground) -> None:
    await ground.do("write", path="a", content="x", create_only=True)
    assert (await ground.refused("write", path="a", content="y", create_only=True)).slug == "conflict"


async def test_a_file_is_replaced_only_if_it_has_the_expected_content(ground: Ground) -> None:
    ground.write("a", "read before")
    assert (await ground.refused("write", path="a", content="y", expected_hash=sha("else"))).slug == "conflict"
    assert (await ground.refused("write", path="none", content="y", expected_hash=sha("x"))).slug == "conflict"
    await ground.do("write", path="a", content="y", expected_hash=sha("read before").upper())
    assert (ground.top / "a").read_text() == "y"


async def test_writing_through_a_link_changes_what_it_leads_to(ground: Ground) -> None:
    ground.write("real/a", "old")
    (ground.top / "link").symlink_to("real/a")
    done = await ground.undone("write", path="link", content="new")
    assert done["path"] == f"{ground.top}/real/a"
    assert (ground.top / "link").is_symlink()


@pytest.mark.parametrize(
    ("input", "slug", "says"),
    [
        ({}, "invalid-input", "exactly one"),
        ({"content": "x", "blob": "b"}, "invalid-input", "exactly one"),
        ({"content": "x", "encoding": "bytes"}, "invalid-input", "not base64"),
        ({"content": "\u20ac", "encoding": "latin-1"}, "invalid-input", "cannot write"),
        ({"content": "x", "encoding": "klingon"}, "invalid-input", "no text encoding"),
        ({"content": "x", "path": "folder"}, "conflict", "is a directory"),
        ({"content": "x", "path": "pipe"}, "conflict", "a fifo"),
        ({"content": "x", "path": "none/a"}, "not-found", "folder that would hold"),
    ],
)
async def test_what_makes_no_sense_is_refused(ground: Ground, input: dict[str, str], slug: str, says: str) -> None:
    (ground.top / "folder").mkdir()
    os.mkfifo(ground.top / "pipe")
    problem = await ground.refused("write", **{"path": "a", **input})
    assert problem.slug == slug
    assert says in problem.detail


async def test_a_preview_shows_the_diff_and_what_stands_against_it(ground: Ground) -> None:
    ground.write("a", "old\n")
    shown = await ground.preview("write", path="a", content="new\n")
    assert "-old\n+new\n" in shown["diff"]
    assert shown["changes"] == [f"{ground.top}/a"]
    assert (await ground.preview("write", path="b", content="x"))["conflicts"] == []
    shown = await ground.preview("write", path="a", content="new\n", create_only=True, expected_hash=sha("x"))
    assert len(shown["conflicts"]) == 2


async def test_an_edit_keeps_encoding_mark_and_newlines(ground: Ground) -> None:
    before = codecs.BOM_UTF16_LE + "one\r\ntwo\r\nthree\r\n".encode("utf-16-le")
    ground.write("a", before)
    done = await ground.undone("edit", path="a", old="one\ntwo\n", new="1\n2\n")
    assert done["replaced"] == 1
    assert (ground.top / "a").read_bytes() == codecs.BOM_UTF16_LE + "1\r\n2\r\nthree\r\n".encode("utf-16-le")


async def test_an_edit_must_match_exactly_as_often_as_said(ground: Ground) -> None:
    ground.write("a", "x = 1\n  y = 2\nx = 1\n")
    problem = await ground.refused("edit", path="a", old="x = 1", new="z")
    assert "2 times, not 1: it begins in the lines 1, 3" in problem.detail
    problem = await ground.refused("edit", path="a", old="y = 2\nx  = 1", new="z")
    assert "read the file" in (problem.hint or "")
    problem = await ground.refused("edit", path="a", old="    y = 2\n", new="z")
    assert "from 2 are the same but for white space" in (problem.hint or "")
    assert "files.write" in ((await ground.refused("edit", path="a", old="", new="z")).hint or "")
    await ground.do("edit", path="a", old="x = 1", new="z", count=2)
    assert (ground.top / "a").read_text() == "z\n  y = 2\nz\n"


async def test_an_edit_of_what_is_no_text_or_changed_is_refused(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    ground.write("a", b"\0\1x")
    assert "not text" in (await ground.refused("edit", path="a", old="x", new="y")).detail
    ground.write("b", "x")
    assert (await ground.refused("edit", path="b", old="x", new="y", expected_hash=sha("z"))).slug == "conflict"
    monkeypatch.setattr("superagent.plugins.files.writing.MOST_EDITED", 100)
    ground.write("huge", "x" * 101)
    assert "larger than" in (await ground.refused("edit", path="huge", old="x", new="y")).detail


async def test_an_edit_can_be_looked_at_first(ground: Ground) -> None:
    ground.write("a", "old\n")
    assert "-old\n+new\n" in (await ground.preview("edit", path="a", old="old", new="new"))["diff"]


async def test_folders_are_made_and_taken_back(ground: Ground) -> None:
    await ground.undone("mkdir", path="a")
    assert (await ground.refused("mkdir", path="a")).slug == "conflict"
    assert (await ground.refused("mkdir", path="x/y")).slug == "not-found"
    await ground.undone("mkdir", path="x/y/z", parents=True, mode="0700")
    assert (ground.top / "x" / "y" / "z").stat().st_mode & 0o777 == 0o700
    assert await ground.do("mkdir", path="x/y/z", parents=True) == {"path": f"{ground.top}/x/y/z", "created": False}
    ground.write("file")
    assert (await ground.refused("mkdir", path="file", parents=True)).slug == "conflict"
    assert (await ground.refused("mkdir", path="file/x", parents=True)).slug == "not-found"


async def test_a_folder_whose_name_is_taken_this_very_moment_leaves_nothing_behind(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    def taken(*_: object) -> None:
        raise FileExistsError(errno.EEXIST, "taken")

    monkeypatch.setattr(renames, "take_new", taken)
    problem = (await ground.call("mkdir", path="a/b", parents=True)).problem
    assert problem is not None
    assert problem.slug == "conflict"
    assert os.listdir(ground.top) == []


async def test_making_a_folder_can_be_looked_at_first(ground: Ground) -> None:
    assert (await ground.preview("mkdir", path="x/y", parents=True))["changes"] == [f"{ground.top}/x"]
    (ground.top / "a").mkdir()
    assert (await ground.preview("mkdir", path="a"))["conflicts"]
    assert not (await ground.preview("mkdir", path="a", parents=True))["conflicts"]


async def test_a_file_is_deleted_and_comes_back(ground: Ground) -> None:
    ground.write("a", b"\0binary").chmod(0o600)
    assert await ground.undone("delete", path="a") == {"path": f"{ground.top}/a", "type": "file", "entries": 0}
    assert os.listdir(ground.top) == []


async def test_a_folder_is_deleted_only_if_it_is_said_so(ground: Ground) -> None:
    ground.write("d/e/f", "x")
    (ground.top / "empty").mkdir()
    assert (await ground.refused("delete", path="d")).slug == "conflict"
    assert (await ground.undone("delete", path="d", recursive=True))["entries"] == 2
    await ground.do("delete", path="empty")
    assert (await ground.refused("delete", path="none")).slug == "not-found"


async def test_deleting_a_link_leaves_what_it_leads_to(ground: Ground) -> None:
    ground.write("a", "x")
    (ground.top / "link").symlink_to("a")
    await ground.undone("delete", path="link")
    assert (ground.top / "a").read_text() == "x"


async def test_deleting_can_be_looked_at_first(ground: Ground) -> None:
    ground.write("d/e", "x")
    assert "the folder" not in (await ground.preview("delete", path="d", recursive=True))["summary"]
    assert "with the 1 entries" in (await ground.preview("delete", path="d", recursive=True))["summary"]


def test_a_name_taken_this_very_moment_is_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = os.open(tmp_path, os.O_RDONLY)
    real = writing.take_new

    def racing(*args: int | str) -> None:
        (tmp_path / "a").write_text("somebody else")
        real(*args)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(writing, "take_new", racing)
    with pytest.raises(Differs, match="this very moment"):
        writing.write(here, "a", b"mine")
    os.close(here)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"a": "somebody else"}


@pytest.mark.parametrize("third", [False, True])
def test_what_was_written_between_the_look_and_the_swap_is_not_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, third: bool
) -> None:
    here = os.open(tmp_path, os.O_RDONLY)
    path = tmp_path / "a"
    path.write_text("expected")
    real = writing.exchange
    calls: list[int] = []

    def racing(*args: int | str) -> bool:
        if not calls:
            (tmp_path / "b").write_text("second")
            os.replace(tmp_path / "b", path)
        elif third:
            (tmp_path / "b").write_text("third")
            os.replace(tmp_path / "b", path)
        calls.append(1)
        return real(*args)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(writing, "exchange", racing)
    with pytest.raises(Differs, match="the file changed"):
        writing.write(here, "a", b"mine", expected_hash=sha("expected"))
    os.close(here)
    assert {one.name: one.read_text() for one in tmp_path.iterdir()} == {"a": "third" if third else "second"}


def test_where_the_filesystem_cannot_swap_it_is_compared_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = os.open(tmp_path, os.O_RDONLY)
    (tmp_path / "a").write_text("expected")

    def cannot(*_: object) -> bool:
        return False

    monkeypatch.setattr(writing, "exchange", cannot)
    writing.write(here, "a", b"mine", expected_hash=sha("expected"))
    os.close(here)
    assert {one.name: one.read_text() for one in tmp_path.iterdir()} == {"a": "mine"}


def test_only_a_file_is_ever_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    here = os.open(tmp_path, os.O_RDONLY)
    with pytest.raises(Unfit, match="no file"):
        writing.write(here, "pipe", b"x")
    with pytest.raises(IsADirectoryError):
        writing.write(here, "folder", b"x")
    os.close(here)


async def test_what_the_system_refuses_is_said_and_nothing_is_changed() -> None:
    with open_folder() as folder:
        ground = Ground(folder)
        ground.write("closed/a", "x")
        (ground.top / "closed").chmod(0o555)
        (folder / "kept").chmod(0o777)
        os.chown(folder / "kept", 65534, 65534)
        with ordinary_user():
            outcome = await ground.call("write", path="closed/b", content="y")
            (folder / "kept").chmod(0o700)
        (ground.top / "closed").chmod(0o755)
    assert outcome.problem is not None
    assert (outcome.problem.slug, outcome.problem.changed) == ("denied", "nothing")
    assert "the operating system refused" in outcome.problem.detail
    assert renames.aside("a") != renames.aside("a")


@pytest.mark.parametrize("encoding", ["punycode", "idna", "undefined"])
async def test_an_encoding_whose_time_grows_with_the_square_is_refused(ground: Ground, encoding: str) -> None:
    problem = await ground.refused("write", path="a", content="\u4e2d\u6587", encoding=encoding)
    assert problem.slug == "invalid-input"

"""Listing, describing, hashing and comparing through the line."""

from __future__ import annotations

import hashlib
import os
from typing import Any

import pytest

from tests.ordinary_user import open_folder, ordinary_user
from tests.plugins.files.ground import Ground


@pytest.fixture
def tree(ground: Ground) -> Ground:
    for name, size in (("b/deep/x.txt", 1), ("a.txt", 30), ("c.bin", 20), (".hidden/y", 5)):
        ground.write(name, "z" * size)
    (ground.top / "link").symlink_to("a.txt")
    for number, name in enumerate(("a.txt", "b", "c.bin")):
        os.utime(ground.top / name, (1000 + number, 1000 + number))
    return ground


def paths(found: Any) -> list[str]:
    return [entry["path"] for entry in found["entries"]]


async def test_a_folder_is_listed_with_what_lies_in_it(tree: Ground) -> None:
    found = await tree.do("list", path="")
    assert paths(found) == [".hidden", "a.txt", "b", "c.bin", "link"]
    assert found["entries"][1] == {
        "path": "a.txt",
        "type": "file",
        "size": 30,
        "mode": "0644",
        "mtime": "1970-01-01T00:16:40Z",
        "target": None,
    }
    assert (found["entries"][4]["type"], found["entries"][4]["target"]) == ("link", "a.txt")


async def test_depth_sorting_hiding_and_limit(tree: Ground) -> None:
    assert paths(await tree.do("list", path="", depth=3, hidden=False)) == [
        "a.txt",
        "b",
        "b/deep",
        "b/deep/x.txt",
        "c.bin",
        "link",
    ]
    by_size = await tree.do("list", path="b", sort="size", depth=2)
    assert paths(by_size)[-1] == "deep/x.txt"
    assert paths(await tree.do("list", path="", sort="mtime", hidden=False))[-1] == "a.txt"
    cut = await tree.do("list", path="", limit=2)
    assert (len(cut["entries"]), cut["truncated"]) == (2, True)
    cut = await tree.do("list", path="", limit=2, sort="size")
    assert (len(cut["entries"]), cut["truncated"]) == (2, True)


async def test_what_is_no_folder_cannot_be_listed(tree: Ground) -> None:
    assert "not a folder" in (await tree.refused("list", path="a.txt")).detail
    assert (await tree.refused("list", path="none")).slug == "not-found"


async def test_everything_about_a_thing_is_told(tree: Ground) -> None:
    try:
        os.setxattr(tree.top / "a.txt", "user.note", b"text")
        os.setxattr(tree.top / "a.txt", "user.raw", b"\xff")
        os.setxattr(tree.top / "a.txt", "user.control", b"\1")
        attributes = {"user.note": "text", "user.raw": "base64:/w==", "user.control": "base64:AQ=="}
    except OSError:
        attributes = {}
    os.chown(tree.top / "a.txt", os.getuid(), os.getgid())
    found = await tree.do("stat", path="a.txt")
    assert (found["type"], found["size"], found["mode"], found["links"], found["target"]) == (
        "file",
        30,
        "0644",
        1,
        None,
    )
    assert (found["uid"], found["gid"]) == (os.getuid(), os.getgid())
    assert found["owner"]
    assert found["attributes"] == attributes
    link = await tree.do("stat", path="link")
    assert (link["type"], link["target"]) == ("link", "a.txt")


async def test_owners_without_a_name_are_told_by_number(tree: Ground) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root to give a file to somebody who does not exist")
    os.chown(tree.top / "a.txt", 54321, 54322)
    found = await tree.do("stat", path="a.txt")
    assert (found["owner"], found["group"]) == ("54321", "54322")


async def test_existence_is_told_with_the_type(tree: Ground) -> None:
    (tree.top / "dangling").symlink_to("nowhere")
    assert await tree.do("exists", path="b") == {"exists": True, "type": "directory"}
    assert await tree.do("exists", path="link") == {"exists": True, "type": "file"}
    for name in ("none", "none/deeper", "dangling"):
        assert await tree.do("exists", path=name) == {"exists": False, "type": None}


async def test_a_file_has_the_usual_checksum_and_a_tree_has_one_of_all_in_it(tree: Ground) -> None:
    for algorithm in ("sha256", "blake2b", "sha1", "md5"):
        found = await tree.do("hash", path="a.txt", algorithm=algorithm)
        assert found["digest"] == hashlib.new(algorithm, b"z" * 30).hexdigest()
    before = await tree.do("hash", path="")
    assert (before["files"], before["bytes"]) == (4, 56)
    os.utime(tree.top / "a.txt")
    (tree.top / "a.txt").chmod(0o600)
    assert (await tree.do("hash", path=""))["digest"] == before["digest"]
    for change in (
        lambda: (tree.top / "c.bin").write_text("other"),
        lambda: (tree.top / "c.bin").rename(tree.top / "d.bin"),
        lambda: ((tree.top / "link").unlink(), (tree.top / "link").symlink_to("b")),
        lambda: (tree.top / "b" / "empty").mkdir(),
    ):
        change()
        after = await tree.do("hash", path="")
        assert after["digest"] != before["digest"]
        before = after


async def test_two_files_are_compared_line_by_line(ground: Ground) -> None:
    ground.write("a", "same\nold\n")
    ground.write("b", "same\nnew\n")
    found = await ground.do("diff", a="a", b="b")
    assert not found["equal"]
    assert found["diff"] == f"--- {ground.top}/a\n+++ {ground.top}/b\n@@ -1,2 +1,2 @@\n same\n-old\n+new\n"
    assert (await ground.do("diff", a="a", b="a"))["equal"]


async def test_what_has_no_lines_is_only_said_to_differ(ground: Ground) -> None:
    big = 2 * 1024 * 1024
    ground.write("a", b"\0\1")
    ground.write("b", b"\0\2")
    ground.write("c", "x" * big)
    ground.write("d", "x" * (big - 1) + "y")
    ground.write("e", "e".encode("utf-16"))
    ground.write("f", "e")
    assert "binary files" in (await ground.do("diff", a="a", b="b"))["diff"]
    assert "too large" in (await ground.do("diff", a="c", b="d"))["diff"]
    assert "too large" in (await ground.do("diff", a="a", b="d"))["diff"]
    assert (await ground.do("diff", a="c", b="c"))["equal"]
    assert "only the encoding" in (await ground.do("diff", a="e", b="f"))["diff"]


async def test_two_folders_are_compared(ground: Ground) -> None:
    for name, content in (("one/same", "s"), ("one/changed", "old\n"), ("one/gone", "g"), ("one/mode", "m")):
        ground.write(name, content)
    for name, content in (("two/same", "s"), ("two/changed", "new\n"), ("two/added", "a"), ("two/mode", "m")):
        ground.write(name, content)
    (ground.top / "two" / "mode").chmod(0o600)
    (ground.top / "one" / "link").symlink_to("a")
    (ground.top / "two" / "link").symlink_to("b")
    found = await ground.do("diff", a="one", b="two")
    assert (found["removed"], found["added"]) == (["gone"], ["added"])
    assert found["changed"] == ["changed", "link", "mode"]
    assert "-old\n+new\n" in found["diff"]
    assert not found["truncated"]
    assert (await ground.do("diff", a="one", b="one"))["equal"]
    assert (await ground.refused("diff", a="one", b="one/same")).slug == "invalid-input"


async def test_files_that_differ_everywhere_are_only_said_to(ground: Ground) -> None:
    ground.write("a", "a\n" * 6000)
    ground.write("b", "b\n" * 6000)
    assert "too many to show" in (await ground.do("diff", a="a", b="b"))["diff"]


async def test_a_file_of_holes_takes_no_longer_than_the_call_may(ground: Ground) -> None:
    with (ground.top / "holes").open("wb") as file:
        file.truncate(1 << 43)
    for operation, input in (("hash", {"path": "holes"}), ("diff", {"a": "", "b": ""})):
        absolute = {key: f"{ground.top}/{value}".rstrip("/") for key, value in input.items()}
        outcome = await ground.world.run(f"files.{operation}", absolute, deadline_s=0.5)
        assert outcome.problem is not None
        assert outcome.problem.slug == "deadline"


async def test_too_many_differences_are_cut_and_said(ground: Ground) -> None:
    for number in range(3):
        ground.write(f"one/{number}", "".join(f"{line} {'o' * 100}\n" for line in range(4500)))
        ground.write(f"two/{number}", "".join(f"{line} {'n' * 100}\n" for line in range(4500)))
    found = await ground.do("diff", a="one", b="two")
    assert found["truncated"]
    assert len(found["diff"]) < 1024 * 1024


async def test_what_the_system_will_not_show_is_named() -> None:
    with open_folder() as folder:
        ground = Ground(folder)
        ground.top.chmod(0o755)
        ground.write("open/a", "x")
        ground.write("closed/b", "x").parent.chmod(0)
        with ordinary_user():
            found = await ground.do("list", path="", depth=2)
        (ground.top / "closed").chmod(0o755)
    assert paths(found) == ["closed", "open", "open/a"]
    assert found["unreadable"] == [f"{ground.top}/closed"]

"""Applying unified diffs through the line: all or nothing."""

from __future__ import annotations

import os
from typing import Any

import pytest

from superagent.core.grants import Grant
from superagent.plugins.files import patching
from tests.plugins.files.ground import Ground, within

MANY = """\
diff --git a/changed.txt b/changed.txt
index 1111111..2222222 100644
--- a/changed.txt
+++ b/changed.txt
@@ -1,3 +1,3 @@ heading
 one
-two
+2
 three
@@ -10,2 +10,3 @@
 ten
 eleven
+twelve
diff --git a/new/deep/made.txt b/new/deep/made.txt
new file mode 100755
--- /dev/null
+++ b/new/deep/made.txt
@@ -0,0 +1,2 @@
+made
+here
\\ No newline at end of file
diff --git a/gone.txt b/gone.txt
deleted file mode 100644
--- a/gone.txt
+++ /dev/null
@@ -1 +0,0 @@
-gone
diff --git a/old.txt b/moved.txt
similarity index 50%
rename from old.txt
rename to moved.txt
--- a/old.txt
+++ b/moved.txt
@@ -1 +1 @@
-old
+new
diff --git a/new/second.txt b/new/second.txt
new file mode 100644
index 0000000..e69de29
"""


@pytest.fixture
def tree(ground: Ground) -> Ground:
    lines = ["one", "two", "three", *(str(number) for number in range(4, 10)), "ten", "eleven"]
    ground.write("changed.txt", "\n".join(lines) + "\n")
    ground.write("gone.txt", "gone\n")
    ground.write("old.txt", "old\n").chmod(0o600)
    return ground


def patch(name: str, *lines: str, hunk: str = "@@ -1 +1 @@") -> str:
    return f"--- a/{name}\n+++ b/{name}\n{hunk}\n" + "".join(f"{line}\n" for line in lines)


async def test_one_patch_changes_makes_deletes_and_renames_files(tree: Ground) -> None:
    done = await tree.undone("patch", patch=MANY, root="")
    assert [(one["path"], one["change"]) for one in done["files"]] == [
        ("changed.txt", "changed"),
        ("new/deep/made.txt", "created"),
        ("gone.txt", "deleted"),
        ("moved.txt", "renamed from old.txt"),
        ("new/second.txt", "created"),
    ]
    assert (tree.top / "changed.txt").read_text().startswith("one\n2\nthree\n4\n")
    assert (tree.top / "changed.txt").read_text().endswith("eleven\ntwelve\n")
    assert (tree.top / "new" / "deep" / "made.txt").read_text() == "made\nhere"
    assert (tree.top / "new" / "deep" / "made.txt").stat().st_mode & 0o777 == 0o755
    assert not (tree.top / "gone.txt").exists()
    assert (tree.top / "moved.txt").read_text() == "new\n"
    assert (tree.top / "moved.txt").stat().st_mode & 0o777 == 0o600
    assert (tree.top / "new" / "second.txt").read_text() == ""


async def test_if_one_hunk_does_not_fit_nothing_is_changed(tree: Ground) -> None:
    (tree.top / "old.txt").write_text("other\n")
    problem = await tree.refused("patch", patch=MANY, root="")
    assert problem.slug == "conflict"
    assert "hunk 1, at line 1, does not fit" in problem.detail


async def test_if_the_disk_fails_halfway_all_is_put_back(tree: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(*_: object) -> None:
        raise OSError(5, "the disk is broken")

    monkeypatch.setattr(patching, "_remove", breaks)
    assert (await tree.refused("patch", patch=MANY, root="")).slug == "unavailable"


async def test_what_is_not_what_was_written_is_found_out(tree: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    real = patching.writing.write

    def garbles(dir_fd: int, name: str, data: bytes, **more: Any) -> object:
        return real(dir_fd, name, data + b"garbled", **more)

    monkeypatch.setattr(patching.writing, "write", garbles)
    assert "not what was written" in (await tree.refused("patch", patch=MANY, root="")).detail


async def test_a_file_that_changes_between_look_and_deletion_stays(
    tree: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = patching._apply  # pyright: ignore[reportPrivateUsage]

    def racing(*args: Any) -> object:
        (tree.top / "gone.txt").write_text("somebody else")
        return real(*args)

    monkeypatch.setattr(patching, "_apply", racing)
    outcome = await tree.call("patch", patch="--- a/gone.txt\n+++ /dev/null\n@@ -1 +0,0 @@\n-gone\n", root="")
    assert outcome.problem is not None
    assert "changed since" in outcome.problem.detail


async def test_a_moved_place_is_found_if_there_is_only_one(tree: Ground) -> None:
    await tree.do("patch", root="", patch=patch("changed.txt", " ten", "-eleven", "+11", hunk="@@ -2,2 +2,2 @@"))
    assert (tree.top / "changed.txt").read_text().endswith("ten\n11\n")
    tree.write("same", "x\na\nx\nb\n")
    problem = await tree.refused("patch", root="", patch=patch("same", "-x", "+y", hunk="@@ -2 +2 @@"))
    assert "fits 2 places" in problem.detail


async def test_newlines_and_encoding_of_the_file_are_kept(tree: Ground) -> None:
    tree.write("crlf", "one\r\ntwo\r\n")
    await tree.undone("patch", root="", patch=patch("crlf", " one", "-two", "+2", hunk="@@ -1,2 +1,2 @@"))
    assert (tree.top / "crlf").read_bytes() == b"one\r\n2\r\n"
    exact = patch("crlf", " one\r", "-2\r", "+two\r", hunk="@@ -1,2 +1,2 @@")
    await tree.do("patch", root="", patch=exact)
    assert (tree.top / "crlf").read_bytes() == b"one\r\ntwo\r\n"
    mailed = patch("gone.txt", "-gone", "+here").replace("\n", "\r\n")  # it went through something that writes CRLF
    await tree.do("patch", root="", patch=mailed)
    assert (tree.top / "gone.txt").read_bytes() == b"here\n"
    tree.write("wide", "\ufeffone\n".encode("utf-16-le"))
    await tree.do("patch", root="", patch=patch("wide", "-one", "+\u20ac"))
    assert (tree.top / "wide").read_bytes() == "\ufeff\u20ac\n".encode("utf-16-le")


async def test_a_missing_line_end_is_put_in_and_taken_away(tree: Ground) -> None:
    tree.write("a", "x")
    await tree.do("patch", root="", patch=patch("a", "-x", "\\ No newline at end of file", "+x"))
    assert (tree.top / "a").read_bytes() == b"x\n"
    await tree.do("patch", root="", patch=patch("a", "-x", "+y", "\\ No newline at end of file"))
    assert (tree.top / "a").read_bytes() == b"y"
    tree.write("a", "x\ny\n")
    problem = await tree.refused("patch", root="", patch=patch("a", "-x", "+z", "\\ No newline at end of file"))
    assert "line end" in problem.detail


async def test_plain_names_quoted_names_and_modes_are_understood(tree: Ground) -> None:
    plain = patch("gone.txt", "-gone", "+here").replace("a/gone.txt", "gone.txt\t2026-01-01").replace("b/gone", "gone")
    await tree.do("patch", root="", patch=plain)
    assert (tree.top / "gone.txt").read_text() == "here\n"
    quoted = 'diff --git "a/\\303\\251\\t\\".txt" "b/\\303\\251\\t\\".txt"\nnew file mode 100644\n--- /dev/null\n'
    quoted += '+++ "b/\\303\\251\\t\\".txt"\n@@ -0,0 +1 @@\n+x\n'
    await tree.do("patch", root="", patch=quoted)
    assert (tree.top / '\u00e9\t".txt').read_text() == "x\n"
    odd = 'diff --git "a/\\377" "b/\\377"\nnew file mode 100644\n'  # a byte that is not UTF-8 stays a character
    await tree.do("patch", root="", patch=odd)
    assert (tree.top / "\u00ff").read_text() == ""
    await tree.do("patch", root="", patch="diff --git a/old.txt b/old.txt\nold mode 100644\nnew mode 100755\n")
    assert (tree.top / "old.txt").stat().st_mode & 0o777 == 0o755
    await tree.do("patch", root="", patch="diff --git a/old.txt b/n.txt\nrename from old.txt\nrename to n.txt\n")
    assert (tree.top / "n.txt").read_text() == "old\n"


GIT = "diff --git a/x b/x\n"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("no patch", "names no file"),
        (patch("../x", "-a", "+b"), "does not lie beneath"),
        ("--- /etc/x\n+++ /etc/x\n@@ -1 +1 @@\n-a\n+b\n", "does not lie beneath"),
        (patch("a//b", "-a", "+b"), "does not lie beneath"),
        (patch("x", "-a", "+b") * 2, "changes `x` twice"),
        (patch("x", " a", "-b", hunk="@@ -1,9 +1,9 @@"), "shorter than"),
        (patch("x", "-a", "-b", "+c", hunk="@@ -1 +1 @@"), "longer than"),
        (patch("x", "?a"), "shorter than"),
        ("@@ -1 +1 @@\n-a\n+b\n", "belongs to no file"),
        ("+++ b/x\n", "belongs to no file"),
        ("--- a/x\n+++ b/x\nnothing\n", "should begin with `@@ -`"),
        ("--- /dev/null\n+++ /dev/null\n@@ -1 +1 @@\n-a\n+b\n", "names no file"),
        (GIT + "GIT binary patch\n", "binary content"),
        (GIT + "copy from x\ncopy to y\n", "copies a file"),
        (GIT + "new file mode 120000\n", "no plain file"),
    ],
)
async def test_a_patch_that_is_not_understood_is_refused(tree: Ground, text: str, says: str) -> None:
    problem = await tree.refused("patch", patch=text, root="")
    assert problem.slug == "invalid-input"
    assert says in problem.detail


@pytest.mark.parametrize(
    ("text", "slug", "says"),
    [
        (patch("none", "-a", "+b"), "not-found", "does not exist"),
        (patch("none/x", "-a", "+b"), "not-found", ""),
        (patch("binary", "-a", "+b"), "invalid-input", "not text"),
        (patch("link", "-gone", "+b"), "conflict", "a link"),
        ("--- /dev/null\n+++ b/gone.txt\n@@ -0,0 +1 @@\n+x\n", "conflict", "exists already"),
        ("--- a/old.txt\n+++ /dev/null\n@@ -1 +0,0 @@\n-older\n", "conflict", "does not fit"),
        ("diff --git a/old.txt b/old.txt\ndeleted file mode 100644\n", "conflict", "does not hold all"),
        ("--- a/old.txt\n+++ b/old.txt\n@@ -5,0 +6 @@\n+x\n", "conflict", "does not fit"),
    ],
)
async def test_a_patch_that_does_not_fit_is_refused(tree: Ground, text: str, slug: str, says: str) -> None:
    tree.write("binary", b"\0a\n")
    (tree.top / "link").symlink_to("gone.txt")
    problem = await tree.refused("patch", patch=text, root="")
    assert problem.slug == slug
    assert says in problem.detail


async def test_a_patch_can_be_looked_at_first(tree: Ground) -> None:
    shown = await tree.preview("patch", patch=MANY, root="")
    assert shown["summary"] == "would patch 5 file(s)"
    assert f"{tree.top}/moved.txt" in shown["changes"]
    assert "-two\n+2\n" in shown["diff"]
    tree.write("changed.txt", "else")
    assert (await tree.preview("patch", patch=MANY, root=""))["conflicts"]


async def test_each_file_of_a_patch_is_judged(ground: Ground) -> None:
    denied = Ground(ground.top.parent, [within(f"{ground.top}/**"), within(f"{ground.top}/locked", effect="deny")])
    denied.write("open", "a\n")
    denied.write("locked", "a\n")
    await denied.do("patch", root="", patch=patch("open", "-a", "+b"))
    both = patch("open", "-b", "+c") + patch("locked", "-a", "+b")
    assert (await denied.refused("patch", root="", patch=both)).slug in ("denied", "not-found")


async def test_deleting_by_a_patch_needs_the_right_to_destroy(ground: Ground) -> None:
    grant: Grant = within(f"{ground.top}/**").model_copy(update={"effects": ["READ", "CHANGE"]})
    limited = Ground(ground.top.parent, [grant])
    limited.write("gone.txt", "gone\n")
    text = "--- a/gone.txt\n+++ /dev/null\n@@ -1 +0,0 @@\n-gone\n"
    assert (await limited.refused("patch", root="", patch=text)).slug == "denied"
    assert os.listdir(limited.top) == ["gone.txt"]

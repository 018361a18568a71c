"""What a command did in a view is told path by path, whatever it did."""

from __future__ import annotations

import os
from collections.abc import Generator

import pytest

from superagent.core.problems import Deadline
from superagent.runtime.sandbox.view import Mounting
from superagent.runtime.sandbox.view_diff import CHANGED_SINCE, GONE_SINCE, MOUNTED, read_diff
from superagent.runtime.sandbox.view_places import open_sides
from superagent.runtime.sandbox.view_text import MOST_LINES, text_of
from tests.runtime.sandbox.viewing import WAYS, Desk, desk, mounted, state_of


@pytest.fixture(name="made")
def _made() -> Generator[Desk]:
    with desk() as made:
        yield made


@pytest.fixture(params=WAYS, name="way")
def _way(request: pytest.FixtureRequest) -> Mounting:
    return request.param


def test_each_kind_of_change_is_told(made: Desk, way: Mounting) -> None:
    made.fill(
        {"same": "s", "edit": "old\n", "gone": "g", "mode": "m", "d/in": "1", "d/e/deep": "2", "swap": "x", "t": "t"}
    )
    before = state_of(made.real)
    id = made.after(
        way,
        "echo new > edit; rm gone; chmod 755 mode; rm -r d; mkdir fresh; echo n > fresh/n; rm swap; mkdir swap;"
        "echo i > swap/i; ln -s edit link; echo s2 > same; printf s > same; mkfifo pipe; cat t > t2; mv t2 t",
    )
    kinds = {path: one.kind for path, one in made.by_path(id).items()}
    assert kinds == {
        "edit": "modified", "gone": "deleted", "mode": "mode", "d": "deleted", "d/in": "deleted", "d/e": "deleted",
        "d/e/deep": "deleted", "fresh": "directory", "fresh/n": "created", "swap": "replaced", "swap/i": "created",
        "link": "symlink", "pipe": "created",
    }  # fmt: skip
    assert not [one for one in made.diff(id).differences if one.conflict or one.refused or one.notes or one.steers]
    assert state_of(made.real) == before


def test_second_names_and_other_targets_are_told(made: Desk, way: Mounting) -> None:
    made.fill({"a": "x"})
    (made.real / "l").symlink_to("a")
    found = made.by_path(made.after(way, "echo 1 > n; ln n m; ln a b; ln -sfn n l"))
    assert {path: one.kind for path, one in found.items()} == {
        "b": "created", "l": "symlink", "m": "created", "n": "created",
    }  # fmt: skip
    assert {path for path, one in found.items() if one.notes} == {"b", "m", "n"}


def test_a_reading_ends_when_its_time_is_up(made: Desk, way: Mounting) -> None:
    id = made.after(way, "mkdir d; echo 1 > d/e")
    ticks = iter(range(3))

    def tick() -> None:
        if next(ticks, None) is None:
            raise Deadline("no more time")

    with made.views.use(id) as use, pytest.raises(Deadline):
        read_diff(use.view, made.views.records.origin(use.record), tick=tick)


def conflicts(made: Desk, id: str) -> dict[str, str]:
    """Give the conflicts by path; paths without one have an empty text."""
    return {one.path: one.conflict for one in made.diff(id).differences}


def test_equal_work_gives_equal_digests_whatever_the_way(made: Desk) -> None:
    made.fill({"a": "x", "d/b": "y"})
    script = "echo 1 > a; rm -r d; mkdir d; echo 2 > d/c; ln -s a l; chmod 700 a"
    digests = {made.diff(made.after(way, script)).digest for way in ("before", "copy")}
    assert len(digests) == 1
    assert made.diff(made.after("before", script.replace("700", "750"))).digest not in digests
    assert made.diff(made.after("before", script.replace("-s a", "-s b"))).digest not in digests
    made.fill({"a": "other"})  # what it would replace counts as well
    assert made.diff(made.after("before", script)).digest not in digests


def test_what_was_changed_in_the_folder_since_is_a_conflict(made: Desk, way: Mounting) -> None:
    made.fill({"both": "x", "gone": "x", "mode": "x", "theirs": "x", "tree/a": "1", "tree/b": "2", "dir/x": "x"})
    id = made.after(way, "echo 1 > both; rm gone; chmod 700 mode; rm -r tree; echo new > new; echo n > dir/n")
    assert set(conflicts(made, id).values()) == {""}
    for name in ("both", "gone", "theirs", "tree/b"):
        (made.real / name).write_text("later")
    (made.real / "mode").chmod(0o711)
    (made.real / "new").write_text("theirs")
    (made.real / "dir" / "other").write_text("theirs")
    (made.real / "tree" / "c").write_text("theirs")
    found = conflicts(made, id)
    assert {path for path, why in found.items() if why == CHANGED_SINCE} == {
        "both", "gone", "mode", "tree", "tree/b", "tree/c", "new",
    }  # fmt: skip
    assert {path for path, why in found.items() if not why} == {"tree/a", "dir/n"}


def test_what_was_removed_from_the_folder_since_is_a_conflict(made: Desk, way: Mounting) -> None:
    made.fill({"f": "x", "d/g": "x", "e/h": "x", "same": "x", "k/l": "x"})
    id = made.after(way, "echo 1 > f; echo 2 > d/g; echo 3 > e/new; rm same; echo 4 > k/new")
    for name in ("f", "d/g", "e/h", "same"):
        (made.real / name).unlink()
    (made.real / "e").rmdir()
    found = conflicts(made, id)
    assert {path for path, why in found.items() if why == GONE_SINCE} == {"f", "d/g", "e"}
    assert {path for path, why in found.items() if not why} == {"e/new", "k/new"}  # and `same` is no difference


def test_a_new_file_beside_new_files_of_others_is_no_conflict(made: Desk, way: Mounting) -> None:
    made.fill({"d/a": "x"})
    id = made.after(way, "echo 1 > new; echo 2 > d/new; mkdir d/e; echo 3 > d/e/f")
    (made.real / "other").write_text("theirs")
    (made.real / "d" / "other").write_text("theirs")
    assert set(conflicts(made, id).values()) == {""}


def test_a_change_to_what_stands_there_already_is_none(made: Desk, way: Mounting) -> None:
    made.fill({"a": "x", "b": "y"})
    id = made.after(way, "echo new > a; rm b; echo c > c")
    (made.real / "a").write_text("new\n")
    (made.real / "b").unlink()
    (made.real / "c").write_text("c\n")
    if os.geteuid() == 0:
        made.own()
    assert not made.diff(id).differences


def test_a_mode_that_others_changed_in_a_folder_counts_only_if_the_command_did_too(made: Desk) -> None:
    made.fill({"d/a": "x", "e/a": "x", "f/a": "x"})
    id = made.after("copy", "echo new > d/a; chmod 700 e; chmod 700 f")
    (made.real / "d").chmod(0o711)
    (made.real / "e").chmod(0o711)
    (made.real / "f" / "new").write_text("theirs")
    found = conflicts(made, id)
    assert found["e"] == CHANGED_SINCE
    assert {"d/a", "f"} == {path for path, why in found.items() if not why}


def test_what_was_done_under_a_mount_is_a_conflict(made: Desk, way: Mounting) -> None:
    made.fill({"m/f": "y", "n/f": "z"})
    id = made.after(way, "echo 1 > m/new; echo 2 > n/new")
    with mounted(made.real / "m"):
        assert conflicts(made, id) == {"m": MOUNTED, "n/new": ""}
    assert conflicts(made, id) == {"m/new": "", "n/new": ""}


def texts(made: Desk, id: str) -> dict[str, str]:
    with made.views.use(id) as use, open_sides(use.view) as (view_fd, lower_fd):
        return {one.path: text_of(one, view_fd, lower_fd) for one in made.diff(id).differences}


def test_texts_are_shown_as_unified_diffs(made: Desk, way: Mounting) -> None:
    lines = [f"line {n}\n" for n in range(1, 41)]
    made.fill({"long": "".join(lines), "gone": "one\ntwo\n", "bin": "a\0b", "mode": "x", "open": "no end"})
    script = (
        "sed -i '20s/.*/changed/' long; rm gone; printf 'c\\0d' > bin; chmod 700 mode; printf 'still no end' > open;"
        "echo new > new; ln -s new link; mkdir dir; printf '\\377' > latin; printf 'a\\rb\\n' > ret"
    )
    found = texts(made, made.after(way, script))
    assert found["long"] == (
        "--- a/long\n+++ b/long\n@@ -17,7 +17,7 @@\n line 17\n line 18\n line 19\n-line 20\n+changed\n"
        " line 21\n line 22\n line 23\n"
    )
    assert found["gone"] == "--- a/gone\n+++ /dev/null\n@@ -1,2 +0,0 @@\n-one\n-two\n"
    assert found["new"] == "--- /dev/null\n+++ b/new\n@@ -0,0 +1 @@\n+new\n"
    assert found["open"] == (
        "--- a/open\n+++ b/open\n@@ -1 +1 @@\n-no end\n\\ No newline at end of file\n"
        "+still no end\n\\ No newline at end of file\n"
    )
    assert found["link"] == "--- /dev/null\n+++ b/link\n@@ -0,0 +1 @@\n+new\n\\ No newline at end of file\n"
    assert found["ret"].endswith("+a\rb\n")
    assert {path for path, text in found.items() if not text} == {"bin", "dir", "latin", "mode"}


def test_what_is_too_long_to_compare_is_only_said_to_differ(made: Desk, way: Mounting) -> None:
    made.fill({"big": "x\n" * 200_000})
    script = f"yes b | head -n {MOST_LINES + 1} > many; yes abc | head -c 300000 > big"
    found = texts(made, made.after(way, script))
    assert found["many"].endswith("lines differ, too many to show\n")
    assert not found["big"]


def test_a_text_that_is_not_the_one_that_was_read_is_not_shown(made: Desk) -> None:
    id = made.after("before", "echo one > a; mkdir d; echo one > d/b")
    with made.views.use(id) as use, open_sides(use.view) as (view_fd, lower_fd):
        differences = made.diff(id).differences
        os.rename(f"{use.view.upper}/d", f"{use.view.upper}/e")
        with open(f"{use.view.upper}/a", "w", encoding="ascii") as file:
            file.write("two\n")
        assert [text_of(one, view_fd, lower_fd) for one in differences] == ["", "", ""]

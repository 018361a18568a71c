"""A view that is a whole copy is like the folder in all that a command could see or use."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
from collections.abc import Generator

import pytest

from superagent.runtime.sandbox.view_copy import copy_content
from tests.ordinary_user import ordinary_user
from tests.runtime.sandbox.viewing import Desk, desk, mounted, run_on, state_of


@pytest.fixture(name="made")
def _made() -> Generator[Desk]:
    with desk() as made:
        yield made


def test_a_copy_is_the_same_tree(made: Desk) -> None:
    made.fill({"a": "x", "d/e/f": "y", "empty": "", "g": None})
    (made.real / "l").symlink_to("/nowhere")
    os.mkfifo(made.real / "p")
    (made.real / "a").chmod(0o4711)
    (made.real / "d" / "e").chmod(0o500)
    os.setxattr(made.real / "a", "user.mine", b"1")
    os.setxattr(made.real / "d", "user.mine", b"2")
    os.utime(made.real / "d", (1, 2))
    made.own()
    (made.real / "a").chmod(0o4711)
    with made.make("copy") as use:
        assert state_of(made.real) == state_of(made.views.folder / use.record.id / "upper")
        for name, value in (("a", b"1"), ("d", b"2")):
            assert os.getxattr(f"{use.view.upper}/{name}", "user.mine") == value
        for name in ("a", "d", "d/e", "l", "p"):
            times = [os.lstat(f"{top}/{name}").st_mtime_ns for top in (use.view.upper, made.real)]
            assert times[0] == times[1], name
        assert not made.diff(use.record.id).differences


def test_holes_stay_holes(made: Desk) -> None:
    with (made.real / "sparse").open("wb") as file:
        file.seek(50 << 20)
        file.write(b"end")
    made.own()
    with made.make("copy") as use:
        copied = os.stat(f"{use.view.upper}/sparse")
        assert copied.st_size == (50 << 20) + 3
        assert copied.st_blocks * 512 < 4 << 20
        with open(f"{use.view.upper}/sparse", "rb") as file:
            file.seek(-3, os.SEEK_END)
            assert file.read() == b"end"


def test_what_cannot_be_copied_does_not_count_as_deleted(made: Desk) -> None:
    made.fill({"a": "x"})
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(made.real / "s"))
    made.own()
    id = made.after("copy", "test ! -e s; rm a")
    assert [one.path for one in made.diff(id).differences] == ["a"]
    id = made.after("copy", "echo mine > s")
    (found,) = made.diff(id).differences
    assert (found.path, found.kind) == ("s", "replaced")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make what another user may not read")
def test_what_this_server_may_not_read_is_left_out(made: Desk) -> None:
    made.fill({"a": "x", "closed/f": "y", "file": "z"})
    for name in ("closed", "file"):
        os.chown(made.real / name, 0, 0)
        (made.real / name).chmod(0o700)
    with ordinary_user():
        ordinary = Desk.__new__(Desk)
        ordinary.top, ordinary.time, ordinary.real = made.top / "mine", 0.0, made.real
        ordinary.top.mkdir()
        ordinary.views = type(made.views)(ordinary.top / "views", ordinary.top / "records", lambda: 0.0)
        use = ordinary.make("copy")
    run_on(use.view, "test ! -e file; test ! -e closed; echo new > a")
    with ordinary_user():
        assert [one.path for one in ordinary.diff(use.record.id).differences] == ["a"]
        use.close()
        ordinary.views.sweep()
    assert not os.listdir(ordinary.views.folder)


def test_a_folder_with_a_mount_in_it_is_copied_without_that(made: Desk) -> None:
    made.fill({"a": "x", "a b\n/f": "y"})
    with mounted(made.real / "a b\n"):
        (made.real / "a b\n" / "there").touch()
        with made.make("before") as use:  # the kernel would refuse an overlay
            assert use.view.mounting == "copy"
            run_on(use.view, "test ! -e 'a b\n'; rm a")
            assert [one.path for one in made.diff(use.record.id).differences] == ["a"]
    with made.make("before") as use:
        assert use.view.mounting == "before"


def test_blocks_are_shared_where_the_filesystem_can(made: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    made.fill({"a": "x" * 100, "b": "y"})
    asked: list[int] = []

    def share(fd: int, request: int, other: int) -> int:
        asked.append(request)
        copy_content(other, fd, os.fstat(other).st_size, lambda: None)  # as the filesystem would
        return 0

    monkeypatch.setattr(fcntl, "ioctl", share)
    with made.make("copy") as use:
        assert len(asked) == 2
        assert state_of(made.real) == state_of(made.views.folder / use.record.id / "upper")

    def cannot(fd: int, request: int, other: int) -> int:
        asked.append(request)
        raise OSError(errno.EOPNOTSUPP, "no")

    asked.clear()
    monkeypatch.setattr(fcntl, "ioctl", cannot)
    with made.make("copy"):
        assert len(asked) == 1  # asked once, then known

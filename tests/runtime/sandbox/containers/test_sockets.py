"""The socket of an engine: whoever can write to it, or put another in its place, is as mighty as root."""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Generator
from pathlib import Path

import pytest

from superagent.runtime.sandbox.containers.sockets import look_at, podman_socket
from tests.needs import missing

CURE = "how to get one"


@pytest.fixture
def path() -> Generator[Path]:
    with tempfile.TemporaryDirectory(prefix="socket-") as name:  # short: a socket's name has 108 bytes at most
        place = Path(name) / "engine.sock"
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(str(place))
            place.chmod(0o600)
            yield place


def test_one_that_only_this_user_may_write_is_used(path: Path) -> None:
    part = look_at(str(path), CURE)

    assert (part.holds, part.seen, part.cure) == (True, "held", "")


def test_what_is_not_there_or_no_socket_is_said_with_its_cure(path: Path) -> None:
    (path.parent / "file").touch()

    for place, what in ((path.parent / "none", "is not there"), (path.parent / "file", "is no socket")):
        part = look_at(str(place), CURE)
        assert not part.holds
        assert what in part.seen
        assert part.cure == CURE


def test_one_that_everybody_may_write_is_refused(path: Path) -> None:
    path.chmod(0o666)

    part = look_at(str(path), CURE)

    assert not part.holds
    assert "everybody on this machine" in part.seen
    assert part.cure.startswith("`chmod o= ")


def test_one_whose_folder_others_may_write_is_refused_for_they_could_put_another_there(path: Path) -> None:
    path.parent.chmod(0o777)

    part = look_at(str(path), CURE)

    assert not part.holds
    assert f"see who may write `{path.parent}`" in part.seen


def test_a_link_is_followed_to_where_the_socket_lies(path: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(path)
    assert look_at(str(tmp_path / "link"), CURE).holds

    path.parent.chmod(0o777)
    assert not look_at(str(tmp_path / "link"), CURE).holds


def test_a_group_that_may_write_is_named(path: Path) -> None:
    if os.geteuid():
        missing("only root can give a file to any group")
    path.chmod(0o660)
    os.chown(path, 0, 1)
    assert look_at(str(path), CURE).seen.startswith("held; the group `daemon` may write to it too")

    os.chown(path, 0, 54_321)
    assert "`54321`" in look_at(str(path), CURE).seen


def test_one_of_another_user_is_refused(path: Path) -> None:
    if os.geteuid():
        missing("only root can give a file away")
    os.chown(path, 1234, 0)

    part = look_at(str(path), CURE)

    assert not part.holds
    assert "belongs to user 1234" in part.seen


def test_one_that_this_user_may_not_write_is_said(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def may(_path: str, _mode: int) -> bool:
        return False

    monkeypatch.setattr(os, "access", may)  # root may write everywhere

    part = look_at(str(path), CURE)

    assert not part.holds
    assert "this user may not write" in part.seen
    assert "rootless Podman" in part.cure


def test_where_podman_listens_depends_on_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert podman_socket() == "/run/podman/podman.sock"
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert podman_socket() == "/run/user/1000/podman/podman.sock"

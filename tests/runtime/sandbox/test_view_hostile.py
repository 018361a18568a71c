"""What lies in a view may be made to deceive, to hang or to fill: it is told, bounded, or refused."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Generator
from pathlib import Path

import pytest

from superagent.core.problems import Conflict, TooLarge
from superagent.runtime.sandbox.view import Mounting
from superagent.runtime.sandbox.view_diff import read_diff
from superagent.runtime.sandbox.view_rules import leads_out, nameable, real_mode
from superagent.runtime.sandbox.view_sides import Bounds
from superagent.runtime.sandbox.views import Use
from tests.ordinary_user import ordinary_user
from tests.runtime.sandbox.viewing import WAYS, Desk, desk, run_on


@pytest.fixture(name="made")
def _made() -> Generator[Desk]:
    with desk() as made:
        yield made


@pytest.fixture(params=WAYS, name="way")
def _way(request: pytest.FixtureRequest) -> Mounting:
    return request.param


def lent(made: Desk, way: Mounting, script: str) -> tuple[Use, Path]:
    """Give a view on which a script ran, and its upper folder, for the test to spoil."""
    use = made.make(way)
    run_on(use.view, script)
    use.rest()
    use.close()
    return use, Path(use.view.upper)


def test_a_program_that_would_run_as_its_owner_is_told(made: Desk, way: Mounting) -> None:
    made.fill({"p": "x"})
    id = made.after(way, "cp /bin/sh q; chmod 6755 q; chmod 4755 p; mkdir d; chmod 2755 d; chmod 1777 .")
    found = made.by_path(id)
    assert all("run as its owner" in found[path].notes[0] for path in ("q", "p", "d"))
    assert stat.S_ISUID & found["q"].after.mode  # it is told as it is
    assert found["."].refused


def test_sockets_are_refused_and_pipes_hang_nobody(made: Desk, way: Mounting) -> None:
    use, upper = lent(made, way, "mkfifo pipe; mkdir d; mkfifo d/pipe")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(upper / "s"))
    found = made.by_path(use.record.id)
    assert found["s"].refused == "a socket stays in the view"
    assert found["pipe"].after.kind == found["d/pipe"].after.kind == "fifo"
    assert not found["pipe"].refused


def test_a_device_in_a_copy_is_refused(made: Desk) -> None:
    use, upper = lent(made, "copy", "true")
    os.mknod(upper / "null", stat.S_IFCHR | 0o666, os.makedev(0, 0))  # the one that every user may make
    assert made.by_path(use.record.id)["null"].refused == "a device stays in the view"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes devices")
def test_a_device_in_an_upper_folder_is_refused(made: Desk) -> None:
    use, upper = lent(made, "before", "true")
    os.mknod(upper / "kmsg", stat.S_IFCHR | 0o666, os.makedev(1, 11))
    assert made.by_path(use.record.id)["kmsg"].refused == "a device stays in the view"


def test_links_that_could_lead_out_are_refused(made: Desk, way: Mounting) -> None:
    made.fill({"d/e/f": "x"})
    id = made.after(
        way,
        "ln -s /etc/shadow out; ln -s ../x up; ln -s d/../../x via; ln -s /usr/bin/env env; ln -s ../e/f d/e/in;"
        "ln -s ../../../x d/e/far; ln -s /usr/../etc/shadow dots; ln -s /workspace/d here; ln -s f d/e/g; ln -s / top",
    )
    refused = {path for path, one in made.by_path(id).items() if one.refused}
    assert refused == {"out", "up", "via", "d/e/far", "dots", "here", "top"}


def test_a_link_of_the_view_is_never_followed(made: Desk, way: Mounting) -> None:
    secret = made.top / "secret"
    secret.write_text("s3cret")
    made.fill({"f": "x", "d/f": "y"})
    id = made.after(way, f"rm f; ln -s {secret} f; rm -r d; ln -s {made.top} d")
    diff = made.diff(id)
    assert {one.path: (one.kind, one.after.kind) for one in diff.differences} == {
        "d": ("replaced", "link"), "d/f": ("deleted", "absent"), "f": ("replaced", "link"),
    }  # fmt: skip
    assert "s3cret" not in str(diff)


def test_a_file_of_holes_costs_no_time(made: Desk, way: Mounting) -> None:
    id = made.after(way, "truncate -s 900G huge; echo x > small")
    found = made.by_path(id)
    assert "bytes would have to be read" in found["huge"].refused
    assert not found["small"].refused


def test_more_than_the_bounds_is_refused(made: Desk, way: Mounting) -> None:
    id = made.after(way, "for n in 1 2 3 4 5 6; do echo 12345 > $n; done; mkdir d; touch d/1 d/2 d/3 d/4")
    with pytest.raises(TooLarge, match="more than 9 changed entries"):
        made.diff(id, Bounds(max_entries=9))
    refused = [one.path for one in made.diff(id, Bounds(max_bytes=17)).differences if one.refused]
    assert refused == ["3", "4", "5", "6"]


def test_names_that_are_not_text_are_told_as_they_are(made: Desk, way: Mounting) -> None:
    odd = r"touch $(printf 'a\377'); mkdir $(printf 'd\376'); touch $(printf 'd\376')/x; touch 'new" + "\nline'"
    id = made.after(way, odd)
    assert list(made.by_path(id)) == ["a\udcff", "d\udcfe", "d\udcfe/x", "new\nline"]


def test_a_tree_deeper_than_any_path_is_refused_and_can_be_dropped(made: Desk, way: Mounting) -> None:
    use, upper = lent(made, way, "mkdir d")
    fd = os.open(upper / "d", os.O_RDONLY)
    for _ in range(40):
        os.mkdir("0" * 200, dir_fd=fd)
        deeper = os.open("0" * 200, os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = deeper
    os.close(fd)
    with pytest.raises(TooLarge, match="longer than 4096 bytes"):
        made.diff(use.record.id)
    with made.views.alone(use.record.id) as own:
        made.views.discard(own)
    assert not os.listdir(made.views.folder)


def test_attributes_of_users_count_and_those_of_the_overlay_do_not(made: Desk, way: Mounting) -> None:
    made.fill({"a": "x", "b": "y"})
    use, upper = lent(made, way, "echo x > a; echo y > b; printf x > a; printf y > b")
    assert not made.diff(use.record.id).differences
    os.setxattr(upper / "a", "user.mine", b"1")
    os.setxattr(upper / "b", "user.overlay.overlay.opaque", b"y")
    assert [(one.path, one.kind) for one in made.diff(use.record.id).differences] == [("a", "mode")]


@pytest.mark.parametrize("mark", ["redirect", "metacopy"])
def test_an_upper_folder_that_leads_elsewhere_is_not_read(made: Desk, mark: str) -> None:
    made.fill({"d/f": "x", "e": "y"})
    use, upper = lent(made, "before", "echo z > d/f; echo z > e")
    os.setxattr(upper / ("d" if mark == "redirect" else "e"), f"user.overlay.{mark}", b"/e")
    with pytest.raises(Conflict, match="leads elsewhere"):
        made.diff(use.record.id)


def test_a_name_taken_out_by_an_attribute_is_gone(made: Desk) -> None:
    made.fill({"d/f": "x", "d/g": "y", "d/h": "z"})
    use, upper = lent(made, "before", "echo z > d/f; touch d/new")
    os.setxattr(upper / "d", "user.overlay.opaque", b"x")
    (upper / "d" / "g").touch()
    os.setxattr(upper / "d" / "g", "user.overlay.whiteout", b"")
    found = {path: one.kind for path, one in made.by_path(use.record.id).items()}
    assert found == {"d/f": "modified", "d/g": "deleted", "d/new": "created"}


def test_a_whiteout_of_nothing_is_nothing(made: Desk) -> None:
    use, upper = lent(made, "before", "mkdir d")
    os.mknod(upper / "w", stat.S_IFCHR, os.makedev(0, 0))
    os.mknod(upper / "d" / "w", stat.S_IFCHR, os.makedev(0, 0))
    assert list(made.by_path(use.record.id)) == ["d"]


def test_another_folder_in_the_place_of_either_side_is_not_read(made: Desk, way: Mounting) -> None:
    made.fill({"f": "x"})
    use, upper = lent(made, way, "rm f")
    made.real.rename(made.top / "other")
    made.real.mkdir()
    with pytest.raises(Conflict, match="another folder than the view was made of"):
        made.diff(use.record.id)
    made.real.rmdir()
    (made.top / "other").rename(made.real)
    upper.rename(upper.with_name("moved"))
    upper.symlink_to("/etc")
    with pytest.raises(Conflict):
        made.diff(use.record.id)


def test_a_folder_closed_to_this_server_is_said(made: Desk, way: Mounting) -> None:
    made.fill({"f": "x"})
    use, _ = lent(made, way, "mkdir d; touch d/x; chmod 0 d; printf y > f; chmod 0 f")
    origin = made.views.records.origin(use.record)
    if os.geteuid() == 0:
        assert made.by_path(use.record.id)["d/x"].kind == "created"  # nothing is closed to root
    with ordinary_user(), pytest.raises(Conflict, match="closed to this server by its mode"):
        read_diff(use.view, origin)
    os.chmod(f"{use.view.upper}/d", 0o700)
    with ordinary_user():
        found = {one.path: one for one in read_diff(use.view, origin).differences}
    assert found["f"].refused == "its mode closes it to this server"


def test_rules_of_names_and_modes() -> None:
    assert not nameable("a\udcff")
    assert not nameable("a/" * 2048)
    assert nameable("a/\u00e9")
    assert real_mode("file", 0o6755, 0o6755) == 0o755
    assert real_mode("directory", 0o2755, 0o2755) == 0o2755
    assert real_mode("directory", 0o2755, None) == 0o755
    assert real_mode("directory", 0o1777, 0o755) == 0o1777
    assert leads_out("a/l", "../../x")
    assert not leads_out("a/l", "../x")
    assert leads_out("l", "/usr//../etc")
    assert not leads_out("l", "/usr")
    assert leads_out("l", "/usrx")

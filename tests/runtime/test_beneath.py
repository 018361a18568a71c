"""Opening below a root: the same suite for `openat2` and for the walk that stands in where it is missing."""

from __future__ import annotations

import errno
import os
import socket
from pathlib import Path

import pytest

from superagent.core.problems import Conflict, Denied, InvalidInput, NotFound
from superagent.runtime import beneath
from superagent.runtime.beneath import At, Root, Roots, resolve
from superagent.runtime.protected import Protected
from superagent.runtime.tree_walk import Cursor
from tests.ordinary_user import ordinary_user


def anything(real: str) -> None:
    """Judge that lets everything pass."""


@pytest.fixture(params=["openat2", "walk"], autouse=True)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "walk":

        def missing(*_: object) -> int:
            raise OSError(errno.ENOSYS, "not on this kernel")

        monkeypatch.setattr(beneath, "openat2", missing)
    return request.param


@pytest.fixture
def ground(tmp_path: Path) -> Path:
    """Make a granted root with a secret beside it."""
    root = tmp_path / "root"
    (root / "a" / "b").mkdir(parents=True)
    (root / "a" / "b" / "f.txt").write_text("inside")
    (root / "top.txt").write_text("top")
    (tmp_path / "secret.txt").write_text("outside")
    return root


def at(ground: Path, relative: str, *, follow: bool = True, changing: bool = False) -> At:
    return resolve(Root(str(ground)), relative, judge=anything, follow=follow, changing=changing)


def read(ground: Path, relative: str) -> bytes:
    with at(ground, relative) as place:
        fd = place.open()
        try:
            return os.read(fd, 100)
        finally:
            os.close(fd)


def open_in(ground: Path) -> list[str]:
    """Give what this process holds open in a root."""
    held = [os.path.realpath(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd")]
    return sorted(path for path in held if path.startswith(str(ground)))


def test_a_file_in_a_directory_is_read(ground: Path) -> None:
    assert read(ground, "a/b/f.txt") == b"inside"
    assert read(ground, "top.txt") == b"top"


def test_a_place_knows_its_real_path_and_what_stands_there(ground: Path) -> None:
    with at(ground, "a/b") as place:
        assert (place.real, place.name, place.exists, place.is_dir) == (f"{ground}/a/b", "b", True, True)
    with at(ground, "a/new") as place:
        assert (place.real, place.exists, place.is_dir) == (f"{ground}/a/new", False, False)


def test_the_root_itself_is_a_place(ground: Path) -> None:
    with at(ground, "") as place:
        assert (place.name, place.real, place.is_dir) == (".", str(ground), True)
        os.close(place.open_directory())


def test_the_root_itself_cannot_be_changed(ground: Path) -> None:
    with pytest.raises(Denied, match="granted root itself"):
        at(ground, "", changing=True)


def test_what_is_missing_is_not_found_on_opening(ground: Path) -> None:
    with at(ground, "a/new") as place, pytest.raises(NotFound):
        place.open()
    with at(ground, "a/new") as place, pytest.raises(NotFound):
        place.open_directory()
    for relative in ("none/f", "top.txt/f"):
        with pytest.raises(NotFound):
            at(ground, relative)


def test_a_place_may_be_closed_twice(ground: Path) -> None:
    place = at(ground, "a")
    place.close()
    place.close()


@pytest.mark.parametrize(
    ("name", "target"),
    [
        ("inner", "a/b/f.txt"),
        ("dotted", "./a/../a/./b/f.txt"),
        ("absolute", "{root}/a/b/f.txt"),
        ("a/up", "../a/b/f.txt"),
        ("chain", "inner2"),
        ("slashes", "a//b/f.txt"),
    ],
)
def test_a_link_that_stays_inside_is_followed_to_the_real_path(ground: Path, name: str, target: str) -> None:
    (ground / "inner2").symlink_to("a/b/f.txt")
    (ground / name).symlink_to(target.format(root=ground))
    assert read(ground, name) == b"inside"
    with at(ground, name) as place:
        assert place.real == f"{ground}/a/b/f.txt"


@pytest.mark.parametrize("target", ["a", "{root}/a", "a/b/..", "a/", "./a/."])
def test_a_link_to_a_directory_in_the_middle_of_a_path_is_followed(ground: Path, target: str) -> None:
    (ground / "way").symlink_to(target.format(root=ground))
    assert read(ground, "way/b/f.txt") == b"inside"
    with at(ground, "way") as place:
        assert place.real == f"{ground}/a"


@pytest.mark.parametrize("target", ["{root}", ".", "a/.."])
def test_a_link_to_the_root_is_the_root(ground: Path, target: str) -> None:
    (ground / "self").symlink_to(target.format(root=ground))
    with at(ground, "self") as place:
        assert (place.real, place.name) == (str(ground), ".")
    assert read(ground, "self/top.txt") == b"top"


@pytest.mark.parametrize(
    "target", ["../secret.txt", "{root}/../secret.txt", "a/../../secret.txt", "{root}2/x", "/etc/passwd"]
)
def test_a_link_that_leads_out_is_not_found(ground: Path, target: str) -> None:
    beside = Path(f"{ground}2")
    beside.mkdir()
    (beside / "x").write_text("outside")
    (ground / "out").symlink_to(target.format(root=ground))
    with pytest.raises(NotFound, match="does not exist"):
        at(ground, "out")


@pytest.mark.parametrize("target", ["..", "/", "{root}/.."])
def test_a_directory_link_that_leads_out_is_not_found(ground: Path, target: str) -> None:
    (ground / "out").symlink_to(target.format(root=ground))
    with pytest.raises(NotFound):
        at(ground, "out/secret.txt")


def test_a_link_itself_can_be_meant(ground: Path) -> None:
    (ground / "out").symlink_to("../secret.txt")
    with at(ground, "out", follow=False) as place:
        assert place.real == f"{ground}/out"
        assert os.readlink(place.name, dir_fd=place.dir_fd) == "../secret.txt"


def test_a_link_to_nothing_yet_names_the_place_where_it_would_be(ground: Path) -> None:
    (ground / "later").symlink_to("a/later.txt")
    with at(ground, "later") as place:
        assert (place.real, place.exists) == (f"{ground}/a/later.txt", False)


def test_links_in_a_circle_are_refused(ground: Path) -> None:
    (ground / "x").symlink_to("y")
    (ground / "y").symlink_to("x")
    for relative in ("x", "x/f"):
        with pytest.raises(Conflict, match="too many links"):
            at(ground, relative)


@pytest.mark.parametrize("relative", ["../secret.txt", "a/../top.txt", "a//b", "./a", "a/", "/etc/passwd"])
def test_a_path_that_is_not_canonical_is_refused(ground: Path, relative: str) -> None:
    with pytest.raises(InvalidInput, match="not canonical"):
        at(ground, relative)


@pytest.mark.parametrize(
    ("relative", "says"),
    [
        ("a\0b", "NUL"),
        ("n" * 256, "255 bytes"),
        ("é" * 128, "255 bytes"),
        ("\ud800", "UTF-8"),
        ("d/" * 2200 + "f", "longer than 4096"),
    ],
)
def test_names_that_no_filesystem_takes_are_refused_with_the_reason(ground: Path, relative: str, says: str) -> None:
    with pytest.raises(InvalidInput, match=says) as caught:
        at(ground, relative)
    assert caught.value.changed == "nothing"


def test_other_spellings_in_unicode_and_case_are_other_names(ground: Path) -> None:
    (ground / "caf\u00e9").write_text("composed")
    assert read(ground, "caf\u00e9") == b"composed"
    for other in ("cafe\u0301", "CAF\u00c9", "caf\u00e9 "):
        with at(ground, other) as place:
            assert not place.exists


def test_the_judge_hears_the_real_path_and_its_refusal_stands(ground: Path) -> None:
    (ground / "alias").symlink_to("a")
    heard: list[str] = []

    def refuse_b(real: str) -> None:
        heard.append(real)
        raise NotFound("not yours")

    with pytest.raises(NotFound, match="not yours"):
        resolve(Root(str(ground)), "alias/b/f.txt", judge=refuse_b)
    assert heard == [f"{ground}/a/b/f.txt"]


def test_an_inner_link_into_a_denied_subtree_is_judged_as_that_subtree(ground: Path) -> None:
    (ground / "open").mkdir()
    (ground / "open" / "sneaky").symlink_to("../a/b/f.txt")

    def not_a(real: str) -> None:
        if real.startswith(f"{ground}/a/"):
            raise NotFound("not yours")

    with pytest.raises(NotFound, match="not yours"):
        resolve(Root(str(ground)), "open/sneaky", judge=not_a)


def test_what_has_no_content_is_refused_at_once(ground: Path) -> None:
    os.mkfifo(ground / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(ground / "sock"))
        for name, kind in (("pipe", "fifo"), ("sock", "socket"), ("a", "directory")):
            with at(ground, name) as place, pytest.raises(Conflict, match=f"a {kind}"):
                place.open()
    with resolve(Root("/dev"), "null", judge=anything) as place, pytest.raises(Conflict, match="a device"):
        place.open()


def test_the_descriptor_waits_for_bytes_and_is_not_inherited(ground: Path) -> None:
    with at(ground, "top.txt") as place:
        fd = place.open()
    assert os.get_blocking(fd)
    assert not os.get_inheritable(fd)
    os.close(fd)


def test_no_descriptor_is_left_open_whatever_the_answer(ground: Path) -> None:
    (ground / "out").symlink_to("../secret.txt")
    (ground / "in").symlink_to("a/b/f.txt")
    root = Root(str(ground))
    before = open_in(ground)
    for relative in ("a/b/f.txt", "in", "out", "none/none", "a", "", "in/f"):
        try:
            resolve(root, relative, judge=anything).close()
        except NotFound:
            continue
    assert open_in(ground) == before


def test_the_root_of_everything_takes_paths_as_they_are_usually_meant(ground: Path) -> None:
    (ground / "abs").symlink_to(f"{ground}/../root/a")
    (ground / "over").symlink_to("/".join([".."] * 40) + f"{ground}/a")
    for name in ("abs", "over"):
        with resolve(Root("/"), f"{ground}/{name}/b/f.txt".lstrip("/"), judge=anything) as place:
            assert place.real == f"{ground}/a/b/f.txt"
    with resolve(Root("/"), "", judge=anything) as place:
        assert place.real == "/"
    with resolve(Root("/"), "etc", judge=anything) as place:
        assert place.real == "/etc"


@pytest.mark.parametrize(
    "path",
    [
        "proc/self/environ",
        "proc/self",
        "proc/{pid}",
        "proc/{pid}/mem",
        "proc/{pid}/root/etc/passwd",
        "proc/self/root/etc/passwd",
        "proc/self/fd/0",
        "proc/{pid}/task/{pid}/environ",
        "proc/thread-self/environ",
        "proc/1/environ",
        "proc/kcore",
        "proc/mounts",
    ],
)
def test_processes_are_not_reached_through_procfs(path: str) -> None:
    with pytest.raises(NotFound):
        resolve(Root("/"), path.format(pid=os.getpid()), judge=anything)


def test_what_procfs_says_about_the_machine_can_be_read() -> None:
    for path in ("proc/cpuinfo", "proc/sys/kernel/ostype"):
        with resolve(Root("/"), path, judge=anything) as place:
            os.close(place.open())


def test_a_protected_place_is_unreachable_by_any_name(ground: Path) -> None:
    (ground / "data" / "state").mkdir(parents=True)
    (ground / "data" / "state" / "owner.key").write_text("k")
    (ground / "superagent.toml").write_text("s")
    (ground / "alias").symlink_to("data")
    os.link(ground / "superagent.toml", ground / "copy.toml")
    protected = Protected.of([str(ground / "data"), str(ground / "superagent.toml"), str(ground / "not-there")])
    reach = ["data", "data/state", "data/state/owner.key", "data/new", "alias/state", "superagent.toml", "copy.toml"]
    for root, prefix in ((Root("/"), f"{ground}/"[1:]), (Root(str(ground)), "")):
        for path in reach:
            with pytest.raises(NotFound):
                resolve(root, prefix + path, judge=anything, protected=protected)
        resolve(root, prefix + "a/b", judge=anything, protected=protected).close()
    with pytest.raises(NotFound):
        resolve(Root(str(ground / "data" / "state")), "owner.key", judge=anything, protected=protected)


def test_what_is_remembered_of_a_directory_counts_only_where_it_stands(ground: Path) -> None:
    (ground / "data").mkdir(exist_ok=True)
    protected = Protected.of([str(ground / "data")])
    (ground / "mine").mkdir()
    root, outside, inside = Root(str(ground)), ground / "mine", ground / "data" / "mine"
    for _ in range(2):
        resolve(root, "mine/new", judge=anything, protected=protected).close()
        outside.rename(inside)
        for path in ("data/mine/new", "data/mine"):
            with pytest.raises(NotFound):
                resolve(root, path, judge=anything, protected=protected)
        inside.rename(outside)
    (ground / "mine").rename(ground / "away")
    (ground / "data").rename(ground / "mine")  # the protected one takes the name of the open one
    with pytest.raises(NotFound):
        resolve(root, "mine/new", judge=anything, protected=protected)


def test_a_protected_file_that_takes_a_name_after_the_look_is_not_opened(ground: Path) -> None:
    (ground / "key").write_text("k")
    protected = Protected.of([str(ground / "key")])
    with resolve(Root(str(ground)), "top.txt", judge=anything, protected=protected) as place:
        os.replace(ground / "key", ground / "top.txt")
        with pytest.raises(NotFound):
            place.open()


def test_workspaces_are_carved_out_of_the_protected_data_folder(ground: Path) -> None:
    own = ground / "data" / "workspaces" / "tenant" / "agent"
    own.mkdir(parents=True)
    (own / "f.txt").write_text("mine")
    (own.parent / "stray.txt").write_text("s")
    protected = Protected.of([str(ground / "data")], {str(ground / "data" / "workspaces"): 2})
    root = Root(str(ground))
    base = "data/workspaces/tenant/agent"
    for path in (base, f"{base}/f.txt", f"{base}/new", f"{base}/new.d"):
        resolve(root, path, judge=anything, protected=protected).close()
    for path in ("data", "data/workspaces", "data/workspaces/tenant", "data/workspaces/tenant/stray.txt", f"{base}2"):
        with pytest.raises(NotFound):
            resolve(root, path, judge=anything, protected=protected)
    with pytest.raises(NotFound):  # it may be entered and filled, not removed or renamed
        resolve(root, base, judge=anything, protected=protected, changing=True)
    told: set[str | None] = set()
    for name in ("stray.txt", "none.txt"):  # whoever would write there is told where to, the same whatever is there
        with pytest.raises(NotFound) as refused:
            resolve(root, f"data/workspaces/tenant/{name}", judge=anything, protected=protected, changing=True)
        told.add(refused.value.hint)
    assert len(told) == 1
    assert "workspace" in (told.pop() or "")
    with pytest.raises(NotFound) as looked:
        resolve(root, "data/workspaces/tenant/none.txt", judge=anything, protected=protected)
    assert looked.value.hint is None


def test_a_root_is_opened_once_and_anew_when_another_directory_took_its_place(ground: Path) -> None:
    roots = Roots()
    first = roots.at(str(ground))
    assert roots.at(str(ground)) is first
    ground.rename(ground.with_name("moved"))
    with pytest.raises(NotFound):
        roots.at(str(ground))
    ground.mkdir()
    assert roots.at(str(ground)).inode != first.inode
    with resolve(first, "top.txt", judge=anything) as place:  # who held the old one still holds it
        assert place.real == f"{ground.with_name('moved')}/top.txt"


def test_only_so_many_roots_stay_open(tmp_path: Path) -> None:
    roots = Roots(most=2)
    for name in "abc":
        (tmp_path / name).mkdir()
    first = roots.at(str(tmp_path / "a"))
    roots.at(str(tmp_path / "b"))
    roots.at(str(tmp_path / "c"))
    assert roots.at(str(tmp_path / "a")) is not first


def test_a_directory_without_a_path_is_no_root(ground: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (ground / "gone").mkdir()
    monkeypatch.chdir(ground / "gone")
    (ground / "gone").rmdir()
    with pytest.raises(NotFound):
        Roots().at(".")


def test_what_the_system_refuses_is_denied_and_says_who_refused(ground: Path) -> None:
    (ground / "a").chmod(0)
    (ground / "way").symlink_to("a/b/f.txt")
    root = Root(str(ground))
    for relative in ("a/b/f.txt", "way", "a/b"):
        with ordinary_user(), pytest.raises(Denied, match="the operating system refused"):
            resolve(root, relative, judge=anything)
    (ground / "a").chmod(0o755)


def test_a_directory_too_deep_to_judge_is_refused(ground: Path) -> None:
    cursor = Cursor(os.open(ground, os.O_RDONLY))
    with cursor:
        for _ in range(1400):
            os.mkdir("d", dir_fd=cursor.fd)
            cursor.down("d")
        with pytest.raises(OSError, match="too deep to judge"):
            Protected.of([f"{ground}/a"]).holds(cursor.fd)
        for _ in range(1400):  # the tools that clean up after tests cannot go so deep
            cursor.up()
            os.rmdir("d", dir_fd=cursor.fd)


def test_a_deleted_directory_is_not_found(ground: Path) -> None:
    root = Root(str(ground / "a" / "b"))
    (ground / "a" / "b" / "f.txt").unlink()
    (ground / "a" / "b").rmdir()
    for relative in ("f.txt", ""):
        with pytest.raises(NotFound):
            resolve(root, relative, judge=anything)

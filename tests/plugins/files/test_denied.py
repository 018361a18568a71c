"""What a caller may not see: neither read, listed, counted, searched, packed nor guessed; and what nobody may reach."""

from __future__ import annotations

import os
import tarfile
from pathlib import Path
from typing import Any

import pytest

from superagent.core.grants import Grant
from superagent.core.problems import Problem
from superagent.runtime.protected import Protected
from tests.plugins.files.ground import Ground, look_at, within
from tests.promise import promise


@pytest.fixture
def denied(tmp_path: Path) -> Ground:
    """Make a tree of which `secret` and `d/hidden` are denied."""
    top = tmp_path / "top"
    ground = Ground(tmp_path, [within(f"{top}/**"), within(f"{top}/secret/**", f"{top}/d/hidden", effect="deny")])
    ground.write("secret/key", "needle in secret")
    ground.write("secret/deep/more", "needle")
    ground.write("d/hidden", "needle")
    ground.write("d/open", "needle")
    ground.write("e", "plain")
    return ground


@promise("1.7b")
@pytest.mark.parametrize(
    "path",
    [
        "secret",
        "secret/key",
        "secret/none",
        "secret/deep/more",
        "d/hidden",
        "d/../secret/key",
        "d//hidden",
        "./secret/./key",
        "link/key",
        "filelink",
        "chain/key",
        "absolute",
        "d/up",
    ],
)
@pytest.mark.parametrize(
    "operation",
    [
        ("read", "path", {}),
        ("stat", "path", {}),
        ("hash", "path", {}),
        ("list", "path", {}),
        ("find", "root", {}),
        ("grep", "root", {"pattern": "needle"}),
        ("write", "path", {"content": "x"}),
        ("edit", "path", {"old": "needle", "new": "x"}),
        ("copy", "source", {"target": "stolen"}),
        ("archive", "paths", {"target": "stolen", "format": "tar"}),
        ("diff", "a", {"b": "e"}),
        ("extract", "archive", {"target": "stolen"}),
    ],
)
async def test_what_is_denied_is_not_reached_by_any_name(denied: Ground, path: str, operation: Any) -> None:
    (denied.top / "link").symlink_to("secret")
    (denied.top / "filelink").symlink_to("secret/key")
    (denied.top / "chain").symlink_to("link")
    (denied.top / "absolute").symlink_to(denied.top / "secret" / "key")
    (denied.top / "d" / "up").symlink_to("../secret/key")
    name, parameter, more = operation
    value = [path] if parameter == "paths" else path
    before = look_at(denied.top)
    outcome = await denied.call(name, **{parameter: value}, **more)
    if name == "stat" and path in ("filelink", "absolute", "d/up"):
        assert outcome.result()["type"] == "link"  # the link itself is no secret
        return
    assert outcome.problem is not None
    assert outcome.problem.slug in ("not-found", "denied")
    assert "needle" not in str(outcome.document())
    assert look_at(denied.top) == before


async def test_what_is_not_granted_at_all_does_not_exist(tmp_path: Path) -> None:
    ground = Ground(tmp_path, [within(f"{tmp_path}/top/mine/**")])
    ground.write("mine/a", "x")
    ground.write("theirs/b", "x")
    for operation in ("read", "stat", "list", "hash"):
        here, gone = [await ground.refused(operation, path=path) for path in ("theirs/b", "theirs/none")]
        assert (here.slug, gone.slug) == ("not-found", "not-found")
        assert here.detail.replace("theirs/b", "") == gone.detail.replace("theirs/none", "")


@promise("1.7b")
async def test_walks_neither_show_nor_count_what_is_denied(denied: Ground) -> None:
    names = {entry["path"] for entry in (await denied.do("list", path="", depth=9))["entries"]}
    assert names == {"d", "d/open", "e"}
    assert {entry["path"] for entry in (await denied.do("find", root=""))["entries"]} == names
    assert set((await denied.do("glob", root="", pattern="**"))["paths"]) == names
    grep = await denied.do("grep", root="", pattern="needle")
    assert [one["path"] for one in grep["matches"]] == ["d/open"]
    assert (grep["searched"], grep["skipped"]) == (2, 0)
    assert (await denied.do("hash", path=""))["files"] == 2


@promise("1.7b")
async def test_copies_archives_and_comparisons_leave_out_what_is_denied(denied: Ground) -> None:
    whole = await denied.do("hash", path="")
    await denied.do("copy", source="d", target="copy")
    assert os.listdir(denied.top / "copy") == ["open"]
    packed = await denied.do("archive", paths=["d"], target="a.tar", format="tar")
    assert packed["files"] == 1
    with tarfile.open(denied.top / "a.tar") as tar:
        assert tar.getnames() == ["d", "d/open"]
    found = await denied.do("diff", a="d", b="copy")
    assert found["equal"]
    (denied.top / "a.tar").unlink()
    for path in sorted((denied.top / "copy").iterdir()):
        path.unlink()
    (denied.top / "copy").rmdir()
    denied.write("secret/other", "changed")
    assert await denied.do("hash", path="") == whole


async def test_a_tree_that_holds_what_is_denied_is_not_deleted_moved_or_replaced(denied: Ground) -> None:
    for operation, input in (
        ("delete", {"path": "d", "recursive": True}),
        ("move", {"source": "d", "target": "x"}),
        ("copy", {"source": "e", "target": "d", "overwrite": True}),
        ("restore", {"path": "d"}),
    ):
        problem = await denied.refused(operation, **input)
        assert problem.slug == "denied"
        assert "hidden" not in problem.detail


async def test_the_size_of_what_is_denied_is_not_told_by_existence(denied: Ground) -> None:
    outcome = await denied.call("exists", path="link")
    (denied.top / "link").symlink_to("secret/key")
    assert (await denied.do("exists", path="link")) == outcome.result() == {"exists": False, "type": None}


@pytest.fixture
def platform(tmp_path: Path) -> Ground:
    """Make a tree with the platform's own places in it and a grant on all of it."""
    top = tmp_path / "top"
    for name, content in (
        ("data/state/owner.key", "key"),
        ("data/workspaces/t/a/mine", "mine"),
        ("data/workspaces/t/stray", "stray"),
        ("superagent.toml", "settings"),
        ("venv/lib/x.py", "code"),
        ("open/a", "a"),
    ):
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_text(content)
    places = [str(top / name) for name in ("data", "superagent.toml", "venv")]
    return Ground(tmp_path, protected=Protected.of(places, {str(top / "data" / "workspaces"): 2}))


@promise("1.7b")
async def test_the_platforms_own_places_are_reached_by_no_grant(platform: Ground) -> None:
    (platform.top / "open" / "link").symlink_to("../data/state")
    os.link(platform.top / "superagent.toml", platform.top / "open" / "hard")
    closed = ["data", "data/state", "data/state/owner.key", "superagent.toml", "venv/lib/x.py", "open/link/owner.key"]
    for path in [
        *closed,
        "data/state/new",
        "data/workspaces",
        "data/workspaces/t",
        "data/workspaces/t/stray",
        "open/hard",
    ]:
        for operation, input in (
            ("read", {"path": path}),
            ("list", {"path": path}),
            ("write", {"path": path, "content": "x"}),
            ("delete", {"path": path, "recursive": True}),
            ("move", {"source": path, "target": "stolen"}),
            ("copy", {"source": path, "target": "stolen"}),
            ("mkdir", {"path": f"{path}/x", "parents": True}),
        ):
            problem = await platform.refused(operation, **input)
            assert problem.slug == "not-found", (path, operation, problem.detail)
    for outside in ("/proc/self/environ", f"/proc/{os.getpid()}/mem", f"/proc/self/root{platform.top}/superagent.toml"):
        assert (await platform.refused("read", path=outside)).slug == "not-found"


@promise("1.7b")
async def test_workspaces_are_reachable_within_the_platforms_own_places(platform: Ground) -> None:
    mine = "data/workspaces/t/a"
    assert (await platform.do("read", path=f"{mine}/mine"))["content"] == "mine"
    await platform.undone("write", path=f"{mine}/new", content="x")
    assert [one["path"] for one in (await platform.do("list", path=mine))["entries"]] == ["mine", "new"]


@promise("1.7b")
async def test_walks_do_not_meet_the_platforms_own_places(platform: Ground) -> None:
    names = {entry["path"] for entry in (await platform.do("find", root=""))["entries"]}
    assert names == {"open", "open/a"}
    assert (await platform.refused("delete", path="", recursive=True)).slug in ("denied", "not-found")
    assert (await platform.refused("move", source="", target="/elsewhere")).slug in ("denied", "not-found")


@promise("1.7b")
@pytest.mark.parametrize("name", ["top/../../etc/passwd", "/etc/passwd", "..", "\u2025/x", "a\\..\\..\\x", "%2e%2e/x"])
async def test_no_spelling_leads_out_of_what_is_granted(tmp_path: Path, name: str) -> None:
    ground = Ground(tmp_path, [within(f"{tmp_path}/top/**")])
    ground.write("inside", "x")
    for operation in ("read", "list", "stat"):
        assert (await ground.refused(operation, path=name)).slug == "not-found"


@promise("1.7b")
async def test_other_cases_and_unicode_forms_are_other_names(tmp_path: Path) -> None:
    top = tmp_path / "top"
    ground = Ground(tmp_path, [within(f"{top}/**"), within(f"{top}/caf\u00e9/**", effect="deny")])
    ground.write("caf\u00e9/secret", "needle")
    for name in ("CAF\u00c9/secret", "cafe\u0301/secret", "caf\u00e9 /secret", "\uff43af\u00e9/secret"):
        assert (await ground.refused("read", path=name)).slug == "not-found"


async def test_hard_links_made_by_others_are_a_stated_limit(denied: Ground) -> None:
    """Whoever may link a file gives it a second name; its content is then readable under that name. README says so."""
    os.link(denied.top / "secret" / "key", denied.top / "second")
    assert (await denied.do("read", path="second"))["content"] == "needle in secret"


async def test_a_grant_on_a_single_file_reaches_that_file_only(tmp_path: Path) -> None:
    ground = Ground(tmp_path, [within(f"{tmp_path}/top/a")])
    ground.write("a", "x")
    ground.write("b", "y")
    assert (await ground.do("read", path="a"))["content"] == "x"
    assert (await ground.refused("read", path="b")).slug == "not-found"


async def test_the_granted_folder_itself_can_be_made_and_taken_back(tmp_path: Path) -> None:
    ground = Ground(tmp_path, [within(f"{tmp_path}/top/mine/**")])
    assert (await ground.refused("read", path="mine")).slug == "not-found"
    await ground.undone("mkdir", path="mine")
    await ground.undone("mkdir", path="mine/deep/er", parents=True)
    (ground.top / "file").write_text("x")


async def test_changes_need_more_than_the_right_to_read(tmp_path: Path) -> None:
    reads: Grant = within(f"{tmp_path}/top/**").model_copy(update={"effects": ["READ"]})
    ground = Ground(tmp_path, [reads])
    ground.write("a", "x")
    problems: list[Problem] = [
        await ground.refused("write", path="a", content="y"),
        await ground.refused("delete", path="a"),
        await ground.refused("move", source="a", target="b"),
    ]
    assert {one.slug for one in problems} <= {"denied", "not-found"}

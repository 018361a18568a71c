"""Accepting, discarding and undoing what commands really did on views, through the line."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import stat
import threading
from collections.abc import Generator
from typing import Any

import msgspec
import pytest

from superagent.core.grants import Grant
from superagent.core.invocation import Outcome, Status
from superagent.core.problems import Conflict, Denied, InvalidInput, NotFound, Problem, TooLarge
from superagent.core.resources import Effect
from superagent.runtime.sandbox import view_accept, view_apply, view_choice
from superagent.runtime.sandbox.view import Mounting
from superagent.runtime.sandbox.view_accept import staging_name
from superagent.runtime.sandbox.view_apply import Placer
from superagent.runtime.sandbox.view_choice import HOLDS_MORE, LIES_IN, NOT_NAMEABLE, STEERS
from superagent.runtime.sandbox.view_diff import CHANGED_SINCE
from superagent.runtime.sandbox.views import Views
from superagent.sdk import Context, Nothing, Plugin, Risk
from superagent.testing import World, agent, allow_all, person
from tests.ordinary_user import ordinary_user
from tests.runtime.sandbox.viewing import UID, WAYS, Desk, desk, living_on, run_on, state_of


@pytest.fixture(name="made")
def _made() -> Generator[Desk]:
    with desk() as made:
        yield made


@pytest.fixture(params=WAYS, name="way")
def _way(request: pytest.FixtureRequest) -> Mounting:
    return request.param


def output(outcome: Outcome) -> dict[str, Any]:
    assert outcome.status in (Status.DONE, Status.PREVIEWED), outcome.problem and (
        outcome.problem.detail,
        outcome.problem.errors,
    )
    return msgspec.json.decode(outcome.output)


def problem(outcome: Outcome, kind: type[Problem]) -> Problem:
    assert outcome.problem is not None
    assert type(outcome.problem) is kind, outcome.problem.detail
    return outcome.problem


class Line:
    """The operations on the views of a desk, as one person calls them."""

    def __init__(self, made: Desk, grants: list[Grant] | None = None) -> None:
        self.made = made
        self.world: World = made.world(grants)

    async def run(self, name: str, id: str, **more: Any) -> Outcome:
        input = {"view": id, "folder": str(self.made.real)} | more.pop("input", {})
        return await self.world.run(f"sandbox.{name}", input, **more)

    async def accept(self, id: str, **input: Any) -> dict[str, Any]:
        return output(await self.run("accept", id, input=input))

    async def refused(self, id: str, kind: type[Problem], **input: Any) -> Problem:
        """Ask for an accepting that must be refused: nothing is changed, and the record says so."""
        before, left = state_of(self.made.real), len(self.world.undo.entries)
        outcome = await self.run("accept", id, input=input)
        found = problem(outcome, kind)
        assert found.changed == "nothing"
        assert state_of(self.made.real) == before
        assert len(self.world.undo.entries) == left
        record = self.world.audit.records[-1]
        assert record.operation == "sandbox.accept"
        assert found.slug in str(record)
        return found

    async def undo(self, *ids: str) -> None:
        output(await self.world.run("undo.apply", {"ids": list(ids)}))


WORK = (
    "echo new > edit; rm gone; chmod 750 mode; rm -r d; mkdir fresh; echo n > fresh/n; rm swap; mkdir swap;"
    "chmod 700 dm; echo i > swap/i; ln -s edit link; mkfifo pipe; echo x > dm/x; chmod 600 fresh/n"
)
FILES: dict[str, str | None] = {
    "edit": "old\n", "gone": "g", "mode": "m", "d/in": "1", "d/e/deep": "2", "swap": "x", "dm/y": "y",
}  # fmt: skip


async def test_what_was_accepted_stands_in_the_folder_and_undo_makes_it_the_same_again(
    made: Desk, way: Mounting
) -> None:
    made.fill(FILES)
    before = state_of(made.real)
    line, id = Line(made), made.after(way, WORK)
    done = await line.run("accept", id)
    assert output(done)["left"] == 0
    after = state_of(made.real)
    assert after["edit"][3] == "new\n"
    assert after["fresh/n"][1] == 0o600
    assert {"link", "pipe", "swap/i"} <= after.keys()
    assert not {"d", "gone"} & after.keys()
    assert {owner for _, _, owner, _ in after.values()} == {UID}
    assert not os.listdir(made.views.folder)  # nothing is left to be accepted, so the view is gone
    assert done.undo is not None
    assert done.undo.possible
    assert {one.resource.removeprefix(f"path://local{made.real}/") for one in done.effects} == {
        "edit", "gone", "mode", "d", "fresh", "swap", "link", "pipe", "dm/x", "dm",
    }  # fmt: skip
    await line.undo(done.invocation)
    assert state_of(made.real) == before
    redo = [one.invocation for one in line.world.undo.entries.values() if one.operation == "undo.apply"]
    await line.undo(redo[-1])
    assert state_of(made.real) == after


async def test_a_dry_run_shows_the_diff_and_changes_nothing(made: Desk, way: Mounting) -> None:
    made.fill(FILES)
    before = state_of(made.real)
    line, id = Line(made), made.after(way, WORK)
    shown = output(await line.run("accept", id, dry_run=True))
    assert "a/edit" in shown["diff"]
    assert "edit: modified" in shown["changes"]
    assert shown["conflicts"] == []
    assert state_of(made.real) == before
    (made.real / "edit").write_text("theirs")
    shown = output(await line.run("accept", id, dry_run=True))
    assert shown["conflicts"] == [f"edit: {CHANGED_SINCE}"]
    assert not shown["changes"]
    shown = output(await line.run("accept", id, dry_run=True, input={"digest": "0" * 64}))
    assert "not the one" in shown["conflicts"][0]


async def test_a_diff_is_listed_page_by_page(made: Desk, way: Mounting) -> None:
    made.fill(FILES)
    line, id = Line(made), made.after(way, WORK)
    whole = output(await line.run("diff", id))
    by_path = {one["path"]: one for one in whole["changes"]}
    assert whole["total"] == len(by_path) == 15
    assert not whole["next"]
    assert by_path["edit"]["diff"].startswith("--- a/edit\n+++ b/edit\n")
    sha256 = hashlib.sha256(b"old\n").hexdigest()
    assert by_path["edit"]["before"] == {"kind": "file", "mode": "0644", "bytes": 4, "sha256": sha256, "target": ""}
    assert by_path["link"]["after"]["target"] == "edit"
    assert by_path["gone"]["after"] is None
    paths: list[str] = []
    after = ""
    while True:
        page = output(await line.run("diff", id, input={"limit": 5, "after": after, "text": False}))
        paths += [one["path"] for one in page["changes"]]
        assert page["digest"] == whole["digest"]
        assert not any(one["diff"] for one in page["changes"])
        if not (after := page["next"]):
            break
    assert paths == list(by_path)


async def test_parts_are_accepted_by_name_with_the_folders_they_need(made: Desk, way: Mounting) -> None:
    made.fill(FILES)
    line, id = Line(made), made.after(way, f"{WORK}; mkdir -p new/er; touch new/a new/er/b new/er/c")
    done = await line.accept(id, paths=["new/er/b", "d", f"{made.real}/edit", "./gone/"])
    assert sorted(done["paths"]) == ["d", "d/e", "d/e/deep", "d/in", "edit", "gone", "new", "new/er", "new/er/b"]
    assert state_of(made.real).keys() == {"mode", "edit", "swap", "dm", "dm/y", "new", "new/er", "new/er/b"}
    assert done["left"]
    rest = await line.accept(id, paths=["new"])
    assert sorted(rest["paths"]) == ["new/a", "new/er/c"]
    assert (await line.accept(id, paths=["."]))["left"] == 0
    assert not os.listdir(made.views.folder)


@pytest.mark.parametrize("path", ["nothing", "edit/x", "/etc/passwd", "../edit", "a//b", "/"])
async def test_a_name_that_is_none_in_the_view_is_refused(made: Desk, path: str) -> None:
    made.fill({"edit": "x"})
    line, id = Line(made), made.after("before", "echo > edit")
    await line.refused(id, InvalidInput, paths=[path])


async def test_a_conflict_means_nothing_is_accepted(made: Desk, way: Mounting) -> None:
    made.fill(FILES)
    line, id = Line(made), made.after(way, WORK)
    (made.real / "edit").write_text("theirs")
    found = await line.refused(id, Conflict)
    assert [(one.path, one.message) for one in found.errors] == [("edit", CHANGED_SINCE)]
    await line.accept(id, paths=["gone", "fresh"])
    assert (made.real / "edit").read_text() == "theirs"


async def test_only_the_very_diff_that_was_looked_at_is_accepted(made: Desk, way: Mounting) -> None:
    made.fill(FILES)
    line, id = Line(made), made.after(way, WORK)
    digest = output(await line.run("diff", id))["digest"]
    await line.refused(id, Conflict, digest="0" * 64)
    with made.views.use(id) as use:
        run_on(use.view, "echo more >> edit")
    await line.refused(id, Conflict, digest=digest)
    digest = output(await line.run("diff", id))["digest"].upper()
    assert (await line.accept(id, digest=digest))["left"] == 0


async def test_protected_paths_come_only_by_name(made: Desk, way: Mounting) -> None:
    made.fill({".git/config": "[core]\n", ".git/HEAD": "ref", ".git/hooks/old": "x", "sub/.git": "gitdir: x"})
    line = Line(made)
    id = made.after(
        way,
        "echo evil >> .git/config; echo evil > .git/hooks/pre-commit; echo s > .git/hooks/x.sample; echo r > .git/HEAD;"
        "echo gitdir > sub/.git; mkdir .vscode; echo t > .vscode/tasks.json; echo ok > ok",
    )
    flags = {one["path"]: one["by_name_only"] for one in output(await line.run("diff", id))["changes"]}
    assert {path for path, flag in flags.items() if flag} == {
        ".git/config", ".git/hooks/pre-commit", ".vscode", ".vscode/tasks.json", "sub/.git",
    }  # fmt: skip
    done = await line.accept(id)
    assert sorted(done["paths"]) == [".git/HEAD", ".git/hooks/x.sample", "ok"]
    assert {one["path"] for one in done["left_out"]} == {path for path, flag in flags.items() if flag}
    assert {one["why"] for one in done["left_out"]} == {STEERS}
    assert (await line.accept(id, paths=[".git", "sub"]))["paths"] == []
    done = await line.accept(id, paths=[".git/hooks", ".vscode", "sub/.git"])
    assert sorted(done["paths"]) == [".git/hooks/pre-commit", ".vscode", ".vscode/tasks.json", "sub/.git"]
    assert (await line.accept(id, paths=[".git/config"]))["left"] == 0


async def test_a_repository_made_anew_comes_without_what_it_would_run(made: Desk, way: Mounting) -> None:
    line = Line(made)
    id = made.after(
        way, "mkdir -p r/.git/hooks; echo c > r/.git/config; echo h > r/.git/HEAD; echo x > r/.git/hooks/post"
    )
    done = await line.accept(id)
    assert state_of(made.real).keys() == {"r", "r/.git", "r/.git/HEAD"}
    assert {one["path"] for one in done["left_out"]} == {"r/.git/config", "r/.git/hooks", "r/.git/hooks/post"}


async def test_a_folder_stays_when_something_in_it_does(made: Desk, way: Mounting) -> None:
    made.fill({"r/.git/config": "x", "r/.git/HEAD": "y", "r/f": "z", "s/f": "x", "s/g/h": "y"})
    line = Line(made)
    id = made.after(way, "rm -r r s; ln -s /etc s")
    done = await line.accept(id)
    assert state_of(made.real).keys() == {"r", "r/.git", "r/.git/config", "s", "s/f", "s/g", "s/g/h"}
    why = {one["path"]: one["why"] for one in done["left_out"]}
    assert why["r"] == why["r/.git"] == HOLDS_MORE
    assert why["s/f"] == why["s/g"] == why["s/g/h"] == LIES_IN
    await line.refused(id, Conflict, paths=["r"])
    assert "could lead out" in (await line.refused(id, Conflict, paths=["s"])).detail
    assert (await line.accept(id, paths=["r", "r/.git/config"]))["left"]
    assert "r" not in state_of(made.real)


async def test_what_runs_as_its_owner_loses_that_and_it_is_said(made: Desk, way: Mounting) -> None:
    made.fill({"old": "x"})
    line, id = Line(made), made.after(way, "cp /bin/true p; chmod 6755 p; chmod 4755 old; mkdir d; chmod 2775 d")
    done = await line.accept(id)
    modes = {path: mode for path, (_, mode, _, _) in state_of(made.real).items()}
    assert modes == {"p": 0o755, "old": 0o755, "d": 0o775}
    assert len([note for note in done["notes"] if "run as its owner" in note]) == 3


async def test_sockets_devices_and_links_out_stay_in_the_view_and_it_is_said(made: Desk, way: Mounting) -> None:
    line, id = Line(made), made.after(way, "mkdir d; ln -s /etc/shadow d/l; ln -s /usr/bin/env d/env; touch d/f")
    with made.views.use(id) as use:
        os.mknod(f"{use.view.upper}/d/s", stat.S_IFSOCK | 0o666)
    done = await line.accept(id)
    assert state_of(made.real).keys() == {"d", "d/env", "d/f"}
    assert {one["path"] for one in done["left_out"]} == {"d/l", "d/s"}
    assert done["left"] == 2
    await line.refused(id, Conflict, paths=["d/l"])
    assert (await line.accept(id))["left"] == 2


async def test_a_name_that_no_grant_can_speak_of_stays_unless_a_folder_brings_it(made: Desk, way: Mounting) -> None:
    made.fill({"old/x": "x"})
    os.rename(made.real / "old" / "x", os.fsencode(made.real / "old") + b"/\xff")
    line = Line(made)
    id = made.after(way, r"touch $(printf 'a\377'); mkdir d; echo x > d/$(printf 'b\376'); rm -r old; touch e")
    done = await line.accept(id)
    assert state_of(made.real).keys() == {"d", "d/b\udcfe", "e"}
    assert done["left_out"] == [{"path": r"a\xff", "why": NOT_NAMEABLE}]


async def test_attributes_come_along_but_not_the_overlays_own(made: Desk, way: Mounting) -> None:
    made.fill({"a": "x", "b": "y", "d/x": "z"})
    os.setxattr(made.real / "b", "user.old", b"1")
    os.setxattr(made.real / "a", "user.kept", b"1")
    line, id = Line(made), made.after(way, "echo 1 > a; mkdir n; echo 2 > n/f; chmod 640 b; chmod 750 d")
    with made.views.use(id) as use:
        upper = use.view.upper
        for path in (f"{upper}/a", f"{upper}/n", f"{upper}/n/f", f"{upper}/b", f"{upper}/d"):
            os.setxattr(path, "user.mine", path[-1].encode())
        os.removexattr(f"{upper}/b", "user.old")
        os.setxattr(f"{upper}/n/f", "user.overlay.opaque", b"z")
    await line.accept(id)
    found = {path: sorted(os.listxattr(made.real / path)) for path in ("a", "b", "d", "n", "n/f")}
    mine = ["user.mine"]
    assert found == {"a": ["user.kept", "user.mine"], "b": mine, "d": mine, "n": mine, "n/f": mine}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives programs rights of their own")
async def test_what_a_program_may_do_beyond_its_user_goes_with_its_bytes(made: Desk) -> None:
    made.fill({"p": "x", "q": "y"})
    may_bind = bytes.fromhex("0100000200040000000000000000000000000000")  # cap_net_bind_service, capability.h
    for name in ("p", "q"):
        os.setxattr(made.real / name, "security.capability", may_bind)
    line, id = Line(made), made.after("copy", "echo evil > p; chmod 700 q")
    await line.accept(id)
    assert os.listxattr(made.real / "p") == []
    assert os.listxattr(made.real / "q") == ["security.capability"]


async def test_times_of_the_view_are_kept(made: Desk, way: Mounting) -> None:
    line, id = (
        Line(made),
        made.after(way, "mkdir d; touch -d @1000000000 d/f; touch -d @1000000001 d"),
    )
    await line.accept(id)
    assert os.stat(made.real / "d/f").st_mtime == 1_000_000_000
    assert os.stat(made.real / "d").st_mtime == 1_000_000_001


def denied(folder: str, effects: list[str] | None = None) -> Grant:
    return Grant.model_validate(
        {"id": "no", "effect": "deny", "subject": "*", "operations": ["*"], "where": {"paths": [folder]}}
        | ({"effects": effects} if effects else {})
    )


async def test_what_is_not_allowed_is_refused_whole_and_before_anything_happens(made: Desk, way: Mounting) -> None:
    made.fill({"a": "x", "keep/b": "y", "keep/c/d": "z", "e": "e"})
    line = Line(made, [*allow_all(), denied(f"{made.real}/keep/c/**")])
    id = made.after(way, "echo 1 > a; rm -r keep; mkdir -p new/in; echo s > new/in/s; rm e")
    await line.refused(id, NotFound)
    await line.accept(id, paths=["a"])
    line = Line(
        made, [*allow_all(), denied(f"{made.real}/new/in/**", ["CHANGE"]), denied(f"{made.real}/e", ["DESTROY"])]
    )
    await line.refused(id, Denied, paths=["new"])
    await line.refused(id, Denied, paths=["e"])
    await line.accept(id, paths=["keep"])


async def test_what_may_not_be_read_is_neither_listed_nor_shown(made: Desk, way: Mounting) -> None:
    made.fill({"a": "x", "secret/b": "s3cret"})
    line = Line(made, [*allow_all(), denied(f"{made.real}/secret/**", ["READ"])])
    id = made.after(way, "echo 1 > a; echo 2 > secret/b")
    found = output(await line.run("diff", id))
    assert [one["path"] for one in found["changes"]] == ["a"]
    assert (found["total"], found["hidden"]) == (1, 1)
    assert "s3cret" not in output(await line.run("accept", id, dry_run=True))["diff"]


async def test_only_who_made_a_view_or_had_it_made_sees_it(made: Desk) -> None:
    with made.make("before", chain=("builder", "ada")) as use:
        run_on(use.view, "touch x")
        use.rest()
    line, id = Line(made), use.record.id
    for name in ("diff", "accept", "discard"):
        for by in (person("eve"), agent("other", person("eve"))):
            problem(await line.run(name, id, by=by), NotFound)
    problem(await line.run("accept", id, by=person("eve"), dry_run=True), NotFound)
    assert output(await line.run("diff", id, by=agent("builder", person("ada"))))["total"] == 1
    assert output(await line.run("accept", id, by=person("ada")))["paths"] == ["x"]


async def test_a_view_is_accepted_into_its_own_folder_only(made: Desk) -> None:
    other = made.top / "other"
    other.mkdir()
    line, id = Line(made), made.after("before", "touch x")
    await line.refused(id, InvalidInput, folder=str(other))
    await line.refused(id, InvalidInput, folder=str(made.top / "nowhere"))
    (made.top / "link").symlink_to(made.real)
    await line.accept(id, folder=str(made.top / "link"))


async def test_nothing_is_accepted_while_a_command_runs(made: Desk) -> None:
    line = Line(made)
    with made.make("before") as use:
        run_on(use.view, "touch x")
        await line.refused(use.record.id, Conflict)
        assert type((await line.run("discard", use.record.id)).problem) is Conflict
        assert output(await line.run("diff", use.record.id))["in_use"]


async def test_a_discarded_view_is_gone(made: Desk, way: Mounting) -> None:
    made.fill({"a": "x"})
    before = state_of(made.real)
    line, id = Line(made), made.after(way, "rm a; mkdir -p d/e; chmod 0 d/e")
    assert output(await line.run("discard", id)) == {"view": id}
    assert state_of(made.real) == before
    assert not os.listdir(made.views.folder)
    await line.refused(id, NotFound)
    assert type((await line.run("discard", id)).problem) is NotFound


async def test_a_session_goes_on_after_an_accepting_without_false_conflicts(made: Desk, way: Mounting) -> None:
    made.fill({"a": "1", "b": "1", "d/x": "1", "e/f": "1"})
    line = Line(made)
    with made.make(way) as use:
        run_on(use.view, "echo 2 > a; echo new > n; rm -r e; mkdir g; echo 1 > g/h; mv b c; mv d/x d/y")
        use.pause()
        id = use.record.id
    assert made.views.sweep() == 0
    await line.accept(id, paths=["a", "n", "e", "g", "c"])
    with made.views.use(id) as use:
        run_on(use.view, "echo 3 > a; rm n; mkdir e; echo 2 > g/h; rm c; echo 1 > k")
        use.rest()
    assert not [one for one in made.diff(id).differences if one.conflict]
    (made.real / "g" / "h").write_text("theirs")
    assert [one.path for one in made.diff(id).differences if one.conflict] == ["g/h"]
    await line.accept(id, paths=["a", "n", "e", "k", "b", "c", "d"])
    assert state_of(made.real).keys() == {"a", "d", "d/y", "e", "g", "g/h", "k"}


async def test_an_overlay_that_stays_mounted_goes_on_after_an_accepting(made: Desk, way: Mounting) -> None:
    made.fill({"a": "1", "b": "1", "d/x": "1"})
    line = Line(made)
    work = "echo 2 > a; echo 1 > n; mkdir g; echo 1 > g/h; rm b; rm -r d"
    later = "rm n; echo 3 > a; rm g/h; echo 2 > g/i; echo b2 > b; mkdir d; echo y > d/y"
    with made.make(way) as use:
        id = use.record.id
        with living_on(use.view, f"{work}; echo ready; read go; {later}; cat a b; ls . g d; echo end") as process:
            assert process.stdin
            assert process.stdout
            assert process.stdout.readline() == "ready\n"
            use.pause()  # as a session does that has stopped its processes for the moment
            assert (await line.accept(id))["left"] == 0
            with made.views.use(id) as use:
                use.go_on()
                process.stdin.write("go\n")
                process.stdin.flush()
                said = process.stdout.read()
                use.rest()
    assert said.split() == ["3", "b2", ".:", "a", "b", "d", "g", "d:", "y", "g:", "i", "end"]
    assert not [one for one in made.diff(id).differences if one.conflict]
    assert (await line.accept(id))["left"] == 0
    assert {path: state[3] for path, state in state_of(made.real).items()} == {
        "a": "3\n", "b": "b2\n", "d": "", "d/y": "y\n", "g": "", "g/i": "2\n",
    }  # fmt: skip
    assert not os.listdir(made.views.folder)


async def test_a_failure_in_the_middle_puts_everything_back(
    made: Desk, way: Mounting, monkeypatch: pytest.MonkeyPatch
) -> None:
    made.fill(FILES)
    line, id = Line(made), made.after(way, WORK)
    apply, seen = Placer.apply, list[str]()

    def fails_later(self: Placer, step: Any, at: Any, name: str) -> None:
        apply(self, step, at, name)
        seen.append(step.path)
        if len(seen) == 4:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(Placer, "apply", fails_later)
    outcome = await line.run("accept", id)
    assert outcome.problem is not None
    assert outcome.problem.changed == "nothing"
    assert state_of(made.real).keys() == FILES.keys() | {"d", "d/e", "dm"}
    assert not line.world.undo.entries
    monkeypatch.undo()
    assert (await line.accept(id))["left"] == 0


async def test_what_others_do_at_the_last_moment_is_not_lost(
    made: Desk, way: Mounting, monkeypatch: pytest.MonkeyPatch
) -> None:
    made.fill({"edit": "x", "gone": "x", "tree/a": "x", "swap/a": "x", "mode": "x", "other": "x"})
    (made.top / "theirs").write_text("theirs")
    line = Line(made)
    id = made.after(
        way, "echo 1 > edit; rm gone; echo 1 > other; rm -r tree; rm -r swap; echo f > swap; chmod 700 mode; touch new"
    )
    meddling: dict[str, Any] = {
        "edit": lambda: (made.real / "edit").write_text("theirs"),
        "gone": lambda: (made.real / "gone").write_text("theirs"),
        "tree": lambda: (made.real / "tree" / "b").write_text("theirs"),
        "swap": lambda: (made.real / "swap" / "a").write_text("theirs"),
        "mode": lambda: (made.real / "mode").chmod(0o711),
        "new": lambda: (made.real / "new").write_text("theirs"),
        "other": lambda: os.rename(made.top / "theirs", made.real / "other"),
    }
    apply = Placer.apply
    for path, meddle in meddling.items():

        def meddled(self: Placer, step: Any, at: Any, name: str, meddle: Any = meddle) -> None:
            meddle()
            apply(self, step, at, name)

        monkeypatch.setattr(Placer, "apply", meddled)
        outcome = await line.run("accept", id, input={"paths": [path]})
        assert CHANGED_SINCE in problem(outcome, Conflict).detail, path
    for path in ("edit", "gone", "tree/b", "swap/a", "new", "other"):
        assert (made.real / path).read_text() == "theirs"
    assert stat.S_IMODE(os.stat(made.real / "mode").st_mode) == 0o711


@pytest.mark.parametrize("meddled", [False, True])
async def test_a_filesystem_that_cannot_swap_names_serves_as_well(
    made: Desk, way: Mounting, monkeypatch: pytest.MonkeyPatch, meddled: bool
) -> None:
    def cannot(*names: object) -> None:
        raise OSError(errno.EINVAL, "no such flag")

    made.fill(FILES)
    before = state_of(made.real)
    line, id = Line(made), made.after(way, WORK)
    monkeypatch.setattr(view_apply, "exchange_between", cannot)
    monkeypatch.setattr(view_apply, "rename_new", cannot)
    if meddled:
        apply = Placer.apply

        def meddles(self: Placer, step: Any, at: Any, name: str) -> None:
            if step.path == "edit":
                (made.real / "edit").write_text("theirs")
            if step.path == "link":
                (made.real / "link").write_text("theirs")
            apply(self, step, at, name)

        monkeypatch.setattr(Placer, "apply", meddles)
        for path in ("edit", "link"):
            assert CHANGED_SINCE in problem(await line.run("accept", id, input={"paths": [path]}), Conflict).detail
            assert (made.real / path).read_text() == "theirs"
        return
    done = await line.run("accept", id)
    assert output(done)["left"] == 0
    assert (made.real / "edit").read_text() == "new\n"
    await line.undo(done.invocation)
    assert state_of(made.real) == before


async def test_a_folder_that_becomes_a_link_leads_nobody_out(made: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    outside = made.top / "outside"
    outside.mkdir()
    made.fill({"d/f": "x"})
    line, id = Line(made), made.after("before", "echo 1 > d/f; echo 2 > d/new")
    os.rename(made.real / "d", made.top / "moved")
    (made.real / "d").symlink_to(outside)
    (outside / "f").write_text("x")
    outcome = await line.run("accept", id)
    assert outcome.problem is not None
    assert os.listdir(outside) == ["f"]
    assert (outside / "f").read_text() == "x"

    (made.real / "d").unlink()
    os.rename(made.top / "moved", made.real / "d")
    inside = made.real / "other"
    inside.mkdir()
    (inside / "f").write_text("x")
    sync = view_accept.sync_filesystem

    def swap(fd: int) -> None:  # all is built, nothing is placed yet
        os.rename(made.real / "d", made.top / "moved")
        (made.real / "d").symlink_to("other")
        sync(fd)

    monkeypatch.setattr(view_accept, "sync_filesystem", swap)
    outcome = await line.run("accept", id)
    assert "a link leads to it now" in problem(outcome, Conflict).detail
    assert os.listdir(inside) == ["f"]
    assert (inside / "f").read_text() == "x"


async def test_a_view_that_changes_while_it_is_accepted_is_refused(
    made: Desk, way: Mounting, monkeypatch: pytest.MonkeyPatch
) -> None:
    made.fill({"a": "x"})
    line, id = Line(made), made.after(way, "echo 1 > a; mkdir d; echo 2 > d/b; chmod 700 d")
    with made.views.use(id) as use:
        upper = use.view.upper
    judge = view_accept.judge
    spoils = (
        lambda: open(f"{upper}/a", "w", encoding="ascii").close(),
        lambda: os.setxattr(f"{upper}/d/b", "user.mine", b"1"),
        lambda: os.rename(f"{upper}/d", f"{upper}/e"),
    )
    for spoil in spoils:

        def spoiled(*args: Any, spoil: Any = spoil) -> None:
            judge(*args)
            spoil()

        monkeypatch.setattr(view_accept, "judge", spoiled)
        outcome = await line.run("accept", id)
        assert outcome.problem is not None
        assert state_of(made.real).keys() == {"a"}
        monkeypatch.setattr(view_accept, "judge", judge)


async def test_too_many_places_are_refused_with_the_way_out(made: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(view_choice, "MOST_STEPS", 5)
    line, id = Line(made), made.after("before", "touch 1 2 3 4 5 6; mkdir d; touch d/1 d/2 d/3")
    found = await line.refused(id, TooLarge)
    assert "each with a part" in (found.hint or "")
    await line.accept(id, paths=["1", "2", "3", "d"])
    await line.accept(id)


async def test_a_full_undo_store_refuses_before_the_effect(made: Desk) -> None:
    made.fill({"a": "x"})
    line, id = Line(made), made.after("before", "echo 1 > a; touch b")
    line.world.undo.full = True
    await line.refused(id, TooLarge)
    line.world.undo.full = False
    await line.accept(id)


async def test_a_cancelled_accepting_is_put_back(made: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    made.fill({"a": "x", "b": "y"})
    line, id = Line(made), made.after("before", "echo 1 > a; echo 2 > b; rm -r b")
    begun, go = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()
    apply = Placer.apply

    def waits(self: Placer, step: Any, at: Any, name: str) -> None:
        apply(self, step, at, name)
        loop.call_soon_threadsafe(begun.set)
        assert go.wait(20)

    monkeypatch.setattr(Placer, "apply", waits)
    before = state_of(made.real)
    task = asyncio.create_task(line.run("accept", id))
    async with asyncio.timeout(20):
        await begun.wait()
        task.cancel()
        await asyncio.sleep(0)
        go.set()
        outcome = await task
    assert outcome.status is Status.CANCELLED
    assert state_of(made.real) == before
    monkeypatch.undo()
    await line.accept(id)


async def test_what_a_crash_left_of_an_accepting_does_not_disturb_the_next(made: Desk) -> None:
    line, id = Line(made), made.after("before", "touch a")
    with made.views.use(id) as use:
        staging = made.real / staging_name(use.view)
    (staging / "0").mkdir(parents=True)
    await line.accept(id)
    assert os.listdir(made.real) == ["a"]


async def test_an_operation_that_is_not_all_or_nothing_cannot_accept(made: Desk) -> None:
    probe = Plugin("probe", reaches=("files", "views"))

    @probe.operation(risk=Risk.LOW, effect=Effect.CHANGE, ephemeral="a probe")
    async def take(ctx: Context, view: str) -> Nothing:
        """Accept a view."""
        await ctx.reach("views").accept(view, str(made.real), None, "")
        return Nothing()

    line, id = Line(made), made.after("before", "touch a")
    line.world = made.world(None, probe)
    outcome = await line.world.run("probe.take", {"view": id})
    assert "not declared atomic" in str(outcome.problem)
    assert not os.listdir(made.real)


async def test_a_call_without_time_left_ends(made: Desk) -> None:
    line, id = Line(made), made.after("before", "touch a")
    outcome = await line.run("accept", id, deadline_s=1e-9)
    assert outcome.problem is not None
    assert outcome.problem.slug == "deadline"
    assert not os.listdir(made.real)


async def test_an_ordinary_user_serves_as_well(made: Desk, way: Mounting) -> None:
    made.fill({"edit": "x", "gone": "y", "d/e": "z", "mode": "m"})
    before = state_of(made.real)
    (made.top / "ordinary").mkdir()
    (made.top / "ordinary").chmod(0o777)
    with ordinary_user():
        views = Views(made.top / "ordinary" / "views", made.top / "ordinary" / "records", lambda: 0.0)
        made.views, made.top = views, made.top / "ordinary"
        use = made.make(way)
    run_on(
        use.view, "echo 1 > edit; rm gone; rm -r d; mkdir d; mkfifo d/p; ln -s edit l; chmod 700 mode; chmod 4755 edit"
    )
    with ordinary_user():
        use.rest()
        use.close()
        line = Line(made)
        done = await line.run("accept", use.record.id)
        assert output(done)["left"] == 0
        after = state_of(made.real)
        assert after["edit"][:3] == (f"{stat.S_IFREG:o}", 0o755, UID)
        assert {"d/p", "l"} <= after.keys()
        await line.undo(done.invocation)
        assert state_of(made.real) == before
        assert not os.listdir(views.folder)

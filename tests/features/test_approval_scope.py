"""An approval covers what the request named and what lies in it, never where a link in it leads: over real files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from superagent.app import Installation
from superagent.core.invocation import Call, Outcome, Status
from superagent.core.principal import Principal
from tests.features.test_approved_files import agent, approve, here

__all__ = ["here"]


@pytest.fixture
def top(tmp_path: Path) -> Path:
    """Make a folder of which an agent names `open`, and beside it what nobody approved."""
    folder = tmp_path / "top"
    (folder / "open" / "deep").mkdir(parents=True)
    (folder / "open" / "note").write_text("plain\n")
    (folder / "open" / "deep" / "more").write_text("plain\n")
    (folder / "closed").mkdir()
    (folder / "closed" / "secret").write_text("needle\n")
    (folder / "open" / "file").symlink_to("../closed/secret")
    (folder / "open" / "folder").symlink_to("../closed")
    (folder / "open" / "up").symlink_to("..")
    return folder


async def approved(here: Installation, by: Principal, operation: str, input: dict[str, Any]) -> Outcome:
    """Ask for a call, let the owner approve it, and give what came of it."""
    outcome = await here.kernel.run(Call(f"files.{operation}", input), by, "http")
    assert outcome.status is Status.WAITING, outcome.problem
    return await approve(here, outcome.invocation)


async def records(here: Installation, id: str) -> list[tuple[str, str, str]]:
    found = (await here.index.query("default", invocation=id, limit=20))[0]
    return [(one["kind"], one.get("status", ""), one.get("problem", "")) for one in found]


ELSEWHERE: list[tuple[str, dict[str, Any]]] = [
    ("read", {"path": "open/file"}),
    ("read", {"path": "open/folder/secret"}),
    ("list", {"path": "open/folder"}),
    ("hash", {"path": "open/file"}),
    ("grep", {"root": "open/folder", "pattern": "needle"}),
    ("write", {"path": "open/file", "content": "changed"}),
    ("edit", {"path": "open/file", "old": "needle", "new": "changed"}),
    ("write", {"path": "open/folder/new", "content": "planted"}),
    ("mkdir", {"path": "open/folder/new/deep", "parents": True}),
    ("delete", {"path": "open/folder/secret"}),
    ("copy", {"source": "open/file", "target": "open/stolen"}),
    ("copy", {"source": "open/note", "target": "open/folder/planted"}),
    ("move", {"source": "open/folder/secret", "target": "open/stolen"}),
    ("archive", {"paths": ["open/folder"], "target": "open/stolen"}),
]


@pytest.mark.parametrize(("operation", "input"), ELSEWHERE, ids=[f"{name} {input}" for name, input in ELSEWHERE])
async def test_an_approval_does_not_reach_where_a_link_leads(
    here: Installation, top: Path, operation: str, input: dict[str, Any]
) -> None:
    paths = ("path", "root", "source", "target")
    full = {name: f"{top}/{value}" if name in paths else value for name, value in input.items()}
    if "paths" in full:
        full["paths"] = [f"{top}/{one}" for one in full["paths"]]
    by = await agent(here)

    ended = await approved(here, by, operation, full)

    assert ended.problem is not None, ended.output
    assert ended.problem.slug in ("denied", "not-found")
    assert ended.problem.changed == "nothing"
    assert b"needle" not in ended.encode()
    assert [one.name for one in (top / "closed").iterdir()] == ["secret"]
    assert (top / "closed" / "secret").read_text() == "needle\n"
    assert not (top / "open" / "stolen").exists()
    assert ("outcome", "failed", ended.problem.slug) in await records(here, ended.invocation)


async def test_a_link_upwards_shows_nothing_beside_what_was_named(here: Installation, top: Path) -> None:
    ended = await approved(here, await agent(here), "list", {"path": f"{top}/open/up", "depth": 9})
    assert b"closed" not in ended.encode()
    assert b"secret" not in ended.encode()


async def test_what_takes_the_name_of_what_was_approved_is_another_thing(here: Installation, top: Path) -> None:
    by = await agent(here)
    asked = await here.kernel.run(Call("files.read", {"path": f"{top}/open/note"}), by, "http")
    (top / "open" / "note").unlink()
    (top / "open" / "note").symlink_to("../closed/secret")

    ended = await approve(here, asked.invocation)

    assert ended.problem is not None
    assert b"needle" not in ended.encode()


async def test_an_approval_of_a_folder_covers_what_lies_in_it(here: Installation, top: Path) -> None:
    by = await agent(here)
    listed = await approved(here, by, "list", {"path": f"{top}/open", "depth": 9})
    assert {one["path"] for one in listed.result()["entries"]} == {
        "note", "deep", "deep/more", "file", "folder", "up",
    }  # fmt: skip
    copied = await approved(here, by, "copy", {"source": f"{top}/open", "target": f"{top}/copy"})
    assert copied.problem is None
    assert (top / "copy" / "deep" / "more").read_text() == "plain\n"
    assert (top / "copy" / "file").is_symlink()  # a link in a folder stays one


async def test_an_approval_covers_folders_that_must_be_made_on_the_way(here: Installation, top: Path) -> None:
    made = await approved(here, await agent(here), "mkdir", {"path": f"{top}/open/a/b/c", "parents": True})
    assert made.problem is None
    assert (top / "open" / "a" / "b" / "c").is_dir()


async def test_an_approval_is_for_one_call(here: Installation, top: Path) -> None:
    by = await agent(here)
    ended = await approved(here, by, "write", {"path": f"{top}/open/note", "content": "new\n"})
    assert ended.status is Status.DONE
    again = await here.kernel.run(Call("files.write", {"path": f"{top}/open/note", "content": "more"}), by, "http")
    assert again.status is Status.WAITING
    assert (top / "open" / "note").read_text() == "new\n"

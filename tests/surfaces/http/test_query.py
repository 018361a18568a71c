"""QUERY: a read that says so, with tags by which an answer that still holds is not sent again, and no way around."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import httpx
import pytest

from superagent.core.mounts import changes
from superagent.runtime.file_moment import SETTLED_S
from tests.promise import promise
from tests.surfaces.http.house import Caller, House, problem_of
from tests.until import until_async

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def query(by: Caller, operation: str, input: dict[str, Any], known: str = "") -> httpx.Response:
    headers = {"If-None-Match": known} if known else {}
    return await by.http.request("QUERY", f"/v1/operations/{operation}", json=input, headers=headers)


async def recorded(house: House, response: httpx.Response) -> dict[str, Any]:
    for _ in range(200):
        found = await house.records(invocation=response.headers["x-invocation-id"])
        if found:
            return found[0]
        await asyncio.sleep(0.02)
    raise AssertionError("no record")


@promise("7.1")
async def test_an_answer_that_still_holds_is_not_sent_again_and_recorded_all_the_same(house: House) -> None:
    agent = await house.agent()
    await agent.done("files.write", {"path": "plan.md", "content": "one"})

    first = await query(agent, "files.read", {"path": "plan.md"})
    tag = first.headers["etag"]
    again = await query(agent, "files.read", {"path": "plan.md"}, f'"x", W/{tag}')
    anything = await query(agent, "files.read", {"path": "plan.md"}, "*")

    assert first.status_code == 200
    assert first.headers["cache-control"] == "private, no-cache"
    assert first.json()["output"]["content"] == "one"
    for one in (again, anything):
        assert one.status_code == 304
        assert one.content == b""
        assert one.headers["etag"] == tag
        assert "content-length" not in one.headers
        record = await recorded(house, one)
        assert (record["operation"], record["status"], record["decision"]) == ("files.read", "done", "allow")

    (agent.workspace / "plan.md").write_text("two")  # beside the line
    changed = await query(agent, "files.read", {"path": "plan.md"}, tag)
    assert changed.status_code == 200
    assert changed.json()["output"]["content"] == "two"
    assert changed.headers["etag"] != tag


async def test_a_post_gives_the_same_tag_and_always_the_whole_answer(house: House) -> None:
    agent = await house.agent()
    await agent.done("files.write", {"path": "plan.md", "content": "one"})

    asked = await query(agent, "files.read", {"path": "plan.md"})
    posted = await agent.call("files.read", {"path": "plan.md"}, if_none_match=asked.headers["etag"])

    assert posted.status_code == 200
    assert posted.headers["etag"] == asked.headers["etag"]
    assert posted.headers["cache-control"] == "no-store"
    assert "etag" not in (await agent.call("access.whoami")).headers


@promise("7.1")
async def test_a_tag_tells_nothing_of_what_its_caller_may_not_read(house: House, tmp_path: Path) -> None:
    """No header makes a refusal say more than without it, and equal contents have other tags for other callers."""
    one, other = await house.agent(), await house.agent()
    for agent in (one, other):
        await agent.done("files.write", {"path": "plan.md", "content": "the same"})
    tags = [(await query(agent, "files.read", {"path": "plan.md"})).headers["etag"] for agent in (one, other)]
    theirs = str(other.workspace / "plan.md")

    assert tags[0] != tags[1]
    for known in ("", "*", tags[0], tags[1]):
        refused = await query(one, "files.read", {"path": theirs}, known)
        missing = await query(one, "files.read", {"path": theirs + "-is-not-there"}, known)
        assert refused.status_code == missing.status_code != 304
        assert "etag" not in refused.headers
        assert (await recorded(house, refused)).get("decision") != "allow"
    assert (await query(other, "files.read", {"path": "plan.md"}, tags[0])).status_code == 200


@promise("7.1")
async def test_a_right_that_is_taken_away_ends_the_answers_too(house: House, tmp_path: Path) -> None:
    (tmp_path / "x").write_text("its content")
    old = os.stat(tmp_path / "x").st_ctime
    agent = await house.agent()
    grant = {
        "effect": "allow",
        "subject": f"agent:{agent.name}",
        "operations": ["files.read"],
        "where": {"paths": [f"{tmp_path}/*"]},
    }
    id = (await house.owner.done("grants.create", {"grant": grant}))["id"]
    input = {"path": str(tmp_path / "x")}

    await until_async(lambda: house.installation.kernel.hands.clock.now() > old + SETTLED_S, "the file to settle")
    tag = (await query(agent, "files.read", input)).headers["etag"]
    assert (await query(agent, "files.read", input, tag)).status_code == 304
    await house.owner.done("grants.revoke", {"id": id})

    refused = await query(agent, "files.read", input, tag)

    assert refused.status_code == 202  # it asks now, as for everything outside
    assert "etag" not in refused.headers
    assert b"its content" not in refused.content


async def test_a_query_changes_nothing(house: House) -> None:
    agent = await house.agent()

    refused = await query(agent, "files.write", {"path": "plan.md", "content": "one"})

    problem_of(refused, 422, "invalid-input")
    assert not (agent.workspace / "plan.md").exists()
    assert (await recorded(house, refused))["operation"] == "files.write"


async def test_what_one_may_not_know_of_is_not_there_by_query_either(house: House) -> None:
    agent = await house.agent()

    hidden, missing = [await query(agent, name, {}) for name in ("access.keys.create", "access.keys.nonsense")]
    problems = [problem_of(one, 404, "not-found") for one in (hidden, missing)]
    hints = [one.pop("hint") for one in problems]  # of the names that may be seen, those that are spelled nearly so
    answers = [json.dumps(one) for one in problems]

    assert "access.keys" not in "".join(hints)
    assert (
        answers[0]
        .replace("create", "nonsense")
        .replace(hidden.headers["x-invocation-id"], missing.headers["x-invocation-id"])
        == answers[1]
    )


async def test_a_session_of_a_browser_needs_its_token_for_a_query_too() -> None:
    assert changes("QUERY")  # so the gate asks for the token that no other site's page has


async def test_a_dry_run_has_no_tag(house: House) -> None:
    agent = await house.agent()
    await agent.done("files.write", {"path": "plan.md", "content": "one"})

    tried = await agent.call("files.read", {"path": "plan.md"}, x_dry_run="true")

    assert tried.json()["status"] == "previewed"
    assert "etag" not in tried.headers

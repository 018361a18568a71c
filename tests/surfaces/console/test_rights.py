"""Rights in the console: given by a form, seen while they last, taken away; and what a person asks back."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from tests.promise import promise
from tests.surfaces.console.desk import HOSTILE, Desk, as_holder
from tests.until import until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def sure(at: Desk) -> None:
    """Say yes in the dialog that a button opened: its first focus is on Cancel."""
    at.browser.until("document.activeElement?.innerText === 'Cancel'")
    at.press("Tab")
    at.press("Enter")


@promise("10.5b")
def test_a_right_is_given_by_a_form_seen_and_taken_away_by_keyboard(at: Desk, tmp_path: Path) -> None:
    made = at.as_owner("access.keys.create", name="gardener")["output"]
    (tmp_path / "beds").mkdir()
    wanted = {"path": str(tmp_path / "beds" / "rose.txt"), "content": "x"}
    with as_holder(at.server, made["key"]) as gardener:
        plant = lambda: gardener.post("/v1/operations/files.write", json=wanted).json()  # noqa: E731
        assert plant()["status"] == "waiting"

        at.open("/ui/policy", "document.querySelectorAll('.grants li').length > 3")
        at.tab_to("e.innerText === 'Give a right…'")
        at.press("Enter")
        at.browser.until("!!document.querySelector('#grant-who')")
        at.tab_to("e.id === 'grant-who'")
        at.type("agent:gardener")
        at.press("Tab")
        at.type("files.wr")
        at.browser.until("[...document.querySelectorAll('#grant-known option')].some((e) => e.value === 'files.write')")
        at.type("ite")
        at.press("Enter")
        at.browser.until("!!document.querySelector('.many .chip')?.innerText.includes('files.write')")
        at.tab_to("e.id === 'grant-paths'")
        at.type(f"{tmp_path}/beds/**")
        at.tab_to("e.id === 'grant-ends'")
        at.press("ArrowDown")
        at.press("ArrowDown")
        at.tab_to("e.innerText === 'Look first'")
        at.press("Enter")
        at.says("would allow files.write for agent:gardener")
        assert plant()["status"] == "waiting", "only looked at"
        # who has to show a second factor comes back to what was typed
        at.browser.run("window.before = true")
        at.browser.go(at.browser.run("location.href"))
        at.browser.until("!window.before && document.querySelector('#grant-who')?.value === 'agent:gardener'")
        at.tab_to("e.innerText === 'Look first'")
        at.press("Enter")
        at.tab_to("e.innerText === 'Put it in force'")
        at.press("Enter")
        at.says("In force within a second")

        (grant,) = [
            one["grant"]
            for one in at.as_owner("grants.list")["output"]["grants"]
            if one["grant"]["subject"] == "agent:gardener" and "files.write" in one["grant"]["operations"]
        ]
        assert grant["where"]["paths"] == [f"{tmp_path}/beds/**"]
        assert grant["when"]["until"] > 0
        until(lambda: plant()["status"] == "done", "it is in force")

        # it is seen where requests wait, while it lasts, and ends there
        at.open("/ui/approvals", "!!document.querySelector('.while')?.innerText.includes('agent:gardener')")
        assert "left" in at.browser.run("document.querySelector('.while').innerText")
        at.tab_to("e.innerText.startsWith('Revoke') && e.closest('li').innerText.includes('agent:gardener')", 200)
        at.press("Enter")
        sure(at)
        at.browser.until("!document.querySelector('.while')?.innerText.includes('agent:gardener')")
        wanted["content"] = "y"
        until(lambda: plant()["status"] == "waiting", "it is over")


def test_a_grant_that_the_server_refuses_says_why_and_changes_nothing(at: Desk) -> None:
    before = at.as_owner("grants.list")["output"]["grants"]
    grant = json.dumps({"effect": "allow", "subject": "agent builder", "operations": ["files.read"]})
    at.open(f"/ui/policy/give?grant={grant}", "document.querySelector('#grant-who')?.value === 'agent builder'")
    at.tab_to("e.innerText === 'Look first'")
    at.press("Enter")
    at.browser.until("!!document.querySelector('main .failure')")
    assert at.as_owner("grants.list")["output"]["grants"] == before


def test_a_question_goes_back_to_the_agent_and_nothing_is_done(at: Desk, tmp_path: Path) -> None:
    target = tmp_path / "why.txt"
    asked = at.call("files.write", path=str(target), content="x")
    at.open(f"/ui/approvals/{asked['invocation']}", "!!document.querySelector('.detail .bar')")
    at.tab_to("e.tagName === 'SUMMARY' && e.innerText === 'The grants that decide'", 200)
    at.press("Enter")
    at.browser.until("[...document.querySelectorAll('.detail .sentence')].some((e) => e.innerText.includes('ask'))")
    at.press("q")
    at.browser.until("document.activeElement?.innerText === 'Cancel'")
    at.press("Tab", modifiers=8)
    at.press("Tab", modifiers=8)
    at.type(f"what for? {HOSTILE}")
    at.press("Enter")
    at.says("does not wait any more")
    assert not target.exists()
    said = at.agent.get(f"/v1/invocations/{asked['invocation']}").text
    assert "A question: what for?" in said


def test_what_was_asked_ahead_and_why_stands_with_the_request(at: Desk) -> None:
    ahead = at.call(
        "approvals.request", operation="files.read", input={"path": "/etc/hostname"}, reason="which machine?"
    )["output"]["id"]
    rights = at.call("grants.request", operations=["files.read"], resources=["/etc/hosts"], minutes=5, reason=HOSTILE)
    at.open(
        f"/ui/approvals/{ahead}", "!!document.querySelector('.detail .chip.info')?.innerText.includes('asked ahead')"
    )
    assert "which machine?" in at.browser.run("document.querySelector('.detail').innerText")
    listed = f"document.querySelector('.list a[href$=\"{ahead}\"]').innerText"
    assert "asked ahead" in at.browser.run(listed)
    at.open(f"/ui/approvals/{rights['invocation']}", "!!document.querySelector('.detail q')")
    shown = at.browser.run("document.querySelector('.detail q').innerText")
    assert "U+202E" in shown
    assert "\u202e" not in shown


async def work(at: Desk, name: str, files: list[Path]) -> list[Any]:
    """Write files as an unmodified MCP client does, in one session of the older revision."""
    async with httpx2.AsyncClient(headers={"Authorization": f"Bearer {at.key}"}, timeout=60) as http:
        transport = streamable_http_client(f"{at.server.address}/mcp?toolsets=files", http_client=http)
        async with Client(transport, mode="legacy") as client:
            return [
                (await client.call_tool("files_write", {"path": str(one), "content": name})).structured_content
                for one in files
            ]


@promise("10.5b")
def test_what_an_mcp_client_did_in_its_session_is_seen_and_taken_back(at: Desk) -> None:
    files = [at.workspace / f"mcp-{number}.txt" for number in range(3)]
    other = at.workspace / "mcp-other.txt"
    done = asyncio.run(work(at, "one", files))
    asyncio.run(work(at, "two", [other]))
    assert all(one["status"] == "done" for one in done)
    records: list[Any] = []
    until(lambda: records.extend(
        at.as_owner("audit.query", invocation=done[0]["invocation"])["output"]["records"]
    ) or bool(records), "it is recorded")  # fmt: skip
    name = records[0]["session"]
    at.open("/ui/activity", f"[...document.querySelectorAll('.stay a')].some((e) => e.innerText === {name!r})")
    at.tab_to(f"e.innerText === {name!r}", 300)
    at.press("Enter")
    at.browser.until(f"location.pathname === '/ui/sessions/{name}' && document.querySelectorAll('.rows li').length > 2")
    at.tab_to("e.innerText === 'Undo this session'")
    at.press("Enter")
    sure(at)
    at.says("Taken back by")
    assert not [one for one in files if one.exists()]
    assert other.exists()


def test_an_agent_is_paused_from_the_session_in_which_it_did_harm(at: Desk) -> None:
    at.call("files.write", "harm", path=str(at.workspace / "harm.txt"), content="x")
    at.open(
        "/ui/sessions/harm", "[...document.querySelectorAll('button')].some((e) => e.innerText === 'Pause builder')"
    )
    at.tab_to("e.innerText === 'Pause builder'")
    at.press("Enter")
    sure(at)
    at.browser.until("document.body.innerText.includes('Resume builder')")
    assert at.agent.post("/v1/operations/access.whoami", json={}).status_code in (401, 403)
    at.tab_to("e.innerText === 'Resume builder'")
    at.press("Enter")
    sure(at)
    at.browser.until("document.body.innerText.includes('Pause builder')")


def test_a_key_is_revoked_by_keyboard(at: Desk) -> None:
    made = at.as_owner("access.keys.create", name="leaver")["output"]
    with as_holder(at.server, made["key"]) as leaver:
        assert leaver.post("/v1/operations/access.whoami", json={}).status_code == 200
        at.open("/ui/access", "[...document.querySelectorAll('tr')].some((e) => e.innerText.includes('leaver'))")
        at.tab_to("e.innerText.startsWith('Revoke') && e.closest('tr')?.innerText.includes('leaver')", 300)
        at.press("Enter")
        sure(at)
        until(lambda: leaver.post("/v1/operations/access.whoami", json={}).status_code == 401, "the key opens nothing")


def test_the_audit_is_searched_by_address(at: Desk) -> None:
    at.call("files.write", path=str(at.workspace / "addressed.txt"), content="x")
    at.open("/ui/operations/files.write", "!!document.querySelector('form')")
    at.tab_to("e.innerText === 'Calls of it so far'", 200)
    at.press("Enter")
    at.browser.until("location.pathname === '/ui/audit' && document.querySelectorAll('tbody tr').length > 0")
    shown = at.browser.run("[...document.querySelectorAll('tbody tr td:nth-child(3)')].map((e) => e.innerText)")
    assert set(shown) == {"files.write"}
    at.open("/ui/audit?actor=builder&text=addressed.txt", "document.querySelectorAll('tbody tr').length > 0")
    assert at.browser.run("document.querySelector('input[type=search]').value") == "addressed.txt"
    assert "builder" in at.browser.run("document.querySelector('tbody tr').innerText")

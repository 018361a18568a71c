"""The pages for policy, health, settings, connections and sessions: in a real browser, by keyboard where it counts."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest

from tests.promise import promise
from tests.surfaces.console.desk import Desk, as_holder

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
NEVER = (
    '{"effect": "deny", "subject": "agent:builder", "operations": ["files.delete"],'
    ' "where": {"paths": ["/srv/never/**"]}}'
)
BROAD = '{"effect": "deny", "subject": "agent:builder", "operations": ["files.write"]}'


@promise("10.5b")
def test_what_an_agent_did_in_a_session_is_taken_back_as_a_whole(at: Desk) -> None:
    kept, fresh, gone = (at.workspace / name for name in ("kept.txt", "fresh.txt", "gone.txt"))
    at.call("files.write", path=str(kept), content="one\ntwo\n")
    at.call("files.write", path=str(gone), content="needed\n")
    at.call("files.write", "night-shift", path=str(kept), content="one\nthree\n")
    at.call("files.write", "night-shift", path=str(fresh), content="new\n")
    at.call("files.write", "night-shift", path=str(kept), content="one\nfour\n")
    assert (
        at.call("files.move", "night-shift", source=str(gone), target=str(at.workspace / "moved.txt"))["status"]
        == "done"
    )

    at.open("/ui/activity", "[...document.querySelectorAll('.stay a')].some((e) => e.innerText === 'night-shift')")
    at.tab_to("e.innerText === 'night-shift'")
    at.press("Enter")
    at.browser.until(
        "location.pathname === '/ui/sessions/night-shift' && document.querySelectorAll('.rows li').length >= 4"
    )
    shown = at.browser.until("document.querySelector('.back')?.innerText")
    assert "kept.txt" in shown
    assert "fresh.txt" in shown
    at.tab_to("e.innerText === 'Undo this session'")
    at.press("Enter")
    at.browser.until("document.activeElement?.innerText === 'Cancel'")
    at.press("Tab")
    at.press("Enter")
    at.says("Taken back by")
    assert kept.read_text("utf-8") == "one\ntwo\n"
    assert gone.read_text("utf-8") == "needed\n"
    assert not fresh.exists()
    assert not (at.workspace / "moved.txt").exists()

    # where somebody changed it since, nothing of it is taken back
    at.call("files.write", "day-shift", path=str(kept), content="one\nfive\n")
    kept.write_text("by hand\n", "utf-8")
    at.open("/ui/sessions/day-shift", "document.querySelector('.warning')?.innerText.includes('changed it since')")
    assert at.browser.run(
        "[...document.querySelectorAll('button')].find((b) => b.innerText === 'Undo this session').disabled"
    )
    assert kept.read_text("utf-8") == "by hand\n"


def test_an_agent_that_names_no_session_is_taken_back_as_well(at: Desk) -> None:
    made = at.as_owner("access.keys.create", name="courier")["output"]
    files = [Path(made["workspace"]) / name for name in ("one.txt", "two.txt")]
    with as_holder(at.server, made["key"]) as courier:
        for file in files:
            said = courier.post("/v1/operations/files.write", json={"path": str(file), "content": "x"}).json()
            assert said["status"] == "done"
    at.open("/ui/activity", "[...document.querySelectorAll('.stay a')].some((e) => e.innerText === 'courier')")
    at.tab_to("e.innerText === 'courier'", 300)
    at.press("Enter")
    at.browser.until("location.pathname === '/ui/stays/courier' && document.querySelectorAll('.rows li').length === 2")
    at.tab_to("e.innerText === 'Undo this session'")
    at.press("Enter")
    at.browser.until("document.activeElement?.innerText === 'Cancel'")
    at.press("Tab")
    at.press("Enter")
    at.says("Taken back by")
    assert not [file for file in files if file.exists()]


@promise("10.5b")
def test_policy_is_explained_tried_on_the_past_proposed_and_applied(at: Desk) -> None:
    assert at.call("files.write", path=str(at.workspace / "judged.txt"), content="x")["status"] == "done"
    at.open("/ui/activity", "!!document.querySelector('.rows')")
    at.press("g")
    at.press("y")
    at.browser.until("location.pathname === '/ui/policy' && document.querySelectorAll('.grants li').length > 3")

    at.open("/ui/policy/explain", "!!document.querySelector('#of-operation')")
    at.tab_to("e.id === 'of-operation'")
    at.type("files.delete")
    at.press("Tab")
    at.type("agent:builder")
    at.press("Enter")
    answer = at.browser.until("document.querySelector('[aria-label=\"The answer\"]')?.innerText")
    said = at.as_owner("policy.explain", operation="files.delete", actor="agent:builder")["output"]
    assert said["verdict"] in answer
    assert said["reason"] in answer

    at.open("/ui/policy/simulate", "!!document.querySelector('#add')")
    at.tab_to("e.id === 'add'")
    at.type("{")
    at.tab_to("e.innerText === 'Replay the past'")
    at.press("Enter")
    at.browser.until("document.querySelector('.warning')?.getAttribute('role') === 'alert'")
    at.browser.run("document.querySelector('#add').focus(); document.querySelector('#add').select()")
    at.type(BROAD)
    at.tab_to("e.innerText === 'Replay the past'")
    at.press("Enter")
    flips = at.browser.until("document.querySelector('[aria-label=\"What would be answered otherwise\"]')?.innerText")
    assert re.search(r"[1-9]\d* call\(s\) would be answered otherwise", flips)
    assert "files.write" in flips
    assert at.call("files.write", path=str(at.workspace / "judged.txt"), content="y")["status"] == "done", "only tried"

    at.browser.run("document.querySelector('#add').focus(); document.querySelector('#add').select()")
    at.type(NEVER)
    at.tab_to("e.innerText === 'Replay the past'")
    at.press("Enter")
    at.says("No call of the past would be answered otherwise")
    at.tab_to("e.innerText === 'Propose this change'")
    at.press("Enter")
    at.browser.until("document.activeElement?.innerText === 'Cancel'")
    at.press("Tab", modifiers=8)
    at.type("nobody needs <b>that</b>")
    at.press("Enter")
    at.says("Proposed")

    own = "[...document.querySelectorAll('article.card')].find((e) => e.innerText.includes('nobody needs <b>that</b>'))"
    at.open("/ui/policy/proposals", f"!!{own}")
    at.tab_to("e.innerText === 'Apply…' && e.closest('article').innerText.includes('nobody needs')")
    at.press("Enter")
    at.browser.until("document.activeElement?.innerText === 'Cancel'")
    at.press("Tab")
    at.press("Enter")
    at.browser.until(f"!document.querySelector('[role=dialog]') && !{own}")
    words = json.dumps(at.as_owner("policy.list", subject="agent:builder")["output"]["grants"])
    assert "/srv/never/" in words
    at.open("/ui/policy/versions", "document.querySelectorAll('.grants summary').length > 1")
    at.browser.click(".grants summary")
    at.says("/srv/never/")


def test_a_setting_is_rehearsed_and_then_written(at: Desk) -> None:
    file = at.server.data / "superagent.toml"
    at.open("/ui/settings", "document.querySelectorAll('table.settings tr').length > 20")
    at.tab_to("e.getAttribute('aria-label') === 'Change server.max_body_bytes'", 200)
    at.press("Enter")
    at.browser.until("document.activeElement?.tagName === 'INPUT'")
    at.browser.run("document.activeElement.select()")
    at.type("many")
    at.press("Enter")
    at.browser.until("!!document.querySelector('[role=dialog] .failure')")
    at.browser.run("document.querySelector('[role=dialog] input').select()")
    at.type("2097152")
    at.press("Enter")
    at.says("would set server.max_body_bytes", "[role=dialog]")
    assert not file.exists() or "2097152" not in file.read_text("utf-8"), "a rehearsal writes nothing"
    at.press("Enter")
    at.says("is written and counts from the next start")
    assert tomllib.loads(file.read_text("utf-8"))["server"]["max_body_bytes"] == 2097152


def test_health_shows_what_the_server_counts(at: Desk) -> None:
    for number in range(3):
        at.call("files.write", path=str(at.workspace / f"counted-{number}.txt"), content="x")
    at.open(
        "/ui/health", "document.querySelectorAll('.plot rect').length > 0 && !!document.querySelector('table.times')"
    )
    row = at.browser.until(
        "[...document.querySelectorAll('table.times tr')].find((r) => r.innerText.startsWith('files.write'))?.innerText"
    )
    said = at.text_at("/metrics")
    counted = re.search(
        r'superagent_call_seconds_count\{operation="files.write",status="done",worker="0"\} (\d+)', said
    )
    assert counted is not None
    assert counted[1] in row.split()
    at.says("✓ writes", ".tiles")
    bars = at.browser.run(
        "[...document.querySelectorAll('.plot rect title')].map((t) => Number(/: (\\d+)/.exec(t.textContent)[1]))"
    )
    tile = at.browser.run(
        "[...document.querySelectorAll('.tiles > div')].find((e) => e.innerText.includes('last hour')).innerText"
    )
    assert sum(bars) == int(re.findall(r"\d+", tile)[0]), "bars and figure say the same"


def test_a_connection_is_made_tried_and_deleted_and_all_agents_are_stopped_and_released(
    at: Desk, tmp_path: Path
) -> None:
    at.open("/ui/access", "document.body.innerText.includes('New connection')")
    at.tab_to("e.innerText === 'New connection…'", 200)
    at.press("Enter")
    at.browser.until("document.querySelectorAll('form input[type=text]').length >= 3")
    for text in ("docs", "http", "https://192.0.2.1"):
        at.tab_to("e.tagName === 'INPUT' && e.type === 'text' && !e.value")
        at.type(text)
    at.press("Enter")
    at.browser.until("document.body.innerText.includes('Try docs')")
    assert [one["name"] for one in at.as_owner("connections.list")["output"]["connections"]] == ["docs"]
    at.tab_to("e.innerText === 'Delete docs'", 200)
    at.press("Enter")
    at.browser.until("document.activeElement?.innerText === 'Cancel'")
    at.press("Tab")
    at.press("Enter")
    at.browser.until("!document.body.innerText.includes('Try docs')")
    assert at.as_owner("connections.list")["output"]["connections"] == []

    at.tab_to("e.innerText === 'Stop all agents'", 200)
    at.press("Enter")
    at.browser.until("document.activeElement?.innerText === 'Cancel'")
    at.press("Tab", modifiers=8)
    at.type("lunch")
    at.press("Enter")
    at.says("All agents are stopped")
    assert at.agent.post("/v1/operations/access.whoami", json={}).status_code in (401, 403)
    at.says("lunch")
    at.tab_to("e.innerText === 'Release'")
    at.press("Enter")
    at.browser.until("!document.body.innerText.includes('All agents are stopped')")
    assert at.call("files.write", path=str(at.workspace / "after.txt"), content="x")["status"] == "done"

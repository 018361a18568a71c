"""The console in a real Chromium and against a real server: watch, approve and take back, by keyboard alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.needs import program
from tests.promise import promise
from tests.surfaces.console.desk import HOSTILE, Desk
from tests.until import until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@promise("10.5b")
def test_a_person_approves_by_keyboard_after_reading_and_takes_it_back(at: Desk, tmp_path: Path) -> None:
    target = tmp_path / "outside.txt"
    asked = at.call("files.write", path=str(target), content="hello\nmoon\n")
    assert asked["status"] == "waiting"

    path = f"/ui/approvals/{asked['invocation']}"
    at.open("/ui/approvals", f"!!document.querySelector('.list a[href=\"{path}\"]')")
    waiting = at.browser.run("[...document.querySelectorAll('.list a')].map((one) => one.pathname)")
    for one in waiting[: waiting.index(path) + 1]:
        at.press("j")
        at.browser.until(f"location.pathname === {one!r}")
    at.browser.until("!!document.querySelector('.diff tr.add')?.innerText.includes('hello')")
    assert not target.exists()

    at.press("a")
    at.browser.until("document.activeElement?.innerText === 'Cancel'")  # never on what approves
    at.press("Tab")
    at.browser.until("document.activeElement?.innerText === 'Approve'")
    at.press("Enter")
    at.browser.until(f"!document.querySelector('.list a[href=\"{path}\"]')")
    at.browser.until("document.body.innerText.includes('does not wait any more')")
    until(target.exists, "it ran after it was approved")
    assert target.read_text("utf-8") == "hello\nmoon\n"

    at.open(f"/ui/invocations/{asked['invocation']}", "!!document.querySelector('button.primary')")
    assert "outside.txt" in at.browser.run("document.querySelector('main h2').innerText")
    at.tab_to("e.innerText === 'Undo'")
    at.press("Enter")
    at.browser.until("document.body.innerText.includes('Taken back by')")
    until(lambda: not target.exists(), "it was taken back")


def test_a_call_that_was_answered_at_once_says_how_it_was_contained_and_by_which_grants(at: Desk) -> None:
    program("bwrap", "bubblewrap")
    ran = at.call("shell.run", command="true")
    at.open(f"/ui/invocations/{ran['invocation']}")
    at.says("contained: native (bubblewrap)")
    at.says(", ".join(ran["decision"]["grants"]))


def test_a_rehearsed_command_shows_what_it_wrote_and_what_leaves_nothing_is_not_called_final(at: Desk) -> None:
    program("bwrap", "bubblewrap")
    at.open("/ui/operations/shell.run", "!!document.querySelector('form textarea')")
    at.browser.run("document.querySelector('form textarea').focus()")
    at.type("echo said; echo why >&2; echo kept > accepted.txt")
    at.browser.click("form .buttons button[type=button]")
    at.says("It wrote\n\nsaid")
    at.says("To standard error\n\nwhy")
    kept = at.workspace.parent / "owner/accepted.txt"
    assert not kept.exists()
    at.browser.until("[...document.querySelectorAll('main button')].some((e) => e.innerText === 'Accept this diff')")
    at.browser.run(
        "[...document.querySelectorAll('main button')].find((e) => e.innerText === 'Accept this diff').click()"
    )
    at.says("brought in")
    assert kept.read_text() == "kept\n"
    at.open("/ui/operations/code.repl")
    at.says("leaves nothing to take back")


def test_what_is_grave_is_signed_by_the_passkey(at: Desk, tmp_path: Path) -> None:
    (tmp_path / "doomed").mkdir()
    asked = at.call("files.delete", path=str(tmp_path / "doomed"), recursive=True)
    assert asked["status"] == "waiting"
    at.open(f"/ui/approvals/{asked['invocation']}", "!!document.querySelector('.detail .bar')")
    at.press("a")
    at.browser.until("document.activeElement?.innerText === 'Cancel'")
    at.press("Tab")
    at.press("Enter")
    at.browser.until("document.body.innerText.includes('does not wait any more')")
    until(lambda: not (tmp_path / "doomed").exists(), "it ran after it was signed")
    found = at.as_owner("audit.query", invocation=asked["invocation"])
    (approved,) = [one for one in found["output"]["records"] if one["kind"] == "approved"]
    assert "signature" in approved["detail"]["proof"]


def test_a_request_is_denied_with_a_reason_that_its_agent_reads(at: Desk, tmp_path: Path) -> None:
    asked = at.call("files.write", path=str(tmp_path / "never.txt"), content="x")
    at.open(f"/ui/approvals/{asked['invocation']}", "!!document.querySelector('.detail .bar')")
    at.press("d")
    at.browser.until("!!document.querySelector('[role=dialog] input')")
    at.browser.until("document.activeElement?.innerText === 'Cancel'")
    at.press("Tab", modifiers=8)
    at.press("Tab", modifiers=8)  # past the choice to sign
    at.type("not in this folder")
    at.press("Enter")
    at.browser.until("document.body.innerText.includes('does not wait any more')")
    assert not (tmp_path / "never.txt").exists()
    said = at.agent.get(f"/v1/invocations/{asked['invocation']}").text
    assert "not in this folder" in said


def test_activity_is_live_and_hostile_text_is_only_text(at: Desk, tmp_path: Path) -> None:
    at.open("/ui/activity", "!!document.querySelector('.state.live')")
    name = at.workspace / f"{HOSTILE.replace('/', '')}.txt"
    assert at.call("files.write", path=str(name), content="x")["status"] == "done"

    at.browser.until("!!document.querySelector('.rows')?.innerText.includes('onerror')")
    shown = at.browser.run("document.querySelector('.rows').innerText")
    assert "U+202E" in shown
    assert "U+200B" in shown
    assert "\u202e" not in shown
    assert at.browser.run("document.querySelectorAll('.rows img').length") == 0

    at.press("p")
    at.browser.until("!!document.querySelector('[aria-pressed=true]')")
    assert at.call("files.write", path=str(at.workspace / "later.txt"), content="x")["status"] == "done"
    at.browser.until("!!document.querySelector('.fresh')?.innerText.includes('new')")
    assert "later.txt" not in at.browser.run("document.querySelector('.rows').innerText")
    at.press("p")
    at.browser.until("!!document.querySelector('.rows').innerText.includes('later.txt')")


def test_an_operation_is_found_rehearsed_and_run_by_its_form(at: Desk, tmp_path: Path) -> None:
    at.open("/ui/operations", "document.querySelectorAll('.rows li').length > 10")
    at.tab_to("e.type === 'search'")
    at.type("write a whole file")
    at.browser.until("document.querySelector('.rows li code')?.innerText === 'files.write'")
    at.tab_to("e.innerText === 'files.write'")
    at.press("Enter")
    at.browser.until("!!document.querySelector('form input[type=text]')")
    target = at.workspace / "form.txt"
    at.tab_to("e.tagName === 'INPUT' && e.type === 'text'")
    at.type(str(target))
    at.tab_to("e.tagName === 'SUMMARY'")
    at.press("Enter")
    at.tab_to("e.tagName === 'TEXTAREA'")
    at.type("from a form")
    at.tab_to("e.innerText === 'Dry run'")
    at.press("Enter")
    at.browser.until("document.querySelector('[aria-label=\"The answer\"]')?.innerText.includes('would create')")
    assert not target.exists()
    at.tab_to("e.innerText === 'Run'")
    at.press("Enter")
    at.browser.until("document.querySelector('[aria-label=\"The answer\"]')?.innerText.includes('done')")
    assert target.read_text("utf-8") == "from a form"
    shown = at.browser.run("document.querySelector('article > details').textContent")
    assert json.dumps(str(target)) in shown


def test_the_audit_is_searched_and_verified_and_an_agent_is_paused(at: Desk, tmp_path: Path) -> None:
    at.call("access.whoami")
    at.open("/ui/audit", "document.querySelectorAll('tbody tr').length > 0")
    at.tab_to("e.innerText === 'Verify'")
    at.press("Enter")
    at.browser.until("!!document.querySelector('.good')?.innerText.includes('nobody rewrote them')")

    at.open("/ui/access", "document.body.innerText.includes('Pause builder')")
    at.tab_to("e.innerText === 'Pause builder'")
    at.press("Enter")
    at.browser.until("document.body.innerText.includes('Resume builder')")
    assert at.agent.post("/v1/operations/access.whoami", json={}).status_code in (401, 403)
    at.tab_to("e.innerText === 'Resume builder'")
    at.press("Enter")
    at.browser.until("document.body.innerText.includes('Pause builder')")


def test_a_session_that_ended_leads_to_the_sign_in_and_back(at: Desk, tmp_path: Path) -> None:
    at.open("/ui/access", "document.querySelectorAll('table').length > 2")
    at.browser.say("Network.clearBrowserCookies")
    at.open("/ui/audit", "location.pathname === '/sign-in'")
    at.tab_to("e.classList.contains('passkey')")
    at.press("Enter")
    at.browser.until("location.pathname === '/ui/audit' && document.querySelectorAll('tbody tr').length > 0")


def test_a_request_whose_effect_cannot_be_shown_says_so(at: Desk, tmp_path: Path) -> None:
    asked = at.call("files.edit", path=str(tmp_path / "none.txt"), old="a", new="b")
    assert asked["status"] == "waiting"
    at.open(f"/ui/approvals/{asked['invocation']}", "!!document.querySelector('.detail .bar')")
    assert "could not be shown" in at.browser.run("document.querySelector('.detail').innerText")

"""What goes wrong on the pages: sessions that end, lacking rights, hostile text, changes under the reader; and axe."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from tests.promise import promise
from tests.surfaces.console.desk import HOSTILE, Desk
from tests.until import until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
PAGES = [
    "activity", "approvals", "operations", "operations/files.write", "plugins", "health", "audit", "access", "policy",
    "policy/explain", "policy/give", "policy/simulate", "policy/proposals", "policy/versions", "settings",
]  # fmt: skip
HIDDEN = ("\u202e", "\u202c", "\u200b")


def seeded(at: Desk, outside: Path) -> dict[str, str]:
    """Put hostile text wherever an agent can, and give the pages that show it."""
    name = HOSTILE.replace("/", "")
    assert (
        at.call("files.write", "<b>evil</b>", path=str(at.workspace / f"{name}.txt"), content=HOSTILE)["status"]
        == "done"
    )
    asked = at.agent.post(
        "/v1/operations/files.write",
        json={"path": str(outside / f"{name}.txt"), "content": HOSTILE * 3},
        headers={"Superagent-Reason": "<img src=x onerror=window.hacked=2> please"},
    ).json()
    assert asked["status"] == "waiting"
    at.call(
        "policy.propose",
        add=[
            {
                "effect": "allow",
                "subject": "agent:builder",
                "operations": ["files.*"],
                "where": {"paths": [f"/srv/{name}/**"]},
            }
        ],
        reason=HOSTILE,
    )
    return {
        "approvals/ID": f"approvals/{asked['invocation']}",
        "invocations/ID": f"invocations/{asked['invocation']}",
        "sessions/ID": "sessions/%3Cb%3Eevil%3C%2Fb%3E",
    }


@promise("10.5b")
def test_every_page_is_free_of_grave_faults_in_both_themes_and_shows_hostile_text_as_text(
    at: Desk, tmp_path: Path
) -> None:
    pages = {one: one for one in PAGES} | seeded(at, tmp_path)
    faults: dict[str, list[str]] = {}
    pictures = os.environ.get("SUPERAGENT_TEST_PICTURES", "")
    for name, path in pages.items():
        at.open(
            f"/ui/{path}",
            "!!document.querySelector('main')?.innerText.trim() && !document.querySelector('[data-loading]')",
        )
        at.browser.until("!!document.querySelector('.state.live')")
        for theme in ("light", "dark"):
            at.browser.run(f"document.documentElement.dataset.theme = {theme!r}")
            if found := at.look():
                faults[f"{name}, {theme}"] = found
            if pictures:
                at.picture(Path(pictures) / f"{name.replace('/', '-')}-{theme}.png")
        # as on a telephone, which is also what a zoom of 200 % and more makes of a screen (WCAG 1.4.10)
        at.width(390)
        if found := at.look():
            faults[f"{name}, narrow"] = found
        wide = at.browser.run("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        cut = at.browser.run(
            "(() => { const m = document.querySelector('main'); return m.scrollWidth - m.clientWidth; })()"
        )
        if wide > 0 or cut > 0:
            faults[f"{name}, wider than the screen"] = [f"{wide} and {cut} pixels"]
        if pictures:
            at.picture(Path(pictures) / f"{name.replace('/', '-')}-narrow.png")
        at.width(1440)
        shown = at.browser.run("document.body.innerText")
        assert not [one for one in HIDDEN if one in shown], name
        assert at.browser.run("document.querySelectorAll('main img, main b:not(nav b)').length") == 0, name
        if name.endswith("ID") or name == "activity":
            assert "U+202E" in shown or "<b>evil</b>" in shown, name
        at.check()
    assert not faults, json.dumps(faults, indent=1)


def test_dialogs_have_no_grave_faults(at: Desk) -> None:
    at.call("files.write", path=str(at.workspace / "dialogs.txt"), content="x")
    asked = at.call("files.write", path=str(at.server.data.parent / "dialog.txt"), content="x")
    at.open(f"/ui/approvals/{asked['invocation']}", "!!document.querySelector('.detail .bar')")
    faults: list[str] = []
    for key in ("a", "?"):
        at.press(key)
        at.browser.until("!!document.querySelector('[role=dialog]')")
        faults += at.look()
        at.press("Escape")
        at.browser.until("!document.querySelector('[role=dialog]')")
    at.press("k", modifiers=2)
    at.browser.until("document.activeElement?.getAttribute('role') === 'combobox'")
    at.type("health")
    at.browser.until("document.querySelectorAll('[role=option]').length > 0")
    faults += at.look()
    at.press("Enter")
    at.browser.until("location.pathname === '/ui/health'")
    for page, button in (("settings", "Change…"), ("access", "Stop all agents"), ("activity", "Undo this session")):
        at.open(f"/ui/{page}", f"[...document.querySelectorAll('main button')].some((e) => e.innerText === {button!r})")
        at.tab_to(f"e.innerText === {button!r}", 300)
        at.press("Enter")
        at.browser.until("!!document.querySelector('[role=dialog]')")
        faults += at.look()
        at.press("Escape")
        at.browser.until(f"document.activeElement.innerText === {button!r}")  # back where it was opened
    assert not faults, "\n".join(faults)


def test_what_changed_after_it_was_read_is_not_done_and_is_asked_anew(at: Desk, tmp_path: Path) -> None:
    target = tmp_path / "moving.txt"
    target.write_text("as it was\n", "utf-8")
    wanted = {"path": str(target), "content": "as the agent wants\n"}
    asked = at.call("files.write", **wanted)
    at.open(f"/ui/approvals/{asked['invocation']}", "!!document.querySelector('.diff tr.del')")
    target.write_text("as somebody else wants\n", "utf-8")
    at.press("a")
    at.browser.until("document.activeElement?.innerText === 'Cancel'")
    at.press("Tab")
    at.press("Enter")
    at.browser.until("document.querySelector('.empty .chip')?.innerText.includes('failed')")
    assert target.read_text("utf-8") == "as somebody else wants\n"

    again = at.call("files.write", **wanted)
    assert again["invocation"] != asked["invocation"]
    at.open(f"/ui/approvals/{again['invocation']}", "!!document.querySelector('.diff tr.del')")
    assert "as somebody else wants" in at.browser.run("document.querySelector('.diff tr.del').innerText")


def test_of_two_who_approve_at_once_one_decides_and_the_other_is_told(at: Desk, tmp_path: Path) -> None:
    target = tmp_path / "twice.txt"
    asked = at.call("files.write", path=str(target), content="once\n")
    path = f"/ui/approvals/{asked['invocation']}"
    other = at.browser.tab()
    at.open(path, "!!document.querySelector('.diff tr.add')")
    other.go(at.base + path)
    other.until("!!document.querySelector('.diff tr.add')")
    at.press("a")
    at.browser.until("document.activeElement?.innerText === 'Cancel'")
    other.until(
        "(() => { dispatchEvent(new KeyboardEvent('keydown', { key: 'a' }));"
        " return !!document.querySelector('[role=dialog]'); })()"
    )
    both = "document.querySelector('[role=dialog] button[type=submit]').click()"
    at.browser.run(both)
    other.run(both)
    for tab in (at.browser, other):
        tab.until("document.body.innerText.includes('does not wait any more')")
    other.close()
    until(target.exists, "it ran")
    records = at.as_owner("audit.query", invocation=asked["invocation"], limit=100)["output"]["records"]
    assert [one["kind"] for one in records if one["kind"] == "outcome"] == ["outcome"], "it ran once"


def test_a_button_that_is_pressed_twice_decides_once(at: Desk, tmp_path: Path) -> None:
    target = tmp_path / "double.txt"
    asked = at.call("files.write", path=str(target), content="once\n")
    at.open(f"/ui/approvals/{asked['invocation']}", "!!document.querySelector('.diff tr.add')")
    at.press("a")
    at.browser.until("document.activeElement?.innerText === 'Cancel'")
    at.browser.run(
        "(() => { const b = document.querySelector('[role=dialog] button[type=submit]'); b.click(); b.click(); })()"
    )
    at.says("does not wait any more")
    until(target.exists, "it ran")
    records = at.as_owner("audit.query", invocation=asked["invocation"], limit=100)["output"]["records"]
    assert [one["kind"] for one in records].count("approved") == 1
    assert [one["kind"] for one in records].count("outcome") == 1


def test_a_long_diff_is_shown_in_parts_and_one_of_ten_megabytes_is_said_to_be_too_large(
    at: Desk, tmp_path: Path
) -> None:
    target = tmp_path / "long.txt"
    target.write_text("".join(f"line {number} of very many\n" for number in range(4_900)), "utf-8")
    asked = at.call("files.write", path=str(target), content="".join(f"other {number}\n" for number in range(4_900)))
    at.open(f"/ui/approvals/{asked['invocation']}", "document.querySelectorAll('.diff tr').length === 500")
    at.says("9303 more lines", ".diff")
    at.browser.click(".diff footer button")
    at.browser.until("document.querySelectorAll('.diff tr').length === 2000")

    target.write_bytes(b"much\n" * 2_000_000)
    asked = at.call("files.write", path=str(target), content="little\n")
    at.open(f"/ui/approvals/{asked['invocation']}", "!!document.querySelector('.diff .warning')")
    at.says("too large to show", ".diff .warning")
    at.press("d")
    at.browser.until("!!document.querySelector('[role=dialog]')")
    at.press("Escape")


def test_a_person_of_few_rights_is_told_what_is_missing_and_shown_nothing_else(at: Desk) -> None:
    at.as_owner("access.users.create", id="guest", roles=["viewer"])
    path = at.as_owner("access.users.invite", user="guest")["output"]["path"]
    tab = at.browser.stranger()
    tab.go(at.base + path)
    tab.click("form button")
    tab.until("location.pathname === '/sign-in/you'")
    for page, secret in (("settings", "sandbox.minimum_level"), ("access", "sak_"), ("audit", "")):
        tab.go(f"{at.base}/ui/{page}")
        tab.until("!!document.querySelector('main .failure, main .empty, main .meta')")
        if secret:
            assert secret not in tab.run("document.body.innerText")
    tab.go(f"{at.base}/ui/settings")
    tab.until("document.querySelector('main .failure')?.innerText.includes('you may not use it')")
    assert not replace(at, browser=tab).look()
    refused = at.as_owner("audit.query", actor="guest", operation="settings.list")["output"]["records"]
    assert {one["kind"] for one in refused} == {"refused"}, "and it is on record"
    tab.close()


def test_a_session_that_is_ended_elsewhere_says_so_and_shows_nothing_any_more(at: Desk) -> None:
    asked = at.call("files.write", path=str(at.server.data.parent / "ended.txt"), content="x")
    at.open(f"/ui/approvals/{asked['invocation']}", "document.querySelector('.bar .primary')?.disabled === false")
    for one in at.as_owner("access.sessions.list", user="owner")["output"]["sessions"]:
        at.as_owner("access.sessions.end", id=one["id"], user="owner")
    at.browser.until("!!document.querySelector('.state.ended') && !document.querySelector('.bar')")
    assert "ended.txt" not in at.browser.run("document.documentElement.innerHTML")
    assert not at.look()
    at.browser.click(".banner a")
    at.browser.until("location.pathname === '/sign-in'")
    at.browser.click("button.passkey")
    at.browser.until(
        f"location.pathname === '/ui/approvals/{asked['invocation']}' && !!document.querySelector('.state.live')"
    )


def test_a_slow_line_shows_that_something_is_under_way_and_then_what_came(at: Desk) -> None:
    at.open("/ui/activity", "!!document.querySelector('.state.live')")
    at.browser.say("Network.enable")
    slow = {"offline": False, "downloadThroughput": -1, "uploadThroughput": -1}
    at.browser.say("Network.emulateNetworkConditions", latency=3000, **slow)
    try:
        at.press("g")
        at.press("s")
        at.browser.until(
            "[...document.querySelectorAll('.slow')].some((e) => getComputedStyle(e).visibility === 'visible')"
        )
        assert not at.look()
        at.browser.until("document.querySelectorAll('table.settings tr').length > 20")
        assert at.browser.run("document.querySelector('.slow')") is None
    finally:
        at.browser.say("Network.emulateNetworkConditions", latency=0, **slow)


def test_no_page_of_ours_stands_in_a_frame_and_no_call_is_made_without_our_token(at: Desk) -> None:
    for path in ("/ui/approvals", "/sign-in", "/sign-in/you", "/sign-in/approvals", "/sign-in/step-up"):
        answer = httpx.get(at.server.address + path)
        assert answer.headers["x-frame-options"] == "DENY", path
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"], path
    at.open("/ui/activity", "!!document.querySelector('.state.live')")
    at.browser.run(
        "window.forged = 0; fetch('/v1/operations/access.stop_all', { method: 'POST', body: '{}',"
        " headers: { 'content-type': 'application/json' } }).then((r) => { window.forged = r.status; }); 0"
    )
    assert at.browser.until("window.forged") == 403
    assert at.as_owner("access.stops.list")["output"]["stops"] == []
    found = at.as_owner("audit.query", operation="access.stop_all", limit=5)["output"]["records"]
    assert "refused" in {one["kind"] for one in found}, "and it is on record"

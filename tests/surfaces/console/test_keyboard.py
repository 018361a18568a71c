"""What can be done in the console and no other test does by keyboard alone: each by Tab, Enter, arrows and letters."""

from __future__ import annotations

import json
import time
from typing import Any

import httpx
import pytest

from tests.chromium import Chromium
from tests.promise import promise
from tests.surfaces.console.desk import Desk, as_holder
from tests.surfaces.console.test_rights import sure
from tests.until import until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
SESSIONS, CONSENTS, ANSWER = (
    f"[aria-label={json.dumps(name)}]" for name in ("Your sessions", "Consents", "The answer")
)
FRESH_S = 20  # how long a second factor counts there
DEVICE_FLOW = "urn:ietf:params:oauth:grant-type:device_code"


def text_of(selector: str) -> str:
    """Give a script for what stands somewhere, nothing where nothing does."""
    return f"(document.querySelector({json.dumps(selector)})?.innerText ?? '')"


@promise("10.5b")
def test_a_session_is_ended_by_keyboard_and_its_browser_shows_nothing_any_more(at: Desk) -> None:
    tab = at.browser.stranger()
    try:
        other = signed_in_elsewhere(at, tab)
        other.open("/ui/activity", "!!document.querySelector('.state.live')")
        other.check()
        at.open("/ui/access", f"{text_of(SESSIONS)}.includes('this one')")
        at.tab_to("e.innerText.startsWith('End') && !!e.closest('[aria-label=\"Your sessions\"]')", 300)
        at.press("Enter")
        at.says("has to sign in again", "[role=dialog]")
        sure(at)
        other.browser.until("!!document.querySelector('.state.ended')")
        assert other.browser.run("document.querySelector('.rows')") is None
        at.browser.until("document.activeElement !== null && !document.querySelector('[role=dialog]')")
        assert at.browser.run("document.querySelector('.state.live') !== null"), "its own goes on"
        ended = at.as_owner("audit.query", actor="owner", operation="access.sessions.end", limit=1)["output"]["records"]
        assert ended[0]["status"] == "done"
    finally:
        tab.close()


def signed_in_elsewhere(at: Desk, tab: Chromium) -> Desk:
    """Sign the owner in at another browser that has its passkey, by keyboard."""
    other = at.beside(tab)
    at.lend_passkeys(other)
    other.open("/sign-in?next=/ui/activity", "!!document.querySelector('button.passkey:not([hidden])')")
    other.tab_to("e.classList.contains('passkey')")
    other.press("Enter")
    other.browser.until("location.pathname === '/ui/activity'")
    other.lend_passkeys(at)
    return other


@promise("10.5b")
def test_a_consent_is_revoked_by_keyboard_and_its_tokens_open_nothing(at: Desk) -> None:
    address = at.server.address
    codes = httpx.post(f"{address}/oauth/device_authorization", data={"client_id": "superagent-cli"}).json()
    at.as_owner("oauth.device.decide", user_code=codes["user_code"], allow=True)
    shown = {"grant_type": DEVICE_FLOW, "client_id": "superagent-cli", "device_code": codes["device_code"]}
    tokens = httpx.post(f"{address}/oauth/token", data=shown).json()
    with as_holder(at.server, tokens["access_token"]) as client:
        assert client.post("/v1/operations/access.whoami", json={}).json()["output"]["on_behalf_of"] == ["owner"]
        at.open("/ui/access", f"{text_of(CONSENTS)}.includes('Revoke')")
        at.tab_to("e.innerText.startsWith('Revoke') && !!e.closest('[aria-label=\"Consents\"]')", 300)
        at.press("Enter")
        at.says("acts for owner no more", "[role=dialog]")
        sure(at)
        at.browser.until(f"!{text_of(CONSENTS)}.includes('Revoke')")
        until(lambda: client.post("/v1/operations/access.whoami", json={}).status_code == 401, "the token is dead")
    again = {"grant_type": "refresh_token", "client_id": "superagent-cli", "refresh_token": tokens["refresh_token"]}
    assert httpx.post(f"{address}/oauth/token", data=again).json()["error"] == "invalid_grant"
    (record,) = at.as_owner("audit.query", actor="owner", operation="access.consents.revoke", limit=1)["output"][
        "records"
    ]
    assert record["status"] == "done"


def give(at: Desk, grant: dict[str, Any]) -> None:
    """Give a right by the form, where the second factor was shown a moment ago."""
    at.open(f"/ui/policy/give?grant={json.dumps(grant)}", f"{typed('#grant-who')} === {grant['subject']!r}")
    for label in ("Look first", "Put it in force"):
        at.browser.until(f"[...document.querySelectorAll('button')].some((e) => e.innerText === {label!r})")
        at.tab_to(f"e.innerText === {label!r}", 120)
        at.press("Enter")
    at.says("In force within a second")


def typed(selector: str) -> str:
    """Give a script for what is typed in a field."""
    return f"document.querySelector({json.dumps(selector)})?.value"


def test_a_second_factor_that_is_wanted_is_shown_by_keyboard_and_leads_back(at: Desk) -> None:
    within = {"effect": "allow", "subject": "user:keeper", "operations": ["access.users.list"]}
    with at.person("keeper", "viewer") as keeper:
        enrolled = time.time()
        give(at, {**within, "when": {"mfa_max_age_s": FRESH_S}})
        path = "/ui/operations/access.users.list"
        keeper.open(path, "[...document.querySelectorAll('button')].some((e) => e.innerText === 'Run')")
        keeper.tab_to("e.innerText === 'Run'")
        until(lambda: time.time() > enrolled + FRESH_S + 1, "the second factor is not fresh any more", 60)
        keeper.press("Enter")
        keeper.browser.until("!!document.querySelector('main .failure a[href*=\"step-up\"]')")
        keeper.tab_to("e.tagName === 'A' && e.innerText.includes('second factor')")
        keeper.press("Enter")
        keeper.browser.until("location.pathname === '/sign-in/step-up' && !!document.querySelector('button.passkey')")
        keeper.tab_to("e.classList.contains('passkey')")
        keeper.press("Enter")
        keeper.browser.until(f"location.pathname === {path!r}")
        keeper.browser.until("[...document.querySelectorAll('button')].some((e) => e.innerText === 'Run')")
        keeper.tab_to("e.innerText === 'Run'")
        keeper.press("Enter")
        keeper.browser.until(f"{text_of(ANSWER)}.includes('done')")


def test_the_activity_is_filtered_and_a_call_of_it_opened(at: Desk) -> None:
    at.call("files.write", path=str(at.workspace / "filtered.txt"), content="x")
    at.call("files.read", path=str(at.workspace / "filtered.txt"))
    at.open("/ui/activity", f"{text_of('.rows')}.includes('filtered.txt')")
    rows = f"{text_of('.rows')}"
    assert "files.read" not in at.browser.run(rows)
    at.tab_to("e.tagName === 'SELECT' && [...e.options].some((o) => o.value === 'builder')")
    names = at.browser.run("[...document.activeElement.options].map((one) => one.value)")
    for _ in range(names.index("builder")):
        at.press("ArrowDown")
    at.browser.until("document.activeElement.value === 'builder'")
    whose = "[...document.querySelectorAll('.rows li > .meta')].map((one) => one.innerText)"
    at.browser.until(f"new Set({whose}).size === 1 && {whose}[0].startsWith('builder')")
    at.tab_to("e.type === 'checkbox'")
    at.press(" ")
    at.browser.until(f"{rows}.includes('files.read')")
    at.tab_to("e.innerText?.startsWith('Pause')")
    at.press("Enter")
    at.browser.until("document.activeElement.innerText.startsWith('Go on')")
    at.press("Enter")
    at.press("j")
    at.browser.until("!!document.querySelector('.rows li[aria-current]')")
    at.browser.run("document.activeElement.blur()")  # Enter on a button presses that
    at.press("Enter")
    at.browser.until("location.pathname.startsWith('/ui/invocations/')")


def test_a_session_is_undone_from_the_activity(at: Desk) -> None:
    file = at.workspace / "from-the-card.txt"
    at.call("files.write", "card-shift", path=str(file), content="x")
    card = "[...document.querySelectorAll('.stay')].find((e) => e.innerText.startsWith('card-shift'))"
    at.open("/ui/activity", f"!!{card}?.querySelector('button')")
    at.tab_to("e.innerText === 'Undo this session' && e.closest('.stay').innerText.startsWith('card-shift')", 300)
    at.press("Enter")
    sure(at)
    at.says("Taken back by", "aside")
    assert not file.exists()


def test_the_audit_is_searched_by_what_is_typed_and_freed_of_what_only_looks(at: Desk) -> None:
    at.call("files.write", path=str(at.workspace / "typed.txt"), content="x")
    at.call("files.read", path=str(at.workspace / "typed.txt"))
    at.open("/ui/audit", "document.querySelectorAll('tbody tr').length > 0")
    at.tab_to("e.type === 'search'")
    at.type("typed.txt")
    at.press("Enter")
    done = "[...document.querySelectorAll('tbody td:nth-child(3)')].map((one) => one.innerText)"
    at.browser.until(f"location.search.includes('typed.txt') && {done}.includes('files.read')")
    at.tab_to("e.type === 'checkbox'")
    at.press(" ")
    at.browser.until(f"location.search.includes('changes') && {done}.length > 0 && !{done}.includes('files.read')")
    assert "files.write" in at.browser.run(done)


def test_policy_is_looked_through_a_version_opened_a_proposal_withdrawn_and_a_grant_ended(at: Desk) -> None:
    grant = {
        "effect": "deny",
        "subject": "agent:builder",
        "operations": ["files.move"],
        "where": {"paths": ["/srv/k/**"]},
    }
    at.fill("access.users.create", "clerk")  # the second factor is fresh: the next call is made by the browser
    give(at, grant)

    at.open("/ui/policy/versions", "document.querySelectorAll('.grants summary').length > 1")
    at.tab_to("e.tagName === 'SUMMARY'")
    at.press("Enter")
    at.says("/srv/k/")

    proposed = at.call("policy.propose", add=[{**grant, "operations": ["files.copy"]}], reason="for the keyboard")
    own = "e.closest('article')?.innerText.includes('for the keyboard')"
    at.open("/ui/policy/proposals", f"{text_of('main')}.includes('for the keyboard')")
    at.tab_to(f"e.innerText === 'Withdraw' && {own}", 200)
    at.press("Enter")
    sure(at)
    at.browser.until(f"!{text_of('main')}.includes('for the keyboard')")
    states = at.as_owner("policy.proposals", state="withdrawn", limit=50)["output"]["proposals"]
    assert proposed["output"]["id"] in [one["id"] for one in states]

    at.open("/ui/policy", "document.querySelectorAll('.grants li').length > 3")
    at.tab_to("e.placeholder?.startsWith('agent:builder')")
    at.type("agent:builder")
    at.press("Enter")
    at.browser.until(f"{text_of('.grants')}.includes('/srv/k/')")
    at.tab_to("e.tagName === 'SUMMARY' && e.innerText.includes('/srv/k/')", 200)
    at.press("Enter")
    at.tab_to("e.innerText.startsWith('Revoke') && e.closest('li').innerText.includes('/srv/k/')")
    at.press("Enter")
    sure(at)
    at.browser.until(f"!{text_of('.grants')}.includes('/srv/k/')")


def test_a_setting_that_was_written_is_taken_back(at: Desk) -> None:
    file = at.server.data / "superagent.toml"
    at.open("/ui/settings", "document.querySelectorAll('table.settings tr').length > 20")
    at.tab_to("e.type === 'search'")
    at.type("stop_grace")
    at.browser.until("document.querySelectorAll('table.settings tbody tr').length === 1")
    at.tab_to("e.getAttribute('aria-label') === 'Change server.stop_grace_s'")
    at.press("Enter")
    at.browser.until("document.activeElement?.tagName === 'INPUT'")
    at.press("a", modifiers=2)
    at.type("33")
    at.press("Enter")
    at.says("would set server.stop_grace_s", "[role=dialog]")
    at.press("Enter")
    at.says("is written and counts from the next start")
    assert "33" in file.read_text("utf-8")
    at.tab_to("e.innerText === 'Take it back'")
    at.press("Enter")
    at.browser.until("[...document.querySelectorAll('button')].some((e) => e.innerText === 'Undo' && !e.disabled)")
    at.tab_to("e.innerText === 'Undo'")
    at.press("Enter")
    at.says("Taken back by")
    assert not file.exists() or "33" not in file.read_text("utf-8")


def test_a_connection_is_tried_and_a_whole_input_given_as_json(at: Desk) -> None:
    at.as_owner("connections.create", name="tried", type="http", endpoint=at.server.address)
    at.open("/ui/access", f"{text_of('main')}.includes('Try tried')")
    at.tab_to("e.innerText === 'Try tried'", 300)
    at.press("Enter")
    told = "[...document.querySelectorAll('main [role=status], main .failure')].map((e) => e.innerText)"
    at.browser.until(f"{told}.some((e) => /tried|allow|reach|private/.test(e))")
    at.as_owner("connections.delete", name="tried")

    at.open("/ui/operations/files.stat", "!!document.querySelector('form')")
    at.tab_to("e.type === 'checkbox'")
    at.press(" ")
    at.tab_to("e.getAttribute('aria-label') === 'The whole input'")
    at.press("a", modifiers=2)
    at.type(json.dumps({"path": str(at.workspace)}))
    at.tab_to("e.innerText === 'Run'")
    at.press("Enter")
    at.browser.until(f"{text_of(ANSWER)}.includes('done')")


def test_one_goes_everywhere_by_keyboard_and_chooses_the_colours(at: Desk) -> None:
    at.open("/ui/activity", "!!document.querySelector('.state.live')")
    pages = {
        "p": "approvals", "o": "operations", "l": "plugins", "h": "health", "u": "audit", "c": "access", "y": "policy",
        "s": "settings", "a": "activity",
    }  # fmt: skip
    for key, page in pages.items():
        at.press("g")
        at.press(key)
        at.browser.until(f"location.pathname === '/ui/{page}'")
    at.press("k", modifiers=2)
    at.browser.until("document.activeElement?.getAttribute('role') === 'combobox'")
    at.type("files.write")
    at.browser.until("document.querySelector('[role=option][aria-selected=true]')?.innerText.includes('files.write')")
    at.press("Enter")
    at.browser.until("location.pathname === '/ui/operations/files.write'")

    at.open("/ui/activity", "!!document.querySelector('.state.live')")
    at.press("Tab")
    at.browser.until("document.activeElement?.classList.contains('skip')")
    at.press("Enter")
    at.browser.until("document.activeElement?.id === 'main'")

    at.browser.run("document.activeElement.blur()")
    at.tab_to("e.tagName === 'SELECT' && [...e.options].some((o) => o.value === 'dark')")
    for theme in ("light", "dark"):
        at.press("ArrowDown")
        at.browser.until(f"document.documentElement.dataset.theme === {theme!r}")
    at.press("Home")
    at.browser.until("document.activeElement.value === 'auto'")


def test_the_menu_of_a_narrow_window_is_worked_by_keyboard(at: Desk) -> None:
    at.width(700)
    try:
        at.open("/ui/activity", "!!document.querySelector('.state.live')")
        at.tab_to("e.classList.contains('menu')")
        at.press("Enter")
        at.browser.until("document.querySelector('#rail').checkVisibility()")
        assert not at.look()
        at.press("Tab")
        assert at.browser.run("document.querySelector('#rail').contains(document.activeElement)")
        at.press("Escape")
        at.browser.until("!document.querySelector('#rail').checkVisibility()")
        at.browser.until("document.activeElement.classList.contains('menu')")  # back where it was opened
        at.press("Enter")
        at.tab_to("e.innerText === 'Health'")
        at.press("Enter")
        at.browser.until("location.pathname === '/ui/health' && !document.querySelector('#rail').checkVisibility()")
    finally:
        at.width(1440)


def test_one_signs_out_on_the_page_of_the_account(at: Desk) -> None:
    tab = at.browser.stranger()
    try:
        other = signed_in_elsewhere(at, tab)
        other.open("/sign-in/you", "!!document.querySelector('form[action=\"/sign-in/out\"]')")
        other.tab_to("e.innerText === 'Sign out'")
        other.press("Enter")
        other.browser.until("location.pathname === '/sign-in'")
    finally:
        tab.close()

"""The sign-in pages in a real Chromium, with its own virtual authenticator."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.chromium import chromium
from tests.promise import promise
from tests.surfaces.cli.command_line import serving


@promise("1.2c")
@pytest.mark.slow
@pytest.mark.timeout(240)  # so that a page that stands still is named
def test_a_person_enrols_a_passkey_signs_out_in_and_steps_up_in_a_browser(tmp_path: Path) -> None:
    with chromium(tmp_path / "profile") as browser, serving(tmp_path / "data") as server:
        assert server.process.stdout is not None
        lines = (re.search(r"http://localhost:\S+/sign-in/link/\S+", line) for line in server.process.stdout)
        link = next(one for one in lines if one)[0]
        base = link.partition("/sign-in")[0]
        browser.say("WebAuthn.enable")
        device = browser.say(
            "WebAuthn.addVirtualAuthenticator",
            options={
                "protocol": "ctap2", "transport": "internal", "hasResidentKey": True, "hasUserVerification": True,
                "isUserVerified": True, "automaticPresenceSimulation": True,
            },
        )["authenticatorId"]  # fmt: skip

        browser.go(link)
        browser.click("form button")
        browser.until("location.pathname === '/sign-in/you'")
        browser.click("button.passkey")
        browser.until("document.querySelectorAll('form[action=\"/sign-in/you/remove\"]').length === 1")
        assert len(browser.say("WebAuthn.getCredentials", authenticatorId=device)["credentials"]) == 1
        assert browser.run("document.cookie") == "", "no script sees the session"

        browser.click('form[action="/sign-in/out"] button')
        browser.until("location.pathname === '/sign-in'")
        browser.click("button.passkey")
        browser.until("location.pathname === '/sign-in/you'")
        browser.go(f"{base}/sign-in/step-up?next=/sign-in/you")
        browser.click("button.passkey")
        browser.until("location.pathname === '/sign-in/you'")
        said = browser.until(
            "(() => { if (!window.who) { window.who = 1; fetch('/sign-in/session').then((r) => r.json())"
            ".then((s) => { window.said = s; }); } return window.said; })()"
        )
        assert said["person"] == "owner"
        assert said["mfa_at"] > 0

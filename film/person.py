"""The person: signs in with a passkey, reads what waits, approves it and takes it back, in a real Chromium."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from film.reel import HEIGHT, WIDTH
from tests.chromium import Chromium, chromium
from tests.surfaces.cli.command_line import Server

_PASSKEY = {
    "protocol": "ctap2", "transport": "internal", "hasResidentKey": True, "hasUserVerification": True,
    "isUserVerified": True, "automaticPresenceSimulation": True,
}  # fmt: skip


class Person:
    """A browser, signed in."""

    def __init__(self, browser: Chromium, base: str) -> None:
        self.browser = browser
        self._base = base

    def open(self, path: str, script: str) -> None:
        """Open a page and wait until something holds there."""
        self.browser.go(self._base + path)
        self.browser.until(script)

    def press(self, label: str) -> None:
        """Press the button that says this."""
        found = f"[...document.querySelectorAll('button')].find((one) => one.innerText.startsWith({json.dumps(label)}))"
        self.browser.until(f"!!{found} && !{found}.disabled")
        self.browser.say("Runtime.evaluate", expression=f"{found}.click()", userGesture=True)


@contextmanager
def person(server: Server, profile: Path) -> Generator[Person]:
    """Open the one-use link of the first start, enrol a passkey, and go on as the owner."""
    with chromium(profile) as browser:
        link = _link(server.process)
        browser.say("Emulation.setDeviceMetricsOverride", width=WIDTH, height=HEIGHT, deviceScaleFactor=1, mobile=False)
        browser.say("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "light"}])
        browser.say("WebAuthn.enable")
        browser.say("WebAuthn.addVirtualAuthenticator", options=_PASSKEY)
        browser.go(link)
        browser.click("form button")
        browser.until("location.pathname === '/sign-in/you'")
        browser.click("button.passkey")
        browser.until("document.querySelectorAll('form[action=\"/sign-in/you/remove\"]').length === 1")
        yield Person(browser, link.partition("/sign-in")[0])


def _link(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    found = (re.search(r"http://localhost:\S+/sign-in/link/\S+", line) for line in process.stdout)
    return next(one for one in found if one)[0]

"""A desk: a signed-in person's real browser in front of a real server, and an agent of theirs."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx

import superagent
from tests.chromium import Chromium, chromium
from tests.needs import missing
from tests.surfaces.cli.command_line import Server, serving

ROOT = Path(__file__).parents[3]
PATIENCE_S = 60
# an agent in these tests is quicker than agents may be
_LIMITS = {"SUPERAGENT_LIMITS__AGENT_RATE_PER_S": "100000", "SUPERAGENT_LIMITS__AGENT_BURST": "100000"}
_CODES = {"Enter": 13, "Tab": 9, "Escape": 27, " ": 32, "ArrowDown": 40, "Home": 36}
_WATCH = """
Object.defineProperty(window, 'hacked', {
  get: () => sessionStorage.getItem('hacked'), set: (by) => sessionStorage.setItem('hacked', String(by)),
});
window.violations = JSON.parse(sessionStorage.getItem('violations') || '[]');
document.addEventListener('securitypolicyviolation', (event) => {
  window.violations.push(`${event.violatedDirective} ${event.blockedURI} ${event.sample}`);
  sessionStorage.setItem('violations', JSON.stringify(window.violations));
});
"""
HOSTILE = "\u202egnp.exe\u202c <img src=x onerror='window.hacked=1'> \u200b{{7*7}}"
"""Text that turns itself around, that hides, and that would be markup where somebody made some of it."""


@dataclass
class Desk:
    """One tab and its authenticator, the server behind it, and the agent's client with its workspace and key."""

    browser: Chromium
    server: Server
    base: str
    agent: httpx.Client
    workspace: Path
    key: str
    passkeys: str
    _stack: ExitStack = field(repr=False)

    def open(self, path: str, script: str = "!!document.querySelector('main')?.children.length") -> Any:
        """Open a page and wait until something holds there."""
        self.browser.go(self.base + path)
        return self.browser.until(script)

    def press(self, key: str, code: str = "", modifiers: int = 0) -> None:
        """Press and release a key; `modifiers` as the protocol counts them: 2 control, 8 shift."""
        text = {} if modifiers & 2 else {"text": key} if len(key) == 1 else {"text": "\r"} if key == "Enter" else {}
        number = _CODES.get(key) or ord(key.upper())
        event = {"key": key, "code": code or key, "windowsVirtualKeyCode": number, "modifiers": modifiers}
        self.browser.say("Input.dispatchKeyEvent", type="keyDown", **event, **text)
        self.browser.say("Input.dispatchKeyEvent", type="keyUp", **event)

    def type(self, text: str) -> None:
        """Write where the focus is."""
        self.browser.say("Input.insertText", text=text)

    def tab_to(self, script: str, most: int = 80) -> None:
        """Press Tab until the element in focus (`e`) is the one that is meant: by keyboard alone."""
        for _ in range(most):
            self.press("Tab")
            if self.browser.run(f"((e) => {{ return {script}; }})(document.activeElement)"):
                return
        raise AssertionError(f"no way by Tab to {script}; at {self.browser.run('document.activeElement.outerHTML')}")

    def says(self, text: str, within: str = "main") -> None:
        """Wait until the page says something."""
        self.browser.until(f"document.querySelector({json.dumps(within)})?.innerText.includes({json.dumps(text)})")

    def call(self, operation: str, session: str = "", /, **input: Any) -> Any:
        """Let the agent call, in one of its sessions."""
        headers = {"Superagent-Session": session} if session else {}
        return self.agent.post(f"/v1/operations/{operation}", json=input, headers=headers).json()

    def as_owner(self, operation: str, /, **input: Any) -> Any:
        """Call as the owner, from elsewhere than the browser."""
        with as_holder(self.server, self.server.owner_key) as owner:
            return owner.post(f"/v1/operations/{operation}", json=input).json()

    def text_at(self, path: str) -> str:
        """Give the text at a path, asked for with the owner's key."""
        with as_holder(self.server, self.server.owner_key) as owner:
            return owner.get(path).text

    @contextmanager
    def person(self, name: str, *roles: str) -> Generator[Desk]:
        """Add a person by the form, after the owner's passkey was shown, and sit at that person's own browser.

        It came in by a link of its own and signs by a passkey of its own, and the owner says that it is another person.
        """
        self.fill("access.users.create", name, *roles)
        with self.elsewhere(name) as other:
            other.enrol()
            self.fill("access.users.confirm", name)
            yield other

    def fill(self, operation: str, id: str, *roles: str) -> None:
        """Show the second factor, fill in an operation's form by keyboard and run it."""
        path = f"/ui/operations/{operation}"
        self.open(f"/sign-in/step-up?next={path}", "!!document.querySelector('button.passkey:not([hidden])')")
        self.browser.click("button.passkey")
        self.browser.until(f"location.pathname === '{path}' && !!document.querySelector('form input[type=text]')")
        self.tab_to("e.tagName === 'INPUT' && e.type === 'text'")
        self.type(id)
        if roles:
            self.tab_to("e.tagName === 'SUMMARY'")
            self.press("Enter")
            self.tab_to("e.tagName === 'TEXTAREA'")
            self.type("\n".join(roles))
        self.tab_to("e.innerText === 'Run'")
        self.press("Enter")
        self.browser.until("document.querySelector('[aria-label=\"The answer\"]')?.innerText.includes('done')")

    @contextmanager
    def elsewhere(self, name: str) -> Generator[Desk]:
        """Sit at another browser, into which a person came by a link and without a second factor."""
        path = self.as_owner("access.users.invite", user=name)["output"]["path"]
        tab = self.browser.stranger()
        other = self.beside(tab)
        tab.go(self.base + path)
        tab.click("form button")
        tab.until("location.pathname === '/sign-in/you'")
        yield other
        tab.close()

    def beside(self, tab: Chromium) -> Desk:
        """Give a desk before the same server at another browser."""
        return replace(self, browser=tab, passkeys=prepared(tab))

    def enrol(self) -> None:
        """Add a passkey of this browser's authenticator, on the page that says how one signs in."""
        self.browser.click("button.passkey")
        self.browser.until("document.querySelectorAll('form[action=\"/sign-in/you/remove\"]').length === 1")

    def lend_passkeys(self, to: Desk) -> None:
        """Let another browser sign by the passkeys of this one from here on, as those do that a person's devices share.

        A passkey counts how often it signed: whoever uses one that counted less is taken for a copy, so they go back.
        """
        there = to.browser.say("WebAuthn.getCredentials", authenticatorId=to.passkeys)["credentials"]
        for one in there:
            to.browser.say("WebAuthn.removeCredential", authenticatorId=to.passkeys, credentialId=one["credentialId"])
        for one in self.browser.say("WebAuthn.getCredentials", authenticatorId=self.passkeys)["credentials"]:
            to.browser.say("WebAuthn.addCredential", authenticatorId=to.passkeys, credential=one)

    @contextmanager
    def not_told(self) -> Generator[None]:
        """Hold back what this browser asks about what waits: as long as the block lasts its page shows what it knew."""
        self.browser.say("Fetch.enable", patterns=[{"urlPattern": "*/v1/operations/approvals.list*"}])
        try:
            yield
        finally:
            self.browser.say("Fetch.disable")

    def kill(self) -> None:
        """Kill the server, as a crash does."""
        self.server.process.kill()
        self.server.process.wait(PATIENCE_S)

    def start_again(self) -> None:
        """Start the server anew over what the dead one left, where the browser looks for it."""
        port = self.base.rpartition(":")[2]
        self.server = self._stack.enter_context(serving(self.server.data, "--port", port, **_LIMITS))
        self.agent = self._stack.enter_context(as_holder(self.server, self.key))

    def look(self) -> list[str]:
        """Give what axe-core calls serious or critical on the page as it stands."""
        if self.browser.run("typeof axe") == "undefined":
            script = ROOT / "console" / "node_modules" / "axe-core" / "axe.min.js"
            if not script.is_file():
                missing("axe-core is not installed: make console")
            self.browser.run(script.read_text("utf-8") + "\n;0")
        self.browser.run(
            "window.found = null; axe.run(document, { resultTypes: ['violations'] }).then((r) => { window.found ="
            " r.violations.filter((v) => ['serious', 'critical'].includes(v.impact)).flatMap((v) => v.nodes.map("
            "(n) => `${v.id}: ${n.html.slice(0, 200)} ${n.failureSummary.slice(0, 300)}`)); },"
            " (e) => { window.found = [String(e)]; }); 0"
        )
        self.browser.until("window.found !== null")
        return self.browser.run("window.found")

    def telephone(self, on: bool = True) -> None:
        """Be a telephone: narrow, and touched; or a desk again."""
        if not on:
            self.width(1440)
        else:
            self.browser.say(
                "Emulation.setDeviceMetricsOverride", width=390, height=844, deviceScaleFactor=1, mobile=True
            )
        self.browser.say("Emulation.setTouchEmulationEnabled", enabled=on)

    def tap(self, script: str) -> None:
        """Touch the middle of the element that a script gives."""
        x, y = self.browser.until(
            "((e) => { if (!e) return null; e.scrollIntoView({ block: 'nearest' });"
            " const r = e.getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2]; })"
            f"({script})"
        )
        self.browser.say("Input.dispatchTouchEvent", type="touchStart", touchPoints=[{"x": x, "y": y}])
        self.browser.say("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])

    def width(self, pixels: int) -> None:
        """Make the window so wide."""
        self.browser.say(
            "Emulation.setDeviceMetricsOverride", width=pixels, height=900, deviceScaleFactor=1, mobile=False
        )

    def picture(self, file: Path) -> None:
        """Keep a picture of the page."""
        data = self.browser.say("Page.captureScreenshot", format="png")["data"]
        file.write_bytes(base64.b64decode(data))

    def check(self) -> None:
        """Fail if the policy for content was violated, or a script of somebody else ran, since the desk was opened."""
        assert self.browser.run("window.violations.length") == 0, self.browser.run("JSON.stringify(window.violations)")
        assert self.browser.run("window.hacked") is None


def as_holder(server: Server, key: str) -> httpx.Client:
    """Give a client that shows a key."""
    return httpx.Client(base_url=server.address, headers={"Authorization": f"Bearer {key}"}, timeout=30)


def prepared(browser: Chromium) -> str:
    """Give a new tab the size of a desk, a watch over its policy for content, and an authenticator; gives its id."""
    browser.say("Emulation.setDeviceMetricsOverride", width=1440, height=900, deviceScaleFactor=1, mobile=False)
    browser.say("Emulation.setFocusEmulationEnabled", enabled=True)  # of several windows each is the one that is used
    browser.say("WebAuthn.enable")
    authenticator = browser.say(
        "WebAuthn.addVirtualAuthenticator",
        options={
            "protocol": "ctap2", "transport": "internal", "hasResidentKey": True, "hasUserVerification": True,
            "isUserVerified": True, "automaticPresenceSimulation": True,
        },
    )["authenticatorId"]  # fmt: skip
    browser.say("Page.addScriptToEvaluateOnNewDocument", source=_WATCH)
    return authenticator


@contextmanager
def desk(folder: Path) -> Generator[Desk]:
    """Sign a person in by the first link, with a passkey, and make an agent."""
    if not (Path(superagent.__file__).parent / "console_static" / "index.html").is_file():
        missing("the console is not built: make console")
    with ExitStack() as stack:
        browser = stack.enter_context(chromium(folder / "profile"))
        server = stack.enter_context(serving(folder / "data", **_LIMITS))
        assert server.process.stdout is not None
        lines = (re.search(r"http://localhost:\S+/sign-in/link/\S+", line) for line in server.process.stdout)
        link = next(one for one in lines if one)[0]
        passkeys = prepared(browser)
        browser.go(link)
        browser.click("form button")
        browser.until("location.pathname === '/sign-in/you'")
        browser.click("button.passkey")
        browser.until("document.querySelectorAll('form[action=\"/sign-in/you/remove\"]').length === 1")
        with as_holder(server, server.owner_key) as owner:
            made = owner.post("/v1/operations/access.keys.create", json={"name": "builder"}).json()["output"]
        agent = stack.enter_context(as_holder(server, made["key"]))
        base = link.partition("/sign-in")[0]
        yield Desk(browser, server, base, agent, Path(made["workspace"]), made["key"], passkeys, stack)

"""The console in a real Chromium: how soon a page can be used, and how soon what an agent does stands on it."""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2

import superagent as package
from bench.figures import median, percentile
from bench.plan import Plan
from bench.rows import Row
from bench.servers import Server, owner_headers, superagent
from tests.chromium import Chromium, chromium

PAGES = ("activity", "approvals", "operations")
EVENTS = 20
ISSUE = "issue 7"
PATIENCE_S = 30.0
# a page can be used once what it is for stands there and the thread that answers keys and clicks is free again: a
# frame, and after it a turn of the loop, as whoever presses something then would wait for
_READY = """
(() => {
  const there = () => document.querySelector('main > :not(.slow)') && document.querySelector('.state.live')
    && !document.querySelector('[data-loading]');
  const look = new MutationObserver(() => {
    if (!there() || window.usable) return;
    look.disconnect();
    requestAnimationFrame(() => setTimeout(() => { window.usable = performance.now(); }));
  });
  look.observe(document, { childList: true, subtree: true, attributes: true });
})();
"""
_SEEN = """
window.seen = {};
new MutationObserver(() => {
  for (const row of document.querySelectorAll('.rows li')) {
    const name = /event-\\d+/.exec(row.innerText)?.[0];
    if (name && !window.seen[name]) window.seen[name] = Date.now() / 1000;
  }
}).observe(document.body, { childList: true, subtree: true, characterData: true });
"""


def rows(plan: Plan) -> list[Row]:
    """Open pages anew and in turn, with nothing of them kept and with all of it; then let events come."""
    if shutil.which("chromium") is None:
        raise RuntimeError("Chromium is not installed: apt install chromium")
    if not (Path(package.__file__).parent / "console_static" / "index.html").is_file():
        raise RuntimeError("the console is not built: make console")
    folder = plan.place("console")
    with signed_in(folder) as (browser, server, data):
        found = opened(plan, browser, server)
        late = events(browser, server, data)
    plan.raw["console"] = found | {"event": late}
    note = f"from asking for the page to its being usable, median of {plan.rounds}, on 127.0.0.1"
    return [
        *(
            Row(f"console.{page}_interactive", median(found[f"{page}.cold"]), "s", at_most=1.0, source=ISSUE, note=note)
            for page in PAGES
        ),
        *(Row(f"console.{page}_again", median(found[f"{page}.warm"]), "s", note="script kept") for page in PAGES),
        Row("console.first_paint", median(found["paint"]), "s"),
        Row(
            "console.event_to_screen_p95", percentile(late, 0.95), "s", at_most=0.25, source=ISSUE,
            note=f"from before the call is sent to its line in the feed, {EVENTS} calls",
        ),
    ]  # fmt: skip


@contextmanager
def signed_in(folder: Path) -> Generator[tuple[Chromium, Server, Path]]:
    """Serve, and sign the owner's browser in by the first link."""
    with superagent(folder) as server, chromium(folder / "profile") as browser:
        link = re.search(r"http://localhost:\S+/sign-in/link/\S+", (folder / "superagent.log").read_text())
        if link is None:
            raise RuntimeError("the server printed no link to sign in by")
        browser.say("Emulation.setDeviceMetricsOverride", width=1440, height=900, deviceScaleFactor=1, mobile=False)
        browser.say("Network.enable")
        browser.go(link[0])
        browser.click("form button")
        browser.until("location.pathname === '/sign-in/you'")
        browser.say("Page.addScriptToEvaluateOnNewDocument", source=_READY)
        yield browser, server, folder / "data"


def opened(plan: Plan, browser: Chromium, server: Server) -> dict[str, list[float]]:
    """Open every page in each round, in an order that is drawn; seconds."""
    found: dict[str, list[float]] = {f"{page}.{how}": [] for page in PAGES for how in ("cold", "warm")}
    found["paint"] = []
    for _ in range(plan.rounds):
        order = [key for key in found if "." in key]
        plan.draw.shuffle(order)
        for key in order:
            page, _, how = key.partition(".")
            browser.say("Network.setCacheDisabled", cacheDisabled=how == "cold")
            browser.go(f"http://localhost:{server.port}/ui/{page}")
            found[key].append(browser.until(f"location.pathname === '/ui/{page}' && window.usable") / 1000)
            if how == "cold":
                paints = browser.run("performance.getEntriesByName('first-contentful-paint').map((e) => e.startTime)")
                found["paint"] += [one / 1000 for one in paints]
            browser.go("about:blank")
            browser.until("location.href === 'about:blank'")
    return found


def events(browser: Chromium, server: Server, data: Path) -> list[float]:
    """Let an agent act, and see when each act stands on the page; seconds, by the one clock of this machine."""
    browser.go(f"http://localhost:{server.port}/ui/activity")
    browser.until("window.usable")
    browser.run(_SEEN)
    headers = owner_headers(data)
    with httpx2.Client(base_url=f"http://127.0.0.1:{server.port}", headers=headers, timeout=PATIENCE_S) as owner:
        made = _done(owner, "access.keys.create", name="bench")
        agent = {"Authorization": f"Bearer {made['key']}"}
        found: list[float] = []
        for number in range(EVENTS):
            begun = time.time()
            _done(owner, "files.write", agent, path=os.path.join(made["workspace"], f"event-{number}"), content="x")
            at = browser.until(f"window.seen[{json.dumps(f'event-{number}')}]")
            found.append(at - begun)
            _done(owner, "files.mkdir", agent, path=os.path.join(made["workspace"], f"other-{number}"))
    return found


def _done(client: httpx2.Client, operation: str, headers: dict[str, str] | None = None, /, **input: Any) -> Any:
    answer = client.post(f"/v1/operations/{operation}", json=input, headers=headers).json()
    if answer.get("status") != "done":
        raise RuntimeError(f"{operation} answers {str(answer)[:300]}")
    return answer["output"]

"""The console and the pages of sign-in on a telephone: nothing is wider than it, and what one presses is large."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.promise import promise
from tests.surfaces.console.desk import Desk
from tests.surfaces.console.test_states import PAGES, seeded
from tests.until import until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
TURNING = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
LEAST_PX = 44  # of what a finger is to meet (WCAG 2.5.5)
# inside of a sentence, in a chart, or a chip in a field: the exceptions that the criterion knows
_EXCEPT = ".link, .meta *, p > a, summary, .chart *, .many *, .plain a, .unseen *, dd a, label > input"
SIDEWAYS = """
(() => [document.documentElement, document.querySelector('main')].map((e) => e.scrollWidth - e.clientWidth)
  .filter((one) => one > 0))()
"""
CUT = """
(() => [...document.querySelectorAll('main *')]
  .filter((e) => e.checkVisibility() && !e.closest('.scroll, .tabs, pre, .unseen'))
  .filter((e) => e.getBoundingClientRect().right > innerWidth + 1).map((e) => e.outerHTML.slice(0, 120)).slice(0, 5))()
"""
SMALL = f"""
(() => [...document.querySelectorAll('button, select, textarea, nav a, .list a, input:not([type=hidden])')]
  .filter((e) => e.checkVisibility() && !e.matches({json.dumps(_EXCEPT)}))
  .map((e) => [e.outerHTML.slice(0, 120), e.getBoundingClientRect()])
  .filter(([, r]) => r.width > 0 && Math.round(r.height) < {LEAST_PX})
  .map(([html, r]) => `${{Math.round(r.height)}} ${{html}}`))()
"""


def faults(at: Desk, name: str) -> dict[str, list[str]]:
    """Give what is wrong with a page as it stands, in both themes."""
    found: dict[str, list[str]] = {}
    pictures = os.environ.get("SUPERAGENT_TEST_PICTURES", "")
    for theme in ("light", "dark"):
        at.browser.say("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": theme}])
        found[f"{name}, {theme}"] = at.look()
        if pictures:
            at.picture(Path(pictures) / f"{name.replace('/', '-')}-telephone-{theme}.png")
    at.browser.say("Emulation.setEmulatedMedia", features=[])
    found[f"{name}, scrolls sideways"] = [str(one) for one in at.browser.run(SIDEWAYS)]
    found[f"{name}, is cut off"] = at.browser.run(CUT)
    found[f"{name}, is too small"] = at.browser.run(SMALL)
    return {what: faults for what, faults in found.items() if faults}


@promise("10.5b")
def test_every_page_fits_a_telephone_in_both_themes(at: Desk, tmp_path: Path) -> None:
    pages = {one: f"/ui/{one}" for one in PAGES} | {one: f"/ui/{path}" for one, path in seeded(at, tmp_path).items()}
    waiting = pages["approvals/ID"].rpartition("/")[2]
    pages |= {
        "a request that is gone": "/ui/approvals/01HZZZZZZZZZZZZZZZZZZZZZZZ", "no such page": "/ui/nowhere",
        "you": "/sign-in/you", "step-up": "/sign-in/step-up", "waiting": "/sign-in/approvals",
        "one that waits": f"/sign-in/approvals?id={waiting}",
    }  # fmt: skip
    found: dict[str, list[str]] = {}
    at.telephone()
    try:
        for name, path in pages.items():
            at.open(
                path,
                f"location.pathname === {path.partition('?')[0]!r}"
                " && !!document.querySelector('main')?.innerText.trim() && !document.querySelector('[data-loading]')",
            )
            if path.startswith("/ui/"):
                at.browser.until("!!document.querySelector('.state.live')")
            found |= faults(at, name)
            at.check()
            turned = set(TURNING) & set(at.browser.run("document.body.innerText"))
            assert not turned, f"{name}: text of others turns the page around"
        stranger = at.browser.stranger()
        other = at.beside(stranger)
        other.telephone()
        other.open("/sign-in")
        found |= faults(other, "sign-in")
        stranger.close()
    finally:
        at.telephone(on=False)
    assert not found, json.dumps(found, indent=1)


@promise("10.5b")
def test_by_touch_one_finds_what_waits_reads_it_and_approves(at: Desk, tmp_path: Path) -> None:
    target = tmp_path / "touched.txt"
    id = at.call("files.write", path=str(target), content="by a finger\n")["invocation"]
    at.telephone()
    try:
        at.open("/ui/activity", "!!document.querySelector('.state.live')")
        at.tap("document.querySelector('.menu')")
        assert not faults(at, "menu")
        at.tap("[...document.querySelectorAll('.rail a')].find((e) => e.innerText.startsWith('Approvals'))")
        at.browser.until("location.pathname === '/ui/approvals' && !document.querySelector('.rail').checkVisibility()")
        at.tap(f"document.querySelector('.list a[href$=\"{id}\"]')")
        at.browser.until("document.querySelector('.diff tr.add')?.innerText.includes('by a finger')")
        assert not at.browser.run("document.querySelector('.list').checkVisibility()"), "one thing at a time"
        bar = at.browser.run(
            "(({ top, bottom }) => [top, bottom])(document.querySelector('.bar').getBoundingClientRect())"
        )
        assert 0 < bar[0] < bar[1] <= 844, "the decision stays in view"
        at.tap("document.querySelector('.bar .primary')")
        at.browser.until("document.activeElement?.innerText === 'Cancel'")
        assert not faults(at, "dialog")
        at.tap("document.querySelector('[role=dialog] button[type=submit]')")
        at.says("does not wait any more")
        until(target.exists, "it ran")
        at.tap("document.querySelector('.up a')")
        at.browser.until("location.pathname === '/ui/approvals' && document.querySelector('.list').checkVisibility()")
    finally:
        at.telephone(on=False)

"""One stream of events for each browser: shared by its tabs, resumed after a crash, and quick enough for a burst."""

from __future__ import annotations

import json
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.chromium import Chromium
from tests.promise import promise
from tests.surfaces.console.desk import Desk

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
TABS = 12  # a browser opens six connections to a server: with a stream for each tab the seventh would wait for ever
BURST = 2000
LONG_US = 50_000
LOCKS = (
    "(() => { if (!window.asked) { window.asked = 1; navigator.locks.query().then((q) => { window.locks ="
    " [q.held.length, q.pending.length]; window.asked = 0; }); } return window.locks; })()"
)


@contextmanager
def tabs(at: Desk, count: int) -> Generator[list[Chromium]]:
    """Open so many tabs of the activity in all, the desk's own among them, and wait until they are live."""
    at.open("/ui/activity", "!!document.querySelector('.state.live')")  # the first one leads
    more = [at.browser.tab() for _ in range(count - 1)]
    every = [at.browser, *more]
    try:
        for one in more:
            one.go(f"{at.base}/ui/activity")
        for one in every:
            one.until("!!document.querySelector('.state.live') && !!document.querySelector('.rows li')")
        yield every
    finally:
        for one in more:
            one.close()


def count_of(text: str) -> str:
    """Give a script that counts the agent's calls in the feed that name something."""
    wanted = json.dumps(text)
    return (
        f"[...document.querySelectorAll('.rows li')].filter((e) => e.innerText.includes({wanted}))"
        ".reduce((sum, e) => sum + Number(/× (\\d+)/.exec(e.innerText)?.[1] ?? 1), 0)"
    )


@promise("10.5b")
def test_twelve_tabs_hold_one_stream_and_the_next_goes_on_when_its_tab_goes(at: Desk) -> None:
    at.call("files.write", path=str(at.workspace / "first.txt"), content="x")
    with tabs(at, TABS) as every:
        at.call("files.mkdir", path=str(at.workspace / "tabs-1"))
        for tab in every:
            tab.until(f"{count_of('tabs-1')} === 1")
        assert every[-1].until(LOCKS) == [1, TABS - 1], "one tab reads the stream"

        # the desk's tab leads, for it came first: it goes elsewhere, and another goes on where it was
        every[0].go("about:blank")
        at.call("files.mkdir", path=str(at.workspace / "tabs-2"))
        for tab in every[1:]:
            tab.until(f"{count_of('tabs-2')} > 0")
            assert tab.run(count_of("tabs-")) == 2, "like calls stand in one line"
        at.open("/ui/activity", "!!document.querySelector('.state.live')")


def made(at: Desk, name: str, count: int) -> None:
    """Let the agent make so many folders with one name and a number."""
    calls: list[dict[str, Any]] = [
        {"operation": "files.mkdir", "input": {"path": str(at.workspace / f"{name}-{number}")}}
        for number in range(count)
    ]
    answer = at.agent.post("/v1/batch", json={"calls": calls}).json()
    assert answer["ok"], answer


@promise("10.5b")
def test_after_a_crash_of_the_server_nothing_is_missing_and_nothing_twice(at: Desk) -> None:
    at.call(
        "files.write", path=str(at.workspace / "between.txt"), content="x"
    )  # so that these folders have their own line
    made(at, "crash-before", 5)
    with tabs(at, 2) as every:
        waits = at.call("files.write", path=str(at.server.data.parent / "outside.txt"), content="x")["invocation"]
        third = at.browser.tab()
        third.go(f"{at.base}/ui/approvals/{waits}")
        third.until("document.querySelector('.bar .primary')?.disabled === false")
        made(at, "crash-running", 5)
        for tab in every:
            tab.until(f"{count_of('crash-')} === 10")
        at.kill()
        for tab in every:
            tab.until("!!document.querySelector('.state.lost') && !!document.querySelector('.banner')")
        third.until("document.querySelector('.bar .primary')?.disabled === true")  # nobody decides by what is old
        assert not at.look()
        at.start_again()
        made(at, "crash-after", 5)
        for tab in every:
            tab.until(f"!!document.querySelector('.state.live') && {count_of('crash-after')} > 0")
            tab.until(f"{count_of('crash-')} >= 15")
            assert tab.run(count_of("crash-")) == 15
        third.until("document.querySelector('.bar .primary')?.disabled === false")
        third.close()


@promise("10.5b")
def test_a_burst_of_two_thousand_events_holds_the_page_up_nowhere(at: Desk) -> None:
    at.open("/ui/activity", "!!document.querySelector('.state.live') && !!document.querySelector('.rows li')")
    at.browser.click("input[type=checkbox]")
    line = json.dumps({"operation": "access.whoami", "input": {}}).encode() + b"\n"
    with at.browser.traced() as events:
        answered = at.agent.post("/v1/stream", content=line * BURST, headers={"content-type": "application/x-ndjson"})
        assert answered.text.count('"done"') == BURST
        at.browser.until(f"{count_of('access.whoami')} >= {BURST}")
    # by the time of the processor, not of the clock: others work on this machine too
    names = {(one["pid"], one["tid"]): one["args"]["name"] for one in events if one.get("name") == "thread_name"}
    tasks = [
        one["tdur"]
        for one in events
        if one.get("name") in ("RunTask", "ThreadControllerImpl::RunTask")
        and "tdur" in one
        and names.get((one["pid"], one["tid"])) == "CrRendererMain"
    ]
    assert tasks, "the trace holds tasks"
    assert max(tasks) < LONG_US, sorted(tasks)[-5:]

"""Several people at the console: two who decide the same, and one whose right is taken away while they look."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.promise import promise
from tests.surfaces.console.desk import Desk
from tests.until import until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
YES = "document.querySelector('[role=dialog] button[type=submit]')"


def asked(at: Desk, target: Path) -> tuple[str, str]:
    """Let the agent ask for something that waits, and give its id and its page."""
    waiting = at.call("files.write", path=str(target), content="once\n")
    assert waiting["status"] == "waiting"
    return waiting["invocation"], f"/ui/approvals/{waiting['invocation']}"


def about_to_approve(at: Desk, path: str) -> None:
    """Read a request and open the dialog that approves it."""
    at.open(path, "!!document.querySelector('.diff tr.add') && !document.querySelector('.bar .primary').disabled")
    at.press("a")
    at.browser.until("document.activeElement?.innerText === 'Cancel'")


def kinds(at: Desk, id: str) -> list[str]:
    """Give the kinds of the records that name a call."""
    return [one["kind"] for one in at.as_owner("audit.query", invocation=id, limit=100)["output"]["records"]]


def answers(at: Desk, who: str) -> list[tuple[str, str]]:
    """Give how the line answered the decisions that somebody made: status, or kind, and problem."""
    found = at.as_owner("audit.query", actor=who, operation="approvals.decide", limit=100)["output"]["records"]
    return [(one.get("status", one["kind"]), one.get("problem", "")) for one in found if one["kind"] != "approved"]


@promise("10.5b")
def test_when_one_person_has_approved_the_other_sees_who_and_a_late_click_does_nothing(
    at: Desk, tmp_path: Path
) -> None:
    target = tmp_path / "two.txt"
    with at.person("second", "owner") as second:
        id, path = asked(at, target)
        about_to_approve(at, path)
        about_to_approve(second, path)
        second.browser.run("window.stayed = true")
        with second.not_told():
            at.press("Tab")
            at.press("Enter")
            at.says("owner approved it")
            until(target.exists, "it ran")
            second.press("Tab")
            second.press("Enter")  # on what it still sees
            second.says("decided, or taken back, before you", "[role=dialog] .failure")
        second.says("Your decision was not taken")
        second.says("owner approved it")
        assert second.browser.run("window.stayed"), "it was told without loading anew"
        assert not second.look()
        second.check()
        assert ("failed", "conflict") in answers(at, "second") or ("refused", "conflict") in answers(at, "second")
        assert kinds(at, id).count("approved") == 1
        assert kinds(at, id).count("outcome") == 1

        # and who does nothing is told as well
        id, path = asked(at, tmp_path / "three.txt")
        about_to_approve(at, path)
        second.open(path, "!!document.querySelector('.diff tr.add')")
        second.browser.run("window.stayed = true")
        at.press("Tab")
        at.press("Enter")
        second.says("owner approved it")
        assert second.browser.run("window.stayed")
        assert second.browser.run("document.querySelector('.bar')") is None


def test_of_two_people_who_approve_at_the_same_moment_one_does(at: Desk, tmp_path: Path) -> None:
    target = tmp_path / "same.txt"
    with at.person("rival", "owner") as rival:
        id, path = asked(at, target)
        both = {"owner": at, "rival": rival}
        for one in both.values():
            about_to_approve(one, path)
        with at.not_told(), rival.not_told():
            for one in both.values():
                one.browser.run(f"{YES}.click()")
            until(target.exists, "it ran")
        for one in both.values():
            one.says("does not wait any more")
        late = "document.querySelector('main').innerText.includes('Your decision was not taken')"
        until(lambda: any(one.browser.run(late) for one in both.values()), "one is told")
        (loser,) = [name for name, one in both.items() if one.browser.run(late)]
        (winner,) = set(both) - {loser}
        for one in both.values():
            one.says(f"{winner} approved it")
        assert kinds(at, id).count("approved") == 1
        assert kinds(at, id).count("outcome") == 1
        assert "conflict" in {problem for _, problem in answers(at, loser)}


@promise("10.5b")
def test_whoever_loses_the_right_to_decide_is_told_and_an_old_button_decides_nothing(at: Desk, tmp_path: Path) -> None:
    target = tmp_path / "lost.txt"
    with at.person("helper", "operator") as helper:
        id, path = asked(at, target)
        about_to_approve(helper, path)
        with helper.not_told():
            at.as_owner("access.users.set_roles", id="helper", roles=["viewer"])
            helper.press("Tab")
            helper.press("Enter")
            helper.browser.until("!!document.querySelector('[role=dialog] .failure')")
            assert "write grants" in helper.browser.run("document.querySelector('[role=dialog] .failure').innerText")
        helper.says("You may not see this request")
        helper.says("that right was taken from you")
        assert "lost.txt" not in helper.browser.run("document.querySelector('main').innerText")
        assert not helper.look()
        assert not target.exists()
        assert "approved" not in kinds(at, id)
        assert id in [one["id"] for one in at.as_owner("approvals.list", limit=200)["output"]["waiting"]]
        assert "refused" in {kind for kind, _ in answers(at, "helper")}, "and it is on record"


def test_whoever_loses_the_right_to_the_audit_goes_on_seeing_none_of_it(at: Desk) -> None:
    with at.person("reader", "auditor") as reader:
        at.call("files.write", path=str(at.workspace / "before-loss.txt"), content="x")
        reader.open("/ui/audit?text=before-loss.txt", "document.querySelectorAll('tbody tr').length > 0")
        feed = reader.browser.tab()
        feed.go(f"{at.base}/ui/activity")
        feed.until("!!document.querySelector('.rows')?.innerText.includes('before-loss.txt')")
        at.as_owner("access.users.set_roles", id="reader", roles=["viewer"])
        at.call("files.write", path=str(at.workspace / "after-loss.txt"), content="x")
        reader.browser.until("document.querySelector('main .failure')?.innerText.includes('you may not use it')")
        feed.until("document.querySelector('main .failure')?.innerText.includes('you may not use it')")
        for tab in (reader.browser, feed):
            assert "-loss.txt" not in tab.run("document.querySelector('main').innerText")
        # what comes by the stream afterwards comes in order: its own call is heard, and what went before was not
        reader.browser.run(
            "fetch('/sign-in/session').then((r) => r.json()).then((s) => fetch('/v1/operations/access.whoami',"
            " { method: 'POST', body: '{}', headers: { 'content-type': 'application/json',"
            " 'x-csrf-token': s.csrf } })); 0"
        )
        feed.run("document.querySelector('.tools input[type=checkbox]').click()")
        feed.until("!!document.querySelector('.rows')?.innerText.includes('access.whoami')")
        assert "-loss.txt" not in feed.run("document.querySelector('main').innerText")
        feed.close()

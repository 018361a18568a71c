"""A plugin that lies, floods, breaks, hides and pries: each is contained, said clearly, and in the audit."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from superagent.core.audit import AuditRecord
from superagent.core.invocation import Outcome, Status
from superagent.core.problems import AuditUnavailable, Denied, Internal, NotFound, Problem, Unavailable
from superagent.runtime.hosted import call
from superagent.runtime.hosted.asked import METHODS
from superagent.runtime.hosted.call import Served
from tests.promise import promise
from tests.runtime.hosted.here import Here

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(120)]


async def fresh(here: Here) -> None:
    """Let the plugin be started anew whatever it did before: the wait after failures has a test of its own."""
    here.hosting._backoffs.clear()  # pyright: ignore[reportPrivateUsage]


def problem_of(outcome: Outcome) -> Problem:
    assert outcome.problem is not None, outcome.output
    return outcome.problem


async def works(here: Here, ground: Path) -> None:
    """See that the server goes on, and the plugin too."""
    await fresh(here)
    done = await here.run("evil.read", how="nothing", path=str(ground))
    assert done.result() == {"text": "nothing"}


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ("garbage", "it sent something that is no message"),
        ("unasked", "it answered something that it was not asked"),
        ("notice", "it told something that nobody asked for"),
        ("deep", "it sent something that is no message"),
        ("long", "it sent a line that is longer than a message can be"),
        ("endless", "it sent a line that is longer than a message can be"),
        ("errors", "it wrote too much to its error stream"),
        ("often", "it kept asking for more than it may"),
        ("insist", "it kept asking for more than it may"),
        ("haunt", "it kept speaking of calls that are not there"),
        ("leave", "it ended"),
        ("die", "it ended"),
        ("crash", "it ended"),
    ],
)
async def test_what_breaks_the_line_or_the_process_ends_it_and_fails_the_call(
    evil: Here, ground: Path, monkeypatch: pytest.MonkeyPatch, how: str, why: str
) -> None:
    monkeypatch.setattr(call, "MOST_ASKED", 500)
    await fresh(evil)
    before = len(await evil.ends())
    outcome = await evil.run("evil.read", how=how, path=str(ground))
    problem = problem_of(outcome)
    assert isinstance(problem, Unavailable)
    assert problem.detail == f"the plugin `evil` ended in the middle of the call: {why}"
    assert problem.changed == "nothing"
    assert await evil.ends_after(before) == [why]
    record = (await evil.records(operation="evil.read"))[-1]
    assert (record["kind"], record["status"], record["problem"]) == ("outcome", "failed", "unavailable")
    await works(evil, ground)


@pytest.mark.parametrize("how", ["silent", "stuck"])
async def test_one_that_never_answers_is_ended_soon_after_its_call(evil: Here, ground: Path, how: str) -> None:
    await fresh(evil)
    before = len(await evil.ends())
    outcome = await evil.run("evil.read", how=how, path=str(ground), _deadline_s=0.5)
    assert problem_of(outcome).slug == "deadline"
    if how == "stuck":
        assert await evil.ends_after(before) == ["it went on with a call that was cancelled"]
    await works(evil, ground)


async def test_what_it_prints_is_nobodys_answer(evil: Here, ground: Path) -> None:
    await fresh(evil)
    done = await evil.run("evil.read", how="print", path=str(ground))
    assert done.result() == {"text": "printed"}


async def test_a_fork_bomb_stays_inside_its_limit(evil: Here, ground: Path) -> None:
    await fresh(evil)
    done = await evil.run("evil.read", how="forks", path=str(ground))
    made, error = done.result()["text"].split()
    assert int(made) < 32
    assert error == "BlockingIOError"
    await evil.run("evil.read", how="leave", path=str(ground))
    await works(evil, ground)


async def test_a_memory_bomb_meets_its_limit(evil: Here, ground: Path) -> None:
    await fresh(evil)
    problem = problem_of(await evil.run("evil.read", how="memory", path=str(ground)))
    if isinstance(problem, Unavailable):
        assert problem.detail == "the plugin `evil` ended in the middle of the call: it met its limit of memory"
    else:  # without a control group it is refused more memory, and says so
        assert isinstance(problem, Internal)
    await works(evil, ground)


@pytest.mark.parametrize(
    ("how", "seen"),
    [
        ("shadow", "FileNotFoundError"),
        ("theirs", "FileNotFoundError"),
        ("write", "OSError: [Errno 30] Read-only file system"),
        ("network", "OSError"),
    ],
)
async def test_the_sandbox_holds_without_anybody_being_asked(evil: Here, ground: Path, how: str, seen: str) -> None:
    await fresh(evil)
    done = await evil.run("evil.read", how=how, path=str(ground / "note.txt"))
    text = done.result()["text"]
    assert "worked" not in text
    assert text.startswith(seen) or (how == "network" and "Error" in text)


async def test_it_sees_no_process_no_environment_and_no_descriptor_but_its_own(evil: Here, ground: Path) -> None:
    await fresh(evil)
    done = await evil.run("evil.read", how="environment", path=str(ground))
    assert "SUPERAGENT" not in done.result()["text"]
    done = await evil.run("evil.read", how="processes", path=str(ground))
    assert len(done.result()["text"].split()) <= 3
    done = await evil.run("evil.read", how="descriptors", path=str(ground))
    assert "/" not in done.result()["text"].replace("/dev/null", "").replace("/proc/", "")


@promise("5.4a")
@pytest.mark.parametrize(
    ("how", "asked", "why"),
    [
        ("outside", "files.read", "this call does not name that path"),
        ("up", "files.read", "this call does not name that path"),
        ("change", "changing", "`evil.read` declared the effect READ and no more"),
        ("overwrite", "files.write", "`evil.read` declared the effect READ and no more"),
        ("keep", "keep", "`evil.read` declared the effect READ and no more"),
        ("undeclared", "secret", "`evil.read` did not declare that it reaches `secret`"),
        ("run", "run", "`evil.read` did not declare that it reaches `run`"),
        ("net", "net", "`evil.read` did not declare that it reaches `net`"),
        ("shell", "call shell.exec", "its manifest does not say that it calls this operation"),
        ("key", "call access.keys.create", "its manifest does not say that it calls this operation"),
        ("event", "event", "only a stream gives events"),
        ("unknown", "os.system", "hosted plugins are not given this"),
    ],
)
async def test_what_it_may_not_have_is_refused_and_in_the_audit(
    evil: Here, ground: Path, how: str, asked: str, why: str
) -> None:
    await fresh(evil)
    outcome = await evil.run("evil.read", how=how, path=str(ground))
    if outcome.problem is None:
        assert outcome.result()["text"].startswith(f"Denied: the plugin `evil`: {why}")
    else:
        assert outcome.problem.detail == f"the plugin `evil`: {why}"
    wanted = {"plugin": "evil", "by": "evil.read", "asked": asked, "why": why}
    refused = (await evil.records(operation="plugins.asked"))[-1]
    assert (refused["kind"], refused["detail"], refused["invocation"]) == ("refused", wanted, outcome.invocation)
    assert (ground / "note.txt").read_text() == "before\n"


@pytest.mark.parametrize(
    ("how", "asked"),
    [
        ("bare", "files.write"),
        ("other", "files.write"),
        ("other change", "changing"),
        ("destroy", "changing"),
        ("secret", "changing"),
        ("state", "state_of"),
        ("handle", "change.close"),
        ("put back", "put_back"),
    ],
)
async def test_nothing_is_changed_but_what_the_call_names_and_the_line_kept(
    evil: Here, ground: Path, how: str, asked: str
) -> None:
    await fresh(evil)
    outcome = await evil.run("evil.change", how=how, path=str(ground / "note.txt"))
    said = outcome.problem.detail if outcome.problem else outcome.result()["text"]
    assert "the plugin `evil`: " in said
    refused = (await evil.records(operation="plugins.asked"))[-1]
    assert (refused["detail"]["asked"], refused["invocation"]) == (asked, outcome.invocation)
    assert (ground / "note.txt").read_text() == "before\n"
    assert not (ground / "other.txt").exists()


@pytest.mark.parametrize("how", ["open", "die", "lie"])
async def test_a_change_that_it_leaves_behind_is_told_and_can_be_taken_back(evil: Here, ground: Path, how: str) -> None:
    await fresh(evil)
    note = ground / "note.txt"
    outcome = await evil.run("evil.change", how=how, path=str(note))
    assert note.read_text() == "changed"
    assert [one.resource for one in outcome.effects] == [f"path://local{note}"]
    if how != "lie":
        assert isinstance(outcome.problem, Unavailable)
        assert outcome.problem.changed == "partly"
    undone = await evil.run("undo.apply", ids=[outcome.invocation])
    assert undone.problem is None
    assert note.read_text() == "before\n"


async def test_a_change_belongs_to_its_call_also_among_calls_at_a_time(evil: Here, ground: Path) -> None:
    await fresh(evil)
    first = asyncio.ensure_future(evil.run("evil.change", how="hold", path=str(ground / "note.txt")))
    async with asyncio.timeout(20):
        while not (await evil.installation.kernel.hands.undo.of("default", ids=[])):
            await asyncio.sleep(0.01)
    other = ground / "other.txt"
    async with asyncio.timeout(30):
        while True:
            second = await evil.run("evil.change", how="release", path=str(other))
            if second.problem is None:
                break
            await asyncio.sleep(0.05)
    assert "this change belongs to another call" in second.result()["text"]
    assert (await first).problem is None


async def test_no_write_slips_out_of_its_change(evil: Here, ground: Path) -> None:
    await fresh(evil)
    note = ground / "note.txt"
    outcome = await evil.run("evil.change", how="late", path=str(note))
    assert outcome.problem is None
    assert "Denied" in outcome.result()["text"] or note.stat().st_size == 2_000_000
    kept = await evil.installation.kernel.hands.undo.of("default", ids=[outcome.invocation])
    assert [one.closed for one in kept] == [True]
    assert (await evil.run("undo.apply", ids=[outcome.invocation])).problem is None
    assert note.read_text() == "before\n"


@pytest.mark.parametrize("how", ["preview", "call"])
async def test_a_preview_changes_nothing(evil: Here, ground: Path, how: str) -> None:
    await fresh(evil)
    outcome = await evil.run("evil.change", how=how, path=str(ground / "note.txt"), _dry_run=True)
    assert isinstance(outcome.problem, Denied)
    assert (await evil.records(operation="plugins.asked"))[-1]["invocation"] == outcome.invocation
    assert (ground / "note.txt").read_text() == "before\n"


async def test_a_context_ends_with_its_call(evil: Here, ground: Path) -> None:
    await fresh(evil)
    note = str(ground / "note.txt")
    assert (await evil.run("evil.read", how="remember", path=note)).problem is None
    before = len(await evil.refusals())
    recalled = await evil.run("evil.read", how="recall", path=note)
    files, _, call = recalled.result()["text"].partition(" | ")
    assert "there is no such call" in files
    assert "there is no such call" in call
    refused = (await evil.refusals())[before:]
    assert [(one["asked"], one["why"]) for one in refused] == [
        ("files.read", "no such call"),
        ("call", "no such call"),
    ]


async def test_wrong_words_and_too_many_of_them_are_refused(evil: Here, ground: Path) -> None:
    await fresh(evil)
    done = await evil.run("evil.read", how="words", path=str(ground))
    assert done.result()["text"] == "Internal: `files.read` was asked with the wrong words"
    done = await evil.run("evil.read", how="at once", path=str(ground / "note.txt"))
    assert int(done.result()["text"]) >= 100
    await works(evil, ground)


async def test_what_it_tells_is_bounded_and_so_are_calls_within_calls(evil: Here, ground: Path) -> None:
    await fresh(evil)
    done = await evil.run("evil.read", how="tell", path=str(ground))
    assert "it told more than 16777216 bytes" in done.result()["text"]
    done = await evil.run("evil.read", how="deeper", path=str(ground))
    assert "calls within calls go no deeper than 8" in str(done.plain())
    await works(evil, ground)


async def test_only_the_platform_says_what_only_the_platform_says(evil: Here, ground: Path) -> None:
    await fresh(evil)
    outcome = await evil.run("evil.read", how="approval", path=str(ground))
    assert isinstance(outcome.problem, Internal)
    assert "evil.example" not in str(outcome.plain())
    outcome = await evil.run("evil.read", how="title", path=str(ground))
    shown = problem_of(outcome).document()
    assert shown["title"] == "There is no such thing, or you may not see it"
    assert shown["detail"].startswith("\N{REPLACEMENT CHARACTER}[2Jlook\nhere")
    assert len(shown["detail"]) < 2100
    assert shown["hint"] == "\N{REPLACEMENT CHARACTER}ring"
    assert "partly" not in shown
    assert isinstance(outcome.problem, NotFound)


@pytest.mark.parametrize("how", ["wrong", "more"])
async def test_an_answer_that_was_not_declared_is_none(evil: Here, ground: Path, how: str) -> None:
    await fresh(evil)
    outcome = await evil.run("evil.read", how=how, path=str(ground))
    assert problem_of(outcome).detail == "the plugin `evil` answered with something else than it declares"
    assert outcome.output == b""


async def test_what_is_raised_to_leave_fails_one_call_only(evil: Here, ground: Path) -> None:
    await fresh(evil)
    outcome = await evil.run("evil.read", how="interrupt", path=str(ground))
    assert outcome.status == Status.FAILED
    await works(evil, ground)


async def test_what_breaks_in_the_platform_while_it_answers_is_told_as_its_own(
    evil: Here, ground: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(served: Served, given: dict[str, Any]) -> None:
        raise RuntimeError("ours")

    monkeypatch.setitem(METHODS, "files.read", broken)
    await fresh(evil)
    outcome = await evil.run("evil.read", how="outside", path=str(ground))
    assert isinstance(outcome.problem, Internal)
    assert "RuntimeError: ours" in caplog.text


async def test_a_line_that_breaks_on_our_side_keeps_nobody_waiting(
    evil: Here, ground: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: Served, message: object) -> None:
        raise RuntimeError("ours")

    monkeypatch.setattr(Served, "asked", broken)
    await fresh(evil)
    problem = problem_of(await evil.run("evil.read", how="outside", path=str(ground)))
    assert problem.detail.endswith("the platform could not go on with it")


async def test_a_process_whose_start_cannot_be_recorded_does_nothing(
    evil: Here, ground: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(record: AuditRecord) -> None:
        raise AuditUnavailable("full")

    await fresh(evil)
    await evil.run("evil.read", how="leave", path=str(ground))
    await fresh(evil)
    with monkeypatch.context() as patch:
        patch.setattr(evil.hosting, "_note", full)
        problem = problem_of(await evil.run("evil.read", how="nothing", path=str(ground)))
        assert isinstance(problem, AuditUnavailable)
        assert len(evil.hosting) == 0
    await works(evil, ground)


async def test_a_secret_does_not_outlive_its_call(evil: Here, ground: Path, caplog: pytest.LogCaptureFixture) -> None:
    await fresh(evil)
    value = "a value that is long and random"
    assert (await evil.run("secrets.put", name="theirs", value=value)).problem is None
    done = await evil.run("evil.keeper", secret="theirs")
    assert done.result() == {"text": "[secret theirs]"}
    for again in (
        await evil.run("evil.keeper", secret="theirs", again=True),
        await evil.run("evil.read", how="stored", path=str(ground)),
    ):
        assert again.result() == {"text": "nothing"}
    assert "it was given a secret, so it serves no other call" in await evil.ends()
    assert value not in caplog.text


async def test_nobodys_process_serves_another(evil: Here, ground: Path) -> None:
    await fresh(evil)
    agent = evil.owner.delegate("builder", "agent", roles=("owner",))
    note = str(ground / "note.txt")
    first = await evil.run("evil.read", how="store", path=note)
    assert (await evil.run("evil.read", how="stored", path=note)).result() == {"text": note}
    assert (await evil.run("evil.read", how="stored", path=note, by=agent)).result() == {"text": "nothing"}
    assert first.problem is None

"""Approvals asked for ahead of a call, and for a call within another: used once, by that very call, or not at all."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from superagent.app import Installation, open_installation
from superagent.core.approvers import challenge_of
from superagent.core.invocation import Call, Outcome, Status
from superagent.core.principal import Credential, Facts, Principal, Secret
from superagent.core.seals import Signed
from superagent.sdk import Context, Denied, Effect, Output, Plugin, Preview, Risk, put_back
from superagent.settings import load
from tests.features.test_approved_files import agent, approve, here
from tests.features.test_asked_again import file, owner_does
from tests.promise import promise

__all__ = ["file", "here"]

ASKING: list[dict[str, Any]] = [
    {"effect": "ask", "operations": ["files.write", "files.delete"]},
    {"effect": "allow", "operations": ["files.read", "both.*", "jobs.*"]},
]


async def run(
    here: Installation, by: Principal, name: str, call: dict[str, Any] | None = None, /, **input: Any
) -> Outcome:
    return await here.kernel.run(Call(name, input, **(call or {})), by, "http")


async def ahead(here: Installation, by: Principal, operation: str, **input: Any) -> str:
    asked = await run(here, by, "approvals.request", operation=operation, input=input, reason="soon")
    assert asked.status is Status.DONE, asked.problem
    assert asked.result()["state"] == "waiting"
    return asked.result()["id"]


async def decided(here: Installation, id: str, decision: str = "approve") -> None:
    outcome = await owner_does(here, "approvals.decide", id=id, decision=decision)
    assert outcome.status is Status.DONE, outcome.problem


async def listed(here: Installation, state: str = "waiting") -> list[dict[str, Any]]:
    return (await owner_does(here, "approvals.list", state=state)).result()["waiting"]


async def test_approved_ahead_the_call_runs_at_once_and_only_once(here: Installation, file: Path) -> None:
    by = await agent(here, grants=ASKING)
    id = await ahead(here, by, "files.write", path=str(file), content="new\n")
    (shown,) = await listed(here)
    assert (shown["id"], shown["ahead"], shown["reason"]) == (id, True, "soon")
    assert "+new" in shown["preview"]["diff"]
    await decided(here, id)
    assert file.read_text() == "old\n"  # nothing happens before the call is made
    assert [await listed(here), [one["id"] for one in await listed(here, "approved")]] == [[], [id]]

    done = await run(here, by, "files.write", path=str(file), content="new\n")
    assert done.status is Status.DONE, done.problem
    assert file.read_text() == "new\n"
    records = (await here.index.query("default", invocation=done.invocation, limit=9))[0]
    kinds = [one["kind"] for one in reversed(records) if one["operation"] != "access.taint"]
    assert kinds == ["approved", "intent", "outcome"]
    assert records[-1]["detail"]["ahead"] == id
    assert await listed(here, "approved") == []

    file.write_text("old\n")
    replayed = await run(here, by, "files.write", path=str(file), content="new\n")
    assert replayed.status is Status.WAITING  # an approval is no right


@promise("11.12b")
@pytest.mark.parametrize("other", ["input", "resource", "state", "caller", "grants", "denied", "undecided"])
async def test_what_differs_from_what_was_approved_is_not_done(here: Installation, file: Path, other: str) -> None:
    by = caller = await agent(here, grants=ASKING)
    path, content = file, "new\n"
    id = await ahead(here, by, "files.write", path=str(path), content=content)
    if other != "undecided":
        await decided(here, id, "deny" if other == "denied" else "approve")
    match other:
        case "input":
            content = "evil\n"
        case "resource":
            path = file.with_name("other.txt")
        case "state":
            file.write_text("somebody was here\n")
        case "caller":
            caller = await agent(here, name="other", grants=ASKING)
        case "grants":
            more = {"effect": "ask", "subject": "agent:builder", "operations": ["files.write"]}
            assert (await owner_does(here, "grants.create", grant=more)).problem is None
        case _:
            pass
    before = path.read_text() if path.exists() else None
    tried = await run(here, caller, "files.write", path=str(path), content=content)
    assert (path.read_text() if path.exists() else None) == before
    if other in ("state", "grants"):
        assert tried.problem is not None
        assert tried.problem.slug == "conflict"
        records = (await here.index.query("default", invocation=tried.invocation, limit=9))[0]
        assert [one["kind"] for one in records] == ["refused"]
        assert await listed(here, "approved") == []  # it is spent: the next call asks anew
        tried = await run(here, caller, "files.write", path=str(path), content=content)
    assert tried.status is Status.WAITING


async def test_two_calls_at_once_use_it_once(here: Installation, file: Path) -> None:
    by = await agent(here, grants=ASKING)
    await decided(here, await ahead(here, by, "files.write", path=str(file), content="new\n"))
    async with asyncio.TaskGroup() as group:
        both = [group.create_task(run(here, by, "files.write", path=str(file), content="new\n")) for _ in range(2)]
    assert sorted(one.result().status for one in both) == [Status.DONE, Status.WAITING]


async def test_it_survives_a_restart_between_asking_deciding_and_calling(tmp_path: Path, file: Path) -> None:
    data = tmp_path / "data"
    async with open_installation(load(data, environ={})) as first:
        made = await owner_does(first, "access.keys.create", name="builder", grants=ASKING)
        key = Credential("bearer", Secret(made.result()["key"]), Facts("127.0.0.1", "", "http"))
        id = await ahead(first, await first.kernel.identify(key), "files.write", path=str(file), content="new\n")
    async with open_installation(load(data, environ={})) as second:
        await decided(second, id)
    async with open_installation(load(data, environ={})) as third:
        done = await run(third, await third.kernel.identify(key), "files.write", path=str(file), content="new\n")
        assert done.status is Status.DONE, done.problem


async def test_what_was_approved_and_not_begun_when_the_process_died_is_done_at_the_next_start(
    tmp_path: Path, file: Path
) -> None:
    data = tmp_path / "data"
    async with open_installation(load(data, environ={})) as first:
        by = await agent(first, grants=ASKING)
        waiting = await run(first, by, "files.write", path=str(file), content="new\n")
        await first.kernel.hands.work.approve("default", waiting.invocation, "owner")  # and then it dies
        early = await ahead(first, by, "files.delete", path=str(file))
        await first.kernel.hands.work.approve("default", early, "owner")
    async with open_installation(load(data, environ={})) as second:
        async with asyncio.timeout(20):
            while await second.kernel.hands.work.outcome("default", waiting.invocation) is None:
                await asyncio.sleep(0.01)
        assert file.read_text() == "new\n"
        assert [one["id"] for one in await listed(second, "approved")] == [early]


async def test_what_nobody_needs_to_approve_and_what_is_refused_cannot_be_asked_for(
    here: Installation, file: Path
) -> None:
    by = await agent(here, grants=ASKING)
    for operation, input, slug in (
        ("files.read", {"path": str(file)}, "conflict"),
        ("settings.set", {"name": "log.level", "value": "debug"}, "not-found"),
        ("files.write", {"path": 1}, "invalid-input"),
        ("access.keys.create", {"name": "x"}, "not-found"),
    ):
        refused = await run(here, by, "approvals.request", operation=operation, input=input)
        assert refused.problem is not None
        assert refused.problem.slug == slug
    assert await listed(here) == []


async def test_no_agent_decides_its_own_request_or_anybodys(here: Installation, file: Path) -> None:
    by = await agent(here, grants=[*ASKING, {"effect": "allow", "operations": ["approvals.*"]}])
    id = await ahead(here, by, "files.write", path=str(file), content="new\n")
    refused = await run(here, by, "approvals.decide", id=id, decision="approve")
    assert refused.problem is not None
    records = (await here.index.query("default", invocation=refused.invocation, limit=9))[0]
    assert [one["kind"] for one in records] == ["refused"]
    assert (await run(here, by, "files.write", path=str(file), content="new\n")).status is Status.WAITING


# ---- a call within another


class Done(Output):
    text: str


both = Plugin("both")


@both.operation(risk=Risk.LOW, effect=Effect.READ)
async def copy(ctx: Context, source: str, target: str) -> Done:
    """Read and write by calls."""
    found = await ctx.call("files.read", {"path": source})
    await ctx.call("files.write", {"path": target, "content": found["content"]})
    return Done(text=found["content"])


@both.operation(risk=Risk.MEDIUM, effect=Effect.CHANGE, undo=put_back)
async def twice(ctx: Context, first: str, second: str) -> Done:
    """Write two files by calls."""
    for path in (first, second):
        await ctx.call("files.write", {"path": path, "content": "twice\n"})
    return Done(text="")


@twice.preview
async def _(ctx: Context, first: str, second: str) -> Preview:
    paths = [first, second]
    return Preview(summary="would write two", expects=[f"files.write path://local{path}" for path in paths])


@both.operation(risk=Risk.MEDIUM, effect=Effect.CHANGE, irreversible="told is told")
async def tell(ctx: Context, target: str) -> Done:
    """Do something that cannot be taken back, then write."""
    await ctx.call("files.write", {"path": target, "content": "told\n"})
    return Done(text="")


@pytest.fixture
async def nested(tmp_path: Path) -> Any:
    async with open_installation(load(tmp_path / "data", environ={}), extra=(both,)) as installation:
        yield installation


async def test_an_ask_inside_waits_as_the_whole_call_if_nothing_was_changed(nested: Installation, file: Path) -> None:
    by = await agent(nested, grants=ASKING)
    target = file.with_name("copy.txt")
    waiting = await run(nested, by, "both.copy", source=str(file), target=str(target))
    assert waiting.status is Status.WAITING, waiting.problem
    (shown,) = await listed(nested)
    assert (shown["operation"], shown["inside"]["operation"]) == ("both.copy", "files.write")
    assert shown["resources"] == [f"CHANGE path://local{target}"]
    assert "+old" in shown["preview"]["diff"]
    done = await approve(nested, waiting.invocation)
    assert done.status is Status.DONE, done.problem
    assert target.read_text() == "old\n"


async def test_what_would_then_happen_inside_must_be_what_was_approved(nested: Installation, file: Path) -> None:
    """Between asking and approving, the text changes that the call copies: a confused deputy would write it."""
    by = await agent(nested, grants=ASKING)
    target = file.with_name("copy.txt")
    waiting = await run(nested, by, "both.copy", source=str(file), target=str(target))
    file.write_text("evil\n")
    ended = await approve(nested, waiting.invocation)
    assert ended.problem is not None
    assert ended.problem.slug == "needs-approval"
    assert not target.exists()


async def test_after_a_change_the_children_are_undone_and_named(nested: Installation, file: Path) -> None:
    first, second = file.with_name("first.txt"), file.with_name("second.txt")
    mixed = [
        {"effect": "ask", "operations": ["files.write"], "where": {"paths": [str(second)]}},
        {"effect": "allow", "operations": ["files.write"], "where": {"paths": [str(first)]}},
        {"effect": "allow", "operations": ["both.*"]},
    ]
    by = await agent(nested, grants=mixed)
    failed = await run(nested, by, "both.twice", first=str(first), second=str(second))
    assert failed.problem is not None
    assert failed.problem.slug == "needs-approval"
    assert str(second) in failed.problem.detail
    assert failed.problem.changed == "nothing"
    assert not first.exists()
    # the child asked for ahead, the whole goes through
    await decided(nested, await ahead(nested, by, "files.write", path=str(second), content="twice\n"))
    done = await run(nested, by, "both.twice", first=str(first), second=str(second))
    assert done.status is Status.DONE, done.problem
    assert second.read_text() == "twice\n"


async def test_what_may_have_happened_without_a_note_does_not_wait(nested: Installation, file: Path) -> None:
    by = await agent(nested, grants=ASKING)
    failed = await run(nested, by, "both.tell", target=str(file))
    assert failed.problem is not None
    assert failed.problem.slug == "needs-approval"
    assert await listed(nested) == []


async def test_an_approval_covers_the_children_that_its_preview_named_and_no_others(
    nested: Installation, file: Path
) -> None:
    asks = [{"effect": "ask", "operations": ["both.twice", "files.write"]}]
    by = await agent(nested, grants=asks)
    first, second = file.with_name("first.txt"), file.with_name("second.txt")
    waiting = await run(nested, by, "both.twice", first=str(first), second=str(second))
    (shown,) = await listed(nested)
    assert shown["preview"]["expects"] == [f"files.write path://local{one}" for one in (first, second)]
    done = await approve(nested, waiting.invocation)
    assert done.status is Status.DONE, done.problem
    assert second.read_text() == "twice\n"
    again = await run(nested, by, "both.twice", first=str(first), second=str(first))
    ended = await approve(nested, again.invocation)
    assert ended.problem is not None  # each that was named counts once


async def test_in_an_atomic_batch_an_ask_inside_takes_all_back(nested: Installation, file: Path) -> None:
    by = await agent(nested, grants=[*ASKING, {"effect": "allow", "operations": ["files.mkdir"]}])
    folder = file.with_name("folder")
    calls = [
        Call("files.mkdir", {"path": str(folder)}),
        Call("both.copy", {"source": str(file), "target": str(file.with_name("copy.txt"))}),
    ]
    made, failed = await nested.kernel.batch(calls, "atomic", True, by, "batch")
    assert made.status is Status.UNDONE
    assert failed.problem is not None
    assert not folder.exists()
    assert await listed(nested) == []
    plain = await nested.kernel.batch(calls, "sequential", True, by, "batch")
    assert [one.status for one in plain] == [Status.DONE, Status.WAITING]


# ---- signatures


class Passkeys:
    """Check signatures as a port that a test fills: the bytes themselves."""

    async def required(self, person: Principal) -> bool:
        return False

    async def options(self, person: Principal, challenge: bytes, origin: str) -> dict[str, Any]:
        return {}

    async def verify(self, person: Principal, challenge: bytes, signature: dict[str, Any]) -> Signed:
        if signature.get("over") != challenge.hex():
            raise Denied("this signature is not yours over this request")
        return Signed("passkey-1")


async def test_a_decision_can_be_signed_and_a_wrong_signature_decides_nothing(here: Installation, file: Path) -> None:
    by = await agent(here, grants=ASKING)
    waiting = await run(here, by, "files.write", path=str(file), content="new\n")
    (shown,) = await listed(here)
    given = {"id": waiting.invocation, "decision": "approve"}
    object.__setattr__(here.kernel.hands, "signatures", None)
    nobody = await owner_does(here, "approvals.decide", **given, signature={"over": ""})
    assert nobody.problem is not None
    assert nobody.problem.slug == "unavailable"
    object.__setattr__(here.kernel.hands, "signatures", Passkeys())
    deny = challenge_of(waiting.invocation, shown["hash"], approve=False).hex()
    wrong = await owner_does(here, "approvals.decide", **given, signature={"over": deny})
    assert wrong.problem is not None
    assert wrong.problem.slug == "denied"
    assert file.read_text() == "old\n"
    right = challenge_of(waiting.invocation, shown["hash"], approve=True).hex()
    assert (await owner_does(here, "approvals.decide", **given, signature={"over": right})).problem is None
    records = (await here.index.query("default", invocation=waiting.invocation, limit=9))[0]
    assert [one["detail"]["signed"] for one in records if one["kind"] == "approved"] == ["passkey-1"]

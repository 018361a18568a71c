"""Batches: in order, at once, or all and nothing; each call is judged and recorded on its own."""

from __future__ import annotations

from typing import Any

import pytest

from superagent.core import answers
from superagent.core.grants import Grant
from superagent.core.invocation import Call, Outcome, Status
from superagent.core.kernel import MOST_CALLS, Mode
from superagent.core.problems import InvalidInput, TooLarge
from superagent.testing import World, person
from tests.core.test_undo import world

ADA = person()


async def batch(here: World, mode: Mode, *calls: tuple[str, dict[str, Any]], stop: bool = True) -> list[Outcome]:
    return await here.kernel.batch([Call(name, given) for name, given in calls], mode, stop, ADA, "batch")


def write(name: str, text: str = "x") -> tuple[str, dict[str, Any]]:
    return "notes.write", {"name": name, "text": text}


BAD: tuple[str, dict[str, Any]] = ("notes.read", {"name": "missing"})


async def test_calls_run_in_order_and_stop_at_the_first_that_fails() -> None:
    notes: dict[str, str] = {}
    outcomes = await batch(world(notes), "sequential", write("a"), BAD, write("b"))
    assert [one.status for one in outcomes] == [Status.DONE, Status.FAILED]
    assert notes == {"a": "x"}


async def test_a_batch_can_go_on_after_a_failure() -> None:
    notes: dict[str, str] = {}
    outcomes = await batch(world(notes), "sequential", BAD, write("b"), stop=False)
    assert [one.status for one in outcomes] == [Status.FAILED, Status.DONE]


async def test_calls_at_once_keep_their_order_in_the_answer() -> None:
    notes: dict[str, str] = {}
    outcomes = await batch(world(notes), "parallel", *[write(str(number)) for number in range(40)], BAD)
    assert [one.result()["name"] for one in outcomes[:-1]] == [str(number) for number in range(40)]
    assert outcomes[-1].problem is not None


async def test_an_atomic_batch_that_fails_is_taken_back_newest_first() -> None:
    notes = {"a": "old"}
    here = world(notes)
    outcomes = await batch(here, "atomic", write("a", "1"), write("a", "2"), write("b"), BAD, write("c"))
    assert notes == {"a": "old"}
    assert [one.status for one in outcomes] == [Status.UNDONE, Status.UNDONE, Status.UNDONE, Status.FAILED]
    assert outcomes[-1].problem is not None
    assert outcomes[-1].problem.changed == "nothing"


async def test_an_atomic_batch_that_succeeds_stays() -> None:
    notes: dict[str, str] = {}
    outcomes = await batch(world(notes), "atomic", write("a"), write("b"))
    assert [one.status for one in outcomes] == [Status.DONE, Status.DONE]
    assert notes == {"a": "x", "b": "x"}


async def test_a_call_that_asks_fails_an_atomic_batch() -> None:
    notes: dict[str, str] = {}
    grants = [
        Grant(id="a", effect="allow", subject="*", operations=["notes.write", "undo.apply"]),
        Grant(id="b", effect="ask", subject="*", operations=["notes.burn"]),
    ]
    here = world(notes, grants)
    outcomes = await batch(here, "atomic", write("a"), ("notes.burn", {"name": "a"}))
    assert outcomes[-1].problem is not None
    assert outcomes[-1].problem.slug == "needs-approval"
    assert notes == {}
    assert await here.work.waiting("default") == []


async def test_an_atomic_batch_says_what_it_could_not_take_back() -> None:
    notes: dict[str, str] = {}
    here = world(notes)
    outcomes = await batch(here, "atomic", write("a"), ("notes.greet", {}), ("notes.break_after", {"name": "a"}))
    assert outcomes[-1].problem is not None
    assert outcomes[-1].problem.changed == "partly"
    assert "connection://-/a" in outcomes[-1].problem.partly


async def test_outputs_beyond_the_budget_of_a_batch_come_under_handles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "INLINE_IN_ALL", 1_000)
    reads: list[tuple[str, dict[str, Any]]] = [("notes.read", {"name": "long"})] * 5
    modes: list[Mode] = ["sequential", "parallel", "atomic"]
    for mode in modes:
        here = world({"long": "x" * 400})
        outcomes = await batch(here, mode, *reads)
        inline = [one for one in outcomes if one.output]
        assert len(inline) == 2
        assert all(one.status is Status.DONE for one in outcomes)
        for one in outcomes:
            if not one.output:
                data, _ = await here.blobs.read(ADA, one.handle)
                assert b'"text":"' + b"x" * 400 in data


async def test_what_is_remembered_counts_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "INLINE_IN_ALL", 1_000)
    here = world({"long": "x" * 400})
    calls = [Call("notes.write", {"name": "a", "text": "x" * 400}, key="k")] * 5
    outcomes = await here.kernel.batch(calls, "sequential", True, ADA, "batch")
    assert len({one.invocation for one in outcomes}) == 1
    assert [bool(one.handle) for one in outcomes] == [False, False, True, True, True]


async def test_an_output_that_can_be_stored_nowhere_is_said_to_be_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "INLINE_IN_ALL", 500)
    here = world({"long": "x" * 400})

    async def full(*_: object, **__: object) -> str:
        raise TooLarge("you have used up your share")

    monkeypatch.setattr(here.blobs, "put", full)
    first, second = await batch(here, "sequential", write("a", "x" * 400), write("b", "x" * 400))
    assert first.output
    assert (second.status, second.output, second.handle) == (Status.DONE, b"", "")
    assert "used up your share" in second.document()["output_left_out"]
    assert second.undo is not None
    assert second.undo.possible


async def test_a_batch_has_a_limit() -> None:
    with pytest.raises(InvalidInput):
        await batch(world({}), "sequential", *[write("a")] * (MOST_CALLS + 1))


async def test_each_call_of_a_batch_has_its_record_under_the_batch() -> None:
    here = world({})
    await batch(here, "sequential", write("a"), write("b"))
    parents = {one.parent for one in here.audit.records}
    assert len(parents) == 1
    assert parents != {""}


async def test_what_cannot_be_taken_back_is_refused_in_an_atomic_batch_before_anything_is_done() -> None:
    notes: dict[str, str] = {}
    here = world(notes)
    with pytest.raises(InvalidInput, match="cannot be taken back"):
        await batch(here, "atomic", write("a"), ("notes.shout", {}))
    assert notes == {}

"""Stored forms: what goes in comes out, whatever it is."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from superagent.core.invocation import EffectNote, Outcome, Status, Undo
from superagent.core.problems import Conflict, Fault, Fix, Internal, InvalidInput, Problem, RateLimited, every_problem
from superagent.runtime.stored import pack_held, pack_outcome, place, unknown, unpack_held, unpack_outcome
from superagent.testing import agent, person
from tests.runtime.stores import ALLOWED, held, invocation


class Row:
    """A row as the database would give it."""

    id = "01HELD"
    tenant = "default"
    state = "waiting"
    at = 1.5
    until = 2.5
    approvals_needed = 2
    name, retry_of, schedule = "build", "01BEFORE", None
    started, ended = 1.75, None


def test_an_outcome_comes_back_as_it_was() -> None:
    outcome = Outcome(
        "01A", "files.write", Status.DONE, b'{"bytes": 3}', None,
        (EffectNote("path://local/srv/a", "CHANGE", "b" * 64, None),), Undo(True, 12.5), ALLOWED, "res_x", 0.25,
        {"cost": {"cpu_s": 0.1}},
    )  # fmt: skip
    assert unpack_outcome(pack_outcome(outcome)) == outcome


@pytest.mark.parametrize("kind", [*every_problem()])
def test_a_problem_comes_back_as_one_of_its_kind(kind: type[Problem]) -> None:
    problem = kind(
        "it broke", hint="mend it", changed="partly", partly=["path://local/a"], fix=Fix("files.read", {"path": "/a"}),
        errors=[Fault("$.path", "too long")], retry_after_s=1.5,
    )  # fmt: skip
    back = unpack_outcome(pack_outcome(Outcome("01A", "x.y", Status.FAILED, problem=problem))).problem
    assert back is not None
    assert type(back) is kind
    assert back.document() == problem.document()
    assert back.retry_after_s == 1.5


def test_a_problem_of_a_version_to_come_is_internal() -> None:
    class Strange(InvalidInput):
        """Something new."""

        slug = "strange"

    back = unpack_outcome(pack_outcome(Outcome("01A", "x.y", Status.FAILED, problem=Strange("odd")))).problem
    assert type(back) is Internal
    assert back.detail == "odd"


def test_a_problem_without_a_hint_has_none_after_it_was_stored() -> None:
    back = unpack_outcome(pack_outcome(Outcome("01A", "x.y", Status.FAILED, problem=RateLimited("slow down"))))
    assert back.problem is not None
    assert back.problem.hint is None


@given(output=st.binary(), text=st.text(), number=st.floats(allow_nan=False))
def test_any_bytes_texts_and_numbers_come_back(output: bytes, text: str, number: float) -> None:
    clean = text.encode("utf-8", "replace").decode()
    problem = Conflict(clean, hint=clean, retry_after_s=number)
    outcome = Outcome("01A", clean, Status.FAILED, output, problem, handle=clean, seconds=number, extra={clean: clean})
    back = unpack_outcome(pack_outcome(outcome))
    assert replace(back, problem=None) == replace(outcome, problem=None)
    assert back.problem is not None
    assert back.problem.document() == problem.document()


def test_a_ticket_comes_back_with_its_whole_chain_and_without_its_deadline() -> None:
    ada = person("ada", roles=("owner",), groups=("staff",), second_factor_at=3.5, trusted_local=True)
    asked = replace(
        invocation("01HELD", by=agent("bot", ada, workspace="/w", key="k1"), key="once", reason="because", queued=True),
        deadline=99.0, trace="t", batch="b", parent="p", approvals=1,
    )  # fmt: skip
    one = dataclasses.replace(
        held("01HELD"), invocation=asked, hash="h", decision_digest="d", by=("role:admin",), preview={"a": 1}
    )
    back = unpack_held(pack_held(one), Row, ("eve",))
    assert back.invocation.call == asked.call
    assert back.invocation.principal.stored() == asked.principal.stored()
    assert back.invocation.deadline is None
    assert (back.invocation.trace, back.invocation.batch, back.invocation.parent) == ("t", "b", "p")
    assert (back.hash, back.decision_digest, back.by, back.preview) == ("h", "d", ("role:admin",), {"a": 1})
    assert (back.id, back.state, back.at, back.until) == ("01HELD", Status.WAITING, 1.5, 2.5)
    assert (back.approvals_needed, back.approved_by) == (2, ("eve",))
    assert (back.name, back.retry_of, back.schedule, back.started, back.ended) == ("build", "01BEFORE", "", 1.75, None)


def test_two_places_are_never_the_same_bytes() -> None:
    assert len({place("ab", "c"), place("a", "bc"), place("abc"), place("a", "b", "c")}) == 4


def test_an_unknown_outcome_says_so_and_what_to_do() -> None:
    outcome = unknown("01A", "files.write")
    assert outcome.status is Status.UNKNOWN
    assert outcome.problem is not None
    assert outcome.problem.changed == "unknown"
    assert "undo" in str(outcome.problem.hint)

"""Problems: the closed tree of what can go wrong, as every surface shows it."""

from __future__ import annotations

import pytest

from superagent.core.problems import Conflict, Denied, Fault, Fix, InvalidInput, Problem, RateLimited, every_problem

# the contract's list of slugs and status codes
CONTRACT = {
    "malformed": 400, "unauthenticated": 401, "denied": 403, "needs-approval": 403, "not-found": 404, "conflict": 409,
    "idempotency-mismatch": 409, "cancelled": 409, "too-large": 413, "invalid-input": 422, "locked": 423,
    "step-up-required": 428,
    "rate-limited": 429, "internal": 500, "unavailable": 503, "sandbox-unavailable": 503, "overloaded": 503,
    "audit-unavailable": 503, "deadline": 504,
}  # fmt: skip


def test_the_tree_is_the_contracts_list_in_order_of_status() -> None:
    found = [(kind.slug, kind.status) for kind in every_problem()]
    assert {slug: status for slug, status in found if slug in CONTRACT} == CONTRACT
    assert [status for _, status in found] == sorted(status for _, status in found)
    assert len({slug for slug, _ in found}) == len(found)


@pytest.mark.parametrize("kind", list(every_problem()), ids=lambda kind: kind.slug)
def test_every_problem_says_in_one_sentence_what_it_is(kind: type[Problem]) -> None:
    assert len(kind.title()) > 15
    assert not kind.title().endswith(".")
    document = kind().document()
    assert document["detail"] == document["title"] == kind.title()
    assert (document["type"], document["status"]) == (f"/problems/{kind.slug}", kind.status)


def test_a_problem_says_that_nothing_changed_unless_told_otherwise() -> None:
    assert Conflict().document()["changed"] == "nothing"
    partly = Conflict(changed="partly", partly=["path://local/a"]).document()
    assert (partly["changed"], partly["partly"]) == ("partly", ["path://local/a"])


def test_a_problem_names_the_next_step_of_its_kind_or_its_own() -> None:
    assert "grant" in Denied().document()["hint"]
    assert Denied(hint="ask ann").document()["hint"] == "ask ann"
    assert "hint" not in Denied(hint="").document()
    assert "hint" not in InvalidInput().document()


def test_a_problem_belongs_to_an_invocation() -> None:
    shown = Denied("no").document("01ABC")
    assert (shown["instance"], shown["invocation"]) == ("/v1/invocations/01ABC", "01ABC")
    assert "instance" not in Denied("no").document()


def test_a_problem_carries_its_cure_and_its_faults() -> None:
    shown = InvalidInput(fix=Fix("files.read", {"path": "/a"}), errors=[Fault("$.path", "missing")]).document()
    assert shown["fix"] == {"operation": "files.read", "input": {"path": "/a"}}
    assert shown["errors"] == [{"path": "$.path", "message": "missing"}]


def test_retrying_makes_sense_for_what_passes() -> None:
    assert RateLimited(retry_after_s=0.5).retry_after_s == 0.5
    assert RateLimited().document()["retryable"] is True
    assert Denied().document()["retryable"] is False

"""Budgets: windows by arithmetic, and what is used stays used within one."""

from __future__ import annotations

import pytest

from superagent.core.budgets import Account, Budget, budget_of
from superagent.core.problems import BudgetExceeded


def account(per_s: float | None = 60.0, **most: float) -> Account:
    budget = budget_of({**most, "per_s": per_s})
    assert budget is not None
    return Account("default", "key:k", budget, budget.began(1000.0))


def test_a_budget_is_kept_to_and_says_when_there_is_more() -> None:
    mine = account(calls=2)
    for _ in range(2):
        mine.require_left(1000.0)
        mine.charge("calls", 1.0)

    with pytest.raises(BudgetExceeded) as refused:
        mine.require_left(1000.0)

    assert refused.value.retry_after_s == 20.0  # windows begin at multiples of their length: 960, 1020
    mine.require_left(1020.0)
    assert mine.spent("calls") == 0.0


def test_one_for_ever_never_begins_anew() -> None:
    mine = account(None, money=1.0)
    mine.charge("money", 1.5)
    with pytest.raises(BudgetExceeded) as refused:
        mine.require_left(1e12)
    assert refused.value.retry_after_s is None


def test_what_others_wrote_down_counts() -> None:
    mine = account(cpu_s=10.0)
    mine.stored = {"cpu_s": 9.0}
    mine.charge("cpu_s", 1.0)
    with pytest.raises(BudgetExceeded, match="cpu_s"):
        mine.require_left(1000.0)


def test_nothing_said_is_no_budget() -> None:
    assert budget_of(None) is None
    assert budget_of({"per_s": 60.0}) is None
    assert budget_of({"calls": None}) is None
    assert budget_of({"calls": 3}) == Budget({"calls": 3.0}, None)

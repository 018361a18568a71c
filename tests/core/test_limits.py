"""Limits: rates and slots, as arithmetic on a given time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from superagent.core.limits import LocalBuckets, Rate, Slots, take
from superagent.core.problems import Overloaded

TEN = Rate(per_s=10.0, burst=5)


def test_a_burst_is_taken_at_once_and_then_one_waits_for_the_next_token() -> None:
    buckets = LocalBuckets()
    assert [buckets.take("k", TEN, 100.0) for _ in range(5)] == [0.0] * 5
    assert buckets.take("k", TEN, 100.0) == pytest.approx(0.1)
    assert buckets.take("k", TEN, 100.05) == pytest.approx(0.05)
    assert buckets.take("k", TEN, 100.1) == 0.0


def test_a_refused_try_takes_nothing() -> None:
    tat, wait = take(100.5, TEN, 100.0)
    assert wait > 0
    assert tat == 100.5


def test_keys_do_not_share_tokens() -> None:
    buckets = LocalBuckets()
    assert [buckets.take("a", TEN, 0.0, cost=5), buckets.take("b", TEN, 0.0, cost=5)] == [0.0, 0.0]
    assert buckets.take("a", TEN, 0.0) > 0


def test_a_cost_above_the_burst_never_fits() -> None:
    assert take(0.0, TEN, 1e9, cost=6)[1] == pytest.approx(0.1)


def test_the_key_unused_for_longest_is_forgotten_first() -> None:
    buckets = LocalBuckets(capacity=2)
    for key in ("a", "b"):
        buckets.take(key, TEN, 0.0, cost=5)
    buckets.take("a", TEN, 0.0)  # refused, and used nevertheless
    buckets.take("c", TEN, 0.0)
    assert buckets.take("a", TEN, 0.0) > 0
    assert buckets.take("b", TEN, 0.0) == 0.0


@given(st.lists(st.floats(0, 0.5), max_size=60), st.floats(0.5, 50), st.integers(1, 10))
def test_no_more_passes_than_the_rate_and_one_burst(pauses: list[float], per_s: float, burst: int) -> None:
    rate, tat, now, passed = Rate(per_s, burst), 0.0, 1000.0, 0
    for pause in pauses:
        now += pause
        tat, wait = take(tat, rate, now)
        passed += wait == 0.0
    assert passed <= burst + (now - 1000.0) * per_s + 1e-6


@given(st.floats(0.5, 50), st.integers(1, 10), st.floats(0, 2))
def test_whoever_waits_as_long_as_told_gets_a_token(per_s: float, burst: int, ahead: float) -> None:
    rate, now = Rate(per_s, burst), 1000.0
    tat, wait = take(now + ahead, rate, now)
    assert take(tat, rate, now + wait)[1] == 0.0 or wait == 0.0


def test_one_caller_cannot_take_every_slot() -> None:
    slots = Slots(per_key=2, in_all=3)
    slots.enter("a")
    slots.enter("a")
    with pytest.raises(Overloaded, match="you have too many") as refused:
        slots.enter("a")
    assert refused.value.retry_after_s == 1.0
    slots.enter("b")
    with pytest.raises(Overloaded, match="the platform has too many"):
        slots.enter("c")


def test_a_slot_given_back_can_be_taken_again_by_anybody() -> None:
    slots = Slots(per_key=1, in_all=1)
    slots.enter("a")
    slots.leave("a")
    slots.enter("b")
    slots.leave("b")
    slots.enter("a")


def test_a_caller_with_several_slots_keeps_the_rest_when_one_ends() -> None:
    slots = Slots(per_key=2, in_all=9)
    slots.enter("a")
    slots.enter("a")
    slots.leave("a")
    slots.enter("a")
    with pytest.raises(Overloaded):
        slots.enter("a")


def test_what_is_counted_is_named_with_the_way_out() -> None:
    slots = Slots(per_key=1, in_all=9, what="streams", hint="cancel one of them")
    slots.enter("a")
    for ask in (slots.enter, slots.require_free):
        with pytest.raises(Overloaded, match="you have too many streams under way") as refused:
            ask("a")
        assert refused.value.hint == "cancel one of them"


def test_asking_whether_a_slot_is_free_takes_none() -> None:
    slots = Slots(per_key=1, in_all=1)
    slots.require_free("a")
    slots.require_free("a")
    slots.enter("a")
    with pytest.raises(Overloaded, match="the platform has"):
        slots.require_free("b")

"""Ratios are taken round by round, so that what disturbs a round disturbs both sides of it."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.figures import Sample, median, percentile, ratio, spread


def sample(requests: int, cpu_us: float = 1.0, refused: int = 0, broken: int = 0) -> Sample:
    return Sample(requests, 2.0, cpu_us, cpu_us / 2, 1.0, 2.0, 10.0, refused, broken)


def rps(one: Sample) -> float:
    return one.rps


def test_a_sample_gives_requests_a_second_and_counts_every_kind_of_error() -> None:
    assert sample(500).rps == 250
    assert sample(500, refused=2, broken=3).errors == 5
    assert sample(500).document()["rps"] == 250


def test_a_round_in_which_both_were_slow_changes_no_ratio() -> None:
    rounds = {"ours": [sample(100), sample(1), sample(300)], "nginx": [sample(1000), sample(10), sample(3000)]}
    assert ratio(rounds, "ours", "nginx", rps) == pytest.approx(0.1)
    assert spread(rounds, "ours", "nginx", rps) == pytest.approx((0.1, 0.1))


def test_the_ratio_is_the_median_of_the_rounds_and_not_the_ratio_of_the_medians() -> None:
    rounds = {"ours": [sample(1), sample(4), sample(9)], "nginx": [sample(10), sample(8), sample(9)]}
    assert ratio(rounds, "ours", "nginx", rps) == 0.5
    assert spread(rounds, "ours", "nginx", rps) == pytest.approx((0.1, 1.0))


def test_a_round_without_a_counterpart_gives_no_ratio() -> None:
    assert math.isnan(ratio({"ours": [sample(1)], "nginx": [sample(0)]}, "ours", "nginx", rps))
    assert all(map(math.isnan, spread({"ours": [sample(1)], "nginx": [sample(0)]}, "ours", "nginx", rps)))
    with pytest.raises(ValueError, match="shorter"):
        ratio({"ours": [sample(1), sample(2)], "nginx": [sample(1)]}, "ours", "nginx", rps)


def test_the_median_of_nothing_is_no_number() -> None:
    assert math.isnan(median([]))
    assert median([3, 1, 2]) == 2


def test_percentiles_are_values_that_were_measured() -> None:
    assert math.isnan(percentile([], 0.5))
    assert percentile([5, 1, 4, 2, 3], 0.5) == 3
    assert percentile(list(range(1, 101)), 0.99) == 99


@given(st.lists(st.floats(0, 1e6), min_size=1), st.floats(0, 1))
def test_no_less_than_the_share_lies_at_or_below_a_percentile(values: list[float], share: float) -> None:
    found = percentile(values, share)
    assert found in values
    assert sum(value <= found for value in values) >= share * len(values)

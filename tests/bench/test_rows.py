"""A row knows whether its limit is kept, and how it is read later."""

from __future__ import annotations

import math

import pytest

from bench.rows import Row, nested


@pytest.mark.parametrize(
    ("row", "verdict"),
    [
        (Row("a", 0.08, at_least=0.08), "met"),
        (Row("a", 0.0799, at_least=0.08), "MISSED"),
        (Row("a", 12, at_most=12), "met"),
        (Row("a", 12.01, at_most=12), "MISSED"),
        (Row("a", 3, at_least=1, at_most=2), "MISSED"),
        (Row("a", 0, at_most=0), "met"),
        (Row("a", 5), "not gated"),
    ],
)
def test_a_limit_is_kept_up_to_and_with_its_own_value(row: Row, verdict: str) -> None:
    assert row.verdict == verdict


@pytest.mark.parametrize("row", [Row("a", math.nan, at_least=0), Row("a", math.nan, at_most=9)])
def test_a_figure_that_could_not_be_computed_keeps_no_limit(row: Row) -> None:
    assert row.verdict == "MISSED"


def test_a_limit_is_written_as_people_write_it() -> None:
    assert Row("a", 1, at_least=0.08).limit == "≥ 0.08"
    assert Row("a", 1, at_least=1, at_most=2).limit == "≥ 1 and ≤ 2"
    assert Row("a", 1).limit == ""


def test_a_row_in_json_leaves_out_what_was_not_set() -> None:
    assert Row("a.b", 2.0, "ms").document() == {"name": "a.b", "value": 2.0, "unit": "ms", "verdict": "not gated"}
    assert Row("a", 0, at_most=0, source="x").document()["at_most"] == 0


def test_values_are_found_by_their_dotted_names() -> None:
    assert nested([Row("a.b", 1), Row("a.c.d", 2), Row("e", 3)]) == {"a": {"b": 1, "c": {"d": 2}}, "e": 3}

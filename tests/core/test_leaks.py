"""Leaks: what is a key is taken out of what a call gives, and what only looks like one stays."""

from __future__ import annotations

from superagent.core.leaks import MOST, WITHHELD, without_keys
from superagent.runtime.api_keys import mint


def test_each_key_is_taken_out_and_told_once() -> None:
    one, two = mint(), mint()
    told: list[str] = []

    clean = without_keys(f'{{"a":"{one}","b":"x{two}","c":"{one}."}}'.encode(), told.append)

    assert told == [one, two]
    assert clean == b'{"a":"' + WITHHELD + b'","b":"x' + WITHHELD + b'","c":"' + WITHHELD + b'."}'


def test_what_has_another_checksum_or_another_length_stays() -> None:
    key = mint()
    wrong = key[:-1] + ("a" if key[-1] != "a" else "b")
    for text in (wrong, key + "x", key[:-1], "sak_", ""):
        assert without_keys(text.encode(), lambda _: None) == text.encode()


def test_of_very_many_all_are_taken_out_and_some_are_told() -> None:
    keys = [mint() for _ in range(MOST + 5)]
    told: list[str] = []

    clean = without_keys(" ".join(keys).encode(), told.append)

    assert b"sak_" not in clean
    assert len(told) == MOST

"""The language of tasks: two data files that are read once, and hold what the search expects of them."""

from __future__ import annotations

import re

from bench.searched import PHRASES, tasks
from superagent.runtime.language import language


def test_it_is_read_once() -> None:
    assert language() is language()


def test_each_class_holds_several_words_or_phrases_that_differ() -> None:
    for name, said in language().meanings.items():
        assert re.fullmatch("[a-z_]+", name)
        assert len(said) > 1
        assert len(set(said)) == len(said), name


def test_nobody_asks_for_an_operation_twice_in_the_same_words() -> None:
    for name, said in language().asked.items():
        assert len(set(said)) == len(said), name
        assert all(re.search("[a-z0-9]", one.lower()) for one in said), name


def test_what_is_only_counted_was_not_written_down_for_the_search() -> None:
    known = {one.casefold() for said in language().asked.values() for one in said}
    # two or three words may be the same by chance; the second stranger wrote when the words were all there
    for name, most in (("stranger_held_out", 3), ("sentences", 0), ("stranger_second", 16)):
        same = [said for _, said in tasks(PHRASES / f"{name}.txt") if said.casefold() in known]
        assert len(same) <= most, name

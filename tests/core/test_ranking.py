"""Ranking: words, meanings and slips, the same for everybody who sees the same, and the same in every process."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from superagent.core.ranking import MOST_WORDS
from superagent.core.registry import Registry
from superagent.core.wording import Language
from tests.core.operations import OPERATIONS

LANGUAGE = Language(
    {"delete": ["delete", "erase", "get rid of"], "text": ["note", "memo", "jotting"], "me": ["who am i"]},
    {"self.whoami": ["which account is this", "my user name"], "notes.drop": ["shred a memo"]},
)
REGISTRY = Registry(OPERATIONS.values(), language=lambda: LANGUAGE)


def first(words: str, registry: Registry = REGISTRY) -> str:
    return next((one.name for one in registry.search(words, registry)), "")


def test_what_people_ask_with_finds_an_operation_that_says_none_of_it() -> None:
    assert first("which account is this") == "self.whoami"
    assert first("which account is this", Registry(OPERATIONS.values())) != "self.whoami"


def test_a_word_finds_what_is_said_with_another_of_the_same_meaning() -> None:
    assert first("erase a jotting") == "notes.drop"  # which people ask for with `shred`, and a note is a memo


@pytest.mark.parametrize("words", ["get rid of it, the memo", "get it rid of the memo"])
def test_articles_and_pronouns_do_not_part_a_phrase(words: str) -> None:
    assert first(words) == "notes.drop"


@pytest.mark.parametrize(
    ("slip", "meant"),
    [
        ("sherd", "notes.drop"),
        ("shredd", "notes.drop"),
        ("shret", "notes.drop"),
        ("accont", "self.whoami"),
        ("acounts", "self.whoami"),
    ],
)
def test_one_slip_in_a_word_does_no_harm(slip: str, meant: str) -> None:
    assert first(slip) == meant


@pytest.mark.parametrize("words", ["shredmemo", "SHRED_MEMO", "shred-memo", "shreds memos"])
def test_words_are_found_however_they_are_joined_and_ended(words: str) -> None:
    assert first(words) == "notes.drop"


@pytest.mark.parametrize("words", ["shxxd", "s" * 100_000, "qwxz " * 100_000, "12345"])
def test_nothing_is_made_of_what_nobody_says(words: str) -> None:
    assert first(words) == ""


def test_only_the_first_words_of_a_long_text_are_read() -> None:
    assert first("zz " * (MOST_WORDS - 1) + "shred") == "notes.drop"
    assert first("zz " * MOST_WORDS + "shred") == ""


@given(
    st.sets(st.sampled_from(sorted(OPERATIONS)), min_size=1),
    st.text(alphabet="abcdefghijklmnopqrstuvwxyz ", max_size=40)
    | st.sampled_from(["read a note", "shred the memo", "who am i", "wriet a text", "shredmemo", "fetch a page"]),
)
def test_what_one_may_not_see_neither_changes_the_order_nor_shows_in_it(names: set[str], words: str) -> None:
    visible = [one for name, one in OPERATIONS.items() if name in names]
    assert REGISTRY.search(words, visible) == Registry(visible, language=lambda: LANGUAGE).search(words, visible)


def test_every_process_gives_the_same_order() -> None:
    script = (
        "from tests.core.test_ranking import REGISTRY\n"
        "for words in ('read a note', 'get rid of the memo', 'write txet', 'a page of the web', 'who is it'):\n"
        "    print([one.name for one in REGISTRY.search(words, REGISTRY)])"
    )
    said = {
        subprocess.run(
            [sys.executable, "-c", script],
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
            timeout=60,
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(said) == 1
    assert b"notes.read" in said.pop()

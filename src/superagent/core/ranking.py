"""Ranking: which operations fit what somebody asks for, by BM25F over the features of words (`core.wording`).

S. Robertson, H. Zaragoza: The Probabilistic Relevance Framework: BM25 and Beyond (2009), 3.6. A feature counts the
more, the fewer operations have it (of those the caller may see: others neither help nor tell of themselves), by the
weight of the field it stands in, and less each further time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain
from math import log
from string import ascii_lowercase

from superagent.core.operation import Operation
from superagent.core.wording import Language, spoken, stem

# settings found by leaving out an eighth of `Language.asked` at a time and searching for it: broad, none is sharp
NAME, SUMMARY, REST, ASKED = 2.0, 1.2, 0.5, 0.7
MEANING, PAIR = 1.4, 0.5
_LENGTH, _USUAL = 0.75, 8  # how far a long field's words count less, and how many are usual
_SATURATION = 1.2
FLOOR = 0.25
"""What is left out: whatever fits less than this share of the best."""
MOST_WORDS = 60
"""What is read of a request: nobody asks for one operation in more, and a text of a megabyte would take its time."""
LONGEST = 24
"""How many letters a word may have in which a slip is looked for."""
MOST_LOOKS = 5
"""For how many words of a request: each look costs as much as the search itself."""


class Index:
    """Which operations say what, and how loudly."""

    def __init__(self, operations: Iterable[Operation], language: Language) -> None:
        self._language = language
        self._said: dict[str, dict[str, float]] = {}
        self._spelled: dict[str, list[str]] = {}
        for operation in operations:
            fields = [(spoken(text), weight) for text, weight in _fields(operation, language)]
            for feature, weight in _weighed(fields, language).items():
                self._said.setdefault(feature, {})[operation.name] = weight
            words = {word for words, _ in fields for word in words}
            for word in words | {stem(word) for word in words}:
                self._spelled.setdefault(word, []).append(operation.name)

    def search(self, text: str, among: Iterable[Operation], limit: int) -> list[Operation]:
        """Give the operations that fit best, out of those the caller may see; all of them to a text without words."""
        pool = {one.name: one for one in among}
        words = self._meant(spoken(text[: MOST_WORDS * LONGEST])[:MOST_WORDS], pool)
        if not words:
            return list(pool.values())[:limit]
        scores: dict[str, float] = {}
        for feature in self._language.features(words):
            said = self._said.get(feature)
            if said is None:
                continue
            hits = [(name, weight) for name, weight in said.items() if name in pool]
            rarity = log(1 + (len(pool) - len(hits) + 0.5) / (len(hits) + 0.5))
            worth = rarity * (MEANING if feature[0] == "~" else PAIR if " " in feature else 1)
            for name, weight in hits:
                scores[name] = scores.get(name, 0.0) + worth * weight
        least = FLOOR * max(scores.values(), default=0.0)
        best = sorted((-score, name) for name, score in scores.items() if score >= least)
        return [pool[name] for _, name in best[:limit]]

    def _meant(self, words: list[str], pool: Mapping[str, Operation]) -> list[str]:
        """Give stems; of a word that nobody says here those of what is likely: two words as one, or one with a slip."""
        knows, spelled = self._language.knows, self._spelled

        def known(one: str) -> bool:
            return knows(one) or (one in spelled and not pool.keys().isdisjoint(spelled[one]))

        found: list[str] = []
        looks = MOST_LOOKS
        for word in words:
            strange = 3 < len(word) <= LONGEST and word.isalpha() and not (known(word) or known(stem(word)))
            found += map(stem, _likely(word, known) if strange and looks else [word])
            looks -= strange and looks > 0
        return found


def _fields(operation: Operation, language: Language) -> Iterator[tuple[str, float]]:
    """Give what is known of an operation, and what a word counts there."""
    yield operation.name.replace(".", " "), NAME
    yield operation.summary, SUMMARY
    yield operation.description[len(operation.summary) :], REST
    yield " ".join([*(name for name, _ in operation.shape.names), *(one.title for one in operation.examples)]), REST
    for phrase in language.asked.get(operation.name, ()):
        yield phrase, ASKED


def _weighed(fields: Iterable[tuple[list[str], float]], language: Language) -> dict[str, float]:
    """Give what each feature counts for an operation, from 0 to 1."""
    found: dict[str, float] = {}
    for words, weight in fields:
        long = 1 - _LENGTH + _LENGTH * len(words) / _USUAL
        for feature, times in language.features([stem(word) for word in words]).items():
            found[feature] = found.get(feature, 0.0) + weight * times / long
    return {feature: weight / (_SATURATION + weight) for feature, weight in found.items()}


def _likely(word: str, known: Callable[[str], bool]) -> list[str]:
    slips = ([one] for said in dict.fromkeys((word, stem(word))) for one in _slips(said))
    return next((words for words in chain(_halves(word), slips) if all(map(known, words))), [word])


def _halves(word: str) -> Iterator[list[str]]:
    return ([word[:at], word[at:]] for at in range(3, len(word) - 2))


def _slips(word: str) -> Iterator[str]:
    """Give what a word may have been before one slip: two letters exchanged; in a longer one also another letter."""
    parts = [(word[:at], word[at:]) for at in range(1, len(word) + 1)]
    yield from (head + tail[1] + tail[0] + tail[2:] for head, tail in parts if len(tail) > 1)
    if len(word) > 4:
        yield from (head + tail[1:] for head, tail in parts if tail)
        yield from (head + letter + tail for head, tail in parts for letter in ascii_lowercase)
        yield from (head + letter + tail[1:] for head, tail in parts if tail for letter in ascii_lowercase)

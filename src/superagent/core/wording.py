"""Wording: what a text says, as features that can be compared.

These are its words without their endings, the pairs that stand beside each other, and the meanings behind both, by a
thesaurus of tasks (`Language`). What says nothing is left out.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from itertools import pairwise

_WORD = re.compile(r"[a-z0-9]+")
_ARTICLES = "a an the this that these those it me him her them us my your his their our"
_SILENT = f"""
    {_ARTICLES} of in on at to for from by with and or is are was be been its i you we what how do does did can could
    would should will shall may there here some any as so than then if when where into onto about please want need has
    have had let just also very all each every yet which who mine am one out up s t m d ll ve re im
"""
_IRREGULAR = """
    ran:run began:begin begun:begin wrote:write written:write found:find took:take taken:take gave:give given:give
    sent:send built:build lost:lose stole:steal stolen:steal forgot:forget forgotten:forget broke:break broken:break
    made:make went:go gone:go kept:keep left:leave saw:see seen:see said:say told:tell chose:choose chosen:choose
    brought:bring thought:think hid:hide hidden:hide froze:freeze frozen:freeze shown:show known:know grew:grow
    grown:grow undid:undo undone:undo spent:spend held:hold lent:lend paid:pay hung:hang stuck:stick children:child
    indices:index
"""


@dataclass(frozen=True)
class Language:
    """What is known of tasks beside the operations.

    `meanings` names classes of words and phrases that go for one thing; `asked` says how people ask for an operation.
    """

    meanings: Mapping[str, Sequence[str]] = field(default_factory=dict[str, Sequence[str]])
    asked: Mapping[str, Sequence[str]] = field(default_factory=dict[str, Sequence[str]])

    def features(self, words: Sequence[str]) -> dict[str, int]:
        """Count what words say: `stem`, `stem stem` for neighbours, and `~meaning`."""
        found = Counter([word for word in words if word not in _silent()] or words)
        near = [word for word in words if word not in _articles()]
        for pair in pairwise(near):
            if not _silent().issuperset(pair):
                found[" ".join(pair)] = 1
        for at, word in enumerate(near):
            for phrase, meanings in self._phrases.get(word, ()):
                if len(phrase) == 1 or tuple(near[at : at + len(phrase)]) == phrase:
                    for meaning in meanings:
                        found[meaning] = 1
        return found

    def knows(self, word: str) -> bool:
        """Tell whether a word, or one of this stem, is in a class."""
        return word in self._words

    @cached_property
    def _words(self) -> frozenset[str]:
        words = {word for said in self.meanings.values() for one in said for word in spoken(one)}
        return frozenset(words | {stem(word) for word in words})

    @cached_property
    def _phrases(self) -> dict[str, list[tuple[tuple[str, ...], list[str]]]]:
        """Give what phrases mean, by their first word."""
        meant: dict[tuple[str, ...], list[str]] = {}
        for meaning, said in self.meanings.items():
            for one in said:
                phrase = tuple(word for word in words_of(one) if word not in _articles()) or tuple(words_of(one))
                meant.setdefault(phrase, []).append(f"~{meaning}")
        found: dict[str, list[tuple[tuple[str, ...], list[str]]]] = {}
        for phrase, meanings in meant.items():
            found.setdefault(phrase[0], []).append((phrase, meanings))
        return found


def spoken(text: str) -> list[str]:
    """Give the words of a text as they stand there, in small letters."""
    return _WORD.findall(text.lower().replace("_", " ").replace("'", ""))


def words_of(text: str) -> list[str]:
    """Give the words of a text without their endings, in order."""
    return [stem(word) for word in spoken(text)]


@lru_cache(16_384)
def stem(word: str) -> str:
    """Cut a word's ending, so that `delete`, `deletes`, `deleted` and `deleting` are one."""
    word = _irregular().get(word, word)
    if len(word) > 4 and word.endswith("ies"):
        word = word[:-3] + "y"
    elif len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")):
        word = word[:-1]
    elif len(word) > 5 and word.endswith(("sion", "tion")):
        word = word[:-3]
    for ending in ("ing", "ed"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            word = word[: -len(ending)]
            if len(word) > 3 and word[-1] == word[-2] and word[-1] not in "ls":
                word = word[:-1]
            break
    return word[:-1] if len(word) > 4 and word.endswith("e") else word


@lru_cache(1)
def _irregular() -> dict[str, str]:
    return {said: plain for said, _, plain in (one.partition(":") for one in _IRREGULAR.split())}


@lru_cache(1)
def _silent() -> frozenset[str]:
    return frozenset(stem(word) for word in _SILENT.split())


@lru_cache(1)
def _articles() -> frozenset[str]:
    return frozenset(stem(word) for word in _ARTICLES.split())

"""Patterns: `*` stands for any text within one part of a name, `**` for any parts; no regular expression is involved.

A text is cut at its stars into pieces that must follow one another, a path at each `**` into runs of parts that must.
The first place where the next piece fits is always a right one, so nothing is ever tried twice and a pattern cannot be
made slow (R. Cox, "Glob Matching Can Be Simple And Fast Too", 2017).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache

from superagent.core.resources import beneath, host_name

_HOST = re.compile(r"(?P<name>\[[^\]]*\]|[^:\[\]]+)(?::(?P<port>\*|[0-9]{1,5}))?")
_PLACEHOLDERS = ("{workspace}", "{roots}")


class Text:
    """A text in which `*` stands for any characters, none included."""

    __slots__ = ("_head", "_least", "_middle", "_tail", "literal", "pieces")

    def __init__(self, *pieces: str) -> None:
        self.pieces = pieces
        self.literal = len(pieces) == 1
        self._head, self._tail, self._middle = pieces[0], pieces[-1], [piece for piece in pieces[1:-1] if piece]
        self._least = sum(map(len, pieces))

    @classmethod
    def of(cls, source: str) -> Text:
        """Read a pattern."""
        return cls(*source.split("*"))

    def match(self, text: str) -> bool:
        """Tell whether the whole text fits."""
        if self.literal:
            return text == self._head
        if len(text) < self._least or not (text.startswith(self._head) and text.endswith(self._tail)):
            return False
        at, end = len(self._head), len(text) - len(self._tail)
        for piece in self._middle:
            found = text.find(piece, at, end)
            if found < 0:
                return False
            at = found + len(piece)
        return True


class Wild:
    """A text in which `?` also stands for one character: for searches, never for grants."""

    __slots__ = ("_regex",)

    literal = False

    def __init__(self, source: str) -> None:
        head, *rest = [re.escape(piece).replace(r"\?", ".") for piece in source.split("*")]
        # an atomic group keeps the first place where its piece fits, so nothing is tried twice here either
        groups = [f"(?>.*?{piece})" for piece in rest[:-1]] + [f".*{piece}" for piece in rest[-1:]]
        self._regex = re.compile(head + "".join(groups), re.DOTALL)

    def match(self, text: str) -> bool:
        """Tell whether the whole text fits."""
        return self._regex.fullmatch(text) is not None


class PathPattern:
    """A pattern of slash-separated parts; `**` (here None) stands for any number of them, none included.

    So `/srv/**` covers `/srv` itself. `anchor` is the deepest literal place that every match is or lies in, `root` the
    deepest folder that every match lies in, `tree` whether all of the anchor is covered.
    """

    __slots__ = ("anchor", "root", "runs", "tree")

    def __init__(self, parts: Sequence[Text | Wild | None]) -> None:
        runs: list[list[Text | Wild]] = [[]]
        for part in parts:
            if part is None:
                runs.append([])
            else:
                runs[-1].append(part)
        self.runs = tuple(tuple(run) for run in runs)
        fixed = [*_literals(self.runs[0])]
        self.anchor = "/" + "/".join(fixed)
        exact = len(runs) == 1 and len(fixed) == len(runs[0])
        self.root = "/" + "/".join(fixed[:-1]) if exact else self.anchor
        self.tree = len(runs) == 2 and not runs[1] and len(fixed) == len(runs[0])

    def match(self, path: str) -> bool:
        """Tell whether a path fits."""
        if self.tree:
            return beneath(path, self.anchor)
        parts = path.lstrip("/").split("/")
        if "" in parts:
            parts = [part for part in parts if part]
        first, last = self.runs[0], self.runs[-1]
        if len(self.runs) == 1:
            return len(parts) == len(first) and _fits(first, parts, 0)
        at, end = len(first), len(parts) - len(last)
        if at > end or not _fits(first, parts, 0) or (last and not _fits(last, parts, end)):
            return False
        for run in self.runs[1:-1]:
            found = next((place for place in range(at, end - len(run) + 1) if _fits(run, parts, place)), -1)
            if found < 0:
                return False
            at = found + len(run)
        return True


class HostPattern:
    """A pattern of `name[:port]`; `*` in the name crosses dots, and without a port every port is meant.

    `*.example.org` covers deeper names as well: a wildcard certificate does not, but a rule for outgoing calls is read
    so. `anchor` is the domain that every match is or lies in, empty where the end of the name is not literal.
    """

    __slots__ = ("anchor", "name", "port", "source")

    def __init__(self, source: str) -> None:
        found = _HOST.fullmatch(source)
        if not found or (found["port"] not in (None, "*") and not 0 < int(found["port"]) < 65536):
            raise ValueError(
                "a host pattern is `name`, `name:port` or `[IPv6]:port`; `*` stands for any text in the name"
            )
        name = host_name(found["name"], stars=True)
        self.name = Text.of(name)
        self.port = None if found["port"] in (None, "*") else str(int(found["port"]))
        self.source = name if self.port is None else f"{name}:{self.port}"
        # behind a star the first label may be the end of a longer one
        self.anchor = name if self.name.literal else self.name.pieces[-1].partition(".")[2]

    def match(self, value: str) -> bool:
        """Tell whether a canonical `host:port` fits."""
        name, _, port = value.rpartition(":")
        return self.port in (None, port) and self.name.match(name)


@lru_cache(16_384)
def path_patterns(source: str, workspace: str, roots: tuple[str, ...]) -> tuple[PathPattern, ...]:
    """Read the path pattern of a grant; `{workspace}` and `{roots}` stand for the caller's folder and the tenant's.

    A placeholder that stands for nothing gives no pattern, so that it covers nothing. The folders are taken as they
    are: a star in the name of one is a star.
    """
    places, rest = [""], source
    for placeholder, folders in zip(_PLACEHOLDERS, ([workspace] if workspace else [], roots), strict=True):
        if source.startswith(placeholder):
            places, rest = list(folders), source.removeprefix(placeholder)
    parts = [None if part == "**" else Text.of(part) for part in rest.split("/") if part]
    return tuple(PathPattern([*(Text(part) for part in place.split("/") if part), *parts]) for place in places)


def glob_of(source: str) -> PathPattern:
    """Read a search pattern such as `src/**/*.py`; besides the wildcards of grants it knows `?` for one character."""
    parts = [part for part in source.split("/") if part]
    return PathPattern([None if part == "**" else Wild(part) if "?" in part else Text.of(part) for part in parts])


def _literals(run: Sequence[Text | Wild]) -> Iterator[str]:
    for part in run:
        if not isinstance(part, Text) or not part.literal:
            return
        yield part.pieces[0]


def _fits(run: Sequence[Text | Wild], parts: Sequence[str], at: int) -> bool:
    for pattern in run:
        if not pattern.match(parts[at]):
            return False
        at += 1
    return True

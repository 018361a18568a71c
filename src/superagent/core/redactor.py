"""Redactor: takes the values that one call knows out of everything the call gives, however they are spelled.

It is a net below the real protection, which is that agents never hold a value: who is given one can always write it in
a way that nothing recognises, and whoever may use one that is easy to guess can try guesses until one disappears.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any, cast

import msgspec
import re2

from superagent.core.principal import Secret
from superagent.core.problems import Fault, Fix, Problem, TooLarge
from superagent.core.spellings import SHORTEST, Piece, Spelling, spellings, values_of

MOST_VALUES = 300
"""How many values, lines of longer ones included, are looked for at once."""

WITHHELD = b"[withheld: too much of this looks like a secret]"

_HEAD = SHORTEST  # so many pieces are looked for by RE2, the rest is compared from there
_SPARE = 500_000  # pieces that may be compared in vain, beside one for every eight bytes
_SURE = 256
_BEGINS_OTHERS = frozenset({b"%", b"&", b"\\", b"\\\\", b"\\\\\\\\"})  # all other ways exclude each other

_engine: Any = re2
_as_bytes: Any = _engine.Options()
_as_bytes.encoding = _as_bytes.Encoding.LATIN1
_as_bytes.max_mem = 64 * 1024 * 1024

present: ContextVar[Redactor | None] = ContextVar("present", default=None)
"""The redactor of the call under way; None for the calls that hold no secrets, which are nearly all."""


class Redactor:
    """Know the secret values of one call, and replace each by `[secret NAME]`; without values nothing changes."""

    __slots__ = ("_first", "_heads", "_known", "_longest_head", "_spelled", "spare")

    def __init__(self) -> None:
        self._known: set[str] = set()
        self._spelled: list[tuple[Spelling, bytes]] = []
        self._first: dict[int, list[tuple[Spelling, bytes]]] = {}
        self._heads: Any = None
        self._longest_head = 0
        self.spare = _SPARE

    def __bool__(self) -> bool:
        return bool(self._known)

    def add(self, name: str, value: Secret) -> None:
        """Look for a value from now on. Raises `TooLarge` for more values than can be looked for at once."""
        fresh = [one for one in values_of(value.reveal()) if one not in self._known]
        if len(self._known) + len(fresh) > MOST_VALUES:
            raise TooLarge("this call uses more secrets than can be kept out of its outputs", hint="use fewer at once")
        self._known.update(fresh)
        self._spelled += [(made, f"[secret {name}]".encode()) for one in fresh for made in spellings(one)]
        self._heads = None

    def stream(self, fill: bytes = b"") -> RedactingStream:
        """Give what redacts bytes as they come, over the borders of chunks; with `fill`, each byte by this one."""
        return RedactingStream(self, fill)

    def clean(self, data: bytes) -> bytes:
        """Give whole data without the values."""
        stream = RedactingStream(self)
        return stream.feed(data) + stream.close()

    def text(self, text: str) -> str:
        """Give a whole text without the values."""
        data = text.encode("utf-8", "surrogatepass")
        clean = self.clean(data)
        return text if clean == data else clean.decode("utf-8", "replace")

    def document(self, data: bytes) -> bytes:
        """Give JSON text without the values: every name, text and number in it is looked at, and it stays JSON."""
        if not self or (b"\\u" not in data and self.clean(data) == data):
            return data
        return msgspec.json.encode(self.plain(msgspec.json.decode(data)))

    def plain(self, value: Any) -> Any:
        """Give the same plain data without the values; a number that shows one becomes a text."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            entries = cast("dict[Any, Any]", value)
            return {self.plain(key): self.plain(one) for key, one in entries.items()}
        if isinstance(value, list | tuple):
            return [self.plain(one) for one in cast("list[Any]", value)]
        if isinstance(value, int | float) and not isinstance(value, bool):
            shown = self.text(str(value))
            return value if shown == str(value) else shown
        return value

    def problem(self, problem: Problem) -> None:
        """Take the values out of a problem's texts."""
        problem.detail = self.text(problem.detail)
        problem.args = (problem.detail,)
        problem.hint = None if problem.hint is None else self.text(problem.hint)
        problem.partly = tuple(map(self.text, problem.partly))
        problem.errors = tuple(Fault(self.text(one.path), self.text(one.message)) for one in problem.errors)
        problem.fix = problem.fix and Fix(problem.fix.operation, self.plain(problem.fix.input))

    def fault(self, fault: BaseException) -> BaseException:
        """Give an exception that can be logged: where it was raised, without its words, which may show part of a value.

        Libraries shorten what they quote, and what was shortened is not recognised any more.
        """
        return _wordless(fault, 8) if self else fault

    # ---- for streams

    def begin(self, data: bytes, at: int) -> int:
        """Give the next place at which a value, or what the end of the data may have cut off of one, could begin."""
        heads = self._heads or self._prepare()
        tail = max(at, len(data) - self._longest_head)
        found = heads.search(data, at) if at < tail else None
        if found and found.start() < tail:
            return cast(int, found.start())
        return next((place for place in range(tail, len(data)) if data[place] in self._first), len(data))

    def look(self, data: bytes, at: int, *, whole: bool) -> tuple[int, bytes, bool]:
        """Look whether a value stands at a place: (its end or 0, what replaces it, could it still become one?).

        `whole` says that no more data comes: half of a value at the very end counts as one then.
        """
        end, name, open = 0, b"", False
        for spelling, replacement in self._first.get(data[at], ()):
            reached, passed, cut = _follow(spelling, data, at)
            if cut and whole and not reached and passed >= max(_HEAD, spelling.length // 2):
                reached = len(data)
            if reached > end:
                end, name = reached, replacement
            elif not reached and cut:
                open = True
            elif not reached:
                self.spare -= max(0, passed - _HEAD)
        return end, name, open

    def _prepare(self) -> Any:
        heads = [[spelling.piece(at) for at in range(_HEAD)] for spelling, _ in self._spelled]
        self._first = {}
        for head, one in zip(heads, self._spelled, strict=True):
            for byte in {way[0] for way in head[0]}:
                self._first.setdefault(byte, []).append(one)
        self._heads = _engine.compile(b"|".join(map(_expression, heads)), _as_bytes)
        self._longest_head = max(sum(max(map(len, piece)) for piece in head) for head in heads)
        return self._heads


class RedactingStream:
    """Redact bytes as they come; what may be the beginning of a value is held back until it is known to be none."""

    __slots__ = ("_fill", "_held", "_over", "_redactor", "_wanted")

    def __init__(self, redactor: Redactor, fill: bytes = b"") -> None:
        self._redactor = redactor
        self._fill = fill
        self._held = b""
        self._wanted = 0
        self._over = False

    @property
    def held(self) -> bytes:
        """Give what is held back at the moment: nobody else may be shown it."""
        return self._held

    def feed(self, chunk: bytes) -> bytes:
        """Give what can be shown of the data so far."""
        if not self._redactor:
            return chunk
        self._redactor.spare += len(chunk) // 8
        self._held += chunk
        return b"" if len(self._held) < self._wanted else self._pass(whole=False)

    def close(self) -> bytes:
        """Give the rest: no more comes."""
        return self._pass(whole=True)

    def _pass(self, *, whole: bool) -> bytes:
        redactor, data, at = self._redactor, self._held, 0
        shown: list[bytes] = []
        self._held, self._wanted = b"", 0
        start = redactor.begin(data, 0) if data and not self._over else len(data)
        while start < len(data):
            end, name, open = redactor.look(data, start, whole=whole)
            if redactor.spare < 0:
                self._over = True  # somebody writes what nearly is a value, over and over: it must not take for ever
                return b"".join([*shown, data[at:start], WITHHELD])
            if open and not whole:
                self._held, data = data[start:], data[:start]
                # so much looks like a value that it is one: no need to look again at each byte of the rest
                self._wanted = len(self._held) * 9 // 8 if len(self._held) > _SURE else 0
                break
            if end:
                shown += data[at:start], self._fill * (end - start) or name
                at = end
            start = redactor.begin(data, end or start + 1)
        return b"" if self._over else b"".join([*shown, data[at:]])


def cleaned(data: bytes) -> bytes:
    """Give JSON text without the secret values of the call under way."""
    redactor = present.get()
    return data if redactor is None else redactor.document(data)


def loggable(fault: BaseException) -> BaseException:
    """Give an exception of the call under way as it may be logged."""
    redactor = present.get()
    return fault if redactor is None else redactor.fault(fault)


def _follow(spelling: Spelling, data: bytes, at: int) -> tuple[int, int, bool]:
    """Compare a spelling with data at a place: (its furthest end or 0, pieces that fit, did the data end first?)."""
    ends, size, cut = [at], len(data), False
    for passed in range(spelling.length):
        piece = spelling.piece(passed)
        reached: list[int] = []
        for end in ends:
            for way in piece:
                if data.startswith(way, end):
                    reached.append(end + len(way))
                    if way not in _BEGINS_OTHERS:
                        break
                elif len(way) > size - end and way.startswith(data[end:]):
                    cut = True
        if not reached:
            return 0, passed, cut
        ends = reached if len(reached) == 1 else list(set(reached))
    return max(ends), spelling.length, cut


def _expression(head: list[Piece]) -> bytes:
    ways = ([_engine.escape(way) for way in piece] for piece in head)
    return b"".join(b"(?:" + b"|".join(one) + b")" for one in ways)


def _wordless(fault: BaseException, most: int) -> BaseException:
    made = RuntimeError(f"{type(fault).__qualname__}: what it says is left out, because the call held secrets")
    made.__traceback__ = fault.__traceback__
    before = fault.__cause__ or (None if fault.__suppress_context__ else fault.__context__)
    if before is not None and most > 0:
        made.__cause__ = _wordless(before, most - 1)
    return made

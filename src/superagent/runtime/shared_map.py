"""The shared map: epochs and token buckets that all workers of a host see in the same memory."""

from __future__ import annotations

import hashlib
import mmap
import os
import secrets
import struct
from collections.abc import Callable
from fcntl import F_OFD_SETLK, F_OFD_SETLKW, F_UNLCK, F_WRLCK, fcntl
from functools import lru_cache
from pathlib import Path

from superagent.core.limits import Rate, take
from superagent.core.problems import Unavailable
from superagent.runtime.key_files import create_or_read
from superagent.runtime.presence import byte_lock

_MAGIC = b"superagent map 1"
_SECRET = slice(16, 32)
_FIRST_EPOCH = 4  # in words of 8 bytes; a page is kept for what comes before the buckets
_CELLS_AT = 4096 // 8
_SETS, _WAYS = 8192, 8
_SIZE = 4096 + _SETS * _WAYS * 16
_STRIPES = 64
_LOCKS = [byte_lock(F_WRLCK, at) for at in range(_STRIPES + 1)]  # the last one is for the epochs
_FREES = [byte_lock(F_UNLCK, at) for at in range(_STRIPES + 1)]


class Epoch:
    """A counter that only grows and that every process sees at once."""

    __slots__ = ("_at", "_file", "_tell", "_words")

    def __init__(self, words: memoryview[int], at: int, file: int, tell: Callable[[], None] | None = None) -> None:
        self._words = words
        self._at = at
        self._file = file
        self._tell = tell

    def telling(self, tell: Callable[[], None]) -> Epoch:
        """Give this same counter, for somebody whose changes are to be told further."""
        return Epoch(self._words, self._at, self._file, tell)

    def read(self) -> int:
        """Give the present value."""
        return self._words[self._at]

    def bump(self) -> int:
        """Raise it by one and give the new value."""
        fcntl(self._file, F_OFD_SETLKW, _LOCKS[_STRIPES])
        try:
            self._words[self._at] += 1
            value = self._words[self._at]
        finally:
            fcntl(self._file, F_OFD_SETLK, _FREES[_STRIPES])
        if self._tell is not None:
            self._tell()
        return value


class SharedMap:
    """Memory in a file: epochs of policy, identity, taint, connections; buckets by the generic cell rate algorithm.

    A bucket is 16 bytes (a keyed digest of its key, its theoretical arrival time) in one of 8,192 sets of 8. When a set
    is full, the bucket that has been idle longest is forgotten; an idle one is full, so nothing is lost by that. Byte
    locks on the file keep processes apart; within a process only one thread, the loop's, may take.
    """

    def __init__(self, path: Path) -> None:
        head = create_or_read(path, lambda: (_MAGIC + secrets.token_bytes(16)).ljust(_SIZE, b"\0"))
        self._file = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        if os.fstat(self._file).st_size != _SIZE or not head.startswith(_MAGIC):
            os.close(self._file)
            raise Unavailable(
                f"`{path.name}` is not of this version",
                hint="stop every process of this installation, remove that file, start again",
            )
        self._secret = head[_SECRET]
        self._memory = mmap.mmap(self._file, _SIZE)
        self._words = memoryview(self._memory).cast("Q")
        self.policy = Epoch(self._words, _FIRST_EPOCH, self._file)
        self.identity = Epoch(self._words, _FIRST_EPOCH + 1, self._file)
        self.taint = Epoch(self._words, _FIRST_EPOCH + 2, self._file)
        self.connections = Epoch(self._words, _FIRST_EPOCH + 3, self._file)
        self._times = memoryview(self._memory).cast("d")
        self._place = lru_cache(maxsize=8192)(self._place_of)

    def take(self, key: str, rate: Rate, now: float, cost: int = 1) -> float:
        """Take tokens, or say how many seconds to wait; 0.0 when they were taken. `now` in epoch seconds."""
        first, tag = self._place(key)
        stripe = first // (2 * _WAYS) % _STRIPES
        fcntl(self._file, F_OFD_SETLKW, _LOCKS[stripe])
        try:
            cell = first if self._words[first] == tag else self._cell(first, tag)
            known = self._times[cell + 1] if self._words[cell] == tag else 0.0
            # no bucket is ever emptier than empty: a clock that was ahead once must not block a caller for ever
            tat, wait = take(min(known, now + rate.burst / rate.per_s), rate, now, cost)
            self._words[cell] = tag
            self._times[cell + 1] = tat
        finally:
            fcntl(self._file, F_OFD_SETLK, _FREES[stripe])
        return wait

    def _cell(self, first: int, tag: int) -> int:
        """Give the cell of a key in its set, else the one that has been idle longest."""
        words, times = self._words, self._times
        oldest, at = first, float("inf")
        for cell in range(first, first + 2 * _WAYS, 2):
            if words[cell] == tag:
                return cell
            if times[cell + 1] < at:
                oldest, at = cell, times[cell + 1]
        return oldest

    def _place_of(self, key: str) -> tuple[int, int]:
        """Give where the set of a key begins, and the key's tag; keyed, so that nobody can choose to share a set."""
        digest = hashlib.blake2b(key.encode("utf-8", "surrogateescape"), digest_size=16, key=self._secret).digest()
        number, tag = struct.unpack("QQ", digest)
        return _CELLS_AT + number % _SETS * _WAYS * 2, tag or 1

    def close(self) -> None:
        """Let go of the memory."""
        self._words.release()
        self._times.release()
        self._memory.close()
        os.close(self._file)

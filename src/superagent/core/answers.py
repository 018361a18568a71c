"""Answers: what the outputs of one batch may take in memory together; the rest goes under result handles."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from msgspec.structs import replace

from superagent.core.invocation import Outcome
from superagent.core.ports import Blobs
from superagent.core.principal import Principal
from superagent.core.problems import Problem

INLINE_IN_ALL = 16 * 1024 * 1024


class Room:
    """What answers that wait to be sent take in memory: of one caller so many bytes, and of all together."""

    def __init__(self, each: int = INLINE_IN_ALL, in_all: int = 8 * INLINE_IN_ALL) -> None:
        self._each = each
        self._in_all = in_all
        self._taken: dict[str, int] = {}
        self._sum = 0

    def take(self, holder: str, size: int) -> bool:
        """Take room for so many bytes; False when there is not so much."""
        mine = self._taken.get(holder, 0)
        if mine + size > self._each or self._sum + size > self._in_all:
            return False
        self._taken[holder] = mine + size
        self._sum += size
        return True

    def give(self, holder: str, size: int) -> None:
        """Give room back once something was sent."""
        taken = self._taken.get(holder, 0)
        self._sum -= min(size, taken)
        left = taken - size
        if left > 0:
            self._taken[holder] = left
        else:
            self._taken.pop(holder, None)


class Answers:
    """The outputs of one batch, whole up to 16 MiB in all, in the order in which they come.

    Given a `room`, outputs take it until whoever sends them gives it back, and there is no other measure.
    """

    def __init__(self, blobs: Blobs, principal: Principal, room: Room | None = None) -> None:
        self._blobs = blobs
        self._principal = principal
        self._left = INLINE_IN_ALL
        self._room = room

    async def take(self, outcome: Outcome) -> Outcome:
        """Give an outcome as it is to be sent: one whose output does not fit any more has a handle instead.

        Where not even that can be stored, what happened stands and `output_left_out` says why its output is not there.
        """
        return outcome if self.fits(outcome) else await self.apart(outcome)

    async def apart(self, outcome: Outcome) -> Outcome:
        """Give an outcome without its output, which does not fit."""
        try:
            handle = await self._blobs.put(self._principal, _once(outcome.output), what="result")
        except Problem as problem:
            why = f"the outputs of this request take more than {INLINE_IN_ALL} bytes, and {problem.detail}"
            return replace(outcome, output=b"", extra=outcome.extra | {"output_left_out": why})
        return replace(outcome, output=b"", handle=handle)

    def fits(self, outcome: Outcome) -> bool:
        """Tell whether the output of an outcome fits, and count it then."""
        size = len(outcome.output)
        if self._room is not None:
            return self._room.take(self._principal.bucket, size)
        fits = size <= self._left
        self._left -= size if fits else 0
        return fits


async def _once(data: bytes) -> AsyncGenerator[bytes]:
    yield data

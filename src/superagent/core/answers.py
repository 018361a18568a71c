"""Answers: what the outputs of one batch may take in memory together; the rest goes under result handles."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from msgspec.structs import replace

from superagent.core.invocation import Outcome
from superagent.core.ports import Blobs
from superagent.core.principal import Principal
from superagent.core.problems import Problem

INLINE_IN_ALL = 16 * 1024 * 1024


class Answers:
    """The outputs of one batch, whole up to 16 MiB in all, in the order in which they come."""

    def __init__(self, blobs: Blobs, principal: Principal) -> None:
        self._blobs = blobs
        self._principal = principal
        self._left = INLINE_IN_ALL

    async def take(self, outcome: Outcome) -> Outcome:
        """Give an outcome as it is to be sent: one whose output does not fit any more has a handle instead.

        Where not even that can be stored, what happened stands and `output_left_out` says why its output is not there.
        """
        if len(outcome.output) <= self._left:
            self._left -= len(outcome.output)
            return outcome
        who = self._principal
        try:
            handle = await self._blobs.put(
                who.tenant, who.id, _once(outcome.output), what="result", shares=who.shares, account=who.account
            )
        except Problem as problem:
            why = f"the outputs of this batch take more than {INLINE_IN_ALL} bytes, and {problem.detail}"
            return replace(outcome, output=b"", extra=outcome.extra | {"output_left_out": why})
        return replace(outcome, output=b"", handle=handle)


async def _once(data: bytes) -> AsyncGenerator[bytes]:
    yield data

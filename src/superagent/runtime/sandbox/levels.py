"""Levels: the back ends of this machine, what probing them has shown, and which one a command gets."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from superagent.core.grants import ISOLATION, IsolationLevel
from superagent.core.problems import SandboxUnavailable
from superagent.runtime.sandbox.backend import Backend, Part, Probe

AGAIN_S = 600.0
SOON_S = 5.0


class Levels:
    """The back ends, the weakest of which that is strong enough and works is taken; none below `minimum` ever is.

    What shares the host's namespaces comes last, however weak it is enough to be: it is for hosts without them, where
    the settings say so.

    Each is probed when it is first needed and again every ten minutes; one that did not work is tried again after a few
    seconds, since its cure may have been applied.
    """

    def __init__(self, backends: Sequence[Backend], minimum: IsolationLevel, monotonic: Callable[[], float]) -> None:
        self._backends = sorted(
            backends, key=lambda one: (ISOLATION[one.level] < ISOLATION["native"], ISOLATION[one.level])
        )
        self._minimum: IsolationLevel = minimum
        self._monotonic = monotonic
        self._probed: dict[str, tuple[Probe, float]] = {}
        self._probing = {one.name: asyncio.Lock() for one in self._backends}
        self._testing: dict[str, asyncio.Task[Probe]] = {}

    @property
    def minimum(self) -> IsolationLevel:
        """Give the level below which nothing runs here."""
        return self._minimum

    def expected(self) -> int:
        """Give the level at which a command would run now, as a number, without waiting for a probe.

        What was not probed yet counts as working: whoever relies on it is refused later if it does not.
        """
        for one in self._backends:
            probe = self._probed.get(one.name)
            if ISOLATION[one.level] >= ISOLATION[self._minimum] and (probe is None or probe[0].works):
                return ISOLATION[one.level]
        return 0

    async def backend(self, level: int) -> Backend:
        """Give the first back end that works and has at least this level. Raises `SandboxUnavailable`."""
        least = max(level, ISOLATION[self._minimum])
        failed: list[Probe] = []
        for one in self._backends:
            if ISOLATION[one.level] >= least:
                probe = await self.probe(one)
                if probe.works:
                    return one
                failed.append(probe)
        raise unavailable(least, failed)

    async def probe(self, backend: Backend) -> Probe:
        """Give what a probe of a back end has shown, a fresh one where that is too old."""
        async with self._probing[backend.name]:
            known = self._probed.get(backend.name)
            now = self._monotonic()
            if known is None or now - known[1] > (AGAIN_S if known[0].works else SOON_S):
                known = self._probed[backend.name] = (await backend.probe(), self._monotonic())
        return known[0]

    async def probes(self) -> list[Probe]:
        """Give what is known of every back end."""
        return [await self.probe(one) for one in self._backends]

    async def tested(self, level: IsolationLevel = "none") -> list[Probe]:
        """Probe every back end of at least this level anew, and give what that has shown; from now on it counts.

        What was seen in the last 5 s serves everybody who asks, and so does what is being looked at: it goes on when
        whoever asked has gone, and commands that start meanwhile do not wait for it.
        Raises `SandboxUnavailable` when there is no such back end.
        """
        chosen = [one for one in self._backends if ISOLATION[one.level] >= ISOLATION[level]]
        if not chosen:
            raise unavailable(ISOLATION[level], [])
        return [await self._tested(one) for one in chosen]  # one by one: each fills memory for a moment

    async def close(self) -> None:
        """End the tests that are still under way."""
        for one in self._testing.values():
            one.cancel()
        await asyncio.gather(*self._testing.values(), return_exceptions=True)

    async def _tested(self, backend: Backend) -> Probe:
        known = self._probed.get(backend.name)
        if known is not None and self._monotonic() - known[1] <= SOON_S:
            return known[0]
        task = self._testing.get(backend.name)
        if task is None or task.done():
            task = self._testing[backend.name] = asyncio.create_task(self._anew(backend))
        return await asyncio.shield(task)

    async def _anew(self, backend: Backend) -> Probe:
        probe = await backend.probe()
        self._probed[backend.name] = probe, self._monotonic()
        return probe


def unavailable(level: int, failed: Sequence[Probe]) -> SandboxUnavailable:
    """Give the problem that names the level, the part that failed and its cure."""
    name = next(one for one, number in ISOLATION.items() if number == level)
    part: Part | None = next((probe.failed for probe in failed if probe.failed is not None), None)
    if part is None:
        return SandboxUnavailable(
            f"nothing here contains commands at the level `{name}`",
            hint="ask for less, or set `sandbox.minimum_level`; levels above `native` come with their back ends",
        )
    return SandboxUnavailable(
        f"commands cannot be contained at the level `{name}`: {part.name}: {part.seen}", hint=part.cure
    )


def told(probe: Probe) -> tuple[str, bool, str, str]:
    """Say in one line whether a back end works: (what, whether, what was seen, cure)."""
    name = f"sandbox.{probe.backend}"
    if probe.failed is not None:
        return name, False, f"{probe.failed.name}: {probe.failed.seen}", probe.failed.cure
    weak = [f"{limit} {how}" for limit, how in probe.limits.items() if how != "enforced"]
    notes = [part.seen.removeprefix("held; ") for part in probe.parts if part.seen != "held"]
    said = "; ".join([f"level {probe.level}", *notes, f"not fully limited: {', '.join(weak)}" if weak else ""])
    return name, True, said.removesuffix("; "), ""

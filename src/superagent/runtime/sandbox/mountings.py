"""Mountings: how the back end of this machine shows a command a view, found out once by really running one."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace

from superagent.core.containment import MIB, PROFILES
from superagent.core.problems import Unavailable
from superagent.runtime.sandbox.backend import Backend, Start
from superagent.runtime.sandbox.pipes import Pipes
from superagent.runtime.sandbox.view import Mounting, View
from superagent.runtime.sandbox.view_memory import bring_out
from superagent.runtime.sandbox.view_probe import find_mounting
from superagent.runtime.sandbox.views import Views

_TRIED: tuple[tuple[Mounting, bool], ...] = (("before", True), ("before", False), ("bwrap", False), ("copy", False))
_FILES = 1000
_TRY_S = 30.0


@dataclass(frozen=True, slots=True)
class Way:
    """How views are shown; `sized` says that what is written can be held in memory of a fixed size."""

    mounting: Mounting
    sized: bool


class Mountings:
    """The ways that work, one for each back end. Sized memory needs user attributes on tmpfs, which is Linux 6.6."""

    def __init__(self, views: Views) -> None:
        self._views = views
        self._found: dict[str, Way] = {}
        self._finding = asyncio.Lock()

    async def of(self, backend: Backend, user: int | None) -> Way:
        """Give the best way for a back end, tried as this user. Raises `Unavailable` when there is none."""
        async with self._finding:
            found = self._found.get(backend.name)
            if found is None:
                found = self._found[backend.name] = await self._find(backend, user)
        return found

    async def _find(self, backend: Backend, user: int | None) -> Way:
        failed: Unavailable | None = None
        uid, gid = ids(user)
        for mounting, sized in _TRIED if backend.level == "native" else _TRIED[-1:]:
            attempt = _Attempt(backend, user, sized)
            try:
                await find_mounting(self._views, (mounting,), attempt, uid=uid, gid=gid)
            except Unavailable as problem:
                failed = failed or problem
                continue
            return Way(mounting, sized)
        assert failed is not None
        raise failed


@dataclass(frozen=True, slots=True)
class _Attempt:
    backend: Backend
    user: int | None
    sized: bool

    async def __call__(self, view: View, program: Sequence[str]) -> str:
        """Run a program on a view as commands are run; gives what failed."""
        profile = PROFILES["workspace-write"]
        pipes = Pipes(MIB, _nowhere)
        try:
            pipes.give(b"")
            start = Start(
                tuple(program), replace(profile, limits=replace(profile.limits, wall_s=_TRY_S)), "system",
                workspace=view.lower, user=self.user, view=view,
                view_bytes=MIB if self.sized else 0, view_files=_FILES,
                stdin=pipes.stdin, stdout=pipes.stdout.writing, stderr=pipes.stderr.writing,
            )  # fmt: skip
            running = await self.backend.start(start)
        except BaseException:
            pipes.discard()
            raise
        ended, _, stderr = await pipes.carry(running, MIB)
        memory = running.memory()
        if memory >= 0:
            try:
                await asyncio.to_thread(bring_out, memory, view)
            finally:
                os.close(memory)
        return "" if ended.code == 0 and ended.ran else stderr.text.strip() or f"it ended with {ended.code}"


def ids(user: int | None) -> tuple[int, int]:
    """Give the user and group under whom commands run: a tenant's own, or this process's."""
    return (os.geteuid(), os.getegid()) if user is None else (user, user)


async def _nowhere(_: AsyncIterator[bytes]) -> str:
    return ""

"""Leftovers: what writes that a crash cut off left under hidden names beside their targets."""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
from collections.abc import Callable, Iterable

from superagent.core.audit import AuditRecord
from superagent.core.ports import Locks, UndoStore
from superagent.core.problems import Locked, Problem
from superagent.runtime.file_restore import remove
from superagent.runtime.system_calls import path_of

SETTLED_S = 60.0  # no write that is still under way leaves its temporary file untouched for so long
OVER_S = 3600.0  # what could not be removed for so long is left to people
_WAIT_S = 1.0
_PATH = "path://local/"


class Leftovers:
    """What the unfinished intents of dead processes may have left, to be removed before anybody looks.

    A hidden name begins with a digest of the name it is for, so only what belongs to a resource of such an intent goes,
    be it a file or a tree, and only while that resource is locked: a write of another process there is safe. `died` is
    a moment after the death (epoch seconds): what changed later cannot be a leftover, unless it is left untouched for
    a minute (on a filesystem whose clock is ahead of ours).
    """

    def __init__(
        self,
        unfinished: Iterable[AuditRecord],
        undo: UndoStore,
        locks: Locks,
        died: float,
        now: Callable[[], float],
    ) -> None:
        self._unfinished = tuple(unfinished)
        self._undo = undo
        self._locks = locks
        self._died = died
        self._now = now

    async def sweep(self) -> int:
        """Remove it; gives how many names went. To be called at the start, and again every minute."""
        now = self._now()
        if now - self._died > OVER_S:
            self._unfinished = ()
        before = max(self._died, now - SETTLED_S)
        removed = 0
        for tenant, resource in await self._resources():
            try:
                async with self._locks.hold(tenant, resource, _WAIT_S):
                    removed += await asyncio.to_thread(_clear, "/" + resource.removeprefix(_PATH), before)
            except Locked:  # somebody writes there; there is another sweep
                continue
        return removed

    async def _resources(self) -> list[tuple[str, str]]:
        """Give tenant and id of all that may have been changed: what was asked for, and the real paths that were kept.

        A path that was asked for may lead through a link; the real one was kept for undo before the effect.
        """
        found: dict[tuple[str, str], None] = {}
        for intent in self._unfinished:
            asked = [name for name, _ in intent.resources]
            kept = await self._undo.of(intent.tenant, ids=[intent.invocation], limit=10_000)
            names = [*asked, *(one.resource for one in kept)]
            found |= {(intent.tenant, name): None for name in names if name.startswith(_PATH)}
        return list(found)


def _clear(path: str, before: float) -> int:
    """Remove what was prepared for a path, in its folder, if that is no link."""
    folder, _, name = path.rpartition("/")
    digest = hashlib.sha256(os.fsencode(name)).hexdigest()[:12]
    ours = re.compile(rf"\.superagent-(undo-)?{digest}-[0-9a-f]{{16}}")
    try:
        descriptor = os.open(folder or "/", os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return 0
    removed = 0
    try:
        if path_of(descriptor) != (folder or "/"):
            return 0
        for one in os.listdir(descriptor):
            if ours.fullmatch(one) and os.lstat(one, dir_fd=descriptor).st_ctime <= before:
                remove(descriptor, one)
                removed += 1
    except (OSError, Problem):
        pass  # somebody else is changing this folder; there is another sweep
    finally:
        os.close(descriptor)
    return removed

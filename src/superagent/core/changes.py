"""Changes: one change under way, and what a kept entry says of the one that was made."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from superagent.core.ports import Kept
from superagent.core.resources import Effect, Resource

RIGHTS = "judged_as"
"""Where kept data names the operation by whose grants the change was judged, when that is not the one that made it."""
FOLDER = "folder"
"""Where kept data says that what was changed was known to be a folder."""


Keep = Callable[[Any, str, dict[str, Any]], None]
"""Takes a transaction, the name of what is changed in it, and what taking that back needs."""


def unkept(tx: Any, name: str, data: dict[str, Any]) -> None:
    """Keep nothing, for changes that no call makes or that are kept otherwise."""


class Change:
    """One change under way; call `after` when you know the digest of the state you leave."""

    __slots__ = ("after_digest", "entry", "kept_digest", "resource", "theirs")

    def __init__(self, resource: Resource, entry: int, kept_digest: str | None) -> None:
        self.resource = resource
        self.entry = entry
        self.kept_digest = kept_digest
        self.after_digest: str | None = None
        self.theirs = False

    def untouched(self) -> None:
        """Say that the body, which is about to fail, changed nothing: what stands there now is somebody else's."""
        self.theirs = True

    def after(self, digest: str) -> None:
        """Name the state the change leaves, so that an undo can tell whether somebody changed it since."""
        self.after_digest = digest


def resource_of(kept: Kept) -> Resource:
    """Give the resource a kept entry speaks of, under the effect of putting it back."""
    return resource_named(kept.resource, folder=bool(kept.data.get(FOLDER)))


def resource_named(id: str, *, folder: bool = False) -> Resource:
    """Give the same of its id alone."""
    kind, _, rest = id.partition("://")
    authority, _, path = rest.partition("/")
    return Resource(kind, authority, f"/{path}" if kind == "path" else path, Effect.CHANGE, folder)


def rights_of(kept: Kept) -> str:
    """Give the operation whose grants say who may take this back: of an undo, the one that it took back."""
    return str(kept.data.get(RIGHTS, kept.operation))


async def to_its_end(work: Awaitable[None]) -> None:
    """Do something whole, however often whoever waits for it is cancelled meanwhile: that comes afterwards."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        while not task.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait([task])
        if not task.cancelled():
            task.exception()  # looked at, so that it is not reported as lost
        raise

"""How much a view holds: measured in its memory when the command has ended, or on the disk, also while it runs."""

from __future__ import annotations

import asyncio
import contextlib
import os
import stat
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Protocol

from superagent.runtime.beneath import look
from superagent.runtime.sandbox.backend import Running
from superagent.runtime.sandbox.view import View
from superagent.runtime.tree_walk import Cursor

ENTRY = 512
"""Bytes that count for each file beside its content: an empty one takes room as well."""

LOOK_S = 0.5
LOOKS_A_MEASURE = 4
"""The free space of the disk is looked at so often while a command writes to it; each so many looks all is measured."""


def held_in_memory(memory: int) -> int:
    """Give the bytes that lie in the memory of a view; `memory` is its descriptor."""
    state = os.fstatvfs(memory)
    return (state.f_blocks - state.f_bfree) * state.f_frsize + (state.f_files - state.f_ffree) * ENTRY


def held_on_disk(view: View, most: int = 2**63) -> int:
    """Give the bytes that lie in the folder of a view, counted no further than `most`; blocks."""
    return bytes_in(view.upper, most)


def bytes_in(folder: str, most: int = 2**63, *, holes: bool = False) -> int:
    """Give the bytes that lie in a folder, counted no further than `most`; blocks. With `holes` these count as well.

    A file with several names counts once; what is deleted and still open is not seen. A command that moves folders
    about while it is counted can make it less.
    """
    held, linked = 0, set[int]()
    with (
        contextlib.suppress(OSError),
        Cursor(os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)) as place,
    ):
        levels: list[Iterator[str]] = [iter(os.listdir(place.fd))]
        while levels and held <= most:
            name = next(levels[-1], None)
            if name is None:
                levels.pop()
                if levels:
                    place.up()
                continue
            info = look(place.fd, name)
            if info is None:
                continue
            held += ENTRY
            if stat.S_ISDIR(info.st_mode):
                with contextlib.suppress(OSError):  # closed even to this server
                    place.down(name)
                    levels.append(iter(os.listdir(place.fd)))
            elif info.st_nlink == 1 or info.st_ino not in linked:
                held += max(info.st_blocks * 512, info.st_size if holes else 0)
                linked.update([info.st_ino] if info.st_nlink > 1 else ())
    return held


@dataclass(frozen=True, slots=True)
class Growth:
    """What a view on the disk may grow to: `most` bytes itself, and no more than the disk and its principal have room.

    `disk` gives the bytes that may still be written there; `outgrown` notes what it holds by now and tells whether that
    is too much together with all else of its principal. Both are looks now and then, not a wall.
    """

    view: View
    most: int
    disk: Callable[[], int]
    outgrown: Callable[[int], Awaitable[bool]]

    async def over(self, looks: int) -> bool:
        """Tell whether it is too much; measured only at every so many looks."""
        if self.disk() < 0:
            return True
        if looks % LOOKS_A_MEASURE:
            return False
        held = await asyncio.to_thread(held_on_disk, self.view, self.most)
        return held > self.most or await self.outgrown(held)


class Growing(Protocol):
    """What may become too much."""

    async def over(self, looks: int) -> bool:
        """Tell whether it is by now, at the so-manyeth look."""
        ...


@asynccontextmanager
async def bounded(running: Running, growth: Growing) -> AsyncGenerator[None]:
    """End a command when what it writes to on the disk has become too much."""
    watching = asyncio.create_task(_watch(running, growth))
    try:
        yield
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)


async def _watch(running: Running, growth: Growing) -> None:
    looks = 0
    while not running.ended:
        await asyncio.sleep(LOOK_S)
        looks += 1
        if await growth.over(looks):
            await running.kill("disk")
            return

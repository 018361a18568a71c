"""Locks: one change at a time per resource, among the calls of this process and of every other on this host."""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from superagent.core.problems import Locked
from superagent.runtime.presence import byte_lock

_FIRST_STEP_S, _LONGEST_STEP_S = 0.001, 0.02


@dataclass(slots=True)
class _Key:
    """The turn at one resource within this process, and how many hold or want it."""

    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    users: int = 0


class Locks:
    """Hold resources by name: first the turn in this process, then a byte of a file that all processes share.

    The byte is a 62-bit digest of tenant and resource, locked by open file description (fcntl(2)), so the kernel frees
    it when its holder dies; the file stays empty. Who waits is served in turn within a process, by chance between them.
    """

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        self._keys: dict[int, _Key] = {}

    @asynccontextmanager
    async def hold(self, tenant: str, resource: str, wait_s: float) -> AsyncGenerator[None]:
        """Hold a resource while the body runs. Raises `Locked` when it did not come free in `wait_s` seconds."""
        digest = hashlib.blake2b(f"{tenant}\0{resource}".encode("utf-8", "surrogateescape"), digest_size=8).digest()
        place = int.from_bytes(digest, "big") >> 2
        key = self._keys.setdefault(place, _Key())
        key.users += 1
        try:
            try:
                async with asyncio.timeout(wait_s):
                    await key.turn.acquire()
                    try:
                        await self._lock(place)
                    except BaseException:
                        key.turn.release()
                        raise
            except TimeoutError:
                raise Locked(
                    f"`{resource}` is being changed by another call", hint="wait for it to end, then call again"
                ) from None
            try:
                yield
            finally:
                fcntl.fcntl(self._file, fcntl.F_OFD_SETLK, byte_lock(fcntl.F_UNLCK, place))
                key.turn.release()
        finally:
            key.users -= 1
            if not key.users:
                del self._keys[place]

    @property
    def idle(self) -> bool:
        """Tell whether nobody in this process holds or wants anything."""
        return not self._keys

    async def _lock(self, place: int) -> None:
        step = _FIRST_STEP_S
        while True:
            try:
                fcntl.fcntl(self._file, fcntl.F_OFD_SETLK, byte_lock(fcntl.F_WRLCK, place))
                return
            except BlockingIOError:
                await asyncio.sleep(step)
                step = min(2 * step, _LONGEST_STEP_S)

    def close(self) -> None:
        """Let go of everything."""
        os.close(self._file)

"""Package caches: what a build has fetched stays for the next one of the same caller in the same workspace.

What lies in a cache is run by whoever builds with it next, without being fetched or looked at again. So nobody else
gets it, and a build works on a copy of it, which takes the cache's place only when what the build did to the workspace
was brought in: what a failed, rehearsed or waiting build left in its copy goes with it.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import hashlib
import json
import os
import re
import secrets
import time
from collections.abc import AsyncGenerator, Callable, Generator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

from superagent.core.containment import Profile
from superagent.core.context import Context
from superagent.core.problems import Problem
from superagent.runtime.file_restore import remove
from superagent.runtime.instance_lock import started
from superagent.runtime.reserve import Reserve
from superagent.runtime.sandbox.backend import Bind, Running
from superagent.runtime.sandbox.view_copy import CopyBounds, copy_tree
from superagent.runtime.sandbox.view_size import LOOKS_A_MEASURE, bounded, bytes_in

INSIDE = "/var/cache/build"
ENVIRONMENT: Mapping[str, str] = {
    "CARGO_HOME": f"{INSIDE}/cargo",
    "GOMODCACHE": f"{INSIDE}/go",
    "PIP_CACHE_DIR": f"{INSIDE}/pip",
    "UV_CACHE_DIR": f"{INSIDE}/uv",
    "npm_config_cache": f"{INSIDE}/npm",
}
"""By which variables tools find a place of their own in it."""

KEPT_S = 7 * 86_400.0
MOST_CACHES = 8
"""How many a tenant has; beyond that, the one that was not used for longest goes."""

MOST_ENTRIES = 100_000
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_COPY = re.compile(r"[0-9a-f]{64}\.(\d+)-(\d+)-[0-9a-f]+")


@dataclass(frozen=True, slots=True)
class Growth:
    """What a copy may grow to while a build writes to it: looks now and then, not a wall."""

    folder: str
    most: int
    disk: Callable[[], int]

    async def over(self, looks: int) -> bool:
        """Tell whether it is too much; measured only at every so many looks."""
        if self.disk() < 0:
            return True
        return looks % LOOKS_A_MEASURE == 0 and await asyncio.to_thread(bytes_in, self.folder, self.most) > self.most


@dataclass(slots=True)
class Cache:
    """The cache as one build has it: a copy of its own, or none at all. `keep` lets the copy become the cache."""

    binds: tuple[Bind, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict[str, str])
    growth: Growth | None = None
    kept: bool = False

    def keep(self) -> None:
        """Say that what the build did was brought in."""
        self.kept = True

    def bounded(self, running: Running) -> AbstractAsyncContextManager[None]:
        """End the build when its copy has become too much."""
        return nullcontext() if self.growth is None else bounded(running, self.growth)


class Caches:
    """All caches, in a folder that only the server can look into; each may hold `most_bytes`, with 0 there are none."""

    def __init__(self, folder: Path, most_bytes: int, reserve: Reserve, now: Callable[[], float] = time.time) -> None:
        self._folder = folder
        self._most = most_bytes
        self._reserve = reserve
        self._now = now

    @asynccontextmanager
    async def of(self, ctx: Context, profile: Profile, workspace: str, user: int | None) -> AsyncGenerator[Cache]:
        """Lend a copy of the caller's cache for one build; what cannot be had is no reason not to build."""
        if not (profile.cache and self._most):
            yield Cache()
            return
        key = key_of(ctx.principal.ids, workspace)
        place = self._folder / hashlib.sha256(ctx.tenant.encode()).hexdigest()
        try:
            name = await ctx.thread(self._copied, place, key, user)
        except (OSError, Problem):
            yield Cache()
            return
        copy = str(place / name)
        growth = Growth(copy, profile.limits.disk_bytes, self._reserve.left)
        cache = Cache((Bind(copy, INSIDE, writable=True),), ENVIRONMENT, growth)
        try:
            yield cache
        finally:
            await asyncio.shield(asyncio.to_thread(self._concluded, place, name, key, keep=cache.kept))

    def sweep(self) -> int:
        """Remove copies of builds that died with their server, and caches that nobody used for long; gives how many."""
        if not self._folder.is_dir():
            return 0
        removed = 0
        for place in self._folder.iterdir():
            with contextlib.suppress(OSError), _locked(place, fcntl.LOCK_EX) as fd:
                for name in os.listdir(fd):
                    if _abandoned(name) or self._now() - os.stat(name, dir_fd=fd).st_mtime > KEPT_S:
                        remove(fd, name)
                        removed += 1
        return removed

    # ---- inside; all of this blocks

    def _copied(self, place: Path, key: str, user: int | None) -> str:
        """Make the copy and give its name."""
        self._reserve.require()
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        name = f"{key}.{os.getpid()}-{started(os.getpid())}-{secrets.token_hex(8)}"
        with _locked(place, fcntl.LOCK_SH) as fd:
            try:
                self._fill(fd, key, name)
            except (OSError, Problem):  # what cannot be copied whole is not there: half a package is worse than none
                remove(fd, name)
                os.mkdir(name, 0o700, dir_fd=fd)
            if user is not None:
                os.chown(name, user, user, dir_fd=fd, follow_symlinks=False)
        return name

    def _fill(self, fd: int, key: str, name: str) -> None:
        os.mkdir(name, 0o700, dir_fd=fd)
        with contextlib.ExitStack() as stack:
            try:
                source = os.open(key, _DIRECTORY, dir_fd=fd)
            except FileNotFoundError:
                return
            stack.callback(os.close, source)
            target = os.open(name, _DIRECTORY, dir_fd=fd)
            stack.callback(os.close, target)
            copy_tree(source, target, CopyBounds(self._most, MOST_ENTRIES))

    def _concluded(self, place: Path, name: str, key: str, *, keep: bool) -> None:
        """Let a copy take the cache's place, or remove it. A cache that has grown too large begins anew."""
        with contextlib.suppress(OSError), _locked(place, fcntl.LOCK_EX) as fd:
            if keep and self._reserve.left() > 0:
                remove(fd, key)
                if bytes_in(str(place / name), self._most, holes=True) <= self._most:  # all of it is read at each copy
                    os.rename(name, key, src_dir_fd=fd, dst_dir_fd=fd)
                    os.chmod(key, 0o700, dir_fd=fd)
                    os.utime(key, (self._now(), self._now()), dir_fd=fd, follow_symlinks=False)
                    self._bound(fd)
            remove(fd, name)

    def _bound(self, fd: int) -> None:
        caches = [one for one in os.listdir(fd) if "." not in one]
        caches.sort(key=lambda one: os.stat(one, dir_fd=fd).st_mtime, reverse=True)
        for one in caches[MOST_CACHES:]:
            remove(fd, one)


def key_of(chain: tuple[str, ...], workspace: str) -> str:
    """Name the cache of everybody in a chain of principals, together, in a folder; another in its place has its own."""
    found = os.lstat(workspace)
    return hashlib.sha256(json.dumps([chain, workspace, found.st_dev, found.st_ino]).encode()).hexdigest()


@contextmanager
def _locked(place: Path, how: int) -> Generator[int]:
    """Hold a tenant's caches for the length of a block, against other processes as well; gives the open folder."""
    fd = os.open(place, _DIRECTORY)
    try:
        fcntl.flock(fd, how)
        yield fd
    finally:
        os.close(fd)


def _abandoned(name: str) -> bool:
    found = _COPY.fullmatch(name)
    if found is None:
        return False
    try:
        return started(int(found[1])) != int(found[2])
    except OSError:
        return True

"""The pool: sandboxes that were started before they are needed, each for one command of one workspace and profile."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from array import array
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from importlib.util import find_spec
from pathlib import Path

from superagent.core.containment import MIB, Profile
from superagent.core.grants import IsolationLevel
from superagent.core.problems import Problem
from superagent.runtime.sandbox.backend import Ahead, Bind, Probe, Running, Start
from superagent.runtime.sandbox.bubblewrap import ENVIRONMENT
from superagent.runtime.sandbox.native import Native, check
from superagent.runtime.sandbox.served import Served, Waiting, end
from superagent.runtime.sandbox.view import INSIDE
from superagent_launcher.waiting_init import MOST_DESCRIPTORS

PYTHON = "/usr/bin/python3"
MOST_WAITING = 8
AGE_S = 60.0
LEFT_S = 10.0
"""A sandbox is ended at its age by the launcher; this long before, no command is given to it any more."""

QUIET_S = 0.03
"""New ones are made when nothing was started for this long: what runs now comes first."""

LEAST_MEMORY = 64 * MIB
MOST_JOB = 65_536
_SOCKET, _TEXT = 7, 8


@dataclass(frozen=True, slots=True)
class Key:
    """What must be the same for a waiting sandbox to be as good as a fresh one.

    `place` is the device and inode of the workspace: a folder of the same name may be another one by now. `profile` has
    no times and no size of output, which are not the sandbox's own; `epoch` counts changes of policy.
    """

    tenant: str
    user: int | None
    workspace: str
    place: tuple[int, int]
    profile: Profile
    local_sockets: bool
    binds: tuple[Bind, ...]
    root: str
    epoch: int
    view: tuple[str, int, int] | None = None


class Pooled:
    """A native back end whose sandboxes wait for commands where they are asked for again and again.

    What it starts, and what is told of it, is what the back end itself would start and tell: whatever cannot be had
    from the pool, or goes wrong there before the command was executed, is started afresh.
    """

    def __init__(self, native: Native, epoch: Callable[[], int] = lambda: 0, python: str = PYTHON) -> None:
        self._native = native
        self._epoch = epoch
        self._python = python
        self._waiting: dict[Key, Waiting] = {}
        self._wanted: dict[Key, Start] = {}
        self._lent: dict[str, tuple[Key, Waiting]] = {}
        self._dropping: set[asyncio.Future[None]] = set()
        self._filling: asyncio.Task[None] | None = None
        self._last = 0.0
        self._closed = False
        spec = find_spec("superagent_launcher.waiting_init")
        assert spec is not None  # it is a part of this distribution
        assert spec.origin is not None
        self._text = Path(spec.origin).read_bytes()
        self.served = 0
        self.level: IsolationLevel = native.level
        self.name = native.name

    @property
    def waiting(self) -> int:
        """Give how many sandboxes wait."""
        return sum(not one.run.ended for one in self._waiting.values())

    @property
    def filling(self) -> bool:
        """Tell whether more are being made."""
        return self._filling is not None and not self._filling.done()

    async def probe(self) -> Probe:
        """Run the real profile on a canary, in fresh sandboxes."""
        return await self._native.probe()

    async def start(self, start: Start) -> Running:
        """Start a command, in a sandbox that waits for it if there is one; raises what the back end raises."""
        check(start)
        key = self._key(start, await self._native.root())
        if key is None:
            return await self._native.start(start)
        found = self._taken(key, start)
        begun = await self._begun(found, start) if found is not None else None
        running = begun or await self._native.start(start)
        loop = asyncio.get_running_loop()
        self._last = loop.time()
        loop.call_later(QUIET_S / 3, self._want, key, start)  # not while somebody waits: most have ended by then
        return running

    async def lend(self, start: Start) -> Ahead | None:
        """Give the view of a sandbox that waits for such a start, which has none yet; then start it on that view.

        From then on the view is the caller's.
        """
        key = self._key(start, await self._native.root())
        if key is None:
            return None
        self._prune(key)
        for one, waiting in self._waiting.items():
            if waiting.ahead is not None and replace(one, view=None) == key:
                self._lent[waiting.ahead.view.folder] = one, self._waiting.pop(one)
                return waiting.ahead
        return None

    async def close(self) -> None:
        """End all that wait."""
        self._closed = True
        if self._filling is not None:
            self._filling.cancel()
            await asyncio.gather(self._filling, return_exceptions=True)
        while self._waiting:
            self._discard(self._waiting.popitem()[1])
        while self._lent:
            self._lent.popitem()[1][1].discard()
        await asyncio.gather(*self._dropping, return_exceptions=True)

    # ---- taking

    def _key(self, start: Start, root: str) -> Key | None:
        """Give what a waiting sandbox must be like, None for a start that none can serve."""
        profile, limits = start.profile, start.profile.limits
        view = None
        if start.view is not None:
            if start.another is None or start.view.mounting != "before" or not start.view_bytes:
                return None
            view = start.view.mounting, start.view_bytes, start.view_files
        if profile.network != "off" or limits.memory_bytes < LEAST_MEMORY:
            return None
        if not start.workspace or len(start.fds) + 3 > MOST_DESCRIPTORS:
            return None
        try:
            found = os.lstat(start.workspace)
        except OSError:
            return None
        return Key(
            start.tenant, start.user, start.workspace, (found.st_dev, found.st_ino), _bare(profile),
            start.local_sockets, start.binds, root, self._epoch(), view,
        )  # fmt: skip

    def _taken(self, key: Key, start: Start) -> Waiting | None:
        """Take a sandbox out of the pool: the one that shows the view, or any without one."""
        self._prune(key)
        if start.view is None:
            return self._waiting.pop(key, None)
        one, waiting = self._lent.pop(start.view.folder, (key, None))
        if waiting is not None and one != key:
            waiting.discard()
            return None
        return waiting

    def _prune(self, key: Key) -> None:
        """End what is too old, or for what has changed."""
        now = asyncio.get_running_loop().time()

        def stale(one: Key, waiting: Waiting) -> bool:
            return waiting.run.ended or waiting.until <= now or one.epoch != key.epoch or one.root != key.root

        for one, waiting in list(self._waiting.items()):
            if stale(one, waiting):
                self._discard(self._waiting.pop(one))
        for folder, (one, waiting) in list(self._lent.items()):
            if stale(one, waiting):
                del self._lent[folder]
                waiting.discard()

    def _discard(self, waiting: Waiting) -> None:
        """End a sandbox that nobody was given, and remove its view."""
        waiting.discard()
        if waiting.ahead is not None:
            dropping = asyncio.get_running_loop().run_in_executor(None, waiting.ahead.drop)
            self._dropping.add(dropping)
            dropping.add_done_callback(self._dropping.discard)

    async def _begun(self, waiting: Waiting, start: Start) -> Running | None:
        """Give a waiting sandbox its command; None when nothing was executed."""
        job, descriptors = _job(start)
        if len(job) > MOST_JOB:
            waiting.discard()
            return None
        since = asyncio.get_running_loop().time()
        try:
            waiting.give(job, descriptors)
        except OSError:
            waiting.discard()
            return None
        running = Served(waiting, start.profile.limits, since)  # meanwhile it begins
        try:
            if not await running.begun():
                waiting.discard()
                return None  # it could not be executed, and a fresh one will say why in its own words
        except BaseException:
            with contextlib.suppress(Problem):
                running.end()  # whoever asked is gone, and the command may run by now
            running.let_go()
            raise
        self.served += 1
        return running

    # ---- filling

    def _want(self, key: Key, start: Start) -> None:
        if self._closed or not os.access(self._python, os.X_OK):
            return
        self._wanted.pop(key, None)
        self._wanted[key] = replace(start, argv=(), env={}, fds={})  # nothing of one command stays for the next
        while len(self._wanted) > MOST_WAITING:
            del self._wanted[next(iter(self._wanted))]
        if self._filling is None or self._filling.done():
            self._filling = asyncio.get_running_loop().create_task(self._fill())

    async def _fill(self) -> None:
        """Make what is wanted as soon as it is quiet, the newest wish first; end what nobody came for."""
        loop = asyncio.get_running_loop()
        while self._wanted:
            left = self._last + QUIET_S - loop.time()
            if left > 0:
                await asyncio.sleep(left)
                continue
            key, start = self._wanted.popitem()
            if key in self._waiting or key.epoch != self._epoch():
                continue
            while len(self._waiting) >= MOST_WAITING:
                self._discard(self._waiting.pop(next(iter(self._waiting))))
            with contextlib.suppress(Problem, OSError):  # whoever comes next gets a fresh one, or hears why not
                made = self._waiting[key] = await self._made(key, start)
                made.run.child.ended.add_done_callback(partial(self._expired, key, made))

    def _expired(self, key: Key, waiting: Waiting, _: object) -> None:
        if self._waiting.get(key) is waiting:
            self._discard(self._waiting.pop(key))

    async def _made(self, key: Key, start: Start) -> Waiting:
        """Make a sandbox that waits, on a view of its own where the command had one."""
        if start.another is None:
            return await self._started(key, start)
        ahead = await asyncio.to_thread(start.another)
        try:
            waiting = await self._started(key, replace(start, view=ahead.view))
        except BaseException:
            await asyncio.to_thread(ahead.drop)
            raise
        waiting.ahead = ahead
        return waiting

    async def _started(self, key: Key, start: Start) -> Waiting:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        opened: list[int] = []
        try:
            opened.append(os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC))
            opened.append(_in_memory(self._text))
            ours.setblocking(False)
            waiting = replace(
                start, argv=(self._python, "-I", "-S", f"/proc/self/fd/{_TEXT}", str(_SOCKET)), env={}, first=True,
                cwd=INSIDE, profile=key.profile, stdin=opened[0], stdout=opened[0], stderr=opened[0],
                fds={_SOCKET: theirs.fileno(), _TEXT: opened[1]},
            )  # fmt: skip
            run = await self._native.start(waiting)
            theirs.close()
            try:
                return await Waiting.ready(run, ours, AGE_S, LEFT_S)
            except BaseException:
                end(run)
                raise
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
            for one in opened:
                os.close(one)


@lru_cache(64)
def _bare(profile: Profile) -> Profile:
    """Give a profile without what is no part of the sandbox itself."""
    return replace(profile, limits=replace(profile.limits, wall_s=AGE_S, output_bytes=0))


def _job(start: Start) -> tuple[bytes, array[int]]:
    """Give the message to the first program: see `superagent_launcher.waiting_init`."""
    shown = {0: start.stdin, 1: start.stdout, 2: start.stderr, **start.fds}
    env = {**ENVIRONMENT, **start.env, "PWD": start.cwd}
    texts = [
        start.cwd, " ".join(map(str, shown)), str(len(env)), *(f"{name}={value}" for name, value in env.items()),
        *start.argv,
    ]  # fmt: skip
    return b"".join(one.encode() + b"\0" for one in texts), array("i", shown.values())


def _in_memory(text: bytes) -> int:
    descriptor = os.memfd_create("first", os.MFD_CLOEXEC)
    os.write(descriptor, text)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor

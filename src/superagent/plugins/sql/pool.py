"""Connections at rest: a read takes one that an earlier read of the same tenant over the same connection left behind.

One is kept for exactly what it was opened with: the tenant, the connection as it stood, and the credential. Before it
rests, the server has forgotten everything of its session; whatever was cancelled, failed or is in doubt is closed
instead. Each call is judged and its secret resolved before it gets here; the address was vetted when it was opened.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import threading
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, fields
from operator import attrgetter

from superagent.sdk import Connected, Link

from .engine.session import Place, Session

MOST_EACH, MOST = 4, 32
"""How many rest for one connection, and altogether; those in use are as many as there are calls."""

IDLE_S, AGE_S = 15.0, 300.0
_KEY = secrets.token_bytes(32)
_WHERE = attrgetter(*(one.name for one in fields(Place) if one.name != "timeout_s"))


@dataclass(frozen=True, slots=True)
class Whose:
    """What a session may be used for again: `digest` stands for all that it was opened with."""

    tenant: str
    name: str
    digest: bytes

    @staticmethod
    def of(tenant: str, connected: Connected, place: Place) -> Whose:
        """Name what opens a session, credential and all, without holding the credential."""
        words = (tenant, connected.name, connected.type, connected.endpoint, connected.host, connected.secret)
        told = repr((words, connected.options, _WHERE(place)))
        return Whose(tenant, connected.name, hashlib.blake2b(told.encode(), key=_KEY).digest())


class Held:
    """A session while one call has it: who stops it from beside stops this call, and never one that comes after."""

    def __init__(self, session: Session, whose: Whose | None, link: Link | None = None) -> None:
        self.session = session
        self.whose = whose
        self.link = link
        self.born = self.since = time.monotonic()
        self._lock = threading.Lock()
        self._ended = self._stopped = False

    def cancel(self) -> None:
        """Stop what the server does for it; nothing once the call has let go of it."""
        with self._lock:
            if self._ended:
                return
            self._stopped = True
        # without the lock, for this asks the server, and `end` must not wait for that: what was stopped never rests
        try:
            self.session.cancel()
        except Exception:
            if not self._ended:
                raise

    def begin(self) -> None:
        """Be of another call."""
        with self._lock:
            self._ended = False

    def end(self) -> bool:
        """Be of no call any more; tells whether nobody stopped it."""
        with self._lock:
            self._ended = True
            return not self._stopped

    def close(self) -> None:
        """End the session, and have its connection in the records."""
        self.session.close()
        if self.link is not None:
            self.link.crossed(*self.session.crossed)
            self.link.end()


def rested(session: Session) -> bool:
    """Bring a session to rest, unless it is; False where it cannot serve another call."""
    return session.at_rest or session.reset()


class Pool:
    """Sessions at rest, only while something runs that closes them in the end."""

    def __init__(self) -> None:
        self._rest: dict[tuple[str, str], list[Held]] = {}
        self._lock = threading.Lock()
        self._open = 0
        self._timer: asyncio.TimerHandle | None = None

    @asynccontextmanager
    async def standing(self) -> AsyncGenerator[None]:
        """Let sessions rest while the block runs, and close them at its end."""
        self._open += 1
        try:
            yield
        finally:
            self._open -= 1
            self._close(self._taken_out(lambda one: True))
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None

    def take(self, whose: Whose, timeout_s: float) -> Held | None:
        """Give one that rests for this and still answers; those of the same name that are for anything else end."""
        at = (whose.tenant, whose.name)
        self._close(self._taken_out(lambda one: one.whose != whose, at))
        while True:
            with self._lock:
                resting = self._rest.get(at)
                if not resting:
                    return None
                held = resting.pop()
            if time.monotonic() - held.born < AGE_S and held.session.renew(timeout_s):
                held.begin()
                return held
            held.close()

    def give(self, held: Held, *, well: bool) -> None:
        """Let one rest if its call ended well and the server forgets it, else close it; blocks, so in a thread."""
        whose, unwanted = held.whose, held
        if held.end() and well and whose is not None and self._open and rested(held.session):
            unwanted = self._left(held, (whose.tenant, whose.name))
        if unwanted is not None:
            unwanted.close()

    def sweep_later(self) -> None:
        """Close what has rested too long, now and as long as anything rests; on the event loop."""
        if self._timer is None and self._open and self._rest:
            self._timer = asyncio.get_running_loop().call_later(IDLE_S / 3, self._sweep)

    def resting(self) -> int:
        """Give how many rest."""
        with self._lock:
            return sum(len(some) for some in self._rest.values())

    def _left(self, held: Held, at: tuple[str, str]) -> Held | None:
        """Let one rest; gives the one that has to make room for it, if any."""
        held.since = time.monotonic()
        with self._lock:
            if not self._open or len(self._rest.get(at, ())) >= MOST_EACH:
                return held
            self._rest.setdefault(at, []).append(held)
            every = [one for some in self._rest.values() for one in some]
            if len(every) <= MOST:
                return None
            oldest = min(every, key=lambda one: one.since)
            for some in self._rest.values():
                if oldest in some:
                    some.remove(oldest)
            return oldest

    def _taken_out(self, unwanted: Callable[[Held], bool], at: tuple[str, str] | None = None) -> list[Held]:
        found: list[Held] = []
        with self._lock:
            for place in [*self._rest] if at is None else [at]:
                some = self._rest.get(place, [])
                found += [one for one in some if unwanted(one)]
                left = [one for one in some if not unwanted(one)]
                if left:
                    self._rest[place] = left
                else:
                    self._rest.pop(place, None)
        return found

    @staticmethod
    def _close(some: list[Held]) -> None:
        for one in some:
            one.close()

    def _sweep(self) -> None:
        self._timer = None
        now = time.monotonic()
        self._close(self._taken_out(lambda one: now - one.since > IDLE_S))
        self.sweep_later()

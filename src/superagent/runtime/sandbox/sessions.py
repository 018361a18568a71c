"""Sessions: the sandboxes of this process that stay, whose they are, and when each of them is ended."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import secrets
from collections.abc import AsyncGenerator, Callable, Collection
from dataclasses import dataclass, field
from typing import Protocol

from superagent.core.audit import AuditRecord
from superagent.core.containment import Profile
from superagent.core.limits import Slots
from superagent.core.principal import Principal
from superagent.core.problems import Conflict, InvalidInput, NotFound, Problem, Unavailable
from superagent.runtime.sandbox.backend import Running
from superagent.runtime.sandbox.session_ground import Ground
from superagent.runtime.stored import place

MOST = 64
MOST_OF_ONE = 8
MOST_ENDED = 64
LOOK_S = 0.5
LONGEST_S = 12 * 3600.0
"""A session lives no longer, however much it is used."""

_PURPOSE = "sessions"


class Signs(Protocol):
    """What vouches for names with keys of the installation."""

    def sign(self, purpose: str, data: bytes) -> bytes:
        """Give the tag of some data."""
        ...


class Alive(Protocol):
    """Which processes of this host live."""

    name: str

    def alive(self, name: str) -> bool:
        """Tell whether the process of a name lives."""
        ...


class Inside(Protocol):
    """What runs in a session: a terminal or an interpreter."""

    @property
    def flooded(self) -> bool:
        """Tell whether it said more than it may."""
        ...

    def close(self) -> None:
        """Close what is open here; what was said stays."""
        ...


@dataclass(slots=True, eq=False)
class Session:
    """A sandbox that stays. `until` is when it ends if nobody uses it, epoch seconds; `ended` why it has (empty: not).

    `ground` is what it stands on. `marks` say within which bounds its owner opened it: within others it is not there.
    `payer` is whose share it counts against. `stands` raises a `Problem` when whoever opened it may not have it any
    more. `turn` is held by who uses it.
    """

    id: str
    kind: str
    owner: tuple[str, ...]
    marks: tuple[str, ...]
    payer: str
    ground: Ground
    inside: Inside
    idle_s: float
    until: float
    stands: Callable[[], None]
    ended: str = ""
    busy: int = 0
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def running(self) -> Running:
        """Give its sandbox."""
        return self.ground.running

    @property
    def profile(self) -> Profile:
        """Give what contains it."""
        return self.ground.profile

    @property
    def view(self) -> str:
        """Give the view that it works on, or that waits now; empty for none."""
        return self.ground.held.id if self.ground.held is not None else ""


class Sessions:
    """The sessions of this process, found only by the principal who opened them.

    `note` records each end that nobody asked for. Ids are signed: after a restart their owner learns that a session was
    interrupted, and anybody else still that there is none.
    """

    def __init__(
        self, signs: Signs, alive: Alive, now: Callable[[], float], note: Callable[[AuditRecord], object]
    ) -> None:
        self._signs = signs
        self._alive = alive
        self._now = now
        self._open: dict[str, Session] = {}
        self._slots = Slots(MOST_OF_ONE, MOST, what="sessions", hint="close one, or wait until one ends by itself")
        self._watching: asyncio.Task[None] | None = None
        self._note = note

    def take_room(self, principal: Principal) -> None:
        """Count one more session of a principal. Raises `Overloaded`; whoever adds none gives the room back."""
        self._slots.enter(_payer(principal))

    def give_room(self, principal: Principal) -> None:
        """Count one session of a principal less."""
        self._slots.leave(_payer(principal))

    def add(
        self, kind: str, principal: Principal, ground: Ground, inside: Inside, idle_s: float,
        stands: Callable[[], None],
    ) -> Session:  # fmt: skip
        """Keep a sandbox as a session of a principal, who has room for it."""
        drawn = secrets.token_hex(8)
        id = f"ses_{self._alive.name}_{drawn}_{self._tag(principal, self._alive.name, drawn)}"
        until, payer = round(self._now() + idle_s, 3), _payer(principal)
        session = Session(id, kind, _owner(principal), principal.marks, payer, ground, inside, idle_s, until, stands)
        self._open[id] = session
        ended = [one for one in self._open.values() if one.ended]
        for one in ended[: len(ended) - MOST_ENDED]:
            del self._open[one.id]
        if self._watching is None or self._watching.done():
            self._watching = asyncio.get_running_loop().create_task(self._watch())
        return session

    def of(self, principal: Principal, id: str, kinds: Collection[str] = ()) -> Session:
        """Give a session of a principal, of some kinds or any; one that has ended is there for a while to be read.

        Raises `NotFound` for what never was this principal's, `Conflict` for one that is gone, and
        `InvalidInput` for one of another kind.
        """
        owner = _owner(principal)
        session = self._open.get(id)
        theirs = session is not None and (session.owner, session.marks) == (owner, principal.marks)
        if session is not None and theirs:
            if kinds and session.kind not in kinds:
                raise InvalidInput(
                    f"the session is one of `{session.kind}`",
                    hint="`shell.session_send` is for shells, `code.repl` for interpreters: each session keeps its own",
                )
            return session
        name, drawn, tag = _parts(id)
        if session is not None or not tag or not hmac.compare_digest(tag, self._tag(principal, name, drawn)):
            raise NotFound(f"there is no session `{id[:100]}`", hint="open one")
        if name == self._alive.name:
            raise Conflict("the session has ended", hint="open a new one")
        if self._alive.alive(name):
            raise Unavailable(
                "the session lives in another worker process of this server",
                hint="sessions need `server.workers = 1`, or a client that stays on one connection",
            )
        raise Conflict("the session was interrupted: the server that held it has ended", hint="open a new one")

    def those_of(self, principal: Principal) -> list[Session]:
        """Give the sessions of a principal that are open here, newest first."""
        owner = _owner(principal)
        theirs = [one for one in self._live() if (one.owner, one.marks) == (owner, principal.marks)]
        return theirs[::-1]

    @contextlib.asynccontextmanager
    async def used(self, session: Session) -> AsyncGenerator[None]:
        """Use a session alone; from the end of the use on its idle time counts anew."""
        session.busy += 1
        try:
            async with session.turn:
                yield
        finally:
            session.busy -= 1
            self.touch(session)

    def touch(self, session: Session) -> None:
        """Let the idle time of a session count anew."""
        if not session.ended:
            session.until = round(self._now() + session.idle_s, 3)

    async def end(self, session: Session, why: str) -> None:
        """End a session with all that runs in it; the first reason stays."""
        if not session.ended:
            session.ended = why
            session.until = round(self._now() + session.idle_s, 3)
            self._slots.leave(session.payer)
        try:
            await session.running.kill()
        finally:
            session.inside.close()
            await session.ground.leave()

    async def stop(self, session: Session, why: str) -> None:
        """End a session as nobody asked for, and record it."""
        if not session.ended:
            tenant, who, *_ = session.owner
            detail = {"session": session.id, "why": why, "view": session.view}
            self._note(
                AuditRecord(
                    kind="event", at=self._now(), tenant=tenant, who=who, operation="session.ended", detail=detail
                )
            )
        await self.end(session, why)

    async def drop(self, session: Session) -> None:
        """End a session of which nobody heard, and keep nothing of it."""
        self.forget(session)
        with contextlib.suppress(Problem):
            await self.end(session, "closed")
        await session.ground.drop()

    def holding(self, view: str) -> Session | None:
        """Give the session that works on a view here, None when none does."""
        return next((one for one in self._live() if one.view == view), None)

    def forget(self, session: Session) -> None:
        """Keep nothing of a session."""
        self._open.pop(session.id, None)

    async def close(self) -> None:
        """End every session."""
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)
        await asyncio.gather(*(self.end(one, "stopped") for one in self._live()), return_exceptions=True)

    # ---- inside

    def _live(self) -> list[Session]:
        return [one for one in self._open.values() if not one.ended]

    def _tag(self, principal: Principal, name: str, drawn: str) -> str:
        return self._signs.sign(_PURPOSE, place(principal.tenant, *principal.marks, name, drawn))[-12:].hex()

    async def _watch(self) -> None:
        """End what nobody used, what its owner may not have any more, and note what has ended by itself."""
        while self._open:
            await asyncio.sleep(LOOK_S)
            now = self._now()
            for session in list(self._open.values()):
                if session.ended:
                    if now >= session.until:
                        self.forget(session)
                elif why := await self._why(session, now):
                    with contextlib.suppress(Problem):
                        await self.stop(session, why)

    async def _why(self, session: Session, now: float) -> str:
        """Give why a session has to end, or has ended; empty when it goes on."""
        if session.inside.flooded:
            return "output"
        if session.running.ended:
            return await why_ended(session.running)
        if now >= session.until and not session.busy:
            return "idle"
        if session.ground.held is not None and (limit := await session.ground.held.limit()):
            return limit
        try:
            session.stands()
        except Problem:
            return "revoked"
        return ""


async def why_ended(running: Running) -> str:
    """Say why a sandbox has ended by itself: the limit it met, or that what ran in it has gone."""
    try:
        ended = await running.wait()
    except Problem:
        return "lost"
    return ended.limit or "exited"


def _owner(principal: Principal) -> tuple[str, ...]:
    return (principal.tenant, *principal.ids)


def _payer(principal: Principal) -> str:
    return f"{principal.tenant}/{principal.account}"  # with all it lent its rights to: of names there is no end


def _parts(id: str) -> tuple[str, str, str]:
    head, *parts = id.split("_")
    if head != "ses" or len(parts) != 3 or not all(part.isalnum() and part.isascii() for part in parts):
        return "", "", ""
    name, drawn, tag = parts
    return name, drawn, tag

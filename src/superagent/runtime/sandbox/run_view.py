"""One command's view: made before it starts, and concluded when it has ended: accepted, or left to be looked at."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import partial

from superagent.core.commands import Effects
from superagent.core.containment import Limits, Profile
from superagent.core.context import Context
from superagent.core.principal import Principal
from superagent.core.problems import (
    Conflict,
    InvalidInput,
    NotFound,
    Problem,
    SandboxUnavailable,
)
from superagent.runtime.holdings import Holdings
from superagent.runtime.os_problems import os_errors_about, printable
from superagent.runtime.protected import inode_of
from superagent.runtime.sandbox.backend import Ahead, Backend, Running, Start
from superagent.runtime.sandbox.mountings import Mountings, Way, ids
from superagent.runtime.sandbox.session_ground import HeldView
from superagent.runtime.sandbox.view import INSIDE, View
from superagent.runtime.sandbox.view_cwd import require_folder
from superagent.runtime.sandbox.view_memory import bring_out
from superagent.runtime.sandbox.view_records import no_view
from superagent.runtime.sandbox.view_settling import Settling, ticker
from superagent.runtime.sandbox.view_size import Growth, bounded, held_in_memory, held_on_disk
from superagent.runtime.sandbox.views import Use, Views

KEPT_S = 86_400.0
REHEARSED_S = 3600.0
SMALL_BYTES = 64 * 1024
"""What is kept of a command in any case: refusing it would free nothing worth speaking of."""


@dataclass(frozen=True, slots=True)
class ViewAhead:
    """A view that belongs to nobody yet."""

    views: Views
    use: Use

    @property
    def view(self) -> View:
        """Give the view."""
        return self.use.view

    def drop(self) -> None:
        """Remove it."""
        self.use.close()
        with contextlib.suppress(Problem, OSError), self.views.alone(self.use.record.id) as own:
            self.views.discard(own)


Lend = Callable[[Start], Awaitable[Ahead | None]]
"""Gives a view that was made ahead, with a sandbox waiting on it, for a start that has none yet."""


async def _lend_none(_: Start) -> Ahead | None:
    return None


class RunView(Settling):
    """The view of one command. `close` is for one that came to nothing: then it goes with all it holds."""

    def __init__(self, ctx: Context, views: Views, use: Use, way: Way, limits: Limits, holdings: Holdings) -> None:
        super().__init__(ctx, views, use.view)
        self._use = use
        self._holdings = holdings
        self._most = limits.disk_bytes
        # memory belongs to the command like any other that it uses, so it must leave room for the rest; who may not
        # write in a folder of somebody else's must not own the one that stands for it
        fits = way.sized and limits.disk_bytes <= limits.memory_bytes and not self.view.copied
        own = os.stat(self.view.lower).st_uid == self.view.uid
        self.bytes = limits.disk_bytes if fits and own else 0
        self.files = limits.disk_files
        self.another: Callable[[], Ahead] | None = None

    def shown(self, start: Start) -> Start:
        """Give a start on this view."""
        return replace(start, view=self.view, view_bytes=self.bytes, view_files=self.files, another=self.another)

    def bounded(self, running: Running) -> AbstractAsyncContextManager[None]:
        """Hold the command to its disk for the length of a block, where its memory does not."""
        if self.bytes:
            return nullcontext()
        return bounded(running, growth(self._ctx, self._holdings, self.view, self._use.hold, self._most))

    async def conclude(self, memory: int, *, apply: bool, why: str, kept_s: float = KEPT_S) -> Effects:
        """Bring what the command did into the workspace, or leave it in the view and say why.

        `memory` is where it lies until now (-1: in the view's folder), and stays the caller's. Raises `Denied` and
        `NotFound` for what the caller may not do; what was begun and failed is put back by the line. A view of which
        nothing waits goes with `close`.
        """
        ctx, use, views = self._ctx, self._use, self._views
        tick = ticker(ctx)
        held = held_in_memory(memory) if memory >= 0 else 0
        try:
            if held > SMALL_BYTES:  # others of the same principal may have taken the room meanwhile
                await self._holdings.take(ctx.tenant, ctx.principal.charged, held, lambda: use.hold(held))
            if memory >= 0:
                await ctx.thread(bring_out, memory, self.view, tick)
        except Problem as problem:
            return Effects(False, "", why=f"it could not be kept: {problem.detail}")

        def lend() -> Use:
            use.rest(kept_s, held=held or held_on_disk(self.view), durable=False)
            use.close()
            return views.alone(use.record.id)

        return await self.settled(lend, apply=apply, why=why)

    def close(self) -> None:
        """Give the view back; one of which nobody was told is removed. Blocks; a second time does nothing."""
        self._use.close()
        self.forget()


class GoingOn(RunView):
    """A view that waits, for one more command: what it does there stays, whatever becomes of the command."""

    def __init__(self, ctx: Context, views: Views, use: Use, way: Way, limits: Limits, holdings: Holdings) -> None:
        super().__init__(ctx, views, use, way, limits, holdings)
        self.bytes = 0  # it lies on the disk
        self._most += use.record.bytes  # what lies in it by now is no room of this command's
        self._stays = False
        self.told()

    async def conclude(self, memory: int, *, apply: bool, why: str, kept_s: float = KEPT_S) -> Effects:
        """Say what lies in it by now; the command brings nothing in."""
        use = self._use
        await self._ctx.thread(self._stay)
        until = use.record.until
        found = await self.settled(lambda: use, apply=False, why="it stays in the view that was named")
        return (
            found
            if found.view
            else replace(found, applied=False, view=self.view.id, why="nothing differs", until=until)
        )

    def close(self) -> None:
        """Give the view back; what a command left there that was cancelled counts as well. Blocks."""
        try:
            self._stay()
        finally:
            super().close()

    def _stay(self) -> None:
        if not self._stays:
            use = self._use
            use.stay(held_on_disk(self.view), max(use.record.until, self._views.now() + REHEARSED_S))
            self._stays = True


class RunViews:
    """Make the views of commands, in the way that works on this machine."""

    def __init__(self, views: Views, holdings: Holdings, lend: Lend = _lend_none) -> None:
        self._views = views
        self._holdings = holdings
        self._lend = lend
        self._mountings = Mountings(views)

    async def narrowed(self, ctx: Context, profile: Profile) -> Profile:
        """Give a profile whose command adds no more to the disk than its principal may still leave there.

        Raises `TooLarge` when that is nothing, `Unavailable` when the disk is nearly full: before anything runs.
        """
        if profile.workspace != "write":
            return profile
        room = await self._holdings.require(ctx.tenant, ctx.principal.charged)
        limits = profile.limits
        return replace(profile, limits=replace(limits, disk_bytes=min(limits.disk_bytes, room)))

    async def sized(self, backend: Backend, user: int | None) -> bool:
        """Tell whether what commands add to a workspace can be limited here. Raises `Unavailable` without any way."""
        return (await self._mountings.of(backend, user)).sized

    async def of(self, ctx: Context, backend: Backend, start: Start) -> RunView:
        """Give the view of the workspace in which a command starts. Raises `SandboxUnavailable`, `TooLarge`."""
        way = await self._way(backend, start.user)
        another = self._maker(way, start.workspace, start.tenant, start.user)
        ahead = await self._lend(start) if way.mounting == "before" else None

        def make() -> RunView:
            use = self._adopted(ahead, ctx.principal) or another(chain=ctx.principal.ids, marks=ctx.principal.marks)
            try:
                found = RunView(ctx, self._views, use, way, start.profile.limits, self._holdings)
            except BaseException:
                use.close()
                raise
            found.another = partial(_ahead, self._views, another)
            return found

        return await ctx.thread(make)

    async def going_on(self, ctx: Context, backend: Backend, start: Start, id: str) -> RunView:
        """Give a view that waits, for one more command. Raises `NotFound`, `Conflict`, `InvalidInput`."""
        way = await self._way(backend, start.user)

        def lend() -> RunView:
            if not self._views.records.read(id).there_for(ctx.tenant, ctx.principal.mark):
                raise no_view(id)
            use = self._views.alone(id)
            try:
                _require_same(use, way, start)
                require_folder(use.view, start.cwd.removeprefix(INSIDE).lstrip("/"))
                self._views.empty_scratch(use.view)
                return GoingOn(ctx, self._views, use, way, start.profile.limits, self._holdings)
            except BaseException:
                use.close()
                raise

        return await ctx.thread(lend)

    async def waiting(
        self, ctx: Context, backend: Backend, workspace: str, user: int | None, kept_s: float
    ) -> tuple[str, str, float]:
        """Make a view that waits for commands; gives its id, the folder, and until when. Raises as `of` does."""
        make = self._maker(await self._way(backend, user), workspace, ctx.tenant, user)

        def work() -> tuple[str, str, float]:
            with make(chain=ctx.principal.ids, marks=ctx.principal.marks) as use:
                use.rest(kept_s, held=held_on_disk(use.view))
                return use.record.id, use.record.lower, use.record.until

        return await ctx.thread(work)

    async def held(self, ctx: Context, backend: Backend, workspace: str, user: int | None, limits: Limits) -> HeldView:
        """Make the view of a workspace for a session; it lies on the disk. Raises as `of` does."""
        make = self._maker(await self._way(backend, user), workspace, ctx.tenant, user)
        use = await ctx.thread(partial(make, chain=ctx.principal.ids, marks=ctx.principal.marks))
        return HeldView(self._views, use, lambda hold: growth(ctx, self._holdings, use.view, hold, limits.disk_bytes))

    async def settled(self, ctx: Context, id: str, *, apply: bool) -> Effects:
        """Bring in what a session left in its view, or leave it there. Raises as `conclude` does."""
        own = await ctx.thread(self._views.alone, id)
        settling = Settling(ctx, self._views, own.view)
        try:
            return await settling.settled(lambda: own, apply=apply, why="" if apply else "it was asked to wait")
        except BaseException:
            settling.told()
            raise
        finally:
            own.close()
            await ctx.thread(settling.forget)

    def _adopted(self, ahead: Ahead | None, principal: Principal) -> Use | None:
        if not isinstance(ahead, ViewAhead):
            return None
        try:
            self._views.adopt(ahead.use, chain=principal.ids, marks=principal.marks)
        except BaseException as bad:
            ahead.drop()
            if isinstance(bad, Conflict | NotFound):
                return None
            raise
        return ahead.use

    async def _way(self, backend: Backend, user: int | None) -> Way:
        try:
            return await self._mountings.of(backend, user)
        except Problem as problem:
            raise SandboxUnavailable(problem.detail, hint=problem.hint) from None

    def _maker(self, way: Way, workspace: str, tenant: str, user: int | None) -> Callable[..., Use]:
        uid, gid = ids(user)
        return partial(self._views.make, workspace, tenant=tenant, mounting=way.mounting, uid=uid, gid=gid)


def _require_same(use: Use, way: Way, start: Start) -> None:
    """Go on only where a view can be shown as it was made, in place of the same folder."""
    record = use.record
    if record.lower != start.workspace:
        raise InvalidInput(f"this is a view of `{printable(record.lower)}`", hint="use a key with that workspace")
    if record.state != "resting":
        raise Conflict("a session works on this view", hint="go on in that session, or close it")
    if (record.uid, record.gid) != ids(start.user) or record.mounting not in (way.mounting, "copy"):
        raise Conflict("the view was made for another level of containment", hint="make one anew")
    with os_errors_about(record.lower):
        if inode_of(os.lstat(record.lower)) != record.inode:
            raise Conflict(f"`{printable(record.lower)}` is not what it was", hint="make a view anew")


def _ahead(views: Views, make: Callable[..., Use]) -> Ahead:
    return ViewAhead(views, make(chain=("",)))


def growth(ctx: Context, holdings: Holdings, view: View, hold: Callable[[int], None], most: int) -> Growth:
    """Say what the view of a call may grow to on the disk; `hold` notes what it holds."""
    tenant, chain = ctx.tenant, ctx.principal.charged

    async def outgrown(held: int) -> bool:
        return await holdings.outgrown(tenant, chain, lambda: hold(held))

    return Growth(view, most, holdings.reserve.left, outgrown)

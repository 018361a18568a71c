"""One command's view: made before it starts, and concluded when it has ended: accepted, or left to be looked at."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import partial

from superagent.core.commands import ChangedPath, Effects
from superagent.core.containment import Limits, Profile
from superagent.core.context import Context
from superagent.core.principal import Principal
from superagent.core.problems import Conflict, Deadline, Denied, NotFound, Problem, SandboxUnavailable
from superagent.runtime.holdings import Holdings
from superagent.runtime.os_problems import os_errors_about, printable
from superagent.runtime.sandbox.backend import Ahead, Backend, Running, Start
from superagent.runtime.sandbox.mountings import Mountings, Way, ids
from superagent.runtime.sandbox.session_ground import HeldView
from superagent.runtime.sandbox.view import View
from superagent.runtime.sandbox.view_accept import accept
from superagent.runtime.sandbox.view_choice import choose
from superagent.runtime.sandbox.view_diff import Diff, Difference, read_diff
from superagent.runtime.sandbox.view_memory import bring_out
from superagent.runtime.sandbox.view_places import open_sides
from superagent.runtime.sandbox.view_sides import Tick
from superagent.runtime.sandbox.view_size import Growth, bounded, held_in_memory, held_on_disk
from superagent.runtime.sandbox.view_text import text_of
from superagent.runtime.sandbox.views import Use, Views

KEPT_S = 86_400.0
REHEARSED_S = 3600.0
MOST_TEXT = 64 * 1024
MOST_LISTED = 200
SMALL_BYTES = 64 * 1024
"""What is kept of a command in any case: refusing it would free nothing worth speaking of."""

GRACE_S = 30.0
"""How long what a command did may take to be looked at and accepted, beyond the time of the command itself."""


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


class Settling:
    """What becomes of what lies in a view, for one call: it is brought in, or waits and is told of."""

    def __init__(self, ctx: Context, views: Views, view: View) -> None:
        self._ctx = ctx
        self._views = views
        self.view = view
        self._told = False  # whether somebody knows by now that something waits in it

    async def settled(self, lend: Callable[[], Use], *, apply: bool, why: str) -> Effects:
        """Bring in what a view holds that `lend` gives alone, or leave it there and say why.

        Raises `Denied` and `NotFound` for what the caller may not do.
        """
        ctx, views = self._ctx, self._views
        with await ctx.thread(lend) as own:
            found = await self._found(own, apply, why, _ticker(ctx))
            if found.view:
                await ctx.thread(views.records.write, own.record)  # durable now: somebody is told of it
                self._told = True
            return found

    async def _found(self, own: Use, apply: bool, why: str, tick: Tick) -> Effects:
        """Read what the command did, and bring it in if nothing speaks against that."""
        ctx, views = self._ctx, self._views
        waits = Effects(False, "", own.record.id, until=own.record.until)
        try:
            diff = await ctx.thread(read_diff, self.view, views.records.origin(own.record), None, tick)
            if not diff.differences:
                return Effects(applied=True, digest=diff.digest)
            text = await ctx.thread(self._text, diff)
        except Problem as problem:
            return replace(waits, why=problem.detail)
        shown = tuple(_changed(one) for one in diff.differences[:MOST_LISTED])
        waits = replace(waits, digest=diff.digest, changes=shown, total=len(diff.differences), diff=text, why=why)
        return await self._applied(own, diff, waits, tick) if apply else waits

    async def _applied(self, own: Use, diff: Diff, waits: Effects, tick: Tick) -> Effects:
        """Bring in what can be, and give what waits still."""
        try:
            left_out = await self._accept(own, diff, tick)
        except Problem as problem:
            if self._ctx.effects or isinstance(problem, Denied | NotFound):
                problem.hint = f"what it changed waits in the view {own.record.id}: accept the parts that you may"
                self._told = True
                raise
            faults = "; ".join(f"{one.path}: {one.message}" for one in problem.errors[:20])
            return replace(waits, why=faults or problem.detail)
        if left_out:
            return replace(waits, applied=True, left_out=left_out, why="")
        return replace(waits, applied=True, view="", why="", until=0.0)

    async def _accept(self, own: Use, diff: Diff, tick: Tick) -> tuple[tuple[str, str], ...]:
        """Make real what needs not be named, and give what stays in the view with the reasons."""
        ctx, views = self._ctx, self._views
        choice = await ctx.thread(choose, diff)
        origin = await ctx.thread(views.records.origin, own.record)
        try:
            stamps = await accept(ctx, self.view, origin, choice.steps, tick)
        except BaseException:  # what is put back now must not pass for somebody else's change
            seen = {one.path: one.before.told() for step in choice.steps for one in step.parts}
            await ctx.thread(views.note_seen, own, origin, seen)
            raise
        if choice.left_out:
            await ctx.thread(views.note_accepted, own, origin, stamps)
        return tuple((printable(one.path), why) for one, why in choice.left_out[:MOST_LISTED])

    def _text(self, diff: Diff) -> str:
        texts: list[str] = []
        left = MOST_TEXT
        with os_errors_about(self.view.lower), open_sides(self.view) as (view_fd, lower_fd):
            for one in diff.differences:
                text = text_of(one, view_fd, lower_fd)
                left -= len(text.encode("utf-8", "replace"))
                if left < 0:
                    texts.append(f"more than {MOST_TEXT} bytes differ, too many to show\n")
                    break
                texts.append(text)
        return "".join(texts)

    def told(self) -> None:
        """Say that somebody knows of the view, whatever became of it here."""
        self._told = True

    def forget(self) -> None:
        """Remove a view of which nobody was told; blocks."""
        if not self._told:
            with contextlib.suppress(Problem, OSError), self._views.alone(self.view.id) as own:
                self._views.discard(own)


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
        tick = _ticker(ctx)
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


def _changed(one: Difference) -> ChangedPath:
    return ChangedPath(printable(one.path), one.kind)


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


def _ahead(views: Views, make: Callable[..., Use]) -> Ahead:
    return ViewAhead(views, make(chain=("",)))


def growth(ctx: Context, holdings: Holdings, view: View, hold: Callable[[int], None], most: int) -> Growth:
    """Say what the view of a call may grow to on the disk; `hold` notes what it holds."""
    tenant, chain = ctx.tenant, ctx.principal.charged

    async def outgrown(held: int) -> bool:
        return await holdings.outgrown(tenant, chain, lambda: hold(held))

    return Growth(view, most, holdings.reserve.left, outgrown)


def _ticker(ctx: Context) -> Tick:
    end = time.monotonic() + GRACE_S
    if ctx.invocation.deadline is not None:
        end = min(end, ctx.invocation.deadline)

    def tick() -> None:
        if time.monotonic() > end:
            raise Deadline("there was no time left to bring in what it changed", hint="accept parts of it by name")

    return tick

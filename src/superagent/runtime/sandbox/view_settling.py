"""What becomes of what lies in a view: it is brought in, or waits and is told of."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import replace

from superagent.core.commands import ChangedPath, Effects
from superagent.core.context import Context
from superagent.core.problems import Deadline, Denied, NotFound, Problem
from superagent.runtime.os_problems import os_errors_about, printable
from superagent.runtime.sandbox.view import View
from superagent.runtime.sandbox.view_accept import accept
from superagent.runtime.sandbox.view_choice import choose
from superagent.runtime.sandbox.view_diff import Diff, Difference, read_diff
from superagent.runtime.sandbox.view_places import open_sides
from superagent.runtime.sandbox.view_sides import Tick
from superagent.runtime.sandbox.view_text import text_of
from superagent.runtime.sandbox.views import Use, Views

MOST_TEXT = 64 * 1024
MOST_LISTED = 200
GRACE_S = 30.0
"""How long what a command did may take to be looked at and accepted, beyond the time of the command itself."""


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
            found = await self._found(own, apply, why, ticker(ctx))
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


def _changed(one: Difference) -> ChangedPath:
    return ChangedPath(printable(one.path), one.kind)


def ticker(ctx: Context) -> Tick:
    """Give what raises `Deadline` when a call has no time left to bring in what its command did."""
    end = time.monotonic() + GRACE_S
    if ctx.invocation.deadline is not None:
        end = min(end, ctx.invocation.deadline)

    def tick() -> None:
        if time.monotonic() > end:
            raise Deadline("there was no time left to bring in what it changed", hint="accept parts of it by name")

    return tick

"""The capability `views`: what one call may see and do with the views of its principal."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TypeVar, cast

from superagent.core.context import Context
from superagent.core.problems import Conflict, Deadline, InvalidInput
from superagent.core.resources import Effect, Resource
from superagent.runtime.files_reach import FilesReach
from superagent.runtime.os_problems import os_errors_about, printable
from superagent.runtime.sandbox.sessions import Session, Sessions
from superagent.runtime.sandbox.view_accept import accept, judge, resource_of
from superagent.runtime.sandbox.view_choice import Choice, choose
from superagent.runtime.sandbox.view_diff import Diff, Difference, read_diff
from superagent.runtime.sandbox.view_places import open_sides
from superagent.runtime.sandbox.view_records import no_view
from superagent.runtime.sandbox.view_sides import Bounds, Tick
from superagent.runtime.sandbox.view_text import text_of
from superagent.runtime.sandbox.views import Use, Views

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Look:
    """What a view holds that the caller may see; `hidden` counts the rest, which `digest` covers as well."""

    folder: str
    digest: str
    differences: tuple[Difference, ...]
    hidden: int
    until: float
    in_use: bool


@dataclass(frozen=True, slots=True)
class Accepted:
    """What became real, what stayed in the view and why, and how many differences are left there.

    `digest` names the whole diff of which it was chosen.
    """

    digest: str
    accepted: tuple[Difference, ...]
    left_out: tuple[tuple[Difference, str], ...]
    left: int


@dataclass(frozen=True, slots=True)
class Held:
    """A view that is there; times in epoch seconds, `bytes` as they were measured last."""

    id: str
    folder: str
    running: bool
    since: float
    until: float
    bytes: int


@dataclass(frozen=True, slots=True)
class Opened:
    """A session that is open in this process; `view` and `folder` are empty where it can change nothing."""

    id: str
    kind: str
    view: str
    folder: str
    until: float
    in_use: bool


@dataclass(frozen=True, slots=True)
class Inventory:
    """What a principal has and may see, each newest first; `hidden` counts what it may not see."""

    views: tuple[Held, ...]
    sessions: tuple[Opened, ...]
    hidden: int


class ViewsReach:
    """The views of one call's principal."""

    __slots__ = ("_bounds", "_ctx", "_sessions", "_views")

    def __init__(
        self, ctx: Context, views: Views, bounds: Bounds | None = None, sessions: Sessions | None = None
    ) -> None:
        self._sessions = sessions
        self._ctx = ctx
        self._views = views
        self._bounds = bounds

    async def inventory(self) -> Inventory:
        """Give the views and open sessions that are there for the principal and whose folders it may read."""
        here = self._sessions.those_of(self._ctx.principal) if self._sessions is not None else []
        sessions = [_opened(one) for one in here]
        views = await self._ctx.thread(self._held)
        folders = {one.folder for one in (*views, *sessions)}
        seen = {one for one in folders if not one or self._ctx.may(Resource("path", "local", one, Effect.READ))}
        hidden = sum(one.folder not in seen for one in (*views, *sessions))
        return Inventory(
            tuple(one for one in views if one.folder in seen),
            tuple(one for one in sessions if one.folder in seen),
            hidden,
        )

    def _held(self) -> list[Held]:
        """Give all views of the principal; those that nobody may rely on any more are left out."""
        ctx, now = self._ctx, self._views.now()
        found = [
            Held(one.id, one.lower, one.state != "resting", one.at, one.until, one.bytes)
            for one in self._views.records.all()
            if one.there_for(ctx.tenant, ctx.principal.mark) and (one.state != "resting" or one.until > now)
        ]
        return sorted(found, key=lambda one: (one.since, one.id), reverse=True)

    async def look(self, view: str, folder: str) -> Look:
        """Read the differences of a view. Raises `NotFound`, `InvalidInput` when it is a view of another folder."""

        def work(use: Use) -> Look:
            diff = self._read(use)
            visible = tuple(one for one in diff.differences if self._may_read(use, one.path))
            hidden = len(diff.differences) - len(visible)
            record = use.record
            return Look(record.lower, diff.digest, visible, hidden, record.until, record.state != "resting")

        return await self._with(view, folder, work, alone=False)

    async def texts(self, view: str, folder: str, differences: Sequence[Difference], most_bytes: int) -> list[str]:
        """Give the text of each difference, empty where there is none or once they are longer than `most_bytes`."""

        def work(use: Use) -> list[str]:
            texts: list[str] = []
            left = most_bytes
            tick = self._ticker()
            with os_errors_about(use.view.lower), open_sides(use.view) as (view_fd, lower_fd):
                for one in differences:
                    tick()
                    # who may only change a file learns nothing of what it holds
                    text = text_of(one, view_fd, lower_fd) if left > 0 and self._may_read(use, one.path) else ""
                    left -= len(text.encode("utf-8", "replace"))
                    texts.append(text if left >= 0 else "")
            return texts

        return await self._with(view, folder, work, alone=False)

    async def plan(self, view: str, folder: str, paths: Sequence[str] | None, digest: str) -> Accepted:
        """Say what accepting would do. Raises whatever it would refuse with."""

        def work(use: Use) -> Accepted:
            diff, choice = self._choose(use, paths, digest)
            judge(self._ctx, use.view, choice.steps)
            return _outcome(diff, choice)

        return await self._with(view, folder, work, alone=False)

    async def accept(self, view: str, folder: str, paths: Sequence[str] | None, digest: str) -> Accepted:
        """Bring chosen differences, or all that need not be named, into the real folder; all of them or none.

        With `digest`, only if the whole diff is still that one. A view that rests and of which nothing is left is
        discarded.
        Of a session that goes on, what it has changed by now can be brought in.
        Raises `Conflict`, `Denied`, `NotFound`, `InvalidInput`, `TooLarge`.
        """
        await self._ctx.thread(self._require_own, view)
        session = self._session(view)
        held = session.ground.held if session is not None else None
        async with held.apart() if held is not None else nullcontext():
            return await self._accept(view, folder, paths, digest)

    async def _accept(self, view: str, folder: str, paths: Sequence[str] | None, digest: str) -> Accepted:
        use = await self._lend(view, folder, alone=True)
        try:
            diff, choice = await self._ctx.thread(self._choose, use, paths, digest)
            origin = await self._ctx.thread(self._views.records.origin, use.record)
            seen = {one.path: one.before.told() for step in choice.steps for one in step.parts}
            await self._ctx.thread(self._views.note_seen, use, origin, seen)
            stamps = await accept(self._ctx, use.view, origin, choice.steps, self._ticker())
            done = _outcome(diff, choice)
            if done.left or use.record.state != "resting":  # a session that goes on keeps its view
                await self._ctx.thread(self._views.note_accepted, use, origin, stamps)
            else:
                await self._ctx.thread(self._views.discard, use)
            return done
        finally:
            use.close()

    async def discard(self, view: str, folder: str) -> None:
        """Remove a view with all it holds; a session that works on it ends, for it would have nothing to stand on.

        Raises `NotFound`, `Conflict` while a command runs on it, or a session in another process.
        """
        (await self._lend(view, folder, alone=False)).close()  # judged before anything is ended for it
        session = self._session(view)
        if session is not None and self._sessions is not None:
            await self._sessions.end(session, "discarded")
            if not session.view:  # nothing was in it, so it is gone with the session
                return
        await self._with(view, folder, self._views.discard, alone=True)

    def _session(self, view: str) -> Session | None:
        return self._sessions.holding(view) if self._sessions is not None else None

    def _choose(self, use: Use, paths: Sequence[str] | None, digest: str) -> tuple[Diff, Choice]:
        diff = self._read(use)
        if self._ctx.invocation.approvals and not digest and use.record.state != "resting":
            # it may be another one at each look: what a person was shown is not what would come
            raise Conflict(
                "something still runs on this view, so a person can only approve the diff of a `digest`",
                hint=f"look at it with `sandbox.diff` and name its digest: it is {diff.digest} now",
            )
        if digest and digest.lower() != diff.digest:
            raise Conflict(
                "the diff is not the one that was looked at any more", hint="look at it again with `sandbox.diff`"
            )
        named = None if paths is None else [_relative(path, use.view.lower) for path in paths]
        return diff, choose(diff, named)

    def _read(self, use: Use) -> Diff:
        return read_diff(use.view, self._views.records.origin(use.record), self._bounds, self._ticker())

    def _may_read(self, use: Use, path: str) -> bool:
        return self._ctx.may(resource_of(use.view, path, Effect.READ))

    async def _with(self, view: str, folder: str, work: Callable[[Use], T], *, alone: bool) -> T:
        use = await self._lend(view, folder, alone=alone)
        try:
            return await self._ctx.thread(work, use)
        finally:
            use.close()

    async def _lend(self, view: str, folder: str, *, alone: bool) -> Use:
        def work() -> Use:
            self._require_own(view)
            use = self._views.alone(view) if alone else self._views.use(view)
            try:
                with cast(FilesReach, self._ctx.files).at(folder) as at:  # its real path is judged again
                    if at.real != use.record.lower:
                        raise InvalidInput(
                            f"this is a view of `{printable(use.record.lower)}`", hint="name that as `folder`"
                        )
            except BaseException:
                use.close()
                raise
            return use

        return await self._ctx.thread(work)

    def _require_own(self, view: str) -> None:
        """Go on only for the one who made it within these bounds, or somebody on whose behalf it was made."""
        if not self._views.records.read(view).there_for(self._ctx.tenant, self._ctx.principal.mark):
            raise no_view(view)

    def _ticker(self) -> Tick:
        end = time.monotonic() + self._ctx.operation.timeout_s
        if self._ctx.invocation.deadline is not None:
            end = min(end, self._ctx.invocation.deadline)

        def tick() -> None:
            if time.monotonic() > end:
                raise Deadline("this did not end in time", hint="accept parts of it by name, or give it more time")

        return tick


def _opened(one: Session) -> Opened:
    held = one.ground.held
    folder = held.view.lower if held is not None else ""
    return Opened(one.id, one.kind, one.view, folder, one.until, one.busy > 0)


def _outcome(diff: Diff, choice: Choice) -> Accepted:
    parts = tuple(one for step in choice.steps for one in step.parts)
    return Accepted(diff.digest, parts, choice.left_out, len(diff.differences) - len(parts))


def _relative(path: str, lower: str) -> str:
    """Give a path as it stands in a diff."""
    relative = path.removeprefix(f"{lower.rstrip('/')}/").removesuffix("/").removeprefix("./") or path
    if relative.startswith("/") or any(part in ("", "..") for part in relative.split("/")):
        raise InvalidInput(f"`{path[:200]}` is no path in this view", hint="name paths as `sandbox.diff` shows them")
    return relative

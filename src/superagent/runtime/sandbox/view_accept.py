"""Accepting: chosen differences become real, each step judged, kept for undo and compared; all of them or none."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Iterator
from contextlib import ExitStack
from typing import cast

from superagent.core.context import Context
from superagent.core.problems import Conflict, Internal, Problem
from superagent.core.resources import Effect, Resource
from superagent.runtime.beneath import look, open_directory
from superagent.runtime.file_restore import remove
from superagent.runtime.files_reach import FilesReach
from superagent.runtime.os_problems import os_errors_about, printable
from superagent.runtime.sandbox.view import View
from superagent.runtime.sandbox.view_apply import Differs, Placer
from superagent.runtime.sandbox.view_build import Builder
from superagent.runtime.sandbox.view_choice import Step
from superagent.runtime.sandbox.view_origin import REMOVED, Origin, Stamp, stamp_of
from superagent.runtime.sandbox.view_places import open_beneath, open_sides
from superagent.runtime.sandbox.view_sides import Tick
from superagent.runtime.system_calls import sync_filesystem

AT_ONCE = 8  # steps under way: what each keeps for undo shares a commit with the others


async def accept(ctx: Context, view: View, origin: Origin, steps: tuple[Step, ...], tick: Tick) -> dict[str, Stamp]:
    """Make these steps real and give the stamps of what stands there now, by path.

    Everything is built beside first, so a full disk or a view that changed is found before the first effect. Whatever
    fails later, the line puts back what was done: the operation must be declared `atomic`. Raises `Denied`, `Conflict`.
    """
    if not ctx.operation.atomic:
        raise Internal(f"`{ctx.operation.name}` accepts a view and is not declared atomic")
    await ctx.thread(judge, ctx, view, steps)
    site = _Site(view)
    try:
        untouched = await ctx.thread(site.open, origin, steps)
        await ctx.thread(site.build, steps, tick)
        await _together(ctx, site, steps)
        # a folder's mode comes last, innermost first: it may forbid what the other steps do in it
        for at, step in sorted(enumerate(steps), key=lambda one: -one[1].path.count("/")):
            if _is_folder_mode(step):
                await site.take(ctx, step, f"{at}")
        return await ctx.thread(site.stamps, untouched, steps)
    finally:
        await ctx.thread(site.close)


def judge(ctx: Context, view: View, steps: tuple[Step, ...]) -> None:
    """Go on only if the caller may do each step with all it takes along; blocks. Raises `Denied`, `NotFound`."""
    for step in steps:
        for one in step.parts:
            effect = Effect.DESTROY if one.after.kind == "absent" else Effect.CHANGE
            ctx.require(resource_of(view, one.path, effect, folder=one.folder))
        ctx.require(resource_of(view, step.path, step.effect, folder=step.parts[0].folder))


def resource_of(view: View, path: str, effect: Effect, *, folder: bool = False) -> Resource:
    """Give a place of the view as the resource that it is in the real folder."""
    return Resource("path", "local", f"{view.lower.rstrip('/')}/{path}", effect, folder)


def staging_name(view: View) -> str:
    """Give the hidden name in the real folder under which steps are built: known, so that a crash leaves nothing."""
    return f".superagent-{hashlib.sha256(view.id.encode()).hexdigest()[:24]}"


def sweep_staging(view: View) -> None:
    """Remove what an accepting that was cut off left in the real folder. Raises `OSError`."""
    with open_sides(view) as (_, lower_fd):
        remove(lower_fd, staging_name(view))


def _is_folder_mode(step: Step) -> bool:
    return step.does == "mode" and step.parts[0].after.kind == "directory"


async def _together(ctx: Context, site: _Site, steps: tuple[Step, ...]) -> None:
    limit = asyncio.Semaphore(AT_ONCE)

    async def take(step: Step, name: str) -> None:
        async with limit:
            await site.take(ctx, step, name)

    try:
        async with asyncio.TaskGroup() as group:
            for at, step in enumerate(steps):
                if not _is_folder_mode(step):
                    group.create_task(take(step, f"{at}"))
    except ExceptionGroup as several:
        problems = [one for one in several.exceptions if isinstance(one, Problem)]
        raise (problems or list(several.exceptions))[0] from None


class _Site:
    """The two sides of a view and the folder in which its steps are built, all open."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._name = staging_name(view)
        self._stack = ExitStack()
        self._view_fd = self._lower_fd = self._staging_fd = -1

    def open(self, origin: Origin, steps: tuple[Step, ...]) -> set[str]:
        """Open all, and give the folders around the steps that nobody else touched since the view was made."""
        with os_errors_about(self._view.lower):
            self._view_fd, self._lower_fd = self._stack.enter_context(open_sides(self._view))
            remove(self._lower_fd, self._name)
            folders = {step.path.rpartition("/")[0] for step in steps}
            untouched = {path for path, info in self._folders(folders) if not origin.touched(path, info)}
            self._stack.callback(remove, self._lower_fd, self._name)
            os.mkdir(self._name, 0o700, dir_fd=self._lower_fd)
            self._staging_fd = open_directory(self._lower_fd, self._name)
            self._stack.callback(os.close, self._staging_fd)
        return untouched

    def close(self) -> None:
        """Remove what is left of the building."""
        with os_errors_about(self._view.lower, "unknown"):
            self._stack.close()

    def build(self, steps: tuple[Step, ...], tick: Tick) -> None:
        """Build every step and bring all of it to the disk."""
        view = self._view
        builder = Builder(self._view_fd, self._lower_fd, self._staging_fd, view.uid, view.gid, tick)
        for at, step in enumerate(steps):
            if step.does == "put":
                with os_errors_about(f"{view.lower}/{step.path}"):
                    builder.build(step, f"{at}")
        sync_filesystem(self._staging_fd)

    async def take(self, ctx: Context, step: Step, name: str) -> None:
        """Keep what stands there, then take one step."""
        resource = resource_of(self._view, step.path, step.effect, folder=step.parts[0].folder)
        files = cast(FilesReach, ctx.files)
        placer = Placer(self._view_fd, self._staging_fd, self._view.lower)

        def work() -> None:
            place = files.at(resource.path, effect=step.effect, follow=False, folder=resource.folder)
            with place as at, os_errors_about(resource.path):
                if at.is_dir and step.does != "mode":
                    files.require_whole(at, step.effect)
                placer.apply(step, at, name)
                remove(self._staging_fd, name)

        async with ctx.changing(resource) as change:
            try:
                await ctx.thread(work)
            except Differs as found:
                change.untouched()
                raise Conflict(
                    f"`{printable(step.path)}`: {found}; nothing was accepted",
                    hint="look at the diff again, then decide",
                ) from found

    def stamps(self, folders: set[str], steps: tuple[Step, ...]) -> dict[str, Stamp]:
        """Give the stamps of what stands there now, and of the folders around it that were untouched before."""
        remove(self._lower_fd, self._name)  # before the top folder is looked at: this changes its time
        found = {path: stamp_of(info) for path, info in self._folders(folders)}
        for step in steps:
            for one in step.parts:
                folder, _, name = one.path.rpartition("/")
                try:
                    fd = open_beneath(self._lower_fd, folder)
                except OSError:  # it went with the step
                    found[one.path] = REMOVED
                    continue
                try:
                    info = look(fd, name)
                finally:
                    os.close(fd)
                found[one.path] = stamp_of(info) if info is not None else REMOVED
        return found

    def _folders(self, paths: set[str]) -> Iterator[tuple[str, os.stat_result]]:
        for path in paths:
            try:
                fd = open_beneath(self._lower_fd, path)
            except OSError:
                continue
            try:
                yield path, os.fstat(fd)
            finally:
                os.close(fd)

"""Effects as a diff: look at what a command did on its view of a folder, bring it into the folder, or drop it."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import Field

from superagent.sdk import Conflict, Context, Effect, Example, Plugin, Preview, ReadPath, Resource, Risk, put_back

from .model import (
    Accepted,
    Change,
    Created,
    Diff,
    Difference,
    Discarded,
    Left,
    Paths,
    Room,
    Sha256,
    Side,
    State,
    Taken,
    ViewId,
    Views,
)

MOST_TEXT = 256 * 1024  # bytes of diffs in one answer
MOST_LISTED = 1000  # in answers that list paths

KEPT_S, LONGEST_S = 86_400.0, 7 * 86_400.0

sandbox = Plugin("sandbox", reaches=("files", "views", "run"))


def views(ctx: Context) -> Views:
    """Give the views that this call may reach."""
    return ctx.reach("views")


@sandbox.operation(
    risk=Risk.LOW,
    effect=Effect.CHANGE,
    ephemeral="a view is a copy of your own: the real folder stays as it is without it",
    timeout_s=120.0,
    reaches=("files", "run"),
    examples=(Example("a place for several commands", {"keep_s": 3600}),),
)
async def create(ctx: Context, keep_s: Annotated[float, Field(ge=60, le=LONGEST_S)] = KEPT_S) -> Created:
    """Make a view of your workspace for several commands, whose changes are looked at and brought in together.

    Name it as `view` of `shell.run`, `shell.exec` and `shell.script`: each goes on where the one before ended, each in
    a sandbox of its own, and the workspace stays as it is. Then `sandbox.diff`, and `sandbox.accept` or
    `sandbox.discard`. It waits for `keep_s` seconds, and for an hour after each command at the least. A session
    (`shell.session_open`) keeps more than files: variables, folders, what runs.
    """
    reach: Room = ctx.reach("run")
    view, folder, until = await reach.view(keep_s)
    return Created(view=view, folder=shown(folder), until=round(until, 3))


@create.touches
def _(values: dict[str, Any], workspace: str) -> list[Resource]:
    """Name what it shows: all of the caller's workspace."""
    del values
    return [Resource("path", "local", workspace, Effect.READ)] if workspace else []


@sandbox.operation(risk=Risk.LOW, timeout_s=120.0)
async def diff(
    ctx: Context,
    view: ViewId,
    folder: ReadPath = ".",
    text: bool = True,
    after: str = "",
    limit: Annotated[int, Field(ge=1, le=MOST_LISTED)] = 200,
) -> Diff:
    """List what a command did on its view of a folder, path by path, with a diff of what is text.

    `folder` is the real folder, your workspace when left out. `after` is the path to go on after.
    """
    found = await views(ctx).look(view, folder)
    names = [shown(one.path) for one in found.differences]
    begin = names.index(after) + 1 if after in names else 0
    page = found.differences[begin : begin + limit]
    texts = await views(ctx).texts(view, folder, page, MOST_TEXT) if text else [""] * len(page)
    return Diff(
        view=view,
        folder=shown(found.folder),
        digest=found.digest,
        changes=[_change(one, text) for one, text in zip(page, texts, strict=True)],
        total=len(names),
        hidden=found.hidden,
        next=shown(page[-1].path) if page and begin + limit < len(names) else "",
        in_use=found.in_use,
        until=found.until,
    )


# what changes is known only when the view is read, and each path is judged then; the folder is named to be judged first
@sandbox.operation(risk=Risk.MEDIUM, effect=Effect.CHANGE, undo=put_back, atomic=True, timeout_s=600.0)
async def accept(
    ctx: Context,
    view: ViewId,
    folder: ReadPath = ".",
    paths: Paths | None = None,
    digest: Sha256 | None = None,
) -> Accepted:
    """Bring what a command did on its view into the real folder, as one change that can be taken back.

    All of it, or with `paths` (as the diff shows them) what lies at and beneath these. With `digest`, only if the whole
    diff is still that one: needed where a person must approve it while a session works on it. What somebody changed in
    the folder since is a conflict, and then nothing is accepted.
    """
    done = await views(ctx).accept(view, folder, paths, digest or "")
    return Accepted(
        folder=folder,
        paths=[shown(one.path) for one in done.accepted[:MOST_LISTED]],
        left_out=[Left(path=shown(one.path), why=why) for one, why in done.left_out[:MOST_LISTED]],
        left=done.left,
        notes=_notes(done),
    )


@accept.touches
def _(values: dict[str, Any], workspace: str) -> list[Resource]:
    """Name what was named: what is accepted only by its name is judged by it, also where a person must approve it."""
    paths: list[str] = values["paths"] or []
    named = [posixpath.normpath(posixpath.join(values["folder"], path)) for path in paths]
    return [Resource("path", "local", path, Effect.CHANGE) for path in named]


@accept.preview
async def _(
    ctx: Context,
    view: ViewId,
    folder: ReadPath = ".",
    paths: Paths | None = None,
    digest: Sha256 | None = None,
) -> Preview:
    try:
        plan = await views(ctx).plan(view, folder, paths, digest or "")
    except Conflict as problem:
        conflicts = [f"{one.path}: {one.message}" for one in problem.errors] or [problem.detail]
        return Preview(summary="would change nothing: something speaks against it", conflicts=conflicts)
    texts = await views(ctx).texts(view, folder, plan.accepted, MOST_TEXT)
    left_out = f", and leave {len(plan.left_out)} in the view" if plan.left_out else ""
    return Preview(
        # the digest names every byte, also of what is not shown as text: an approval is bound to it
        summary=f"would bring {len(plan.accepted)} difference(s) of {plan.digest} into `{folder}`{left_out}",
        changes=[f"{shown(one.path)}: {one.kind}" for one in plan.accepted[:MOST_LISTED]],
        diff="".join(texts),
    )


@sandbox.operation(
    risk=Risk.LOW,
    effect=Effect.CHANGE,
    ephemeral="a view is the command's own copy: the real folder stays as it is without it",
)
async def discard(ctx: Context, view: ViewId, folder: ReadPath = ".") -> Discarded:
    """Drop a view with all that a command did in it; the real folder stays as it is."""
    await views(ctx).discard(view, folder)
    return Discarded(view=view)


def shown(path: str) -> str:
    """Give a path that can stand in JSON: bytes that are not UTF-8 become `\\xNN`."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def _change(one: Difference, text: str) -> Change:
    return Change(
        path=shown(one.path),
        kind=one.kind,
        before=_state(one.before),
        after=_state(one.after),
        conflict=one.conflict,
        refused=one.refused,
        notes=list(one.notes),
        by_name_only=one.steers,
        diff=text,
    )


def _state(side: Side) -> State | None:
    if side.kind == "absent":
        return None
    return State(
        kind=side.kind,
        mode=f"{side.mode:04o}" if side.kind != "link" else "",
        bytes=side.size,
        sha256="" if side.unread else side.digest,
        target=shown(side.target),
    )


def _notes(done: Taken) -> list[str]:
    parts: Sequence[Difference] = done.accepted
    return [f"{shown(one.path)}: {note}" for one in parts for note in one.notes][:MOST_LISTED]

"""The operation that applies a unified diff to many files: all of it or nothing, verified after."""

from __future__ import annotations

import contextlib
import hashlib
import os
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field

from superagent.sdk import (
    Conflict,
    Context,
    Effect,
    InvalidInput,
    NotFound,
    Output,
    Preview,
    ReadPath,
    Resource,
    Risk,
    put_back,
)

from .engine import differences, patches, renames, texts, writing
from .engine.places import Differs, Unfit
from .line import Place, files, reach, require_readable, told
from .reading import file_bytes
from .writing import MOST_EDITED, make_folders, topmost_missing

Text = Annotated[str, Field(min_length=1, max_length=16 * 1024 * 1024)]


class PatchedFile(Output):
    """One file: what happened to it, and its content's SHA-256 now (null when it was deleted)."""

    path: str
    change: str
    sha256: str | None


class Patched(Output):
    """All files that the patch changed."""

    root: str
    files: list[PatchedFile]


@dataclass(frozen=True, slots=True)
class _Step:
    """What is to happen to one file: its old place and content, its new place and content; None where there is none."""

    source: str | None
    target: str | None
    before: bytes | None
    after: bytes | None
    mode: int | None

    @property
    def change(self) -> str:
        if self.source is None:
            return "created"
        if self.target is None:
            return "deleted"
        return "changed" if self.source == self.target else f"renamed from {self.source}"


@files.operation(risk=Risk.MEDIUM, effect=Effect.CHANGE, undo=put_back, atomic=True, timeout_s=300.0)
async def patch(ctx: Context, patch: Text, root: ReadPath, fuzz: Literal[0] = 0) -> Patched:
    """Apply a unified diff to the files beneath a folder: all of it or nothing, and every file is read again after.

    It may change, create, delete and rename files. Each hunk must fit exactly, at its place or at exactly one other.
    """
    steps = await ctx.thread(_plan, ctx, patch, root)
    async with contextlib.AsyncExitStack() as stack:
        for resource in await ctx.thread(_changed, ctx, root, steps):
            await stack.enter_async_context(ctx.changing(resource))
        return Patched(root=root, files=await ctx.thread(_apply, ctx, root, steps))


@patch.touches
def _(values: dict[str, Any], workspace: str) -> list[Resource]:
    found: list[Resource] = []
    for one in _parsed(values["patch"]):
        for path in {one.source, one.target} - {None}:
            effect = Effect.DESTROY if one.target is None else Effect.CHANGE
            found.append(Resource("path", "local", _joined(values["root"], path or ""), effect))
        if one.source is not None:
            found.append(Resource("path", "local", _joined(values["root"], one.source), Effect.READ))
    return sorted(found, key=lambda resource: resource.path)


@patch.preview
async def _(ctx: Context, patch: Text, root: ReadPath, fuzz: Literal[0] = 0) -> Preview:
    def work() -> Preview:
        try:
            steps = _plan(ctx, patch, root)
        except (Conflict, InvalidInput) as problem:
            return Preview(summary="the patch does not fit", conflicts=[problem.detail])
        return Preview(
            summary=f"would patch {len(steps)} file(s)",
            changes=sorted({_joined(root, path) for step in steps for path in (step.source, step.target) if path}),
            diff="".join(_shown(step) for step in steps),
        )

    return await ctx.thread(work)


def _plan(ctx: Context, patch: str, root: str) -> list[_Step]:
    """Read every file and apply its hunks in memory: nothing is changed before all of them fit."""
    return [_step(ctx, one, root) for one in _parsed(patch)]


def _step(ctx: Context, one: patches.FilePatch, root: str) -> _Step:
    name = one.source or one.target or ""
    with told(ctx, name):
        before: bytes | None = None
        text, encoding, mode = "", texts.UTF8, one.mode
        if one.source is not None:
            with _place(ctx, root, one.source) as at:
                require_readable(ctx, at)  # a patch that does not fit tells what stands there
                before = file_bytes(at, MOST_EDITED)
                if one.target != one.source and mode is None:
                    mode = at.found().st_mode & 0o777  # a renamed file keeps its mode
            found = texts.decode(before) if before is not None else None
            if found is None:
                raise Unfit("it is not text, or too large to patch", "write it with `files.write`")
            text, encoding = found
        if one.target is not None and one.target != one.source and not _is_free(ctx, root, one.target):
            raise Differs(f"`{one.target}` exists already", "make the patch anew")
        after = patches.apply(text, one.hunks)
        if one.target is None and after:
            raise Differs("the patch deletes it, but does not hold all that is in it", "make the patch anew")
        return _Step(one.source, one.target, before, None if one.target is None else encoding.encode(after), mode)


def _changed(ctx: Context, root: str, steps: list[_Step]) -> list[Resource]:
    """Name what is to be kept: each file, and for one in a folder that does not exist yet, the highest such folder."""
    found: dict[str, Resource] = {}
    for step in steps:
        if step.source is not None:
            with _place(ctx, root, step.source) as at:
                effect = Effect.DESTROY if step.target is None else Effect.CHANGE
                found[at.real] = Resource("path", "local", at.real, effect)
        if step.target is not None and step.target != step.source:
            whole = _joined(root, step.target)
            first = topmost_missing(ctx, whole) or whole
            with reach(ctx).at(first, effect=Effect.CHANGE, follow=False, folder=first != whole) as at:
                found[at.real] = Resource("path", "local", at.real, Effect.CHANGE, first != whole)
    return list(found.values())


def _apply(ctx: Context, root: str, steps: list[_Step]) -> list[PatchedFile]:
    for step in steps:
        with told(ctx, step.target or step.source or ""):
            if step.target is not None and step.after is not None:
                _write(ctx, root, step, step.target, step.after)
            if step.source is not None and step.source != step.target:
                _remove(ctx, root, step.source, step.before or b"")
    done: list[PatchedFile] = []
    for step in steps:
        digest = None
        if step.target is not None and step.after is not None:
            with told(ctx, step.target), _place(ctx, root, step.target) as at:
                if file_bytes(at, MOST_EDITED) != step.after:
                    raise Conflict(f"`{step.target}` is not what was written", hint="somebody else writes it too")
            digest = hashlib.sha256(step.after).hexdigest()
        done.append(PatchedFile(path=step.target or step.source or "", change=step.change, sha256=digest))
    return done


def _write(ctx: Context, root: str, step: _Step, path: str, data: bytes) -> None:
    created = path != step.source
    if created:
        whole = _joined(root, path)
        folder, _, _ = whole.rpartition("/")
        first = topmost_missing(ctx, whole) or whole  # not of the folder: that may be the granted root itself
        if first != whole:
            with reach(ctx).at(first, effect=Effect.CHANGE, follow=False, folder=True) as at:
                make_folders(ctx, at, folder.removeprefix(first).strip("/"), None)
    with _place(ctx, root, path) as at:
        expected = None if created else hashlib.sha256(step.before or b"").hexdigest()
        writing.write(at.dir_fd, at.name, data, mode=step.mode, create_only=created, expected_hash=expected)


def _remove(ctx: Context, root: str, path: str, before: bytes) -> None:
    with _place(ctx, root, path) as at:
        if file_bytes(at, MOST_EDITED) != before:
            raise Differs("it changed since the patch was read", "make the patch anew")
        os.unlink(at.name, dir_fd=at.dir_fd)
        renames.sync_directory(at.dir_fd)


def _place(ctx: Context, root: str, path: str) -> Place:
    return reach(ctx).at(_joined(root, path), effect=Effect.CHANGE, follow=False)


def _is_free(ctx: Context, root: str, path: str) -> bool:
    try:
        with _place(ctx, root, path) as at:
            return not at.exists
    except NotFound:
        return True  # its folder does not exist either


def _joined(root: str, path: str) -> str:
    return f"{root.rstrip('/')}/{path}"


def _parsed(text: str) -> list[patches.FilePatch]:
    try:
        return patches.parse(text)
    except Unfit as error:
        raise InvalidInput(error.message, hint=error.hint) from error


def _shown(step: _Step) -> str:
    old, new = (texts.decode(data or b"") or ("", texts.UTF8) for data in (step.before, step.after))
    return differences.of_texts(old[0], new[0], step.source or "/dev/null", step.target or "/dev/null")

"""The operation that brings back an earlier version of one path."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from superagent.sdk import (
    Context,
    Effect,
    InvalidInput,
    Kept,
    NotFound,
    Output,
    Preview,
    Resource,
    Risk,
    WritePath,
    put_back,
)

from .engine import listing
from .line import files, reach

Version = Annotated[int, Field(ge=1, le=10_000)]


class Restored(Output):
    """The path, and which change of it was gone back behind."""

    path: str
    invocation: str
    operation: str


@files.operation(risk=Risk.MEDIUM, undo=put_back, timeout_s=600.0)
async def restore(
    ctx: Context, path: WritePath, version: Version | None = None, undo_id: str | None = None
) -> Restored:
    """Bring back what stood at a path before an earlier change, whatever stands there now; that is kept for undo.

    `version` 1 is what stood there before the latest change, 2 before the one before it; `undo_id` names the invocation
    that made the change instead.
    """
    real, kept = await _chosen(ctx, path, version, undo_id)
    async with ctx.changing(real):
        await ctx.put_back(kept)
    return Restored(path=listing.shown(real), invocation=kept.invocation, operation=kept.operation)


@restore.preview
async def _(ctx: Context, path: WritePath, version: Version | None = None, undo_id: str | None = None) -> Preview:
    real, kept = await _chosen(ctx, path, version, undo_id)
    return Preview(
        summary=f"would bring back `{listing.shown(real)}` as it was before `{kept.operation}` ({kept.invocation})",
        changes=[listing.shown(real)],
        diff=await ctx.preview_of(kept),
    )


async def _chosen(ctx: Context, path: str, version: int | None, undo_id: str | None) -> tuple[str, Kept]:
    """Give the real path, and what was kept of it before the change that is meant."""
    if version is not None and undo_id is not None:
        raise InvalidInput("give `version` or `undo_id`, not both")

    def look() -> str:
        with reach(ctx).at(path, effect=Effect.CHANGE, follow=False) as at:
            if at.is_dir:
                reach(ctx).require_whole(at, Effect.CHANGE)
            return at.real

    real = await ctx.thread(look)
    kept = await ctx.kept_of(Resource("path", "local", real, Effect.CHANGE))
    if undo_id is not None:
        kept = [one for one in kept if one.invocation == undo_id]
    number = (version or 1) - 1
    if number >= len(kept):
        raise NotFound(f"no such version of `{listing.shown(real)}` is kept", hint="see `undo.list`")
    return real, kept[number]

"""Copies: a restored installation takes back what was kept in its original's places only if a person means that."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from superagent.sdk import Conflict, Context, Denied, Effect, Kept, Output, Plugin, Preview, Resource, Risk

CURE = (
    "look at it with a dry run; a person says `of_original` to do it all the same, and an owner says once with"
    " `undo.adopt` that this copy takes the original's place"
)


class Home(Protocol):
    """Where the installation lies (`runtime.home.Home`)."""

    def copied(self) -> tuple[str, float]:
        """Give the place of which this one is a copy, empty for none, and since when (epoch seconds)."""
        ...

    def mark(self, original: str, since: float) -> None:
        """Let it be a copy of a place since a moment; of none for the installation itself."""
        ...


class Adopted(Output):
    """The place of which this was a copy."""

    original: str


def elsewhere(home: Home | None, entries: Sequence[Kept]) -> str:
    """Say that some of these were kept in the place of which this is a copy; empty where none was."""
    original, since = home.copied() if home is not None else ("", 0.0)
    count = sum(one.at < since for one in entries) if original else 0
    if not count:
        return ""
    return f"{count} of these were kept in `{original}`, of which this is a copy: it would change what lies there"


def require_here(ctx: Context, home: Home | None, entries: Sequence[Kept], *, of_original: bool) -> None:
    """Go on only with what was kept here, or where a person means the original. Raises `Conflict`, `Denied`."""
    if of_original and ctx.principal.kind != "human":
        raise Denied("only a person takes back what was kept elsewhere", hint="ask the person for whom you act")
    if not of_original and (foreign := elsewhere(home, entries)):
        raise Conflict(f"{foreign}; nothing was taken back", hint=CURE)


def add_adopting(undo: Plugin, home: Home) -> None:
    """Add `undo.adopt`."""

    def copied() -> tuple[str, float]:
        original, since = home.copied()
        if not original:
            raise Conflict("this installation is no copy of another", hint="there is nothing to say")
        return original, since

    async def copy_again(ctx: Context, kept: Kept) -> None:
        home.mark(kept.data["original"], kept.data["since"])

    @undo.operation(
        risk=Risk.HIGH,
        effect=Effect.CHANGE,
        scope="instance",
        undo=copy_again,
        compensate=True,
        returns_untrusted="never",
    )
    async def adopt(ctx: Context) -> Adopted:
        """Say that this restored copy takes its original's place: from now on it takes back what was kept there."""
        original, since = copied()
        await ctx.keep(Resource("home", "-", original, Effect.CHANGE), {"original": original, "since": since})
        home.mark("", 0.0)
        return Adopted(original=original)

    @adopt.preview
    async def _(ctx: Context) -> Preview:
        original, _ = copied()
        return Preview(
            summary=f"would take the place of the installation in `{original}`: undo then changes what lies there",
            changes=[f"home://-/{original}"],
        )

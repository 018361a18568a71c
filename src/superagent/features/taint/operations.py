"""Taint: who has read untrusted text, saying so oneself, and a person's word that it is over."""

from __future__ import annotations

from collections.abc import Awaitable, Iterable
from typing import Annotated, Protocol

from pydantic import Field

from superagent.sdk import Context, Denied, Effect, Keep, Kept, Mark, NotFound, Output, Plugin, Preview, Risk

Subject = Annotated[
    str, Field(min_length=3, max_length=4200, description="as `access.taint.list` shows it: `caller:builder`")
]


class Store(Protocol):
    """Where marks are kept."""

    def listed(self, tenant: str) -> Awaitable[list[Mark]]:
        """Give the marks of a tenant, newest first."""
        ...

    def add(self, tenant: str, marks: Iterable[Mark]) -> Awaitable[list[Mark]]:
        """Mark those that are clean."""
        ...

    def clear(self, tenant: str, subject: str, keep: Keep) -> Awaitable[Mark | None]:
        """Take a mark away; gives what it said."""
        ...


class Tainted(Output):
    """Who (or which place), by text from where, since when (epoch seconds), in which call and session."""

    subject: str
    source: str
    at: float
    invocation: str
    session: str


class Marks(Output):
    """Marks in force, newest first."""

    marks: list[Tainted]


def plugin(store: Store) -> Plugin:
    """Make the plugin over the store of marks."""
    taint = Plugin("taint")

    @taint.operation(name="access.taint.list", risk=Risk.LOW, effect=Effect.READ)
    async def list_(ctx: Context) -> Marks:
        """List who has read untrusted text, and where some was left: your own, all of them if you may clear them."""
        mine = {f"caller:{id}" for id in ctx.principal.ids}
        every = ctx.principal.kind == "human" and ctx.could("access.taint.clear")
        here = f"place:{ctx.principal.workspace}" if ctx.principal.workspace else ""
        marks = [one for one in await store.listed(ctx.tenant) if every or one.subject in mine or one.subject == here]
        return Marks(marks=[_shown(one) for one in marks])

    @taint.operation(
        name="access.taint.note",
        risk=Risk.LOW,
        effect=Effect.CHANGE,
        irreversible="only a person can say that it is over: `access.taint.clear`",
    )
    async def note(ctx: Context, source: Annotated[str, Field(min_length=1, max_length=300)]) -> Marks:
        """Say that you have read untrusted text elsewhere, such as in a browser of your own; it can only be added."""
        ids = [hop.id for hop in ctx.principal.chain() if hop.kind != "human"]
        call = ctx.invocation
        marks = [Mark(f"caller:{id}", source, ctx.now, call.id, call.call.session) for id in ids]
        return Marks(marks=[_shown(one) for one in await store.add(ctx.tenant, marks)])

    async def again(ctx: Context, kept: Kept) -> None:
        await store.add(ctx.tenant, [Mark(**kept.data)])

    @taint.operation(name="access.taint.clear", risk=Risk.HIGH, effect=Effect.CHANGE, undo=again, compensate=True)
    async def clear(ctx: Context, subject: Subject, reason: str = "") -> Tainted:
        """Say, as a person, that somebody's untrusted text speaks no more; what is read from then on counts again."""
        if any(hop.kind != "human" for hop in ctx.principal.chain()):
            raise Denied("only a person can clear this, with nobody acting in between")
        async with ctx.keeping("taint") as keep:
            mark = await store.clear(ctx.tenant, subject, keep)
        if mark is None:
            raise NotFound(f"`{subject[:100]}` is not marked", hint="`access.taint.list` shows who is")
        return _shown(mark)

    @clear.preview
    async def _(ctx: Context, subject: Subject, reason: str = "") -> Preview:
        found = next((one for one in await store.listed(ctx.tenant) if one.subject == subject), None)
        return Preview(
            summary=f"would clear `{subject}` of text from {found.source}" if found else f"`{subject}` is not marked"
        )

    return taint


def _shown(mark: Mark) -> Tainted:
    return Tainted(
        subject=mark.subject, source=mark.source, at=mark.at, invocation=mark.invocation, session=mark.session
    )

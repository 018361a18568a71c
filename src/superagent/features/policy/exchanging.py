"""Policy as files: export for Git and for analysis outside, and import as a proposal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field

from superagent.sdk import Context, Effect, Grant, Plugin, Preview, Risk, cedar_export, policy_text

from .changing import keep_proposal, withdrawn
from .documents import LONGEST, Format, read, written
from .model import Bench, Book, Exported, Proposed, Reason
from .showing import change_of

Text = Annotated[str, Field(max_length=LONGEST)]


def declare(policy: Plugin, book: Book, bench: Bench) -> None:
    """Declare the operations."""

    @policy.operation(risk=Risk.LOW, effect=Effect.READ)
    async def export(
        ctx: Context, format: Literal["toml", "json"] = "toml", cedar: bool = False, version: int | None = None
    ) -> Exported:
        """Write the policy as a file for Git: the same policy is the same text.

        `version` is an older one; the built-in roles come with the platform and are left out. `cedar` gives Cedar text
        and schema instead, for analysis outside: all that is in force, built-in roles and grants of keys included.
        """
        if cedar:
            snapshot = bench.in_force(ctx.tenant)
            made = await ctx.thread(cedar_export, snapshot, bench.operations())
            digest = await ctx.thread(policy_text.digest_of, snapshot.grants)
            return Exported(
                version=snapshot.version, digest=digest, format="cedar", text=made.policies, cedar_schema=made.schema
            )
        found = await (book.present(ctx.tenant) if version is None else book.edition(ctx.tenant, version))
        text = await ctx.thread(written, found.grants, format)
        return Exported(version=found.number, digest=found.digest, format=format, text=text)

    @policy.operation(
        name="policy.import", risk=Risk.MEDIUM, effect=Effect.CHANGE, undo=withdrawn(book), compensate=True
    )
    async def import_(ctx: Context, text: Text, reason: Reason = "", format: Format = "toml") -> Proposed:
        """Propose to make the policy what a file says; `policy.apply` puts it in force."""
        present = await book.present(ctx.tenant)
        added, removed = await ctx.thread(_compared, present.grants, text, format)
        change = change_of(present, added, [one.id for one in removed])
        return await keep_proposal(ctx, book, change, reason)

    @import_.preview
    async def _(ctx: Context, text: Text, reason: Reason = "", format: Format = "toml") -> Preview:
        present = await book.present(ctx.tenant)
        added, removed = await ctx.thread(_compared, present.grants, text, format)
        if not added and not removed:
            return Preview(summary="the policy in force is what the file says")
        change = change_of(present, added, [one.id for one in removed])
        summary = f"would propose to add {len(added)} grants and end {len(removed)}"
        return Preview(summary=summary, diff=change.diff())


def _compared(grants: Sequence[Grant], text: str, format: Format) -> tuple[list[Grant], list[Grant]]:
    return policy_text.difference(grants, read(text, format))

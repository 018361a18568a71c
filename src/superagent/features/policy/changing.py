"""Changing policy: anybody proposes, people apply exactly what they were shown, and undo brings back what was."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Literal

from pydantic import Field

from superagent.sdk import (
    Conflict,
    Context,
    Denied,
    Effect,
    Grant,
    InvalidInput,
    Kept,
    NotFound,
    Plugin,
    Preview,
    Principal,
    Resource,
    Risk,
    TooLarge,
    policy_text,
    put_back,
)

from .model import Applied, Bench, Book, Grants, Ids, Limit, Proposals, Proposed, Reason
from .showing import Change, by_id, change_of, decides, proposed

LONGEST_OF_PEOPLE = 8 * 1024 * 1024  # characters of grants in one proposal, of somebody who may apply it
LONGEST_OF_OTHERS = 32 * 1024
RESOURCE = Resource("policy", "-", "grants", Effect.CHANGE)
Hash = Annotated[str, Field(pattern="^([0-9a-f]{64})?$")]


def declare(policy: Plugin, book: Book, bench: Bench) -> None:
    """Declare the operations."""
    _proposing(policy, book)
    _applying(policy, book, bench)


def _proposing(policy: Plugin, book: Book) -> None:
    @policy.operation(risk=Risk.LOW, effect=Effect.CHANGE, undo=withdrawn(book), compensate=True)
    async def propose(
        ctx: Context, add: Grants | None = None, remove: Ids | None = None, reason: Reason = ""
    ) -> Proposed:
        """Suggest a change of policy for people to look at: grants to `add`, ids of grants to `remove`."""
        _may_name(ctx, remove)
        change = change_of(await book.present(ctx.tenant), add or [], remove or [])
        return await keep_proposal(ctx, book, change, reason)

    @propose.preview
    async def _(ctx: Context, add: Grants | None = None, remove: Ids | None = None, reason: Reason = "") -> Preview:
        _may_name(ctx, remove)
        change = change_of(await book.present(ctx.tenant), add or [], remove or [])
        return Preview(summary=f"would propose {_counted(change)}", diff=change.diff() if decides(ctx) else "")

    @policy.operation(risk=Risk.LOW, effect=Effect.READ)
    async def proposals(
        ctx: Context,
        state: Literal["waiting", "applied", "withdrawn"] | None = "waiting",
        limit: Limit = 50,
        cursor: str | None = None,
    ) -> Proposals:
        """List proposals: your own, and all of them with diff and hash if you may apply changes of policy."""
        every = decides(ctx)
        author = None if every else ctx.principal.id
        found = await book.proposals(ctx.tenant, author=author, state=state, after=cursor or "", limit=limit + 1)
        present = await book.present(ctx.tenant)
        following = found[limit - 1].id if len(found) > limit else None
        known = by_id(present)

        def shown() -> list[Proposed]:
            return [proposed(one, present, known, decides=every) for one in found[:limit]]

        return Proposals(proposals=await ctx.thread(shown), cursor=following)

    async def reopen(ctx: Context, kept: Kept) -> None:
        await book.reopen(ctx.tenant, kept.data["id"])

    @policy.operation(risk=Risk.LOW, effect=Effect.CHANGE, undo=reopen, compensate=True)
    async def withdraw(ctx: Context, id: str) -> Proposed:
        """End a proposal: your own, or any if you may apply changes of policy."""
        one = await _own(ctx, book, id)
        await ctx.keep(Resource("proposal", "-", one.id, Effect.CHANGE), {"id": one.id})
        await book.withdraw(ctx.tenant, one.id, ctx.principal.id)
        now = await book.proposal(ctx.tenant, one.id)
        present = await book.present(ctx.tenant)
        return proposed(now, present, by_id(present), decides=decides(ctx))

    @withdraw.preview
    async def _(ctx: Context, id: str) -> Preview:
        one = await _own(ctx, book, id)
        return Preview(summary=f"would end the proposal `{one.id}` of {one.author}")


def _applying(policy: Plugin, book: Book, bench: Bench) -> None:
    async def ready(ctx: Context, proposal: str, hash: str, add: list[Grant], remove: list[str]) -> Change:
        if ctx.principal.kind != "human":  # the built-in roles forbid it as well: no grant may lift this
            raise Denied("only people apply changes of policy", hint="`policy.propose` suggests one to them")
        present = await book.present(ctx.tenant)
        if not proposal:
            change = change_of(present, add, remove)
        elif add or remove:
            raise InvalidInput("name a proposal, or what to add and remove, and not both")
        else:
            one = await book.proposal(ctx.tenant, proposal)
            if one.state != "waiting":
                raise Conflict(f"the proposal `{proposal}` is {one.state}", hint="`policy.proposals` shows what waits")
            change = change_of(present, one.added, one.removed)
        _keeps_the_door_open(ctx, bench, change)
        if hash and hash != await ctx.thread(lambda: change.hash):
            raise Conflict(
                "this is not the change that was shown: the policy is another by now",
                hint="look at `policy.proposals` or a dry run again, then apply with the hash given there",
            )
        return change

    @policy.operation(risk=Risk.CRITICAL, effect=Effect.CHANGE, undo=put_back)
    async def apply(
        ctx: Context,
        proposal: str = "",
        hash: Hash = "",
        add: Grants | None = None,
        remove: Ids | None = None,
        reason: Reason = "",
    ) -> Applied:
        """Put a change of policy in force: a proposal with the hash that was shown, or what to add and remove.

        Only people may, with a fresh second factor. Undo puts the previous version in force.
        """
        if proposal and not hash:
            raise InvalidInput("a proposal is applied with its `hash`", hint="`policy.proposals` shows it")
        async with ctx.changing(RESOURCE):
            change = await ready(ctx, proposal, hash, add or [], remove or [])
            why = reason or (f"applies {proposal}" if proposal else "")
            await book.require_may_change(ctx.principal, change.added, change.removed)
            ids = [one.id for one in change.removed]
            by = ctx.principal.id
            number = await book.apply(ctx.tenant, change.base.digest, change.added, ids, by, why, proposal)
        before = change.base.number
        return Applied(version=number, before=before, added=len(change.added), removed=len(ids))

    @apply.touches
    def _(values: dict[str, Any], workspace: str) -> list[Resource]:
        return [RESOURCE]

    @apply.refuses
    async def _(who: Principal, values: dict[str, Any]) -> None:
        gone: set[str] = set(values["remove"] or [])
        removed = [one for one in (await book.present(who.tenant)).grants if one.id in gone]
        await book.require_may_change(who, values["add"] or [], removed)  # a proposal's are looked at when it is read

    @apply.preview
    async def _(
        ctx: Context,
        proposal: str = "",
        hash: Hash = "",
        add: Grants | None = None,
        remove: Ids | None = None,
        reason: Reason = "",
    ) -> Preview:
        change = await ready(ctx, proposal, hash, add or [], remove or [])
        hash, diff = await ctx.thread(lambda: (change.hash, change.diff()))
        return Preview(summary=f"would {_counted(change)}; hash {hash}", diff=diff)


async def keep_proposal(ctx: Context, book: Book, change: Change, reason: str) -> Proposed:
    """Store a suggestion, so that it can be taken back, and show it. Raises `TooLarge` for what nobody could read."""
    most = LONGEST_OF_PEOPLE if decides(ctx) else LONGEST_OF_OTHERS
    size = await ctx.thread(lambda: sum(len(policy_text.content(one)) for one in change.added))
    if size > most:
        raise TooLarge(
            f"the grants of this proposal have {size} characters, more than {most}", hint="propose less at once"
        )
    ids = [one.id for one in change.removed]
    async with ctx.keeping("proposal") as keep:
        made = await book.propose(ctx.tenant, ctx.principal.ids, change.added, ids, reason, keep)
    every, known = decides(ctx), by_id(change.base)
    return await ctx.thread(lambda: proposed(made, change.base, known, decides=every))


def withdrawn(book: Book) -> Callable[[Context, Kept], Awaitable[None]]:
    """Give the undo of a proposal: it is withdrawn."""

    async def undo(ctx: Context, kept: Kept) -> None:
        await book.withdraw(ctx.tenant, kept.data["id"], ctx.principal.id)

    return undo


async def _own(ctx: Context, book: Book, id: str) -> Any:
    one = await book.proposal(ctx.tenant, id)
    if not decides(ctx) and one.author != ctx.principal.id:
        raise NotFound(f"there is no proposal `{id[:100]}`", hint="`policy.proposals` shows them")
    return one


def _may_name(ctx: Context, remove: list[str] | None) -> None:
    """Refuse ids from those who may not see all grants: an answer would tell which there are."""
    if remove and not decides(ctx):
        raise InvalidInput(
            "only people who may apply changes of policy propose to end grants by id",
            hint="say in `reason` which grant should end",
        )


def _keeps_the_door_open(ctx: Context, bench: Bench, change: Change) -> None:
    """Refuse a change after which whoever applies it could not change policy any more: nobody could take it back."""
    after = bench.changed(ctx.tenant, change.added, [one.id for one in change.removed])
    if not after.may_try(ctx.principal, ctx.operation):
        raise Conflict(
            "after this change you could not change the policy any more", hint="leave yourself `policy.apply`"
        )


def _counted(change: Change) -> str:
    return f"add {len(change.added)} grants and end {len(change.removed)}"

"""Looking at policy: what is in force, its versions, and what differs between two."""

from __future__ import annotations

from superagent.sdk import Context, Effect, Grant, InvalidInput, Plugin, Risk, policy_text

from .model import Bench, Book, Difference, InForce, Limit, Number, Versions
from .showing import change_of, said, version_of


def declare(policy: Plugin, book: Book, bench: Bench) -> None:
    """Declare the operations."""

    @policy.operation(name="policy.list", risk=Risk.LOW, effect=Effect.READ)
    async def list_(
        ctx: Context, subject: str = "", operation: str = "", limit: Limit = 100, cursor: str | None = None
    ) -> InForce:
        """List the grants in force in your tenant, those of the built-in roles included, and the version they are.

        `subject` is `agent:…`, `user:…`, `role:…`; `operation` the name of one that the grants must speak of.
        """
        snapshot = bench.in_force(ctx.tenant)
        found = [
            one
            for one in snapshot.grants
            if (not subject or one.subject == subject) and (not operation or one.names(operation))
        ]
        at = _place(cursor, len(found))
        page = found[at : at + limit]
        following = str(at + limit) if at + limit < len(found) else None
        version = await book.version(ctx.tenant, snapshot.version)
        return InForce(version=version_of(version), grants=said(page), cursor=following)

    @policy.operation(risk=Risk.LOW, effect=Effect.READ)
    async def versions(ctx: Context, limit: Limit = 50, cursor: Number | None = None) -> Versions:
        """List the versions of your tenant's policy, newest first: who changed it, when and why."""
        found = await book.versions(ctx.tenant, cursor, limit + 1)
        following = found[limit - 1].number if len(found) > limit else None
        return Versions(versions=[version_of(one) for one in found[:limit]], cursor=following)

    @policy.operation(risk=Risk.LOW, effect=Effect.READ)
    async def diff(
        ctx: Context,
        from_: Number | None = None,
        to: Number | None = None,
        proposal: str = "",
        limit: Limit = 100,
        cursor: str | None = None,
    ) -> Difference:
        """Show what differs between two versions, or between the policy in force and a proposal.

        Without `to`, it is the version in force; without `from`, the one before `to`.
        """
        present = await book.present(ctx.tenant)
        if proposal:
            if from_ is not None or to is not None:
                raise InvalidInput("a proposal is compared with what is in force: leave `from` and `to` out")
            one = await book.proposal(ctx.tenant, proposal)
            change = change_of(present, one.added, one.removed)
            return _page(present.number, proposal, (list(change.added), list(change.removed)), limit, cursor)
        last = present if to is None else await book.edition(ctx.tenant, to)
        first = await book.edition(ctx.tenant, max(1, last.number - 1) if from_ is None else from_)
        changes = await ctx.thread(policy_text.difference, first.grants, last.grants)
        return _page(first.number, str(last.number), changes, limit, cursor)


def _page(old: int, new: str, changes: tuple[list[Grant], list[Grant]], limit: int, cursor: str | None) -> Difference:
    """Show some of the changes: first what goes, then what comes."""
    added, removed = changes
    every = len(removed) + len(added)
    at = _place(cursor, every)
    gone, come = removed[at : at + limit], added[max(0, at - len(removed)) : max(0, at + limit - len(removed))]
    title = new if new.startswith("proposal") else f"version {new}"
    return Difference(
        from_version=old,
        to=new,
        changes=every,
        added=said(come),
        removed=said(gone),
        diff=policy_text.as_diff(come, gone, f"version {old}", title),
        cursor=str(at + limit) if at + limit < every else None,
    )


def _place(cursor: str | None, most: int) -> int:
    if cursor is None:
        return 0
    if not (cursor.isascii() and cursor.isdigit() and len(cursor) < 10):
        raise InvalidInput("the cursor is not one that an earlier page gave", hint="ask for the first page again")
    return min(int(cursor), most)

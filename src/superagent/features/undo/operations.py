"""Undo: what can be taken back, what that would do, and doing it: verified, audited, itself undoable."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

from superagent.sdk import (
    Conflict,
    Context,
    Effect,
    InvalidInput,
    Kept,
    NeedsApproval,
    NotFound,
    Output,
    Plugin,
    Preview,
    Risk,
    Unavailable,
    put_back,
    resource_named,
    resource_of,
    rights_of,
)

from .copies import Home, add_adopting, elsewhere, require_here

CHANGED_SINCE = "somebody changed it since"
MADE_ANEW = "an undo of it cannot be undone: make the call again"
ONCE_APPROVED = "put back what stood there, once a person approves"
LOOK = "a dry run of the undo shows what stands against it; undo the later change first, or put it right by hand"

Undoer = Callable[[str, int], Callable[..., Awaitable[Any]] | None]


class Store(Protocol):
    """What was kept (`core.ports.UndoStore`)."""

    def of(
        self,
        tenant: str,
        *,
        ids: Sequence[str] = (),
        session: str = "",
        principal: str = "",
        since: float = 0.0,
        limit: int = 1000,
        seen: Callable[[str, str], bool] | None = None,
    ) -> Awaitable[list[Kept]]:
        """Give entries, oldest first; `seen` is asked of each before all else."""
        ...

    def reopen(self, tenant: str, by: str) -> Awaitable[None]:
        """Forget that an invocation took entries back."""
        ...

    def mark_undone(self, entries: Sequence[int], by: str) -> Awaitable[None]:
        """Note which invocation took these entries back."""
        ...


class Entry(Output):
    """One change that is kept; `state` is undoable, unknown (its call did not end, or failed) or undone."""

    invocation: str
    operation: str
    principal: str
    session: str
    resource: str
    effect: str
    at: float
    until: float
    state: str


class Entries(Output):
    """Kept changes, newest first."""

    entries: list[Entry]


class Step(Output):
    """One thing undo would do; `conflict` says why it would refuse, `diff` shows text where there is some."""

    invocation: str
    resource: str
    does: str
    diff: str = ""
    conflict: str = ""


class Plan(Output):
    """What undo would do, in order; `possible` is False when there is a conflict."""

    possible: bool
    steps: list[Step]


class Undone(Output):
    """What was taken back, in order."""

    invocations: list[str]
    resources: list[str]


def plugin(store: Store, undoer: Undoer, home: Home | None = None) -> Plugin:
    """Make the plugin over the undo store; `undoer` gives an operation's own undo function, `home` knows of copies."""
    undo = Plugin("undo", reaches=("files", "processes", "net", "secret"))
    if home is not None:
        add_adopting(undo, home)

    @undo.operation(
        name="undo.list", risk=Risk.LOW, effect=Effect.READ, reaches=("files", "processes"), returns_untrusted="never"
    )
    async def list_(ctx: Context, session: str = "", since: float = 0.0, limit: int = 100) -> Entries:
        """List changes that can be taken back: your own and those made on your behalf."""
        kept = await store.of(
            ctx.tenant, session=session, principal=ctx.principal.id, since=since, limit=max(1, min(limit, 1000))
        )
        seen = [one for one in kept if _visible(ctx, one)]
        return Entries(entries=[_entry(one) for one in reversed(seen)])

    @undo.operation(risk=Risk.LOW, effect=Effect.READ, reaches=("files", "processes"))
    async def plan(ctx: Context, ids: list[str] | None = None, session: str = "", since: float = 0.0) -> Plan:
        """Say what undo would do with invocations, a session or everything since a time, and what stands against it."""
        steps = await plan_of(ctx, await chosen(ctx, ids, session, since))
        return Plan(possible=not any(step.conflict for step in steps), steps=steps)

    @undo.operation(
        risk=Risk.MEDIUM, effect=Effect.CHANGE, undo=put_back, atomic=True, timeout_s=600.0, returns_untrusted="never"
    )
    async def apply(
        ctx: Context,
        ids: list[str] | None = None,
        session: str = "",
        since: float = 0.0,
        of_original: bool = False,
    ) -> Undone:
        """Take back invocations, a whole session or everything since a time, newest first.

        All of it or nothing: refuses where somebody changed a resource since. In a session or since a time, what was
        taken back already stays so. In a restored copy, what was kept before means the original's places: that is taken
        back only where a person says `of_original`.
        """
        entries = await chosen(ctx, ids, session, since)
        require_here(ctx, home, entries, of_original=of_original)
        steps = await plan_of(ctx, entries)
        conflicts = [step for step in steps if step.conflict]
        if conflicts:
            raise Conflict(f"`{conflicts[0].resource}`: {conflicts[0].conflict}; nothing was taken back", hint=LOOK)
        for one in entries:
            await take_back(ctx, one)
        await store.mark_undone([one.id for one in entries], ctx.invocation.id)
        return Undone(
            invocations=list(dict.fromkeys(one.invocation for one in entries)),
            resources=list(dict.fromkeys(one.resource for one in entries)),
        )

    @apply.preview
    async def _(
        ctx: Context,
        ids: list[str] | None = None,
        session: str = "",
        since: float = 0.0,
        of_original: bool = False,
    ) -> Preview:
        entries = await chosen(ctx, ids, session, since)
        steps = await plan_of(ctx, entries)
        foreign = "" if of_original else elsewhere(home, entries)
        conflicts = [foreign] * bool(foreign)
        conflicts += [f"{step.resource}: {step.conflict}" for step in steps if step.conflict]
        if conflicts:
            more = f", and {len(conflicts) - 1} more" if len(conflicts) > 1 else ""
            return Preview(
                summary=f"would be refused: {conflicts[0]}{more}; nothing would be taken back", conflicts=conflicts
            )
        return Preview(
            summary=f"would take back {len(steps)} change(s)",
            changes=list(dict.fromkeys(step.resource for step in steps)),
            diff="".join(step.diff for step in steps),
        )

    async def chosen(ctx: Context, ids: list[str] | None, session: str, since: float) -> list[Kept]:
        """Give the entries that are meant, newest first. Raises `NotFound` when the caller may see none."""
        if sum([bool(ids), bool(session), bool(since)]) != 1:
            raise InvalidInput(
                "say exactly one of `ids`, `session` and `since`", hint="`undo.list` shows what can be taken back"
            )
        if not ids:
            kept = await store.of(ctx.tenant, session=session, principal=ctx.principal.id, since=since)
            return _open(ctx, kept, "this", settled=True)
        found: dict[int, Kept] = {}
        for id in ids:
            seen = _Seen(ctx)
            kept = await store.of(ctx.tenant, ids=[id], seen=seen)
            seen.once()
            found |= {one.id: one for one in _open(ctx, kept, f"`{id[:100]}`")}
        return sorted(found.values(), key=lambda one: -one.id)

    async def plan_of(ctx: Context, entries: list[Kept]) -> list[Step]:
        """Look at each entry, newest first, as it will stand when its turn comes."""
        steps: list[Step] = []
        expected: dict[str, str] = {}
        asked: NeedsApproval | None = None
        for at, one in enumerate(entries):
            resource = resource_of(one)
            judged = ctx.judged_as(rights_of(one))
            if not ctx.operation.effect and not judged.may(resource):
                steps.append(Step(invocation=one.invocation, resource=one.resource, does=ONCE_APPROVED))
                continue
            try:
                judged.require_each([resource])
                # a newer change in or around this resource goes first: what stands there then is checked under the lock
                later = any(_related(one.resource, newer.resource) for newer in entries[:at])
                present = expected.get(one.resource) or await judged.state_of(resource)
                steps.append(await _step(judged, one, present, checked_later=later and one.resource not in expected))
            except NeedsApproval as problem:  # for all that needs a person, one is asked at once
                asked = problem
            if one.before is not None:
                expected[one.resource] = one.before
        if asked is not None:
            raise asked
        return steps

    async def take_back(ctx: Context, kept: Kept) -> None:
        function = undoer(kept.operation, kept.version)
        if function is None:
            raise Unavailable(f"`{kept.operation}` version {kept.version} cannot be undone by what is installed")
        judged = ctx.judged_as(rights_of(kept))
        if kept.before is None:
            await function(judged, kept)
            await judged.keep(resource_of(kept), {"undid": kept.id})
        else:
            async with judged.changing(resource_of(kept)) as change:
                present = await judged.state_of(resource_of(kept))
                if kept.closed and present not in (kept.after, kept.before):
                    raise Conflict(
                        f"`{kept.resource}`: {CHANGED_SINCE}", hint=LOOK
                    )  # between the plan and now, under the lock
                await function(judged, kept)
                change.after(kept.before)
        if kept.operation == "undo.apply":
            await store.reopen(ctx.tenant, kept.invocation)

    return undo


class _Seen:
    """Look whether entries could be the caller's to take back, by what is said of them outside; once in any case.

    So what is somebody else's is read no further, and takes no longer than what was never there.
    """

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self._looked = False

    def __call__(self, operation: str, resource: str) -> bool:
        self._looked = True
        try:
            judged = self._ctx.judged_as(operation)
        except NotFound:
            return False  # its plugin is gone
        there = resource_named(resource)
        return judged.may(there) or judged.may_ask(there)

    def once(self) -> None:
        """Look at something that is not there, if nothing was looked at."""
        if not self._looked:
            self("files.write", "path://local/nobody/has/this")


def _visible(ctx: Context, kept: Kept) -> bool:
    """Tell whether the caller has, or can ask for, the right to the inverse effect by the grants for what it undoes."""
    try:
        judged = ctx.judged_as(rights_of(kept))
    except NotFound:
        return False  # its plugin is gone
    return judged.may(resource_of(kept)) or judged.may_ask(resource_of(kept))


def _open(ctx: Context, kept: list[Kept], what: str, *, settled: bool = False) -> list[Kept]:
    """Give what can still be taken back, newest first. Raises `NotFound`, `Conflict` for what was already."""
    seen = [one for one in kept if _visible(ctx, one)]
    found = [one for one in reversed(seen) if not one.undone_by]
    if settled:
        found = _settled(seen)
    if not found:
        if seen:
            raise Conflict(f"{what} was taken back already", hint="undo that undo to have it again")
        raise NotFound(
            f"nothing that you may take back is kept for {what}", hint="`undo.list` shows what can be taken back"
        )
    return found


def _settled(seen: list[Kept]) -> list[Kept]:
    """Give what leads back to the state before all of these, newest first, where undos are among them.

    An undo and what it took back settle each other. One that took back earlier changes as well is itself taken back,
    and then those of its changes that are among these.
    """
    meant = {one.id for one in seen if not one.undone_by}
    for by in {one.invocation for one in seen if one.operation == "undo.apply" and not one.undone_by}:
        own = [one for one in seen if one.invocation == by or by in one.callers]
        taken = [one for one in seen if one.undone_by == by]
        if taken and sorted(one.resource for one in own) == sorted(one.resource for one in taken):
            meant -= {one.id for one in own}
        else:
            meant |= {one.id for one in taken}
    return [one for one in reversed(seen) if one.id in meant]


def _related(one: str, other: str) -> bool:
    return one == other or one.startswith(f"{other}/") or other.startswith(f"{one}/")


async def _step(ctx: Context, kept: Kept, present: str | None, *, checked_later: bool) -> Step:
    step = Step(invocation=kept.invocation, resource=kept.resource, does="put back what stood there")
    if kept.before is None and "undid" in kept.data:  # what was kept of it says that it happened, and no more
        return step.model_copy(update={"does": "undo an undo", "conflict": MADE_ANEW})
    if kept.before is None:
        return step.model_copy(update={"does": f"take back `{kept.operation}`"})
    if checked_later:
        return step
    if present == kept.before:
        return step.model_copy(update={"does": "nothing: it is as it was before"})
    if kept.closed and present != kept.after:
        return step.model_copy(update={"conflict": CHANGED_SINCE})
    return step.model_copy(update={"diff": await ctx.preview_of(kept)})


def _entry(kept: Kept) -> Entry:
    state = "undone" if kept.undone_by else "undoable" if kept.closed else "unknown"
    return Entry(
        invocation=kept.invocation,
        operation=kept.operation,
        principal=kept.principal,
        session=kept.session,
        resource=kept.resource,
        effect=kept.effect.name,
        at=kept.at,
        until=kept.until,
        state=state,
    )

"""Approvals: what waits for a person, and that person's decision."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Annotated, Any, Literal, Protocol

from pydantic import Field

from superagent.sdk import Call, Context, Effect, NotFound, Outcome, Output, Plugin, Preview, Risk

AT_ONCE = 20  # their inputs are read whole, and one can be a mebibyte
Signature = Annotated[
    dict[str, Any] | None,
    Field(description="a passkey's over the request, its hash and the decision: its `response`, and the `origin`"),
]

Hash = Annotated[str, Field(max_length=64, description="of the request as it was read; another one decides nothing")]


class Desk(Protocol):
    """Where tickets wait (`core.approvals.ApprovalDesk`)."""

    def decide(
        self, ctx: Context, id: str, approve: bool, reason: str, signature: dict[str, Any] | None, hash: str
    ) -> Awaitable[Any]:
        """Approve or deny a waiting ticket."""
        ...

    def challenge(self, ctx: Context, id: str, approve: bool, origin: str) -> Awaitable[dict[str, Any]]:
        """Give what a browser needs so that a passkey signs a decision."""
        ...

    def counted(self, held: Any) -> Awaitable[Any]:
        """Give a waiting ticket with the approvals that still count."""
        ...

    def ahead(self, ctx: Context, call: Call) -> Awaitable[Outcome]:
        """Ask for an approval of a call before it is made."""
        ...


class Waiting(Protocol):
    """The store behind the desk."""

    def waiting(self, tenant: str, limit: int = 200, after: str = "") -> Awaitable[list[Any]]:
        """Give what waits, oldest first."""
        ...

    def get(self, tenant: str, id: str) -> Awaitable[Any | None]:
        """Give a stored invocation, None when there is none."""
        ...


class Inside(Output):
    """The call within another that needs the approval."""

    operation: str
    input: dict[str, Any]


class Request(Output):
    """One call that waits. `reason` is what the caller said, unverified; `preview` and `hash` are for deciders.

    `asked` is how often the same was asked for while it waited. `ahead`: the call is not made yet, and its caller can
    make it once it is approved. `inside` is the call within it that needs the approval. `untrusted` says what the
    caller had read: whoever wrote that may be asking. `why` is why a person must approve it.
    """

    id: str
    operation: str
    input: dict[str, Any]
    requester: str
    on_behalf_of: list[str]
    reason: str
    resources: list[str]
    preview: dict[str, Any] | None
    hash: str
    approvals_needed: int
    approved_by: list[str]
    asked_at: float
    until: float
    asked: int = 1
    ahead: bool = False
    inside: Inside | None = None
    untrusted: str = ""
    why: str = ""


class Requests(Output):
    """What waits; `cursor` asks for the next page, None on the last."""

    waiting: list[Request]
    cursor: str | None


class Asked(Output):
    """A request ahead of its call; `until` in epoch seconds."""

    id: str
    state: str
    approvals_needed: int
    until: float


class ToSign(Output):
    """What `navigator.credentials.get` takes so that a passkey signs a decision."""

    options: dict[str, Any]


class Decided(Output):
    """What the decision led to: `state` is waiting (more approvals are needed), running or cancelled."""

    id: str
    state: str
    approvals: int
    needed: int


def plugin(desk: Desk, store: Waiting) -> Plugin:
    """Make the plugin over the approval desk."""
    approvals = Plugin("approvals")

    @approvals.operation(name="approvals.list", risk=Risk.LOW, effect=Effect.READ)
    async def list_(
        ctx: Context, limit: int = 50, cursor: str | None = None, state: Literal["waiting", "approved"] = "waiting"
    ) -> Requests:
        """List calls that wait for approval: your own, those made on your behalf, and all of them if you may decide."""
        page = max(1, min(limit, 200))
        decides = may_decide(ctx)
        mine: list[Any] = []
        after, more = cursor or "", True
        while more and len(mine) <= page:
            held = await store.waiting(ctx.tenant, AT_ONCE, after)
            seen = [one for one in held if decides or ctx.principal.mark in one.invocation.principal.marks]
            counted = [await desk.counted(one) for one in seen]
            mine += [one for one in counted if (len(one.approved_by) >= one.approvals_needed) is (state == "approved")]
            more = len(held) == AT_ONCE
            after = held[-1].id if more else ""
        # the cursor is one of the caller's own: others' calls are not told by it either
        following = mine[page - 1].id if len(mine) > page else None
        return Requests(waiting=[_request(one, shown=decides) for one in mine[:page]], cursor=following)

    @approvals.operation(risk=Risk.LOW, effect=Effect.READ)
    async def show(ctx: Context, id: str) -> Request:
        """Show one call that waits for approval: who asks, what it touches and, if you may decide, what it would do."""
        held = await store.get(ctx.tenant, id)
        decides = may_decide(ctx)
        # also for one that waits and is somebody else's: the same words as for none
        if (
            held is None
            or held.state != "waiting"
            or not (decides or ctx.principal.mark in held.invocation.principal.marks)
        ):
            raise NotFound(
                f"no call `{id[:100]}` waits for approval", hint="`jobs.status` shows what became of one of yours"
            )
        return _request(await desk.counted(held), shown=decides)

    @approvals.operation(
        risk=Risk.HIGH,
        effect=Effect.CHANGE,
        irreversible="a decision is final: undo the call that was approved, or let a denied one be made again",
    )
    async def decide(
        ctx: Context,
        id: str,
        decision: Literal["approve", "deny"],
        reason: str = "",
        signature: Signature = None,
        hash: Hash = "",
    ) -> Decided:
        """Approve or deny a waiting call; never one's own, and only by a person, who may sign with a passkey."""
        held = await desk.decide(ctx, id, decision == "approve", reason, signature, hash)
        return Decided(id=id, state=held.state.value, approvals=len(held.approved_by), needed=held.approvals_needed)

    @approvals.operation(risk=Risk.LOW, effect=Effect.READ)
    async def challenge(ctx: Context, id: str, decision: Literal["approve", "deny"], origin: str) -> ToSign:
        """Give what a browser at our `origin` needs so that your passkey signs a decision about a waiting call."""
        return ToSign(options=await desk.challenge(ctx, id, decision == "approve", origin))

    @decide.preview
    async def _(ctx: Context, id: str, decision: Literal["approve", "deny"], **_: Any) -> Preview:
        return Preview(summary=f"would {decision} `{id}`", exact=False)

    @approvals.operation(
        risk=Risk.LOW, effect=Effect.CHANGE, irreversible="who has seen it has seen it; take it back with `jobs.cancel`"
    )
    async def request(ctx: Context, operation: str, input: dict[str, Any] | None = None, reason: str = "") -> Asked:
        """Ask for an approval before making a call: it can be used once, by that very call, if nothing has changed."""
        outcome = await desk.ahead(
            ctx, Call(operation, input or {}, reason=reason, session=ctx.invocation.call.session)
        )
        assert outcome.decision is not None  # what waits was judged
        return Asked(
            id=outcome.invocation,
            state=outcome.status.value,
            approvals_needed=outcome.decision.approvals,
            until=outcome.extra["until"],
        )

    @request.preview
    async def _(ctx: Context, operation: str, **_: Any) -> Preview:
        return Preview(summary=f"would ask for an approval of `{operation[:100]}`", exact=False)

    return approvals


def may_decide(ctx: Context) -> bool:
    """Tell whether the caller may decide what waits, and so see all of it."""
    return ctx.principal.kind == "human" and ctx.could("approvals.decide")


def _said(input: dict[str, Any]) -> str:
    """Give the reason that an operation itself asks for, where the call as such gave none."""
    reason = input.get("reason", "")
    return reason if isinstance(reason, str) else ""


def _request(one: Any, *, shown: bool) -> Request:
    invocation = one.invocation
    return Request(
        id=one.id,
        operation=invocation.call.operation,
        input=invocation.call.input,
        requester=invocation.principal.id,
        on_behalf_of=list(invocation.principal.ids[1:]),
        reason=invocation.call.reason or _said(invocation.call.input),
        resources=list(one.resources),
        preview=one.preview if shown else None,
        hash=one.hash if shown else "",  # it tells what is there to whoever can guess what else it is made of
        approvals_needed=one.approvals_needed,
        approved_by=list(one.approved_by),
        asked_at=one.at,
        until=one.until,
        asked=one.asked,
        ahead=one.ahead,
        inside=one.inside and Inside(operation=one.inside.operation, input=one.inside.input),
        untrusted=one.tainted,
        why=one.why,
    )

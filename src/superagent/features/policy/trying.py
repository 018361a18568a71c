"""Trying policy out: explain one call, and replay those of the past against a change."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from superagent.sdk import (
    DEPENDS,
    ISOLATION,
    Context,
    Effect,
    Explained,
    InvalidInput,
    IsolationLevel,
    NotFound,
    Plugin,
    Policy,
    Principal,
    Risk,
    Supposed,
    policy_text,
)

from .model import Bench, Book, Explanation, Flip, Grants, Ids, Limit, PerHop, Simulation
from .replay import Answered, again, recorded_calls, was_judged
from .showing import change_of, said

MOST_REPLAYED = 20_000
PAGE = 1000
NOTHING_MATCHES = "no grant allows this, and none forbids it: nothing is allowed without a grant"


def declare(policy: Plugin, book: Book, bench: Bench) -> None:
    """Declare the operations."""

    @policy.operation(risk=Risk.LOW, effect=Effect.READ)
    async def explain(
        ctx: Context,
        operation: str,
        input: dict[str, Any] | None = None,
        actor: str = "",
        at: Annotated[float, Field(ge=0, le=1e11)] | None = None,
        remote: str | None = None,
        second_factor_age_s: Annotated[float, Field(ge=0)] | None = None,
        approvals: Annotated[int, Field(ge=0, le=10)] | None = None,
        isolation: IsolationLevel | None = None,
    ) -> Explanation:
        """Say what would be answered to a call and by which grants, without making it.

        Without `input`, it says what can be said for all inputs. `actor` is somebody else: `agent:…`, `user:…` or
        `key:…`. The rest supposes something: a time (epoch seconds), the caller's address, how long ago a second factor
        was shown, approvals given, the isolation level it would run at. Secret inputs are left out: policy never looks
        at them.
        """
        who = await _acting(ctx, bench, actor) if actor else ctx.principal
        supposed = Supposed(
            at, remote, second_factor_age_s, approvals, None if isolation is None else ISOLATION[isolation]
        )  # fmt: skip
        found = await bench.explain(who, operation, input, supposed)
        if not actor and isinstance(found.problem, NotFound):
            raise found.problem  # to ask about what one may not see is to be told what the call would be told
        return _explanation(operation, actor or _named(who), found)

    @policy.operation(risk=Risk.LOW, effect=Effect.READ, timeout_s=600.0)
    async def simulate(
        ctx: Context,
        add: Grants | None = None,
        remove: Ids | None = None,
        proposal: str = "",
        since: float | None = None,
        until: float | None = None,
        limit: Limit = 100,
    ) -> Simulation:
        """Replay the calls in the audit against a changed policy, and list those that would be answered otherwise.

        The change is what to `add` and `remove`, or a `proposal`. It needs leave to search the audit.
        """
        present = await book.present(ctx.tenant)
        if proposal:
            if add or remove:
                raise InvalidInput("name a proposal, or what to add and remove, and not both")
            one = await book.proposal(ctx.tenant, proposal)
            add, remove = list(one.added), list(one.removed)
        change = change_of(present, add or [], remove or [])
        changed = bench.changed(ctx.tenant, change.added, [one.id for one in change.removed])
        return await _Replay(ctx, bench, changed, limit).run(since, until)


class _Replay:
    """One simulation: pages of the audit, fetched as the caller, and what came of them.

    Its snapshots are its own: they are asked in a thread, and the ones in force belong to the line.
    """

    def __init__(self, ctx: Context, bench: Bench, changed: Policy, limit: int) -> None:
        self._ctx = ctx
        self._bench = bench
        self._present = bench.changed(ctx.tenant, (), ())
        self._changed = changed
        self._limit = limit
        self._people: dict[tuple[str, str], Principal | None] = {}
        self._flips: list[Flip] = []
        self._records = self._replayed = self._skipped = self._flipped = 0

    async def run(self, since: float | None, until: float | None) -> Simulation:
        """Replay page by page, until there is no more or it was enough."""
        cursor: str | None = None
        asked: dict[str, Any] = {"limit": PAGE}
        asked |= {} if since is None else {"since": since}
        asked |= {} if until is None else {"until": until}
        reached = None
        while True:
            page = await self._ctx.call("audit.query", asked | ({"cursor": cursor} if cursor else {}))
            records = list(recorded_calls(page["records"]))
            for who in {_subject(record) for record in records} - self._people.keys():
                self._people[who] = await self._who(*who)
            await self._ctx.thread(self._look_at, records)
            reached = page["records"][-1]["at"] if page["records"] else reached
            cursor = page["cursor"]
            if cursor is None or self._records >= MOST_REPLAYED:
                break
        return Simulation(
            records=self._records, replayed=self._replayed, skipped=self._skipped, flips=self._flips,
            flipped=self._flipped, complete=cursor is None, reached=reached,
        )  # fmt: skip

    async def _who(self, key: str, subject: str) -> Principal | None:
        """Give who acted by a key, within the bounds of that key; else as somebody of that name acts by their first."""
        found = await self._bench.acting(self._ctx.tenant, f"key:{key}") if key else None
        return found or await self._bench.acting(self._ctx.tenant, subject)

    def _look_at(self, records: list[dict[str, Any]]) -> None:
        for record in records:
            self._records += 1
            operation, who = self._bench.find(record["operation"]), self._people[_subject(record)]
            if operation is None or who is None or not was_judged(record):
                self._skipped += 1
                continue
            self._replayed += 1
            answered = again(record, who, operation, self._present, self._changed)
            if answered.now != answered.then:
                self._flipped += 1
                if len(self._flips) < self._limit:
                    self._flips.append(self._flip(record, answered))

    def _flip(self, record: dict[str, Any], answered: Answered) -> Flip:
        both = (*self._present.grants, *self._changed.grants)
        grants = {one.id: one for one in both if one.id in answered.grants}
        return Flip(
            invocation=record.get("invocation", ""),
            at=record["at"],
            who=record["who"],
            operation=record["operation"],
            resources=[one[0] for one in record.get("resources", ())],
            recorded=record.get("decision", "") or "deny",
            now=answered.now,
            then=answered.then,
            grants=said(grants.values()),
            sure=answered.sure,
        )


def _subject(record: dict[str, Any]) -> tuple[str, str]:
    """Give (the key by which somebody acted, who it was as policy names it): whoever acts for nobody is a person.

    The key is empty for what is no key that was made here, such as a session or an attenuated key, and in old records.
    """
    chain = record.get("chain_of") or [record.get("who", "")]
    key = record.get("key", "")
    own = key if key.startswith("key_") and "." not in key else ""
    return own, f"{'user' if len(chain) == 1 else 'agent'}:{chain[0]}"


def _named(who: Principal) -> str:
    return f"{'user' if who.kind == 'human' else who.kind}:{who.id}"


async def _acting(ctx: Context, bench: Bench, actor: str) -> Principal:
    found = await bench.acting(ctx.tenant, actor)
    if found is None:
        raise NotFound(f"there is no `{actor[:200]}`", hint="an actor is `agent:NAME`, `user:NAME` or `key:ID`")
    return found


def _explanation(operation: str, actor: str, found: Explained) -> Explanation:
    decision, problem = found.decision, found.problem
    require = decision.document().get("require") if decision is not None else None
    status = problem.status if problem is not None else 202 if found.verdict == "ask" else 200
    if found.verdict == DEPENDS:
        reason = "some input of this operation could be permitted: name one"
    elif decision is None or (found.verdict == "deny" and not decision.grants):
        reason = NOTHING_MATCHES if not found.grants else "a grant forbids every call of this operation"
    elif problem is not None and decision.verdict != found.verdict:
        reason = problem.detail  # policy permits it, and the operation itself does not
    else:
        reason = decision.reason
    return Explanation(
        operation=operation,
        actor=actor,
        verdict=found.verdict,
        status=0 if found.verdict == DEPENDS else status,
        reason=reason,
        problem=problem.document() if problem is not None else None,
        require=require,
        grants=said(found.grants),
        hops=[
            PerHop(
                who=hop.principal.id,
                kind=hop.principal.kind,
                verdict=hop.verdict,
                grants=[f"{one.id} {policy_text.words(one)}" for one in hop.grants],
            )
            for hop in found.hops
        ],
        resources=[one.id for one in found.resources],
        policy_version=found.policy_version,
    )

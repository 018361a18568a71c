"""Approvers: who may decide about a waiting call, and whose word counts as another person's (rules.md 11, ADR 56)."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
from typing import Any

from msgspec.structs import replace

from superagent.core.pipeline import Pipeline
from superagent.core.ports import Hands, Held
from superagent.core.principal import Principal
from superagent.core.problems import Denied, Problem, StepUpRequired, Unavailable
from superagent.core.resources import Risk
from superagent.core.seals import Signatures, Signed

STANDS_FOR = {"grants.request": "grants.create"}
"""What is asked for is what another operation does: whoever approves it for others must be somebody who may do that."""

DECIDES = "approvals.decide"
CONFIRM = "an owner says with `access.users.confirm` that an account is a person of its own"


class Approvers:
    """Judge approvers."""

    def __init__(self, pipeline: Pipeline, hands: Hands) -> None:
        self._pipeline = pipeline
        self._hands = hands

    def require_person(self, person: Principal) -> None:
        """Go on only with a person. Raises `Denied`."""
        if person.kind != "human":
            raise Denied("only a person decides what waits", hint="it waits until a person has looked at it")

    async def check(self, person: Principal, held: Held) -> None:
        """Go on only with somebody who may decide this one. Raises `Denied`."""
        requester = held.invocation.principal
        if person.id == requester.id:
            raise Denied(
                "nobody decides a call of their own", hint="somebody else does; `jobs.cancel` takes it back meanwhile"
            )
        if held.approvals_needed > 1 and person.id in {*requester.ids, *(hop.answers for hop in requester.chain())}:
            raise Denied("two or more approvals must come from people on whose behalf the call is not made")
        await self._check_apart(person, held)
        meant = self._pipeline.find(STANDS_FOR.get((held.inside or held.invocation.call).operation, ""))
        policy = self._hands.policies.of(person.tenant)
        if meant is not None and person.id not in requester.ids and not policy.may_try(person, meant):
            raise Denied(f"this is approved by people who may do `{meant.name}` themselves")
        # of `role:a and role:b`, one person must be both: two grants each demand an approval (ADR 16)
        if held.by and not any(person.subjects.issuperset(one.split(" and ")) for one in held.by):
            raise Denied(
                f"this one is decided by {' or '.join(held.by)}", hint="it waits until one of them has decided"
            )

    async def counted(self, held: Held) -> Held:
        """Give a waiting call with the approvals of those alone who might give them now.

        The first who approved stays, as when they are given.
        """
        counted: tuple[str, ...] = ()
        decides, policy = self._pipeline.find(DECIDES), self._hands.policies.of(held.tenant)
        for id in held.approved_by:
            # what they proved is on record with their decision: what is looked at are roles, groups and whose hands
            proved = Principal(id, "human", held.tenant, second_factor_at=self._hands.clock.now())
            person = await self._hands.identity.renewed(proved)
            if decides is not None and not policy.may_try(person, decides):
                continue
            with contextlib.suppress(Denied):
                await self.check(person, dataclasses.replace(held, approved_by=counted))
                counted += (id,)
        return held if counted == held.approved_by else dataclasses.replace(held, approved_by=counted)

    async def challenge(self, person: Principal, held: Held, approve: bool, origin: str) -> dict[str, Any]:
        """Give what a browser needs to sign a decision. Raises `Unavailable` where nothing checks signatures."""
        return await self._signatures().options(person, challenge_of(held.id, held.hash, approve), origin)

    async def signed(
        self, person: Principal, held: Held, approve: bool, signature: dict[str, Any] | None
    ) -> Signed | None:
        """Check a signature; None where none is given and none is needed.

        What is grave is approved with the passkey of whoever has one, and what is critical only with a fresh second
        factor: nobody does by an agent what their key alone does not allow. Raises `Denied`, `StepUpRequired`,
        `Unavailable`.
        """
        if signature is not None:
            return await self._signatures().verify(person, challenge_of(held.id, held.hash, approve), signature)
        signatures, risk = self._hands.signatures, self._risk(held)
        if approve and signatures is not None and risk >= Risk.HIGH and await signatures.required(person):
            raise Denied(
                "you have a passkey, and what is of high risk is approved with it",
                hint=f"open `/sign-in/approvals?id={held.id}`, or give a `signature`",
            )
        if approve and risk >= Risk.CRITICAL and not person.fresh(self._hands.clock.now()):
            raise StepUpRequired("to approve what is critical needs a fresh second factor")
        return None

    def _signatures(self) -> Signatures:
        if self._hands.signatures is None:
            raise Unavailable("nothing here checks signatures", hint="enrol a passkey, or decide without a signature")
        return self._hands.signatures

    def _risk(self, held: Held) -> Risk:
        call = held.inside or held.invocation.call
        operation = self._pipeline.find(call.operation)
        if operation is None:
            return Risk.CRITICAL
        risk = operation.risk
        if operation.assess is not None and not operation.secrets:
            with contextlib.suppress(Problem):
                risk = max(risk, operation.assess(operation.parse(call.input)))
        return risk

    async def _check_apart(self, person: Principal, held: Held) -> None:
        """Go on only with another person than who asks, or for what this one may do unasked. Raises `Denied`."""
        requester, accounts = held.invocation.principal, self._hands.accounts
        for_them = person.id in requester.ids  # whose rights cap the call: the one approval is theirs to give
        if accounts is None or (held.approvals_needed == 1 and for_them):
            return
        answers = [hop.answers for hop in requester.chain() if hop.answers]
        mine = await accounts.behind(person.tenant, [person.id])
        shared = mine & await accounts.behind(person.tenant, [*requester.ids, *answers])
        if shared and (held.approvals_needed > 1 or not self._could(person, held)):
            raise Denied(
                f"`{person.id}` counts as who asks: {_named(shared)} made one of the two, or was shown what proves it",
                hint=CONFIRM,
            )
        # the first who approved stays; the store looks once more, in the transaction that counts this one
        for earlier in held.approved_by:
            if earlier != person.id and mine & await accounts.behind(person.tenant, [earlier]):
                raise Denied(f"`{person.id}` counts as the same person as `{earlier}`, who has approved", hint=CONFIRM)

    def _could(self, person: Principal, held: Held) -> bool:
        """Tell whether a person may do unasked what somebody asks for: then nothing is gained by approving it."""
        call = held.inside or held.invocation.call
        operation = self._pipeline.find(call.operation)
        # a secret that waits is not there to be judged, and to ask for a right is not to do what it is for
        if operation is None or operation.secrets or call.operation in STANDS_FOR:
            return False
        own = replace(held.invocation, call=call, principal=person, channel="approval", approvals=0, tainted="")
        try:
            values = operation.parse(call.input)
            resources = operation.resources(values, held.invocation.principal.workspace)
        except Problem:
            return False
        policy = self._hands.policies.of(person.tenant)
        decision = policy.decide(person, operation, resources, self._pipeline.facts(own, operation, values))
        return decision.verdict == "allow"


def challenge_of(id: str, hash: str, approve: bool) -> bytes:
    """Give what a person signs to decide about a request: 32 bytes that name it, what was shown of it, and the word."""
    text = f"superagent {'approve' if approve else 'deny'} {id} {hash}"
    return hashlib.sha256(text.encode()).digest()


def _named(people: frozenset[str]) -> str:
    return ", ".join(f"`{one}`" for one in sorted(people))

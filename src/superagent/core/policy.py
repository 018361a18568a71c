"""Policy: grants, and the one pure function that says allow, ask, step-up or deny (rules.md 6).

The semantics are Cedar's (deny by default, a forbid beats any permit, order never matters), asked in four worlds: as
things stand, with a fresh second factor, with enough approvals, and with both. A rule knows in which worlds its
demands are met, as four bits; permits are OR-ed, forbids, hops and resources AND-ed. What is left is the verdict.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Literal

import msgspec

from superagent.core.grants import Grant
from superagent.core.operation import Operation
from superagent.core.principal import Principal
from superagent.core.resources import Effect, Protected, Resource, beneath
from superagent.core.rules import APPROVED, AS_IS, BOTH, EVERY, EVERY_EFFECT, FRESH, Facts, Index, Origin, Rule

Verdict = Literal["allow", "ask", "step_up", "deny"]

REASONS: dict[Verdict, str] = {
    "allow": "granted",
    "ask": "a person must approve this",
    "step_up": "a fresh second factor is needed",
    "deny": "a grant forbids this",
}
NOTHING_GRANTS = "nothing grants this"

_MOST_RULES = 1_000_000  # kept in tables at once: about 100 MB
_MOST_SETTLED = 10_000


@dataclass(frozen=True, slots=True)
class Decision:
    """A verdict and why: ids of the deciding grants, how many people must approve, and who may.

    Each of `by` is one subject or several joined by ` and `, all of which an approver must have; empty for anybody who
    may approve. `digest` names verdict, grants and demands, and not the version: an approval stays good when something
    unrelated changes.
    """

    verdict: Verdict
    reason: str
    grants: tuple[str, ...] = ()
    approvals: int = 0
    by: tuple[str, ...] = ()
    policy_version: int = 0
    digest: str = ""
    json: bytes = field(init=False, compare=False, repr=False)  # `document` as JSON text: made once, sent many times

    def __post_init__(self) -> None:
        object.__setattr__(self, "json", msgspec.json.encode(self.document()))

    def document(self) -> dict[str, Any]:
        """Give the decision object of the contract."""
        out: dict[str, Any] = {"verdict": self.verdict, "reason": self.reason, "grants": list(self.grants)}
        if self.approvals:
            out["require"] = {"approvals": self.approvals, "by": list(self.by)}
        out["policy_version"] = self.policy_version
        return out


class Table:
    """The rules that the holder of some subjects and a workspace has for one operation."""

    __slots__ = ("index", "invisible", "lasting", "rules")

    def __init__(self, rules: Iterable[Rule], operation: Operation) -> None:
        undoable = operation.undoable or operation.effect == Effect.READ
        own = [rule for rule in rules if rule.applies(undoable, operation.risk)]
        self.rules = tuple(own)
        self.index = Index(own)
        # may never be asked for: nothing permits it, or something forbids it whatever the call looks like
        effects, kinds = _effects_of(operation), _kinds_of(operation)
        heard = [rule for rule in own if rule.concerns(effects, kinds)]
        self.invisible = all(rule.denies for rule in heard) or any(rule.always_strikes(effects) for rule in heard)
        # what can be said once for all calls that touch nothing, unless a forbid looks at the single call
        once = all(rule.constant for rule in own if rule.denies and not rule.kinds)
        self.lasting = Index(rule for rule in own if rule.constant and not rule.kinds) if once else None


class Policy:
    """An immutable snapshot of one tenant's grants, compiled on first use per subjects and operation.

    `roots` are the folders that `{roots}` stands for. `instance` says that this is the tenant in which operations of
    the whole installation can be granted (rules.md 9): all its grants speak of them; elsewhere only those do that the
    platform itself made so.
    """

    def __init__(
        self,
        grants: Iterable[Grant],
        version: int,
        protected: Protected,
        roots: tuple[str, ...] = (),
        instance: bool = False,
    ) -> None:
        self.grants = tuple(grants)
        self.version = version
        self.protected = protected
        self.roots = roots
        self.instance = instance
        self._by_subject: dict[str, list[int]] = {}
        for at, grant in enumerate(self.grants):
            self._by_subject.setdefault(grant.subject, []).append(at)
        self._rules: dict[tuple[int, str], Rule] = {}
        self._tables: dict[tuple[frozenset[str], str, Operation], Table] = {}
        self._kept = 0
        self._settled: dict[tuple[Principal, Operation, str], Decision] = {}

    def table(self, hop: Principal, operation: Operation) -> Table:
        """Give the compiled rules for one principal of a chain and one operation."""
        # by the operation itself: after a plugin was replaced, another one bears the same name
        key = (hop.subjects, hop.workspace, operation)
        found = self._tables.get(key)
        if found is None:
            own = [at for subject in sorted(hop.subjects) for at in self._by_subject.get(subject, ())]
            rules = [self._rule(at, hop.workspace) for at in own if self.speaks_of(self.grants[at], operation)]
            found = Table(rules, operation)
            self._kept += (cost := 1 + len(rules))
            if self._kept > _MOST_RULES:  # many short-lived agents: start over rather than grow without end
                self._tables.clear()
                self._rules.clear()
                self._kept = cost
            self._tables[key] = found
        return found

    def speaks_of(self, grant: Grant, operation: Operation) -> bool:
        """Tell whether a grant names an operation and may speak of its scope."""
        if not grant.names(operation.name):
            return False
        return grant.instance or self.instance if operation.scope == "instance" else not grant.instance

    def may_try(self, principal: Principal, operation: Operation) -> bool:
        """Tell whether some call of this operation could be allowed or asked for: the cheap first authorization."""
        return not any(self.table(hop, operation).invisible for hop in principal.chain())

    def settled(self, principal: Principal, operation: Operation, origin: Origin) -> Decision | None:
        """Give a decision that holds for every call of an operation that touches nothing, once one was taken."""
        return self._settled.get((principal, operation, origin))

    def decide(
        self, principal: Principal, operation: Operation, resources: tuple[Resource, ...], facts: Facts
    ) -> Decision:
        """Judge a call on canonical resources; each hop of the chain and each resource must agree."""
        if resources or facts.risk != operation.risk:
            return self._judge(principal, operation, resources, facts)
        key = (principal, operation, facts.origin)
        known = self._settled.get(key)
        if known is None:
            lasting = [self.table(hop, operation).lasting for hop in principal.chain()]
            heard = [_heard(index, None, operation.effect, facts) for index in lasting if index is not None]
            if len(heard) < len(lasting) or not _worlds(heard, facts) & AS_IS:
                return self._judge(principal, operation, resources, facts)
            known = self._decision(_worlds(heard, facts), heard, facts)
            if len(self._settled) >= _MOST_SETTLED:
                self._settled.clear()
            self._settled[key] = known
        return known

    def may(self, principal: Principal, operation: Operation, resource: Resource, facts: Facts) -> bool:
        """Tell whether one more resource is allowed as things stand: filters lists, searches and recursive work."""
        return bool(self._worlds_for(principal, operation, resource, facts) & AS_IS)

    def denies_beneath(self, principal: Principal, operation: Operation, resource: Resource, facts: Facts) -> bool:
        """Tell whether something beneath a folder could be forbidden, or not be permitted, as things stand.

        It looks at the grants and not at what lies there: a pattern that could fit something counts as if it did.
        """
        for hop in principal.chain():
            rules = self.table(hop, operation).rules
            heard = [rule for rule in rules if rule.matches(facts, resource.effect)]
            if any(rule.denies and not rule.met(facts) & AS_IS and rule.reaches_into(resource.path) for rule in heard):
                return True
        return any(beneath(place, resource.path) for place in self.protected.places)

    def permits_beneath(self, principal: Principal, operation: Operation, resource: Resource, facts: Facts) -> bool:
        """Tell whether all that could lie beneath a folder is permitted as things stand, forbids apart."""
        return all(
            any(
                not rule.denies and rule.met(facts) & AS_IS and rule.covers_all_of(resource.path)
                for rule in self.table(hop, operation).rules
                if rule.matches(facts, resource.effect)
            )
            for hop in principal.chain()
        )

    def sees(self, principal: Principal, operations: Iterable[Operation], resource: Resource, facts: Facts) -> bool:
        """Tell whether some operation may use this resource in some way, so that refusing is 403 and not 404."""
        return any(
            self._worlds_for(
                principal, operation, resource.as_(effect), msgspec.structs.replace(facts, risk=operation.risk)
            )
            for operation in operations
            for effect in Effect
            if operation.uses(resource.kind, effect)
        )

    def root_of(self, principal: Principal, operation: Operation, path: str) -> str:
        """Give the deepest granted folder that contains a path: the descriptor below which it is opened."""
        place = Resource("path", "local", path)
        rules = [rule for hop in principal.chain() for rule in self.table(hop, operation).index.naming(place)]
        return max((rule.root_for(path) for rule in rules if not rule.denies), key=len, default="/")

    def _rule(self, at: int, workspace: str) -> Rule:
        grant = self.grants[at]
        place = workspace if any(path.startswith("{workspace}") for path in grant.where.paths) else ""
        found = self._rules.get((at, place))
        if found is None:
            found = self._rules[(at, place)] = Rule(grant, place, self.roots)
        return found

    def _judge(
        self, principal: Principal, operation: Operation, resources: tuple[Resource, ...], facts: Facts
    ) -> Decision:
        heard: list[list[Rule]] = []
        # what changes must be one of the things named: where none is named as changing, each one counts as it
        least = operation.effect if all(one.effect < operation.effect for one in resources) else Effect.READ
        for hop in principal.chain():
            index = self.table(hop, operation).index
            if not resources:
                heard.append(_heard(index, None, least, facts))
            for resource in resources:
                effect = max(least, resource.effect)
                heard.append([] if self._closed(resource) else _heard(index, resource, effect, facts))
        return self._decision(_worlds(heard, facts), heard, facts)

    def _worlds_for(self, principal: Principal, operation: Operation, resource: Resource, facts: Facts) -> int:
        if self._closed(resource):
            return 0
        tables = (self.table(hop, operation) for hop in principal.chain())
        return _worlds([_heard(table.index, resource, resource.effect, facts) for table in tables], facts)

    def _closed(self, resource: Resource) -> bool:
        return resource.kind == "path" and self.protected.covers(resource.path)

    def _decision(self, worlds: int, heard: list[list[Rule]], facts: Facts) -> Decision:
        verdict, world = verdict_of(worlds)
        grants = dict.fromkeys([rule.grant.id for rules in heard for rule in rules if _decides(rule, world, facts)])
        approvals, by = _demanded(heard, facts) if verdict == "ask" else (0, ())
        return _made(verdict, tuple(grants), approvals, by, self.version)


def verdict_of(worlds: int) -> tuple[Verdict, int]:
    """Read off the worlds in which a call is allowed: the verdict, and the world it is about (0 for none)."""
    if worlds & AS_IS:
        return "allow", AS_IS
    if worlds & FRESH:
        return "step_up", FRESH
    if worlds & APPROVED:
        return "ask", APPROVED
    return ("step_up", BOTH) if worlds & BOTH else ("deny", 0)


def _heard(index: Index, resource: Resource | None, effect: Effect, facts: Facts) -> list[Rule]:
    """Give the rules that speak of this use of a resource."""
    return [rule for rule in index.naming(resource) if rule.matches(facts, effect)]


def _worlds(heard: list[list[Rule]], facts: Facts) -> int:
    """Give the worlds in which every hop's rules allow every resource."""
    worlds = EVERY
    for rules in heard:
        permitted = 0
        for rule in rules:
            if rule.denies:
                worlds &= rule.met(facts)
            else:
                permitted |= rule.met(facts)
        worlds &= permitted
    return worlds


def _decides(rule: Rule, world: int, facts: Facts) -> bool:
    """Tell whether a rule is a reason: a permit that counts in the verdict's world, a forbid that strikes as is."""
    met = rule.met(facts)
    return not met & AS_IS and world != AS_IS if rule.denies else bool(met & world)


def _demanded(heard: list[list[Rule]], facts: Facts) -> tuple[int, tuple[str, ...]]:
    """Give the fewest approvals with which these rules allow, and who may give them.

    For each hop and resource one of the easiest permits must hold, and every forbid. Each approver must satisfy all of
    them at once: stricter than counting for each apart, and never weaker.
    """
    needed, demands = 0, list[frozenset[str]]()
    for rules in heard:
        permits = [rule for rule in rules if not rule.denies and rule.met(facts) & APPROVED]
        fewest = min(rule.approvals for rule in permits)
        easiest = [rule.grant.approvers for rule in permits if rule.approvals == fewest]
        demands += [frozenset[str]().union(*easiest)] if fewest and all(easiest) else []
        forbids = [rule for rule in rules if rule.denies and rule.approvals]
        demands += [rule.grant.approvers for rule in forbids if rule.grant.approvers]
        needed = max(needed, fewest, *(rule.approvals for rule in forbids))
    alike = {frozenset[str]()}
    for subjects in set(demands):
        alike = {chosen | {one} for chosen in alike for one in subjects}
    return needed, tuple(sorted(" and ".join(sorted(chosen)) for chosen in alike if chosen))


@lru_cache(8192)
def _made(verdict: Verdict, grants: tuple[str, ...], approvals: int, by: tuple[str, ...], version: int) -> Decision:
    # grants are never edited, so their ids say what they say
    text = f"{verdict}|{','.join(sorted(grants))}|{approvals}|{','.join(by)}"
    reason = NOTHING_GRANTS if verdict == "deny" and not grants else REASONS[verdict]
    return Decision(verdict, reason, grants, approvals, by, version, hashlib.sha256(text.encode()).hexdigest())


def _effects_of(operation: Operation) -> int:
    """Give the effects under which calls of an operation can be judged, as bits."""
    if operation.more is not None:
        return EVERY_EFFECT
    return sum(1 << effect for effect in {operation.effect, *(touch.effect for touch in operation.touched)})


def _kinds_of(operation: Operation) -> frozenset[str] | None:
    """Give what its calls can name: `path`, `host`, `secret`, `name`; None where only the call tells."""
    if operation.more is not None:
        return None
    own = ("path", "host", "secret")
    return frozenset(touch.kind if touch.kind in own else "name" for touch in operation.touched)

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

from superagent.core.bounds import Bounds
from superagent.core.demanding import demanded
from superagent.core.grants import Grant
from superagent.core.operation import Operation
from superagent.core.principal import Principal
from superagent.core.resources import Effect, Protected, Resource, beneath
from superagent.core.rules import APPROVED, AS_IS, BOTH, EVERY, FRESH, Facts, Index, Origin, Rule
from superagent.core.steering import PLACEHOLDER
from superagent.core.tables import Table

Verdict = Literal["allow", "ask", "step_up", "deny"]

REASONS: dict[Verdict, str] = {
    "allow": "granted",
    "ask": "a person must approve this",
    "step_up": "a fresh second factor is needed",
    "deny": "a grant forbids this",
}
STEERS = "a person must approve this: it changes what other programs run by themselves, or what agents take for orders"
AFTER_UNTRUSTED = "a person must approve this, for the caller has read untrusted text"
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
    obligations: tuple[str, ...] = ()
    json: bytes = field(init=False, compare=False, repr=False)  # `document` as JSON text: made once, sent many times

    def __post_init__(self) -> None:
        object.__setattr__(self, "json", msgspec.json.encode(self.document()))

    def document(self) -> dict[str, Any]:
        """Give the decision object of the contract."""
        out: dict[str, Any] = {"verdict": self.verdict, "reason": self.reason, "grants": list(self.grants)}
        if self.approvals:
            out["require"] = {"approvals": self.approvals, "by": list(self.by)}
        if self.obligations:
            out["obligations"] = list(self.obligations)
        out["policy_version"] = self.policy_version
        return out


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
        self._tables: dict[tuple[frozenset[str], str, Operation, Bounds | None], Table] = {}
        self._kept = 0
        self._tried: dict[tuple[Principal, Operation], bool] = {}
        self._settled: dict[tuple[Principal, Operation, str], Decision] = {}
        self._decided: dict[tuple[object, ...], Decision] = {}

    def table(self, hop: Principal, operation: Operation) -> Table:
        """Give the compiled rules for one principal of a chain and one operation."""
        # by the operation itself: after a plugin was replaced, another one bears the same name
        key = (hop.subjects, hop.workspace, operation, hop.bounds)
        found = self._tables.get(key)
        if found is None:
            own = [at for subject in sorted(hop.subjects) for at in self._by_subject.get(subject, ())]
            rules = [self._rule(at, hop.workspace) for at in own if self.speaks_of(self.grants[at], operation)]
            if hop.bounds is not None:  # they only narrow, so they may speak of the whole installation's operations too
                bounds = [grant for grant in hop.bounds.grants if grant.names(operation.name)]
                rules += [Rule(grant, hop.workspace, self.roots) for grant in bounds]
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
        known = self._tried.get((principal, operation))
        if known is None:
            known = not any(self.table(hop, operation).invisible for hop in principal.chain())
            if len(self._tried) >= _MOST_SETTLED:
                self._tried.clear()
            self._tried[principal, operation] = known
        return known

    def settled(self, principal: Principal, operation: Operation, origin: Origin) -> Decision | None:
        """Give a decision that holds for every call of an operation that touches nothing, once one was taken."""
        return self._settled.get((principal, operation, origin))

    def decide(
        self, principal: Principal, operation: Operation, resources: tuple[Resource, ...], facts: Facts
    ) -> Decision:
        """Judge a call on canonical resources; each hop of the chain and each resource must agree."""
        if facts.guarded:
            return self._judge(principal, operation, resources, facts)
        if resources or facts.risk != operation.risk:
            return self._remembered(principal, operation, resources, facts)
        key = (principal, operation, facts.origin)
        known = self._settled.get(key)
        if known is None:
            lasting = [self.table(hop, operation).lasting for hop in principal.chain()]
            heard = [_heard(index, None, operation.effect, facts) for index in lasting if index is not None]
            if len(heard) < len(lasting) or not _worlds(heard, facts) & AS_IS:
                return self._judge(principal, operation, resources, facts)
            known = self._decision(heard, facts, operation.asks)
            if len(self._settled) >= _MOST_SETTLED:
                self._settled.clear()
            self._settled[key] = known
        return known

    def lasts(
        self, decision: Decision, principal: Principal, operation: Operation, resources: tuple[Resource, ...],
        facts: Facts,
    ) -> bool:  # fmt: skip
        """Tell whether a decision holds for every such call: no grant behind it looks at time, address or input."""
        return self._decided.get(_alike(principal, operation, resources, facts)) is decision

    def may(self, principal: Principal, operation: Operation, resource: Resource, facts: Facts) -> bool:
        """Tell whether one more resource is allowed as things stand: filters lists, searches and recursive work."""
        return bool(self._worlds_for(principal, operation, resource, facts) & AS_IS)

    def asks(self, principal: Principal, operation: Operation, resource: Resource, facts: Facts) -> bool:
        """Tell whether enough approvals would allow one more resource, which is not allowed as things stand."""
        return verdict_of(self._worlds_for(principal, operation, resource, facts))[0] == "ask"

    def denies_beneath(self, principal: Principal, operation: Operation, resource: Resource, facts: Facts) -> bool:
        """Tell whether something beneath a folder could be forbidden, or not be permitted, as things stand.

        It looks at the grants and not at what lies there: a pattern that could fit something counts as if it did.
        """
        for hop in principal.chain():
            rules = self.table(hop, operation).rules
            heard = [rule for rule in rules if rule.matches(facts, 1 << resource.effect)]
            strikes = [rule for rule in heard if rule.denies and not rule.met(facts) & AS_IS]
            if any(rule.reaches_into(resource.path, resource.effect) for rule in strikes):
                return True
        return any(beneath(place, resource.path) for place in self.protected.places)

    def permits_beneath(self, principal: Principal, operation: Operation, resource: Resource, facts: Facts) -> bool:
        """Tell whether all that could lie beneath a folder is permitted as things stand, forbids apart."""
        return all(
            any(
                not rule.denies and rule.met(facts) & AS_IS and rule.covers_all_of(resource.path)
                for rule in self.table(hop, operation).rules
                if rule.matches(facts, 1 << resource.effect)
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
        named = [path for path in grant.where.paths if path == PLACEHOLDER or path.startswith("{workspace}")]
        place = workspace if named else ""
        found = self._rules.get((at, place))
        if found is None:
            found = self._rules[(at, place)] = Rule(grant, place, self.roots)
        return found

    def _remembered(
        self, principal: Principal, operation: Operation, resources: tuple[Resource, ...], facts: Facts
    ) -> Decision:
        """Judge a call, or give what was said to the same one; only where no grant looks at time, address or input."""
        if facts.second_factor_age_s is not None and not principal.trusted_local:  # it is another one each time
            return self._judge(principal, operation, resources, facts)
        key = _alike(principal, operation, resources, facts)
        return self._decided.get(key) or self._judge(principal, operation, resources, facts, key)

    def _judge(
        self,
        principal: Principal,
        operation: Operation,
        resources: tuple[Resource, ...],
        facts: Facts,
        key: tuple[object, ...] | None = None,
    ) -> Decision:
        """Judge a call, and remember what was said under a key where every such call is told the same."""
        heard: list[list[Rule]] = []
        # what changes must be one of the things named: where none is named as changing, each one counts as it
        least = operation.effect
        for one in resources:
            if one.effect >= least:
                least = Effect.READ
                break
        timeless = True
        for hop in principal.chain():
            table = self.table(hop, operation)
            timeless = timeless and table.timeless
            if not resources:
                heard.append(_heard(table.index, None, least, facts))
            for resource in resources:
                effect = max(least, resource.effect) if least else resource.effect
                heard.append([] if self._closed(resource) else _heard(table.index, resource, effect, facts))
        decision = self._decision(heard, facts, operation.asks)
        if timeless and key is not None:
            if len(self._decided) >= _MOST_SETTLED:
                self._decided.clear()
            self._decided[key] = decision
        return decision

    def _worlds_for(self, principal: Principal, operation: Operation, resource: Resource, facts: Facts) -> int:
        if self._closed(resource):
            return 0
        tables = (self.table(hop, operation) for hop in principal.chain())
        return _guarded(
            _worlds([_heard(table.index, resource, resource.effect, facts) for table in tables], facts), facts
        )

    def _closed(self, resource: Resource) -> bool:
        return resource.kind == "path" and self.protected.covers(resource.path)

    def _decision(self, heard: list[list[Rule]], facts: Facts, asks: str) -> Decision:
        worlds, permits = _weighed(heard, facts)
        worlds = _guarded(worlds, facts)
        if worlds & AS_IS:
            return _made("allow", tuple(permits), 0, (), self.version, facts.guarded, asks)
        verdict, world = verdict_of(worlds)
        approvals, by = demanded(heard, facts) if verdict == "ask" else (0, ())
        if facts.guarded and verdict == "ask":
            approvals = max(1, approvals)
        grants, steers = (
            _reasons(heard, world, facts),
            any(rule.steering and rule.denies for rules in heard for rule in rules),
        )
        if steers and verdict == "ask" and not facts.guarded:
            return _made(verdict, grants, approvals, by, self.version, False, "", STEERS)
        return _made(verdict, grants, approvals, by, self.version, facts.guarded, asks)


def _alike(
    principal: Principal, operation: Operation, resources: tuple[Resource, ...], facts: Facts
) -> tuple[object, ...]:
    age = facts.second_factor_age_s
    return principal, operation, resources, facts.origin, facts.risk, facts.isolation, facts.approvals, age


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
    bit = 1 << effect
    # as `rule.matches` says, without a call for each: most rules are not narrow
    return [rule for rule in index.naming(resource) if rule.bits & bit and (not rule.narrow or rule.fits(facts))]


def _worlds(heard: list[list[Rule]], facts: Facts) -> int:
    """Give the worlds in which every hop's rules allow every resource."""
    return _weighed(heard, facts)[0]


def _weighed(heard: list[list[Rule]], facts: Facts) -> tuple[int, dict[str, None]]:
    """Give the worlds in which every hop's rules allow every resource, and the ids of the permits as things stand."""
    worlds, found = EVERY, dict[str, None]()
    for rules in heard:
        permitted = 0
        for rule in rules:
            met = rule.flat
            if met is None:
                met = rule.met(facts)
            if rule.denies:
                worlds &= met
            else:
                permitted |= met
                if met & AS_IS:
                    found[rule.id] = None
        worlds &= permitted
    return worlds, found


def _guarded(worlds: int, facts: Facts) -> int:
    """Leave only the worlds in which a person approved: no grant helps who may speak for untrusted text."""
    return worlds & (APPROVED | BOTH) if facts.guarded and not facts.approvals else worlds


def _reasons(heard: list[list[Rule]], world: int, facts: Facts) -> tuple[str, ...]:
    """Give the ids of what decides: permits that count in the verdict's world, forbids that strike as things stand."""
    found: dict[str, None] = {}
    for rules in heard:
        for rule in rules:
            met = rule.flat
            if met is None:
                met = rule.met(facts)
            if met & world if not rule.denies else world != AS_IS and not met & AS_IS:
                found[rule.id] = None
    return tuple(found)


@lru_cache(8192)
def _made(
    verdict: Verdict,
    grants: tuple[str, ...],
    approvals: int,
    by: tuple[str, ...],
    version: int,
    guarded: bool,
    asks: str,
    why: str = "",
) -> Decision:
    # grants are never edited, so their ids say what they say
    obligations = (("approval of each call" if asks else "approval after untrusted text"),) if guarded else ()
    text = "|".join([verdict, ",".join(sorted(grants)), str(approvals), ",".join(by), *obligations])
    reason = why or (NOTHING_GRANTS if verdict == "deny" and not grants else REASONS[verdict])
    if guarded and verdict == "ask":
        reason = f"a person must approve this: {asks}" if asks else AFTER_UNTRUSTED
    digest = hashlib.sha256(text.encode()).hexdigest()
    return Decision(verdict, reason, grants, approvals, by, version, digest, obligations)

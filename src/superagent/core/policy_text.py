"""Policy as text: a grant as one English sentence, and a digest that names a set of grants whatever their ids."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

import msgspec

from superagent.core.grants import Grant
from superagent.core.steering import PLACEHOLDER, SAID

_VERB = {"allow": "allows", "ask": "asks a person before it allows", "deny": "denies"}
_MOST_SHOWN = 5


def body(grant: Grant) -> dict[str, object]:
    """Give a grant as it is written in files: without its id and without what is not said."""
    return grant.model_dump(mode="json", exclude_defaults=True, exclude={"id"})


def content(grant: Grant) -> str:
    """Give a grant as canonical JSON without its id: equal sentences are equal texts."""
    if len(grant.where.args) > 1:  # the only part whose order is the writer's
        return msgspec.json.encode(body(grant), order="deterministic").decode()
    return grant.model_dump_json(exclude={"id"}, exclude_defaults=True)


def ordered(grants: Iterable[Grant]) -> list[Grant]:
    """Give grants in the order in which files hold them: by subject, then by what they say."""
    return sorted(grants, key=lambda one: (one.subject, content(one)))


def digest_of(grants: Iterable[Grant]) -> str:
    """Give the SHA-256 (hex) over what grants say; order and ids do not count."""
    return hashlib.sha256("\n".join(sorted(map(content, grants))).encode()).hexdigest()


def hash_of(base: str, added: Iterable[Grant], removed: Iterable[str]) -> str:
    """Name one change of one policy: the digest of what it changes, what it adds, and the ids of what it ends."""
    said = [base, sorted(map(content, added)), sorted(removed)]
    return hashlib.sha256(msgspec.json.encode(said)).hexdigest()


def difference(old: Sequence[Grant], new: Sequence[Grant]) -> tuple[list[Grant], list[Grant]]:
    """Give (added, removed) between two sets of grants; sentences that say the same are the same."""
    before: dict[str, list[Grant]] = {}
    for grant in old:
        before.setdefault(content(grant), []).append(grant)
    added: list[Grant] = []
    for grant in new:
        same = before.get(content(grant))
        if same:
            same.pop()
        else:
            added.append(grant)
    return ordered(added), ordered(one for rest in before.values() for one in rest)


def as_diff(added: Sequence[Grant], removed: Sequence[Grant], old: str, new: str) -> str:
    """Show a change as a diff with a grant on each line; its length is that of the change, however long the policy."""
    lines = [*(f"-{content(one)}" for one in ordered(removed)), *(f"+{content(one)}" for one in ordered(added))]
    return "\n".join([f"--- {old}", f"+++ {new}", *lines, ""]) if lines else ""


def words(grant: Grant) -> str:
    """Say a grant in one sentence."""
    parts = [f"{_VERB[grant.effect]} {_listed(grant.operations)}"]
    if grant.effects:
        parts.append(f"({', '.join(grant.effects)})")
    if grant.undoable is not None:
        parts.append("that can be taken back" if grant.undoable else "that cannot be taken back")
    where = grant.where
    paths = [SAID if one == PLACEHOLDER else one for one in where.paths]
    named = [*paths, *where.hosts, *where.connections]
    if named:
        parts.append(f"on {_listed(named)}")
    if where.args:
        parts.append("where " + " and ".join(f"{name} is {_value(value)}" for name, value in where.args.items()))
    if grant.origin:
        parts.append(f"when {_listed(grant.origin)} calls")
    if grant.when.hours:
        parts.append(f"at {grant.when.hours} UTC")
    if grant.when.cidr:
        parts.append(f"from {_listed(grant.when.cidr)}")
    demands = [*_demands(grant)]
    if demands:
        parts.append(("unless " if grant.effect == "deny" else "if ") + " and ".join(demands))
    return f"{' '.join(parts)}, to {grant.subject or 'nobody'}"


def _demands(grant: Grant) -> Iterable[str]:
    if grant.max_risk:
        yield f"the risk is at most {grant.max_risk}"
    if grant.isolation:
        yield f"it runs isolated as {grant.isolation} or better"
    if grant.when.mfa_max_age_s:
        yield f"a second factor was shown within {grant.when.mfa_max_age_s} s"
    if grant.approvals:
        by = f" of {_listed(sorted(grant.approvers))}" if grant.approvers else ""
        yield f"{grant.approvals} approval{'s' if grant.approvals > 1 else ''}{by}"


def _listed(texts: Sequence[str]) -> str:
    shown = ", ".join(texts[:_MOST_SHOWN])
    return shown if len(texts) <= _MOST_SHOWN else f"{shown} and {len(texts) - _MOST_SHOWN} more"


def _value(value: object) -> str:
    return msgspec.json.encode(value).decode()

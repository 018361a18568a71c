"""Demanding: how many people must approve a call, and who they may be."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain, islice

from superagent.core.rules import APPROVED, Facts, Rule

MOST_ALIKE = 256


def demanded(heard: list[list[Rule]], facts: Facts) -> tuple[int, tuple[str, ...]]:
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
    return needed, tuple(sorted(" and ".join(sorted(chosen)) for chosen in _alike(demands) if chosen))


def _alike(demands: Iterable[frozenset[str]]) -> list[frozenset[str]]:
    """Give the least sets of subjects that have one of each demand, at most `MOST_ALIKE` of them.

    Their number is a product, and whoever lends a key writes grants: leaving some out asks more and never less.
    """
    alike = [frozenset[str]()]
    for subjects in sorted(set(demands), key=lambda one: (len(one), sorted(one))):
        enough = [chosen for chosen in alike if not chosen.isdisjoint(subjects)]
        short = [chosen for chosen in alike if chosen.isdisjoint(subjects)]
        more = (chosen | {one} for one in sorted(subjects) for chosen in short)
        alike = list(dict.fromkeys(islice(chain(enough, more), MOST_ALIKE)))
    return alike

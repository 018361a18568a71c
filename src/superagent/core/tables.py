"""Tables: the rules that speak of one operation and its caller, chosen once, with what can be told of all its calls."""

from __future__ import annotations

from collections.abc import Iterable

from superagent.core.operation import Operation
from superagent.core.resources import Effect
from superagent.core.rules import EVERY_EFFECT, Index, Rule


class Table:
    """The rules that the holder of some subjects and a workspace has for one operation."""

    __slots__ = ("index", "invisible", "lasting", "rules", "timeless")

    def __init__(self, rules: Iterable[Rule], operation: Operation) -> None:
        undoable = operation.undoable or operation.effect == Effect.READ
        own = [rule for rule in rules if rule.applies(undoable, operation.risk)]
        self.rules = tuple(own)
        self.index = Index(own)
        self.timeless = all(rule.timeless for rule in own)
        # may never be asked for: nothing permits it, or something forbids it whatever the call looks like
        effects, kinds = _effects_of(operation), _kinds_of(operation)
        heard = [rule for rule in own if rule.concerns(effects, kinds)]
        self.invisible = all(rule.denies for rule in heard) or any(rule.always_strikes(effects) for rule in heard)
        # what can be said once for all calls that touch nothing, unless a forbid looks at the single call
        once = all(rule.constant for rule in own if rule.denies and not rule.kinds)
        self.lasting = Index(rule for rule in own if rule.constant and not rule.kinds) if once else None


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

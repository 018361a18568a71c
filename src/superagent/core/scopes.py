"""Scopes: what an access token may do at most, as patterns of operations (RFC 6749, 3.3).

A scope is a pattern of operations as grants have it (`files.read`, `files.*`, `*`), and may end with `:read` or
`:change` to leave out stronger effects. `offline_access` asks for a refresh token and gives no right.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from superagent.core.bounds import Bounds
from superagent.core.grants import Grant
from superagent.core.operation import Operation
from superagent.core.policy import Policy
from superagent.core.principal import Principal
from superagent.core.problems import Denied
from superagent.core.resources import Effect


class ShortOfScope(Denied):
    """Policy or the operating system refuses this."""

    def __init__(self, scope: str, invocation: str) -> None:
        super().__init__(f"this token lacks the scope `{scope}`", hint="ask for a token that has it")
        self.scope = scope
        self.invocation = invocation


OFFLINE = "offline_access"
MOST = 50
_SCOPE = re.compile(r"(\*|[a-z][a-z0-9_]*(?:\.[a-z0-9_]+)*(?:\.\*)?)(?::(read|change))?")
_EFFECTS = {
    "read": frozenset({Effect.READ}),
    "change": frozenset({Effect.READ, Effect.CHANGE}),
    "": frozenset(Effect),
}


def scopes_of(text: str) -> tuple[str, ...]:
    """Read a list of scopes, as it stands in requests and tokens. Raises `ValueError` naming the first odd one."""
    found = tuple(dict.fromkeys(text.split()))
    for one in found:
        if one != OFFLINE and not _SCOPE.fullmatch(one):
            raise ValueError(f"`{one[:60]}` is no scope")
    if len(found) > MOST:
        raise ValueError(f"more than {MOST} scopes")
    return found


def bounds_of(scopes: Iterable[str]) -> Bounds:
    """Give what a token with these scopes does not reach beyond."""
    return Bounds(_grant(one) for one in scopes if one != OFFLINE)


def _grant(scope: str) -> Grant:
    pattern, _, kind = scope.partition(":")
    return Grant(effect="allow", operations=[pattern], effects=[one.name for one in sorted(_EFFECTS[kind])])


def within(narrow: Iterable[str], wide: Iterable[str]) -> bool:
    """Tell whether each of some scopes lies within one of others: what may be asked for, or is left at a refresh."""
    those = [one.partition(":") for one in wide if one != OFFLINE]
    for scope in narrow:
        if scope == OFFLINE:
            continue
        pattern, _, kind = scope.partition(":")
        if not any(_covers(one, pattern) and _EFFECTS[kind] <= _EFFECTS[other] for one, _, other in those):
            return False
    return True


def lacking(principal: Principal, operation: Operation, policy: Policy) -> str:
    """Give the scope for want of which alone a token does not reach an operation; empty when that is not why.

    For doors that may tell (RFC 6750, 3.1: `insufficient_scope`). It tells nothing of operations that whoever the token
    acts for could not see: for those, and at doors without such an answer, there is no such operation (rules.md 5).
    """
    above = principal.on_behalf_of
    if principal.bounds is None or above is None or policy.may_try(principal, operation):
        return ""
    if not policy.may_try(above, operation):
        return ""
    return operation.name + {Effect.READ: ":read", Effect.CHANGE: ":change"}.get(operation.effect, "")


def _covers(pattern: str, other: str) -> bool:
    """Tell whether a pattern covers a name, or all that another pattern covers."""
    return pattern in ("*", other) or (pattern.endswith(".*") and other.startswith(pattern[:-1]))

"""Outright: what no wide grant gives along with all else, but only one that names it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import msgspec

from superagent.core.grants import Grant
from superagent.core.invocation import Ticket
from superagent.core.policy import Policy
from superagent.core.rules import Facts


def named_outright(policy: Policy, ticket: Ticket, facts: Facts, argument: str, value: str) -> bool:
    """Tell whether grants allow a call also if nothing contains it, and one of each hop names a value of an argument.

    It must stand in `where.args` as it is: neither a wildcard nor a grant that speaks of all arguments says it. So who
    makes a key cannot hand on what nobody has granted to them by name.
    """
    bare = msgspec.structs.replace(facts, isolation=0)
    saying = {grant.id for grant in policy.grants if grant.effect != "deny" and _says(grant, argument, value)}
    operation, resources = ticket.operation, ticket.resources
    whole = policy.decide(ticket.invocation.principal, operation, resources, bare)
    hops = [replace(hop, on_behalf_of=None) for hop in ticket.invocation.principal.chain()]
    return whole.verdict == "allow" and not any(
        saying.isdisjoint(policy.decide(hop, operation, resources, bare).grants) for hop in hops
    )


def _says(grant: Grant, argument: str, value: str) -> bool:
    wanted: Any = grant.where.args.get(argument)
    return value in (cast("list[Any]", wanted) if isinstance(wanted, list) else [wanted])

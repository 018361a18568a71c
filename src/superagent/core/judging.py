"""Judging: what of a context asks policy about resources that the input did not name, or not by their real names."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Protocol

from msgspec.structs import replace

from superagent.core.invocation import Invocation, Ticket
from superagent.core.operation import Operation
from superagent.core.policy import Facts, Policy
from superagent.core.ports import Hands
from superagent.core.principal import Principal
from superagent.core.problems import Denied, NeedsApproval, NotFound, TooLarge
from superagent.core.resources import Effect, Resource
from superagent.core.steering import steers
from superagent.core.taint import OUT

MOST_FOUND = 100
_MOST_TOLD = 64


class Line(Protocol):
    """What a context needs of the line it runs on."""

    async def nested(self, ctx: Any, operation: str, input: dict[str, Any]) -> Any:
        """Call another operation as the same principal."""
        ...

    def sees(self, principal: Principal, resource: Resource, facts: Facts) -> bool:
        """Tell whether the caller may know of a resource."""
        ...

    def find(self, operation: str) -> Operation | None:
        """Give an operation by name, None when it is not installed."""
        ...

    def facts(self, invocation: Invocation, operation: Operation, values: dict[str, Any]) -> Facts:
        """Gather what policy may look at besides resources."""
        ...

    def stands(self, ticket: Ticket, *, anew: bool = True) -> None:
        """Go on only while the permission of a call stands; unless `anew`, judged by its moment. Raises `Denied`."""
        ...


class Judging:
    """The part of a context that judges."""

    __slots__ = ()
    ticket: Ticket
    led: tuple[Resource, ...]
    found: list[Resource]
    operation: Operation
    _asked: tuple[Resource, ...] | None
    _hands: Hands
    _judged: Operation
    _known_facts: Facts | None
    _line: Line
    _policy: Policy
    _told: dict[Resource, bool]

    @property
    def _who(self) -> Principal:
        return self.ticket.invocation.principal

    @property
    def _facts(self) -> Facts:
        if self._known_facts is None:
            self._known_facts = self._line.facts(self.ticket.invocation, self.operation, self.ticket.values)
        return self._known_facts

    def may(self, resource: Resource) -> bool:
        """Tell whether this operation may also use this resource: for each entry of a list, search or tree."""
        # a stream goes on for hours: what was taken away meanwhile is not given any more
        return self._permits(
            self._hands.policies.of(self._who.tenant) if self.operation.stream else self._policy, resource
        )

    def may_now(self, resource: Resource) -> bool:
        """Tell the same by the grants as they stand at this moment, and only while this call's own permission does.

        For what goes on for long, such as the connections of a command.
        """
        try:
            self._line.stands(self.ticket)
        except Denied:
            return False
        return self._permits(self._hands.policies.of(self._who.tenant), resource)

    def _permits(self, policy: Policy, resource: Resource) -> bool:
        facts = self._facts
        if facts.approvals and self.ticket.resources and not self.approved(resource):
            facts = replace(facts, approvals=0)  # people approved what was named, not where a link in it leads
        if self.ticket.invocation.marked and resource.effect and resource.kind in OUT:
            facts = replace(facts, guarded=True)  # what a call sends to without having named it counts as well
        if facts is not self._known_facts or policy is not self._policy:
            return policy.may(self._who, self._judged, resource, facts)
        told = self._told.get(resource)  # one place is looked at again and again on the way to a change
        if told is None:
            if len(self._told) >= _MOST_TOLD:
                self._told.clear()
            told = self._told[resource] = policy.may(self._who, self._judged, resource, facts)
        return told

    def names(self, resource: Resource) -> bool:
        """Tell whether the input named a resource, what it lies in, a part of it, or a connection that leads to it."""
        return _about(resource, (*self.ticket.resources, *self.led))

    def approved(self, resource: Resource) -> bool:
        """Tell the same of what people had to approve: the rest was allowed, and nobody was asked about its parts."""
        if self._asked is None:
            self._asked = self._asked_about()
        # whoever approves a folder has not seen by name what steers others in it
        asked = [one for one in self._asked if steers(one.path)] if _steers(resource) else self._asked
        if resource.kind == "path" and resource.effect:  # what is only read there names nothing that is changed
            asked = [one for one in asked if one.kind == "path" and one.effect] or asked
        return _about(resource, (*asked, *self.led))

    def _asked_about(self) -> tuple[Resource, ...]:
        ticket, policy, facts = self.ticket, self._policy, replace(self._facts, approvals=0)
        operation, named = ticket.operation, ticket.resources
        # as the decision was taken: where nothing is named as changing, each one counts as it
        least = Effect.READ if any(one.effect >= operation.effect for one in named) else operation.effect
        judged = [(one, one.as_(max(least, one.effect))) for one in named]
        asked = tuple(one for one, used in judged if not policy.may(self._who, operation, used, facts))
        return asked or named

    def may_all_beneath(self, path: str, effect: Effect = Effect.READ) -> bool:
        """Tell whether a folder may be used so with all that lies in it, whatever that is: for what sees all of it.

        What no operation on files may read or change there counts as closed as well, so that a command is no way
        around. Decided by the grants alone: a deny of something that does not exist counts, and so does one that enough
        approvals would lift, since nobody approved what lies deeper.
        """
        places = [(self._judged, Resource("path", "local", path, effect))]
        for name, what in (("files.read", Effect.READ), ("files.write", Effect.CHANGE)):
            found = self._line.find(name)
            if found is not None and what <= effect:
                places.append((found, Resource("path", "local", path, what)))
        policy, facts = self._policy, self._facts
        return policy.permits_beneath(self._who, *places[0], facts) and not any(
            policy.denies_beneath(self._who, operation, resource, replace(facts, approvals=0))
            for operation, resource in places
        )

    @property
    def judged_isolation(self) -> int:
        """Give the isolation level that the decision took for granted, as a number: the call must not run below it."""
        return self._known_facts.isolation if self._known_facts is not None else 0

    def may_path(self, path: str, effect: Effect = Effect.READ) -> bool:
        """Tell the same of a real local path."""
        return self.may(Resource("path", "local", path, effect))

    def require(self, resource: Resource) -> None:
        """Go on only if the resource is allowed. Raises `NotFound` if the caller may not see it, else `Denied`."""
        if not self.may(resource):
            if self._line.sees(self._who, resource, self._facts):
                hint = "a person can approve it: name that very place" if self.may_ask(resource) else None
                raise Denied(f"`{self._judged.name}` is not granted on `{resource.id}`", hint=hint)
            raise NotFound(f"there is no `{resource.path}`")

    def may_ask(self, resource: Resource) -> bool:
        """Tell whether a person could allow this operation what it may not do there as things stand."""
        facts = replace(self._facts, approvals=0)  # of those that were given, none was about this
        return all(self._policy.asks(self._who, one, resource, facts) for one in {self._judged, self.ticket.operation})

    def require_each(self, resources: Iterable[Resource]) -> None:
        """Go on only if all of these are allowed: what a call comes upon, such as the parts of a tree that it copies.

        Where people could allow them, the call begins anew with these named, and waits for that; what lies beneath one
        of them goes with it. Raises `NeedsApproval`, `TooLarge`, and as `require` does.
        """
        found: dict[str, Resource] = {}
        for one in resources:
            if self.may(one) or any(above in found for above in _above(one.path)):
                continue
            if not self.ticket.operation.effect or not self.may_ask(one):
                self.require(one)
            if not self.may(one.as_(Effect.READ)):  # what may not be read is not named to who asks
                raise Denied(
                    f"`{self._judged.name}` came upon something that it may not change", hint="name what you may change"
                )
            found[one.path] = one
            if len(found) > MOST_FOUND:
                raise TooLarge(
                    f"this changes more than {MOST_FOUND} places that a person must approve",
                    hint="do it in parts, which a person can look through",
                )
        if not found:
            return
        topmost = [one for path, one in sorted(found.items()) if not any(above in found for above in _above(path))]
        self.found.extend(topmost)
        more = f" and {len(topmost) - 1} more" if len(topmost) > 1 else ""
        raise NeedsApproval(
            f"`{self._judged.name}` would change `{topmost[0].path}`{more}, which a person must approve",
            hint="ask for it first with `approvals.request`, or make the call by itself",
        )

    def sees(self, resource: Resource) -> bool:
        """Tell whether the caller may know of a resource: some operation could use it."""
        return self._line.sees(self._who, resource, self._facts)


def _about(resource: Resource, named: Iterable[Resource]) -> bool:
    here = resource.id.rstrip("/") + "/"
    places = [one.id.rstrip("/") + "/" for one in named]
    return any(here.startswith(one) or one.startswith(here) for one in places)


def _steers(resource: Resource) -> bool:
    return resource.kind == "path" and bool(resource.effect) and steers(resource.path, folder=resource.folder)


def _above(path: str) -> Iterator[str]:
    """Give the folders in which a path lies."""
    while path := path.rpartition("/")[0]:
        yield path

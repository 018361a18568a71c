"""Rules: a grant made ready to be asked, and the index that finds those which name a resource."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from functools import lru_cache
from typing import Any, Literal, cast

import msgspec

from superagent.core.grants import DAY_MIN, ISOLATION, WEEK_MIN, Grant, week_spans
from superagent.core.patterns import HostPattern, PathPattern, Text, path_patterns
from superagent.core.resources import Effect, Resource, Risk, beneath
from superagent.core.steering import PLACEHOLDER, SteeringPaths

Origin = Literal["human", "agent", "workflow"]
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# the four worlds in which a call is judged
AS_IS, FRESH, APPROVED, BOTH = 1, 2, 4, 8
EVERY = AS_IS | FRESH | APPROVED | BOTH

SECRET = "secret:"  # noqa: S105 - what stands before the name of one
EVERY_EFFECT = sum(1 << effect for effect in Effect)

_MONDAY_MIN = 3 * DAY_MIN  # 1970-01-01 was a Thursday


class Facts(msgspec.Struct, frozen=True, gc=False):
    """What is true of a call besides its resources.

    `now` is epoch seconds, `remote` the caller's address or empty where it is not known, `second_factor_age_s` None
    when none was shown, `isolation` the level at which the call would run (0 none … 4 virtual machine), `approvals` how
    many people approved this very call, `guarded` that its caller had read untrusted text and it destroys or sends, so
    that a person must approve it, `args` the parsed input.
    """

    origin: Origin
    risk: Risk
    now: float
    remote: str = ""
    second_factor_age_s: float | None = None
    isolation: int = 0
    approvals: int = 0
    guarded: bool = False
    args: Mapping[str, Any] = msgspec.field(default_factory=dict[str, Any])


class Rule:
    """One grant for the holder of one workspace."""

    __slots__ = (
        "_args", "_isolation", "_max_risk", "_mfa", "_networks", "_origin", "_spans", "_undoable", "_until",
        "approvals", "bits", "constant", "demanding", "denies", "flat", "grant", "hosts", "id", "inside", "kinds",
        "names", "narrow", "paths", "secrets", "steering", "timeless",
    )  # fmt: skip

    def __init__(self, grant: Grant, workspace: str, roots: tuple[str, ...]) -> None:
        self.grant = grant
        self.id = grant.id
        self.denies = grant.effect == "deny"
        self.bits = sum(1 << Effect[name] for name in set(grant.effects)) or EVERY_EFFECT
        self._undoable = grant.undoable
        self._origin = frozenset(grant.origin)
        self._spans = week_spans(grant.when.hours) if grant.when.hours else ()
        self._networks = tuple(ipaddress.ip_network(one) for one in grant.when.cidr)
        self._args = tuple(_Argument(name, wanted) for name, wanted in grant.where.args.items())
        self._max_risk = Risk[grant.max_risk] if grant.max_risk else Risk.CRITICAL
        self._isolation = ISOLATION[grant.isolation or "none"]
        self._mfa = grant.when.mfa_max_age_s
        self._until = grant.when.until
        paths: list[PathPattern | SteeringPaths] = []
        for source in grant.where.paths:
            steering = source == PLACEHOLDER
            paths += [SteeringPaths((workspace, *roots))] if steering else path_patterns(source, workspace, roots)
        self.paths = tuple(paths)
        self.steering = PLACEHOLDER in grant.where.paths
        self.hosts = tuple(HostPattern(host) for host in grant.where.hosts)
        self.names, self.secrets, self.inside = names_of(grant)
        # what it names, as written: a placeholder that stands for nothing must not make a rule that covers everything
        self.kinds = frozenset(
            kind
            for kind, named in (
                ("path", grant.where.paths), ("host", self.hosts), ("name", self.names + self.inside),
                ("secret", self.secrets),
            )
            if named
        )  # fmt: skip
        self.approvals = grant.approvals
        self.narrow = bool(self._origin or self._spans or self._until or self._networks or self._args)
        self.demanding = bool(grant.max_risk or grant.isolation or self._mfa or self.approvals)
        # the worlds in which its demands are met, where it has none; else only the call tells
        self.flat = None if self.demanding else 0 if self.denies else EVERY
        # the same at every moment, from everywhere and for every input
        self.timeless = not (self._spans or self._until or self._networks or self._args)
        # the same for every call from one origin at one risk: nothing here looks at time, address, input or proof
        self.constant = not (
            self._spans or self._until or self._networks or self._args or grant.isolation or self._mfa or self.approvals
        )

    def applies(self, undoable: bool, risk: Risk) -> bool:
        """Tell whether the rule can have a say on an operation that is undoable or not and has at least this risk."""
        if self._undoable not in (None, undoable) or (not self.denies and self._max_risk < risk):
            return False
        return not self.kinds or bool(self.paths or self.hosts or self.names or self.secrets or self.inside)

    def concerns(self, effects: int, kinds: frozenset[str] | None) -> bool:
        """Tell whether the rule can speak of a call with one of these effects (bits) and kinds (None: any)."""
        return bool(self.bits & effects) and not (self.kinds and kinds is not None and self.kinds.isdisjoint(kinds))

    def always_strikes(self, effects: int) -> bool:
        """Tell whether the rule forbids every call of an operation that it concerns."""
        return self.denies and not (self.kinds or self.narrow or self.demanding) and not effects & ~self.bits

    def matches(self, facts: Facts, bit: int) -> bool:
        """Tell whether the rule speaks of a call, its resource apart; what is not known counts against the caller.

        `bit` is `1 << effect`.
        """
        return bool(self.bits & bit) and (not self.narrow or self.fits(facts))

    def fits(self, facts: Facts) -> bool:
        """Tell the same of origin, time, network and input alone."""
        if self._origin and facts.origin not in self._origin:
            return False
        if self._spans and not any(begin <= _minute(facts.now) < end for begin, end in self._spans):
            return False
        if self._until and facts.now >= self._until:
            return False
        if self._networks and not self._from_network(facts.remote):
            return False
        return all(one.fits(facts.args, unknown=self.denies) for one in self._args)

    def met(self, facts: Facts) -> int:
        """Give the worlds in which the demands are met; a deny without demands has none that could be."""
        if self.flat is not None:
            return self.flat
        if facts.risk > self._max_risk or facts.isolation < self._isolation:
            return 0
        worlds = EVERY
        if self._mfa and (facts.second_factor_age_s is None or facts.second_factor_age_s > self._mfa):
            worlds &= FRESH | BOTH
        if facts.approvals < self.approvals:
            worlds &= APPROVED | BOTH
        return worlds

    def reaches_into(self, folder: str, effect: Effect) -> bool:
        """Tell whether a path in a folder, or the folder itself, could be covered: for what sees all of it.

        Whoever may change all of it changes nothing there that steers: that stays in a view until it is named.
        """
        if not self.kinds:
            return True
        paths = [one for one in self.paths if not (effect and isinstance(one, SteeringPaths))]
        return any(beneath(one.anchor, folder) or beneath(folder, one.anchor) for one in paths)

    def covers_all_of(self, folder: str) -> bool:
        """Tell whether a folder is covered with whatever lies in it."""
        return not self.kinds or any(one.tree and beneath(folder, one.anchor) for one in self.paths)

    def root_for(self, path: str) -> str:
        """Give the deepest literal folder of a pattern that covers a path; `/` when none is named."""
        return max((one.root for one in self.paths if one.match(path)), key=len, default="/")

    def _from_network(self, remote: str) -> bool:
        address = _address(remote)
        return self.denies if address is None else any(address in network for network in self._networks)


def names_of(grant: Grant) -> tuple[tuple[Text, ...], tuple[Text, ...], tuple[Text, ...]]:
    """Give the patterns that name connections, those that name secrets, and those that name things in a connection.

    Secrets are meant only where `secret:` stands: leave to use the connection `github`, or all connections, is none to
    use a secret of that name without one. What holds `://` is the id of a thing, such as a table.
    """
    named = grant.where.connections
    secrets = [one.removeprefix(SECRET) for one in named if one.startswith(SECRET)]
    inside = [one for one in named if "://" in one and not one.startswith(SECRET)]
    names = [one for one in named if one not in inside and not one.startswith(SECRET)]
    return tuple(map(Text.of, names)), tuple(map(Text.of, secrets)), tuple(map(Text.of, inside))


def opens(inside: str) -> Text:
    """Give the connection that leave to use a thing in it must open, from the pattern that names the thing."""
    return Text.of(inside.partition("://")[2].partition("/")[0].replace("%2F", "/"))


Named = tuple[Callable[[str], bool], Rule]


class Index:
    """Rules by the places they name, so that ten thousand of them cost one look per parent folder."""

    __slots__ = ("_hosts", "_inside", "_lengths", "_names", "_opened", "_paths", "_secrets", "_unnamed", "rules")

    def __init__(self, rules: Iterable[Rule]) -> None:
        self.rules = tuple(rules)
        self._unnamed = [rule for rule in self.rules if not rule.kinds]
        self._paths: dict[str, tuple[list[Rule], list[Named]]] = {}
        self._hosts: dict[str, list[Named]] = {}
        self._names: dict[str, list[Named]] = {}
        self._secrets: dict[str, list[Named]] = {}
        self._inside: list[Named] = []
        self._opened: list[Named] = []
        for rule in self.rules:
            for path in rule.paths:
                trees, others = self._paths.setdefault(path.anchor, ([], []))
                if path.tree:  # all of it is covered where its anchor is found
                    trees.append(rule)
                else:
                    others.append((path.match, rule))
            for host in rule.hosts:
                self._hosts.setdefault(host.anchor, []).append((host.match, rule))
            for name in rule.names:
                self._names.setdefault(name.pieces[0] if name.literal else "", []).append((name.match, rule))
            for name in rule.secrets:
                self._secrets.setdefault(name.pieces[0] if name.literal else "", []).append((name.match, rule))
            self._inside += [(one.match, rule) for one in rule.inside]
            if not rule.denies:  # what may be used in a connection opens it; what may not does not close the rest
                self._opened += [(opens("*".join(one.pieces)).match, rule) for one in rule.inside]
        self._lengths = frozenset(map(len, self._paths))

    def naming(self, resource: Resource | None) -> list[Rule]:
        """Give the rules that cover a resource; for a call that touches nothing (None), those that name nothing.

        A rule of which two patterns fit is given twice.
        """
        found = self._unnamed.copy()
        if resource is None:
            return found
        kind, value = resource.kind, resource.path
        if kind == "path":
            self._lying(value, found, "/" if resource.folder else "")
        elif kind == "host":
            named, anchor = self._hosts, value.rpartition(":")[0]
            while named:
                if anchor in named:
                    found += [rule for fits, rule in named[anchor] if fits(value)]
                if not anchor:
                    break
                anchor = anchor.partition(".")[2]
        else:
            named = self._secrets if kind == "secret" else self._names
            if kind not in ("connection", "secret"):  # a thing in a connection
                found += [rule for fits, rule in self._inside if fits(resource.id)]
                kind, value = ("connection" if not value else kind), resource.authority.replace("%2F", "/")
            if kind == "connection":
                found += [rule for fits, rule in self._opened if fits(value)]
            for anchor in (value, ""):
                found += [rule for fits, rule in named.get(anchor, ()) if fits(value)]
        return found

    def _lying(self, path: str, found: list[Rule], slash: str) -> None:
        """Add the rules that cover a path: those whose anchor it is, or lies beneath; `slash` ends that of a folder."""
        end, lengths = len(path), self._lengths
        while True:
            # a folder is only looked up where some anchor is just as long
            if end in lengths and (some := self._paths.get(path[:end])) is not None:
                trees, others = some
                found += trees
                for fits, rule in others:
                    if fits(path + slash):
                        found.append(rule)
            if end <= 1:
                return
            end = path.rfind("/", 0, end) or 1


class _Argument:
    """What an argument of the input must be."""

    __slots__ = ("_name", "_others", "_texts")

    def __init__(self, name: str, wanted: Any) -> None:
        self._name = name
        values = cast("list[Any]", wanted) if isinstance(wanted, list) else [wanted]
        self._texts = [Text.of(one) for one in values if isinstance(one, str)]
        self._others = [one for one in values if not isinstance(one, str)]

    def fits(self, args: Mapping[str, Any], *, unknown: bool) -> bool:
        """Compare; `unknown` is the answer for a value that is neither text, number, boolean nor null."""
        name = self._name if self._name in args else f"{self._name}_"  # Python's `from_` is the input's `from`
        if name not in args:
            return False
        given = args[name].value if isinstance(args[name], Enum) else args[name]
        if isinstance(given, str):
            return any(text.match(given) for text in self._texts)
        if given is not None and not isinstance(given, bool | int | float):
            return unknown
        # JSON has one kind of number, but a boolean is none
        return any(given == one and isinstance(given, bool) == isinstance(one, bool) for one in self._others)


def _minute(now: float) -> int:
    return (int(now // 60) + _MONDAY_MIN) % WEEK_MIN


@lru_cache(4096)
def _address(text: str) -> Address | None:
    """Read a caller's address; None where it is not known. IPv4 in an IPv6 coat is IPv4."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address

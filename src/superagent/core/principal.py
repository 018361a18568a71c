"""Principals: who acts, for whom, and how authority only narrows on the way."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NoReturn

import msgspec

from superagent.core.bounds import Bounds

Kind = Literal["human", "agent", "service", "node", "anonymous"]
Scheme = Literal["bearer", "cookie", "local", "none"]

FRESH_S = 900.0
"""How long a second factor counts, as in the built-in roles."""


class Secret:
    """Hold a secret text that no log, repr or error message shows."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Give the text itself; call it only where it is used."""
        return self._value

    def __repr__(self) -> str:
        return "Secret(…)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is neither copied nor pickled")


class Facts(msgspec.Struct, frozen=True, gc=False):
    """What the surface knows of the caller's connection: address, client, and the surface itself."""

    remote: str = ""
    client: str = ""
    channel: str = "local"

    @property
    def loopback(self) -> bool:
        """Tell whether the caller is on this very machine."""
        return self.channel in ("local", "cli") or self.remote in ("127.0.0.1", "::1", "unix")


class Credential(msgspec.Struct, frozen=True, gc=False):
    """What a caller shows to be recognised."""

    scheme: Scheme
    value: Secret
    facts: Facts


@dataclass(frozen=True, slots=True, eq=False)  # compared by identity: the decision cache hashes it on every call
class Principal:
    """Someone who acts. Its effective right is the intersection along `on_behalf_of`.

    `subjects` are the names grants can address (`user:…`, `agent:…`, `role:…`, `group:…`). `workspace` is the folder
    of its own, empty for none. `key` is the id of the API key used. `second_factor_at` is when a second factor was last
    shown (epoch seconds), None for never; `trusted_local` says the owner key counts as stepped-up (rules.md 11).
    `bucket` names whose calls a second are counted together: an agent's, and those of all it lent its rights to.
    `answers` is the person who answers for a service, which acts for nobody.
    A hop with `bounds` is a credential of whoever it acts for: it has those grants and no others.
    `mark` names it with all bounds within which it acts, and `marks` every hop so: what is stored for one that reaches
    far is not there for the same one within narrower bounds.
    """

    id: str
    kind: Kind
    tenant: str
    roles: tuple[str, ...] = ()
    on_behalf_of: Principal | None = None
    workspace: str = ""
    key: str = ""
    name: str = ""
    remote: str = ""
    second_factor_at: float | None = None
    trusted_local: bool = False
    groups: tuple[str, ...] = ()
    bounds: Bounds | None = None
    answers: str = ""
    subjects: frozenset[str] = field(init=False)
    ids: tuple[str, ...] = field(init=False)
    mark: str = field(init=False)
    marks: tuple[str, ...] = field(init=False)
    bucket: str = field(init=False)

    def __post_init__(self) -> None:
        if self.on_behalf_of and self.on_behalf_of.tenant != self.tenant:
            raise ValueError("nobody acts for somebody of another tenant: one tenant's policy judges the whole chain")
        named = [f"role:{role}" for role in self.roles] + [f"group:{group}" for group in self.groups]
        who = {"human": "user"}.get(self.kind, self.kind)
        # a stranger is not "everybody": only grants that name `anonymous:anonymous` reach it
        own = {f"{who}:{self.id}"} | (set[str]() if self.kind == "anonymous" else {"*"})
        own |= {f"key:{self.key}"} if self.key else set[str]()
        object.__setattr__(self, "subjects", frozenset(own.union(named)) if self.bounds is None else frozenset())
        lender = self.on_behalf_of
        # strangers are many and share a name: each address has a bucket of its own
        payer = self.remote if self.kind == "anonymous" else self.key or self.id
        own = f"{self.tenant}/{payer}"
        object.__setattr__(self, "bucket", own if lender is None or lender.kind == "human" else lender.bucket)
        above = lender.ids if lender else ()
        object.__setattr__(self, "ids", above if above and above[0] == self.id else (self.id, *above))
        object.__setattr__(self, "mark", mark_of(self))
        object.__setattr__(self, "marks", (self.mark, *(lender.marks if lender else ())))

    def chain(self) -> Iterator[Principal]:
        """Give the acting principal, then those on whose behalf it acts."""
        hop: Principal | None = self
        while hop is not None:
            yield hop
            hop = hop.on_behalf_of

    def delegate(self, to: str, kind: Kind, roles: tuple[str, ...] = (), workspace: str = "") -> Principal:
        """Let another act on this one's behalf; every hop keeps being judged, so it can never do more."""
        return Principal(to, kind, self.tenant, roles, self, workspace or self.workspace, remote=self.remote)

    def within(self, bounds: Bounds, name: str = "") -> Principal:
        """Give the same one within bounds; with a name, whoever it lent its rights to: `builder/tests`.

        That one has proved nothing, and is never a person.
        """
        if not name:
            return replace(self, on_behalf_of=self, bounds=bounds)
        kind: Kind = "agent" if self.kind == "human" else self.kind
        return replace(
            self,
            id=f"{self.id}/{name}",
            kind=kind,
            on_behalf_of=self,
            bounds=bounds,
            second_factor_at=None,
            trusted_local=False,
        )

    def by_key(self, key: str) -> Principal:
        """Give the same one, acting by another credential."""
        return replace(self, key=key)

    def fresh(self, now: float) -> bool:
        """Tell whether a second factor was shown as lately as the built-in roles want it."""
        return self.trusted_local or (self.second_factor_at is not None and now - self.second_factor_at <= FRESH_S)

    @property
    def recorded_in(self) -> str:
        """Give the tenant in whose audit the acts stand; a stranger belongs to none, so it is the installation's."""
        return "system" if self.kind == "anonymous" else self.tenant

    @property
    def account(self) -> str:
        """Give the name against whose shares the acts count: the agent's, also of all it lent its rights to."""
        return next((hop.id for hop in reversed([*self.chain()]) if hop.kind != "human"), self.id)

    @property
    def charged(self) -> tuple[str, ...]:
        """Give the account, then those for whom it acts, or who answers for it; a person is alone."""
        account, root = self.account, [*self.chain()][-1]
        above = self.ids[self.ids.index(account) + 1 :]
        return (account, *above) if root.kind == "human" else (account, *above, root.answers or "-")

    @property
    def shares(self) -> bool:
        """Tell whether only a share of what the tenant may have is this one's: it acts for somebody else."""
        return len(self.ids) > 1 or self.kind == "service"

    @property
    def human(self) -> Principal | None:
        """Give the person at the end of the chain, None when there is none."""
        return next((hop for hop in self.chain() if hop.kind == "human"), None)

    def stored(self) -> dict[str, Any]:
        """Give the chain as plain data, for a ticket that is performed later."""
        out: dict[str, Any] = {
            name: getattr(self, name)
            for name in (
                "id",
                "kind",
                "tenant",
                "workspace",
                "key",
                "name",
                "remote",
                "second_factor_at",
                "trusted_local",
                "answers",
            )
        }
        out["roles"], out["groups"] = list(self.roles), list(self.groups)
        if self.bounds is not None:
            out["bounds"] = self.bounds.document()
        out["on_behalf_of"] = self.on_behalf_of.stored() if self.on_behalf_of else None
        return out

    @classmethod
    def from_stored(cls, data: dict[str, Any]) -> Principal:
        """Give back what `stored` wrote."""
        plain = dict(data)
        above = plain.pop("on_behalf_of")
        roles, groups = tuple(plain.pop("roles")), tuple(plain.pop("groups"))
        bounds = Bounds.of(plain.pop("bounds")) if "bounds" in plain else None
        plain["on_behalf_of"] = cls.from_stored(above) if above else None
        return cls(**plain, roles=roles, groups=groups, bounds=bounds)

    def without_proof(self) -> Principal:
        """Give the same chain without anything that was proved at the time: a later act must prove anew."""
        above = self.on_behalf_of.without_proof() if self.on_behalf_of else None
        return replace(self, second_factor_at=None, trusted_local=False, on_behalf_of=above)


def mark_of(principal: Principal) -> str:
    """Name a principal with the bounds along its chain: its id alone when there are none."""
    within = [hop.bounds.digest for hop in principal.chain() if hop.bounds is not None]
    return f"{principal.id}#{hashlib.sha256(''.join(within).encode()).hexdigest()[:32]}" if within else principal.id


ANONYMOUS = Principal("anonymous", "anonymous", "-")

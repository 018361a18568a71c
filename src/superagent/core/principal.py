"""Principals: who acts, for whom, and how authority only narrows on the way."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NoReturn

import msgspec

Kind = Literal["human", "agent", "service", "node", "anonymous"]
Scheme = Literal["bearer", "local", "none"]


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
    subjects: frozenset[str] = field(init=False)
    ids: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        if self.on_behalf_of and self.on_behalf_of.tenant != self.tenant:
            raise ValueError("nobody acts for somebody of another tenant: one tenant's policy judges the whole chain")
        named = [f"role:{role}" for role in self.roles] + [f"group:{group}" for group in self.groups]
        who = {"human": "user"}.get(self.kind, self.kind)
        # a stranger is not "everybody": only grants that name `anonymous:anonymous` reach it
        own = {f"{who}:{self.id}"} | (set[str]() if self.kind == "anonymous" else {"*"})
        own |= {f"key:{self.key}"} if self.key else set[str]()
        object.__setattr__(self, "subjects", frozenset(own.union(named)))
        object.__setattr__(self, "ids", (self.id, *(self.on_behalf_of.ids if self.on_behalf_of else ())))

    def chain(self) -> Iterator[Principal]:
        """Give the acting principal, then those on whose behalf it acts."""
        hop: Principal | None = self
        while hop is not None:
            yield hop
            hop = hop.on_behalf_of

    def delegate(self, to: str, kind: Kind, roles: tuple[str, ...] = (), workspace: str = "") -> Principal:
        """Let another act on this one's behalf; every hop keeps being judged, so it can never do more."""
        return Principal(to, kind, self.tenant, roles, self, workspace or self.workspace, remote=self.remote)

    @property
    def shares(self) -> bool:
        """Tell whether only a share of what the tenant may have is this one's: it acts for somebody else."""
        return self.on_behalf_of is not None

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
            )
        }
        out["roles"], out["groups"] = list(self.roles), list(self.groups)
        out["on_behalf_of"] = self.on_behalf_of.stored() if self.on_behalf_of else None
        return out

    @classmethod
    def from_stored(cls, data: dict[str, Any]) -> Principal:
        """Give back what `stored` wrote."""
        plain = dict(data)
        above = plain.pop("on_behalf_of")
        roles, groups = tuple(plain.pop("roles")), tuple(plain.pop("groups"))
        return cls(**plain, roles=roles, groups=groups, on_behalf_of=cls.from_stored(above) if above else None)

    def without_proof(self) -> Principal:
        """Give the same chain without anything that was proved at the time: a later act must prove anew."""
        above = self.on_behalf_of.without_proof() if self.on_behalf_of else None
        return replace(self, second_factor_at=None, trusted_local=False, on_behalf_of=above)


ANONYMOUS = Principal("anonymous", "anonymous", "-")

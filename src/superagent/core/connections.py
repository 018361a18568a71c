"""Connections and secrets as operations see them: by name, with what they are for, and the way to a value."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol

from superagent.core.operation import Input
from superagent.core.principal import Secret
from superagent.core.resources import Resource, canonical_path


@dataclass(frozen=True, slots=True)
class SecretUse:
    """What a secret is for: hosts that fit one of these patterns (none: any), and runs, which could send it anywhere.

    One that is for certain hosts is never given to a run.
    """

    hosts: tuple[str, ...] = ()
    runs: bool = True


@dataclass(frozen=True, slots=True)
class Connected:
    """A connection as a type's own functions see it: `host` is `host:port`, `secret` a name, empty for none."""

    name: str
    type: str
    endpoint: str
    host: str
    secret: str
    options: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Shown:
    """A secret as one host is shown it: a header, and its whole value."""

    host: str
    header: str
    value: Secret


def place_of(endpoint: str, host: str) -> Resource:
    """Give what is judged when a connection is used: its host, or the file where it leads to none (`sqlite:///f`)."""
    if host:
        return Resource("host", "-", host)
    return Resource("path", "local", canonical_path(endpoint.partition("://")[2], ""))


ConnectionTest = Callable[..., Awaitable[str]]
Shows = Callable[[Connected, Secret], Shown]


@dataclass(frozen=True, slots=True)
class ConnectionType:
    """A kind of connection: which URL schemes its endpoint may have, what its options are, and how to try one.

    `test` takes the context of `connections.test` and a `Connected`; it gives one line that says what answered, or
    raises what stands against it. `shows` says in which header the secret goes; None where it goes in none.
    """

    name: str
    schemes: tuple[str, ...]
    options: type[Input]
    test: ConnectionTest
    shows: Shows | None = None


class SecretReach(Protocol):
    """Secret values for one call, each recorded before it is given and taken out of all that the call gives."""

    async def resolve(self, name: str, *, host: str = "", job: str = "") -> Secret:
        """Give the value behind a connection, or with `secret:NAME` a secret itself, for a host or a job.

        A connection's goes to its own host only. Raises `NotFound`, `Denied`, `Conflict`, `AuditUnavailable`.
        """
        ...

    async def candidates(self, name: str, *, host: str = "", job: str = "") -> list[Secret]:
        """Give the value in force and, while they overlap, the one it replaces; otherwise as `resolve`."""
        ...

    async def header(self, name: str) -> Shown:
        """Give the header in which a connection shows its secret, for whoever sends it in place of the caller.

        Raises as `resolve` does, and `Unavailable` for a type of connection that shows its secret in no header.
        """
        ...

    async def connection(self, name: str) -> Connected:
        """Give a connection without any value. Raises `NotFound`, `Denied`."""
        ...

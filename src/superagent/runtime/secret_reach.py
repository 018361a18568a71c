"""The capability `secret`: values for one call, as far as policy grants them, each recorded before it is given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from superagent.core.audit import AuditRecord, Kind
from superagent.core.connections import Connected, ConnectionType, SecretUse, Shown, place_of
from superagent.core.context import Context
from superagent.core.patterns import HostPattern
from superagent.core.ports import Audit
from superagent.core.principal import Secret
from superagent.core.problems import Conflict, Denied, Internal, Problem, Unavailable
from superagent.core.resources import Resource, canonical_host
from superagent.core.rules import SECRET
from superagent.runtime.connections import Definition, SqlConnections
from superagent.runtime.secrets import Opened, SqlSecrets

RESOLVED = "secrets.resolve"
"""What the records of values that were given, or refused, are called."""


@dataclass(frozen=True, slots=True)
class _Found:
    """Versions of a secret, newest first, and what they are for."""

    secret: str
    purpose: str
    versions: list[Opened]


class SqlSecretReach:
    """Fill the port `SecretReach` from the stores, for the context of one call."""

    def __init__(
        self,
        ctx: Context,
        secrets: SqlSecrets,
        connections: SqlConnections,
        audit: Audit,
        types: Mapping[str, ConnectionType],
    ) -> None:
        self._ctx = ctx
        self._types = types
        self._secrets = secrets
        self._connections = connections
        self._audit = audit

    async def resolve(self, name: str, *, host: str = "", job: str = "") -> Secret:
        """Give the value behind a connection, or with `secret:NAME` a secret itself, for a host or a job."""
        return (await self.candidates(name, host=host, job=job))[0]

    async def candidates(self, name: str, *, host: str = "", job: str = "") -> list[Secret]:
        """Give the value in force and, while they overlap, the one it replaces."""
        redactor = self._ctx.redactor
        if redactor is None:
            raise Internal("a secret can only be had while its call runs")
        direct = name.startswith(SECRET)
        asked = Resource("secret", "-", name.removeprefix(SECRET)) if direct else Resource("connection", "-", name)
        try:
            to = canonical_host(host) if host else ""
            found = await (self._itself if direct else self._behind)(asked, to, job)
        except Problem as problem:
            detail = {"for": _purpose(host, job), "why": problem.detail}
            self._audit.note(self._record("refused", [asked], detail, problem=problem.slug))
            raise
        detail = {"for": found.purpose, "version": str(found.versions[0].version)}
        named = dict.fromkeys([asked, Resource("secret", "-", found.secret)])
        await self._audit.durable(self._record("event", [*named], detail))
        for version in found.versions:
            redactor.add(found.secret, version.value)
        return [version.value for version in found.versions]

    async def header(self, name: str) -> Shown:
        """Give the header in which a connection shows its secret."""
        connected = await self.connection(name)
        kind = self._types.get(connected.type)
        if kind is None or kind.shows is None:
            raise Unavailable(
                f"a connection of the type `{connected.type}` shows its secret in no header",
                hint="name a connection of another type, such as `http`",
            )
        return kind.shows(connected, await self.resolve(name))

    async def connection(self, name: str) -> Connected:
        """Give a connection without any value."""
        return (await self._connection(Resource("connection", "-", name))).connected()

    async def _connection(self, asked: Resource) -> Definition:
        self._ctx.require(asked)
        found = await self._connections.get(self._ctx.tenant, asked.path)
        if self._ctx.names(asked):  # whoever approved the connection approved where it leads
            self._ctx.led += (place_of(found.endpoint, found.host),)
        return found

    async def _itself(self, asked: Resource, host: str, job: str) -> _Found:
        self._ctx.require(asked)
        if bool(host) == bool(job):
            raise Internal("say for which host, or for which job, a secret is meant")
        versions = await self._secrets.open(self._ctx.tenant, asked.path)
        return _usable(asked.path, versions, host, job)

    async def _behind(self, asked: Resource, host: str, job: str) -> _Found:
        connection, name = await self._connection(asked), asked.path
        if job or host not in ("", connection.host):
            raise Denied(
                f"the secret of the connection `{name}` goes to `{connection.host}` and nowhere else",
                hint="name a connection to that host",
            )
        if not connection.secret:
            raise Conflict(
                f"the connection `{name}` has no secret", hint="give it one with `connections.update` and `secret`"
            )
        versions = await self._secrets.open(self._ctx.tenant, connection.secret, connection.secret_entry)
        return _usable(connection.secret, versions, connection.host, "")

    def _record(self, kind: Kind, resources: list[Resource], detail: dict[str, str], **more: Any) -> AuditRecord:
        invocation, principal = self._ctx.invocation, self._ctx.principal
        return AuditRecord(
            kind=kind,
            at=self._ctx.now,
            invocation=invocation.id,
            parent=invocation.parent or invocation.batch,
            tenant=principal.tenant,
            who=principal.id,
            chain_of=principal.ids,
            channel=invocation.channel,
            operation=RESOLVED,
            resources=tuple((one.id, one.effect.name) for one in resources),
            session=invocation.call.session,
            trace=invocation.trace,
            detail=detail | {"by": self._ctx.operation.name},
            **more,
        )


def _usable(secret: str, versions: list[Opened], host: str, job: str) -> _Found:
    """Give the versions whose own limits allow this use. Raises `Denied` when the one in force does not."""
    if not _allows(versions[0].use, host):
        raise Denied(
            f"the secret `{secret}` may not be given to {_purpose(host, job)}",
            hint="whoever put it says with `use` what it is for",
        )
    return _Found(secret, _purpose(host, job), [one for one in versions if _allows(one.use, host)])


def _allows(use: SecretUse, host: str) -> bool:
    if not host:  # to a run, which could send it anywhere
        return use.runs and not use.hosts
    return not use.hosts or any(HostPattern(pattern).match(host) for pattern in use.hosts)


def _purpose(host: str, job: str) -> str:
    return f"host {host}" if host else f"job {job}"

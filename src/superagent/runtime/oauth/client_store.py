"""Registered clients: made, shown, given another secret, ended. Only digests of their secrets are kept."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import Row

from superagent.core.changes import Keep
from superagent.core.context import Context
from superagent.core.grants import Grant
from superagent.core.principal import Principal
from superagent.core.problems import Conflict, Denied, InvalidInput, NotFound, TooLarge
from superagent.core.scopes import scopes_of
from superagent.data.database import Database
from superagent.data.transaction import InstanceTransaction, Transaction
from superagent.runtime.identity_tables import AGENTS, GRANTS
from superagent.runtime.names import require_roles
from superagent.runtime.oauth import redirects
from superagent.runtime.oauth.credentials import CLIENT, digest, mint
from superagent.runtime.oauth.tables import CLIENTS, CODES, CONSENTS, DEVICE_FLOW, DEVICES, REFRESH
from superagent.runtime.policies import SqlPolicies
from superagent.runtime.shared_map import Epoch

_PLAIN = ("id", "name", "kind", "role", "workspace", "created_by", "created_at", "revoked_at", "last_used_at", "hint")
MOST, MOST_BY_THEMSELVES = 1_000, 1_000
DAY_S = 86_400.0
SERVICE_FLOWS, APPLICATION_FLOWS = ("client_credentials",), ("authorization_code", "refresh_token")


class SqlClients:
    """The clients of an installation, and what was consented to."""

    def __init__(
        self,
        database: Database,
        policies: SqlPolicies,
        epoch: Epoch,
        workspaces: Path,
        now: Callable[[], float],
        new_id: Callable[[], str],
    ) -> None:
        self._database = database
        self._policies = policies
        self._epoch = epoch
        self._workspaces = workspaces
        self._now = now
        self._new_id = new_id

    async def create_service(
        self, ctx: Context, name: str, scopes: Sequence[str], role: str | None, grants: Sequence[Grant], keep: Keep
    ) -> dict[str, Any]:
        """Make a client that acts by itself, capped by what its maker may; gives its secret, this once."""
        person = ctx.principal.human
        if person is None:
            raise InvalidInput("only a person registers clients")
        id, secret, chosen = self._id(), mint(CLIENT), role or (None if grants else "agent")
        place = str(self._workspaces / ctx.tenant / id) if chosen else ""
        wanted, by, now = _scopes(scopes or ["*"]), frozenset(person.roles), self._now()

        def write(tx: Transaction) -> None:
            require_roles(tx, [chosen] if chosen else [], by)
            self._insert(
                tx, id=id, kind="service", name=_name(name), digest=digest(secret), hint=secret[-4:],
                flows=SERVICE_FLOWS, scopes=wanted, role=chosen, workspace=place, created_by=person.id,
            )  # fmt: skip
            tx.insert(
                AGENTS, id=id, kind="service", owner=person.id, parent="", role=chosen, workspace=place,
                state="active", budget="", created_at=now,
            )  # fmt: skip
            for one in grants:
                own = one.model_copy(update={"subject": f"service:{id}"})
                body = own.model_dump_json(exclude={"id"}, exclude_defaults=True)
                tx.insert(GRANTS, id=f"grant_{self._new_id()}", body=body, created_by=person.id, created_at=now)
            self._policies.settle(tx, person.id, f"makes the client {id}")
            keep(tx, id, {"id": id})

        await self._database.write(ctx.tenant, write)
        if grants:
            await self._policies.changed()
        if place:
            await asyncio.to_thread(Path(place).mkdir, 0o700, True, True)
        return {"id": id, "secret": secret, "workspace": place}

    async def create_application(
        self, ctx: Context, name: str, scopes: Sequence[str], addresses: Sequence[str], public: bool, device: bool,
        keep: Keep,
    ) -> dict[str, Any]:  # fmt: skip
        """Make a client that people let act for them; one that is not public gets a secret, shown this once."""
        flows = [*(APPLICATION_FLOWS if addresses else ()), *((DEVICE_FLOW, "refresh_token") if device else ())]
        id, secret = self._id(), "" if public else mint(CLIENT)
        wanted = _scopes(scopes)
        if not flows:
            raise InvalidInput("an application has redirect addresses, or is a device, or both")
        _check_addresses(addresses)

        def write(tx: Transaction) -> None:
            self._insert(
                tx, id=id, kind="application", name=_name(name), digest=digest(secret) if secret else None,
                hint=secret[-4:], redirects=addresses, flows=flows, scopes=wanted, created_by=ctx.principal.id,
            )  # fmt: skip
            keep(tx, id, {"id": id})

        await self._database.write(ctx.tenant, write)
        return {"id": id, "secret": secret or None, "workspace": ""}

    async def register(self, name: str, scopes: str, addresses: Sequence[str], public: bool) -> dict[str, Any]:
        """Make an application that registers itself (RFC 7591); it belongs to no tenant."""
        id, secret = self._id(), "" if public else mint(CLIENT)
        _check_addresses(addresses)
        if not addresses:
            raise InvalidInput("an application has redirect addresses")

        def write(tx: InstanceTransaction) -> None:
            if tx.count(CLIENTS, CLIENTS.c.tenant == "-") >= MOST_BY_THEMSELVES:
                raise TooLarge("too many clients registered themselves", hint="those that nobody uses go after a day")
            self._insert(
                tx, tenant="-", id=id, kind="application", name=_name(name), digest=digest(secret) if secret else None,
                hint=secret[-4:], redirects=addresses, flows=APPLICATION_FLOWS, scopes=_scopes(scopes.split() or ["*"]),
                created_by="",
            )  # fmt: skip

        await self._database.write_instance(write)
        return {"id": id, "secret": secret or None, "at": self._now()}

    def _id(self) -> str:
        return f"client_{self._new_id().lower()}"

    def _insert(self, tx: Transaction | InstanceTransaction, **row: Any) -> None:
        if tx.count(CLIENTS, CLIENTS.c.revoked_at.is_(None)) >= MOST and "tenant" not in row:
            raise TooLarge(f"a tenant has at most {MOST} clients", hint="delete those that nobody uses")
        listed = {name: json.dumps(list(row.get(name, ()))) for name in ("redirects", "flows")}
        tx.insert(CLIENTS, **{"workspace": "", "role": None, "created_at": self._now(), **row, **listed})

    async def listed(self, tenant: str) -> list[dict[str, Any]]:
        """Give the clients of a tenant, newest last, without anything secret."""
        rows = await self._database.read(tenant, lambda tx: tx.select(CLIENTS, order=[CLIENTS.c.created_at]))
        return [_shown(row) for row in rows]

    async def get(self, tenant: str, id: str) -> dict[str, Any]:
        """Give one client. Raises `NotFound`."""
        row = await self._database.read(tenant, lambda tx: tx.first(CLIENTS, CLIENTS.c.id == id))
        if row is None:
            raise _no_client(id)
        return _shown(row)

    async def rotate(self, by: Principal, id: str, overlap_s: float) -> str:
        """Give a client another secret; the one before is good for a while yet.

        Raises `NotFound`, `Conflict`, and `Denied` for a service that acts for somebody else.
        """
        secret, until = mint(CLIENT), self._now() + overlap_s

        def write(tx: Transaction) -> None:
            row = tx.first(CLIENTS, CLIENTS.c.id == id, CLIENTS.c.revoked_at.is_(None))
            if row is None:
                raise _no_client(id)
            if row.digest is None:
                raise Conflict("a public client has no secret")
            if row.kind == "service" and row.created_by != by.id:
                raise Denied(f"this service acts for `{row.created_by}`: only that person is given its secret")
            tx.update(
                CLIENTS, CLIENTS.c.id == id, former=row.digest, former_until=until, digest=digest(secret),
                hint=secret[-4:],
            )  # fmt: skip

        await self._database.write(by.tenant, write)
        return secret

    async def delete(self, tenant: str, id: str) -> None:
        """End a client, its grants, and all that was consented to it. Raises `NotFound`."""
        now = self._now()

        def write(tx: Transaction) -> None:
            if not tx.update(CLIENTS, CLIENTS.c.id == id, CLIENTS.c.revoked_at.is_(None), revoked_at=now):
                raise _no_client(id)
            tx.update(CONSENTS, CONSENTS.c.client == id, CONSENTS.c.revoked_at.is_(None), revoked_at=now, why="deleted")
            tx.update(AGENTS, AGENTS.c.id == id, state="removed")
            subject = f'"subject":"service:{id}"'
            tx.update(GRANTS, GRANTS.c.body.contains(subject, autoescape=True), revoked_at=now)
            self._policies.settle(tx, "", f"ends the client {id}")

        await self._database.write(tenant, write)
        self._epoch.bump()
        await self._policies.changed()

    async def consents(self, tenant: str, person: str) -> list[dict[str, Any]]:
        """Give what stands of what a person let clients do; empty gives everybody's in the tenant."""
        where = [CONSENTS.c.revoked_at.is_(None), CONSENTS.c.expires_at > self._now()]
        where += [CONSENTS.c.person == person] if person else []
        rows = await self._database.read(tenant, lambda tx: tx.select(CONSENTS, *where, order=[CONSENTS.c.created_at]))
        return [
            {
                "id": row.id, "client": row.client, "client_name": row.client_name, "person": row.person,
                "scopes": row.scopes.split(), "resources": json.loads(row.audiences), "created_at": row.created_at,
                "expires_at": row.expires_at,
            }
            for row in rows
        ]  # fmt: skip

    async def sweep(self) -> int:
        """Forget what is over for a day: codes, tokens, consents, and clients that registered and were never used."""
        before = self._now() - DAY_S

        def write(tx: InstanceTransaction) -> int:
            unused = (CLIENTS.c.tenant == "-", CLIENTS.c.last_used_at.is_(None), CLIENTS.c.created_at < before)
            return sum(
                (
                    *(tx.delete(table, table.c.expires_at < before) for table in (CODES, REFRESH, DEVICES, CONSENTS)),
                    tx.delete(CLIENTS, *unused),
                )
            )

        return await self._database.write_instance(write)


def _shown(row: Row[Any]) -> dict[str, Any]:
    return {name: getattr(row, name) for name in _PLAIN} | {
        "scopes": row.scopes.split(),
        "redirects": json.loads(row.redirects),
        "flows": json.loads(row.flows),
        "public": row.digest is None,
    }


def _scopes(scopes: Sequence[str]) -> str:
    try:
        found = scopes_of(" ".join(scopes))
    except ValueError as odd:
        raise InvalidInput(
            str(odd), hint="a scope is `files.*`, `files.read`, `*`, or one of these and `:read`"
        ) from None
    if not found:
        raise InvalidInput("a client has scopes: what it may be let do at most", hint="such as `files.*:read`")
    return " ".join(found)


def _name(name: str) -> str:
    if not 0 < len(name) <= 100 or not name.isprintable():
        raise InvalidInput("a client has a name of 1 to 100 printable characters, which people see")
    return name


def _check_addresses(addresses: Sequence[str]) -> None:
    if len(addresses) > redirects.MOST:
        raise InvalidInput(f"a client has at most {redirects.MOST} redirect addresses")
    for one in addresses:
        if fault := redirects.fault_of(one):
            raise InvalidInput(f"the redirect address `{one[:200]}` {fault}")


def _no_client(id: str) -> NotFound:
    return NotFound(f"there is no client `{id[:100]}`", hint="`access.clients.list` shows them")

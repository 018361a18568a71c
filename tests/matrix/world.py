"""Two tenants in one installation, each with a person of every built-in role, one of none, and an agent."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from sqlalchemy import text

from superagent.data.database import Database
from superagent.data.transaction import InstanceTransaction
from superagent.runtime.api_keys import mint, public_half
from superagent.runtime.first_start import OWNER_KEY
from superagent.runtime.identity_tables import AGENTS, KEYS, PEOPLE, TENANTS
from superagent.runtime.policies import SqlPolicies, role_names
from tests.surfaces.http.house import Caller, House, house_in

OWN, FOREIGN = "default", "others"
NOBODY = "nobody"
ROLES = [*role_names(), NOBODY]
AGENT = "an-agent"
STEERING_FOLDER = ".vscode"
WHO = [*ROLES, AGENT]
BY_ROOTS = ("operator", "viewer")  # their grants name the opened folders; those of the rest their workspaces


@dataclass
class Actor:
    """Somebody who calls: a person with one role, or an agent for the tenant's owner."""

    tenant: str
    who: str
    caller: Caller

    @property
    def subject(self) -> str:
        """Give the name by which policy knows it."""
        return f"{'agent' if self.who == AGENT else 'user'}:{self.caller.name}"


@dataclass
class World:
    """The installation, its people, and the folders that grants name or do not name."""

    house: House
    root: Path
    outside: Path
    actors: dict[tuple[str, str], Actor] = field(default_factory=dict[tuple[str, str], Actor])

    def actor(self, tenant: str, who: str) -> Actor:
        """Give somebody."""
        return self.actors[tenant, who]

    def folder(self, tenant: str, who: str, place: str) -> Path:
        """Give a folder of the own tenant: inside what is granted to somebody there, or outside of it."""
        if place == "outside":
            return self.outside
        if place == "steering":
            return self.folder(tenant, who, "inside") / STEERING_FOLDER
        return self.root if who in BY_ROOTS and tenant == OWN else self.actor(OWN, who).caller.workspace

    async def state(self) -> set[str]:
        """Give all that calls could have changed: rows that are no record of a call, and files."""
        lines = set(await self.database.read_instance(_rows))
        for top in (self.root, self.outside, self.house.data / "workspaces"):
            lines |= {f"{path} {path.read_bytes() if path.is_file() else ''}" for path in top.rglob("*")}
        return lines

    @property
    def database(self) -> Database:
        """Give the database behind the installation: people of a second tenant are written into it directly."""
        return self.policies._database  # pyright: ignore[reportPrivateUsage]

    @property
    def policies(self) -> SqlPolicies:
        """Give the policies in force."""
        return cast(SqlPolicies, self.house.installation.kernel.hands.policies)


def _rows(tx: InstanceTransaction) -> list[str]:
    """Give every row but those of the audit's index, when keys were last used, and as whom a tenant's commands run.

    The last is chosen once, at the first look. Nor those of marks: an agent that reads what others say is marked.
    """
    connection = tx._connection  # pyright: ignore[reportPrivateUsage]
    names = connection.execute(text("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")).scalars()
    found: list[str] = []
    for name in names:
        if name.startswith(("audit_", "alembic", "sqlite_", "sandbox_users", "taint_marks")):
            continue
        for row in connection.execute(text(f'SELECT * FROM "{name}"')).mappings():  # noqa: S608 - a table's own name
            found.append(f"{name} {[(k, v) for k, v in row.items() if k != 'last_used_at']}")
    return sorted(found)


@asynccontextmanager
async def world_in(folder: Path) -> AsyncGenerator[World]:
    """Open the installation and make everybody."""
    root, outside = folder / "root", folder / "outside"
    for place in (root, outside, root / STEERING_FOLDER):
        place.mkdir()
        (place / "file.txt").write_text("standing\n")
    flags: dict[str, Any] = {
        "files__roots": [str(root)], "limits__agent_rate_per_s": 1e6, "limits__agent_burst": 10**6,
    }  # fmt: skip
    async with house_in(folder / "data", **flags) as house:
        world = World(house, root, outside)
        tokens = await _people(world)
        await world.policies.changed()
        for (tenant, who), token in tokens.items():
            name = f"{tenant}-{who}"
            workspace = house.data / "workspaces" / tenant / name
            for place in (workspace, workspace / STEERING_FOLDER):
                place.mkdir(parents=True)
                (place / "file.txt").write_text(f"standing in {tenant}\n")
            world.actors[tenant, who] = Actor(tenant, who, house.caller(name, token, str(workspace)))
        yield world


async def _people(world: World) -> dict[tuple[str, str], str]:
    """Write everybody into the store; gives their keys."""
    tokens = {(tenant, who): mint() for tenant in (OWN, FOREIGN) for who in WHO}

    def write(tx: InstanceTransaction) -> None:
        tx.insert(TENANTS, id=FOREIGN, created_at=1.0)
        for (tenant, who), token in tokens.items():
            name, half = f"{tenant}-{who}", public_half(token)
            agent = who == AGENT
            if not agent:
                roles = json.dumps([] if who == NOBODY else [who])
                tx.insert(PEOPLE, tenant=tenant, id=name, roles=roles, state="active", created_at=1.0)
            workspace = str(world.house.data / "workspaces" / tenant / name) if agent else ""
            if agent:
                tx.insert(
                    AGENTS, tenant=tenant, id=name, kind="agent", owner=f"{tenant}-owner", parent="", role="agent",
                    workspace=workspace, state="active", budget="", created_at=1.0,
                )  # fmt: skip
            # as the key of the first start, which counts as a second factor until its person has one
            tx.insert(
                KEYS, tenant=tenant, id=half.id, public=half.public, kind="agent" if agent else "human",
                principal=name, role="agent" if agent else None, workspace=workspace,
                created_by=f"{tenant}-owner" if agent else name, created_at=1.0, hint=token[-4:],
                label="" if agent else OWNER_KEY,
            )  # fmt: skip

    await world.database.write_instance(write)
    return tokens

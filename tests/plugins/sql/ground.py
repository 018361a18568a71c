"""A kernel with the sql plugin, connections, secrets, files, network and undo, over real databases."""

from __future__ import annotations

import os
import socket
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from superagent.core.connections import Connected
from superagent.core.grants import Grant
from superagent.core.invocation import Outcome
from superagent.core.principal import Principal
from superagent.core.problems import Problem
from superagent.plugins.sql.operations import sql
from superagent.runtime.beneath import Roots
from superagent.runtime.files_reach import FilesReach
from superagent.runtime.kept_content import KeptContent
from superagent.runtime.net.network import open_network
from superagent.runtime.path_keeper import PathKeeper
from superagent.runtime.protected import Protected
from superagent.runtime.run_clients import Clients
from superagent.testing import person
from tests.runtime.secret_world import ADA, SecretWorld
from tests.runtime.stores import stores

PASSWORD = "hunter22-of-the-database"
TENANT_USER = 1_900_000_007


class Ground:
    """The world of one test; `db` is the connection that it speaks of, `egress` what the network recorded."""

    def __init__(self, world: SecretWorld, egress: list[Any]) -> None:
        self.world = world
        self.egress = egress

    @property
    def records(self) -> list[Any]:
        return self.world.world.audit.records

    async def connect(self, type: str, endpoint: str, *, secret: str = "", name: str = "db", **options: Any) -> None:
        """Make a connection, without the line."""
        entry = ""
        if secret:
            await self.world.put("password", secret)
            entry = await self.world.secrets.entry("default", "password")
        host = "" if type == "sqlite" else endpoint.partition("://")[2].partition("/")[0]
        made = Connected(name, type, endpoint, host, "password" if secret else "", options)
        await self.world.connections.write("default", made, entry, "ada")

    async def call(
        self, operation: str, sql: str = "", params: Any = None, *, by: Principal = ADA, connection: str = "db",
        dry_run: bool = False, **more: Any,
    ) -> Outcome:  # fmt: skip
        """Take `sql.<operation>` through the line; a name with a dot is taken whole, with its own input."""
        if "." in operation:
            return await self.world.run(operation, more, by=by, dry_run=dry_run)
        input = {"connection": connection, **({"sql": sql} if sql else {}), **more}
        if params is not None:
            input["params"] = params
        outcome = await self.world.run(f"sql.{operation}", input, by=by, dry_run=dry_run)
        assert not self.world.world.faults, self.world.world.faults
        return outcome

    async def do(self, operation: str, sql: str = "", params: Any = None, **more: Any) -> Any:
        """Take a call that must succeed and give its output."""
        outcome = await self.call(operation, sql, params, **more)
        assert outcome.problem is None, (outcome.problem.detail, outcome.problem.hint, sql)
        return outcome.result()

    async def refused(self, operation: str, sql: str = "", params: Any = None, **more: Any) -> Problem:
        """Take a call that must be refused, change nothing and be in the audit; give its problem."""
        outcome = await self.call(operation, sql, params, **more)
        assert outcome.problem is not None, (sql, outcome.result())
        told = [one for one in self.records if one.invocation == outcome.invocation and one.problem]
        assert [one.problem for one in told][-1:] == [outcome.problem.slug], (sql, told)
        assert outcome.problem.changed == "nothing"
        return outcome.problem

    def grant(self, *grants: dict[str, Any]) -> None:
        """Put other grants in force."""
        made = [Grant.model_validate({"id": f"g{at}", "subject": "*"} | one) for at, one in enumerate(grants)]
        self.world.world.policies.change(made)


@asynccontextmanager
async def ground(folder: Path) -> AsyncGenerator[Ground]:
    """Open the world over the stores of a folder."""
    async with stores(folder) as made:
        records: list[Any] = []
        with open_network(records.append, made.clock.now, allow_private=["127.0.0.0/8"]) as network:
            roots, protected = Roots(), Protected()

            async def user(tenant: str) -> int | None:
                return TENANT_USER if os.geteuid() == 0 else None

            def clients(ctx: Any) -> Clients:
                return Clients(ctx, made.keys, user)

            def files(ctx: Any) -> FilesReach:
                return FilesReach(ctx, roots, protected)

            world = SecretWorld(
                made,
                extra=(sql,),
                keepers={"path": PathKeeper(KeptContent(folder / "kept"))},
                net=network.reach,
                clients=clients,
                files=files,
            )
            async with AsyncExitStack() as stack:
                for lifespan in sql.lifespans:
                    await stack.enter_async_context(lifespan())
                yield Ground(world, records)


def free_port() -> int:
    """Give a port at which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


__all__ = ["PASSWORD", "Ground", "free_port", "ground", "person"]

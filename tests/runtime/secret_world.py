"""A kernel in memory over real stores of secrets and connections, with operations that use them."""

from __future__ import annotations

from typing import Any

from superagent.core.connections import Connected, ConnectionType, SecretUse
from superagent.core.grants import Grant
from superagent.core.invocation import Outcome
from superagent.core.ports import Keeper
from superagent.core.principal import Principal, Secret
from superagent.features.approvals import operations as approvals
from superagent.features.connections import operations as connections
from superagent.features.secrets import operations as secrets
from superagent.features.undo import operations as undo
from superagent.runtime.connections import SqlConnections
from superagent.runtime.egress.injection import Injection
from superagent.runtime.named_keepers import ConnectionKeeper, SecretKeeper
from superagent.runtime.secret_reach import SqlSecretReach
from superagent.runtime.secrets import SqlSecrets
from superagent.sdk import Connection, Context, Effect, Output, Plugin, Resource, Risk, SecretName
from superagent.testing import World, allow_all, person
from tests.runtime.stores import Stores

ADA = person("ada")


class Said(Output):
    text: str
    values: int = 0


def users() -> Plugin:
    """Make operations that use secrets as plugins will: behind a connection, or by name for a run."""
    plugin = Plugin("use", reaches=("secret",))

    @plugin.operation(name="use.ask", risk=Risk.LOW, effect=Effect.READ, returns_untrusted="never")
    async def ask(ctx: Context, connection: Connection, host: str = "", job: str = "") -> Said:
        """Ask a host, which says back what it was shown."""
        found = await ctx.secret.candidates(connection, host=host, job=job)
        return Said(text=" ".join(f"shown {one.reveal()}" for one in found), values=len(found))

    @plugin.operation(name="use.run", risk=Risk.LOW, effect=Effect.READ, returns_untrusted="never")
    async def run(ctx: Context, secret: SecretName, job: str = "job-1", host: str = "") -> Said:
        """Run something with a secret in its environment, and it prints it."""
        value = await ctx.secret.resolve(f"secret:{secret}", job=job, host=host)
        return Said(text=f"TOKEN={value.reveal()}")

    @plugin.operation(name="use.any", risk=Risk.LOW, effect=Effect.READ, returns_untrusted="never")
    async def any_(ctx: Context, name: str) -> Said:
        """Read a file, and use what the input does not declare to touch."""
        return Said(text=(await ctx.secret.resolve(name, host="api.example.org")).reveal())

    @any_.touches
    def _(values: dict[str, Any], workspace: str) -> list[Resource]:
        return [Resource("path", "local", "/srv/file")]

    @plugin.operation(name="use.look", risk=Risk.LOW, effect=Effect.READ, returns_untrusted="never")
    async def look(ctx: Context, connection: Connection) -> Said:
        """Look at a connection without using it."""
        return Said(text=(await ctx.secret.connection(connection)).endpoint)

    @plugin.operation(name="use.header", risk=Risk.LOW, effect=Effect.READ, returns_untrusted="never")
    async def header(ctx: Context, connection: Connection) -> Said:
        """Say what a proxy would be given to add on the way out."""
        shown = await ctx.secret.header(connection)
        added = Injection.of(shown.host, shown.header, shown.value)
        return Said(text=f"{added.endpoint} {added.header}: {added.value.reveal()}")

    @plugin.operation(name="use.nothing", risk=Risk.LOW, effect=Effect.READ, reaches=())
    async def nothing(ctx: Context, connection: Connection) -> Said:
        """Use a secret without having declared it."""
        return Said(text=(await ctx.secret.resolve(connection)).reveal())

    return plugin


class SecretWorld:
    """The kernel, its stores, and short ways to fill them."""

    def __init__(
        self,
        made: Stores,
        *grants: Grant,
        extra: tuple[Plugin, ...] = (),
        keepers: dict[str, Keeper] | None = None,
        **capabilities: Any,
    ) -> None:
        self.secrets = SqlSecrets(made.database, made.keys, made.clock)
        self.connections = SqlConnections(made.database, made.shared.connections, made.clock)
        types = self.types = dict[str, ConnectionType]()
        plugins = [
            secrets.plugin(self.secrets),
            connections.plugin(self.connections, types, self.secrets.entry),
            users(),
        ]
        for plugin in (*plugins, *extra):
            types |= plugin.connections
        self.world = World(
            *plugins,
            *extra,
            grants=grants or allow_all(),
            keepers={
                "secret": SecretKeeper(self.secrets),
                "connection": ConnectionKeeper(self.connections),
                **(keepers or {}),
            },
            capabilities={"secret": self._reach, **capabilities},
        )
        registry = self.world.kernel.registry

        def undoer(name: str, version: int) -> Any:
            found = self.world.kernel.registry.find(name)
            return found and found.undo

        taking_back = undo.plugin(self.world.undo, undoer)
        desk = approvals.plugin(self.world.kernel.approvals, self.world.work)
        self.world.kernel.registry = type(registry)([*registry, *taking_back.compile(), *desk.compile()])

    def _reach(self, ctx: Any) -> SqlSecretReach:
        return SqlSecretReach(ctx, self.secrets, self.connections, self.world.audit, self.types)

    async def run(self, operation: str, input: dict[str, Any], *, by: Principal = ADA, **call: Any) -> Outcome:
        """Take a call through the line."""
        return await self.world.run(operation, input, by=by, **call)

    async def put(self, name: str, value: str, use: SecretUse | None = None, *, overlap_s: float = 0.0) -> None:
        """Put a secret away, without the line."""
        await self.secrets.put("default", name, Secret(value), use, "ada", overlap_s=overlap_s)

    async def connect(self, name: str, secret: str = "", host: str = "api.example.org:443") -> None:
        """Make a connection, without the line."""
        entry = await self.secrets.entry("default", secret) if secret else ""
        made = Connected(name, "http", f"https://{host}", host, secret, {})
        await self.connections.write("default", made, entry, "ada")

    async def values(self, name: str) -> list[str]:
        """Give the values in force, newest first."""
        return [one.value.reveal() for one in await self.secrets.open("default", name)]

    def told(self, operation: str) -> list[tuple[str, tuple[Any, ...], dict[str, Any]]]:
        """Give the records of one name: kind, resources, detail."""
        return [(one.kind, one.resources, one.detail) for one in self.world.audit.records if one.operation == operation]

"""The keepers of secrets and connections: a change to either moves a name, and undo moves it back."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from typing import Any, Generic, TypeVar

import msgspec

from superagent.core.connections import place_of
from superagent.core.context import Context
from superagent.core.resources import Effect, Resource
from superagent.runtime.connections import Definition, SqlConnections
from superagent.runtime.secrets import Pointer, SqlSecrets

S = TypeVar("S", bound=msgspec.Struct)
_ROOM = 256  # what an entry counts against the quota of undo


class _NamedKeeper(ABC, Generic[S]):
    """Keep what a name stands for, which is never a value."""

    def __init__(self, kind: type[S]) -> None:
        self._kind = kind

    async def keep(self, ctx: Context, resource: Resource) -> tuple[dict[str, Any], str, int]:
        """Keep what the name stands for: (data, digest, bytes kept)."""
        found = await self._find(ctx.tenant, resource.path)
        return {"was": msgspec.to_builtins(found)}, _digest(found), _ROOM

    async def digest(self, ctx: Context, resource: Resource) -> str:
        """Name what the name stands for now; of a secret the version, so nothing can be guessed from it."""
        return _digest(await self._find(ctx.tenant, resource.path))

    async def settle(
        self, ctx: Context, resource: Resource, data: dict[str, Any], after: str | None
    ) -> tuple[str, dict[str, Any]]:
        """Name the state that was left; all else is known before the change."""
        return after or await self.digest(ctx, resource), data

    async def put_back(self, ctx: Context, resource: Resource, data: dict[str, Any]) -> None:
        """Let the name stand for what it stood for. Raises `Conflict` for a secret that is kept no longer."""
        await self._restore(ctx, resource.path, self._was(data))

    async def preview(self, ctx: Context, resource: Resource, data: dict[str, Any]) -> str:
        """Show what the name stands for now and what it will."""
        now, then = await self._find(ctx.tenant, resource.path), self._was(data)
        lines = ["nothing" if one is None else self._shown(one) for one in (now, then)]
        return f"--- {resource.path}\n+++ {resource.path}\n-{lines[0]}\n+{lines[1]}\n"

    def _was(self, data: dict[str, Any]) -> S | None:
        return None if data["was"] is None else msgspec.convert(data["was"], self._kind)

    @abstractmethod
    async def _find(self, tenant: str, name: str) -> S | None: ...

    @abstractmethod
    async def _restore(self, ctx: Context, name: str, to: S | None) -> None: ...

    @abstractmethod
    def _shown(self, one: S) -> str: ...


class SecretKeeper(_NamedKeeper[Pointer]):
    """Keeps which version of a secret was in force; the versions themselves stay where they are."""

    def __init__(self, secrets: SqlSecrets) -> None:
        super().__init__(Pointer)
        self._secrets = secrets

    async def _find(self, tenant: str, name: str) -> Pointer | None:
        return await self._secrets.pointer(tenant, name)

    async def _restore(self, ctx: Context, name: str, to: Pointer | None) -> None:
        await self._secrets.point(ctx.tenant, name, to)

    def _shown(self, one: Pointer) -> str:
        return f"version {one.version}"


class ConnectionKeeper(_NamedKeeper[Definition]):
    """Keeps what a connection was; putting it back needs leave to use its host and the secret that it names."""

    def __init__(self, connections: SqlConnections) -> None:
        super().__init__(Definition)
        self._connections = connections

    async def _find(self, tenant: str, name: str) -> Definition | None:
        return await self._connections.find(tenant, name)

    async def _restore(self, ctx: Context, name: str, to: Definition | None) -> None:
        if to is not None:
            ctx.require(place_of(to.endpoint, to.host))
            if to.secret:
                ctx.require(Resource("secret", "-", to.secret, Effect.READ))
        await self._connections.restore(ctx.tenant, name, to)

    def _shown(self, one: Definition) -> str:
        told = {name: getattr(one, name) for name in ("type", "endpoint", "secret", "options")}
        return msgspec.json.encode(told).decode()


def _digest(found: msgspec.Struct | None) -> str:
    return hashlib.sha256(msgspec.json.encode(found, order="deterministic")).hexdigest()

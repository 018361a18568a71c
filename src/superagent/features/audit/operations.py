"""Audit: search what happened, prove that nobody rewrote it, take it elsewhere."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable
from typing import Any, Protocol

from superagent.sdk import Context, Effect, Output, Plugin, Principal, Risk


class Trail(Protocol):
    """The audit of this installation."""

    def query(self, tenant: str, **filters: Any) -> Awaitable[tuple[list[dict[str, Any]], str | None]]:
        """Give (records, cursor of the next page)."""
        ...

    def verify(self, tenant: str, *, whole: bool) -> Awaitable[dict[str, Any]]:
        """Check every chain and checkpoint; unless `whole`, tell only what concerns the tenant."""
        ...

    def export(self, tenant: str, **filters: Any) -> Awaitable[tuple[AsyncIterator[bytes], int]]:
        """Give matching records as JSON lines, and how many."""
        ...

    def keys(self) -> list[str]:
        """Give the public keys that sign checkpoints, oldest first."""
        ...

    def proof(self) -> Awaitable[tuple[AsyncIterator[bytes], int, int]]:
        """Give the whole log as a gzipped tar, the number of the checkpoint at which it ends, and its lines."""
        ...


class Handles(Protocol):
    """Where an export is put."""

    def put(self, who: Principal, chunks: AsyncIterator[bytes], *, what: str = "blob") -> Awaitable[str]:
        """Store bytes and give their handle."""
        ...


class Records(Output):
    """Audit records, newest first; `cursor` asks for the next page, None on the last."""

    records: list[dict[str, Any]]
    cursor: str | None


class Verified(Output):
    """What verification found: `ok` when nothing was changed, removed, reordered or cut.

    `unanchored` says why the newest checkpoint did not reach the anchor (`audit.anchor`), empty when it did.
    The whole installation is checked. Whoever may not read what belongs to no tenant (`audit.installation`) is told
    the verdict, the kinds of faults and the number of its tenant's own records.
    """

    ok: bool
    records: int
    checkpoints: int | None
    chains: int | None
    faults: list[dict[str, Any]]
    unanchored: str = ""


class Exported(Output):
    """A stored export: download it at `/v1/results/{handle}/raw`."""

    handle: str
    records: int


class Keys(Output):
    """Public keys, oldest first, each as `<name>+<key id>+<key>`; after a rotation the older ones stay valid."""

    keys: list[str]


class Proof(Output):
    """The whole log as a gzipped tar: download it at `/v1/results/{handle}/raw`.

    It ends with the checkpoint of this number, which signs so many lines of all chains together.
    """

    handle: str
    checkpoint: int
    lines: int


def plugin(trail: Trail, handles: Handles) -> Plugin:
    """Make the plugin over the audit log and its index."""
    audit = Plugin("audit")

    @audit.operation(risk=Risk.LOW, effect=Effect.READ, returns_untrusted="always")
    async def query(
        ctx: Context,
        actor: str | None = None,
        operation: str | None = None,
        resource: str | None = None,
        invocation: str | None = None,
        since: float | None = None,
        until: float | None = None,
        text: str | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> Records:
        """Search the audit of your tenant, newest first; `since` and `until` are epoch seconds."""
        records, following = await trail.query(
            ctx.tenant, actor=actor, operation=operation, resource=resource, invocation=invocation, since=since,
            until=until, text=text, limit=max(1, min(limit, 1000)), cursor=cursor,
        )  # fmt: skip
        return Records(records=records, cursor=following)

    @audit.operation(risk=Risk.LOW, effect=Effect.READ, scope="instance", returns_untrusted="always")
    async def installation(
        ctx: Context,
        since: float | None = None,
        until: float | None = None,
        text: str | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> Records:
        """Search what belongs to no tenant, newest first: starts and stops, and strangers who were refused."""
        records, following = await trail.query(
            "system", since=since, until=until, text=text, limit=max(1, min(limit, 1000)), cursor=cursor
        )
        return Records(records=records, cursor=following)

    @audit.operation(risk=Risk.LOW, effect=Effect.READ, timeout_s=3600.0)
    async def verify(ctx: Context) -> Verified:
        """Check the hash chains and signed checkpoints of the whole installation; each fault is located.

        A tenant is told the verdict, and counts of its own records alone.
        """
        return Verified(**await trail.verify(ctx.tenant, whole=ctx.could("audit.installation")))

    @audit.operation(risk=Risk.LOW, effect=Effect.READ, timeout_s=3600.0)
    async def export(
        ctx: Context,
        actor: str | None = None,
        operation: str | None = None,
        since: float | None = None,
        until: float | None = None,
    ) -> Exported:
        """Export records of your tenant as JSON lines under a handle; `since` and `until` are epoch seconds."""
        chunks, count = await trail.export(ctx.tenant, actor=actor, operation=operation, since=since, until=until)
        handle = await handles.put(ctx.principal, chunks, what="result")
        return Exported(handle=handle, records=count)

    @audit.operation(risk=Risk.LOW, effect=Effect.READ)
    async def keys(ctx: Context) -> Keys:
        """Show the public keys that sign the audit's checkpoints: note them down where nobody of here can write."""
        return Keys(keys=trail.keys())

    @audit.operation(risk=Risk.LOW, effect=Effect.READ, scope="instance", timeout_s=3600.0)
    async def proof(ctx: Context) -> Proof:
        """Export the whole audit of the installation as it stands, to be verified elsewhere without this server."""
        chunks, checkpoint, lines = await trail.proof()
        handle = await handles.put(ctx.principal, chunks, what="result")
        return Proof(handle=handle, checkpoint=checkpoint, lines=lines)

    return audit

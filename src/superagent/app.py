"""The composition root: settings become stores, executors and plugins become a kernel; it alone knows everybody."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from superagent.core.events import LocalBus
from superagent.core.kernel import Kernel
from superagent.core.limits import Rate
from superagent.core.lookup import Invocations, Shelf
from superagent.core.operation import Operation
from superagent.core.plugin import Plugin
from superagent.core.ports import Hands
from superagent.core.principal import Credential, Facts, Principal, Secret
from superagent.core.problems import Unavailable
from superagent.core.registry import Registry
from superagent.data.database import Database, open_database
from superagent.data.dialect import path_of
from superagent.features.access import operations as access
from superagent.features.approvals import operations as approvals
from superagent.features.audit import operations as audit
from superagent.features.catalogue import operations as catalogue
from superagent.features.connections import operations as connections
from superagent.features.grants import operations as grants
from superagent.features.jobs import operations as jobs
from superagent.features.results import operations as results
from superagent.features.sandbox.operations import sandbox as effects
from superagent.features.secrets import operations as secrets
from superagent.features.settings import operations as settings
from superagent.features.undo import operations as undo
from superagent.plugins.files.operations import files
from superagent.plugins.shell.operations import shell
from superagent.runtime import (
    audit_tables,
    identity_tables,
    log,
    work_tables,
)
from superagent.runtime import blobs as blob_tables
from superagent.runtime import connections as connection_tables
from superagent.runtime import idempotency as idempotency_tables
from superagent.runtime import secrets as secret_tables
from superagent.runtime import undo_store as undo_tables
from superagent.runtime.audit_index import AuditIndex
from superagent.runtime.audit_log import AuditLimits, AuditLog
from superagent.runtime.beneath import Roots
from superagent.runtime.blobs import FileBlobs
from superagent.runtime.checkpoints import anchor_file
from superagent.runtime.clock import SystemClock
from superagent.runtime.connections import SqlConnections
from superagent.runtime.files_reach import FilesReach
from superagent.runtime.idempotency import SqlIdempotency
from superagent.runtime.identity import SqlIdentity
from superagent.runtime.keyed_veil import KeyedVeil
from superagent.runtime.keys import FileKeys
from superagent.runtime.leftovers import Leftovers
from superagent.runtime.locks import Locks
from superagent.runtime.named_keepers import ConnectionKeeper, SecretKeeper
from superagent.runtime.net.network import Network, open_network
from superagent.runtime.net.resolver import Resolve
from superagent.runtime.path_keeper import PathKeeper
from superagent.runtime.places import Places, prepare
from superagent.runtime.policies import SqlPolicies
from superagent.runtime.presence import Presence
from superagent.runtime.protected import Protected
from superagent.runtime.sandbox import users as sandbox_users
from superagent.runtime.sandbox.view_reach import ViewsReach
from superagent.runtime.sandbox.views import Views
from superagent.runtime.sandboxes import Sandboxes
from superagent.runtime.secret_reach import SqlSecretReach
from superagent.runtime.secrets import SqlSecrets
from superagent.runtime.settings_file import SettingsFile
from superagent.runtime.shared_map import SharedMap
from superagent.runtime.threads import Threads
from superagent.runtime.trail import Trail
from superagent.runtime.undo_store import SqlUndo
from superagent.runtime.work import SqlWork
from superagent.settings import Loaded

AREAS = (
    identity_tables.AREA,
    work_tables.AREA,
    idempotency_tables.AREA,
    undo_tables.AREA,
    blob_tables.AREA,
    audit_tables.AREA,
    sandbox_users.AREA,
    secret_tables.AREA,
    connection_tables.AREA,
)
POLICY_POLL_S = 0.2
LOOK_S = 5.0
SWEEP_S = 60.0
LOG_NAME = "superagent"


class Sweeps(Protocol):
    """A store that forgets what has expired."""

    async def sweep(self) -> int:
        """Forget what has expired, and say how much."""
        ...


@dataclass(slots=True)
class Installation:
    """A running platform: its kernel, and what entries and surfaces need to know besides."""

    kernel: Kernel
    loaded: Loaded
    places: Places
    index: AuditIndex
    audit: AuditLog
    sandbox: Sandboxes
    first_start: bool
    network: Network

    def readiness(self) -> dict[str, str]:
        """Give what must work for calls to be taken, each with its trouble (empty: none)."""
        return {"audit": self.audit.trouble}

    def gauges(self) -> dict[str, float]:
        """Give figures for the metrics."""
        return {"audit_healthy": float(self.audit.healthy), "operations": float(len(self.kernel.registry))}

    async def owner(self, channel: str = "cli") -> Principal:
        """Give the embedded principal: the owner, for the OS user who can read the state folder."""
        if os.lstat(self.places.state).st_uid != os.geteuid():
            raise Unavailable(
                "the data folder belongs to another user", hint="call as that user, or send a key to its server"
            )
        token = self.places.owner_key.read_text(encoding="ascii").strip()
        return await self.kernel.identify(Credential("local", Secret(token), Facts("", "", channel)))


@asynccontextmanager
async def open_installation(
    loaded: Loaded,
    *,
    worker: str = "0",
    extra: tuple[Plugin, ...] = (),
    takes_up: bool = True,
    resolve: Resolve | None = None,
) -> AsyncGenerator[Installation]:
    """Open the installation in a data folder and close it in order; `extra` are plugins beside the built-in ones.

    `takes_up` says whether this process takes up work that waits in the queue: one that stays does. `resolve` stands in
    for the machine's resolver of names.
    """
    places = prepare(loaded.data)
    state = places.state
    async with AsyncExitStack() as stack:
        keys = FileKeys(state / "keys")
        clock = SystemClock()
        shared = SharedMap(state / "shared.map")
        stack.callback(shared.close)
        database = await _database(loaded, state)
        stack.push_async_callback(database.close)
        audit_log = _audit_log(loaded, state, keys, clock, worker)
        died = clock.now()  # whatever is recovered in the next step has died before this moment
        await asyncio.to_thread(audit_log.start)
        stack.push_async_callback(audit_log.close)
        index = AuditIndex(database, state / "audit", flush=audit_log.flush, open_personal=keys.personal.open)
        policies = SqlPolicies(
            database, shared.policy, places.protected(), tuple(loaded.settings.files.roots), clock.new_id, clock.now
        )
        limits = loaded.settings.limits
        rate = Rate(limits.agent_rate_per_s, limits.agent_burst)
        identity = SqlIdentity(database, policies, shared.identity, places.workspaces, clock.now, clock.new_id, rate)
        first_start = await identity.bootstrap(places.owner_key)
        await policies.refresh()
        presence = Presence(state / "presence")
        stack.callback(presence.leave)
        undo_store = SqlUndo(database, keys, clock, state / "undo", limits.undo_quota_bytes, share=limits.agent_share)
        blobs = FileBlobs(
            database, clock, state / "blobs", quota_bytes=limits.blob_quota_bytes, share=limits.agent_share
        )
        work = SqlWork(database, keys, clock, presence)
        idempotency = SqlIdempotency(database, keys, clock, presence, limits.key_quota_bytes, limits.agent_share)
        secret_store = SqlSecrets(database, keys, clock)
        connection_store = SqlConnections(database, clock)
        locks = Locks(state / "locks")
        stack.callback(locks.close)
        pool = ThreadPoolExecutor(min(32, 4 + 4 * (os.cpu_count() or 1)), "operation")
        stack.callback(pool.shutdown, wait=False)
        protected = Protected.of([*places.own(), *places.inner()], {str(places.workspaces): 2})
        roots = Roots()
        network = stack.enter_context(
            open_network(
                audit_log.note,
                clock.now,
                allow_private=loaded.settings.net.allow_private,
                ca_file=loaded.settings.net.ca_file,
                resolve=resolve,
            )
        )
        views = Views(places.data / "views", state / "views", clock.now)
        await asyncio.to_thread(views.sweep)
        bus = LocalBus(log.observer_fault)
        chosen = loaded.settings.sandbox
        sandbox = Sandboxes(
            database,
            places,
            clock.monotonic,
            chosen.minimum_level,
            tuple(chosen.visible),
            chosen.first_user,
            chosen.users,
        )
        stack.push_async_callback(sandbox.close)
        audit_port = _Audit(audit_log, keys)
        hands = Hands(
            clock=clock,
            policies=policies,
            identity=identity,
            buckets=shared,
            audit=audit_port,
            locks=locks,
            undo=undo_store,
            idempotency=idempotency,
            work=work,
            blobs=blobs,
            thread=Threads(pool).run,
            fault=log.fault,
            veil=KeyedVeil(keys),
            runs_at=sandbox.levels.expected,
            keepers={
                "path": PathKeeper(undo_store.content, room=undo_store.room, owners=sandbox.owners),
                "secret": SecretKeeper(secret_store),
                "connection": ConnectionKeeper(connection_store),
            },
            capabilities={
                "files": lambda ctx: FilesReach(ctx, roots, protected),
                "run": lambda ctx: sandbox.reach(ctx, FilesReach(ctx, roots, protected), blobs),
                "secret": lambda ctx: SqlSecretReach(
                    ctx, secret_store, connection_store, audit_port, hands.connections
                ),
                "net": network.reach,
                "views": lambda ctx: ViewsReach(ctx, views),
            },
        )
        kernel = Kernel(Registry([]), hands, bus, streams_per_key=limits.streams)
        anchor = Path(loaded.settings.audit.anchor) if loaded.settings.audit.anchor else None
        trail = Trail(index, state / "audit", keys, LOG_NAME, anchor)

        def undoer(name: str, version: int) -> Callable[..., Awaitable[Any]] | None:
            found: Operation | None = kernel.registry.find(name)
            return found.undo if found is not None and found.version == version else None

        async def recorded(tenant: str, id: str) -> list[dict[str, Any]]:
            return (await index.query(tenant, invocation=id, limit=20))[0]

        built_in = (
            access.plugin(identity),
            approvals.plugin(kernel.approvals, work),
            audit.plugin(trail, blobs),
            catalogue.plugin(Shelf(kernel), lambda: probes(sandbox)),
            connections.plugin(connection_store, hands.connections, secret_store.entry),
            files,
            shell,
            grants.plugin(policies),
            jobs.plugin(Invocations(kernel, recorded)),
            results.plugin(blobs),
            secrets.plugin(secret_store),
            effects,
            settings.plugin(SettingsFile(loaded, hands.thread, state)),
            undo.plugin(undo_store, undoer),
        )
        install(kernel, (*built_in, *extra))
        await stack.enter_async_context(kernel.serving())
        for plugin in (*built_in, *extra):
            for lifespan in plugin.lifespans:
                await stack.enter_async_context(lifespan())
        stack.push_async_callback(index.close)
        await index.start()
        note = kernel.pipeline.recorder.event
        audit_log.note(note("platform.start", clock.now(), detail={"worker": worker}))
        left = Leftovers(audit_log.unfinished(), undo_store, locks, died, clock.now)
        await left.sweep()  # before anybody looks: of a write that a crash cut off nothing is to be seen
        for held in await work.at_start():
            if takes_up:
                kernel.resume(held)
        stores = (work, idempotency, undo_store, blobs, secret_store, left, _Sweeping(views), network.journal)
        ticker = asyncio.create_task(_tick(kernel, policies, identity, work, stores))
        try:
            yield Installation(kernel, loaded, places, index, audit_log, sandbox, first_start, network)
        finally:
            ticker.cancel()
            await asyncio.gather(ticker, return_exceptions=True)
            audit_log.note(note("platform.stop", clock.now(), detail={"worker": worker}))


def install(kernel: Kernel, plugins: tuple[Plugin, ...]) -> None:
    """Make the next snapshot of the registry from these plugins, and collect their hooks."""
    operations = [operation for plugin in plugins for operation in plugin.compile()]
    kernel.registry = Registry(operations, kernel.registry.version + 1)
    for plugin in plugins:
        kernel.hands.keepers.update(plugin.keepers)
        for name, kind in plugin.connections.items():
            if kernel.hands.connections.setdefault(name, kind) != kind:
                raise TypeError(f"two plugins provide connections of the type `{name}`")
        for observer in plugin.observers:
            kernel.bus.subscribe(observer)


async def probes(sandbox: Sandboxes) -> list[tuple[str, bool, str, str]]:
    """Say what this machine offers to operations (name, whether it works, what was seen), and the cure for the rest."""
    return [("files", True, "files beneath the granted roots, by descriptors", ""), await sandbox.standing()]


class _Sweeping:
    """Views among the stores that forget what has expired."""

    def __init__(self, views: Views) -> None:
        self._views = views

    async def sweep(self) -> int:
        """Remove views that are nobody's any more."""
        return await asyncio.to_thread(self._views.sweep)


class _Audit:
    """The audit port: the log's own methods, bound once, and personal detail sealed by the keys."""

    def __init__(self, audit_log: AuditLog, keys: FileKeys) -> None:
        self.note = audit_log.note
        self.note_text = audit_log.note_text
        self.durable = audit_log.durable
        self._seal = keys.personal.seal

    def personal(self, tenant: str, subject: str, detail: bytes) -> str:
        """Seal personal detail under the subject's own key."""
        return self._seal(tenant, subject, detail.decode())


async def _database(loaded: Loaded, state: Path) -> Database:
    url = loaded.settings.database.url
    return await open_database(path_of(url) if url else state / "superagent.db", AREAS)


def _audit_log(loaded: Loaded, state: Path, keys: FileKeys, clock: SystemClock, worker: str) -> AuditLog:
    anchor = anchor_file(Path(loaded.settings.audit.anchor)) if loaded.settings.audit.anchor else None
    limits = AuditLimits(stuck_s=loaded.settings.audit.stuck_after_s)
    return AuditLog(
        state / "audit",
        keys.signer(LOG_NAME),
        clock.now,
        node="local",
        worker=worker,
        epoch=clock.new_id(),
        limits=limits,
        anchor=anchor,
    )


async def _tick(
    kernel: Kernel,
    policies: SqlPolicies,
    identity: SqlIdentity,
    work: SqlWork,
    stores: tuple[Sweeps, ...],
) -> None:
    """Follow policy changes of other workers, take over what dead ones left, and tidy up now and then."""
    looked = swept = kernel.hands.clock.monotonic()
    while True:
        await asyncio.sleep(POLICY_POLL_S)
        now = kernel.hands.clock.monotonic()
        try:
            if policies.stale:
                await policies.refresh()
            if now - looked > LOOK_S:
                looked = now
                kernel.pipeline.record_floods()
                await work.settle_lost()
                for held in await work.ready(older_s=2 * LOOK_S):
                    kernel.resume(held)
            if now - swept > SWEEP_S:
                swept = now
                await identity.note_use()
                for store in stores:
                    await store.sweep()
        except Exception as fault:  # this must go on: without it a revoked right would stay in force here
            log.fault("", fault)

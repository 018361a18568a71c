"""Stores: everything that an installation keeps, opened together and closed in the opposite order."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from superagent.core.limits import Rate
from superagent.data.database import Database, open_database
from superagent.data.dialect import POSTGRESQL
from superagent.runtime import audit_tables, epoch_feed, hook_tables, identity_tables, policy_tables, work_tables
from superagent.runtime import blobs as blob_tables
from superagent.runtime import connections as connection_tables
from superagent.runtime import idempotency as idempotency_tables
from superagent.runtime import secrets as secret_tables
from superagent.runtime import taints as taint_tables
from superagent.runtime import undo_store as undo_tables
from superagent.runtime.access_room import AccessRoom
from superagent.runtime.audit_index import AuditIndex
from superagent.runtime.audit_log import AuditLimits, AuditLog
from superagent.runtime.blobs import FileBlobs
from superagent.runtime.checkpoints import anchor_file
from superagent.runtime.clock import SystemClock
from superagent.runtime.connections import SqlConnections
from superagent.runtime.epoch_feed import EpochFeed
from superagent.runtime.first_start import bootstrap
from superagent.runtime.holdings import Holdings
from superagent.runtime.home import Home
from superagent.runtime.idempotency import SqlIdempotency
from superagent.runtime.identity import SqlIdentity
from superagent.runtime.keys import FileKeys
from superagent.runtime.leftovers import Leftovers
from superagent.runtime.locks import Locks
from superagent.runtime.oauth import tables as oauth_tables
from superagent.runtime.places import Places
from superagent.runtime.policies import SqlPolicies
from superagent.runtime.presence import Presence
from superagent.runtime.reserve import Reserve
from superagent.runtime.sandbox import users as sandbox_users
from superagent.runtime.sandbox.views import Views
from superagent.runtime.secrets import SqlSecrets
from superagent.runtime.shared_map import Epoch, SharedMap
from superagent.runtime.sign_in import tables as sign_in_tables
from superagent.runtime.taints import SqlTaints
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
    taint_tables.AREA,
    policy_tables.AREA,
    oauth_tables.AREA,
    sign_in_tables.AREA,
    epoch_feed.AREA,
    hook_tables.AREA,
)
LOG_NAME = "superagent"
DATABASE = "superagent.db"
"""The file that the tables lie in unless `database.url` says otherwise."""


@dataclass(frozen=True, slots=True)
class Stores:
    """What is kept, and what keeps it. `died` is a moment (epoch seconds) before which a recovered process has died."""

    keys: FileKeys
    clock: SystemClock
    shared: SharedMap
    database: Database
    audit: AuditLog
    index: AuditIndex
    policies: SqlPolicies
    identity: SqlIdentity
    access: AccessRoom
    presence: Presence
    undo: SqlUndo
    blobs: FileBlobs
    work: SqlWork
    idempotency: SqlIdempotency
    secrets: SqlSecrets
    connections: SqlConnections
    taints: SqlTaints
    locks: Locks
    views: Views
    holdings: Holdings
    died: float
    first_start: bool
    identity_epoch: Epoch
    home: Home

    async def room_to_keep(self, tenant: str, chain: Sequence[str]) -> int:
        """Give the bytes that may still be kept for undo: by the measure of undo, and of all that is left behind."""
        return min(await self.undo.room(tenant, chain), await self.holdings.left(tenant, chain))

    def leftovers(self) -> Leftovers:
        """Give what cleans up behind calls that a dead process left open."""
        return Leftovers(self.audit.unfinished(), self.undo, self.locks, self.died, self.clock.now)


async def open_stores(loaded: Loaded, places: Places, worker: str, stack: AsyncExitStack) -> Stores:
    """Open them; the stack closes them. Raises `AuditUnavailable` when the audit cannot be written."""
    state = places.state
    keys = FileKeys(state / "keys")
    clock = SystemClock()
    home = Home(places.data)
    home.enter(clock.now())
    shared = SharedMap(state / "shared.map")
    stack.callback(shared.close)
    database = await _database(loaded, state)
    stack.push_async_callback(database.close)
    policy_epoch, identity_epoch, taint_epoch, connection_epoch = _epochs(database, shared, stack)
    audit_log = _audit_log(loaded, state, keys, clock, worker)
    died = clock.now()  # whatever is recovered in the next step has died before this moment
    await asyncio.to_thread(audit_log.start)
    stack.push_async_callback(audit_log.close)
    index = AuditIndex(database, state / "audit", flush=audit_log.flush, open_personal=keys.personal.open)
    policies = SqlPolicies(
        database, policy_epoch, places.protected(), tuple(loaded.settings.files.roots), clock.new_id, clock.now,
        audit_log.note,
    )  # fmt: skip
    limits = loaded.settings.limits
    rate = Rate(limits.agent_rate_per_s, limits.agent_burst)
    identity = SqlIdentity(database, identity_epoch, places.workspaces, clock.now, rate)
    access = AccessRoom(
        database, policies, identity, identity_epoch, places.workspaces, clock.now, clock.new_id, places.owner_key
    )
    first_start = await bootstrap(database, places.workspaces, places.owner_key, clock.now())
    await policies.refresh()
    presence = Presence(state / "presence")
    stack.callback(presence.leave)
    undo_store = SqlUndo(database, keys, clock, state / "undo", limits.undo_quota_bytes, share=limits.agent_share)
    reserve = Reserve(state, limits.reserve_bytes)
    blobs = FileBlobs(
        database, clock, state / "blobs", quota_bytes=limits.blob_quota_bytes, share=limits.agent_share,
        reserve=reserve.require,
    )  # fmt: skip
    work = SqlWork(database, keys, clock, presence)
    idempotency = SqlIdempotency(database, keys, clock, presence, limits.key_quota_bytes, limits.agent_share)
    secret_store = SqlSecrets(database, keys, clock)
    connection_store = SqlConnections(database, connection_epoch, clock)
    locks = Locks(state / "locks")
    stack.callback(locks.close)
    views = Views(places.data / "views", state / "views", clock.now)
    await asyncio.to_thread(views.sweep)
    holdings = Holdings(database, views, reserve, clock.monotonic, limits.held_quota_bytes, limits.agent_share)
    work.room = holdings.require
    taints = SqlTaints(database, taint_epoch, clock.now)
    return Stores(
        keys, clock, shared, database, audit_log, index, policies, identity, access, presence, undo_store,
        blobs, work, idempotency, secret_store, connection_store, taints, locks, views, holdings, died,
        first_start, identity_epoch, home,
    )  # fmt: skip


class AuditPort:
    """The audit as the line sees it: the log's own methods, bound once, and personal detail sealed by the keys."""

    def __init__(self, stores: Stores) -> None:
        self.note = stores.audit.note
        self.note_text = stores.audit.note_text
        self.durable = stores.audit.durable
        self._seal = stores.keys.personal.seal

    def personal(self, tenant: str, subject: str, detail: bytes) -> str:
        """Seal personal detail under the subject's own key."""
        return self._seal(tenant, subject, detail.decode())


def _epochs(database: Database, shared: SharedMap, stack: AsyncExitStack) -> tuple[Epoch, Epoch, Epoch, Epoch]:
    """Give the counters of changes to policy, identity, taint and connections; a database server tells other hosts."""
    if database.dialect.engine.dialect.name != POSTGRESQL:
        return shared.policy, shared.identity, shared.taint, shared.connections
    named = {
        "policy": shared.policy, "identity": shared.identity, "taint": shared.taint, "connections": shared.connections,
    }  # fmt: skip
    feed = EpochFeed(database.dialect, named)
    feed.start()
    stack.push_async_callback(asyncio.to_thread, feed.close)
    return feed.told("policy"), feed.told("identity"), feed.told("taint"), feed.told("connections")


async def _database(loaded: Loaded, state: Path) -> Database:
    url = loaded.settings.database.url
    return await open_database(url or state / DATABASE, AREAS, copies=state)


def _audit_log(loaded: Loaded, state: Path, keys: FileKeys, clock: SystemClock, worker: str) -> AuditLog:
    named, notes = loaded.settings.audit.anchor, state / "audit" / "checkpoints"
    anchor = anchor_file(Path(named), notes) if named else None
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

"""The composition root: settings become stores, executors and plugins become a kernel; it alone knows everybody."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from superagent.core.events import LocalBus
from superagent.core.kernel import Kernel
from superagent.core.lookup import Shelf
from superagent.core.operation import Operation
from superagent.core.plugin import Plugin
from superagent.core.ports import Hands
from superagent.core.principal import Credential, Facts, Principal, Secret
from superagent.core.problems import Unavailable
from superagent.core.registry import Registry
from superagent.features.access import operations as access
from superagent.features.agents import operations as agents
from superagent.features.approvals import operations as approvals
from superagent.features.audit import operations as audit
from superagent.features.catalogue import operations as catalogue
from superagent.features.connections import operations as connections
from superagent.features.grants import operations as grants
from superagent.features.hooks import operations as job_hooks
from superagent.features.jobs import operations as jobs
from superagent.features.oauth import client_operations as clients
from superagent.features.oauth import operations as oauth
from superagent.features.plugins import operations as plugin_list
from superagent.features.policy import operations as policy
from superagent.features.results import operations as results
from superagent.features.sandbox import looking
from superagent.features.sandbox.operations import sandbox as effects
from superagent.features.secrets import operations as secrets
from superagent.features.settings import operations as settings
from superagent.features.sign_in import enrolling, pages
from superagent.features.sign_in import operations as sign_in
from superagent.features.taint import operations as taint
from superagent.features.undo import operations as undo
from superagent.plugins.code.operations import code
from superagent.plugins.files.operations import files
from superagent.plugins.processes.operations import processes
from superagent.plugins.shell.operations import shell
from superagent.plugins.sql.operations import sql
from superagent.runtime import (
    log,
)
from superagent.runtime.audit_index import AuditIndex
from superagent.runtime.audit_log import AuditLog
from superagent.runtime.beneath import Roots
from superagent.runtime.card_keys import CardKeys
from superagent.runtime.files_reach import FilesReach
from superagent.runtime.hands import SqlHands
from superagent.runtime.hooks import Hooks
from superagent.runtime.hosted.opening import open_plugins
from superagent.runtime.job_room import JobRoom
from superagent.runtime.keyed_veil import KeyedVeil
from superagent.runtime.language import language
from superagent.runtime.mcp_client.keeper import ServerKeeper
from superagent.runtime.mcp_client.opening import open_servers
from superagent.runtime.named_keepers import ConnectionKeeper, SecretKeeper
from superagent.runtime.net.network import Network, open_network
from superagent.runtime.net.resolver import Resolve
from superagent.runtime.oauth.authorization import Authorization
from superagent.runtime.path_keeper import PathKeeper
from superagent.runtime.places import Places, prepare
from superagent.runtime.policy_bench import PolicyBench
from superagent.runtime.policy_book import PolicyBook
from superagent.runtime.policy_keeper import PolicyKeeper
from superagent.runtime.process_reach import ProcessReach
from superagent.runtime.protected import Protected
from superagent.runtime.run_apart import ApartReach
from superagent.runtime.run_clients import Clients
from superagent.runtime.sandbox.sessions import Sessions
from superagent.runtime.sandbox.view_reach import ViewsReach
from superagent.runtime.sandboxes import Sandboxes
from superagent.runtime.secret_reach import SqlSecretReach
from superagent.runtime.settings_file import SettingsFile
from superagent.runtime.shares import Shares
from superagent.runtime.sign_in.desk import SignIn
from superagent.runtime.sign_in.opening import open_sign_in
from superagent.runtime.stores import LOG_NAME, AuditPort, Stores, open_stores
from superagent.runtime.threads import Threads
from superagent.runtime.trail import Trail
from superagent.runtime.upkeep import SweptViews, keep_up
from superagent.runtime.work import SqlWork
from superagent.settings import Loaded


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
    authorization: Authorization
    desk: SignIn
    work: SqlWork
    card_keys: CardKeys

    def readiness(self) -> dict[str, str]:
        """Give what must work for calls to be taken, each with its trouble (empty: none)."""
        return {"audit": self.audit.trouble}

    def gauges(self) -> dict[str, float]:
        """Give figures for the metrics."""
        return {"audit_healthy": float(self.audit.healthy), "operations": float(len(self.kernel.registry))}

    def cut_off(self, within_s: float) -> None:
        """Close the record, for a process that has to exit while calls of it are in threads; blocks so long at most."""
        event = self.kernel.pipeline.recorder.event
        self.audit.cut_off(event("platform.cut_off", self.kernel.hands.clock.now()), within_s)

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
        stores = await open_stores(loaded, places, worker, stack)
        keys, clock, database, audit_log = stores.keys, stores.clock, stores.database, stores.audit
        undo_store, blobs, work, secret_store = stores.undo, stores.blobs, stores.work, stores.secrets
        connection_store, limits = stores.connections, loaded.settings.limits
        threads = Threads(min(32, 4 + 4 * (os.cpu_count() or 1)))
        stack.callback(threads.close)
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
        bus = LocalBus(log.observer_fault)
        shares = Shares(limits.commands)
        sandbox = Sandboxes(
            database,
            places,
            clock.monotonic,
            clock.now,
            loaded.settings.sandbox,
            stores.views,
            network,
            Sessions(keys, stores.presence, clock.now, audit_log.note),
            stores.holdings,
            audit_log.durable,
            epoch=stores.shared.policy.read,
            shares=shares,
        )
        stack.push_async_callback(sandbox.close)
        await sandbox.settle()
        authorization = Authorization(
            database, stores.policies, keys, stores.identity_epoch, network, places.workspaces, clock.now,
            clock.new_id, audit_log.note, public_url=loaded.settings.server.public_url,
            registration=loaded.settings.oauth.registration,
        )  # fmt: skip
        stores.identity.recognisers.append(authorization.tokens)
        audit_port = AuditPort(stores)
        book = PolicyBook(database, stores.policies, clock.new_id, clock.now)
        ways = open_sign_in(stores, places, loaded.settings, audit_port)
        stack.callback(ways.passwords.close)
        servers = await stack.enter_async_context(open_servers(sandbox, places, keys, clock, audit_log.note))
        room = JobRoom(database, keys, work, stores.identity)
        hands = Hands(
            clock=clock,
            policies=stores.policies,
            identity=stores.identity,
            buckets=stores.shared,
            audit=audit_port,
            locks=stores.locks,
            undo=undo_store,
            idempotency=stores.idempotency,
            work=work,
            blobs=blobs,
            thread=threads.run,
            fault=log.fault,
            veil=KeyedVeil(keys),
            leaked=stores.access.leaked,
            taints=stores.taints,
            accounts=SqlHands(database),
            signatures=ways.signatures,
            runs_at=sandbox.levels.expected,
            keepers={
                "path": PathKeeper(
                    undo_store.content,
                    room=stores.room_to_keep,
                    owners=sandbox.owners,
                    reserve=stores.holdings.reserve,
                ),
                "secret": SecretKeeper(secret_store),
                "connection": ConnectionKeeper(connection_store),
                "policy": PolicyKeeper(book),
                "mcp": ServerKeeper(servers),
            },
            capabilities={
                "files": lambda ctx: FilesReach(ctx, roots, protected),
                "run": lambda ctx: sandbox.reach(ctx, FilesReach(ctx, roots, protected), blobs, room.hands),
                **sandbox.sessions_over(lambda ctx: FilesReach(ctx, roots, protected), blobs),
                "apart": lambda ctx: ApartReach(threads.run),
                "secret": lambda ctx: SqlSecretReach(
                    ctx, secret_store, connection_store, audit_port, hands.connections
                ),
                "net": network.reach,
                "clients": lambda ctx: Clients(ctx, keys, sandbox.owners.of),
                "processes": lambda ctx: ProcessReach(ctx, kernel, sandbox.owners.known(ctx.tenant)),
                "views": lambda ctx: ViewsReach(ctx, stores.views, sessions=sandbox.sessions),
            },
        )
        kernel = Kernel(
            Registry([], language=language), hands, bus, streams_per_key=limits.streams, jobs_per_key=limits.jobs
        )
        anchor = Path(loaded.settings.audit.anchor) if loaded.settings.audit.anchor else None
        trail = Trail(
            stores.index, state / "audit", keys, LOG_NAME, anchor, audit_log.sign, lambda: audit_log.anchor_trouble
        )

        def undoer(name: str, version: int) -> Callable[..., Awaitable[Any]] | None:
            found: Operation | None = kernel.registry.find(name)
            return found.undo if found is not None and found.version == version else None

        async def recorded(tenant: str, id: str) -> list[dict[str, Any]]:
            return (await stores.index.query(tenant, invocation=id, limit=20))[0]

        file = SettingsFile(loaded, hands.thread, state)
        third = await stack.enter_async_context(
            open_plugins(
                loaded.settings.plugins, sandbox, places, clock, audit_log.note, lambda: file.upcoming().plugins
            )
        )
        hooks = Hooks(kernel, database, keys, network, audit_log.note)
        built_in = (
            access.plugin(stores.access),
            agents.plugin(stores.access.keys, lambda: authorization.site.issuer(""), audit_log.note, work.events),
            approvals.plugin(kernel.approvals, work),
            audit.plugin(trail, blobs),
            catalogue.plugin(Shelf(kernel), lambda: probes(sandbox)),
            clients.plugin(authorization),
            code,
            connections.plugin(connection_store, hands.connections, secret_store.entry),
            files,
            processes,
            shell,
            sql,
            grants.plugin(stores.policies),
            job_hooks.plugin(hooks),
            jobs.plugin(*room.open(kernel, recorded, fires=takes_up)),
            oauth.plugin(authorization),
            plugin_list.plugin(third.listed, servers, places.own(), lambda: authorization.site.issuer("")),
            policy.plugin(book, PolicyBench(kernel, stores.identity, stores.policies)),
            results.plugin(blobs),
            secrets.plugin(secret_store),
            effects,
            looking.plugin(sandbox.tested, sandbox.levels.minimum),
            taint.plugin(stores.taints),
            settings.plugin(file),
            enrolling.plugin(ways.enrolment, ways.sessions, ways.desk),
            pages.mounted(sign_in.plugin(ways.desk, ways.enrolment, ways.provider), ways.provider.name),
            undo.plugin(undo_store, undoer, stores.home),
        )
        extra = (*await third.load(built_in), *extra)
        install(kernel, built_in, extra)
        await servers.open(beside(kernel), third.taken(built_in))
        await stack.enter_async_context(kernel.serving())
        for plugin in (*built_in, *extra):
            for lifespan in plugin.lifespans:
                await stack.enter_async_context(lifespan())
        stack.push_async_callback(stores.index.close)
        await stores.index.start()
        note = kernel.pipeline.recorder.event
        began = {"worker": worker, "copy_of": stores.home.copied()[0]}
        audit_log.note(note("platform.start", clock.now(), detail={name: one for name, one in began.items() if one}))
        left = stores.leftovers()
        await left.sweep()  # before anybody looks: of a write that a crash cut off nothing is to be seen
        for held in await work.at_start():
            if takes_up:
                kernel.resume(held)
        for held in await work.decided() if takes_up else ():
            await kernel.approvals.set_off(held)
        swept = (
            work, stores.idempotency, undo_store, blobs, secret_store, left, SweptViews(stores.views), sandbox,
            network.journal, third, servers, ways, hooks, authorization.clients, stores.access, stores.taints,
            stores.policies,
        )  # fmt: skip
        if loaded.settings.notify.webhook or loaded.settings.notify.smtp_host:
            await stack.enter_async_context(_notices(loaded, network, stores, bus))
        upkeep = asyncio.create_task(keep_up(kernel, stores, swept, servers.follow))
        try:
            yield Installation(
                kernel,
                loaded,
                places,
                stores.index,
                audit_log,
                sandbox,
                stores.first_start,
                network,
                authorization,
                ways.desk,
                work,
                CardKeys(keys),
            )
        finally:
            upkeep.cancel()
            await asyncio.gather(upkeep, return_exceptions=True)
            await stores.access.end_shown(note, audit_log.note)
            await stores.identity.budgets.flush()
            audit_log.note(note("platform.stop", clock.now(), detail={"worker": worker}))


@asynccontextmanager
async def _notices(loaded: Loaded, network: Network, stores: Stores, bus: LocalBus) -> AsyncGenerator[None]:
    from superagent.runtime.notices import Notices, ways_of  # a command line that makes one call tells nobody

    notices = Notices(ways_of(loaded.settings.notify, network), stores.audit.note, stores.clock.now)
    bus.subscribe(notices.heard)
    async with notices.serving():
        yield


def install(kernel: Kernel, built_in: tuple[Plugin, ...], extra: tuple[Plugin, ...]) -> None:
    """Make the next snapshot of the registry from these plugins, and collect their hooks."""
    if any(one.mounts for one in extra):
        raise TypeError("only what is built in serves routes of its own")
    plugins = (*built_in, *extra)
    operations = [operation for plugin in plugins for operation in plugin.compile()]
    kernel.registry = Registry(operations, kernel.registry.version + 1, kernel.registry.language)
    for plugin in plugins:
        kernel.hands.keepers.update(plugin.keepers)
        for name, kind in plugin.connections.items():
            if kernel.hands.connections.setdefault(name, kind) != kind:
                raise TypeError(f"two plugins provide connections of the type `{name}`")
        for observer in plugin.observers:
            kernel.bus.subscribe(observer)
    kernel.mounts = tuple(mount for one in built_in for mount in one.mounts)


def beside(kernel: Kernel) -> Callable[[list[Operation]], None]:
    """Give what makes the next snapshot of the registry: what there is now, and beside it what is given."""
    present = tuple(kernel.registry)

    def swap(more: list[Operation]) -> None:
        now = kernel.registry
        kernel.registry = Registry([*present, *more], now.version + 1, now.language)

    return swap


async def probes(sandbox: Sandboxes) -> list[tuple[str, bool, str, str]]:
    """Say what this machine offers to operations (name, whether it works, what was seen), and the cure for the rest."""
    return [("files", True, "files beneath the granted roots, by descriptors", ""), *await sandbox.standings()]

"""Sandboxes: everything that contains commands on this machine, put together from the settings."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Protocol

from superagent.core.context import Context
from superagent.core.grants import ISOLATION, IsolationLevel
from superagent.core.ports import Blobs
from superagent.core.problems import InvalidInput, Problem
from superagent.core.resources import beneath
from superagent.data.database import Database
from superagent.runtime.files_reach import FilesReach
from superagent.runtime.holdings import Holdings
from superagent.runtime.interpreter_reach import InterpreterReach
from superagent.runtime.job_hands import JobHands
from superagent.runtime.net.network import Network
from superagent.runtime.places import Places
from superagent.runtime.run_reach import Record, RunReach
from superagent.runtime.sandbox.backend import Backend, Probe
from superagent.runtime.sandbox.filters.shipped import filter_for
from superagent.runtime.sandbox.landlocked import Landlocked
from superagent.runtime.sandbox.launcher import Launcher
from superagent.runtime.sandbox.levels import Levels, told, unavailable
from superagent.runtime.sandbox.native import Native
from superagent.runtime.sandbox.owners import Owners
from superagent.runtime.sandbox.package_cache import INSIDE as CACHED
from superagent.runtime.sandbox.package_cache import Caches
from superagent.runtime.sandbox.pool import Pooled
from superagent.runtime.sandbox.root_tree import RootTrees
from superagent.runtime.sandbox.run_network import INSIDE, RunNetworks
from superagent.runtime.sandbox.run_view import RunViews
from superagent.runtime.sandbox.sessions import Sessions
from superagent.runtime.sandbox.uncontained import Uncontained
from superagent.runtime.sandbox.users import TenantUsers
from superagent.runtime.sandbox.views import Views
from superagent.runtime.session_reach import SessionReach
from superagent.runtime.shares import Shares
from superagent.runtime.terminal_reach import TerminalReach
from superagent.settings import Sandbox as Chosen


class Engined(Backend, Protocol):
    """A back end whose sandboxes an engine on this machine holds: they can outlive their server."""

    async def sweep(self) -> int:
        """Remove what servers of this installation left which are no more, and say how much."""
        ...

    async def close(self) -> None:
        """End every command."""
        ...


class Sandboxes:
    """The levels of this machine, the users of its tenants, and the launcher, which starts when it is first needed.

    `chosen` are the settings; `epoch` counts changes of policy: no sandbox waits across one. Raises `InvalidInput` for
    folders that must not be seen, and for no rules for hosts.
    """

    def __init__(
        self,
        database: Database,
        places: Places,
        monotonic: Callable[[], float],
        now: Callable[[], float],
        chosen: Chosen,
        views: Views,
        network: Network,
        sessions: Sessions,
        holdings: Holdings,
        record: Record,
        epoch: Callable[[], int] = lambda: 0,
        shares: Shares | None = None,
    ) -> None:
        visible, first_user, users = tuple(chosen.visible), chosen.first_user, chosen.users
        for folder in visible:
            _check_visible(folder, places)
        tenants = TenantUsers(database, first_user, users)
        trees = RootTrees(places.state / "sandbox" / "roots", (INSIDE, CACHED, *visible))
        self.launcher = Launcher(first_user, users, uncontained=chosen.allow_unsafe)
        self._uncontained = Uncontained(self.launcher) if chosen.allow_unsafe else None
        self.owners = Owners(places.workspaces, tenants)
        native = Native(self.launcher, trees, _filter_of, visible, probe_user=tenants.probe)
        landlocked = Landlocked(self.launcher, visible, probe_user=tenants.probe)
        self.sessions = sessions
        self.pool = Pooled(native, epoch)
        self._containers = _containers(chosen, places, trees, visible, tenants)
        self.levels = Levels([self.pool, landlocked, *self._containers], chosen.minimum_level, monotonic)
        self._shares = shares or Shares()
        self._record = record
        self._views = RunViews(views, holdings, self.pool.lend)
        self._networks = RunNetworks(network, chosen.hosts, places.state / "sandbox", now)
        self._caches = Caches(places.state / "sandbox" / "caches", chosen.cache_bytes, holdings.reserve, now)
        self._own = places.own()
        self.probe_user = tenants.probe

    async def settle(self) -> None:
        """Find out what contains commands where the settings allow less than namespaces: decisions ask for it."""
        if ISOLATION[self.levels.minimum] < ISOLATION["native"]:
            await self.levels.probes()

    def reach(self, ctx: Context, files: FilesReach, blobs: Blobs, jobs: JobHands) -> RunReach:
        """Give the capability `run` of one call."""
        return RunReach(
            ctx,
            self.levels,
            files,
            self.owners,
            blobs,
            self._views,
            self._networks,
            jobs,
            self._uncontained,
            self._record,
            self._shares,
            self._caches,
        )

    def sessions_over(
        self, files: Callable[[Context], FilesReach], blobs: Blobs
    ) -> dict[str, Callable[[Context], Any]]:
        """Give the capabilities `terminals` and `interpreters`."""

        def over(reach: type[SessionReach]) -> Callable[[Context], SessionReach]:
            return lambda ctx: reach(
                ctx, self.levels, files(ctx), self.owners, blobs, self.sessions, self._views, self._networks
            )

        return {"terminals": over(TerminalReach), "interpreters": over(InterpreterReach)}

    async def standing(self) -> tuple[str, bool, str, str]:
        """Say in one line whether commands can be run here: (what, whether, what was seen, cure)."""
        least = ISOLATION[self.levels.minimum]
        known = [one for one in await self.levels.probes() if ISOLATION[one.level] >= least]
        works = next((one for one in known if one.works), None)
        if works is not None:
            limits = {**works.limits, "disk": "enforced" if await self._sized(works) else "none"}
            weak = [f"{name} {how}" for name, how in limits.items() if how != "enforced"]
            said = f"; not fully limited: {', '.join(weak)}" if weak else "; every limit is enforced"
            return "sandbox", True, f"commands run at the level {works.level} ({works.backend}){said}", ""
        problem = unavailable(least, known)
        return "sandbox", False, problem.detail, problem.hint or ""

    async def standings(self) -> list[tuple[str, bool, str, str]]:
        """Say the same, and of each container level that was chosen whether it works."""
        probed = [told(await self.levels.probe(one)) for one in self._containers]
        bare = [("sandbox.uncontained", True, "the settings allow commands that nothing contains, by grants", "")]
        return [await self.standing(), *probed, *(bare if self._uncontained is not None else [])]

    async def tested(self, level: IsolationLevel) -> list[Probe]:
        """Run the probe of every back end of at least this level anew. Raises as `Levels.tested` does.

        What was seen names no folder of the platform's own. Of what a command may add to a workspace it says nothing:
        the probe runs on no view.
        """

        def shown(probe: Probe) -> Probe:
            parts = tuple(replace(part, seen=self._bare(part.seen)) for part in probe.parts)
            return replace(
                probe, parts=parts, limits={name: how for name, how in probe.limits.items() if name != "disk"}
            )

        return [shown(one) for one in await self.levels.tested(level)]

    async def sweep(self) -> int:
        """Remove containers and caches that servers of this installation left which are no more, and say how many."""
        removed = await asyncio.to_thread(self._caches.sweep)
        return removed + sum([await one.sweep() for one in self._containers])

    async def _sized(self, probe: Probe) -> bool:
        """Tell whether what commands add to a workspace is limited; the probe itself runs on no view."""
        try:
            backend = await self.levels.backend(ISOLATION[probe.level])
            return await self._views.sized(backend, self.probe_user)
        except Problem:
            return False

    def _bare(self, text: str) -> str:
        for folder in self._own:
            text = text.replace(folder, "(a folder of the platform)")
        return text

    async def close(self) -> None:
        """End every command and the launcher."""
        self._shares.close()
        await self.sessions.close()
        await self.levels.close()
        await self.pool.close()
        await self.launcher.close()
        for one in self._containers:
            await one.close()
        self._networks.close()


def _containers(
    chosen: Chosen, places: Places, trees: RootTrees, visible: tuple[str, ...], tenants: TenantUsers
) -> Sequence[Engined]:
    if not chosen.backends:  # most have none, and a command line has no time to load what speaks to engines
        return []
    from superagent.runtime.sandbox.containers.chosen import back_ends

    return back_ends(chosen, places.state, trees, visible, tenants.probe)


def _filter_of(machine: str, sockets: bool) -> bytes:
    return filter_for(machine, unix=sockets)


def _check_visible(folder: str, places: Places) -> None:
    real = os.path.realpath(folder)
    if not folder.startswith("/") or real != folder or not os.path.isdir(real):
        raise InvalidInput(
            f"`sandbox.visible`: `{folder}` is no plain absolute path of a folder", hint=f"`{real}` is what it leads to"
        )
    closed = places.protected()
    if closed.covers(real) or closed.contains_one(real) or beneath(str(places.workspaces), real):
        raise InvalidInput(
            f"`sandbox.visible`: `{folder}` holds, or lies in, what belongs to the platform itself",
            hint="name the folders in it that commands need",
        )

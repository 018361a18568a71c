"""Sandboxes: everything that contains commands on this machine, put together from the settings."""

from __future__ import annotations

import os
from collections.abc import Callable

from superagent.core.context import Context
from superagent.core.grants import ISOLATION, IsolationLevel
from superagent.core.ports import Blobs
from superagent.core.problems import InvalidInput
from superagent.core.resources import beneath
from superagent.data.database import Database
from superagent.runtime.files_reach import FilesReach
from superagent.runtime.places import Places
from superagent.runtime.run_reach import RunReach
from superagent.runtime.sandbox.filters.shipped import filter_for
from superagent.runtime.sandbox.launcher import Launcher
from superagent.runtime.sandbox.levels import Levels, unavailable
from superagent.runtime.sandbox.native import Native
from superagent.runtime.sandbox.owners import Owners
from superagent.runtime.sandbox.root_tree import RootTrees
from superagent.runtime.sandbox.users import TenantUsers


class Sandboxes:
    """The levels of this machine, the users of its tenants, and the launcher, which starts when it is first needed.

    `first_user` and `users` are the range of users, `visible` further folders that commands may read. Raises
    `InvalidInput` for folders that must not be seen.
    """

    def __init__(
        self,
        database: Database,
        places: Places,
        monotonic: Callable[[], float],
        minimum: IsolationLevel,
        visible: tuple[str, ...],
        first_user: int,
        users: int,
    ) -> None:
        for folder in visible:
            _check_visible(folder, places)
        tenants = TenantUsers(database, first_user, users)
        trees = RootTrees(places.state / "sandbox" / "roots", visible)
        self.launcher = Launcher(first_user, users)
        self.owners = Owners(places.workspaces, tenants)
        native = Native(self.launcher, trees, _filter_of, visible, probe_user=tenants.probe)
        self.levels = Levels([native], minimum, monotonic)

    def reach(self, ctx: Context, files: FilesReach, blobs: Blobs) -> RunReach:
        """Give the capability `run` of one call."""
        return RunReach(ctx, self.levels, files, self.owners, blobs)

    async def standing(self) -> tuple[str, bool, str, str]:
        """Say in one line whether commands can be run here: (what, whether, what was seen, cure)."""
        least = ISOLATION[self.levels.minimum]
        known = [one for one in await self.levels.probes() if ISOLATION[one.level] >= least]
        works = next((one for one in known if one.works), None)
        if works is not None:
            weak = [f"{name} {how}" for name, how in works.limits.items() if how != "enforced"]
            limits = f"; not fully limited: {', '.join(weak)}" if weak else "; every limit is enforced"
            return "sandbox", True, f"commands run at the level {works.level} ({works.backend}){limits}", ""
        problem = unavailable(least, known)
        return "sandbox", False, problem.detail, problem.hint or ""

    async def close(self) -> None:
        """End every command and the launcher."""
        await self.launcher.close()


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

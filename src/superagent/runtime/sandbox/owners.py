"""Owners: what lies in a tenant's workspaces belongs to the tenant's own user, whoever made it (rules.md 9)."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from superagent.core.resources import beneath
from superagent.runtime.beneath import At
from superagent.runtime.protected import Protected
from superagent.runtime.sandbox.users import TenantUsers
from superagent.runtime.system_calls import O_PATH
from superagent.runtime.tree_walk import walk


class Owners:
    """Give files that this server made as root to the tenant in whose workspace they lie.

    Commands of the tenant run as its user and must be able to use them. Only what belongs to root and has one name is
    given: a second name could lie anywhere. No link is followed, nothing outside of `workspaces/<tenant>` is touched.
    """

    def __init__(self, workspaces: Path, users: TenantUsers) -> None:
        self._workspaces = str(workspaces)
        self._users = users
        self._handed: set[str] = set()

    async def of(self, tenant: str) -> int | None:
        """Give the tenant's user, None where everything is this server's own."""
        return await self._users.of(tenant)

    def known(self, tenant: str) -> int | None:
        """Give the user of a tenant that has run something since this process began, None where it has none."""
        return self._users.known(tenant)

    def owns(self, tenant: str, path: str) -> bool:
        """Tell whether a real path is, or lies in, a workspace of the tenant."""
        own = f"{self._workspaces}/{tenant}"
        return beneath(path, own) and path != own

    def settle(self, tenant: str, at: At, user: int) -> None:
        """Give what stands at a place, and all beneath it, to the tenant, if it lies in one of its workspaces."""
        if at.stat is None or not self.owns(tenant, at.real):
            return
        bare = At(at.dir_fd, at.name, at.path, at.real, at.stat, Protected(), owned=False)
        for entry in walk(bare, lambda path, is_dir: True, itself=True):
            give(entry.dir_fd, entry.name, entry.stat, user)

    def hand_over(self, tenant: str, workspace: str, user: int) -> None:
        """Give a workspace that was made before, or by hand, to the tenant with all that is root's in it, once."""
        if workspace in self._handed or not self.owns(tenant, workspace):
            return
        folder, name = os.path.split(workspace)
        holder = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        with At(holder, name, workspace, workspace, os.lstat(workspace), Protected()) as at:
            if at.found().st_uid != user:
                self.settle(tenant, at, user)
        self._handed.add(workspace)


def give(dir_fd: int, name: str, found: os.stat_result, user: int) -> None:
    """Give one thing to a user, if it is root's and has no other name."""
    if found.st_uid != 0:
        return
    held = os.open(name, O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=dir_fd)
    try:
        found = os.fstat(held)  # of what is held: another thing may have the name by now
        if found.st_uid == 0 and (found.st_nlink == 1 or stat.S_ISDIR(found.st_mode)):
            os.chown(f"/proc/self/fd/{held}", user, user)
    finally:
        os.close(held)

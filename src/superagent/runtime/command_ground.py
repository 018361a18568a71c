"""The ground of commands and sessions: what of one call's workspace, profile and user both have in common."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import replace

from superagent.core.containment import PROFILES, Profile
from superagent.core.context import Context
from superagent.core.grants import ISOLATION
from superagent.core.ports import Blobs
from superagent.core.problems import Deadline, Denied, Fault, InvalidInput, NotFound
from superagent.core.resources import Effect, beneath, canonical_path
from superagent.runtime.files_reach import FilesReach
from superagent.runtime.sandbox.levels import Levels
from superagent.runtime.sandbox.owners import Owners
from superagent.runtime.sandbox.view import INSIDE

SPARE_S = 0.5
"""What is kept of a call's time for ending the command and answering."""


class CommandGround:
    """Where, as whom and how well contained the commands of one call run."""

    def __init__(self, ctx: Context, levels: Levels, files: FilesReach, owners: Owners, blobs: Blobs) -> None:
        self._ctx = ctx
        self._levels = levels
        self._files = files
        self._owners = owners
        self._blobs = blobs

    def profile(
        self, name: str, limits: Mapping[str, float], timeout_s: float | None, wall_s: float | None = None
    ) -> Profile:
        """Give a profile, narrowed by what a call asks for and the time it has. Raises `InvalidInput`, `Deadline`."""
        found = PROFILES.get(name)
        if found is None:
            known = f"they are {', '.join(PROFILES)}"
            raise InvalidInput(
                f"there is no profile `{name[:60]}`", hint=known, errors=[Fault("$.sandbox", "is no profile")]
            )
        most = found.limits if wall_s is None else replace(found.limits, wall_s=max(wall_s, found.limits.wall_s))
        narrowed = most.asked(limits)
        left = self._ctx.remaining_s
        times = [narrowed.wall_s, *([] if timeout_s is None else [timeout_s])]
        if left is not None:
            if left <= SPARE_S:
                raise Deadline("there is no time left to run a command")
            times.append(left - SPARE_S)
        return replace(found, limits=replace(narrowed, wall_s=min(times)))

    def _least(self, profile: Profile) -> int:
        """Give the level of isolation that policy, profile and call demand."""
        ctx = self._ctx
        return max(ISOLATION[ctx.invocation.call.isolation or "none"], ISOLATION[profile.level], ctx.judged_isolation)

    async def _user(self, workspace: str) -> int | None:
        """Give the tenant's user on this machine, to whom the workspace belongs then; None where there are none."""
        user = await self._owners.of(self._ctx.tenant)
        if user is not None:
            await self._ctx.thread(self._owners.hand_over, self._ctx.tenant, workspace, user)
        return user

    def _places(self, profile: Profile, cwd: str, *, there: bool = True) -> tuple[str, str]:
        """Give the real path of the workspace, judged, and the working folder as it is seen inside.

        That must be `there` but for what goes on in a view, where it is looked for once that is held.
        """
        ctx, own = self._ctx, self._ctx.principal.workspace
        if not own:
            raise InvalidInput("this key has no workspace to run a command in", hint="make a key that has one")
        effect = Effect.CHANGE if profile.workspace == "write" else Effect.READ
        with self._files.at(own) as at:  # what is changed lies in it; itself, the place of a protected folder, stays
            if not at.is_dir:
                raise NotFound(f"the workspace `{own}` is not there")
            real = at.real
        if not ctx.may_all_beneath(real, effect):
            raise Denied(
                "the workspace holds something that no command may reach, and a command would see all of it",
                hint="run it with a key whose workspace holds nothing that is denied",
            )
        named = cwd.removeprefix(INSIDE).lstrip("/") if beneath(cwd, INSIDE) else cwd
        place = canonical_path(named or ".", own)
        if not beneath(place, own):
            raise InvalidInput("commands run in your own workspace", hint="leave `cwd` out, or name a folder in it")
        if place != own and there:
            with self._files.at(place, effect=Effect.READ) as at:
                if not at.is_dir or not beneath(at.real, real):
                    raise NotFound(f"there is no folder `{cwd[:200]}` in your workspace")
        return real, INSIDE + place[len(own) :]

    async def _store(self, chunks: AsyncIterator[bytes]) -> str:
        return await self._blobs.put(self._ctx.principal, chunks, what="result")

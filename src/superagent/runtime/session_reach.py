"""What sessions of every kind share: how one is started in the caller's workspace, and how each use is judged anew."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from importlib import resources
from pathlib import Path

from superagent.core.commands import Command, Ended
from superagent.core.containment import Profile
from superagent.core.context import Context
from superagent.core.grants import ISOLATION
from superagent.core.ports import Blobs
from superagent.core.problems import Conflict, Denied, Fault, InvalidInput, NotFound, SandboxUnavailable
from superagent.runtime.command_ground import CommandGround
from superagent.runtime.files_reach import FilesReach
from superagent.runtime.sandbox.backend import Start
from superagent.runtime.sandbox.levels import Levels
from superagent.runtime.sandbox.native import check
from superagent.runtime.sandbox.owners import Owners
from superagent.runtime.sandbox.run_network import RunNetworks, check_network
from superagent.runtime.sandbox.run_view import RunViews
from superagent.runtime.sandbox.session_ground import Ground
from superagent.runtime.sandbox.sessions import LONGEST_S, Session, Sessions
from superagent_launcher.terminal_init import GIVEN

PYTHON = "/usr/bin/python3"
NETWORK_AT = 12  # the number of what leads out of a session with a network, beyond those of its first program
SPARE_S = 0.3
"""What is kept of a call's time for answering."""


@dataclass(frozen=True, slots=True)
class Program:
    """The first program of a session: its words, its streams, and what else it is handed, by number.

    `given` are variables of the caller, for what it becomes: of itself nothing must be steered from inside.
    """

    argv: tuple[str, ...]
    streams: tuple[int, int, int]
    fds: Mapping[int, int]
    env: Mapping[str, str] = field(default_factory=dict[str, str])
    given: Mapping[str, str] = field(default_factory=dict[str, str])


class SessionReach(CommandGround):
    """Sessions of one principal, as one call may use them."""

    def __init__(
        self,
        ctx: Context,
        levels: Levels,
        files: FilesReach,
        owners: Owners,
        blobs: Blobs,
        sessions: Sessions,
        views: RunViews,
        networks: RunNetworks,
    ) -> None:
        super().__init__(ctx, levels, files, owners, blobs)
        self.sessions = sessions
        self._views = views
        self._networks = networks

    async def begun(self, program: Program, wanted: Command) -> Ground:
        """Start a sandbox that stays, contained as a command of this call would be: as is `wanted`, but for its words.

        It works on a view where it may change anything. Raises `SandboxUnavailable` when it cannot be contained as
        policy demands: then nothing was started.
        """
        ctx = self._ctx
        profile = self.profile(wanted.profile, wanted.limits, None)
        check_network(profile, wanted)
        if profile.network == "host":
            raise SandboxUnavailable(
                f"a session is never run as `{profile.name}` says, with nothing around it",
                hint="choose another profile as `sandbox`",
            )
        profile = await self._views.narrowed(ctx, profile)
        profile = replace(profile, limits=replace(profile.limits, wall_s=LONGEST_S))
        workspace, folder = await ctx.thread(self._places, profile, wanted.cwd)
        backend = await self._levels.backend(self._least(profile))
        user = await self._user(workspace)
        stdin, stdout, stderr = program.streams
        async with AsyncExitStack() as stack:
            network = await stack.enter_async_context(self._networks.of(ctx, profile, wanted, NETWORK_AT))
            held = None
            if profile.workspace == "write":
                held = await self._views.held(ctx, backend, workspace, user, profile.limits)
                stack.push_async_callback(held.rest)  # also what a fault drops: it goes if nothing is in it
            own = {**program.env, **network.env}
            start = Start(
                (*network.prefix, *program.argv), profile, ctx.tenant, {**program.given, **own}, folder,
                workspace, user, view=held.view if held is not None else None, binds=network.binds,
                local_sockets=self._owners.owns(ctx.tenant, workspace),
                stdin=stdin, stdout=stdout, stderr=stderr, fds={**program.fds, **network.fds},
            )  # fmt: skip
            check(start)  # by the names that the caller knows
            given = {f"{GIVEN}{name}": value for name, value in program.given.items() if name not in own}
            running = await backend.start(replace(start, env={**given, **own}))
            ground = Ground(running, profile, held, network, stack)
            try:
                await network.attach(running)
            except BaseException:
                await ground.drop()
                raise
            ctx.isolation = running.isolation
            ground.stack = stack.pop_all()
            return ground

    async def judged(self, session: Session) -> None:
        """Go on only if this call could have opened the session now; else it is ended. Raises as `begun` does."""
        profile = session.profile
        if session.ended:
            raise Conflict(f"the session has ended: {session.ended}", hint="open a new one")
        try:
            await self._ctx.thread(self._places, profile, "")
            if ISOLATION[session.running.isolation.level] < self._least(profile):
                raise SandboxUnavailable(
                    "the session is contained less than policy demands by now", hint="open a new one"
                )
        except (Denied, NotFound, SandboxUnavailable):
            await self.sessions.stop(session, "revoked")
            raise
        self._ctx.isolation = session.running.isolation

    def _least(self, profile: Profile) -> int:
        """Give the level that a session needs: below `native` its terminal would be one of this machine's own."""
        return max(ISOLATION["native"], super()._least(profile))

    def _seconds(self, wanted: float) -> float:
        """Give how long may be waited: what is wanted, within the time of the call."""
        left = self._ctx.remaining_s
        return wanted if left is None else max(0.0, min(wanted, left - SPARE_S))


def require_enough(end: Ended) -> None:
    """Say which limit a session met before it was one. Raises `InvalidInput`; nothing when it met none."""
    if end.limit:
        field = {"memory": "memory_bytes", "cpu": "cpu_s", "wall": "wall_s", "file": "file_bytes"}.get(end.limit)
        fault = Fault(f"$.limits.{field or end.limit}", "is too small for what has to run")
        raise InvalidInput(f"a session cannot be had within its limit `{end.limit}`", errors=[fault])


def first_program(name: str) -> bytes:
    """Give the text of a program of ours for inside. Raises `SandboxUnavailable` when nothing could run it there."""
    if not Path(PYTHON).exists():
        raise SandboxUnavailable(
            f"sessions need `{PYTHON}` on this machine", hint="install it: `apt install python3-minimal`"
        )
    return (resources.files("superagent_launcher") / name).read_bytes()

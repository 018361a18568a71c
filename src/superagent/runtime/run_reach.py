"""The capability `run`: a command, contained, in the caller's own workspace."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import nullcontext
from dataclasses import replace
from functools import partial

from superagent.core.audit import AuditRecord
from superagent.core.commands import SCRIPT, Command, Ended, Ran
from superagent.core.containment import DEFAULT_PROFILE, Profile
from superagent.core.context import Context
from superagent.core.grants import ISOLATION
from superagent.core.ports import Blobs
from superagent.core.problems import Denied, InvalidInput, SandboxUnavailable
from superagent.core.rules import SECRET
from superagent.runtime.command_ground import CommandGround
from superagent.runtime.files_reach import FilesReach
from superagent.runtime.job_hands import Followed, JobHands
from superagent.runtime.sandbox.backend import Backend, Running, Start
from superagent.runtime.sandbox.command_network import NO_NETWORK, RunNetwork, hear
from superagent.runtime.sandbox.levels import Levels
from superagent.runtime.sandbox.owners import Owners
from superagent.runtime.sandbox.package_cache import Cache, Caches
from superagent.runtime.sandbox.pipes import Pipes
from superagent.runtime.sandbox.run_network import RunNetworks, check_network
from superagent.runtime.sandbox.run_view import KEPT_S, REHEARSED_S, RunViews
from superagent.runtime.sandbox.uncontained import Uncontained
from superagent.runtime.sandbox.view_memory import is_full
from superagent.runtime.shares import Shares

MOST_INLINE = 1024 * 1024
BACKGROUND_S = 86_400.0
"""How long a command may run that nobody waits for; its processor time and all else stay as the profile says."""

Record = Callable[[AuditRecord], Awaitable[None]]
"""Returns once a record is on disk."""

_PAGE = 256 * 1024
_SCRIPT = int(SCRIPT.rpartition("/")[2])


class RunReach(CommandGround):
    """Commands of one call. What contains them is chosen for each: the weakest that policy, settings and call allow."""

    def __init__(
        self,
        ctx: Context,
        levels: Levels,
        files: FilesReach,
        owners: Owners,
        blobs: Blobs,
        views: RunViews,
        networks: RunNetworks,
        jobs: JobHands,
        bare: Uncontained | None,
        record: Record,
        shares: Shares,
        caches: Caches,
    ) -> None:
        super().__init__(ctx, levels, files, owners, blobs)
        self._views = views
        self._networks = networks
        self._jobs = jobs
        self._bare = bare
        self._record = record
        self._shares = shares
        self._caches = caches

    async def run(self, command: Command) -> Ran:
        """Run a command to its end, or to the end of what it may use, and give what came of it.

        Raises `SandboxUnavailable` when it cannot be contained as policy demands: then it was not run.
        """
        return await self._followed(command)

    async def rehearse(self, command: Command) -> Ran:
        """Run it without any network, and leave what it changed in its view: accepting that very diff is the effect."""
        return await self._followed(command, "it was a rehearsal", REHEARSED_S)

    async def view(self, kept_s: float) -> tuple[str, str, float]:
        """Make a view of the workspace in which commands can go on; gives it, the folder, and until when it waits.

        Raises as `run` does.
        """
        ctx = self._ctx
        profile = await self._views.narrowed(ctx, self.profile(DEFAULT_PROFILE, {}, None))
        backend = await self._levels.backend(self._least(profile))
        workspace, _ = await ctx.thread(self._places, profile, "")
        return await self._views.waiting(ctx, backend, workspace, await self._user(workspace), kept_s)

    async def _followed(self, command: Command, rehearsal: str = "", kept_s: float = KEPT_S) -> Ran:
        lasts = BACKGROUND_S if self._ctx.operation.background else None
        profile = self.profile(command.profile, command.limits, command.timeout_s, lasts)
        check_network(profile, command)
        _check_view(profile, command, rehearsal)
        if rehearsal and profile.network != "host":
            profile = replace(profile, network="off")
        async with self._jobs.following(self._ctx) as job, self._shares.turn(self._ctx):
            profile = await self._views.narrowed(self._ctx, profile)  # when its turn came: others took room meanwhile
            if profile.network == "host":
                return await self._run_bare(command, profile, job, rehearsal)
            return await self._run(command, profile, job, rehearsal, kept_s)

    async def _run_bare(self, command: Command, profile: Profile, job: Followed, rehearsal: str) -> Ran:
        """Run a command that nothing contains, if settings and grants say so by name; that is on record before."""
        ctx, bare = self._ctx, self._bare
        name = profile.name
        if bare is None:
            raise SandboxUnavailable(
                f"the profile `{name}` runs commands with nothing around them, which the settings do not allow",
                hint="choose another profile as `sandbox`; `sandbox.allow_unsafe` in the settings file would allow it",
            )
        if not ctx.named("sandbox", name):
            raise Denied(
                f"no grant names the profile `{name}` for everybody in whose name this is called",
                hint='it takes a grant with `"where": {"args": {"sandbox": "danger-none"}}`, for each of them',
            )
        if rehearsal or ISOLATION[ctx.invocation.call.isolation or "none"] > ISOLATION["none"]:
            raise SandboxUnavailable(
                f"the profile `{name}` contains nothing, so there is nothing to rehearse in",
                hint="choose another profile as `sandbox`, or call without a dry run and without `isolation`",
            )
        workspace, cwd = await ctx.thread(self._places, profile, command.cwd)
        user = await self._user(workspace)
        env = {**command.env, **await self._secrets(command)}
        who = ctx.principal
        await self._record(
            AuditRecord(
                kind="event", at=ctx.now, tenant=ctx.tenant, who=who.id, chain_of=who.ids, invocation=ctx.invocation.id,
                operation="sandbox.uncontained", isolation="none", detail={"program": command.argv[0][:200]},
            )
        )  # fmt: skip
        start = Start(tuple(command.argv), profile, ctx.tenant, env, cwd, workspace, user)
        pipes, running, until = await self._started(command, NO_NETWORK, start, bare, job)
        ended, stdout, stderr = await pipes.carry(running, profile.limits.output_bytes)
        job.ended(ended)
        return Ran(ended, stdout, stderr, running.isolation, round(until, 3))

    async def _run(self, command: Command, profile: Profile, job: Followed, rehearsal: str, kept_s: float) -> Ran:
        ctx = self._ctx
        backend = await self._levels.backend(self._least(profile))
        workspace, cwd = await ctx.thread(partial(self._places, profile, command.cwd, there=not command.view))
        user = await self._user(workspace)
        if command.stdin_blob:  # looked at before anything starts
            await self._blobs.read(ctx.principal, command.stdin_blob, 0, 0)
        async with self._caches.of(ctx, profile, workspace, user) as cache:
            start = Start(
                tuple(command.argv), profile, ctx.tenant, cwd=cwd, workspace=workspace, user=user, binds=cache.binds,
                local_sockets=self._owners.owns(ctx.tenant, workspace),
            )  # fmt: skip
            ran = await self._viewed(command, start, backend, job, cache, rehearsal, kept_s)
            brought_in = ran.effects is not None and ran.effects.applied  # also where there was nothing to bring in
            if command.apply and not rehearsal and ran.ended.code == 0 and brought_in:
                cache.keep()
        return ran

    async def _viewed(
        self, command: Command, start: Start, backend: Backend, job: Followed, cache: Cache, rehearsal: str,
        kept_s: float,
    ) -> Ran:  # fmt: skip
        """Run a command on a view of its workspace, with its network, and conclude what it did there."""
        ctx, profile = self._ctx, start.profile
        view = None
        memory = -1
        try:
            async with self._networks.of(ctx, profile, command) as network:
                start = replace(start, argv=(*network.prefix, *start.argv), binds=(*network.binds, *start.binds))
                if profile.workspace == "write":
                    going_on = partial(self._views.going_on, id=command.view) if command.view else self._views.of
                    view = await going_on(ctx, backend, start)
                    start = view.shown(start)
                env = {**cache.env, **command.env, **await self._secrets(command), **network.env}
                pipes, running, until = await self._started(command, network, replace(start, env=env), backend, job)
                try:
                    async with view.bounded(running) if view else nullcontext(), cache.bounded(running):
                        ended, stdout, stderr = await pipes.carry(running, profile.limits.output_bytes)
                    job.ended(ended)
                    ctx.spend(cpu_s=ended.cpu_s)
                finally:
                    memory = running.memory()
                    hear(ctx, network)
                traffic = await network.ended()
            if not ended.ran:
                raise _not_executed(command, stderr.text)
            if memory >= 0 and not ended.limit and is_full(memory):
                ended = replace(ended, limit="disk")
            effects = None
            if view is not None:
                why = rehearsal or _not_applied(command, ended)
                effects = await view.conclude(memory, apply=not why, why=why, kept_s=kept_s)
        finally:
            _forget(memory)
            if view is not None:
                await ctx.thread(view.close)
        return Ran(ended, stdout, stderr, running.isolation, round(until, 3), effects, traffic)

    async def _started(
        self, command: Command, network: RunNetwork, start: Start, backend: Backend | Uncontained, job: Followed
    ) -> tuple[Pipes, Running, float]:
        """Start a command and give its streams, itself, and when it will be stopped."""
        redactor = self._ctx.redactor  # also what connections show: a server may answer with it
        taps = job.tap("stdout"), job.tap("stderr")
        pipes = Pipes(min(command.inline_bytes, MOST_INLINE), self._store, redactor, *taps)
        try:
            self._hand(pipes, command)
            until = self._ctx.now + start.profile.limits.wall_s
            running = await backend.start(
                replace(
                    start, stdin=pipes.stdin, stdout=pipes.stdout.writing, stderr=pipes.stderr.writing,
                    fds={**pipes.further, **network.fds},
                )
            )  # fmt: skip
            self._ctx.isolation = running.isolation
            try:
                await network.attach(running)
            except BaseException:
                _forget(running.memory())
                raise
        except BaseException:
            pipes.discard()
            raise
        job.started(running, round(until, 3))
        return pipes, running, until

    async def _secrets(self, command: Command) -> dict[str, str]:
        """Give the variables that hold secrets; what the command writes of them is taken out of its outputs."""
        given: dict[str, str] = {}
        for variable, name in command.env_from.items():
            value = await self._ctx.secret.resolve(f"{SECRET}{name}", job=self._ctx.invocation.id)
            given[variable] = value.reveal()
        return given

    def _hand(self, pipes: Pipes, command: Command) -> None:
        if command.stdin_blob:
            pipes.give_chunks(self._load(command.stdin_blob))
        else:
            pipes.give(command.stdin)
        if command.script:
            pipes.show(_SCRIPT, command.script)

    async def _load(self, handle: str) -> AsyncGenerator[bytes]:
        at, size = 0, 1
        while at < size:
            chunk, size = await self._blobs.read(self._ctx.principal, handle, at, _PAGE)
            at += len(chunk)
            yield chunk


def _forget(memory: int) -> None:
    """Let go of what a command wrote that nobody looks at."""
    if memory >= 0:
        os.close(memory)


def _not_applied(command: Command, ended: Ended) -> str:
    """Say why what a command changed waits in its view; empty when nothing speaks against bringing it in."""
    if not command.apply:
        return "it was asked to wait"
    if ended.code is None:
        return f"the command was ended by its limit `{ended.limit}`" if ended.limit else "the command was ended"
    return ""


def _check_view(profile: Profile, command: Command, rehearsal: str) -> None:
    """Refuse to go on in a view where nothing could be written, or nothing may. Raises `InvalidInput`."""
    if command.view and (profile.workspace != "write" or profile.network == "host"):  # bare, there is no view to see
        raise InvalidInput(
            f"under the profile `{profile.name}` nothing goes on in a view", hint="leave `view` out, or choose another"
        )
    if command.view and rehearsal:
        raise InvalidInput(
            "a rehearsal has a view of its own", hint="call without a dry run: your workspace stays as it is"
        )


def _not_executed(command: Command, said: str) -> InvalidInput | SandboxUnavailable:
    """Give the problem of a command that could not be executed, by what bubblewrap said."""
    text = said.strip().removeprefix("bwrap: ")
    if text.startswith("execvp"):
        return InvalidInput(
            f"`{command.argv[0][:200]}` cannot be executed: {text.rpartition(': ')[2]}",
            hint="only what is installed in /usr is there; a program in the workspace is named as `./program`",
        )
    return SandboxUnavailable(f"the sandbox could not be set up: {text[:500]}", hint="see `superagent doctor`")

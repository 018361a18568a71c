"""The capability `run`: a command, contained, in the caller's own workspace."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from dataclasses import fields, replace

from superagent.core.commands import SCRIPT, Command, Ran
from superagent.core.containment import PROFILES, Limits, Profile
from superagent.core.context import Context
from superagent.core.grants import ISOLATION
from superagent.core.invocation import EffectNote
from superagent.core.ports import Blobs
from superagent.core.problems import Deadline, Denied, InvalidInput, NotFound, SandboxUnavailable
from superagent.core.resources import Effect, Resource, beneath, canonical_path
from superagent.runtime.files_reach import FilesReach
from superagent.runtime.sandbox.backend import Start
from superagent.runtime.sandbox.levels import Levels
from superagent.runtime.sandbox.owners import Owners
from superagent.runtime.sandbox.pipes import Pipes

INSIDE = "/workspace"
MOST_INLINE = 1024 * 1024
SPARE_S = 0.5
"""What is kept of a call's time for ending the command and answering."""

_PAGE = 256 * 1024
_SCRIPT = int(SCRIPT.rpartition("/")[2])


class RunReach:
    """Commands of one call. What contains them is chosen for each: the weakest that policy, settings and call allow."""

    def __init__(self, ctx: Context, levels: Levels, files: FilesReach, owners: Owners, blobs: Blobs) -> None:
        self._ctx = ctx
        self._levels = levels
        self._files = files
        self._owners = owners
        self._blobs = blobs

    def profile(self, name: str, limits: Mapping[str, float], timeout_s: float | None) -> Profile:
        """Give a profile, narrowed by what a call asks for and the time it has. Raises `InvalidInput`, `Deadline`."""
        found = PROFILES.get(name)
        if found is None:
            raise InvalidInput(f"there is no profile `{name[:60]}`", hint=f"they are {', '.join(PROFILES)}")
        known = {one.name for one in fields(Limits)}
        for one, value in limits.items():
            if one not in known or not value > 0:
                raise InvalidInput(f"`limits.{one[:60]}` is no limit", hint=f"they are {', '.join(sorted(known))}")
        asked = {one: value if one in ("wall_s", "cpu_s", "cpus") else int(value) for one, value in limits.items()}
        narrowed = replace(found.limits, **asked).narrowed(found.limits)
        left = self._ctx.remaining_s
        times = [narrowed.wall_s, *([] if timeout_s is None else [timeout_s])]
        if left is not None:
            if left <= SPARE_S:
                raise Deadline("there is no time left to run a command")
            times.append(left - SPARE_S)
        return replace(found, limits=replace(narrowed, wall_s=min(times)))

    async def run(self, command: Command) -> Ran:
        """Run a command to its end, or to the end of what it may use, and give what came of it.

        Raises `SandboxUnavailable` when it cannot be contained as policy demands: then it was not run.
        """
        ctx = self._ctx
        profile = self.profile(command.profile, command.limits, command.timeout_s)
        level = max(ISOLATION[ctx.invocation.call.isolation or "none"], ISOLATION[profile.level], ctx.judged_isolation)
        backend = await self._levels.backend(level)
        workspace, cwd = await ctx.thread(self._places, profile, command.cwd)
        user = await self._owners.of(ctx.tenant)
        if user is not None:
            await ctx.thread(self._owners.hand_over, ctx.tenant, workspace, user)
        if command.stdin_blob:  # looked at before anything starts
            await self._blobs.read(ctx.tenant, ctx.principal.id, command.stdin_blob, 0, 0)
        pipes = Pipes(min(command.inline_bytes, MOST_INLINE), self._store)
        try:
            self._hand(pipes, command)
            start = Start(
                tuple(command.argv), profile, ctx.tenant, command.env, cwd, workspace, user,
                local_sockets=self._owners.owns(ctx.tenant, workspace),
                stdin=pipes.stdin, stdout=pipes.stdout.writing, stderr=pipes.stderr.writing, fds=pipes.further,
            )  # fmt: skip
            until = ctx.now + profile.limits.wall_s
            running = await backend.start(start)
        except BaseException:
            pipes.discard()
            raise
        ctx.isolation = running.isolation
        if profile.workspace == "write":
            ctx.effects.append(EffectNote(Resource("path", "local", workspace).id, Effect.CHANGE.name))
        ended, stdout, stderr = await pipes.carry(running, profile.limits.output_bytes)
        if not ended.ran:
            ctx.effects.clear()
            raise _not_executed(command, stderr.text)
        return Ran(ended, stdout, stderr, running.isolation, round(until, 3))

    def _hand(self, pipes: Pipes, command: Command) -> None:
        if command.stdin_blob:
            pipes.give_chunks(self._load(command.stdin_blob))
        else:
            pipes.give(command.stdin)
        if command.script:
            pipes.show(_SCRIPT, command.script)

    def _places(self, profile: Profile, cwd: str) -> tuple[str, str]:
        """Give the real path of the workspace, judged, and the working folder as it is seen inside."""
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
        if place != own:
            with self._files.at(place, effect=Effect.READ) as at:
                if not at.is_dir or not beneath(at.real, real):
                    raise NotFound(f"there is no folder `{cwd[:200]}` in your workspace")
        return real, INSIDE + place[len(own) :]

    async def _store(self, chunks: AsyncIterator[bytes]) -> str:
        return await self._blobs.put(self._ctx.tenant, self._ctx.principal.id, chunks, what="result")

    async def _load(self, handle: str) -> AsyncGenerator[bytes]:
        at, size = 0, 1
        while at < size:
            chunk, size = await self._blobs.read(self._ctx.tenant, self._ctx.principal.id, handle, at, _PAGE)
            at += len(chunk)
            yield chunk


def _not_executed(command: Command, said: str) -> InvalidInput | SandboxUnavailable:
    """Give the problem of a command that could not be executed, by what bubblewrap said."""
    text = said.strip().removeprefix("bwrap: ")
    if text.startswith("execvp"):
        return InvalidInput(
            f"`{command.argv[0][:200]}` cannot be executed: {text.rpartition(': ')[2]}",
            hint="only what is installed in /usr is there; a program in the workspace is named as `./program`",
        )
    return SandboxUnavailable(f"the sandbox could not be set up: {text[:500]}", hint="see `superagent doctor`")

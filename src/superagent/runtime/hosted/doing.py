"""Doing: one call of a hosted plugin's operation, from the line's side: asked, served, checked and closed."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from dataclasses import replace
from typing import Any

import msgspec
from pydantic import BaseModel, TypeAdapter, ValidationError

from superagent.core.context import Context
from superagent.core.operation import Preview
from superagent.core.ports import Kept
from superagent.core.principal import Secret
from superagent.core.problems import Problem, Unavailable
from superagent.hosted import words
from superagent.runtime.hosted.asked import METHODS
from superagent.runtime.hosted.call import Served
from superagent.runtime.hosted.channel import Ended, Refused
from superagent.runtime.hosted.declared import Made
from superagent.runtime.hosted.hosting import Hosting
from superagent.runtime.hosted.manifests import Found
from superagent.runtime.hosted.process import Process
from superagent.runtime.hosted.traces import gist

_anything: TypeAdapter[Any] = TypeAdapter(Any)
CANCEL_S = 2.0
"""How long a plugin has to end a call that was cancelled, before its process is ended."""


class HostedRuns:
    """Fills `declared.Runs` for one plugin. `digest` is what its processes must declare."""

    def __init__(self, hosting: Hosting, found: Found) -> None:
        self._hosting = hosting
        self._found = found
        self.digest = ""

    async def do(self, ctx: Context, what: words.What, made: Made, values: dict[str, Any]) -> Any:
        """Have an operation run or previewed, and give what it gives, checked. Raises its problem."""
        served = self._served(ctx, await self._process(ctx, made))
        said = await self._through(served, what, made, values)
        return self._checked(served, Preview if what == "preview" else made.output, said)

    async def undo(self, ctx: Context, made: Made, kept: Kept) -> None:
        """Have a call taken back by the plugin's own function."""
        served = self._served(ctx, await self._process(ctx, made), kept)
        await self._through(served, "undo", made, {})

    async def stream(self, ctx: Context, made: Made, values: dict[str, Any]) -> AsyncGenerator[Any]:
        """Have an operation run, and give each of its events, checked."""
        served = self._served(ctx, await self._process(ctx, made))
        running = asyncio.ensure_future(self._through(served, "run", made, values))
        try:
            while True:
                event = asyncio.ensure_future(served.events.get())
                await asyncio.wait([event, running], return_when=asyncio.FIRST_COMPLETED)
                if not event.done():
                    event.cancel()
                    running.result()
                    return
                data, taken = event.result()
                yield self._checked(served, made.output, msgspec.json.encode(data))
                if not taken.done():
                    taken.set_result(None)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    # ---- inside

    async def _process(self, ctx: Context, made: Made) -> Process:
        alone = ctx.operation.holds_secrets or "secret" in made.declared.reaches
        return await self._hosting.process(self._found, self.digest, ctx.principal, alone=alone)

    def _served(self, ctx: Context, process: Process, kept: Kept | None = None) -> Served:
        def refuse(ctx: Context, what: str, why: str) -> None:
            self._hosting.refused(self._found.manifest.name, ctx, what, why)

        served = Served(ctx, process, tuple(self._found.manifest.calls), METHODS, refuse, kept)
        process.calls[served.id] = served
        return served

    async def _through(self, served: Served, what: words.What, made: Made, values: dict[str, Any]) -> msgspec.Raw:
        process, ctx, clean, worked = served.process, served.ctx, False, False
        answer: asyncio.Future[msgspec.Raw] | None = None
        try:
            try:
                answer = process.channel.ask("do", self._told(served, what, made, values))
                said = await asyncio.shield(answer)
            except ValueError:
                raise Unavailable(
                    "the input is more than a hosted plugin can be told", hint="send it as a blob"
                ) from None
            worked = True
        except Refused as refused:
            worked = True
            raise served.problem_of(refused) from None
        except Ended as fault:
            self._hosting.failed(self._found, ctx.principal, str(fault))
            # the process is this caller's alone; what it says once it holds a secret is for nobody
            last = "" if process.spent else gist(b"".join(process.errors))
            raise self._fault(served, f"ended in the middle of the call: {fault}", last) from None
        except asyncio.CancelledError:
            if answer is not None and not answer.done():
                self._hosting.own(self._told_off(process, served, answer))
            raise
        finally:
            try:
                clean = await served.close()
            finally:
                process.calls.pop(served.id, None)
                self._hosting.leave(process, ctx.principal, worked)
        if not clean:
            raise self._fault(served, "ended the call with a change still open")
        return said

    def _told(self, served: Served, what: words.What, made: Made, values: dict[str, Any]) -> dict[str, Any]:
        ctx = served.ctx
        who = words.Who(ctx.principal.id, ctx.principal.kind, ctx.tenant, ctx.principal.workspace)
        call = ctx.invocation
        about = words.About(
            call.id, who, call.channel, ctx.now, ctx.remaining_s, call.call.dry_run, call.call.session, call.parent
        )
        told: dict[str, Any] = {
            "call": served.id,
            "what": what,
            "operation": made.declared.name,
            "input": {alias: plain(values[argument]) for argument, alias in made.names if argument in values},
            "about": about,
        }
        return told if served.kept is None else {**told, "kept": told_of(served.kept)}

    async def _told_off(self, process: Process, served: Served, answer: asyncio.Future[msgspec.Raw]) -> None:
        """Tell a plugin that a call is cancelled, and end its process if it does not end the call soon."""
        process.over.add(served.id)
        with contextlib.suppress(Ended):
            process.channel.tell("cancel", {"call": served.id})
        if not (await asyncio.wait([answer], timeout=CANCEL_S))[0]:
            self._hosting.misbehaved(process, "it went on with a call that was cancelled")
        elif not answer.cancelled():
            answer.exception()  # looked at: nobody waits for it any more
        process.over.discard(served.id)

    def _checked(self, served: Served, kind: type[BaseModel], said: bytes | msgspec.Raw) -> Any:
        """Give an output as what was declared. Raises `Unavailable` for anything else."""
        data = bytes(said)
        try:
            return kind.model_validate_json(b"{}" if data in (b"", b"null") else data, strict=True)
        except ValidationError:
            raise self._fault(served, "answered with something else than it declares") from None

    def _fault(self, served: Served, what: str, last: str = "") -> Problem:
        said = f"the last it said is `{last}`; all of it" if last else "its error output"
        return Unavailable(
            f"the plugin `{served.plugin}` {what}",
            hint=f"try again: it is started anew; {said} is in the server's log",
            changed="unknown" if served.outside else "nothing",
        )


def told_of(kept: Kept) -> Kept:
    """Give what a plugin is told of a kept change: its own note, and nothing of what the platform keeps."""
    return replace(kept, data=kept.data if kept.before is None else {}, chain=(), callers=())


def plain(value: Any) -> Any:
    """Give an argument as JSON holds it; a secret stays one until it is written to the line."""
    return (
        value
        if value is None or isinstance(value, Secret)
        else _anything.dump_python(value, mode="json", by_alias=True)
    )

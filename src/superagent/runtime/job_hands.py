"""Job hands: the commands that jobs of this process run, so that their output is kept and they can be told to stop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

import msgspec

from superagent.core.commands import Ended
from superagent.core.context import Context
from superagent.core.problems import Cancelled, Conflict
from superagent.runtime.sandbox.backend import Running
from superagent.runtime.work_logs import LogStream, LogWriter, StoredLogs

TERM = 15


class Followed:
    """One command, followed if a job runs it: `tap` gives what takes a stream's bytes, None where nobody keeps them."""

    def __init__(self, ctx: Context, writer: LogWriter | None) -> None:
        self._ctx = ctx
        self._writer = writer
        self.running: Running | None = None
        self.telling: asyncio.Future[None] | None = None
        self.stopping = False

    def tap(self, stream: LogStream) -> Callable[[bytes], None] | None:
        """Give what takes the bytes of a stream, None where nobody keeps them."""
        return None if self._writer is None else self._writer.tap(stream)

    def started(self, running: Running, until: float) -> None:
        """Note that it runs, and tell the job's readers how it is contained and when it is ended at the latest."""
        self.running = running
        if self._writer is not None:
            isolation = running.isolation
            told = {"kind": "contained", **isolation.document(), "amounts": isolation.amounts, "until": until}
            self.telling = asyncio.ensure_future(self._ctx.emit(msgspec.to_builtins(told)))

    def ended(self, ended: Ended) -> None:
        """Go on unless somebody stopped it. Raises `Cancelled`."""
        if self.stopping:
            how = "it was killed" if ended.code is None else f"it ended with code {ended.code}"
            raise Cancelled(f"the job was stopped: {how}", hint="what it wrote is in `jobs.logs`")


class JobHands:
    """What runs here, by job."""

    def __init__(self, logs: StoredLogs) -> None:
        self.logs = logs
        self._followed: dict[str, Followed] = {}

    @asynccontextmanager
    async def following(self, ctx: Context) -> AsyncGenerator[Followed]:
        """Follow a command of a call while the body runs it; only calls that are stored have readers."""
        id = ctx.invocation.id
        if not ctx.invocation.resumed or id in self._followed:
            yield Followed(ctx, None)
            return
        async with self.logs.writing(ctx.tenant, id) as writer:
            followed = self._followed[id] = Followed(ctx, writer)
            try:
                yield followed
            finally:
                del self._followed[id]
                if followed.telling is not None:
                    await asyncio.wait([followed.telling])

    async def signal(self, id: str, number: int) -> bool:
        """Send a signal to the command that a job runs here; False when it runs none."""
        followed = self._followed.get(id)
        if followed is None or followed.running is None:
            return False
        try:
            await followed.running.signal(number)
        except Conflict:
            return False
        return True

    async def ask_to_stop(self, id: str) -> bool:
        """Ask the command that a job runs here to end (SIGTERM); False when it runs none."""
        followed = self._followed.get(id)
        if followed is not None:
            followed.stopping = True
        return await self.signal(id, TERM)

"""Hosting: the processes of every hosted plugin: who gets which, how many there are, and when each ends."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from superagent.core.audit import AuditRecord
from superagent.core.context import Context
from superagent.core.principal import Principal
from superagent.core.problems import Overloaded, Problem, Unavailable
from superagent.hosted import words
from superagent.runtime.hosted.backoff import Backoff
from superagent.runtime.hosted.call import shown
from superagent.runtime.hosted.channel import Ended
from superagent.runtime.hosted.manifests import Found
from superagent.runtime.hosted.process import Process, start
from superagent.runtime.hosted.quarters import Quarters

MOST = 16
"""Processes at a time, of all hosted plugins together."""

IDLE_S = 60.0
MOST_LOGGED = 2000
"""How much of what a process wrote to its error stream is logged at its end, bytes."""

_log = logging.getLogger("superagent")

Key = tuple[str, str, tuple[str, ...], str]
"""Plugin, tenant, who acts on whose behalf, and by which key: nobody's data is in a process that serves another."""


class Hosting:
    """All processes. `note` takes records, `users` gives the user of this machine that a tenant's things run as."""

    def __init__(
        self,
        quarters: Quarters,
        users: Callable[[str], Awaitable[int | None]],
        note: Callable[[AuditRecord], None],
        now: Callable[[], float],
        monotonic: Callable[[], float],
        most: int = MOST,
    ) -> None:
        self._quarters = quarters
        self._users = users
        self._note = note
        self._now = now
        self._monotonic = monotonic
        self._most = most
        self._processes: dict[Key, Process] = {}
        self._alone: set[Process] = set()
        self._backoffs: dict[Key, Backoff] = {}
        self._troubles: dict[str, str] = {}  # of plugins that settings name, so there is an end of them
        self._turns: dict[Key, asyncio.Lock] = {}
        self._starting = 0
        self._ending: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._processes) + len(self._alone) + self._starting

    async def process(self, found: Found, digest: str, principal: Principal, *, alone: bool) -> Process:
        """Give a process of a plugin for a caller, a fresh one with `alone`. `digest` is what it must declare.

        Raises `Unavailable` that says why there is none, `Overloaded`, `SandboxUnavailable`.
        """
        key = key_of(found, principal)
        if alone:
            made = await self._begun(key, found, digest)
            made.spent = True
            self._alone.add(made)
            return made
        async with self._turns.setdefault(key, asyncio.Lock()):
            present = self._processes.get(key)
            if present is not None and not present.why and not present.spent:
                return present
            if present is not None:
                self._let_go(key)
            made = await self._begun(key, found, digest)
            self._processes[key] = made
            return made

    def leave(self, process: Process, principal: Principal, worked: bool) -> None:
        """Take note that a call in a process has ended; `worked` says that the plugin ended it itself."""
        process.idle_since = self._monotonic()
        if worked:
            self._backoffs.pop(key_of(process.found, principal), None)
            self._troubles.pop(process.found.manifest.name, None)
        if process.spent and process.free and not process.why:
            self._end(process, "it was given a secret, so it serves no other call")

    def failed(self, found: Found, principal: Principal, why: str) -> None:
        """Take note that a plugin ended, or was ended for what it did, in the middle of a call."""
        self._failed(key_of(found, principal), f"it ended in the middle of a call: {why}")

    def trouble(self, plugin: str) -> str:
        """Say what went wrong with a plugin the last time it was started or called, empty once it works again."""
        return self._troubles.get(plugin, "")

    def misbehaved(self, process: Process, why: str) -> None:
        """End a process for what it did."""
        self._end(process, why)

    def own(self, work: Coroutine[Any, Any, None]) -> None:
        """Let something go on after its call; `close` waits for it."""
        task = asyncio.ensure_future(work)
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    async def declaration(self, found: Found, tenant: str, user: int | None) -> words.Declaration:
        """Start a plugin only to hear what it declares. Raises `Ended`, `SandboxUnavailable`."""
        try:
            process = await start(self._quarters, found, tenant, user, lambda message: "there is no call")
        except Ended as fault:
            _log_end(found.manifest.name, str(fault), fault.said)
            raise
        try:
            return process.declared.result()
        finally:
            await process.end("it was only asked what it declares")

    async def sweep(self) -> int:
        """End what nobody has used for a while, and forget what has ended."""
        before = len(self)
        for key, one in list(self._processes.items()):
            if one.why or (one.free and self._monotonic() - one.idle_since > IDLE_S):
                self._let_go(key)
        for key, lock in list(self._turns.items()):
            if key not in self._processes and not lock.locked():
                del self._turns[key]
        for key, backoff in list(self._backoffs.items()):
            if key not in self._processes and not backoff.wait_s(self._monotonic()):
                del self._backoffs[key]
        return before - len(self)

    async def close(self) -> None:
        """End every process, and return when nothing of them is left."""
        for one in [*self._processes.values(), *self._alone]:
            self._end(one, "the platform stops")
        while self._ending:
            await asyncio.wait(self._ending)

    def refused(self, plugin: str, ctx: Context, what: str, why: str) -> None:
        """Record that a call's plugin asked for what it may not have."""
        invocation, principal = ctx.invocation, ctx.principal
        self._note(
            AuditRecord(
                kind="refused",
                at=ctx.now,
                invocation=invocation.id,
                parent=invocation.parent or invocation.batch,
                tenant=principal.tenant,
                who=principal.id,
                chain_of=principal.ids,
                channel=invocation.channel,
                operation="plugins.asked",
                problem="denied",
                session=invocation.call.session,
                trace=invocation.trace,
                detail={"plugin": plugin, "by": ctx.operation.name, "asked": shown(what, 100), "why": why},
            )
        )

    def loaded(self, plugin: str, state: str, why: str) -> None:
        """Record how a plugin stands at the start."""
        refused = state == "refused"
        self._note(
            AuditRecord(
                kind="refused" if refused else "event",
                at=self._now(),
                operation="plugins.loaded",
                problem="denied" if refused else "",
                detail={"plugin": plugin, "state": state, **({"why": why} if why else {})},
            )
        )

    # ---- inside

    async def _begun(self, key: Key, found: Found, digest: str) -> Process:
        name, tenant, *_ = key
        wait_s = self._backoffs[key].wait_s(self._monotonic()) if key in self._backoffs else 0.0
        if wait_s:
            raise Unavailable(
                f"the plugin `{name}` keeps ending, and is left alone for {wait_s:.1f} s: {self.trouble(name)}",
                hint="its error output is in the server's log",
                retry_after_s=wait_s,
            )
        self._make_room()
        self._starting += 1
        try:
            process = await start(
                self._quarters, found, tenant, await self._users(tenant), lambda message: self._stranger(key, message)
            )
        except Ended as fault:
            self._failed(key, f"it cannot be started: {fault.told}")
            self._event("plugins.ended", key, {"why": str(fault)})
            _log_end(name, str(fault), fault.said)
            raise Unavailable(
                f"the plugin `{name}` cannot be started: {fault.told}", hint="its error output is in the server's log"
            ) from None
        finally:
            self._starting -= 1
        if process.digest != digest:
            self._end(process, "it declares something else than it did when it was loaded")
            self._failed(key, process.why)
            self._event("plugins.ended", key, {"why": process.why}, kind="refused")
            raise Unavailable(
                f"the plugin `{name}` declares something else than it did when it was loaded",
                hint="look at what changed, then start the server anew",
            )
        process.idle_since = self._monotonic()
        try:
            self._event("plugins.started", key, {"version": found.manifest.version, "level": "native"})
        except Problem:
            self._end(process, "its start could not be recorded")
            raise
        process.ended.add_done_callback(lambda ended: self._over(key, process, ended.result()))
        return process

    def _failed(self, key: Key, why: str) -> None:
        self._troubles[key[0]] = why
        self._backoffs.setdefault(key, Backoff()).failed(self._monotonic())

    def _make_room(self) -> None:
        if len(self) < self._most:
            return
        free = [(one.idle_since, key) for key, one in self._processes.items() if one.free]
        if not free:
            raise Overloaded("every process for hosted plugins is busy", hint="try again when others have ended")
        self._let_go(min(free)[1])

    def _let_go(self, key: Key) -> None:
        self._end(self._processes.pop(key), "nobody used it")

    def _end(self, process: Process, why: str) -> None:
        self._alone.discard(process)
        process.channel.close(why)
        self.own(process.end(why))

    def _over(self, key: Key, process: Process, why: str) -> None:
        """Write down how a process ended; what it said on its error stream only if it never held a secret."""
        if self._processes.get(key) is process:
            del self._processes[key]
        self._alone.discard(process)
        self._event("plugins.ended", key, {"why": why})
        if process.errors and not process.spent:
            _log_end(key[0], why, b"".join(process.errors))

    def _stranger(self, key: Key, message: words.Message) -> str:
        self._event("plugins.asked", key, {"asked": shown(message.method, 100), "why": "no such call"}, kind="refused")
        return "there is no such call: a call's context ends with it, and is nobody else's"

    def _event(self, what: str, key: Key, detail: dict[str, Any], kind: Any = "event") -> None:
        self._note(
            AuditRecord(
                kind=kind,
                at=self._now(),
                tenant=key[1],
                who=key[2][0],
                chain_of=key[2],
                operation=what,
                problem="denied" if kind == "refused" else "",
                detail={"plugin": key[0], **detail},
            )
        )


def _log_end(plugin: str, why: str, said: bytes) -> None:
    text = shown(said[-MOST_LOGGED:].decode("utf-8", "replace"), MOST_LOGGED)
    _log.warning("the plugin %s ended (%s), and had said: %s", plugin, why, text)


def key_of(found: Found, principal: Principal) -> Key:
    """Name whose process of a plugin it is."""
    return found.manifest.name, principal.tenant, principal.ids, principal.key

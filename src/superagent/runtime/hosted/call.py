"""One call in a hosted plugin: its end of the line, what it may still ask, and everything it has open."""

from __future__ import annotations

import asyncio
import contextvars
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from superagent.core.changes import Change
from superagent.core.context import Context
from superagent.core.ports import Kept
from superagent.core.problems import Broken, Denied, Fault, Internal, Overloaded, Problem, every_problem
from superagent.core.resources import Effect, Resource, beneath
from superagent.hosted import words
from superagent.runtime.hosted.channel import Ended, Refused
from superagent.runtime.hosted.process import Process
from superagent.runtime.hosted.traces import gist

MOST_ASKED = 10_000
MOST_REFUSED = 100
MOST_AT_ONCE = 32
MOST_TOLD = 16 * 1024 * 1024
"""How much one call may put on its invocation's stream, bytes."""

DEEPEST = 8
"""How many calls may lead to one that a hosted plugin makes."""

LONGEST_TEXT, LONGEST_TRACE = 2000, 8000

# what a plugin may say by itself; all else only the platform says
_THEIRS = {
    *("denied", "not-found", "conflict", "too-large", "invalid-input", "locked", "overloaded", "unavailable"),
    *("deadline", "internal"),
}
_KINDS = {kind.slug: kind for kind in every_problem() if kind.slug in _THEIRS}

Asked = Callable[["Served", dict[str, Any]], Awaitable[Any]]
Refuse = Callable[[Context, str, str], None]
"""Record that a call asked for what it may not have: its context, what, and why not."""


class PluginBug(Broken):
    """Something in the plugin that nobody meant; the text is the plugin's own, for the log."""


class Abandoned(Exception):
    """A call ended with a change still open."""


@dataclass(slots=True)
class Open:
    """A change under way; `written` once anything of it was done, `busy` while something of it is being done."""

    manager: Any
    change: Change
    resource: Resource
    written: bool = False
    busy: int = 0


class Served:
    """A call under way. Whatever its plugin asks is judged by this call's own context, and ends with it.

    `named` are the resources that it is about. `outside` says that it did something that nobody can look up again.
    """

    def __init__(
        self, ctx: Context, process: Process, calls: tuple[str, ...], methods: dict[str, Asked], refuse: Refuse,
        kept: Kept | None = None,
    ) -> None:  # fmt: skip
        self.id = secrets.token_hex(16)
        self.ctx = ctx
        self.process = process
        self.plugin = process.found.manifest.name
        self.kept = kept
        self.changes: dict[int, Open] = {}
        self.events: asyncio.Queue[tuple[Any, asyncio.Future[None]]] = asyncio.Queue(1)
        self.outside = False
        self.bug: Exception | None = None  # of ours, met while something was answered
        self._calls = calls
        self._methods = methods
        self._refuse = refuse
        self._raised: list[Problem] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._count = self._refusals = self._told = 0
        self._context = contextvars.copy_context()

    # ---- what the plugin asks

    def asked(self, message: words.Message) -> None:
        """Take a question, and answer it in a task that ends with the call."""
        self._count += message.method != "event"
        assert message.id is not None
        if self._count > MOST_ASKED or self._refusals > MOST_REFUSED:
            raise Ended("it kept asking for more than it may")
        if len(self._tasks) >= MOST_AT_ONCE:
            return self._fail(message.id, Overloaded("this call asks for too much at once"))
        task = asyncio.get_running_loop().create_task(self._answer(message), context=self._context.copy())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, message: words.Message) -> None:
        number, channel = message.id or 0, self.process.channel
        given = {name: value for name, value in message.params.items() if name != "call"}
        try:
            method = self._methods.get(message.method)
            if method is None:
                raise self.refused(message.method, "hosted plugins are not given this")
            result = await method(self, given)
            try:
                channel.answer(number, result)
            except ValueError:
                raise Internal("this is more than one message can hold", hint="ask for a part of it") from None
        except Problem as problem:
            self._fail(number, problem)
        except (msgspec.ValidationError, TypeError, ValueError):
            self._fail(number, Internal(f"`{message.method[:40]}` was asked with the wrong words"))
        except Exception as bug:
            self.bug = bug
            self._fail(number, Internal("something broke inside the platform"))

    def _fail(self, number: int, problem: Problem) -> None:
        self._raised.append(problem)
        errors = [(one.path, one.message) for one in problem.errors]
        said = words.Said(problem.slug, problem.detail, problem.hint, problem.changed, errors, len(self._raised))
        self.process.channel.answer(number, error=words.Error(words.PROBLEM, "problem", said))

    # ---- what it may

    def refused(self, what: str, why: str) -> Denied:
        """Record what is not given to a hosted plugin, and give the problem of it."""
        self._refusals += 1
        self._refuse(self.ctx, what, why)
        return Denied(
            f"the plugin `{self.plugin}`: {why}", hint="its manifest and the setting `plugins.hosted` say what it may"
        )

    def reach(self, name: str) -> Any:
        """Give a capability of the call, if its operation declared it."""
        if name not in self.ctx.operation.reaches:
            raise self.refused(name, f"`{self.ctx.operation.name}` did not declare that it reaches `{name}`")
        return self.ctx.reach(name)

    def within(self, what: str, effect: Effect) -> None:
        """Go on only if the operation declared so much of an effect, and this is no dry run of it."""
        ctx = self.ctx
        if effect > Effect.READ and ctx.invocation.call.dry_run:
            raise self.refused(what, "a preview must change nothing")
        if effect > ctx.operation.effect:
            raise self.refused(
                what, f"`{ctx.operation.name}` declared the effect {ctx.operation.effect.name} and no more"
            )

    def about(self, what: str, path: str) -> None:
        """Go on only with a path that the call names, or that lies in one it names."""
        named = [one.path for one in self.ctx.ticket.resources if one.kind == "path"]
        if self.kept is not None and self.kept.resource.startswith("path://local/"):
            named.append(self.kept.resource.removeprefix("path://local"))
        if not any(beneath(path, one) for one in named):
            raise self.refused(what, "this call does not name that path")

    def may_call(self, operation: str) -> None:
        """Go on only with an operation that the manifest names, or one of the plugin's own."""
        if len(self.ctx.invocation.callers) >= DEEPEST:
            raise self.refused(f"call {operation[:80]}", f"calls within calls go no deeper than {DEEPEST}")
        for one in (f"{self.plugin}.*", *self._calls):
            if operation == one or (one.endswith(".*") and operation.startswith(one[:-1])):
                return
        raise self.refused(f"call {operation[:80]}", "its manifest does not say that it calls this operation")

    # ---- the end

    def problem_of(self, refused: Refused) -> Problem | PluginBug:
        """Give the problem that a plugin ended with: the server's own where it was one, else what a plugin may say."""
        said = refused.error.data or words.Said("internal")
        if refused.error.code != words.PROBLEM:
            # its process is this caller's alone; what it says once it holds a secret is for the log
            what = "" if self.process.spent else gist(said.trace)
            told = f"the plugin `{self.plugin}` broke" + (f": {what}" if what else "")
            return PluginBug(f"in the plugin `{self.plugin}`:\n{shown(said.trace, LONGEST_TRACE)}", told)
        if 0 < said.ref <= len(self._raised):
            return self._raised[said.ref - 1]
        kind = _KINDS.get(said.slug)
        if kind is None:
            told = f"the plugin `{self.plugin}` raised `{shown(said.slug, 40)}`, which only the platform does"
            return PluginBug(told, told)
        return kind(
            shown(said.detail),
            hint=None if said.hint is None else shown(said.hint),
            changed=said.changed,
            errors=[Fault(shown(path, 200), shown(text, 500)) for path, text in said.errors[:50]],
        )

    def tell(self, event: Any) -> None:
        """Go on only while the call has not told more than it may."""
        self._told += len(words.encode(event))
        if self._told > MOST_TOLD:
            raise self.refused("emit", f"it told more than {MOST_TOLD} bytes")

    async def event(self, event: Any) -> None:
        """Hand on one event of a stream; returns once it was taken."""
        taken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        await self.events.put((event, taken))
        await taken

    async def close(self) -> bool:
        """End all that this call has open, newest first; tells whether nothing was. Raises what went wrong with it."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        clean = not self.changes
        while self.changes:
            handle, left = self.changes.popitem()
            try:
                await left.manager.__aexit__(Abandoned, Abandoned(handle), None)
            except Abandoned:
                continue
            except Exception as fault:  # the others are to be closed all the same
                self.bug = fault
        if self.bug is not None:
            raise self.bug
        return clean


def shown(text: str, most: int = LONGEST_TEXT) -> str:
    """Give a text of somebody else's as one that can be shown: no control characters, and not too long."""
    plain = "".join(char if char.isprintable() or char == "\n" else "\N{REPLACEMENT CHARACTER}" for char in text[:most])
    return plain if len(text) <= most else plain + " …"

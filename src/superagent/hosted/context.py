"""The context of one call in a hosted plugin: what `Context` offers, each asked of the server, which judges it."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, NoReturn, Protocol, TypeVar

from superagent.core.changes import Change
from superagent.core.invocation import Call, Invocation
from superagent.core.operation import Operation
from superagent.core.ports import Kept
from superagent.core.principal import Principal
from superagent.core.problems import Internal, Unavailable
from superagent.core.resources import Effect, Resource
from superagent.hosted import words
from superagent.hosted.reaches import Files, Net, Run, Secrets

T = TypeVar("T")


class Line(Protocol):
    """The way to the server."""

    def ask(self, method: str, params: dict[str, Any]) -> Awaitable[Any]:
        """Ask, and give the answer. Raises the problem that the server answers with."""
        ...

    def ask_now(self, method: str, params: dict[str, Any]) -> Any:
        """Do the same without letting anything else run meanwhile."""
        ...

    def thread(self, function: Callable[..., T], /, *args: Any) -> Awaitable[T]:
        """Run a blocking function in a thread."""
        ...


class HostedContext:
    """What one call may do. Whatever it asks for, the server decides by the grants of this very call."""

    def __init__(self, line: Line, call: str, operation: Operation, about: words.About) -> None:
        self._line = line
        self._call = call
        self._begun = time.monotonic()
        self._about = about
        self._reaches: dict[str, Any] = {}
        self.operation = operation
        who = about.who
        self.principal = Principal(who.id, who.kind, who.tenant, workspace=who.workspace)
        asked = Call(operation.name, {}, dry_run=about.dry_run, session=about.session)
        self.invocation = Invocation(
            about.invocation, asked, self.principal, about.channel, about.now, about.parent, self._deadline()
        )

    def _deadline(self) -> float | None:
        left = self._about.remaining_s
        return None if left is None else self._begun + left

    @property
    def tenant(self) -> str:
        """Give the tenant in which everything happens."""
        return self.principal.tenant

    @property
    def now(self) -> float:
        """Give epoch seconds, by the server's clock."""
        return self._about.now + time.monotonic() - self._begun

    @property
    def remaining_s(self) -> float | None:
        """Give the seconds left until the deadline; None when there is none."""
        deadline = self._deadline()
        return None if deadline is None else max(0.0, deadline - time.monotonic())

    # ---- judging

    def may(self, resource: Resource) -> bool:
        """Tell whether this operation may also use this resource."""
        return bool(self._ask_now("may", resource=_plain(resource)))

    def may_path(self, path: str, effect: Effect = Effect.READ) -> bool:
        """Tell the same of a real local path."""
        return self.may(Resource("path", "local", path, effect))

    def sees(self, resource: Resource) -> bool:
        """Tell whether the caller may know of a resource."""
        return bool(self._ask_now("sees", resource=_plain(resource)))

    def require(self, resource: Resource) -> None:
        """Go on only if the resource is allowed. Raises `NotFound` or `Denied`."""
        self._ask_now("require", resource=_plain(resource))

    def could(self, operation: str) -> bool:
        """Tell whether some call of another operation could be allowed to this principal."""
        return bool(self._ask_now("could", operation=operation))

    # ---- changing

    @asynccontextmanager
    async def changing(self, what: str | Resource, effect: Effect = Effect.CHANGE) -> AsyncGenerator[Change]:
        """Have the server keep what stands at a resource, then let the body change it."""
        resource = Resource("path", "local", what, effect) if isinstance(what, str) else what
        opened = await self.ask("change.open", resource=_plain(resource))
        change = Change(resource, opened["handle"], opened["before"])
        try:
            yield change
        except BaseException:
            await self.ask("change.close", handle=opened["handle"], failed=True, theirs=change.theirs)
            raise
        await self.ask("change.close", handle=opened["handle"], failed=False, theirs=False)

    async def keep(self, resource: Resource, data: dict[str, Any]) -> Change:
        """Keep the operation's own note of how to take a change back, durable before the effect."""
        kept = await self.ask("keep", resource=_plain(resource), data=data)
        return Change(resource, kept["entry"], None)

    async def put_back(self, kept: Kept) -> None:
        """Make a resource again what it was."""
        await self.ask("put_back", entry=kept.id)

    async def state_of(self, resource: Resource) -> str | None:
        """Give the digest of a resource's present state; None for kinds that have no keeper."""
        return await self.ask("state_of", resource=_plain(resource))

    # ---- calling, waiting

    async def call(self, operation: str, input: dict[str, Any], /) -> Any:
        """Call another operation through the whole line, as the same principal. Raises its problem."""
        return await self.ask("call", operation=operation, input=input)

    async def thread(self, function: Callable[..., T], /, *args: Any) -> T:
        """Run a blocking function in a thread."""
        return await self._line.thread(function, *args)

    async def emit(self, event: dict[str, Any]) -> None:
        """Store one event on this invocation's stream."""
        await self.ask("emit", event=event)

    async def progress(self, text: str, fraction: float | None = None) -> None:
        """Say how far the work is; `fraction` from 0 to 1."""
        await self.emit({"kind": "progress", "text": text, "fraction": fraction})

    # ---- reach

    @property
    def files(self) -> Files:
        """Give files beneath what the call names; only operations that declared the reach `files` have it."""
        return self.reach("files")

    @property
    def net(self) -> Net:
        """Give connections by name; only operations that declared the reach `net` have them."""
        return self.reach("net")

    @property
    def secret(self) -> Secrets:
        """Give the values of secrets; only operations that declared the reach `secret` have it."""
        return self.reach("secret")

    def reach(self, name: str) -> Any:
        """Give a capability that the operation declared. Raises `Internal` otherwise: the manifest is the list."""
        if name not in self.operation.reaches:
            raise Internal(f"`{self.operation.name}` did not declare that it reaches `{name}`")
        if name not in _REACHES:
            raise Unavailable(f"a hosted plugin has no `{name}`", hint="run it as a trusted one, if you trust it")
        return self._reaches.setdefault(name, _REACHES[name](self.ask))

    async def ask(self, method: str, /, **params: Any) -> Any:
        """Ask the server for this call. Raises what it refuses with."""
        return await self._line.ask(method, {"call": self._call, **params})

    def _ask_now(self, method: str, /, **params: Any) -> Any:
        return self._line.ask_now(method, {"call": self._call, **params})

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("_"):
            raise AttributeError(name)
        raise Unavailable(f"a hosted plugin has no `ctx.{name}`", hint="run it as a trusted one, if you trust it")


def _plain(resource: Resource) -> list[Any]:
    return [resource.kind, resource.authority, resource.path, int(resource.effect)]


_REACHES: dict[str, Callable[..., Any]] = {"files": Files, "net": Net, "run": Run, "secret": Secrets}

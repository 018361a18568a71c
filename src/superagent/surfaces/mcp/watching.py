"""Watching: who subscribed hears that lists changed, and that a resource should be read again.

What is told is only that, never what it is now: reading takes the line. One look serves all that watch in a process,
so any worker can tell of what another did. Nobody hears of what it may not read, nor on after its key has ended.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Hashable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from mcp.shared.exceptions import MCPError
from mcp.shared.subscriptions import (
    SUBSCRIPTION_ID_META_KEY,
    PromptsListChanged,
    ResourcesListChanged,
    ResourceUpdated,
    ServerEvent,
    ToolsListChanged,
    event_to_notification,
)
from mcp_types import (
    INVALID_PARAMS,
    EmptyResult,
    NotificationParams,
    SubscribeRequestParams,
    SubscriptionFilter,
    SubscriptionsAcknowledgedNotification,
    SubscriptionsAcknowledgedNotificationParams,
    SubscriptionsListenRequestParams,
    SubscriptionsListenResult,
    UnsubscribeRequestParams,
)

from superagent.core.kernel import Kernel
from superagent.core.limits import Slots
from superagent.core.problems import NotFound, Overloaded, Problem
from superagent.surfaces.mcp.asked import Asked, Known, connection_of
from superagent.surfaces.mcp.callers import Caller
from superagent.surfaces.mcp.naming import document_of

LOOK_S = 0.25
MOST_URIS = 32
MOST_WAITING = 256
"""Events that a stream may have before it; one that is read no more ends, and its client listens again."""
LISTS: dict[str, type[ServerEvent]] = {
    "tools": ToolsListChanged,
    "prompts": PromptsListChanged,
    "resources": ResourcesListChanged,
}
_WATCHER = "superagent.watcher"
Seen = dict[str, Hashable]
Lists = Callable[[Caller], Seen]


@dataclass(eq=False)
class Watcher:
    """Somebody who wants to hear of `lists` and `uris`, and what it saw last."""

    caller: Caller
    tell: Callable[[ServerEvent], None]
    lists: frozenset[str]
    uris: dict[str, Hashable] = field(default_factory=dict[str, Hashable])
    seen: Seen = field(default_factory=dict[str, Hashable])
    versions: tuple[int, int] = (0, 0)


class Watch:
    """Look for all that subscribed, until the door closes."""

    def __init__(self, kernel: Kernel, caller: Known, lists: Lists, operation_of: Callable[[str], str]) -> None:
        self._kernel = kernel
        self._caller = caller
        self._lists = lists
        self._operation_of = operation_of
        self._watchers: set[Watcher] = set()
        self._slots = Slots(per_key=64, in_all=4096, what="subscriptions", hint="end one of yours")
        self._uris = Slots(per_key=128, in_all=1024, what="watched resources", hint="watch fewer")
        self.closing = asyncio.Event()

    async def live(self) -> None:
        """Look until the door closes."""
        while not self.closing.is_set():
            await asyncio.sleep(LOOK_S)
            for one in list(self._watchers):
                try:
                    await self._look(one)
                except Problem:  # its key has ended: it hears nothing any more
                    self._forget(one)
                except Exception as bug:  # of one that watches the others must not suffer
                    self._kernel.hands.fault(self._kernel.hands.clock.new_id(), bug)
                    self._forget(one)

    # ---- the newer revision: a stream

    async def listen(self, asked: Asked, params: SubscriptionsListenRequestParams) -> SubscriptionsListenResult:
        """Tell on the stream of this request, until the client leaves or the door closes."""
        assert asked.request_id is not None
        meta = {SUBSCRIPTION_ID_META_KEY: asked.request_id}
        events: asyncio.Queue[ServerEvent] = asyncio.Queue(MOST_WAITING)
        wanted = params.notifications
        flags = {"tools": wanted.tools_list_changed, "prompts": wanted.prompts_list_changed,
                 "resources": wanted.resources_list_changed}  # fmt: skip
        lists = frozenset(name for name, on in flags.items() if on)
        async with self._watching(self._caller(asked), events.put_nowait, lists) as watcher:
            for uri in list(dict.fromkeys(wanted.resource_subscriptions or ()))[:MOST_URIS]:
                await self._add(watcher, uri)
            agreed = SubscriptionFilter(
                tools_list_changed="tools" in lists or None,
                prompts_list_changed="prompts" in lists or None,
                resources_list_changed="resources" in lists or None,
                resource_subscriptions=list(watcher.uris) or None,
            )
            said = SubscriptionsAcknowledgedNotificationParams(notifications=agreed, _meta=meta)
            await asked.session.send_notification(
                SubscriptionsAcknowledgedNotification(params=said), related_request_id=asked.request_id
            )
            async for event in self._until_closing(watcher, events):
                await asked.session.send_notification(event_to_notification(event, meta), asked.request_id)
        return SubscriptionsListenResult(_meta=meta)

    async def _until_closing(self, watcher: Watcher, events: asyncio.Queue[ServerEvent]) -> AsyncGenerator[ServerEvent]:
        while watcher in self._watchers and not self.closing.is_set():
            try:
                yield await asyncio.wait_for(events.get(), LOOK_S)
            except TimeoutError:
                continue

    # ---- the older revision: a session

    async def begin(self, asked: Asked, params: NotificationParams) -> None:
        """Tell a new session of changes to its lists, as long as it lives."""
        connection, sending = connection_of(asked), set[asyncio.Task[None]]()

        def tell(event: ServerEvent) -> None:
            told = event_to_notification(event, {})
            data = told.model_dump(by_alias=True, mode="json", exclude_none=True)
            if len(sending) < MOST_WAITING:  # whoever has no stream open hears nothing, and lists again when it has
                task = asyncio.create_task(connection.notify(data["method"], data.get("params")))
                sending.add(task)
                task.add_done_callback(sending.discard)

        try:
            watching = self._watching(self._caller(asked), tell, frozenset(LISTS))
            connection.state[_WATCHER] = await connection.exit_stack.enter_async_context(watching)
        except MCPError:  # too many watch: this session lists by itself
            return

    async def subscribe(self, asked: Asked, params: SubscribeRequestParams) -> EmptyResult:
        """Tell a session of changes to a resource. Raises `MCPError`."""
        watcher = self._of(asked)
        if len(watcher.uris) >= MOST_URIS or not await self._add(watcher, params.uri):
            raise MCPError(INVALID_PARAMS, "there is no such resource to watch", {"uri": params.uri[:1000]})
        return EmptyResult()

    async def unsubscribe(self, asked: Asked, params: UnsubscribeRequestParams) -> EmptyResult:
        """Tell of it no more."""
        watcher = self._of(asked)
        if params.uri in watcher.uris:
            del watcher.uris[params.uri]
            self._uris.leave(watcher.caller.principal.bucket)
        return EmptyResult()

    def _of(self, asked: Asked) -> Watcher:
        watcher = connection_of(asked).state.get(_WATCHER)
        if not isinstance(watcher, Watcher) or watcher not in self._watchers:
            raise MCPError(INVALID_PARAMS, "this session hears of nothing", {"hint": "begin another"})
        return watcher

    # ---- looking

    @asynccontextmanager
    async def _watching(
        self, caller: Caller, tell: Callable[[ServerEvent], None], lists: Iterable[str]
    ) -> AsyncGenerator[Watcher]:
        watcher = Watcher(caller, tell, frozenset(lists))
        try:
            self._slots.enter(caller.principal.bucket)
        except Overloaded as problem:
            raise MCPError(-32000, problem.detail, document_of(problem)) from None
        watcher.versions, watcher.seen = self._versions(caller), self._lists(caller)
        self._watchers.add(watcher)
        try:
            yield watcher
        finally:
            self._forget(watcher)
            self._slots.leave(caller.principal.bucket)

    def _forget(self, watcher: Watcher) -> None:
        self._watchers.discard(watcher)
        for _ in watcher.uris:
            self._uris.leave(watcher.caller.principal.bucket)
        watcher.uris = {}

    async def _add(self, watcher: Watcher, uri: str) -> bool:
        """Begin to look at a resource, unless whoever asks may not read it; those it is not told of."""
        if uri in watcher.uris:
            return True
        try:
            state = await self._state(watcher.caller, uri)
            self._uris.enter(watcher.caller.principal.bucket)
        except Problem:
            return False
        watcher.uris[uri] = state
        return True

    def _versions(self, caller: Caller) -> tuple[int, int]:
        return self._kernel.registry.version, self._kernel.policy_of(caller.principal).version

    async def _look(self, one: Watcher) -> None:
        kernel, caller = self._kernel, one.caller
        if not kernel.hands.identity.alive(caller.principal):
            raise NotFound("nobody listens any more")
        if (versions := self._versions(caller)) != one.versions:
            one.versions, now = versions, self._lists(caller)
            for name, event in LISTS.items():
                if now[name] != one.seen[name] and name in one.lists:
                    self._tell(one, event())  # pyright: ignore[reportCallIssue]
            one.seen = now
        for uri, before in list(one.uris.items()):
            try:
                state = await self._state(caller, uri)
            except Problem:
                state = None  # gone, or no longer readable: reading it says so
            if state != before and uri in one.uris:
                one.uris[uri] = state
                self._tell(one, ResourceUpdated(uri))

    def _tell(self, one: Watcher, event: ServerEvent) -> None:
        try:
            one.tell(event)
        except asyncio.QueueFull:
            self._forget(one)

    async def _state(self, caller: Caller, uri: str) -> Hashable:
        """Give what changes when a resource does. Raises `NotFound` for what the caller may not read."""
        kernel = self._kernel
        operation = kernel.find(self._operation_of(uri))
        if operation is None or not kernel.policy_of(caller.principal).may_try(caller.principal, operation):
            raise NotFound("there is no such resource")
        said = operation.face.read(uri) or {}
        if operation.name == "jobs.status":
            held = await kernel.held(caller.principal, said["id"])
            return held.state, tuple(held.invocation.call.answers), len(held.approved_by)
        if operation.name == "catalogue.describe":
            found = kernel.find(said["name"])
            if found is None or not kernel.policy_of(caller.principal).may_try(caller.principal, found):
                raise NotFound("there is no such operation")
            return found.version
        return operation.version

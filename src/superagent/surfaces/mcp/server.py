"""The server: messages of the Model Context Protocol become calls, and outcomes become results.

One server speaks both revisions, 2025-11-25 with its handshake and 2026-07-28 without; the SDK tells them apart. It
decides nothing: every tool is an operation and takes the line, and lists show what their reader may use.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from functools import lru_cache
from importlib.metadata import version
from typing import Any, Protocol, cast

from mcp.server.caching import CacheableMethod, CacheHint
from mcp.server.context import CallNext, HandlerResult
from mcp.server.lowlevel.server import NotificationOptions, Server
from mcp.server.models import InitializationOptions
from mcp.shared.exceptions import MCPError
from mcp_types import (
    INVALID_PARAMS,
    CallToolRequestParams,
    CallToolResult,
    EmptyResult,
    InputRequiredResult,
    ListToolsResult,
    NotificationParams,
    PaginatedRequestParams,
    SetLevelRequestParams,
    SubscribeRequestParams,
    SubscriptionsListenRequestParams,
    Tool,
    UnsubscribeRequestParams,
)

from superagent.core.invocation import Call, Outcome, Status
from superagent.core.kernel import Kernel
from superagent.core.operation import Operation
from superagent.core.problems import Internal, NotFound, Problem
from superagent.core.questions import TASKS
from superagent.surfaces.mcp.asked import Answering, Asked, Plain, able_of, connection_of, page_of
from superagent.surfaces.mcp.callers import CALLER, CHANNEL, Caller
from superagent.surfaces.mcp.calling import Calls
from superagent.surfaces.mcp.fixed import call_of, fixed_tools
from superagent.surfaces.mcp.going import LEVEL, asks, looked_at, refused, to_ask, waited
from superagent.surfaces.mcp.naming import LASTING, RUN, document_of, operation_of
from superagent.surfaces.mcp.projection import length_of, tool_of
from superagent.surfaces.mcp.prompts import Prompts
from superagent.surfaces.mcp.reading import Resources, handlers
from superagent.surfaces.mcp.results import Told, refusal_of, told_of
from superagent.surfaces.mcp.tasks import Tasks
from superagent.surfaces.mcp.watching import Watch

_LISTS: tuple[CacheableMethod, ...] = (
    "tools/list", "prompts/list", "resources/list", "resources/templates/list",
)  # fmt: skip
_CALLS = frozenset({"tools/call", "resources/read", "prompts/get", "tasks/get", "tasks/update", "tasks/cancel"})
_GOES_ON = frozenset({Status.QUEUED, Status.RUNNING, Status.WAITING})
MOST_OWN = 12_000
"""How long the tools of a key with bounds may be in all, characters of JSON, to be listed without being asked for."""

INSTRUCTIONS = """\
Operate this computer through operations. `search_operations` finds them by words, `describe_operation` shows one in
full, `run_operation` calls it. Each call is judged by policy and recorded. A result has `status`: `done` has its
`output`; `waiting` needs a person's approval, so tell your user and ask `jobs_wait` later; an error's `problem` says
what to do in `hint`, and in `fix` which operation cures it. `undo_apply` takes back what you changed."""


class _Server(Server[Any]):
    def create_initialization_options(self, *said: Any, **more: Any) -> InitializationOptions:
        """Say that lists change, where a session can hear of it."""
        hear = self.get_notification_handler("notifications/initialized") is not None
        return super().create_initialization_options(NotificationOptions(hear, hear, hear))


class Wanted(Answering, Protocol):
    """A call of a tool, as far as it is looked at."""

    @property
    def name(self) -> str:
        """Give the tool."""
        ...

    @property
    def arguments(self) -> dict[str, Any] | None:
        """Give what it takes."""
        ...


class Tools:
    """Answer for one installation; `alone` is whose messages these are where no request says so (standard input)."""

    def __init__(self, kernel: Kernel, alone: Caller | None = None) -> None:
        self._kernel = kernel
        self._alone = alone
        self._calls = Calls(kernel)
        self._tasks = Tasks(kernel, self.caller)
        self._resources = Resources(kernel, self.caller, self._calls)
        self.watch = Watch(kernel, self.caller, self._lists, lambda uri: self._resources.meant(uri)[1].operation)

    def server(self, *, sessions: bool) -> Server[Any]:
        """Make the SDK's server with these handlers; in the older revision only `sessions` can hear of changes."""
        prompts = Prompts(self._kernel, self.caller, self._calls)
        server: Server[Any] = _Server(
            "superagent",
            title="Super-Agent",
            version=version("superagent"),
            description="One API through which AI agents safely operate computers.",
            instructions=INSTRUCTIONS,
            cache_hints={method: CacheHint(ttl_ms=60_000, scope="private") for method in _LISTS},
            on_list_tools=self.list_tools,
            get_tool_input_schema=self.input_schema,
            on_list_prompts=prompts.list,
            on_get_prompt=prompts.get,
            **handlers(self._resources),
        )
        server.add_request_handler("tools/call", CallToolRequestParams, self.call_tool)
        server.add_request_handler("logging/setLevel", SetLevelRequestParams, self.set_level)
        self._tasks.add_to(server)
        server.add_request_handler("subscriptions/listen", SubscriptionsListenRequestParams, self.watch.listen)
        if sessions:
            server.add_request_handler("resources/subscribe", SubscribeRequestParams, self.watch.subscribe)
            server.add_request_handler("resources/unsubscribe", UnsubscribeRequestParams, self.watch.unsubscribe)
            server.add_notification_handler("notifications/initialized", NotificationParams, self.watch.begin)
        server.middleware.append(self._charged)
        return server

    def caller(self, asked: Asked) -> Caller:
        """Give who sent a message: of this very request, for a session outlives what its key may do."""
        if asked.request is None:
            assert self._alone is not None
            return self._alone
        found = asked.request.scope[CALLER]
        assert isinstance(found, Caller)
        return found

    async def list_tools(self, asked: Asked, params: PaginatedRequestParams | None) -> ListToolsResult:
        """List the fixed tools, then those of the wanted toolsets, by name."""
        tools = self.tools_for(self.caller(asked))
        page, following = page_of(tools, params)
        return ListToolsResult(tools=page, next_cursor=following)

    def tools_for(self, caller: Caller) -> list[Tool]:
        """Give what a caller is shown. Raises `MCPError` for a toolset that means nothing to it."""
        seen = self._kernel.registry.visible_to(caller.principal, self._kernel.policy_of(caller.principal))
        domains = {one.domain for one in seen}
        unknown = caller.toolsets - domains - {one.name for one in seen} - {"all"}
        if unknown:
            raise MCPError(
                INVALID_PARAMS,
                f"there is no toolset `{min(unknown)}`",
                {"toolsets": sorted(domains), "hint": "a toolset is one of these, an operation's name, or `all`"},
            )
        chosen = _chosen(caller, seen)
        return [*fixed_tools(self._kernel.registry), *(tool_of(one) for one in chosen)]

    async def set_level(self, asked: Asked, params: SetLevelRequestParams) -> EmptyResult:
        """Say from which level on this session wants to hear what operations log (older revision only)."""
        connection_of(asked).state[LEVEL] = params.level
        return EmptyResult()

    async def call_tool(
        self, asked: Asked, params: CallToolRequestParams
    ) -> CallToolResult | InputRequiredResult | dict[str, Any]:
        """Run the operation behind a tool."""
        found = await self.called(asked, self.caller(asked), params)
        return found.result() if isinstance(found, Told) else found

    async def called(
        self, asked: Asked | Plain, caller: Caller, params: Wanted
    ) -> Told | InputRequiredResult | dict[str, Any]:
        """Run the operation behind a tool for a caller. Raises `MCPError` for what is a fault of the message."""
        kernel, principal = self._kernel, caller.principal
        state, goes_on = params.request_state, True
        call, again = (
            Call(params.name[:200], {}, session=caller.session),
            state is not None and not self._calls.seal.ours(state),
        )
        try:
            beside = None if isinstance(asked, Plain) else asked.params  # what came the short way has nothing there
            call = call_of(params.name, params.arguments or {}, asked.meta or {}, kernel.registry.tools, beside)
            if again:
                kernel.beside(principal)
                outcome, goes_on = await looked_at(kernel, principal, params, call)
            else:
                outcome = await self._calls.carry(asked, caller, call, params)
                if isinstance(outcome, InputRequiredResult):
                    return outcome
                if outcome.status is Status.WAITING and not isinstance(asked, Plain):
                    outcome = await waited(kernel, principal, asked, outcome)
        except MCPError:
            raise
        except Problem as problem:
            outcome = refused(kernel, principal, CHANNEL, call, problem, caller.trace)
        except Exception as bug:
            id = kernel.hands.clock.new_id()
            kernel.hands.fault(id, bug)
            return refusal_of(Internal("something broke inside the platform", changed="unknown"), id)
        if isinstance(outcome.problem, NotFound) and params.name != RUN and not self._sees(caller, call.operation):
            # to the protocol a tool that is not there is a fault of the message; one that is hidden is not there
            raise self._unknown(caller, params.name, outcome)
        if outcome.status is Status.WAITING and goes_on and asks(asked):
            return to_ask(outcome, again)
        if outcome.status in _GOES_ON and TASKS in able_of(asked):
            return self._tasks.created(outcome)
        return told_of(outcome, kernel.find(outcome.operation))

    def _unknown(self, caller: Caller, name: str, outcome: Outcome) -> MCPError:
        """Give the fault of a tool that is not there; it names the tools that are called nearly so."""
        registry = self._kernel.registry
        seen = registry.visible_to(caller.principal, self._kernel.policy_of(caller.principal))
        near = ", ".join(f"`{one.tool}`" for one in registry.close_to(name, seen))
        assert outcome.problem is not None
        document = document_of(outcome.problem, outcome.invocation)
        if not near:
            return MCPError(INVALID_PARAMS, f"Unknown tool: {name[:200]}", document)
        hint = f"did you mean {near}? `search_operations` finds others"
        return MCPError(INVALID_PARAMS, f"Unknown tool: {name[:200]}; {hint}", document | {"hint": hint})

    def _lists(self, caller: Caller) -> dict[str, Hashable]:
        """Give what a caller is shown, as far as it matters whether it is the same."""
        seen = self._kernel.registry.visible_to(caller.principal, self._kernel.policy_of(caller.principal))
        wanted = _chosen(caller, seen)
        prompts = [one for one in seen if one.face.prompt]
        found = {"tools": wanted, "prompts": prompts, "resources": seen}
        return {name: tuple((one.name, one.version) for one in some) for name, some in found.items()}

    def _sees(self, caller: Caller, operation: str) -> bool:
        found = self._kernel.find(operation)
        return found is not None and self._kernel.policy_of(caller.principal).may_try(caller.principal, found)

    def meant(self, name: str, arguments: dict[str, Any]) -> Operation | None:
        """Give the operation that a call of a tool means; None for what means none."""
        return self._kernel.find(
            operation_of(self._kernel.registry, "tools/call", {"name": name, "arguments": arguments})
        )

    def input_schema(self, name: str) -> dict[str, Any] | None:
        """Give the schema of a tool of which a header repeats something, for the SDK to compare the two."""
        operation = self._kernel.find(self._kernel.registry.tools.get(name, ""))
        if operation is None:
            return None
        return operation.input_schema if repeats(operation) else None

    async def _charged(self, ctx: Asked, call_next: CallNext) -> HandlerResult:
        """Charge every request that is no call: calls are charged on the line."""
        if ctx.request_id is not None and ctx.method not in _CALLS:
            try:
                self._kernel.beside(self.caller(ctx).principal)
            except Problem as problem:
                raise MCPError(-32000, problem.detail, document_of(problem)) from None
        return await call_next(ctx)


@lru_cache(4096)
def repeats(operation: Operation) -> bool:
    """Tell whether headers repeat something of what an operation takes."""
    fields = cast("dict[str, dict[str, Any]]", operation.input_schema.get("properties", {}))
    return any("x-mcp-header" in field for field in fields.values())


def _chosen(caller: Caller, seen: Iterable[Operation]) -> list[Operation]:
    """Choose what is listed: the toolsets that are wished for, else what a key was made for, if that is not much."""
    tools = [one for one in seen if not one.face.prompt]
    bounds = caller.principal.bounds
    if bounds is not None and not caller.toolsets:
        own = {one.name for one in tools if any(grant.names(one.name) for grant in bounds.own)}
        if sum(length_of(one) for one in tools if one.name in own) <= MOST_OWN:
            return [one for one in tools if one.name in own | LASTING]
    return [one for one in tools if _wanted(one, caller.toolsets)]


def _wanted(operation: Operation, toolsets: frozenset[str]) -> bool:
    return bool({operation.name, operation.domain, "all"} & toolsets) or operation.name in LASTING

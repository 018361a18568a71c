"""Prompts: how a conversation may begin. Each is an operation that gives messages, and takes the line like all."""

from __future__ import annotations

from typing import Any, cast

from mcp.shared.exceptions import MCPError
from mcp_types import (
    INVALID_PARAMS,
    GetPromptRequestParams,
    GetPromptResult,
    InputRequiredResult,
    ListPromptsResult,
    PaginatedRequestParams,
    Prompt,
    PromptArgument,
)

from superagent.core.invocation import Call, Status
from superagent.core.kernel import Kernel
from superagent.core.operation import Operation
from superagent.surfaces.mcp.asked import Asked, Known, page_of
from superagent.surfaces.mcp.blocks import messages_of
from superagent.surfaces.mcp.callers import Caller
from superagent.surfaces.mcp.calling import Calls
from superagent.surfaces.mcp.naming import document_of
from superagent.surfaces.mcp.projection import title_of


class Prompts:
    """Answer what is asked about prompts."""

    def __init__(self, kernel: Kernel, caller: Known, calls: Calls) -> None:
        self._kernel = kernel
        self._caller = caller
        self._calls = calls

    async def list(self, asked: Asked, params: PaginatedRequestParams | None) -> ListPromptsResult:
        """List the prompts that the caller may use, by name."""
        page, following = page_of(self.seen(self._caller(asked)), params)
        return ListPromptsResult(prompts=[prompt_of(one) for one in page], next_cursor=following)

    async def get(self, asked: Asked, params: GetPromptRequestParams) -> GetPromptResult | InputRequiredResult:
        """Give one, by the operation behind it. Raises `MCPError` for what is no prompt, and for what is refused."""
        caller = self._caller(asked)
        named = self._kernel.find(self._kernel.registry.tools.get(params.name, ""))
        operation = named.name if named is not None and named.face.prompt else f"prompts/get {params.name[:100]}"
        call = self._calls.treated(asked, caller, Call(operation, dict(params.arguments or {})))
        outcome = await self._calls.carry(asked, caller, call, params)
        if isinstance(outcome, InputRequiredResult):
            return outcome
        if outcome.problem is not None or named is None:
            problem = outcome.problem
            assert problem is not None
            raise MCPError(INVALID_PARAMS, problem.detail, document_of(problem, outcome.invocation))
        if outcome.status is not Status.DONE:
            hint = "`jobs_status` shows what becomes of it"
            raise MCPError(INVALID_PARAMS, f"this is {outcome.status.value}: {outcome.invocation}", {"hint": hint})
        return GetPromptResult(description=named.summary, messages=messages_of(outcome.output))

    def seen(self, caller: Caller) -> list[Operation]:
        """Give the prompts that a caller may use."""
        seen = self._kernel.registry.visible_to(caller.principal, self._kernel.policy_of(caller.principal))
        return [one for one in seen if one.face.prompt]


def prompt_of(operation: Operation) -> Prompt:
    """Give the prompt of an operation: what it takes are texts."""
    schema = operation.input_schema
    fields = cast("dict[str, dict[str, Any]]", schema.get("properties", {}))
    needed = set(cast("list[str]", schema.get("required", [])))
    arguments = [
        PromptArgument(name=name, description=field.get("description"), required=name in needed)
        for name, field in fields.items()
    ]
    return Prompt(
        name=operation.tool, title=title_of(operation.name), description=operation.description, arguments=arguments
    )

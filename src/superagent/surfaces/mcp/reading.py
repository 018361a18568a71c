"""Resources: whatever operations read by an address (`op://files.read`), each by the operation behind it."""

from __future__ import annotations

from typing import Any, cast

from mcp.shared.exceptions import MCPError
from mcp_types import (
    INVALID_PARAMS,
    BlobResourceContents,
    CompleteRequestParams,
    CompleteResult,
    Completion,
    InputRequiredResult,
    ListResourcesResult,
    ListResourceTemplatesResult,
    PaginatedRequestParams,
    ReadResourceRequestParams,
    ReadResourceResult,
    Resource,
    ResourceTemplate,
    ResourceTemplateReference,
    TextResourceContents,
)

from superagent.core.invocation import Call, Outcome
from superagent.core.kernel import Kernel
from superagent.core.media import Media
from superagent.core.operation import Operation
from superagent.core.problems import NotFound, Problem
from superagent.surfaces.mcp.asked import Asked, Known, modern, page_of
from superagent.surfaces.mcp.blocks import contents_of
from superagent.surfaces.mcp.callers import Caller
from superagent.surfaces.mcp.calling import Calls
from superagent.surfaces.mcp.naming import document_of
from superagent.surfaces.mcp.projection import title_of

OPERATION = "op://"
MOST_VALUES = 100
_JSON = "application/json"
_NO_RESOURCE = -32002  # what the older revision calls a resource that is not there


class Resources:
    """Answer what is asked about resources, and complete what is being typed."""

    def __init__(self, kernel: Kernel, caller: Known, calls: Calls) -> None:
        self._kernel = kernel
        self._caller = caller
        self._calls = calls
        self._by: tuple[int, list[Operation]] = (0, [])

    async def list(self, asked: Asked, params: PaginatedRequestParams | None) -> ListResourcesResult:
        """List what the caller may read by an address of its own, and the operations that it may use, by name."""
        page, following = page_of(self.listed(self._caller(asked)), params)
        return ListResourcesResult(resources=page, next_cursor=following)

    def listed(self, caller: Caller) -> list[Resource]:
        """Give what is listed to a caller."""
        seen = self._seen(caller)
        fixed = [_resource(one, one.face.uri) for one in seen if one.face.uri and not one.face.places]
        return [*fixed, *(_resource(one, f"{OPERATION}{one.name}", _JSON) for one in seen)]

    async def templates(self, asked: Asked, params: PaginatedRequestParams | None) -> ListResourceTemplatesResult:
        """List what can be read by an address that says what."""
        found = [
            ResourceTemplate(
                name=one.tool, title=title_of(one.name), uri_template=one.face.uri, description=one.summary,
                mime_type=None if _shows(one) else _JSON,
            )
            for one in self._seen(self._caller(asked))
            if one.face.places
        ]  # fmt: skip
        page, following = page_of(found, params)
        return ListResourceTemplatesResult(resource_templates=page, next_cursor=following)

    async def read(self, asked: Asked, params: ReadResourceRequestParams) -> ReadResourceResult | InputRequiredResult:
        """Read one, by the operation behind it."""
        operation, call = self.meant(params.uri)
        caller = self._caller(asked)
        call = self._calls.treated(asked, caller, call)
        outcome = await self._calls.carry(asked, caller, call, params)
        if isinstance(outcome, InputRequiredResult):
            return outcome
        problem = outcome.problem
        if problem is not None:
            raise _refused(asked, params.uri, outcome, problem)
        return ReadResourceResult(contents=_contents(operation, outcome, params.uri))

    def meant(self, uri: str) -> tuple[Operation | None, Call]:
        """Give the operation behind an address, and the call that reads it; one that nobody has means nothing."""
        registry = self._kernel.registry
        if self._by[0] != registry.version:
            self._by = (registry.version, [one for one in registry if one.face.uri])
        for one in self._by[1]:
            said = one.face.read(uri)
            if said is not None:
                return one, Call(one.name, said)
        return None, Call("resources/read", {})

    async def complete(self, asked: Asked, params: CompleteRequestParams) -> CompleteResult:
        """Complete the name of an operation that the caller may use, or a choice that an operation offers."""
        caller, begun, name = self._caller(asked), params.argument.value, params.argument.name
        if isinstance(params.ref, ResourceTemplateReference):
            by = next((one for one in self._seen(caller) if one.face.uri == params.ref.uri), None)
            names = by is not None and params.ref.uri.startswith(OPERATION)
        else:
            tools = self._kernel.registry.tools
            by = next((one for one in self._seen(caller) if one.name == tools.get(params.ref.name)), None)
            names = False
        offered = [one.name for one in self._seen(caller)] if names else [] if by is None else _choices(by, name)
        found = [one for one in offered if one.startswith(begun)]
        shown = found[:MOST_VALUES]
        return CompleteResult(completion=Completion(values=shown, total=len(found), has_more=len(shown) < len(found)))

    def _seen(self, caller: Caller) -> list[Operation]:
        return self._kernel.registry.visible_to(caller.principal, self._kernel.policy_of(caller.principal))


def _choices(operation: Operation, argument: str) -> list[str]:
    fields = cast("dict[str, dict[str, Any]]", operation.input_schema.get("properties", {}))
    return [one for one in fields.get(argument, {}).get("enum", []) if isinstance(one, str)]


def _shows(operation: Operation) -> bool:
    return issubclass(operation.shape.result, Media)


def _resource(operation: Operation, uri: str, mime_type: str | None = None) -> Resource:
    return Resource(uri=uri, name=operation.name, description=operation.summary, mime_type=mime_type)


def _contents(
    operation: Operation | None, outcome: Outcome, uri: str
) -> list[TextResourceContents | BlobResourceContents]:
    if operation is not None and _shows(operation) and outcome.output:
        return contents_of(outcome.output, uri)
    return [TextResourceContents(uri=uri, mime_type=_JSON, text=outcome.output.decode() or "null")]


def _refused(asked: Asked, uri: str, outcome: Outcome, problem: Problem) -> MCPError:
    code = INVALID_PARAMS if modern(asked) or not isinstance(problem, NotFound) else _NO_RESOURCE
    return MCPError(code, problem.detail, {"uri": uri[:1000], **document_of(problem, outcome.invocation)})


def handlers(resources: Resources) -> dict[str, Any]:
    """Give what the SDK's server is made with."""
    return {
        "on_list_resources": resources.list,
        "on_list_resource_templates": resources.templates,
        "on_read_resource": resources.read,
        "on_completion": resources.complete,
    }

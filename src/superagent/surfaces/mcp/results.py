"""Results: what came of a call, as a tool's result. An outcome is told whole: what was done, and how it is undone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec
from mcp_types import CallToolResult, ContentBlock, TextContent

from superagent.core.invocation import Outcome, Status
from superagent.core.media import Media
from superagent.core.operation import Operation
from superagent.core.problems import Problem
from superagent.surfaces.mcp.blocks import shown_of
from superagent.surfaces.mcp.naming import document_of

WAITING = (
    "A person has to approve this first; nothing was done yet. Tell your user, and do not make the call again:"
    " `jobs_wait` with this invocation waits for the end, `jobs_status` shows what came of it."
)
QUEUED = "This goes on in the background: `jobs_wait` with this invocation waits for its end, `jobs_status` shows it."
ASKING = "This job asks for something: `jobs_status` shows what, `run_operation` of `jobs.answer` gives it."
STORED = "The output is long and was stored: read it in pieces with `read_result` and this handle."
PREVIEWED = "This was a dry run: nothing was done."

_HINTS = {
    Status.WAITING: WAITING,
    Status.QUEUED: QUEUED,
    Status.RUNNING: QUEUED,
    Status.ASKING: ASKING,
    Status.PREVIEWED: PREVIEWED,
}
_FAILED = frozenset({Status.FAILED, Status.CANCELLED, Status.EXPIRED, Status.UNKNOWN})


@dataclass(frozen=True, slots=True)
class Told:
    """A result: the structured content as JSON, and the blocks that stand before it as text."""

    content: bytes
    blocks: list[ContentBlock]
    failed: bool

    def result(self) -> CallToolResult:
        """Give it as the SDK takes it."""
        text = TextContent(type="text", text=self.content.decode())
        content = msgspec.json.decode(self.content)
        return CallToolResult(content=[*self.blocks, text], structured_content=content, is_error=self.failed)


def told_of(outcome: Outcome, operation: Operation | None = None) -> Told:
    """Give the result of a call; one that failed is an error that says what to do about it.

    What the operation shows stands first, as blocks; the structured content does not hold it a second time.
    """
    told: dict[str, Any] = {"invocation": outcome.invocation, "status": outcome.status.value}
    blocks: list[ContentBlock] = []
    if outcome.output:
        if outcome.status is Status.PREVIEWED:
            told["preview"] = msgspec.Raw(outcome.output)
        elif operation is not None and issubclass(operation.shape.result, Media):
            blocks = shown_of(outcome.output)
        else:
            told["output"] = msgspec.Raw(outcome.output)
    document = outcome.plain() if outcome.effects or outcome.undo or outcome.isolation or outcome.cost else {}
    for name in ("effects", "undo", "isolation", "cost"):
        if document.get(name):
            told[name] = document[name]
    if outcome.handle:
        told |= {"handle": outcome.handle, "hint": STORED}
    elif outcome.status in _HINTS:
        told["hint"] = _HINTS[outcome.status]
    if outcome.problem is not None:
        return _error(told, outcome.problem, outcome.invocation)
    return Told(msgspec.json.encode(told), blocks, outcome.status in _FAILED)


def refusal_of(problem: Problem, invocation: str = "") -> Told:
    """Give the result of what never became a call."""
    return _error({"status": Status.FAILED.value}, problem, invocation)


def _error(told: dict[str, Any], problem: Problem, invocation: str) -> Told:
    document = document_of(problem, invocation)
    if problem.retry_after_s is not None:
        document["retry_after_s"] = problem.retry_after_s
    return Told(msgspec.json.encode(told | {"problem": document}), [], failed=True)

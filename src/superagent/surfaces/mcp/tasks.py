"""Tasks (the extension `io.modelcontextprotocol/tasks`): a view of jobs. A job goes on whether one looks or not.

Each message is an operation on that job (`jobs.status`, `jobs.answer`, `jobs.cancel`) and takes the line like all.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
from mcp.server.lowlevel.server import Server
from mcp.shared.exceptions import MCPError
from mcp_types import HEADER_MISMATCH, INTERNAL_ERROR, INVALID_PARAMS, METHOD_NOT_FOUND, InputResponse, RequestParams
from pydantic import TypeAdapter, ValidationError

from superagent.core.invocation import Call, Outcome, Status
from superagent.core.kernel import Kernel
from superagent.core.problems import Conflict, Internal, NeedsClient, NeedsInput, NotFound, Problem
from superagent.core.questions import TASKS
from superagent.surfaces.mcp.asked import EXTENSION, Asked, Known, able_of, modern
from superagent.surfaces.mcp.callers import CHANNEL, Caller
from superagent.surfaces.mcp.naming import document_of
from superagent.surfaces.mcp.results import told_of
from superagent.surfaces.mcp.rounds import answers_of, lacks, request_of

KEPT_MS = 7 * 86_400_000
"""How long a job is kept at least, from its end on."""
POLL_MS = 500
_NAME = b"mcp-name"
_RESPONSES: TypeAdapter[InputResponse] = TypeAdapter(InputResponse)
_MEANS = {
    Status.WAITING: "working",
    Status.QUEUED: "working",
    Status.RUNNING: "working",
    Status.ASKING: "input_required",
    Status.CANCELLED: "cancelled",
}
_SAYS = {
    Status.WAITING: "waits for a person's approval; what a client answers approves nothing",
    Status.QUEUED: "waits for its turn",
}


class TaskParams(RequestParams):
    """Which task is meant."""

    task_id: str


class TaskAnswers(TaskParams):
    """Answers to what a task asks, each checked on its own: what nobody can read is as if it was not there."""

    input_responses: dict[str, Any]


class Tasks:
    """Answer what is asked about tasks."""

    def __init__(self, kernel: Kernel, caller: Known) -> None:
        self._kernel = kernel
        self._caller = caller

    def add_to(self, server: Server[Any]) -> None:
        """Let a server answer these messages, and say that it does."""
        server.extensions[EXTENSION] = {}
        server.add_request_handler("tasks/get", TaskParams, self.get)
        server.add_request_handler("tasks/update", TaskAnswers, self.update)
        server.add_request_handler("tasks/cancel", TaskParams, self.cancel)

    def created(self, outcome: Outcome) -> dict[str, Any]:
        """Give the result of a call that goes on as a task; it is stored by now."""
        now = _time(self._kernel.hands.clock.now())
        return {"resultType": "task", **_task(outcome.invocation, outcome.status, now, now)}

    async def get(self, asked: Asked, params: TaskParams) -> dict[str, Any]:
        """Give how a task stands, with its result once it has ended and with what it asks while it does."""
        caller = self._gate(asked, params)
        told = msgspec.json.decode((await self._run(caller, "jobs.status", {"id": params.task_id})).output)
        state = Status(told["status"])
        since = told["at"]
        changed = told.get("ended") or told.get("started") or since
        task = _task(params.task_id, state, _time(since), _time(changed))
        progress = told.get("progress")
        if progress and task["status"] == "working":
            task["statusMessage"] = progress["text"]
        outcome = await self._kernel.hands.work.outcome(caller.principal.tenant, params.task_id)
        return task if outcome is None else task | self._end(outcome)

    async def update(self, asked: Asked, params: TaskAnswers) -> dict[str, Any]:
        """Answer what a task asks; what it did not ask is left out."""
        caller = self._gate(asked, params)
        read = {name: _response(one) for name, one in params.input_responses.items()}
        answers = answers_of({name: one for name, one in read.items() if one is not None})
        if answers:
            await self._run(caller, "jobs.answer", {"id": params.task_id, "answers": answers})
        else:
            await self._run(caller, "jobs.status", {"id": params.task_id})
        return {}

    async def cancel(self, asked: Asked, params: TaskParams) -> dict[str, Any]:
        """Stop a task; one that has ended stays as it is."""
        caller = self._gate(asked, params)
        await self._run(caller, "jobs.cancel", {"id": params.task_id}, but=Conflict)
        return {}

    def _gate(self, asked: Asked, params: TaskParams) -> Caller:
        if not modern(asked):
            raise MCPError(METHOD_NOT_FOUND, "Method not found", asked.method)
        if TASKS not in able_of(asked):
            raise lacks(NeedsClient("this client does not say that it follows tasks", needs=[TASKS]))
        headers = dict[bytes, bytes](asked.request.scope["headers"]) if asked.request is not None else {}
        if headers.get(_NAME, params.task_id.encode()) != params.task_id.encode():
            raise MCPError(HEADER_MISMATCH, "`Mcp-Name` names another task than the message")
        return self._caller(asked)

    async def _run(
        self, caller: Caller, operation: str, input: dict[str, Any], but: type[Problem] | None = None
    ) -> Outcome:
        outcome = await self._kernel.run(Call(operation, input), caller.principal, CHANNEL, trace=caller.trace)
        problem = outcome.problem
        if problem is not None and not (but is not None and isinstance(problem, but)):
            code = INVALID_PARAMS if problem.status < 500 else INTERNAL_ERROR
            detail = "there is no such task" if isinstance(problem, NotFound) else problem.detail
            raise MCPError(code, detail, document_of(problem, outcome.invocation))
        return outcome

    def _end(self, outcome: Outcome) -> dict[str, Any]:
        problem = outcome.problem
        if isinstance(problem, NeedsInput) and outcome.status is Status.ASKING:
            requests = {one.name: request_of(one) for one in problem.asks}
            return {"inputRequests": {name: _plain(one) for name, one in requests.items()}}
        if outcome.status is Status.CANCELLED:
            return {}
        if isinstance(problem, Internal) or outcome.status is Status.UNKNOWN:
            detail = problem.detail if problem is not None else "nobody knows what became of it"
            data = document_of(problem, outcome.invocation) if problem is not None else {}
            return {"status": "failed", "error": {"code": INTERNAL_ERROR, "message": detail, "data": data}}
        return {"result": _plain(told_of(outcome, self._kernel.find(outcome.operation)).result())}


def _response(said: Any) -> InputResponse | None:
    try:
        return _RESPONSES.validate_python(said, by_name=False)
    except ValidationError:
        return None


def _task(id: str, state: Status, since: str, changed: str) -> dict[str, Any]:
    task = {
        "taskId": id, "status": _MEANS.get(state, "completed"), "createdAt": since, "lastUpdatedAt": changed,
        "ttlMs": KEPT_MS, "pollIntervalMs": POLL_MS,
    }  # fmt: skip
    return task | ({"statusMessage": _SAYS[state]} if state in _SAYS else {})


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _plain(model: Any) -> dict[str, Any]:
    return model.model_dump(by_alias=True, mode="json", exclude_none=True)

"""Views: an invocation as a task. Nothing of a task is stored: what is shown is the stored call and what came of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec
from a2a.types.a2a_pb2 import Artifact, Message, Part, Role, Task, TaskState, TaskStatus
from google.protobuf.json_format import ParseDict, ParseError
from google.protobuf.struct_pb2 import Struct, Value
from google.protobuf.timestamp_pb2 import Timestamp

from superagent.core.invocation import Call, Outcome, Status
from superagent.core.ports import Held

OUTCOME = "superagent/outcome"
"""The key of a task's metadata under which the outcome stands, without its output."""

OPERATION = "superagent/operation"
OUTPUT = "output"
"""The name of the one artifact that a task has."""

OPEN = frozenset({Status.WAITING, Status.QUEUED, Status.RUNNING, Status.ASKING})
ASKED = frozenset({Status.WAITING, Status.ASKING})
"""The states in which somebody has to do something first: a person approves, or the caller answers."""

STATES = {
    Status.WAITING: TaskState.TASK_STATE_INPUT_REQUIRED,
    Status.ASKING: TaskState.TASK_STATE_INPUT_REQUIRED,
    Status.QUEUED: TaskState.TASK_STATE_SUBMITTED,
    Status.RUNNING: TaskState.TASK_STATE_WORKING,
    Status.DONE: TaskState.TASK_STATE_COMPLETED,
    Status.PREVIEWED: TaskState.TASK_STATE_COMPLETED,
    Status.UNDONE: TaskState.TASK_STATE_COMPLETED,
    Status.FAILED: TaskState.TASK_STATE_FAILED,
    Status.EXPIRED: TaskState.TASK_STATE_FAILED,
    Status.UNKNOWN: TaskState.TASK_STATE_FAILED,
    Status.CANCELLED: TaskState.TASK_STATE_CANCELED,
}
_EXACT = 2**53
_JSON = "application/json"
_WAITS = (
    "This waits for a person's approval; nothing was done yet. Whoever may approve it does so by"
    " `superagent approvals approve {id}`. A further message approves nothing: get the task again, or subscribe to it."
)
_PREVIEWED = "This was a dry run: nothing was done."


@dataclass(frozen=True, slots=True)
class View:
    """What is known of one invocation when a task is made of it. `refused` are calls that were never admitted."""

    id: str
    operation: str
    status: Status
    at: float
    context: str = ""
    outcome: Outcome | None = None
    refused: bool = False
    asked: Call | None = None

    @property
    def over(self) -> bool:
        """Tell whether nothing more happens to it."""
        return self.refused or self.status not in OPEN


def view_of(held: Held, outcome: Outcome | None) -> View:
    """Give the view of a stored invocation; what came of it counts more than its state, which lags behind."""
    call = held.invocation.call
    status = outcome.status if outcome is not None and held.state not in OPEN else held.state
    return View(held.id, call.operation, status, changed_at(held), call.session, outcome, asked=call)


def changed_at(held: Held) -> float:
    """Give when it last changed (epoch seconds)."""
    return held.ended or held.started or held.at


def task_of(view: View, *, artifacts: bool = True, history: int = 0) -> Task:
    """Give the task: its state, what came of it as an artifact, the rest of the outcome as metadata.

    `history` is how many of its messages come along, the newest: who asks for none gets none.
    """
    task = Task(id=view.id, context_id=view.context, status=status_of(view))
    told: dict[str, Any] = {OPERATION: view.operation}
    if view.outcome is not None:
        document = view.outcome.plain()
        document.pop("output", None)
        told[OUTCOME] = document
        if artifacts and (artifact := artifact_of(view)) is not None:
            task.artifacts.append(artifact)
    task.metadata.CopyFrom(_struct(told))
    if history > 0:
        task.history.extend(_messages(view, task)[-history:])
    return task


def _messages(view: View, task: Task) -> list[Message]:
    """Give what was said, oldest first: the call as it is stored, its secrets blank, and what its state says of it."""
    found: list[Message] = []
    if view.asked is not None:
        parts = [data_part({"operation": view.asked.operation, "input": view.asked.input})]
        parts += [Part(text=view.asked.reason)] if view.asked.reason else []
        asked = said(view, f"{view.id}-asked", parts)
        asked.role = Role.ROLE_USER
        found.append(asked)
    if task.status.HasField("message"):
        found.append(task.status.message)
    return found


def status_of(view: View) -> TaskStatus:
    """Give the state with what there is to say about it."""
    state = TaskState.TASK_STATE_REJECTED if view.refused else STATES[view.status]
    status = TaskStatus(state=state, timestamp=_time(view.at))
    parts = _said(view)
    if parts:
        status.message.CopyFrom(said(view, f"{view.id}-{view.status.value}", parts))
    return status


def said(view: View, id: str, parts: list[Part]) -> Message:
    """Give a message of ours about a task."""
    return Message(message_id=id, context_id=view.context, task_id=view.id, role=Role.ROLE_AGENT, parts=parts)


def _said(view: View) -> list[Part]:
    outcome = view.outcome
    problem = outcome.problem if outcome is not None else None
    if problem is not None:
        document = problem.document(view.id)
        if problem.retry_after_s is not None:
            document["retry_after_s"] = problem.retry_after_s
        text = document["detail"] + (f" — {problem.hint}" if problem.hint else "")
        return [Part(text=text), data_part({"problem": document})]
    if view.status is Status.WAITING:
        return [Part(text=_WAITS.format(id=view.id))]
    return [Part(text=_PREVIEWED)] if view.status is Status.PREVIEWED else []


def artifact_of(view: View) -> Artifact | None:
    """Give the output as an artifact, None when there is none."""
    outcome = view.outcome
    if outcome is None or not (outcome.output or outcome.handle):
        return None
    artifact = Artifact(artifact_id=OUTPUT, name=view.operation)
    if outcome.handle:
        artifact.description = "The output is long and was stored: read it by `result.read` with this handle."
        artifact.parts.append(data_part({"handle": outcome.handle}))
    if outcome.output:
        artifact.parts.append(data_part(msgspec.json.decode(outcome.output)))
    return artifact


def data_part(value: Any) -> Part:
    """Give a data part; as JSON text where that could not hold it: its numbers are doubles, its depth bounded."""
    if _exact(value):
        try:
            return Part(data=ParseDict(value, Value()), media_type=_JSON)
        except ParseError:
            pass
    return Part(text=msgspec.json.encode(value).decode(), media_type=_JSON)


def _exact(value: Any) -> bool:
    if isinstance(value, dict):
        return all(map(_exact, value.values()))  # pyright: ignore[reportUnknownArgumentType]
    if isinstance(value, list):
        return all(map(_exact, value))  # pyright: ignore[reportUnknownArgumentType]
    return not isinstance(value, int) or isinstance(value, bool) or abs(value) < _EXACT


def _struct(value: dict[str, Any]) -> Struct:
    try:
        return ParseDict(value if _exact(value) else {OPERATION: value[OPERATION]}, Struct())
    except ParseError:
        return ParseDict({OPERATION: value[OPERATION]}, Struct())


def _time(at: float) -> Timestamp:
    stamp = Timestamp()
    stamp.FromMilliseconds(int(at * 1000))
    return stamp

"""What is told of jobs."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from superagent.sdk import Output

State = Literal[
    "waiting",
    "queued",
    "running",
    "asking",
    "done",
    "failed",
    "cancelled",
    "expired",
    "previewed",
    "undone",
    "interrupted",
]
Stream = Literal["stdout", "stderr"]
Signal = Literal["HUP", "INT", "QUIT", "KILL", "USR1", "USR2", "TERM", "CONT", "STOP", "WINCH"]
Id = Annotated[str, Field(min_length=1, max_length=100)]


class Progress(Output):
    """How far the work says it is; `fraction` from 0 to 1."""

    text: str
    fraction: float | None = None


class Job(Output):
    """A job in a list: times are epoch seconds, `retry_of` the job that it repeats, `schedule` what started it."""

    invocation: str
    operation: str
    state: State
    owner: str
    name: str | None = None
    at: float
    started: float | None = None
    ended: float | None = None
    retry_of: str | None = None
    schedule: str | None = None


class Listed(Output):
    """One page of jobs, newest first; `cursor` asks for the next, None on the last."""

    jobs: list[Job]
    cursor: str | None = None


class Standing(Output):
    """An invocation: its state, how far it is, how what it runs is limited, and its outcome once it was stored.

    `status` is that of the invocation and `state` that of the job: `unknown` reads `interrupted` there. `contained`
    says how the command of the job is isolated, which limits hold, and when it is ended at the latest (`until`).
    """

    invocation: str
    operation: str
    status: str
    state: State
    at: float
    owner: str | None = None
    name: str | None = None
    started: float | None = None
    ended: float | None = None
    retry_of: str | None = None
    schedule: str | None = None
    progress: Progress | None = None
    contained: dict[str, Any] | None = None
    outcome: dict[str, Any] | None = None


class Log(Output):
    """A piece of what a job wrote to one stream.

    Offsets count bytes from the job's beginning; `next` is where to read on. The oldest byte kept is `first`; `missed`
    of those asked for are kept no more. `over` says that nothing more will come.
    """

    invocation: str
    stream: Stream
    text: str
    encoding: Literal["utf-8", "base64"]
    offset: int
    next: int
    first: int
    end: int
    missed: int
    over: bool


class Awaited(Output):
    """One job that was waited for."""

    invocation: str
    state: State
    ended: bool


class AwaitedAll(Output):
    """How the jobs stand; `done` says that what was waited for has come, and not only the end of the wait."""

    jobs: list[Awaited]
    done: bool


class Stopped(Output):
    """The state after the request to stop; `running` is a job that has been asked to end and has not yet.

    `undone` says that what it had changed was taken
    back, `why_not` why nothing was.
    """

    invocation: str
    status: str
    undone: bool = False
    why_not: str | None = None


class Signalled(Output):
    """A signal was sent, or left for the process that runs the job."""

    invocation: str
    signal: Signal


class Asked(Output):
    """Something that a job asks; `schema` is what fits a form."""

    model_config = ConfigDict(frozen=True, extra="forbid", serialize_by_alias=True)

    name: str
    kind: Literal["form", "model", "folders"]
    text: str
    fits: Annotated[dict[str, Any] | None, Field(alias="schema")] = None


class Answered(Output):
    """The job, and what it still asks; with nothing left it goes on."""

    invocation: str
    asks: list[Asked]


class Again(Output):
    """The new job, and the one that it repeats."""

    invocation: str
    retry_of: str
    status: str


class Forgotten(Output):
    """The jobs of which nothing is stored any more."""

    invocations: list[str]

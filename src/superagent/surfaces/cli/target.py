"""Targets: where a call goes, what it asks, and what comes back, the same for a server and for the embedded kernel."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol, cast

DONE, FAILED, USAGE, DENIED, WAITING, UNAVAILABLE = range(6)
"""The exit codes of the contract."""

_BY_PROBLEM = {401: DENIED, 403: DENIED, 428: DENIED, 503: UNAVAILABLE}
_BY_STATE = {"waiting": WAITING, "failed": FAILED, "cancelled": FAILED, "expired": FAILED, "unknown": FAILED}


@dataclass(frozen=True, slots=True)
class Request:
    """One call as it was typed (rules.md 4); `deadline_s` None for the operation's own."""

    operation: str
    input: dict[str, Any]
    key: str = ""
    dry_run: bool = False
    deadline_s: float | None = None
    reason: str = ""
    session: str = ""
    queued: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """An outcome (`status` below 400) or a problem, as the contract's JSON object."""

    status: int
    document: dict[str, Any]

    @property
    def refused(self) -> bool:
        """Tell whether this is a problem."""
        return self.status >= 400

    @property
    def exit_code(self) -> int:
        """Give the exit code that says the same."""
        if self.refused:
            return _BY_PROBLEM.get(self.status, FAILED)
        status = str(self.document.get("status", ""))
        output = cast("dict[str, Any]", self.document.get("output") or {})
        if status == "previewed":
            return FAILED if output.get("conflicts") or _ran_badly(output) else DONE
        return FAILED if status == "done" and _ran_badly(output) else _BY_STATE.get(status, DONE)


def _ran_badly(output: dict[str, Any]) -> bool:
    """Tell whether what a call ran has failed, met a limit, or found faults, while the call itself was done."""
    if "session" in output:  # a shell goes on after a command that failed in it; of a snippet the exception is told
        return "error" in output and bool(output["error"] or output.get("ended") not in (None, "exited"))
    if output.keys() >= {"written", "changed", "failed"}:  # of a formatter, which may only check
        return bool(output["failed"] or (output["changed"] and not output["written"]))
    said = output.get("said")  # of a tool with a report, how it ended stands in what it said besides
    ended = cast("dict[str, Any]", said) if isinstance(said, dict) else output
    return "exit_code" in ended and bool(ended["exit_code"] != 0 or ended.get("limit") or output.get("diagnostics"))


class Refused(Exception):
    """A call that had to succeed for the command to go on was answered with a problem."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.document.get("detail", ""))
        self.answer = answer


@dataclass(frozen=True, slots=True)
class Event:
    """One event of a stream; `kind` is `message`, `outcome`, or a kind of audit record."""

    kind: str
    data: dict[str, Any]


class Target(Protocol):
    """Something that takes calls."""

    lasting: bool
    """Whether it goes on after this command has ended, so that work can be left with it."""

    def call(self, request: Request) -> Answer:
        """Run one call."""
        ...

    def prove(self, proof: str) -> None:
        """Act by a proof from now on: what `signin.prove` gave for the key that it acted by."""
        ...

    def follow(self, invocation: str) -> Iterator[Event]:
        """Give an invocation's events from its first, then its outcome. Raises `Refused` or a problem."""
        ...

    def feed(self) -> Iterator[Event]:
        """Give what happens from now on, for ever. Raises `Refused` or a problem."""
        ...

    def download(self, handle: str) -> Iterator[bytes]:
        """Give the bytes of a stored result. Raises `Refused` or a problem."""
        ...

    def close(self) -> None:
        """Let go of it."""
        ...


def output_of(target: Target, operation: str, **input: Any) -> dict[str, Any]:
    """Run an operation and give its output. Raises `Refused`."""
    answer = target.call(Request(operation, input))
    if answer.exit_code != DONE:
        raise Refused(answer)
    found: dict[str, Any] = answer.document["output"]
    return found

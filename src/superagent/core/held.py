"""Held: a ticket that is stored, because it waits or runs in the background."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from superagent.core.invocation import Call, Invocation, Status
from superagent.core.problems import NotFound


@dataclass(frozen=True, slots=True)
class Held:
    """A stored ticket: an invocation that waits for approval or for its turn. `until` and `at` in epoch seconds.

    The invocation's secret inputs are blank; `sealed` holds them. `asked` is how often the same was asked for while it
    waited. `ahead`: the approval is asked for before the call is made. `inside` is the call within it that needs the
    approval, if not it itself does; `tainted` what untrusted text its caller had read; `why` the reason of the
    decision. As a job it may have a `name`, and tell which job it repeats or by which schedule it runs; `started` and
    `ended` are None before.
    """

    id: str
    tenant: str
    state: Status
    invocation: Invocation
    at: float
    until: float
    hash: str = ""
    decision_digest: str = ""
    approvals_needed: int = 0
    by: tuple[str, ...] = ()
    approved_by: tuple[str, ...] = ()
    preview: dict[str, Any] | None = None
    resources: tuple[str, ...] = ()
    sealed: dict[str, bytes] = field(default_factory=dict[str, bytes])
    asked: int = 1
    name: str = ""
    retry_of: str = ""
    schedule: str = ""
    ahead: bool = False
    inside: Call | None = None
    input_digest: str = ""
    tainted: str = ""
    started: float | None = None
    ended: float | None = None
    why: str = ""


def no_invocation(id: str) -> NotFound:
    """Give the problem of an invocation that is not there, and of one that is somebody else's: nobody learns which."""
    return NotFound(f"there is no invocation `{id[:100]}`", hint="`jobs.list` shows jobs, and `audit.query` every call")

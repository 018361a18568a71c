"""Sessions: a sandbox that stays, what was asked of it and what it said."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from superagent.core.commands import Effects, Traffic
from superagent.core.principal import Secret

At = Literal["prompt", "match", "sent", "timeout", "ended"]


@dataclass(frozen=True, slots=True)
class Opening:
    """A session to open: a shell at a terminal of so many rows and columns; the rest is as in `Command`.

    `idle_s` is how long nobody may use it before it is ended.
    """

    shell: str = "bash"
    profile: str = "workspace-write"
    cwd: str = ""
    env: Mapping[str, str] = field(default_factory=dict[str, str])
    limits: Mapping[str, float] = field(default_factory=dict[str, float])
    rows: int = 24
    columns: int = 80
    idle_s: float = 900.0
    network: Sequence[str] | None = None
    connections: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Typing:
    """What is typed into a session, and what is waited for; a `secret` in it is never shown from then on.

    `wait_for` is a text in the output, in which `*` stands for anything within a line; None waits for the next prompt,
    and an empty one for nothing.
    """

    session: str
    data: bytes
    wait_for: str | None = None
    timeout_s: float = 10.0
    max_bytes: int = 65_536
    secret: Secret | None = None


@dataclass(frozen=True, slots=True)
class Screen:
    """What a session said: raw bytes from `since` up to `next` (offsets since it was opened).

    `end` is how much it has said by now, `lost` how many bytes from `since` on are not kept any more. `at` says why the
    waiting ended, `exit_code` what its shell says of the last command. `ended` is why there is no session any more
    (empty: there is one), and `until` when it is ended if nobody uses it, in epoch seconds. `view` is what it works on.
    """

    session: str
    data: bytes
    since: int
    next: int
    end: int
    lost: int
    at: At
    exit_code: int | None
    ended: str
    until: float
    view: str = ""


@dataclass(frozen=True, slots=True)
class Over:
    """A session that is over: why, what became of its changes (None: it could change nothing), and its network."""

    ended: str
    effects: Effects | None = None
    traffic: Traffic | None = None


@dataclass(frozen=True, slots=True)
class Snippet:
    """Code for an interpreter; an empty session makes a new one, of Python where no kernel is named."""

    kernel: str
    code: str
    session: str = ""
    timeout_s: float = 60.0
    profile: str = "workspace-write"
    limits: Mapping[str, float] = field(default_factory=dict[str, float])
    idle_s: float = 900.0
    max_bytes: int = 65_536
    network: Sequence[str] | None = None


@dataclass(frozen=True, slots=True)
class Evaluated:
    """What came of a snippet.

    `value` and `error` are what the interpreter itself says (see `superagent.runtime.sandbox.interpreter`). `ended` is
    why there is no session any more (empty: there is one). `view` is what it works on.
    """

    session: str
    stdout: bytes
    stderr: bytes
    lost: int
    value: Mapping[str, Any] | None
    error: Mapping[str, Any] | None
    ended: str
    until: float
    seconds: float
    view: str = ""

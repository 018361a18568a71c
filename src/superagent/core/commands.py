"""Commands: what an operation asks to have run for it, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from superagent.core.containment import DEFAULT_PROFILE, Isolation

Encoding = Literal["utf-8", "base64"]
INLINE_BYTES = 64 * 1024
SCRIPT = "/proc/self/fd/9"
"""Where a command finds the text that is its `script`."""


@dataclass(frozen=True, slots=True)
class Command:
    """A program to run in the caller's workspace, without a shell unless `argv` names one.

    `network` are rules for hosts (see `HostRule.read`), which narrow what a profile with a network may reach, None for
    all of that; `connections` names those whose credentials are added on the way out. `env_from` are variables that
    hold secrets, by the names of these.
    It works on a view; with `apply` what it changed is brought into the workspace once it has ended, otherwise it waits
    in the view. With `view`, the id of one that waits, it goes on there, and what it changed stays there in any case.
    `cwd` is a folder in the workspace, empty for the workspace itself. `script` is a text that the command
    finds under `SCRIPT`. `stdin` are bytes, or `stdin_blob` the handle of an upload. `timeout_s` and `limits` (by the
    names of `Limits`) narrow the profile. Of each output stream `inline_bytes` are given at once; a longer one gets a
    handle.
    """

    argv: Sequence[str]
    profile: str = DEFAULT_PROFILE
    cwd: str = ""
    env: Mapping[str, str] = field(default_factory=dict[str, str])
    script: bytes = b""
    stdin: bytes = b""
    stdin_blob: str = ""
    timeout_s: float | None = None
    limits: Mapping[str, float] = field(default_factory=dict[str, float])
    inline_bytes: int = INLINE_BYTES
    apply: bool = True
    view: str = ""
    network: Sequence[str] | None = None
    connections: Sequence[str] = ()
    env_from: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended: `code` as a shell would say it (128 + signal), None when the sandbox itself was ended.

    `limit` names the limit that ended it or held it back, empty for none: wall, cpu, memory, processes, output, file,
    disk. `ran` is False when the command could not even be executed; what bubblewrap said then stands in its error
    stream.
    """

    code: int | None
    ran: bool = True
    limit: str = ""
    cpu_s: float = 0.0
    memory_bytes: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Captured:
    """One output stream: how much was written, the beginning of it as text or base64, and the handle of all of it.

    `handle` is empty where the beginning is everything, or where the rest could not be kept (`lost` says why).
    """

    bytes: int
    text: str
    encoding: Encoding
    handle: str = ""
    lost: str = ""


@dataclass(frozen=True, slots=True)
class ChangedPath:
    """One path of the workspace that a command changed, and what became of it, as a diff of views says it."""

    path: str
    kind: str


@dataclass(frozen=True, slots=True)
class Effects:
    """What a command changed: `total` paths, the first of them in `changes`, and a unified diff of what is text.

    `applied` says that the workspace has it by now. What it has not waits in `view` until `until` (epoch seconds):
    all of it, and `why`, or what `left_out` names. `digest` names the whole diff.
    """

    applied: bool
    digest: str
    view: str = ""
    changes: tuple[ChangedPath, ...] = ()
    total: int = 0
    diff: str = ""
    left_out: tuple[tuple[str, str], ...] = ()
    why: str = ""
    until: float = 0.0


@dataclass(frozen=True, slots=True)
class Traffic:
    """What went out and came in: connections, bytes, and the hosts; `opened` are those whose requests were read.

    `denials` are the newest of what was `refused`: (place, why).
    """

    connections: int
    sent: int
    received: int
    refused: int
    hosts: tuple[str, ...] = ()
    opened: tuple[str, ...] = ()
    denials: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Ran:
    """What came of a command; `until` is when it would have been stopped (epoch seconds).

    `effects` is what it changed, None for one that could change nothing; `traffic` is None for one without a network.
    """

    ended: Ended
    stdout: Captured
    stderr: Captured
    isolation: Isolation
    until: float
    effects: Effects | None = None
    traffic: Traffic | None = None

"""What operations that run commands give back: how one ended, what it wrote and changed, what went over its network."""

from __future__ import annotations

from typing import Literal

from superagent.sdk import Changes, Output, Preview, Ran, Traffic

Encoding = Literal["utf-8", "base64"]


class Refused(Output):
    """One thing that was not let out, and why."""

    place: str
    why: str


class Network(Output):
    """What went out and came in: hosts, connections, bytes; `opened` are hosts whose requests were read.

    `denials` are the newest of what was `refused`. The record has every connection.
    """

    hosts: list[str]
    opened: list[str]
    connections: int
    sent_bytes: int
    received_bytes: int
    refused: int
    denials: list[Refused]


class Finished(Output):
    """How a command ended and what it wrote.

    `exit_code` is as a shell says it (128 + signal) and null when it was ended by a limit or from outside; `limit`
    names the limit that ended it or held it back (wall, cpu, memory, processes, output, file, disk). `until` is when it
    would have been stopped, in epoch seconds. A stream longer than what is shown has a handle for `result.read`.
    `changes` is null for a command that could change nothing, `network` for one that had none. `outside` says that it
    may have changed something elsewhere, which no undo takes back.
    """

    exit_code: int | None
    stdout: str
    stderr: str
    stdout_encoding: Encoding
    stderr_encoding: Encoding
    stdout_bytes: int
    stderr_bytes: int
    stdout_handle: str | None = None
    stderr_handle: str | None = None
    limit: str | None = None
    lost: str | None = None
    until: float
    cpu_s: float
    memory_bytes: int
    seconds: float
    changes: Changes | None = None
    network: Network | None = None
    outside: Literal["none", "possible"] = "none"


class Rehearsed(Preview):
    """What a command would change, since it did so on a view: how it ended and what it wrote, named as in `Finished`.

    `view` and `digest` are what `sandbox.accept` takes to bring that very diff in; null where nothing was changed.
    """

    view: str | None = None
    digest: str | None = None
    exit_code: int | None = None
    limit: str | None = None
    stdout: str = ""
    stderr: str = ""
    stdout_encoding: Encoding = "utf-8"
    stderr_encoding: Encoding = "utf-8"
    stdout_handle: str | None = None
    stderr_handle: str | None = None


def rehearsed_of(ran: Ran, shown: str) -> Rehearsed:
    """Show how a rehearsal of what is `shown` ended."""
    ended = (
        f"ended with {ran.ended.code}" if ran.ended.code is not None else f"was ended ({ran.ended.limit or 'killed'})"
    )
    found = ran.effects
    changed = found is not None and found.total > 0
    if found is None or not changed:
        summary = f"rehearsed: `{shown}` {ended} and changed nothing"
    else:
        summary = (
            f"rehearsed without a network: `{shown}` {ended} and changed {found.total} path(s). `sandbox.accept` with "
            f"view {found.view} and digest {found.digest} brings in that very diff; the command is not run again"
        )
    return Rehearsed(
        summary=summary,
        changes=[f"{one.path}: {one.kind}" for one in found.changes] if found is not None else [],
        diff=found.diff if found is not None else "",
        exact=False,
        view=found.view if found is not None and changed else None,
        digest=found.digest if found is not None and changed else None,
        exit_code=ran.ended.code,
        limit=ran.ended.limit or None,
        stdout=ran.stdout.text,
        stderr=ran.stderr.text,
        stdout_encoding=ran.stdout.encoding,
        stderr_encoding=ran.stderr.encoding,
        stdout_handle=ran.stdout.handle or None,
        stderr_handle=ran.stderr.handle or None,
    )


def finished_of(ran: Ran) -> Finished:
    """Show how a command ended."""
    return Finished(
        exit_code=ran.ended.code,
        stdout=ran.stdout.text,
        stderr=ran.stderr.text,
        stdout_encoding=ran.stdout.encoding,
        stderr_encoding=ran.stderr.encoding,
        stdout_bytes=ran.stdout.bytes,
        stderr_bytes=ran.stderr.bytes,
        stdout_handle=ran.stdout.handle or None,
        stderr_handle=ran.stderr.handle or None,
        limit=ran.ended.limit or None,
        lost=ran.stdout.lost or ran.stderr.lost or None,
        until=ran.until,
        cpu_s=ran.ended.cpu_s,
        memory_bytes=ran.ended.memory_bytes,
        seconds=ran.ended.seconds,
        changes=Changes.of(ran.effects),
        network=ran.traffic and network_of(ran.traffic),
        outside="possible" if ran.isolation.level == "none" or (ran.traffic and ran.traffic.connections) else "none",
    )


def network_of(seen: Traffic) -> Network:
    """Show what went over a network."""
    return Network(
        hosts=list(seen.hosts),
        opened=list(seen.opened),
        connections=seen.connections,
        sent_bytes=seen.sent,
        received_bytes=seen.received,
        refused=seen.refused,
        denials=[Refused(place=place, why=why) for place, why in seen.denials],
    )

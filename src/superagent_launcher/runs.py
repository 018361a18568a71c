"""One run: the processes of a sandbox from its job to the moment when the last of them is gone."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import time
from typing import Any, cast

from superagent_launcher import child, program
from superagent_launcher.asked import Gone, Refused, Start
from superagent_launcher.cgroups import Usage
from superagent_launcher.child import Spare
from superagent_launcher.groups import Group

_MOST_SAID = 16_384


class Run:
    """A sandbox that was started. Times are monotonic seconds; `why` says what ended it, if we did.

    `used` is its processor time in seconds and the most memory of one process in KiB, for where no group counts them.
    With `keeps` its process is a keeper, which says how the command ended once nothing of it is left but itself.
    """

    __slots__ = (
        "_before_s", "code", "cpu_most_s", "ending", "failed", "failing", "gate", "group", "inner", "keeps", "looked",
        "number", "pid", "processes", "ran", "said", "since", "status", "until", "used", "why",
    )  # fmt: skip

    def __init__(self, number: int, spare: Spare, limits: dict[str, float]) -> None:
        self.number = number
        self.pid = spare.pid
        self.group: Group | None = spare.group
        self.failing = spare.wire.socket.detach()
        self.since = self.looked = time.monotonic()
        self.until = self.since + limits["wall_s"]
        self.cpu_most_s = limits["cpu_s"]
        self.processes = int(limits["processes"])
        self.status = self.gate = -1
        self.said = self.failed = b""
        self.inner = 0
        self.ran = self.keeps = False
        self.ending = False
        self.why = ""
        self.code: int | None = None
        self.used: tuple[float, int] | None = None
        self._before_s = (spare.group.cpu_s() if spare.group is not None else None) or 0.0

    def failing_said(self, data: bytes) -> None:
        """Take what came of its start, and what a keeper tells of its end."""
        self.failed, _, told = (self.failed + data).partition(child.ENDED)
        if told and self.code is None:
            code, cpu_s, memory_kib = told.split()
            self.code, self.used = int(code), (float(cpu_s), int(memory_kib))

    def begin(self, wall_s: float, since_s: float) -> None:
        """Count from now on: what it did so far was waiting for its command. With `since_s` it began so long ago."""
        self.since = time.monotonic() - since_s
        self.until = self.since + wall_s
        if self.group is not None and not since_s:
            self._before_s = self.group.cpu_s() or 0.0
            self.group.forget_peak()

    def kill(self, why: str) -> None:
        """End it; the first reason stays. Safe to repeat."""
        if not self.ending:
            self.ending, self.why = True, why
        if self.code is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)  # our own child, not reaped: the number is still its own
        if self.group is not None:
            self.group.kill()

    def signal(self, number: int) -> None:
        """Send a signal to the command and what shares its process group. Raises `Refused`."""
        try:
            with open(f"/proc/{self.inner}/task/{self.inner}/children", encoding="utf-8") as file:
                first = file.read().split()[:1]
            if not self.inner or self.code is not None or not first:
                raise Refused("it does not run")
            group = os.getpgid(int(first[0]))
            if group == os.getpgid(
                0
            ):  # it has no session of its own yet: the launcher and all its children have this one
                raise Refused("it does not run yet")
            os.killpg(group, number)
        except OSError as bad:
            raise Refused(f"it does not run: {bad.strerror}") from None

    def heard(self, data: bytes) -> None:
        """Take what bubblewrap says about itself: its child's number, and that the command was executed and ended."""
        self.said = (self.said + data)[-_MOST_SAID:]
        *lines, self.said = self.said.split(b"\n")
        for line in lines:
            told = _told(line)
            self.inner = told.get("child-pid", self.inner)
            self.ran = self.ran or "exit-code" in told
        if self.gate >= 0 and self.inner:
            self._open_gate()

    def _open_gate(self) -> None:
        """Limit the processes inside the namespace, then let bubblewrap go on.

        Before there was a namespace, the limit would have counted everything else that this user runs.
        """
        try:
            resource.prlimit(self.inner, resource.RLIMIT_NPROC, (self.processes, self.processes))
            os.write(self.gate, b"1")
        except OSError:
            self.kill("unlimited")
        os.close(self.gate)
        self.gate = -1

    def spent_s(self) -> float | None:
        """Give the CPU time of everything in it so far; None where nothing counts it."""
        spent = self.group.cpu_s() if self.group is not None else None
        return None if spent is None else max(0.0, spent - self._before_s)

    def account(self) -> dict[str, Any]:
        """Say how it ended and what it used; `code` is that of bubblewrap, negative for a signal."""
        usage = self.group.usage(now=False) if self.group is not None else Usage()
        spent, most = self.spent_s(), usage.peak_bytes
        if self.used is not None:
            spent = self.used[0] if spent is None else spent
            most = self.used[1] * 1024 if most is None else most
        return {
            "code": self.code,
            # bubblewrap that could not set up says so with an exit code; one that died of a signal was killed
            "ran": self.ran or self.ending or (self.code is not None and self.code < 0),
            "why": self.why,
            "cpu_s": round(spent or 0.0, 6),
            "memory_bytes": most or 0,
            "out_of_memory": usage.out_of_memory,
            "refused_processes": usage.refused_processes,
            "seconds": round(time.monotonic() - self.since, 6),
        }

    def close(self) -> None:
        """Close what is open."""
        for name in ("failing", "status", "gate"):
            if getattr(self, name) >= 0:
                os.close(getattr(self, name))
                setattr(self, name, -1)


def start(asked: Start, descriptors: list[int], spare: Spare, name: str, controllers: frozenset[str]) -> Run:
    """Give a child its job; `name` is what its processes call themselves.

    Raises `Refused`, of a child that has ended `Gone`: nothing was started.
    """
    opened: list[int] = []
    if asked.confine is not None:
        return _confined(asked, descriptors, spare, controllers)
    try:
        opened.append(program.open_program(asked.program))
        if spare.group is not None:
            spare.group.limit(asked.limits)
        gated = asked.uid is None and "pids" not in controllers
        (status, saying), (opening, gate) = os.pipe2(os.O_CLOEXEC), os.pipe2(os.O_CLOEXEC)
        opened += [status, saying, opening, gate]
        first = max(asked.numbers) + 1
        extra = ["--json-status-fd", str(first + 1), *(["--block-fd", str(first + 2)] if gated else [])]
        opened.append(in_memory([*asked.options, *extra]))
        own = len(asked.numbers)
        numbers = [*asked.numbers, first, first + 1, *([first + 2] if gated else [])]
        shown = [*descriptors[:own], opened[-1], saying, *([opening] if gated else [])]
        job = {
            "argv": [name, "--args", str(first), "--", *asked.command],
            "uid": asked.uid,
            "limits": child.rlimits(asked.limits, controllers, as_tenant=asked.uid is not None),
            "numbers": numbers,
            "mounts": asked.mounts,
            "view": asked.view,
        }
        spare.give(job, (opened[0], *shown, *descriptors[own:]))
        run = Run(asked.run, spare, asked.limits)
        run.status = os.dup(status)
        run.gate = os.dup(gate) if gated else -1
        return run
    except OSError as bad:
        raise not_started(bad) from None
    finally:
        for one in opened:
            os.close(one)


def _confined(asked: Start, descriptors: list[int], spare: Spare, controllers: frozenset[str]) -> Run:
    """Give a child that is ready for it a job without bubblewrap: it tells how its command and its brood ended."""
    try:
        limits = child.rlimits(asked.limits, controllers, as_tenant=asked.uid is not None)
        if asked.uid is None and "pids" not in controllers:  # its processes are counted with all others of this user
            most = tasks_of(os.geteuid()) + int(asked.limits["processes"])
            limits.append((resource.RLIMIT_NPROC, most, most))
        job = {
            "argv": asked.command,
            "uid": asked.uid,
            "limits": limits,
            "numbers": asked.numbers,
            "mounts": asked.mounts,
            "confine": asked.confine,
        }
        spare.give(job, tuple(descriptors))
    except OSError as bad:
        raise not_started(bad) from None
    run = Run(asked.run, spare, asked.limits)
    run.ran = run.keeps = True
    run.inner = run.pid
    return run


def not_started(bad: OSError) -> Refused:
    """Say why nothing was started, and whether that was the child's end."""
    kind = Gone if isinstance(bad, ChildProcessError) else Refused
    return kind(f"it cannot be started: {bad}")


def tasks_of(uid: int) -> int:
    """Count what the kernel counts for a user: the threads of all processes."""
    found = 0
    for name in os.listdir("/proc"):
        with contextlib.suppress(OSError):
            if name.isdigit() and os.stat(f"/proc/{name}").st_uid == uid:
                found += len(os.listdir(f"/proc/{name}/task"))
    return found


def _told(line: bytes) -> dict[str, int]:
    """Read a line of bubblewrap's; empty for what says nothing."""
    try:
        found: Any = json.loads(line)
    except ValueError:
        return {}
    return cast("dict[str, int]", found) if isinstance(found, dict) else {}


def in_memory(options: list[str]) -> int:
    """Write options where bubblewrap reads them: so they show in no command line, inside or outside."""
    descriptor = os.memfd_create("options", os.MFD_CLOEXEC)
    try:
        data = memoryview(b"".join(one.encode() + b"\0" for one in options))
        while data:
            data = data[os.write(descriptor, data) :]
        os.lseek(descriptor, 0, os.SEEK_SET)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor

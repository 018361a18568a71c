"""One run: the processes of a sandbox from the fork to the moment when the last of them is gone."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import time
from typing import Any, NoReturn, cast

from superagent_launcher import child, program
from superagent_launcher.asked import Refused, Start
from superagent_launcher.cgroups import Usage
from superagent_launcher.groups import Group, Groups

_MOST_SAID = 16_384


class Run:
    """A sandbox that was started. Times are monotonic seconds; `why` says what ended it, if we did."""

    __slots__ = (
        "code", "cpu_most_s", "ending", "errors", "exec_failed", "gate", "group", "inner", "looked", "number", "pid",
        "processes", "ran", "rusage", "said", "since", "status", "until", "why",
    )  # fmt: skip

    def __init__(self, number: int, pid: int, group: Group | None, limits: dict[str, float]) -> None:
        self.number = number
        self.pid = pid
        self.group = group
        self.since = self.looked = time.monotonic()
        self.until = self.since + limits["wall_s"]
        self.cpu_most_s = limits["cpu_s"]
        self.processes = int(limits["processes"])
        self.errors = self.status = self.gate = -1
        self.said = b""
        self.exec_failed = b""
        self.inner = 0
        self.ran = False
        self.ending = False
        self.why = ""
        self.code: int | None = None
        self.rusage: resource.struct_rusage | None = None

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
            with open(f"/proc/{self.inner}/task/{self.inner}/children", encoding="ascii") as file:
                first = file.read().split()[:1]
            if not self.inner or self.code is not None or not first:
                raise Refused("it does not run")
            os.killpg(os.getpgid(int(first[0])), number)
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
        return self.group.usage().cpu_s if self.group is not None else None

    def close(self) -> None:
        """Close what is open."""
        for name in ("errors", "status", "gate"):
            if getattr(self, name) >= 0:
                os.close(getattr(self, name))
                setattr(self, name, -1)


def _told(line: bytes) -> dict[str, int]:
    """Read a line of bubblewrap's; empty for what says nothing."""
    try:
        found: Any = json.loads(line)
    except ValueError:
        return {}
    return cast("dict[str, int]", found) if isinstance(found, dict) else {}


def start(asked: Start, descriptors: list[int], groups: Groups, name: str) -> Run:
    """Start what is asked for; `name` is what its processes call themselves. Raises `Refused`: nothing was started."""
    opened: list[int] = []
    group: Group | None = None
    try:
        running = program.open_program(asked.program)
        opened.append(running)
        pipes = [os.pipe2(os.O_CLOEXEC) for _ in range(3)]
        opened += [end for pipe in pipes for end in pipe]
        (errors, failing), (status, saying), (opening, gate) = pipes
        gated = asked.uid is None and "pids" not in groups.controllers
        first = max(asked.numbers) + 1
        extra = ["--json-status-fd", str(first + 1), *(["--block-fd", str(first + 2)] if gated else [])]
        options = _in_memory([*asked.options, *extra])
        opened.append(options)
        own = len(asked.numbers)
        handed = {
            **dict(zip(asked.numbers, descriptors[:own], strict=True)),
            first: options,
            first + 1: saying,
            **({first + 2: opening} if gated else {}),
        }
        group = groups.run(asked.run, asked.limits)
        made = child.Child(
            running,
            [name, "--args", str(first), "--", *asked.command],
            handed,
            list(zip(descriptors[own:], asked.mounts, strict=True)),
            child.rlimits(asked.limits, groups.controllers, as_tenant=asked.uid is not None),
            asked.uid,
            group.join if group is not None else None,
        )
        pid = os.fork()
        if pid == 0:
            _be(made, failing)
    except OSError as bad:
        if group is not None:
            group.remove()
        raise Refused(f"it cannot be started: {bad}") from None
    else:
        run = Run(asked.run, pid, group, asked.limits)
        run.errors, run.status = os.dup(errors), os.dup(status)
        if gated:
            run.gate = os.dup(gate)
        return run
    finally:
        for one in opened:
            os.close(one)


def _be(made: child.Child, failing: int) -> NoReturn:
    """Be the child; what goes wrong is said on `failing`, which closes by itself when the program is executed."""
    try:
        made.become()
    except BaseException as bad:
        with contextlib.suppress(OSError):
            os.write(failing, str(bad).encode("utf-8", "replace")[:1000] or b"no reason was given")
    os._exit(1)


def _in_memory(options: list[str]) -> int:
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


def account(run: Run) -> dict[str, Any]:
    """Say how a run ended and what it used; `code` is that of bubblewrap, negative for a signal."""
    usage = run.group.usage() if run.group is not None else Usage()
    own_s = run.rusage.ru_utime + run.rusage.ru_stime if run.rusage is not None else 0.0
    most = run.rusage.ru_maxrss * 1024 if run.rusage is not None else 0
    return {
        "code": run.code,
        "ran": run.ran or run.ending,
        "why": run.why,
        "cpu_s": round(usage.cpu_s if usage.cpu_s is not None else own_s, 6),
        "memory_bytes": usage.peak_bytes if usage.peak_bytes is not None else most,
        "out_of_memory": usage.out_of_memory,
        "refused_processes": usage.refused_processes,
        "seconds": round(time.monotonic() - run.since, 6),
    }

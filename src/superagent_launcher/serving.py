"""The launcher's one loop: it hears the server, its own children and the clock, and outlives none of them."""

from __future__ import annotations

import contextlib
import gc
import os
import select
import signal
import time
from collections.abc import Callable
from typing import Any

from superagent_launcher import runs
from superagent_launcher.asked import LIMITS, Gone, Refused, Start, number_of, run_of, times_of
from superagent_launcher.child import STAGE, Spare
from superagent_launcher.groups import Group, Groups
from superagent_launcher.rehearsal import rehearse
from superagent_launcher.runs import Run
from superagent_launcher.spares import KEPT, SOON_S, Spares
from superagent_launcher.wire import Broken, Wire

PROTOCOL = 1
LOOK_S = 0.25
GONE_S = 5.0
TRIES = KEPT + 3
"""How many children a run is offered to: where memory ran out, all that waited went at once."""

_READ = select.POLLIN | select.POLLHUP | select.POLLERR
_SIGNALS = (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Launcher:
    """All runs of one server. `uids` are the users that a run may be given, empty where nobody can be changed.

    `uncontained` says that it may start what nothing holds; no message can say so.
    """

    def __init__(
        self, wire: Wire, groups: Groups, name: str, uids: range, staging: bool, *, uncontained: bool = False
    ) -> None:
        self._wire = wire
        self._groups = groups
        self._name = name
        self._uids = uids
        self._staging = staging
        self._uncontained = uncontained
        self._made = 0
        self._spares = Spares(self._spare, self._let_go)
        self._runs: dict[int, Run] = {}
        self._by_pid: dict[int, Run] = {}
        self._reading: dict[int, Callable[[bytes], None]] = {}
        self._lingering: list[Group] = []
        self._stopping = self._deaf = False
        self._poll = select.poll()
        self._heard, self._hear = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)

    def serve(self) -> None:
        """Serve until the server is gone; then end every run and remove what was made."""
        for number in _SIGNALS:
            signal.signal(number, self._signalled)
        signal.set_wakeup_fd(self._hear, warn_on_full_buffer=False)
        self._poll.register(self._heard, _READ)
        self._poll.register(self._wire.socket, _READ)
        gc.freeze()  # a collection in a forked child would copy every page that it marks
        try:
            self._say({"event": "hello", **self.abilities()})
            while not self._stopping:
                self._turn(self._patience())
        except (EOFError, Broken):
            pass
        finally:
            self._end_all()

    def abilities(self) -> dict[str, Any]:
        """Say what can be done here."""
        return {
            "protocol": PROTOCOL,
            "pid": os.getpid(),
            "name": self._name,
            "groups": self._groups.version,
            "controllers": sorted(self._groups.controllers),
            "uids": [self._uids.start, self._uids.stop],
            "stage": STAGE if self._staging else "",
            "limits": list(LIMITS),
        }

    def _patience(self) -> float | None:
        """Give how long nothing needs to be looked at, in seconds; None for ever."""
        if self._lingering or any(run.ending or run.code is not None for run in self._runs.values()):
            return SOON_S
        now = time.monotonic()
        waits = [run.until - now for run in self._runs.values()] + ([LOOK_S] if self._runs else [])
        ahead = None if self._deaf else self._spares.patience(now)
        return max(SOON_S, min(waits + ([] if ahead is None else [ahead]))) if waits or ahead is not None else None

    def _signalled(self, number: int, _: object) -> None:
        self._stopping = self._stopping or number != signal.SIGCHLD

    def _turn(self, most_s: float | None) -> None:
        """Wait for something to happen, and deal with all that did; with nothing to do, make spare children."""
        events = self._poll.poll(None if most_s is None else most_s * 1000)
        for descriptor, what in events:
            if descriptor == self._wire.socket.fileno():
                if what & select.POLLOUT:
                    self._flush()
                if what & _READ:
                    for said, descriptors in self._wire.receive():
                        self._do(said, descriptors)
            elif descriptor == self._heard:
                os.read(self._heard, 4096)
            else:
                self._read(descriptor)
        self._reap()
        now = time.monotonic()
        self._look(now)
        if not events and not self._deaf:
            self._spares.tidy(now)
            made = self._spares.idle(now)
            if made is not None:
                rehearse(made.group, self._groups.controllers)

    # ---- the server

    def _say(self, message: dict[str, Any]) -> None:
        if not self._deaf and not self._wire.send(message):
            self._poll.register(self._wire.socket, _READ | select.POLLOUT)

    def _flush(self) -> None:
        if self._wire.flush():
            self._poll.register(self._wire.socket, _READ)

    def _do(self, said: dict[str, Any], descriptors: list[int]) -> None:
        try:
            number = run_of(said)
            try:
                match said.get("do"):
                    case "start":
                        self._start(Start(said, len(descriptors), uncontained=self._uncontained), descriptors)
                    case "signal":
                        run = self._found(number)
                        self._read(run.status)  # it may say only now which process is meant
                        run.signal(number_of(said))
                    case "begin":
                        self._found(number).begin(*times_of(said))
                    case "kill":
                        self._found(number).kill("asked")
                    case "stats":
                        self._say({"event": "stats", "run": number, **_stats(self._found(number))})
                    case other:
                        raise Refused(f"nobody knows how to do {str(other)[:40]!r}")
            except Refused as refused:
                self._say({"event": "refused", "of": said.get("do"), "run": number, "why": str(refused)})
        except Refused:
            raise Broken("a message about no run") from None
        finally:
            for one in descriptors:
                os.close(one)

    def _found(self, number: int) -> Run:
        run = self._runs.get(number)
        if run is None:
            raise Refused("there is no such run")
        return run

    def _start(self, asked: Start, descriptors: list[int]) -> None:
        if asked.run in self._runs:
            raise Refused("this run was started already")
        if asked.uid is None and os.geteuid() == 0:
            raise Refused("root runs nothing as itself: name a user")
        if asked.uid is not None and asked.uid not in self._uids:
            raise Refused(f"user {asked.uid} is none of {self._uids.start} to {self._uids.stop - 1}")
        if asked.mounts and not self._staging and asked.confine is None:
            raise Refused("folders cannot be put in place here")
        run = self._offered(asked, descriptors)
        self._runs[asked.run] = self._by_pid[run.pid] = run
        # an exec is not waited for: nobody who starts a command has to be woken for that; a keeper's word is
        self._follow(run.failing, lambda data: self._failing(run, data), awaited=run.keeps)
        if run.status >= 0:
            # what bubblewrap says of itself is waited for only where it waits for an answer, else read when needed
            self._follow(run.status, run.heard, awaited=run.gate >= 0)

    def _offered(self, asked: Start, descriptors: list[int]) -> Run:
        """Give a run to a child that lives: one that died while it waited is no reason to refuse."""
        left = TRIES
        while True:
            left -= 1
            try:
                spare = self._spares.take(asked.ground)
                try:
                    return runs.start(asked, descriptors, spare, self._name, self._groups.controllers)
                except Refused:
                    self._let_go(spare)
                    raise
            except Gone:
                if not left:
                    raise

    # ---- the children

    def _spare(self) -> Spare:
        self._made += 1
        try:
            return Spare(self._groups.new(self._made))
        except OSError as bad:
            raise Refused(f"no child can be made: {bad}") from None

    def _let_go(self, spare: Spare) -> None:
        """End a child that has no job; its group goes when it has."""
        spare.end()
        if spare.group is not None:
            self._lingering.append(spare.group)

    def _follow(self, descriptor: int, heard: Callable[[bytes], None], *, awaited: bool = True) -> None:
        os.set_blocking(descriptor, False)
        self._reading[descriptor] = heard
        if awaited:
            self._poll.register(descriptor, _READ)

    def _read(self, descriptor: int) -> bool:
        """Read what there is; False when there is nothing more for now, or for ever."""
        heard = self._reading.get(descriptor)
        if heard is None:
            return False
        try:
            data = os.read(descriptor, 65_536)
        except BlockingIOError:
            return False
        except ConnectionResetError:
            data = b""
        if not data:
            self._unfollow(descriptor)
        heard(data)
        return bool(data)

    def _unfollow(self, descriptor: int) -> None:
        if self._reading.pop(descriptor, None) is not None:
            with contextlib.suppress(KeyError):  # it was not waited for
                self._poll.unregister(descriptor)

    def _failing(self, run: Run, data: bytes) -> None:
        """Hear how the exec went: silence at the end means well. A keeper speaks at the end."""
        if data:
            run.failing_said(data)
        elif not run.failed and not run.keeps:
            self._say({"event": "started", "run": run.number, "pid": run.pid})

    def _reap(self) -> None:
        while True:
            try:
                pid, status, used = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            run = self._by_pid.pop(pid, None)
            if run is not None and self._runs.get(run.number) is run:  # a keeper's run may be over by then
                run.code = os.waitstatus_to_exitcode(status)
                run.used = used.ru_utime + used.ru_stime, used.ru_maxrss
                self._finish(run)
            self._spares.died(pid)

    def _finish(self, run: Run) -> None:
        """Tell that a run has ended, once nothing of it is left; till then it is looked at again."""
        for one in (run.failing, run.status):
            while self._read(one):
                pass
            self._unfollow(one)
        if run.ending or run.code is None or run.code < 0:
            # its outer half was killed. Else the kernel had ended all of its process namespace before it could end
            strays = self._strays()
            if strays or (run.group is not None and not run.group.kill()):
                return
        del self._runs[run.number]
        if run.failed:
            why = run.failed.decode("utf-8", "replace")
            self._say({"event": "refused", "of": "start", "run": run.number, "why": why})
        else:
            self._say({"event": "ended", "run": run.number, **run.account()})
        if run.group is not None and not run.group.remove():
            self._lingering.append(run.group)
        run.close()

    def _strays(self) -> list[int]:
        """Give and kill what is ours by now since its parent died: the inner half of a sandbox."""
        try:
            with open(f"/proc/self/task/{os.getpid()}/children", encoding="utf-8") as file:
                found = [int(one) for one in file.read().split()]
        except OSError:
            return []  # this kernel does not list children; the inner half dies with its parent all the same
        own = {*self._by_pid, *self._spares.pids()}
        strays = [one for one in found if one not in own]
        for one in strays:
            os.kill(one, signal.SIGKILL)
        return strays

    # ---- the clock

    def _look(self, now: float) -> None:
        for run in list(self._runs.values()):
            if run.code is not None:
                self._finish(run)
            elif now >= run.until:
                run.kill("wall")
            elif run.ending:
                run.kill(run.why)  # once more: it may have forked meanwhile
            elif now - run.looked >= LOOK_S:
                run.looked = now
                self._read(run.failing)
                spent = run.spent_s()
                if spent is not None and spent >= run.cpu_most_s:
                    run.kill("cpu")
        self._lingering = [group for group in self._lingering if not (group.kill() and group.remove())]

    def _end_all(self) -> None:
        """Kill everything, wait until it is gone, and leave no group behind."""
        until = time.monotonic() + GONE_S
        self._poll.unregister(self._wire.socket)
        self._wire.close()
        self._deaf = True
        self._spares.close()
        while (self._runs or self._lingering) and time.monotonic() < until:
            for run in self._runs.values():
                run.kill("gone")
            self._turn(0.01)
        while not self._groups.close() and time.monotonic() < until:
            time.sleep(0.01)


def _stats(run: Run) -> dict[str, Any]:
    usage = run.group.usage() if run.group is not None else None
    return {
        "seconds": round(time.monotonic() - run.since, 6),
        "cpu_s": run.spent_s(),
        "memory_bytes": usage and usage.memory_bytes,
        "processes": usage and usage.processes,
        "group": run.group and run.group.told(),
    }

"""Embedded: this process owns the data folder for one command and runs the calls itself (rules.md 28).

The installation lives on an event loop of its own thread: the main thread stays free to hear ctrl-C, and to say so.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Coroutine, Iterator
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from superagent.core.invocation import Call, Outcome, Status
from superagent.core.kernel import Kernel
from superagent.core.ports import Held
from superagent.core.principal import Credential, Facts, Principal, Secret
from superagent.core.problems import Problem, Unavailable
from superagent.runtime.instance_lock import InstanceLock
from superagent.surfaces.cli.interrupts import HeldBack
from superagent.surfaces.cli.launch import Installation, Launch, bare
from superagent.surfaces.cli.target import Answer, Event, Request

T = TypeVar("T")
CHANNEL = "local"
ENDING_S = 10.0
STEP_S = 0.05
_PAGE = 262_144
_OPEN = frozenset({Status.QUEUED, Status.RUNNING})


class Embedded:
    """The kernel in this process; `lock` is released when it closes."""

    lasting = False

    def __init__(self, launch: Launch, data: Path, key: Secret | None, lock: InstanceLock) -> None:
        self._launch = launch
        self._data = data
        self._key = key
        self._lock = lock
        self._ready: Future[tuple[Kernel, Principal]] = Future()
        self._ended: Future[None] = Future()
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._calls: dict[asyncio.Task[Any], Future[Any]] = {}  # of the loop's thread alone
        self._thread = threading.Thread(target=self._live, name="installation", daemon=True)
        try:
            with HeldBack(self._leave):
                self._thread.start()
                self._kernel, self._principal = self._ready.result()
        except BaseException:
            self.close()
            raise

    def call(self, request: Request) -> Answer:
        """Run one call; ctrl-C cancels it, and what became of it is recorded before this raises."""
        found = self._kernel.find(request.operation)
        if request.queued or (found is not None and found.background and not request.dry_run):
            raise Unavailable(
                "work in the background needs a running server", hint="start one with `superagent up`, then call again"
            )
        call = Call(
            request.operation,
            request.input,
            key=request.key,
            dry_run=request.dry_run,
            deadline_s=request.deadline_s,
            reason=request.reason,
            session=request.session,
        )
        return _answer(self._ask(self._kernel.run(call, self._principal, CHANNEL)))

    def prove(self, proof: str) -> None:
        """Act by a proof from now on."""
        self._principal = self._ask(self._kernel.identify(Credential("local", Secret(proof), Facts(channel=CHANNEL))))

    def follow(self, invocation: str) -> Iterator[Event]:
        """Give stored events until the invocation has ended, or cannot go on without a decision or a server."""
        held = self._ask(self._kernel.held(self._principal, invocation))
        work, at = self._kernel.hands.work, 0
        while True:
            present = self._ask(work.get(held.tenant, held.id)) or held
            found = self._ask(work.events(held.tenant, held.id, at))
            for number, data in found:
                at = number
                yield Event("message", json.loads(data))
            if not found and present.state not in _OPEN:
                break
            if not found:
                time.sleep(STEP_S)
        outcome = self._ask(work.outcome(held.tenant, held.id))
        if outcome is not None:
            self._ask(self._kernel.pipeline.seen(self._principal, outcome))
        yield Event("outcome", _document(outcome) if outcome else _standing(present))

    def feed(self) -> Iterator[Event]:
        """Refuse: while this process owns the folder, nothing else happens."""
        raise Unavailable("there is no live feed without a running server", hint="start one with `superagent up`")

    def download(self, handle: str) -> Iterator[bytes]:
        """Read a stored result in pages."""
        at, size = 0, 1
        blobs = self._kernel.hands.blobs
        while at < size:
            chunk, size = self._ask(blobs.read(self._principal, handle, at, _PAGE))
            yield chunk
            at += len(chunk)

    def close(self) -> None:
        """Close the installation in order, then let others have the folder. Raises what went wrong in closing.

        An approved call that runs in the background is waited for: it ends within its own deadline.
        """
        try:
            with HeldBack(lambda: None):  # it closes already, and what it still has to write down is worth a moment
                self._leave()
                if self._thread.ident is not None:  # it was begun
                    self._ended.result()
        finally:
            self._lock.release()

    def _leave(self) -> None:
        with suppress(RuntimeError):  # it could not be opened, and its loop has ended
            self._loop.call_soon_threadsafe(self._stop.set)

    def _ask(self, work: Coroutine[Any, Any, T]) -> T:
        """Run work on the installation's loop and wait for it; an interrupt cancels it and waits for its end."""
        done: Future[T] = Future()
        with HeldBack(self._cancel) as interrupt:
            self._loop.call_soon_threadsafe(self._begin, work, done)
            if interrupt.pressed:  # before there was anything to cancel
                self._cancel()
            return done.result()

    def _cancel(self) -> None:
        self._loop.call_soon_threadsafe(self._cancel_calls)

    # ---- on the loop

    def _begin(self, work: Coroutine[Any, Any, T], done: Future[T]) -> None:
        task = self._loop.create_task(work)
        self._calls[task] = done
        task.add_done_callback(self._end)

    def _end(self, task: asyncio.Task[Any]) -> None:
        done = self._calls.pop(task)
        if done.done():
            return
        fault = asyncio.CancelledError() if task.cancelled() else task.exception()
        if fault is not None:
            done.set_exception(fault)
        else:
            done.set_result(task.result())

    def _cancel_calls(self) -> None:
        for task in self._calls:
            task.cancel()
        self._loop.call_later(ENDING_S, self._give_up, tuple(self._calls.values()))

    def _give_up(self, calls: tuple[Future[Any], ...]) -> None:
        """Wait no longer for calls that do not end though they were cancelled."""
        for done in calls:
            if not done.done():
                done.set_exception(asyncio.CancelledError())

    def _live(self) -> None:
        try:
            with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
                runner.run(self._own())
        except BaseException as fault:
            (self._ended if self._ready.done() else self._ready).set_exception(bare(fault))
        if not self._ended.done():
            self._ended.set_result(None)

    async def _own(self) -> None:
        async with self._launch.open_installation(self._data) as installation:
            kernel = installation.kernel
            assert isinstance(kernel, Kernel)
            try:
                principal = await self._principal_of(installation, kernel)
            except Problem as problem:
                self._ready.set_exception(problem)
                return
            self._ready.set_result((kernel, principal))
            await self._stop.wait()

    async def _principal_of(self, installation: Installation, kernel: Kernel) -> Principal:
        if self._key is not None:
            return await kernel.identify(Credential("bearer", self._key, Facts(channel=CHANNEL)))
        owner = await installation.owner(CHANNEL)
        assert isinstance(owner, Principal)
        return owner


def _answer(outcome: Outcome) -> Answer:
    if outcome.problem is not None:
        return Answer(outcome.problem.status, outcome.problem.document(outcome.invocation))
    return Answer(200, _document(outcome))


def _document(outcome: Outcome) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(outcome.encode())
    return found


def _standing(held: Held) -> dict[str, Any]:
    """Give the outcome object of an invocation that has none yet."""
    return {"invocation": held.id, "operation": held.invocation.call.operation, "status": held.state.value}

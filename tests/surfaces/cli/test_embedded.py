"""The kernel in the command's own process is opened and closed in order, whatever happens in between."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from superagent.__main__ import LAUNCH
from superagent.app import Installation, open_installation
from superagent.core.problems import Unavailable
from superagent.runtime.instance_lock import take
from superagent.sdk import Context, Effect, Nothing, Plugin, Risk
from superagent.settings import load
from superagent.surfaces.cli.launch import Launch
from superagent.surfaces.cli.main import run
from tests.surfaces.cli.conftest import Cli

Opener = Callable[[Path], AbstractAsyncContextManager[Installation]]


def launch(opener: Opener) -> Launch:
    return Launch(LAUNCH.data_folder, opener, LAUNCH.serve)


def is_free(data: Path) -> bool:
    lock = take(data / "state", 0.0)
    if lock is not None:
        lock.release()
    return lock is not None


class Slow:
    """A plugin with an operation that never ends, and the moment at which a call of it has begun."""

    def __init__(self) -> None:
        self.plugin, self.begun = Plugin("slow"), threading.Event()

        @self.plugin.operation(risk=Risk.LOW, effect=Effect.READ)
        async def wait(ctx: Context) -> Nothing:
            """Wait for ever."""
            self.begun.set()
            await asyncio.Event().wait()
            return Nothing()

    def launch(self) -> Launch:
        """Open installations that have the plugin."""
        return launch(lambda data: open_installation(load(data), extra=(self.plugin,)))


@contextmanager
def interrupted_after(moment: threading.Event, then: Callable[[], None] = lambda: None) -> Generator[None]:
    """Press ctrl-C once, when that moment has come while the body runs."""

    def interrupt() -> None:
        if moment.wait(20):
            os.kill(os.getpid(), signal.SIGINT)
            then()

    interrupting = threading.Thread(target=interrupt)
    interrupting.start()
    try:
        yield
    finally:
        interrupting.join()


def test_an_interrupted_call_is_cancelled_recorded_and_only_then_left(
    alone: Path, run_here: Cli, capfd: pytest.CaptureFixture[str]
) -> None:
    slow = Slow()

    with interrupted_after(slow.begun):
        assert run(["--data", str(alone), "call", "slow.wait"], slow.launch()) == 130

    assert "stopped" in capfd.readouterr().err
    audit = run_here("--data", str(alone), "audit", "query", "--operation", "slow.wait", "--json")
    assert [one["status"] for one in audit.document["output"]["records"]] == ["cancelled"]


def test_an_interrupt_that_meets_a_call_as_it_is_handed_over_cancels_it_too(
    tmp_path: Path, run_here: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow, hand_over = Slow(), asyncio.run_coroutine_threadsafe

    def interrupted(work: Coroutine[Any, Any, Any], loop: asyncio.AbstractEventLoop) -> Any:
        hand_over(work, loop)
        assert slow.begun.wait(20)
        raise KeyboardInterrupt  # as a signal does that arrives before the caller holds what it could cancel

    with monkeypatch.context() as within:
        within.setattr(asyncio, "run_coroutine_threadsafe", interrupted)
        assert run(["--data", str(tmp_path), "call", "slow.wait"], slow.launch()) == 130

    audit = run_here("--data", str(tmp_path), "audit", "query", "--operation", "slow.wait", "--json")
    assert [one["status"] for one in audit.document["output"]["records"]] == ["cancelled"]


def test_an_interrupt_that_meets_an_installation_as_it_closes_waits_for_it(alone: Path) -> None:
    closing, go_on, closed = threading.Event(), threading.Event(), threading.Event()

    @asynccontextmanager
    async def opener(data: Path) -> AsyncGenerator[Installation]:
        async with open_installation(load(data)) as installation:
            yield installation
            closing.set()
            await asyncio.to_thread(go_on.wait, 20)
        closed.set()

    with interrupted_after(closing, go_on.set):
        assert run(["--data", str(alone), "call", "access.whoami"], launch(opener)) == 130

    assert closed.is_set()
    assert is_free(alone)


def test_what_goes_wrong_in_closing_is_told_and_the_folder_is_free_all_the_same(
    alone: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    @asynccontextmanager
    async def opener(data: Path) -> AsyncGenerator[Installation]:
        async with open_installation(load(data)) as installation:
            yield installation
        raise Unavailable("the disk is full")

    assert run(["--data", str(alone), "call", "access.whoami"], launch(opener)) == 5
    out, err = capfd.readouterr()
    assert (out.startswith("done  access.whoami"), "the disk is full" in err) == (True, True)
    assert is_free(alone)


def test_what_goes_wrong_in_opening_is_told_and_the_folder_is_free_all_the_same(run_here: Cli, tmp_path: Path) -> None:
    (tmp_path / "superagent.toml").write_text('[server]\nport = "x"\n')
    ran = run_here("--data", str(tmp_path), "call", "access.whoami", "--json")
    assert (ran.code, ran.document["type"]) == (1, "/problems/invalid-input")
    assert "server.port" in json.dumps(ran.document)
    assert is_free(tmp_path)

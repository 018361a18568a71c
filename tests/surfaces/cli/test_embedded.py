"""The kernel in the command's own process is opened and closed in order, whatever happens in between."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import threading
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, nullcontext, suppress
from pathlib import Path

import pytest

from superagent.__main__ import LAUNCH
from superagent.app import Installation, open_installation
from superagent.core.problems import Unavailable
from superagent.runtime.instance_lock import take
from superagent.sdk import Context, Effect, Nothing, Plugin, Risk
from superagent.settings import load
from superagent.surfaces.cli.embedded import Embedded
from superagent.surfaces.cli.launch import Launch
from superagent.surfaces.cli.main import run
from tests.surfaces.cli.command_line import set_up
from tests.surfaces.cli.conftest import Cli

Opener = Callable[[Path], AbstractAsyncContextManager[Installation]]


def launch(opener: Opener) -> Launch:
    return Launch(LAUNCH.data_folder, opener, LAUNCH.serve, LAUNCH.mcp)


def is_free(data: Path) -> bool:
    lock = take(data / "state", 0.0)
    if lock is not None:
        lock.release()
    return lock is not None


class Slow:
    """A plugin with an operation that never ends, and the moment at which a call of it has begun."""

    def __init__(self, *, stubborn: bool = False) -> None:
        self.plugin, self.begun = Plugin("slow"), threading.Event()

        @self.plugin.operation(risk=Risk.LOW, effect=Effect.READ)
        async def wait(ctx: Context) -> Nothing:
            """Wait for ever."""
            self.begun.set()
            with suppress(asyncio.CancelledError) if stubborn else nullcontext():
                await asyncio.Event().wait()
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
    tmp_path: Path, run_here: Cli, capfd: pytest.CaptureFixture[str]
) -> None:
    slow = Slow()

    with interrupted_after(slow.begun):
        assert run(["--data", str(set_up(tmp_path)), "call", "slow.wait"], slow.launch()) == 130

    assert "stopped" in capfd.readouterr().err
    audit = run_here("--data", str(tmp_path), "audit", "query", "--operation", "slow.wait", "--json")
    assert [one["status"] for one in audit.document["output"]["records"]] == ["cancelled"]


def test_an_interrupt_that_meets_a_call_as_it_is_handed_over_is_not_lost(
    tmp_path: Path, run_here: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow, begin = Slow(), Embedded._begin  # pyright: ignore[reportPrivateUsage] - the moment to meet

    def met(self: Embedded) -> object:
        signal.raise_signal(signal.SIGINT)
        return begin.__get__(self)

    with monkeypatch.context() as within:
        within.setattr(Embedded, "_begin", property(met))
        assert run(["--data", str(set_up(tmp_path)), "call", "slow.wait"], slow.launch()) == 130

    audit = run_here("--data", str(tmp_path), "audit", "query", "--operation", "slow.wait", "--json")
    statuses = [one["status"] for one in audit.document["output"]["records"]]
    assert statuses == (["cancelled"] if slow.begun.is_set() else [])


def test_a_call_that_does_not_end_though_it_was_cancelled_is_left_to_the_end_of_all(
    tmp_path: Path, run_here: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = Slow(stubborn=True)
    monkeypatch.setattr("superagent.surfaces.cli.embedded.ENDING_S", 0.05)

    with interrupted_after(slow.begun):
        assert run(["--data", str(set_up(tmp_path)), "call", "slow.wait"], slow.launch()) == 130

    audit = run_here("--data", str(tmp_path), "audit", "query", "--operation", "slow.wait", "--json")
    assert [one["status"] for one in audit.document["output"]["records"]] == ["cancelled"]


def test_an_interrupt_while_the_installation_opens_closes_it_again(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    opening, go_on, closed = threading.Event(), threading.Event(), threading.Event()

    @asynccontextmanager
    async def opener(data: Path) -> AsyncGenerator[Installation]:
        opening.set()
        await asyncio.to_thread(go_on.wait, 20)
        async with open_installation(load(data)) as installation:
            yield installation
        closed.set()

    with interrupted_after(opening, go_on.set):
        assert run(["--data", str(set_up(tmp_path)), "call", "access.whoami"], launch(opener)) == 130

    assert capfd.readouterr().out == ""
    assert closed.is_set()
    assert is_free(tmp_path)


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
    set_up(tmp_path)
    (tmp_path / "superagent.toml").write_text('[server]\nport = "x"\n')
    ran = run_here("--data", str(tmp_path), "call", "access.whoami", "--json")
    assert (ran.code, ran.document["type"]) == (1, "/problems/invalid-input")
    assert "server.port" in json.dumps(ran.document)
    assert is_free(tmp_path)

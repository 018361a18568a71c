"""The kernel in the command's own process is opened and closed in order, whatever happens in between."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import threading
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

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


@pytest.mark.soak  # not stable on a busy machine yet: see why before trusting it
def test_an_interrupted_call_is_cancelled_recorded_and_only_then_left(
    alone: Path, run_here: Cli, capfd: pytest.CaptureFixture[str]
) -> None:
    slow, begun = Plugin("slow"), threading.Event()

    @slow.operation(risk=Risk.LOW, effect=Effect.READ)
    async def wait(ctx: Context) -> Nothing:
        """Wait for ever."""
        begun.set()
        await asyncio.Event().wait()
        return Nothing()

    def interrupt() -> None:
        assert begun.wait(20)
        os.kill(os.getpid(), signal.SIGINT)

    interrupting = threading.Thread(target=interrupt)
    interrupting.start()
    opener: Opener = lambda data: open_installation(load(data), extra=(slow,))  # noqa: E731
    assert run(["--data", str(alone), "call", "slow.wait"], launch(opener)) == 130
    interrupting.join()
    assert "stopped" in capfd.readouterr().err
    audit = run_here("--data", str(alone), "audit", "query", "--operation", "slow.wait", "--json")
    assert [one["status"] for one in audit.document["output"]["records"]] == ["cancelled"]


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

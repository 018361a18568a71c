"""Server, launcher and hosted plugins killed: after that no process of a plugin is left, and the next call works."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.crash.platform import Server, serving
from tests.needs import program
from tests.runtime.hosted.here import plugin_in
from tests.until import until

NAME = f"crash{os.getpid()}"  # in the command line of each process, and of no other run's
SOURCE = f'''
"""Crash: says a word."""
from superagent.sdk import Context, Effect, Output, Plugin, Risk

plugin = Plugin("{NAME}")


class Word(Output):
    """A word."""

    word: str


@plugin.operation(risk=Risk.LOW, effect=Effect.READ)
async def say(ctx: Context) -> Word:
    """Say a word."""
    return Word(word="hello")
'''
pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


def processes() -> dict[int, str]:
    """Give what runs the plugin: bubblewrap and what is in it."""
    found: dict[int, str] = {}
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = place.read_bytes()
        except OSError:
            continue
        if f"\0{NAME}\0".encode() in line and b"hosted/__main__.py" in line:
            found[int(place.parent.name)] = line.decode("utf-8", "replace")
    return found


def ready(data: Path) -> None:
    program("bwrap", "bubblewrap")
    plugin_in(data / "plugins" / NAME, SOURCE)
    (data / "superagent.toml").write_text(f'[plugins]\nhosted = ["{NAME}"]\n')


def says(server: Server) -> bool:
    return server.call(f"{NAME}.say") == {"word": "hello"}


def test_no_process_of_a_plugin_outlives_its_server(tmp_path: Path) -> None:
    data = tmp_path / "data"
    ready(data)
    with serving(data) as server:
        assert says(server)
        assert processes()
        server.kill()
        until(lambda: not processes(), "the end of every process")
    with serving(data) as server:
        assert says(server)
    assert not processes()


def test_a_killed_plugin_and_a_killed_launcher_are_started_anew(tmp_path: Path) -> None:
    data = tmp_path / "data"
    ready(data)
    with serving(data) as server:
        assert says(server)
        for _ in range(2):
            before = processes()
            os.kill(max(before), signal.SIGKILL)
            until(lambda gone=before: not processes().keys() & gone.keys(), "the end of what was killed")
            assert says(server)
        own = [
            int(child)
            for place in Path(f"/proc/{server.process.pid}/task").glob("*/children")
            for child in place.read_text().split()
            if b"superagent_launcher" in Path(f"/proc/{child}/cmdline").read_bytes()
        ]
        before = processes()
        for launcher in own:
            os.kill(launcher, signal.SIGKILL)
        until(lambda: not processes().keys() & before.keys(), "the end of what the launcher had started")
        assert says(server)
    assert not processes()

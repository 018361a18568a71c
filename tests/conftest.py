"""What every test gets: settings of the tools, and a loud list of what could not run on this machine."""

from __future__ import annotations

import os
import signal
from collections.abc import Generator
from typing import cast

import pytest
from hypothesis import HealthCheck, settings

from superagent.runtime.net import guard
from superagent.sparing import spare_the_lasting
from tests import postgresql, where

# shared machines stall: a slow example is no fault of the property
settings.register_profile("house", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", settings.get_profile("house"), derandomize=True, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") else "house")

# a shell without job control starts what it puts into the background with ctrl-C ignored, and every process that a test
# starts would inherit that: nothing could be interrupted, and each test of ctrl-C would wait for ever
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGQUIT, signal.SIG_DFL)


@pytest.fixture(autouse=True)
def guards_of_others_rest(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a house that lasts the whole session guard only those tests that use it: a guard stands over the process."""
    if {"house", "strict_house"}.isdisjoint(request.fixturenames):
        monkeypatch.setattr(guard, "_active", ())


@pytest.fixture(scope="session")
def postgres() -> Generator[postgresql.Server]:
    """Give a PostgreSQL server that lasts as long as this test process."""
    with postgresql.server() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def each_database(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run a test once on each kind of database; what it opens with `where` lies there. Gives the kind."""
    if request.param == "postgresql":
        monkeypatch.setenv(where.VARIABLE, str(request.getfixturevalue("postgres").folder))
    return request.param


def pytest_collection_finish() -> None:
    """Keep the collector from walking thousands of collected tests again and again."""
    spare_the_lasting()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """List what was skipped and why, where nobody can overlook it."""
    skipped = terminalreporter.getreports("skipped")
    if not skipped:
        return
    terminalreporter.section("NOT SHOWN HERE", sep="!", yellow=True, bold=True)
    for report in skipped:
        why = cast(object, report.longrepr)
        text = str(cast(tuple[str, int, str], why)[2] if isinstance(why, tuple) else why)
        terminalreporter.line(f"{report.nodeid}: {text.removeprefix('Skipped: ')}")

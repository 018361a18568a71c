"""What the tests of the command line share: one data folder with a server and one without."""

from __future__ import annotations

import io
import json
import secrets
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pytest

from superagent.__main__ import LAUNCH
from superagent.surfaces.cli.main import run
from tests.surfaces.cli.command_line import Ran, Server, serving, set_up

Cli = Callable[..., Ran]


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Generator[Server]:
    """Serve one data folder for all tests."""
    with serving(tmp_path_factory.mktemp("served") / "data") as running:
        yield running


@pytest.fixture(scope="session")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the data folder of an installation that no server holds."""
    return set_up(tmp_path_factory.mktemp("alone") / "data")


@pytest.fixture
def run_here(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Cli:
    """Run command lines in this process: quicker than one of their own, and the same from `main.run` on."""
    monkeypatch.delenv("SUPERAGENT_API_KEY", raising=False)

    def cli(*arguments: str, key: str = "", stdin: bytes = b"") -> Ran:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        capfd.readouterr()
        with monkeypatch.context() as within:
            if key:
                within.setenv("SUPERAGENT_API_KEY", key)
            code = run(arguments, LAUNCH)
        out, err = capfd.readouterr()
        return Ran(code, out, err)

    return cli


@pytest.fixture(params=["embedded", "remote"])
def cli(request: pytest.FixtureRequest, run_here: Cli) -> Cli:
    """Run command lines on a data folder, once by the kernel in this process and once by a server that holds it."""
    if request.param == "embedded":
        data: Path = request.getfixturevalue("alone")
    else:
        data = request.getfixturevalue("server").data
    return lambda *arguments, **more: run_here("--data", str(data), *arguments, **more)


@pytest.fixture
def agent(cli: Cli) -> Callable[..., str]:
    """Make an agent's key that has just these grants, and give it."""

    def make(*grants: dict[str, Any]) -> str:
        given = [part for grant in grants for part in ("--grant", json.dumps(grant))]
        made = cli("keys", "create", f"tester-{secrets.token_hex(4)}", *given, "--json")
        key: str = made.document["output"]["key"]
        return key

    return make

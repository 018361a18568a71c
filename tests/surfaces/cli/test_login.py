"""`superagent login` and `logout` against a real server, and the second factor that a critical call asks for."""

from __future__ import annotations

import json
import stat
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from superagent.core.principal import Secret
from superagent.surfaces.cli import signing_in
from superagent.surfaces.cli.logins import Login
from superagent.surfaces.cli.remote import Remote
from superagent.surfaces.cli.target import Request, output_of
from tests.surfaces.cli.command_line import Ran, Server

Cli = Callable[..., Ran]


class Person:
    """Somebody in front of a browser while the command line waits: does what it is told, then is gone."""

    def __init__(self, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
        self.owner = Remote(server.address, Secret(server.owner_key))
        self.waits: list[float] = []
        self.does: list[Callable[[], object]] = []
        self.codes: list[str] = []
        clock = SimpleNamespace(sleep=self._slept, time=time.time, monotonic=time.monotonic)
        monkeypatch.setattr(signing_in, "time", clock)
        asked = Remote.form

        def seen(remote: Remote, path: str, fields: dict[str, str]) -> tuple[int, dict[str, Any]]:
            status, found = asked(remote, path, fields)
            self.codes += [found["user_code"]] if "user_code" in found else []
            return status, found

        monkeypatch.setattr(Remote, "form", seen)

    def _slept(self, wait_s: float) -> None:
        self.waits.append(wait_s)
        if self.does:
            self.does.pop(0)()

    def decide(self, allow: bool) -> Callable[[], object]:
        """Give what decides on the code that is shown."""
        return lambda: output_of(self.owner, "oauth.device.decide", user_code=self.codes[-1], allow=allow)


@pytest.fixture
def person(server: Server, monkeypatch: pytest.MonkeyPatch) -> Person:
    return Person(server, monkeypatch)


@pytest.fixture
def here(run_here: Cli, server: Server, tmp_path: Path) -> Cli:
    """Give a command line elsewhere: a data folder of its own, and the server by its address alone."""
    return lambda *arguments, **more: run_here(
        "--data", str(tmp_path / "own"), "--server", server.address, *arguments, **more
    )


def kept(tmp_path: Path) -> Path:
    (found,) = (tmp_path / "own" / "logins").glob("*.json")
    return found


def test_who_logged_in_calls_for_themselves_within_what_they_allowed(here: Cli, person: Person, tmp_path: Path) -> None:
    person.does = [person.decide(True)]

    assert here("login", "--scope", "access.whoami").code == 0

    file = kept(tmp_path)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    who = here("call", "access.whoami", "--json")
    assert who.document["output"]["on_behalf_of"] == ["owner"]
    assert here("call", "access.users.list", "--json").code in (1, 3)
    assert person.waits == [5.0]


def test_a_token_that_ends_is_renewed_before_it_is_used(here: Cli, person: Person, tmp_path: Path) -> None:
    person.does = [person.decide(True)]
    assert here("login").code == 0
    file = kept(tmp_path)
    before = json.loads(file.read_text())
    file.write_text(json.dumps(before | {"expires_at": time.time() + 1, "access_token": "eyJ.old.one"}))

    assert here("call", "access.whoami").code == 0

    after = json.loads(file.read_text())
    assert after["refresh_token"] != before["refresh_token"]
    assert after["expires_at"] > time.time() + 60


def test_logging_out_ends_it_there_and_here(here: Cli, person: Person, server: Server, tmp_path: Path) -> None:
    person.does = [person.decide(True)]
    assert here("login").code == 0
    token = json.loads(kept(tmp_path).read_text())["access_token"]

    assert here("logout", "--json").document["revoked"] is True

    assert not list((tmp_path / "own" / "logins").glob("*.json"))
    assert here("call", "access.whoami").code == 2
    assert Remote(server.address, Secret(token)).call(Request("access.whoami", {})).status == 401
    assert here("logout").code == 3


def test_a_consent_that_was_revoked_says_so_and_forgets_the_tokens(here: Cli, person: Person, tmp_path: Path) -> None:
    person.does = [person.decide(True)]
    assert here("login").code == 0
    consents = output_of(person.owner, "access.consents.list")["consents"]
    for one in consents:
        if one["client"] == "superagent-cli":
            output_of(person.owner, "access.consents.revoke", id=one["id"])
    file = kept(tmp_path)
    file.write_text(json.dumps(json.loads(file.read_text()) | {"expires_at": 0.0}))

    said = here("call", "access.whoami")

    assert said.code == 3
    assert "superagent login" in said.err
    assert not file.exists()


def test_a_person_who_refuses_is_believed_and_who_asks_too_often_waits_longer(here: Cli, person: Person) -> None:
    person.does = [lambda: None, lambda: None, person.decide(False)]

    said = here("login")

    assert said.code == 3
    assert "refused" in said.err
    assert person.waits == [5.0, 5.0, 10.0]


def test_what_is_kept_and_broken_is_said_and_not_used(here: Cli, person: Person, tmp_path: Path) -> None:
    person.does = [person.decide(True)]
    assert here("login").code == 0
    kept(tmp_path).write_text('{"access_token": 1}')

    said = here("call", "access.whoami")

    assert said.code == 3
    assert "cannot be read" in said.err


def test_a_server_that_cannot_be_told_is_forgotten_all_the_same(run_here: Cli, tmp_path: Path) -> None:
    login = Login(tmp_path, "http://127.0.0.1:9")
    login.keep({"access_token": "a", "refresh_token": "b", "expires_in": 300})

    said = run_here("--data", str(tmp_path), "--server", "HTTP://127.0.0.1:9/", "logout")

    assert said.code == 0
    assert "could not be told" in said.err
    assert not login.known

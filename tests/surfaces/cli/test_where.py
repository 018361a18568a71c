"""A command goes to the server that was named, else to the one that holds the folder, else it does the work itself."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from superagent.runtime import instance_lock
from superagent.runtime.instance_lock import InstanceLock, started, take
from superagent.surfaces.cli import where
from superagent.surfaces.cli.remote import Remote
from tests.surfaces.cli.command_line import ENTRY, Server, environment, superagent
from tests.surfaces.cli.conftest import Cli
from tests.until import until


def taken(data: Path) -> InstanceLock:
    lock = take(data / "state", 0.0)
    assert lock is not None
    return lock


def test_a_named_server_is_asked_with_the_key_that_was_given(run_here: Cli, server: Server, tmp_path: Path) -> None:
    arguments = ["--server", server.address, "--data", str(tmp_path / "other"), "call", "access.whoami", "--json"]
    assert run_here(*arguments, key=server.owner_key).document["output"]["id"] == "owner"
    assert not (tmp_path / "other").exists()
    without = run_here(*arguments)
    assert (without.code, without.document["type"]) == (2, "/problems/usage")


@pytest.mark.parametrize("joined", [False, True], ids=["apart", "joined"])
@pytest.mark.parametrize("behind", [False, True], ids=["before", "behind"])
@pytest.mark.parametrize(
    "words",
    [("access", "whoami"), ("call", "access.whoami"), ("login",), ("logout",), ("mcp",), ("doctor",), ("keys",),
     ("connect", "cursor", "--dry-run"), ("watch", "01M8MKKQVHX6A70YNTP4WD4QD9")],
    ids=" ".join,
)  # fmt: skip
def test_a_password_in_an_address_is_refused_and_never_shown(
    run_here: Cli, words: tuple[str, ...], behind: bool, joined: bool
) -> None:
    address = "http://user:hidden-word@127.0.0.1:9"
    where = [f"--server={address}"] if joined else ["--server", address]
    ran = run_here(*words, *where, key="sak_1") if behind else run_here(*where, *words, key="sak_1")
    assert ran.code == 2
    assert "takes no name and no password" in ran.err
    assert "hidden-word" not in ran.out + ran.err
    assert "hidden-word" not in json.dumps(run_here("--json", *where, *words, key="sak_1").document)


@pytest.mark.parametrize("url", ["postgresql+psycopg://user:hidden-word@h:abc/x", "user:hidden-word@h"])
def test_a_database_that_is_no_address_is_refused_without_its_password(run_here: Cli, alone: Path, url: str) -> None:
    ran = run_here("--data", str(alone), "migrate-to", url)
    assert (ran.code, "is not the URL of a database" in ran.err) == (5, True)
    assert "hidden-word" not in ran.out + ran.err


def test_the_running_server_of_the_folder_does_the_work(run_here: Cli, server: Server) -> None:
    ran = run_here("--data", str(server.data), "doctor", "--json")
    calls = next(one for one in ran.document["findings"] if one["name"] == "calls")
    assert calls["detail"] == "answered as owner by a running server"


def test_a_folder_that_nobody_holds_is_opened_by_the_command(run_here: Cli, alone: Path) -> None:
    ran = run_here("--data", str(alone), "doctor", "--json")
    calls = next(one for one in ran.document["findings"] if one["name"] == "calls")
    assert calls["detail"].startswith("answered as owner by this very process")


@pytest.mark.parametrize("joined", [False, True], ids=["apart", "joined"])
@pytest.mark.parametrize(
    "words", [("access", "whoami"), ("access.whoami",), ("keys",), ("undo", "01M8MKKQVHX6A70YNTP4WD4QD9", "--dry-run")]
)
def test_where_a_call_goes_may_be_said_behind_it_as_well(
    run_here: Cli, server: Server, alone: Path, tmp_path: Path, words: tuple[str, ...], joined: bool
) -> None:
    def said(flag: str, value: object) -> list[str]:
        return [f"{flag}={value}"] if joined else [flag, str(value)]

    here = ["--data", str(alone), *words, "--json"]  # what would answer if nobody read the rest
    nowhere = run_here(*here, *said("--server", "http://127.0.0.1:1"), key=server.owner_key)
    assert (nowhere.code, nowhere.document["type"]) == (5, "/problems/unavailable")
    other = run_here(*here, *said("--data", tmp_path / "other"))
    assert (other.code, f"`{tmp_path / 'other'}`" in other.document["detail"]) == (5, True)
    unread = run_here(*here, *said("--api-key-file", "/nosuch"))
    assert (unread.code, "/nosuch" in unread.document["detail"]) == (2, True)


def test_where_a_call_goes_needs_a_value(run_here: Cli, alone: Path) -> None:
    for rest in (["--server"], ["--data", "--json"]):
        assert run_here("--data", str(alone), "access", "whoami", *rest).code == 2


def test_a_value_that_looks_like_such_a_flag_is_a_value(run_here: Cli, alone: Path, tmp_path: Path) -> None:
    path = tmp_path / "a"
    assert run_here("--data", str(alone), "files", "write", str(path), "--content=--server=x").code == 0
    assert path.read_text() == "--server=x"


@pytest.mark.parametrize(
    "words",
    [
        ("call", "access.whoami"), ("access", "whoami"), ("audit", "verify"), ("ops",), ("describe", "files.read"),
        ("undo", "--since", "1h"), ("keys", "create", "x"), ("recover",), ("events",), ("mcp", "--as-owner"),
        ("watch", "01ARZ3NDEKTSV4RRFFQ69G5FAV"), ("migrate-to", "postgresql+psycopg://nobody@127.0.0.1:1/x"),
    ],
)  # fmt: skip
def test_a_mistyped_folder_is_named_and_left_as_it_is(run_here: Cli, tmp_path: Path, words: tuple[str, ...]) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "others" / "state").mkdir(parents=True)  # somebody else's, as in `~/.local`
    (tmp_path / "others" / "state").chmod(0o755)
    for name in ("my data", "empty", "others"):
        ran = run_here("--data", str(tmp_path / name), *words, "--json")
        assert (ran.code, ran.document["type"]) == (5, "/problems/unavailable")
        assert ran.document["detail"] == f"nothing is set up in `{tmp_path / name}`"
        assert "superagent up --data" in ran.document["hint"]
    assert not (tmp_path / "my data").exists()
    assert list((tmp_path / "empty").iterdir()) == []
    assert list((tmp_path / "others" / "state").iterdir()) == []
    assert stat.S_IMODE((tmp_path / "others" / "state").stat().st_mode) == 0o755


def test_the_folder_is_free_again_after_the_call(run_here: Cli, alone: Path) -> None:
    assert run_here("--data", str(alone), "call", "access.whoami").code == 0
    taken(alone).release()


def test_a_folder_that_another_call_holds_is_waited_for_and_then_named(
    run_here: Cli, alone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_here("--data", str(alone), "call", "access.whoami")
    monkeypatch.setattr(where, "LOCK_WAIT_S", 0.2)
    with taken(alone):
        begun = time.monotonic()
        ran = run_here("--data", str(alone), "call", "access.whoami")
        assert time.monotonic() - begun >= 0.2
    assert ran.code == 1
    assert f"the data folder is held by process {os.getpid()}" in ran.err


def test_a_call_goes_on_as_soon_as_the_other_has_ended(
    run_here: Cli, alone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_here("--data", str(alone), "call", "access.whoami")
    with taken(alone) as lock, monkeypatch.context() as patch:

        def holder(_: Path) -> None:  # it is asked for whenever the lock was not to be had
            lock.release()

        patch.setattr(instance_lock, "holder", holder)
        assert run_here("--data", str(alone), "call", "access.whoami").code == 0


@pytest.mark.slow
def test_of_calls_at_the_same_time_none_gets_in_the_way_of_another(alone: Path) -> None:
    with ThreadPoolExecutor(2) as pool:
        calls = [pool.submit(superagent, "call", "access.whoami", "--json", data=alone) for _ in range(2)]
        ended = sorted((call.result() for call in calls), key=lambda ran: ran.code)
    assert ended[0].document["status"] == "done"
    # on a machine so slow that the first takes longer than the second waits, that one is told who holds the folder
    assert ended[1].code == 0 or "the data folder is held by process" in ended[1].document["detail"]


def test_a_server_that_holds_the_folder_and_no_longer_listens_is_waited_for(
    run_here: Cli, alone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_here("--data", str(alone), "call", "access.whoami")
    with socket.create_server(("127.0.0.1", 0)) as gone:
        address = f"http://127.0.0.1:{gone.getsockname()[1]}"
    with taken(alone) as lock, monkeypatch.context() as patch:
        lock.publish(address)

        def answers(_: Remote) -> bool:  # asked of a server that is about to end
            lock.release()
            return False

        patch.setattr(Remote, "answers", answers)
        assert run_here("--data", str(alone), "call", "access.whoami").code == 0
    monkeypatch.setattr(where, "LOCK_WAIT_S", 0.0)
    with taken(alone) as lock:
        lock.publish(address)
        ran = run_here("--data", str(alone), "call", "access.whoami")
    assert (ran.code, f"which serves at {address}" in ran.err) == (1, True)


def test_the_owners_key_never_goes_to_an_address_that_a_dead_server_left_behind(alone: Path, run_here: Cli) -> None:
    run_here("--data", str(alone), "call", "access.whoami")
    dead = subprocess.Popen([sys.executable, "-c", "pass"])
    dead.wait(20)
    with socket.create_server(("127.0.0.1", 0)) as thief:
        said = {
            "pid": dead.pid,
            "address": f"http://127.0.0.1:{thief.getsockname()[1]}",
            "since": 0.0,
            "started": started(os.getpid()),
        }
        (alone / "state" / "lock").write_text(json.dumps(said))
        assert run_here("--data", str(alone), "call", "access.whoami").code == 0
        thief.setblocking(False)
        with pytest.raises(BlockingIOError):
            thief.accept()


def test_without_the_owners_key_a_server_is_asked_only_with_another(run_here: Cli, tmp_path: Path) -> None:
    (tmp_path / "state").mkdir(mode=0o700)
    with taken(tmp_path) as lock, socket.create_server(("127.0.0.1", 0)) as listening:
        lock.publish(f"http://127.0.0.1:{listening.getsockname()[1]}")
        ran = run_here("--data", str(tmp_path), "call", "access.whoami")
        assert (ran.code, "there is no owner's key" in ran.err) == (5, True)
        (tmp_path / "state" / "owner.key").write_text("sak_1")
        (tmp_path / "state" / "owner.key").chmod(0o644)
        ran = run_here("--data", str(tmp_path), "call", "access.whoami")
        assert (ran.code, "open to others" in ran.err) == (5, True)


def test_a_state_folder_that_is_a_link_is_refused(run_here: Cli, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir(mode=0o700)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "state").symlink_to(tmp_path / "real")
    ran = run_here("--data", str(tmp_path / "data"), "call", "access.whoami")
    assert ran.code == 5
    assert list((tmp_path / "real").iterdir()) == []


@pytest.mark.parametrize("text", ["", "two words", "a\nb", "schlüssel", "x" * 5000, "a\x00b"])
def test_a_file_without_a_key_in_it_is_wrong_usage(run_here: Cli, tmp_path: Path, text: str) -> None:
    (tmp_path / "key").write_text(text)
    ran = run_here("--data", str(tmp_path / "d"), "--api-key-file", str(tmp_path / "key"), "call", "access.whoami")
    assert (ran.code, "holds no API key" in ran.err) == (2, True)


def test_a_key_file_that_cannot_be_read_is_wrong_usage(run_here: Cli, tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    for name in ("none", "binary"):
        ran = run_here("--api-key-file", str(tmp_path / name), "call", "access.whoami")
        assert (ran.code, "cannot be read" in ran.err) == (2, True)


def test_a_key_that_travels_unencrypted_is_warned_of(run_here: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("superagent.surfaces.cli.remote.CONNECT_S", 0.1)
    ran = run_here("--server", "http://192.0.2.1:1", "call", "access.whoami", key="sak_1")  # RFC 5737: nobody is there
    assert (ran.code, "travels unencrypted" in ran.err) == (5, True)


def test_work_in_the_background_needs_a_server(run_here: Cli, alone: Path, server: Server) -> None:
    ran = run_here("--data", str(alone), "call", "access.whoami", "--async")
    assert (ran.code, "needs a running server" in ran.err) == (5, True)
    queued = run_here("--data", str(server.data), "call", "access.whoami", "--async")
    assert queued.code == 0
    assert queued.out.startswith("queued")
    id = queued.out.split()[-1]
    watched = run_here("--data", str(server.data), "watch", id, "--json")
    assert (watched.code, watched.documents[-1]["output"]["id"]) == (0, "owner")


def test_the_live_feed_needs_a_server_and_shows_what_happens(run_here: Cli, alone: Path, server: Server) -> None:
    assert run_here("--data", str(alone), "events").code == 5
    feed = [*ENTRY, "--data", str(server.data), "events", "--count", "1", "--json"]
    with subprocess.Popen(feed, stdout=subprocess.PIPE, env=environment()) as process:

        def told() -> bool:
            run_here("--data", str(server.data), "call", "access.whoami")
            return process.poll() is not None

        until(told, "an event", 50)
        assert process.stdout is not None
        assert json.loads(process.stdout.read())["kind"]
    assert process.returncode == 0


def test_ctrl_c_is_how_the_live_feed_ends(run_here: Cli, server: Server) -> None:
    feed = [*ENTRY, "--data", str(server.data), "events"]
    with subprocess.Popen(feed, stdout=subprocess.PIPE, env=environment()) as process:
        assert process.stdout is not None
        os.set_blocking(process.stdout.fileno(), False)

        def told() -> bytes | None:
            assert process.stdout is not None
            run_here("--data", str(server.data), "call", "access.whoami")
            return process.stdout.read()

        until(told, "an event", 50)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=50)
    assert process.returncode == 0


def test_what_waits_for_a_decision_is_not_waited_for_where_nobody_can_decide(run_here: Cli, alone: Path) -> None:
    ask = {"effect": "ask", "operations": ["files.write"], "require": {"approvals": 1}}
    made = run_here("--data", str(alone), "keys", "create", "waiting", "--grant", json.dumps(ask), "--json")
    key: str = made.document["output"]["key"]
    write = ["call", "files.write", "--input", '{"path": "/srv/a", "content": ""}']
    id = run_here("--data", str(alone), *write, "--json", key=key).document["invocation"]
    watched = run_here("--data", str(alone), "watch", id)
    assert (watched.code, watched.out.startswith("waiting  files.write")) == (4, True)


def test_an_unknown_invocation_cannot_be_watched(run_here: Cli, alone: Path, server: Server) -> None:
    for data in (alone, server.data):
        assert run_here("--data", str(data), "watch", "01ARZ3NDEKTSV4RRFFQ69G5FAV").code == 1

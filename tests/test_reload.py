"""Several workers take up their settings anew under load: nobody's request is lost, and no limit forgotten."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from superagent.runtime.run_workers import RELOAD
from tests.promise import promise
from tests.surfaces.cli.command_line import PATIENCE_S, Server, serving, superagent
from tests.test_asgi import alive, call, children, done
from tests.until import until

LONG_S = 3


class Client:
    """A client that keeps its connection, sends one request after the other, and never sends one twice."""

    def __init__(self, server: Server, key: str) -> None:
        host, port = server.address.removeprefix("http://").split(":")
        self.line = http.client.HTTPConnection(host, int(port), timeout=PATIENCE_S)
        self.headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        self.answered: list[tuple[int, Any]] = []
        self.lost: list[str] = []

    def ask(self, operation: str, input: dict[str, Any]) -> None:
        try:
            self.line.request("POST", f"/v1/operations/{operation}", json.dumps(input), self.headers)
            response = self.line.getresponse()
            self.answered.append((response.status, json.loads(response.read())))
        except (OSError, http.client.HTTPException) as fault:
            self.lost.append(repr(fault))
            self.line.close()


def reloaded(server: Server, before: dict[int, str], count: int = 2) -> dict[int, str]:
    """Wait until all workers are others than before, and those are gone."""

    def others() -> bool:
        now = children(server.process.pid)
        return len(now) == count and not set(now) & set(before)

    until(others, "new workers, and the end of the old ones", PATIENCE_S)
    until(lambda: not any(alive(pid) for pid in before), "their very end", PATIENCE_S)  # its name goes before a process
    return children(server.process.pid)


def newcomers(server: Server, before: dict[int, str]) -> None:
    until(lambda: not set(children(server.process.pid)) <= set(before), "new workers", PATIENCE_S)


def workers_of(server: Server, count: int = 2) -> dict[int, str]:
    """Give the workers once all of them serve: one that is still reading its settings may find others than meant."""
    seen: set[str] = set()

    def serve() -> bool:
        answer = httpx.get(f"{server.address}/metrics", headers={"Authorization": f"Bearer {server.owner_key}"})
        seen.update(re.findall(r'worker="(\d)"', answer.text))
        return len(seen) == len(children(server.process.pid)) == count

    until(serve, "the workers", PATIENCE_S)
    return children(server.process.pid)


@promise("7.4")
@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_reload_under_load_loses_nothing(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "superagent.toml").write_text("[limits]\nagent_rate_per_s = 100000\nagent_burst = 100000\n")
    with serving(data, "--workers", "2") as server:
        before = workers_of(server)
        key = done(server, "access.keys.create", {"name": "eager"})["key"]
        clients = [Client(server, key) for _ in range(4)]
        conversation = Conversation(server, key)
        over = threading.Event()

        def load(number: int, client: Client) -> None:
            count = 0
            while not over.is_set():
                count += 1
                write = {"path": f"c{number}-{count}.txt", "content": f"{number} {count}"}
                client.ask("files.write" if count % 4 == 0 else "access.whoami", write if count % 4 == 0 else {})

        threads = [threading.Thread(target=load, args=pair) for pair in enumerate(clients)]
        for one in threads:
            one.start()
        conversation.say()
        for _ in range(2):
            so_far = len(clients[0].answered)
            until(lambda n=so_far: len(clients[0].answered) > n + 20, "answers", PATIENCE_S)
            assert superagent("reload", data=data).code == 0
            newcomers(server, before)
            conversation.say()  # on the connection that it has, to the worker that leaves
            conversation.close()
            before = reloaded(server, before)
            conversation = Conversation(server, key)
            conversation.say()
        conversation.close()
        over.set()
        for one in threads:
            one.join(PATIENCE_S)
        for client in clients:
            client.line.close()

        assert [fault for client in clients for fault in client.lost] == []
        statuses = [status for client in clients for status, _ in client.answered]
        assert set(statuses) == {200}
        assert len(statuses) > 200
        written = [one["invocation"] for client in clients for _, one in client.answered if one["effects"]]
        assert len(written) > 20
        until(lambda: set(written) <= outcomes(server), "the newest records", PATIENCE_S)
        verified = done(server, "audit.verify")
        assert verified["ok"] is True
        assert verified["faults"] == []


def outcomes(server: Server) -> set[str]:
    """Give the invocations of `files.write` that have an outcome in the record."""
    found: set[str] = set()
    wanted: dict[str, Any] = {"operation": "files.write", "actor": "eager", "limit": 1000}
    while True:
        page = done(server, "audit.query", wanted)
        found |= {one["invocation"] for one in page["records"] if one["kind"] == "outcome"}
        if not page.get("cursor"):
            return found
        wanted["cursor"] = page["cursor"]


class Conversation:
    """A stream of calls whose connection stays open between them."""

    def __init__(self, server: Server, key: str) -> None:
        host, port = server.address.removeprefix("http://").split(":")
        self.line = http.client.HTTPConnection(host, int(port), timeout=PATIENCE_S)
        self.line.putrequest("POST", "/v1/stream")
        self.line.putheader("Authorization", f"Bearer {key}")
        self.line.putheader("Content-Type", "application/x-ndjson")
        self.line.putheader("Transfer-Encoding", "chunked")
        self.line.endheaders()
        self.answer: http.client.HTTPResponse | None = None

    def say(self) -> None:
        said = json.dumps({"operation": "access.whoami", "input": {}}).encode() + b"\n"
        self.line.send(b"%x\r\n%b\r\n" % (len(said), said))
        if self.answer is None:
            self.answer = self.line.getresponse()
        assert json.loads(self.answer.readline())["status"] == "done"

    def close(self) -> None:
        self.line.send(b"0\r\n\r\n")
        assert self.answer is not None
        assert self.answer.read() == b""
        self.line.close()


@promise("7.4")
@pytest.mark.slow
def test_a_reload_forgets_no_limit_and_takes_up_settings(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    settings = "[limits]\nagent_rate_per_s = 0.001\nagent_burst = 6\n"
    (data / "superagent.toml").write_text(settings)
    with serving(data, "--workers", "2") as server:
        before = workers_of(server)
        key = done(server, "access.keys.create", {"name": "eager"})["key"]
        while call(server, "access.whoami", key=key).status_code == 200:
            pass
        (data / "superagent.toml").write_text(settings + "[server]\nmax_body_bytes = 2000\n")

        server.process.send_signal(RELOAD)
        reloaded(server, before)

        assert {call(server, "access.whoami", key=key).status_code for _ in range(8)} == {429}
        assert call(server, "files.write", {"path": "/tmp/x", "content": "x" * 3000}).status_code == 413


@promise("7.4")
@pytest.mark.slow
def test_settings_that_cannot_be_read_reload_nothing(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with serving(data, "--workers", "2") as server:
        before = workers_of(server)
        done(server, "access.whoami")
        (data / "superagent.toml").write_text("[server]\nmax_body_bytes = 'many'\n")

        server.process.send_signal(RELOAD)
        end = time.monotonic() + 3
        until(lambda: time.monotonic() > end or children(server.process.pid) != before, "a while without a change")

        assert children(server.process.pid) == before
        assert done(server, "access.whoami")["id"] == "owner"
        (data / "superagent.toml").unlink()
        server.process.send_signal(RELOAD)
        reloaded(server, before)
        assert done(server, "access.whoami")["id"] == "owner"


def test_one_process_is_not_reloaded_and_goes_on(tmp_path: Path) -> None:
    with serving(tmp_path / "data") as server:
        asked = superagent("reload", data=server.data)
        assert (asked.code, "is one process" in asked.err, "--workers 2" in asked.err) == (5, True, True)
        server.process.send_signal(RELOAD)

        assert done(server, "access.whoami")["id"] == "owner"
        assert server.process.poll() is None


def test_a_stop_during_a_reload_stops_old_and_new(tmp_path: Path) -> None:
    with serving(tmp_path / "data", "--workers", "2") as server:
        before = workers_of(server)
        idle = Client(server, server.owner_key)
        idle.ask("access.whoami", {})
        server.process.send_signal(RELOAD)
        until(lambda: len(children(server.process.pid)) > 2, "new workers beside the old", PATIENCE_S)
        everybody = {**before, **children(server.process.pid)}

        server.process.send_signal(signal.SIGTERM)

        assert server.process.wait(PATIENCE_S) == 0
        idle.line.close()
        assert not any(alive(pid) for pid in everybody)


def test_nothing_is_told_to_reload_where_nothing_serves(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir(mode=0o700)
    left = {"pid": os.getpid(), "address": "http://127.0.0.1:1", "since": 1.0, "started": 1}
    (tmp_path / "state/lock").write_text(json.dumps(left))

    assert superagent("reload", data=tmp_path).code == 5  # this process bears the number, and lives to tell

"""The server entry: where it listens, several workers on one socket, deaths, signals, and one holder of a folder."""

from __future__ import annotations

import concurrent.futures
import contextlib
import http.client
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from superagent.asgi import main
from superagent.core.problems import Unavailable
from superagent.runtime.net.listening import address_of, listen
from superagent.runtime.sign_in.recovery import offer
from tests.promise import promise
from tests.surfaces.cli.command_line import ENTRY, PATIENCE_S, Server, environment, serving, superagent
from tests.until import until

TLS = httpx.create_ssl_context()  # nothing here is encrypted, but a client that makes its own takes 50 ms for that


def children(pid: int) -> dict[int, str]:
    """Give the processes that a process started, with their command lines."""
    found: dict[int, str] = {}
    for one in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(one.read_text().rpartition(") ")[2].split()[1])
            line = (one.parent / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
        if parent == pid and "superagent.asgi" in line:
            found[int(one.parent.name)] = line
    return found


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()[0] != "Z"
    except OSError:
        return False


def call(server: Server, operation: str, input: dict[str, Any] | None = None, key: str = "") -> httpx.Response:
    """Call over a connection of its own, so that any worker may take it."""
    return httpx.post(
        f"{server.address}/v1/operations/{operation}",
        json=input or {},
        headers={"X-API-Key": key or server.owner_key},
        timeout=PATIENCE_S,
        verify=TLS,
    )


def done(server: Server, operation: str, input: dict[str, Any] | None = None, key: str = "") -> Any:
    response = call(server, operation, input, key)
    assert response.status_code == 200, response.text
    return response.json()["output"]


def metrics(server: Server) -> str:
    """Ask for the metrics over a connection of its own: whichever worker takes it tells its own."""
    headers = {"X-API-Key": server.owner_key}
    return httpx.get(f"{server.address}/metrics", headers=headers, timeout=PATIENCE_S, verify=TLS).text


def both_serve(server: Server) -> dict[int, str]:
    """Wait until two workers have answered, by the names they give in the metrics."""
    seen: set[str] = set()

    def asked() -> bool:
        text = metrics(server)
        seen.update(line for line in text.splitlines() if line.startswith("superagent_audit_healthy"))
        return len(seen) == 2

    until(asked, "an answer of the second worker", PATIENCE_S)
    return children(server.process.pid)


@pytest.fixture(scope="module")
def workers(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with serving(tmp_path_factory.mktemp("workers") / "data", "--workers", "2") as server:
        both_serve(server)
        yield server


@promise("6.1")
@pytest.mark.slow
def test_two_workers_answer_on_one_socket(workers: Server) -> None:
    started = children(workers.process.pid)

    assert len(started) == 2
    assert all("--fd=" in line and f"{sys.executable} -P -m" in line for line in started.values())
    assert done(workers, "access.whoami")["id"] == "owner"


@promise("1.1")
@pytest.mark.slow
def test_both_workers_take_up_a_change_of_policy_as_a_whole(workers: Server) -> None:
    """Each answer is the one of the version that its decision names, and soon all are the new one's."""
    made = done(workers, "access.keys.create", {"name": "follower"})
    grant = {"effect": "deny", "subject": "agent:follower", "operations": ["files.list"]}
    before = done(workers, "policy.list", {"limit": 1})["version"]["number"]

    applied = done(workers, "policy.apply", {"add": [grant]})["version"]

    in_a_row = 0

    def followed() -> bool:
        nonlocal in_a_row
        answer = call(workers, "files.list", {"path": made["workspace"]}, made["key"])
        known = call(workers, "access.whoami", key=made["key"]).json()["decision"]["policy_version"]
        assert known in (before, applied)
        assert answer.status_code in (200, 404)
        if answer.status_code == 200:
            assert answer.json()["decision"]["policy_version"] == before
        in_a_row = in_a_row + 1 if answer.status_code == 404 and known == applied else 0
        return in_a_row == 30  # over as many connections: whichever worker takes them

    until(followed, "the new policy in both workers", PATIENCE_S)


@promise("11.12")
@pytest.mark.slow
@pytest.mark.timeout(180)
def test_the_kill_switch_stops_every_agent_in_both_workers_and_no_person(workers: Server) -> None:
    """Over a lasting connection to each worker, both of which have just served the agent."""
    both_serve(workers)
    agent = done(workers, "access.keys.create", {"name": "runaway"})["key"]
    with contextlib.ExitStack() as stack:
        held: dict[str, httpx.Client] = {}

        def one_to_each() -> bool:
            client = httpx.Client(base_url=workers.address, headers={"X-API-Key": agent}, timeout=PATIENCE_S)
            client = stack.enter_context(client)
            text = client.get("/metrics", headers={"X-API-Key": workers.owner_key}).text
            held.setdefault(next(line for line in text.splitlines() if line.startswith("superagent_audit_h")), client)
            return len(held) == 2

        def told() -> list[int]:
            return [one.post("/v1/operations/access.whoami", json={}).status_code for one in held.values()]

        until(one_to_each, "a connection to each worker", PATIENCE_S)
        assert told() == [200, 200]

        done(workers, "access.stop_all", {"reason": "it runs away"})

        until(lambda: told() == [401, 401], "the end of every agent in both workers", 5.0)
        assert told() == [401, 401]
        assert done(workers, "access.whoami")["id"] == "owner"
        refused = done(workers, "audit.installation", {"text": "unauthenticated", "limit": 50})["records"]
        assert refused
        done(workers, "access.release", {})
        until(lambda: told() == [200, 200], "the agent again", 5.0)


@promise("6.1")
@pytest.mark.slow
def test_a_worker_that_is_killed_is_replaced_and_the_other_keeps_serving(workers: Server) -> None:
    first, second = both_serve(workers)
    made = done(workers, "access.keys.create", {"name": "mid-write"})

    def write(number: int) -> int:
        try:
            return call(workers, "files.write", {"path": f"f{number}", "content": "x" * 1000}, made["key"]).status_code
        except httpx.HTTPError:
            return 0  # its connection was one of the killed worker's

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        running = [pool.submit(write, number) for number in range(40)]
        os.kill(first, signal.SIGKILL)
        answered = [one.result() for one in running]
    assert done(workers, "access.whoami")["id"] == "owner"

    until(lambda: len(children(workers.process.pid)) == 2, "a new worker")
    now = both_serve(workers)

    assert second in now
    assert first not in now
    assert answered.count(200) > 5
    verified = done(workers, "audit.verify")
    assert verified["faults"] == []
    assert verified["ok"] is True
    ends = intents_and_outcomes(workers, "files.write", "mid-write")
    assert ends["intent"] <= ends["outcome"]


def intents_and_outcomes(server: Server, operation: str, actor: str) -> dict[str, set[str]]:
    """Give the invocations that have an intent, and those that have an outcome (`unknown` is one)."""
    records = done(server, "audit.query", {"operation": operation, "actor": actor, "limit": 1000})["records"]
    return {kind: {one["invocation"] for one in records if one["kind"] == kind} for kind in ("intent", "outcome")}


@promise("6.1")
@pytest.mark.slow
def test_a_revoked_key_is_refused_by_every_worker_within_a_second(workers: Server) -> None:
    both_serve(workers)
    made = done(workers, "access.keys.create", {"name": "short-lived"})
    for _ in range(20):
        done(workers, "access.whoami", key=made["key"])

    done(workers, "access.keys.revoke", {"id": made["id"]})

    statuses = [call(workers, "access.whoami", key=made["key"]).status_code for _ in range(30)]
    assert set(statuses) == {401}


@promise("6.1")
@pytest.mark.slow
def test_a_grant_is_in_force_in_every_worker_within_a_second(workers: Server) -> None:
    both_serve(workers)
    made = done(workers, "access.keys.create", {"name": "growing"})
    read = {"path": "/etc/hostname"}
    assert call(workers, "files.read", read, made["key"]).status_code == 202
    grant = {
        "effect": "allow",
        "subject": "agent:growing",
        "operations": ["files.read"],
        "where": {"paths": ["/etc/*"]},
    }

    def answers() -> set[int]:
        return {call(workers, "files.read", read, made["key"]).status_code for _ in range(10)}

    id = done(workers, "grants.create", {"grant": grant})["id"]
    until(lambda: answers() == {200}, "the grant in every worker", 1.0)
    done(workers, "grants.revoke", {"id": id})
    until(lambda: answers() == {202}, "its end in every worker", 1.0)


@promise("6.1")
@pytest.mark.slow
@pytest.mark.timeout(240)
def test_an_agents_rate_is_one_over_all_workers(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "superagent.toml").write_text(f"[limits]\nagent_rate_per_s = {RATE_PER_S}\nagent_burst = {BURST}\n")
    with serving(data, "--workers", "2") as server:
        both_serve(server)
        eager = Eager(server, done(server, "access.keys.create", {"name": "eager"})["key"])
        begun = time.time()

        first = eager.until_refused()
        burst = eager.allowed
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            ends = [pool.submit(eager.for_a_while, first.answered + 10.0) for _ in range(4)]
            assert all(one.result() is None for one in ends)
        last = eager.until_refused()

        by_worker = allowed_by_worker(server, "access.whoami")

    assert BURST <= burst <= BURST + RATE_PER_S * (first.answered - begun)
    # at each of the two refusals the bucket held less than one token, so what the rate gave in between was taken
    between = eager.allowed - burst
    assert RATE_PER_S * (last.sent - first.answered) - 1 < between < RATE_PER_S * (last.answered - first.sent) + 1
    assert eager.widest_gap_s < BURST / RATE_PER_S, "this machine stalled for so long that the bucket ran over"
    assert min(by_worker.values()) > 0
    assert sum(by_worker.values()) == eager.allowed


RATE_PER_S, BURST = 10.0, 60


@dataclass(frozen=True)
class Refusal:
    """A call that was refused, between these two moments (epoch seconds, the clock of the bucket itself)."""

    sent: float
    answered: float


class Eager:
    """An agent that calls as fast as it can, over a new connection each time, and counts what was allowed."""

    def __init__(self, server: Server, key: str) -> None:
        self._address = server.address.removeprefix("http://")
        self._headers = {"X-API-Key": key, "Content-Type": "application/json"}
        self._counting = threading.Lock()
        self._answered = time.time()
        self.allowed = 0
        self.widest_gap_s = 0.0

    def call(self) -> Refusal | None:
        """Call once; gives the refusal if it was one."""
        sent = time.time()
        connection = http.client.HTTPConnection(self._address, timeout=PATIENCE_S)
        try:
            connection.request("POST", "/v1/operations/access.whoami", "{}", self._headers)
            status = connection.getresponse().status
        finally:
            connection.close()
        answered = time.time()
        assert status in (200, 429)
        with self._counting:
            self.allowed += status == 200
            self.widest_gap_s = max(self.widest_gap_s, answered - self._answered)
            self._answered = answered
        return None if status == 200 else Refusal(sent, answered)

    def until_refused(self) -> Refusal:
        """Call, nobody else beside, until a call is refused."""
        refusal = until(self.call, "a refusal", PATIENCE_S)
        assert refusal is not None
        return refusal

    def for_a_while(self, end: float) -> None:
        """Call until that moment."""
        while time.time() < end:
            self.call()


def allowed_by_worker(server: Server, operation: str) -> dict[str, int]:
    """Give how many calls each of two workers let through, by its own count."""
    found: dict[str, int] = {}
    pattern = re.compile(rf'call_seconds_count{{operation="{operation}",status="done",worker="(.)"}} (\d+)')

    def asked() -> bool:
        text = metrics(server)
        worker = text.rpartition('worker="')[2][0]
        found[worker] = sum(int(count) for _, count in pattern.findall(text))
        return len(found) == 2

    until(asked, "the metrics of the second worker", PATIENCE_S)
    return found


@promise("6.1")
@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("count", [1, 2])
def test_a_signal_stops_everything_cleanly(tmp_path: Path, how: signal.Signals, count: int) -> None:
    with serving(tmp_path / "data", "--workers", str(count)) as server:
        done(server, "access.whoami")
        started = children(server.process.pid)

        server.process.send_signal(how)

        assert server.process.wait(PATIENCE_S) == 0
        assert not any(alive(pid) for pid in started)
        assert len(started) == (count if count > 1 else 0)
    assert json.loads((tmp_path / "data/state/lock").read_text().strip() or "null") is None


@promise("6.1")
@pytest.mark.slow
def test_a_signal_during_the_start_is_not_lost(tmp_path: Path) -> None:
    command = [*ENTRY, "up", "--data", str(tmp_path / "data"), "--port", "0"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment()
    ) as process:
        until(
            lambda: (tmp_path / "data/state/audit").exists() or process.poll() is not None, "the beginning of the start"
        )

        process.send_signal(signal.SIGTERM)

        _, said = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0
    assert "Traceback" not in said


@promise("6.1")
@pytest.mark.slow
def test_killing_the_supervisor_takes_the_workers_with_it(tmp_path: Path) -> None:
    with serving(tmp_path / "data", "--workers", "2") as server:
        started = both_serve(server)

        server.process.kill()
        server.process.wait(PATIENCE_S)

        until(lambda: not any(alive(pid) for pid in started), "the end of the workers")
    with serving(tmp_path / "data") as again:
        assert done(again, "audit.verify")["ok"] is True


@promise("6.1")
@pytest.mark.slow
def test_a_second_server_on_the_same_folder_is_refused_and_told_who_holds_it(workers: Server) -> None:
    second = subprocess.run(
        [*ENTRY, "up", "--data", str(workers.data), "--port", "0"],
        capture_output=True, text=True, timeout=PATIENCE_S, env=environment(), check=False,
    )  # fmt: skip

    assert second.returncode != 0
    assert str(workers.process.pid) in second.stderr
    assert workers.address in second.stderr
    assert "in use already" in second.stderr
    assert "another call" not in second.stderr.lower()


@pytest.mark.slow
def test_workers_that_cannot_start_end_the_supervisor(tmp_path: Path) -> None:
    with serving(tmp_path / "data"):
        pass
    (tmp_path / "data/state/shared.map").write_bytes(b"not a map")

    with subprocess.Popen(
        [*ENTRY, "up", "--data", str(tmp_path / "data"), "--port", "0", "--workers", "2"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(),
    ) as process:  # fmt: skip
        said, why = process.communicate(timeout=PATIENCE_S)

    assert process.returncode != 0
    assert "serving http" not in said
    assert "shared.map" in why
    assert "do not start" in why


@promise("1.6")
@pytest.mark.slow
# ---- people


@promise("1.2c")
@pytest.mark.slow
def test_a_suspended_persons_session_is_refused_by_every_worker_within_a_second(workers: Server) -> None:
    both_serve(workers)
    done(workers, "access.users.create", {"id": "leaver", "roles": ["viewer"]})
    token = offer(workers.data / "state", "default", "leaver", time.time())
    link, own = f"{workers.address}/sign-in/link/{token}", {"Origin": workers.address}
    cookie = httpx.post(link, data={"go": "1"}, headers=own, timeout=PATIENCE_S, verify=TLS).headers["set-cookie"]
    headers = {"Cookie": cookie.partition(";")[0]}

    def asked() -> int:
        address = f"{workers.address}/v1/operations?limit=1"
        return httpx.get(address, headers=headers, timeout=PATIENCE_S, verify=TLS).status_code

    for _ in range(20):
        assert asked() == 200
    done(workers, "access.users.suspend", {"id": "leaver"})

    assert {asked() for _ in range(20)} == {401}


# ---- where it listens


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "8.8.8.8", "not a host", "a" * 300])  # noqa: S104
def test_it_listens_on_this_machine_only(host: str) -> None:
    with pytest.raises(Unavailable):
        listen(host, 0)


def test_a_port_that_is_taken_is_said_to_be() -> None:
    with listen("127.0.0.1", 0) as taken_one, pytest.raises(Unavailable) as refused:
        listen("127.0.0.1", taken_one.getsockname()[1])

    assert "--port" in str(refused.value.hint)


def test_the_address_of_an_ipv6_socket_has_brackets() -> None:
    with listen("::1", 0) as listening:
        assert address_of(listening) == f"http://[::1]:{listening.getsockname()[1]}"


def test_a_worker_that_cannot_read_its_settings_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [f"--data={tmp_path}", "--worker=0", "--fd=0", "--life=0", "--said=0", "--set=server.port=many"]

    assert main(arguments) == 1

    assert "server.port" in capsys.readouterr().err


def test_a_start_that_cannot_listen_makes_no_folder(tmp_path: Path) -> None:
    with listen("127.0.0.1", 0) as taken:
        ran = superagent("up", "--port", str(taken.getsockname()[1]), data=tmp_path / "data")
    assert ran.code == 5
    assert "cannot listen on" in ran.err
    assert list(tmp_path.iterdir()) == []

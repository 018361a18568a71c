"""The kill switch over two workers: a call that runs in the one ends by a word that was said to the other."""

from __future__ import annotations

import concurrent.futures
import contextlib
import json
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.needs import program
from tests.promise import promise
from tests.surfaces.cli.command_line import PATIENCE_S, Server, serving
from tests.until import until

SLEEPS = "731.25"
"""Seconds that stand in no other command line of this machine."""
ENDS_WITHIN_S = 10.0
"""The promise is a second; this machine may have much else to do."""


@pytest.fixture(scope="module")
def workers(tmp_path_factory: pytest.TempPathFactory) -> Generator[Server]:
    program("bwrap", "bubblewrap")
    with serving(tmp_path_factory.mktemp("stopped") / "data", "--workers", "2") as server:
        yield server


def running() -> int:
    """Count the processes of the sleeping command."""
    found = 0
    for one in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            found += one.read_bytes().split(b"\0")[:2] == [b"sleep", SLEEPS.encode()]
    return found


def outcomes(owner: httpx.Client, invocation: str) -> list[dict[str, Any]]:
    """Give the records of what came of a call."""
    found = owner.post("/v1/operations/audit.query", json={"invocation": invocation}).json()
    return [line for line in found["output"]["records"] if line["kind"] == "outcome"]


def to_each(server: Server, key: str, stack: contextlib.ExitStack) -> list[httpx.Client]:
    """Give a lasting connection to each worker: a worker is known by the name that it gives in its metrics."""
    held: dict[str, httpx.Client] = {}

    def one_more() -> bool:
        headers = {"X-API-Key": key}
        client = stack.enter_context(httpx.Client(base_url=server.address, headers=headers, timeout=60.0))
        text = client.get("/metrics", headers={"X-API-Key": server.owner_key}).text
        held.setdefault(next(line for line in text.splitlines() if line.startswith("superagent_audit_h")), client)
        return len(held) == 2

    until(one_more, "a connection to each worker", PATIENCE_S)
    return list(held.values())


@promise("11.12")
@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.parametrize("said_to", [0, 1])
def test_a_running_call_ends_also_when_the_switch_is_thrown_in_the_other_worker(workers: Server, said_to: int) -> None:
    with contextlib.ExitStack() as stack, concurrent.futures.ThreadPoolExecutor(2) as pool:
        owners = to_each(workers, workers.owner_key, stack)
        made = owners[0].post("/v1/operations/access.keys.create", json={"name": f"runaway{said_to}"}).json()["output"]
        agents = to_each(workers, made["key"], stack)
        call = {"command": f"sleep {SLEEPS}", "timeout_s": 800}
        ran = [pool.submit(one.post, "/v1/operations/shell.run", json=call) for one in agents]
        try:
            until(lambda: running() >= 2, "the command in both workers", 60.0)

            began = time.monotonic()
            stopped = owners[said_to].post("/v1/operations/access.stop_all", json={"reason": "it runs away"})
            assert stopped.status_code == 200, stopped.text
            ended = [one.result(60) for one in ran]
            took = time.monotonic() - began

            assert took < ENDS_WITHIN_S
            for one in ended:
                problem = one.json()
                assert (one.status_code, problem["type"]) == (403, "/problems/denied"), one.text
                until(lambda: outcomes(owners[0], problem["invocation"]), "its record, from either worker")  # noqa: B023
                (outcome,) = outcomes(owners[0], problem["invocation"])
                assert (outcome["who"], outcome["problem"]) == (made["agent"], "denied")
            until(lambda: not running(), "the end of the command's own processes", ENDS_WITHIN_S)
            told = [one.post("/v1/operations/access.whoami", json={}).status_code for one in agents]
            assert told == [401, 401]
        finally:
            owners[0].post("/v1/operations/access.release", json={})
        assert json.loads(owners[1].post("/v1/operations/access.whoami", json={}).text)["output"]["id"] == "owner"

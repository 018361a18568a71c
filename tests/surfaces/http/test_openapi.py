"""Schemathesis over the served OpenAPI document: no 5xx but documented ones, and every reply as documented.

The owner is only asked what reads, an agent everything; its grants cover one temporary folder and nothing else.
"""

from __future__ import annotations

import itertools
import json
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import checks

from tests.promise import promise
from tests.surfaces.cli.command_line import Server, serving

EVERYDAY_S, SOAK_S = 25.0, 1800.0
# what has no end, or no one type, or waits for a process that does not end
STREAMS = (
    "/v1/events", "/v1/invocations/{id}/events", "/v1/invocations/{id}/logs", "/v1/stream",
    "/v1/operations/processes.wait",
)  # fmt: skip
DOCUMENTED = {"unavailable", "overloaded", "audit-unavailable", "deadline", "sandbox-unavailable"}


def agent_key(server: Server, folder: Path) -> str:
    """Make an agent that may do everything with files in one folder, and ask for nothing else."""
    grants = [
        {"effect": "allow", "operations": ["files.*"], "where": {"paths": [f"{folder}/**"]}},
        {"effect": "allow", "operations": ["jobs.*", "undo.*", "result.*"]},
    ]
    made = httpx.post(
        f"{server.address}/v1/operations/access.keys.create",
        json={"name": "fuzzer", "grants": grants, "workspace": str(folder)},
        headers={"X-API-Key": server.owner_key},
        timeout=60,
    )
    assert made.status_code == 200, made.text
    return str(made.json()["output"]["key"])


def fuzz(server: Server, key: str, seconds: float, *, only_reads: bool) -> int:
    """Send generated requests to every described operation in turn until the time is over; give how many."""
    headers = {"X-API-Key": key}
    document: dict[str, Any] = httpx.get(f"{server.address}/openapi.json", headers=headers, timeout=60).json()
    for path in list(document["paths"]):
        kept = {
            method: one
            for method, one in document["paths"][path].items()
            if not only_reads or one.get("x-effect") == "READ" or method == "get"
        }
        document["paths"][path] = kept
        if not kept or path in STREAMS:
            del document["paths"][path]
    schema: Any = schemathesis.openapi.from_dict(document)
    asks = [asking(one.ok(), server.address, headers) for one in schema.get_all_operations()]
    random.shuffle(asks)  # a short run sees some of them, and every time others
    until, sent = time.monotonic() + seconds, 0
    for ask in itertools.cycle(asks):
        sent += ask()
        if time.monotonic() > until:
            return sent
    raise AssertionError("nothing is described")


def asking(operation: Any, address: str, headers: dict[str, str]) -> Callable[[], int]:
    """Make a function that sends a few generated requests to one operation and gives how many."""
    sent: list[Any] = []

    @settings(
        max_examples=10, deadline=None, database=None, phases=[Phase.explicit, Phase.generate],
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
    )  # fmt: skip
    @given(case=operation.as_strategy())
    def send(case: Any) -> None:
        sent.append(case)
        judge(case, case.call(base_url=address, headers=headers, timeout=60))

    def ask() -> int:
        sent.clear()
        send()
        return len(sent)

    return ask


def judge(case: Any, response: Any) -> None:
    """Check one reply: no undocumented 5xx, its problem complete, status, type and body as the document says."""
    where = f"{case.method} {case.formatted_path}: {response.status_code} {response.content[:500]!r}"
    if response.status_code >= 500:
        assert json.loads(response.content)["type"].removeprefix("/problems/") in DOCUMENTED, where
    if response.status_code >= 400:
        assert response.headers["content-type"][0] == "application/problem+json", where
        assert json.loads(response.content)["detail"], where
    known: Any = vars(checks)["CHECKS"]  # its types are not complete
    for name in ("status_code_conformance", "content_type_conformance", "response_schema_conformance"):
        [check] = known.get_by_names([name])
        case.validate_response(response, checks=[check])


def unhurried(data: Path) -> Path:
    """Let agents of an installation call as fast as they can."""
    data.mkdir()
    (data / "superagent.toml").write_text("[limits]\nagent_rate_per_s = 1000000.0\nagent_burst = 1000000\n")
    return data


def shared_folder(folder: Path) -> None:
    (folder / "sub").mkdir(parents=True)
    (folder / "a.txt").write_text("one\ntwo\n")
    (folder / "sub" / "b.bin").write_bytes(bytes(range(256)))


@promise("6.1", "1.6")
@pytest.mark.slow
@pytest.mark.timeout(180)
def test_an_agents_generated_requests_find_no_fault(tmp_path: Path) -> None:
    shared_folder(tmp_path / "ground")
    outside = tmp_path / "outside"
    outside.write_text("mine")
    with serving(unhurried(tmp_path / "data")) as server:
        sent = fuzz(server, agent_key(server, tmp_path / "ground"), EVERYDAY_S, only_reads=False)

    assert sent > 50
    assert outside.read_text() == "mine"


@promise("6.1", "1.6")
@pytest.mark.slow
@pytest.mark.timeout(180)
def test_the_owners_generated_reading_requests_find_no_fault(tmp_path: Path) -> None:
    with serving(tmp_path / "data") as server:
        sent = fuzz(server, server.owner_key, EVERYDAY_S, only_reads=True)

    assert sent > 50


@pytest.mark.soak
@pytest.mark.timeout(SOAK_S * 3)
def test_hours_of_generated_requests_find_no_fault(tmp_path: Path) -> None:
    shared_folder(tmp_path / "ground")
    with serving(unhurried(tmp_path / "data")) as server:
        fuzz(server, agent_key(server, tmp_path / "ground"), SOAK_S, only_reads=False)
        fuzz(server, server.owner_key, SOAK_S, only_reads=True)

"""`POST /v1/operations/{name}`: one call, what steers it, what comes back."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from tests.promise import promise
from tests.surfaces.http.house import Caller, House, problem_of

pytestmark = pytest.mark.asyncio(loop_scope="session")


@promise("6.1")
async def test_a_call_gives_the_whole_outcome_and_its_id(house: House) -> None:
    response = await house.owner.call("access.whoami")

    outcome = response.json()
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    assert response.headers["x-invocation-id"] == outcome["invocation"]
    assert response.headers["cache-control"] == "no-store"
    assert outcome["status"] == "done"
    assert outcome["output"]["id"] == "owner"
    assert outcome["decision"]["verdict"] == "allow"
    assert outcome["effects"] == []
    assert outcome["seconds"] >= 0


@promise("6.1")
async def test_a_change_says_its_effects_and_until_when_it_can_be_undone(house: House) -> None:
    agent = await house.agent()

    outcome = (await agent.call("files.write", {"path": "note.txt", "content": "one"})).json()

    assert outcome["effects"][0]["resource"] == f"path://local{agent.workspace}/note.txt"
    assert outcome["undo"]["possible"] is True
    assert outcome["undo"]["until"] > 0
    assert (agent.workspace / "note.txt").read_text() == "one"


async def test_an_operation_that_does_not_exist_is_not_found(house: House) -> None:
    problem = problem_of(await house.owner.call("files.nonsense"), 404, "not-found")

    assert "files.nonsense" in problem["detail"]


async def test_the_name_may_be_percent_encoded_once_and_not_twice(house: House) -> None:
    once = await house.owner.http.post("/v1/operations/access%2Ewhoami", json={})
    twice = await house.owner.http.post("/v1/operations/access%252Ewhoami", json={})

    assert once.status_code == 200
    problem_of(twice, 404, "not-found")


# ---- Idempotency-Key


@promise("6.1")
async def test_the_same_idempotency_key_gives_the_first_outcome(house: House) -> None:
    agent = await house.agent()
    first = await agent.call("files.write", {"path": "log", "content": "x"}, Idempotency_Key="k1")
    (agent.workspace / "log").write_text("changed since")

    second = await agent.call("files.write", {"path": "log", "content": "x"}, Idempotency_Key="k1")

    assert second.json()["invocation"] == first.json()["invocation"]
    assert second.headers["x-invocation-id"] == first.headers["x-invocation-id"]
    assert (agent.workspace / "log").read_text() == "changed since"


@promise("6.1")
async def test_what_was_called_with_a_key_is_told_again_by_its_id_to_its_caller_alone(house: House) -> None:
    agent, other = await house.agent(), await house.agent()
    done = await agent.call("files.write", {"path": "told", "content": "x"}, Idempotency_Key="k1")
    failed = await agent.call("files.stat", {"path": "nothing"}, Idempotency_Key="k2")
    paths = [f"/v1/invocations/{one.headers['x-invocation-id']}" for one in (done, failed)]

    stands, fell = [(await agent.get(path)).json() for path in paths]

    assert (stands["status"], stands["outcome"]) == ("done", done.json())
    assert (fell["status"], fell["outcome"]["problem"]["type"]) == ("failed", "/problems/not-found")
    assert (await house.owner.get(paths[0])).json()["outcome"] is None  # who may read the record, and made no such call
    problem_of(await other.get(paths[0]), 404, "not-found")


async def test_the_same_idempotency_key_with_another_input_is_refused(house: House) -> None:
    agent = await house.agent()
    await agent.done("files.write", {"path": "log", "content": "x"}, Idempotency_Key="k1")

    refused = await agent.call("files.write", {"path": "log", "content": "y"}, Idempotency_Key="k1")

    problem_of(refused, 409, "idempotency-mismatch")
    assert (agent.workspace / "log").read_text() == "x"
    assert (await house.refusal(refused))["problem"] == "idempotency-mismatch"


# ---- Prefer


@promise("6.1")
async def test_respond_async_answers_at_once_and_says_where_to_look(house: House) -> None:
    response = await house.owner.call("probe.wait", {"seconds": 0.3}, Prefer="respond-async")

    outcome = response.json()
    assert response.status_code == 202
    assert outcome["status"] == "queued"
    assert "`GET /v1/invocations/{invocation}`" in outcome["hint"]
    assert response.headers["location"] == f"/v1/invocations/{outcome['invocation']}"
    state: dict[str, Any] = {}
    for _ in range(200):
        state = (await house.owner.get(response.headers["location"])).json()
        if state["status"] == "done":
            break
        await asyncio.sleep(0.05)
    assert state["outcome"]["output"] == {"text": ""}


async def test_respond_async_with_a_wait_gives_what_ends_in_time(house: House) -> None:
    response = await house.owner.call("probe.wait", {"seconds": 0.1, "mark": "m"}, Prefer="respond-async, wait=10")

    assert response.status_code == 200
    assert response.json()["output"] == {"text": "m"}


async def test_a_wait_that_is_over_gives_the_present_state(house: House) -> None:
    response = await house.owner.call("probe.wait", {"seconds": 30.0}, Prefer="respond-async; x=1, wait=1")

    assert response.status_code == 202
    await house.owner.done("jobs.cancel", {"id": response.json()["invocation"]})


async def test_a_wait_also_waits_for_a_persons_approval(house: House) -> None:
    agent = await house.agent()
    asked = asyncio.create_task(agent.call("files.read", {"path": "/etc/hostname"}, Prefer="wait=20"))
    mine: list[str] = []
    for _ in range(200):
        waiting = (await house.owner.done("approvals.list", {}))["waiting"]
        mine = [one["id"] for one in waiting if one["requester"] == agent.name]
        if mine:
            break
        await asyncio.sleep(0.05)

    await house.owner.done("approvals.decide", {"id": mine[0], "decision": "approve"})

    response = await asked
    assert response.status_code == 200
    assert response.json()["output"]["content"] == Path("/etc/hostname").read_text()


async def test_a_wait_ends_when_what_it_waits_for_is_cancelled(house: House) -> None:
    agent = await house.agent()
    asked = asyncio.create_task(agent.call("files.read", {"path": "/etc/hostname"}, Prefer="wait=20"))
    waiting: list[dict[str, Any]] = []
    for _ in range(200):
        waiting = (await agent.done("approvals.list", {}))["waiting"]
        if waiting:
            break
        await asyncio.sleep(0.05)

    await agent.done("jobs.cancel", {"id": waiting[0]["id"]})

    assert (await asked).json()["status"] == "cancelled"


@pytest.mark.parametrize("prefer", ["wait=²", "wait=-1", "wait=9999999999999", "wait", "wait=", ",;=", "\xff"])
async def test_a_preference_that_is_none_is_left_aside(house: House, prefer: str) -> None:
    response = await house.owner.http.post(
        "/v1/operations/access.whoami", json={}, headers={b"prefer": prefer.encode("latin-1")}
    )

    assert response.status_code == 200


# ---- dry runs


@promise("6.1")
@pytest.mark.parametrize("how", ["header", "query", "both", "only one says so"])
async def test_a_dry_run_shows_and_changes_nothing(agent: Caller, how: str) -> None:
    query = {"header": "", "query": "?dry_run=true", "both": "?dry_run=1", "only one says so": "?dry_run=false"}[how]
    headers = {} if how == "query" else {"X-Dry-Run": "true"}

    response = await agent.http.post(
        f"/v1/operations/files.write{query}", json={"path": "new", "content": "x"}, headers=headers
    )

    assert response.json()["status"] == "previewed"
    assert "summary" in response.json()["output"]
    assert not (agent.workspace / "new").exists()


@pytest.mark.parametrize(
    ("query", "header"),
    [
        ("?dry_run=maybe", ""),
        ("?dry_run=", ""),
        ("?dry_run", ""),
        ("", "tru"),
        ("", "maybe"),
        ("?dryrun=true", ""),
        ("?dry_run=false&x=1", ""),
    ],
)
async def test_a_dry_run_that_cannot_be_understood_is_refused_and_nothing_is_done(
    house: House, agent: Caller, query: str, header: str
) -> None:

    response = await agent.http.post(
        f"/v1/operations/files.write{query}",
        json={"path": "new", "content": "x"},
        headers={"X-Dry-Run": header} if header else {},
    )

    assert "dry_run=true`" in problem_of(response, 422, "invalid-input")["hint"]
    assert not (agent.workspace / "new").exists()
    assert (await house.refusal(response))["operation"] == "files.write"


WRITE = "/v1/operations/files.write"


@pytest.mark.parametrize(
    "header",
    [
        "X-DryRun",
        "XDryRun",
        "Dry-Run",
        "DryRun",
        "X_Dry_Run",
        "x-dry_run",
        "Dry_Run",
        "X--Dry-Run",
        "Superagent-Dry-Run",
        "X-Dry",
        "Dry",
        "X_Dry_Mode",
    ],
)
async def test_a_dry_run_asked_for_with_a_slip_is_refused_with_the_right_form(
    house: House, agent: Caller, header: str
) -> None:
    new = agent.workspace / "slip"
    for path in (WRITE, f"{WRITE}?dry_run=false"):
        response = await agent.http.post(path, json={"path": "slip", "content": "x"}, headers={header: "true"})

        problem = problem_of(response, 422, "invalid-input")
        assert "`X-Dry-Run: true`" in problem["hint"]
        assert not new.exists()
        assert (await house.refusal(response))["operation"] == "files.write"


@pytest.mark.parametrize(
    ("header", "meant"),
    [
        ("Idempotency_Key", "Idempotency-Key"), ("X-Idempotency-Key", "Idempotency-Key"),
        ("SuperagentSession", "Superagent-Session"), ("X-Superagent-Isolation", "Superagent-Isolation"),
        ("Super-Agent-Deadline", "Superagent-Deadline"), ("superagent_max_bytes", "Superagent-Max-Bytes"),
        ("Superagent-Isolate", "superagent-isolation"), ("Superagent-Call", "x-dry-run"),
    ],
)  # fmt: skip
async def test_a_header_that_is_one_of_ours_but_for_a_slip_is_refused(agent: Caller, header: str, meant: str) -> None:
    response = await agent.http.post(WRITE, json={"path": "slip", "content": "x"}, headers={header: "1"})

    assert meant in problem_of(response, 422, "invalid-input")["hint"]
    assert not (agent.workspace / "slip").exists()


@pytest.mark.parametrize(
    "header",
    ["X-Dry-Run", "Idempotency-Key", "Superagent-Session", "Superagent-Isolation", "Superagent-Deadline",
     "Superagent-Reason", "Superagent-Max-Bytes"],
)  # fmt: skip
async def test_a_header_of_ours_that_is_empty_is_refused(house: House, agent: Caller, header: str) -> None:
    """It came from a variable that is not set, and whoever wrote it meant something."""
    response = await agent.http.post(WRITE, json={"path": "empty", "content": "x"}, headers={header: ""})

    problem = problem_of(response, 422, "invalid-input")
    assert header in problem["detail"]
    assert problem["hint"]
    assert not (agent.workspace / "empty").exists()
    assert (await house.refusal(response))["operation"] == "files.write"


async def test_a_dry_run_is_no_preference(house: House, agent: Caller) -> None:
    for wish in ("dry-run", "respond-async, dry_run", "DryRun=true", "dry"):
        response = await agent.http.post(WRITE, json={"path": "wished", "content": "x"}, headers={"Prefer": wish})

        assert "`X-Dry-Run: true`" in problem_of(response, 422, "invalid-input")["hint"]
        assert (await house.refusal(response))["operation"] == "files.write"
    assert not (agent.workspace / "wished").exists()


async def test_headers_of_others_are_nobodys_slip(agent: Caller) -> None:
    strange = {
        "X-Request-Id": "1",
        "Sec-Fetch-Mode": "cors",
        "X-Session": "s",
        "Session": "s",
        "Reason": "r",
        "X-Run": "1",
        "X-Laundry": "1",
        "X-Dryad": "1",
        "X-Hydration": "1",
    }

    assert (await agent.call("access.whoami", {}, **strange)).status_code == 200


async def test_where_headers_steer_nothing_a_dry_run_is_refused(house: House, agent: Caller) -> None:
    write = {"operation": "files.write", "input": {"path": "beside", "content": "x"}}
    waiting = await house.waiting_read(agent)
    requests: list[tuple[str, str, bytes]] = [
        ("POST", "/v1/batch", json.dumps({"calls": [write]}).encode()),
        ("POST", "/v1/stream", json.dumps(write).encode()),
        ("POST", f"/v1/invocations/{waiting}/cancel", b""),
        ("PUT", "/v1/blobs", b"x"),
        ("POST", "/mcp", b"{}"),
        ("POST", "/a2a", b"{}"),
    ]
    for path in ("/mcp", "/a2a"):
        response = await agent.http.post(f"{path}?dry_run=true", content=b"{}")
        assert "dry_run" in problem_of(response, 422, "invalid-input")["hint"], path
    for method, path, body in requests:
        for header in ("X-Dry-Run", "X-DryRun", "X-Dry"):
            response = await agent.http.request(method, path, content=body, headers={header: "true"})

            assert "dry_run" in problem_of(response, 422, "invalid-input")["hint"], path
            found = await house.records(actor=agent.name, operation=f"{method} {path}")
            assert (found[0]["kind"], found[0]["problem"]) == ("refused", "invalid-input"), path
        if path.startswith("/v1/"):
            assert (
                "dry_run"
                in problem_of(
                    await agent.http.request(method, f"{path}?dry_run=true", content=body), 422, "invalid-input"
                )["detail"]
            )
    assert not (agent.workspace / "beside").exists()
    assert (await agent.get(f"/v1/invocations/{waiting}")).json()["status"] == "waiting"


# ---- Superagent-*


async def test_a_deadline_ends_a_call_that_takes_longer(house: House) -> None:
    response = await house.owner.call("probe.wait", {"seconds": 30.0}, Superagent_Deadline="0.2")

    assert problem_of(response, 504, "deadline")["changed"] == "nothing"


async def test_an_output_over_max_bytes_comes_as_a_handle(house: House) -> None:
    outcome = (await house.owner.call("probe.large", {"size": 5000}, Superagent_Max_Bytes="1000")).json()

    assert outcome["output"] is None
    page = (await house.owner.get(f"/v1/results/{outcome['handle']}?limit=10")).json()
    assert page == {"size": 5011, "offset": 0, "next_offset": 10, "text": '{"text":"x', "base64": None, "matches": None}


async def test_a_reason_stands_in_the_audit_and_may_be_utf_8(house: House) -> None:
    response = await house.owner.http.post(
        "/v1/operations/access.whoami", json={}, headers={b"superagent-reason": "weil es nötig ist".encode()}
    )

    (record,) = await house.records(invocation=response.headers["x-invocation-id"])
    assert "weil es nötig ist" in record["personal"]


async def test_a_reason_that_is_not_utf_8_is_taken_as_latin_1(house: House) -> None:
    response = await house.owner.http.post(
        "/v1/operations/access.whoami", json={}, headers={b"superagent-reason": b"n\xf6tig"}
    )

    (record,) = await house.records(invocation=response.headers["x-invocation-id"])
    assert "nötig" in record["personal"]


async def test_a_session_groups_calls_so_that_they_are_undone_together(house: House) -> None:
    agent = await house.agent()
    for name in ("a", "b"):
        await agent.done("files.write", {"path": name, "content": name}, Superagent_Session="s1")

    undone = await agent.done("undo.apply", {"session": "s1"})

    assert len(undone["invocations"]) == 2
    assert list(agent.workspace.iterdir()) == []


async def test_a_known_isolation_level_is_taken(house: House) -> None:
    assert (await house.owner.call("access.whoami", {}, Superagent_Isolation="native")).status_code == 200


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("Superagent-Deadline", "soon"), ("Superagent-Deadline", "0"), ("Superagent-Deadline", "-1"),
        ("Superagent-Deadline", "nan"), ("Superagent-Deadline", "inf"), ("Superagent-Deadline", "86401"),
        ("Superagent-Max-Bytes", "-1"), ("Superagent-Max-Bytes", "1e3"), ("Superagent-Max-Bytes", "9" * 20),
        ("Superagent-Isolation", "bananas"), ("Superagent-Session", "s" * 201), ("Superagent-Reason", "r" * 2001),
        ("Idempotency-Key", "k" * 201),
    ],
)  # fmt: skip
async def test_a_header_that_makes_no_sense_is_refused_and_nothing_is_done(
    house: House, agent: Caller, header: str, value: str
) -> None:

    response = await agent.http.post(
        "/v1/operations/files.write", json={"path": "new", "content": "x"}, headers={header: value}
    )

    problem_of(response, 422, "invalid-input")
    assert not (agent.workspace / "new").exists()


@pytest.mark.parametrize("header", ["idempotency-key", "x-dry-run", "superagent-session", "superagent-deadline"])
async def test_a_header_that_is_said_twice_is_refused(house: House, header: str) -> None:
    request = house.owner.http.build_request("POST", "/v1/operations/access.whoami", json={})
    request.headers = type(request.headers)([*request.headers.raw, (header.encode(), b"1"), (header.encode(), b"2")])

    response = await house.owner.http.send(request)

    problem_of(response, 400, "malformed")
    assert (await house.refusal(response))["problem"] == "malformed"


async def test_preferences_may_stand_in_several_headers(house: House) -> None:
    request = house.owner.http.build_request("POST", "/v1/operations/access.whoami", json={})
    more = [(b"prefer", b"respond-async"), (b"prefer", b"wait=10"), (b"accept", b"a"), (b"accept", b"b")]
    request.headers = type(request.headers)([*request.headers.raw, *more])

    response = await house.owner.http.send(request)

    assert response.status_code == 200
    assert response.json()["output"]["id"] == "owner"


# ---- trace


async def test_the_trace_id_of_traceparent_stands_in_the_audit(house: House) -> None:
    trace = "0af7651916cd43dd8448eb211c80319c"

    response = await house.owner.call("access.whoami", {}, traceparent=f"00-{trace}-b7ad6b7169203331-01")

    (record,) = await house.records(invocation=response.headers["x-invocation-id"])
    assert record["trace"] == trace


@pytest.mark.parametrize(
    "given",
    [
        f"00-{'0' * 32}-b7ad6b7169203331-01",
        f"ff-{'a' * 32}-b7ad6b7169203331-01",
        f"00-{'G' * 32}-b7ad6b7169203331-01",
        "x",
    ],
)
async def test_a_traceparent_that_is_none_is_left_aside(house: House, given: str) -> None:
    response = await house.owner.call("access.whoami", {}, traceparent=given)

    (record,) = await house.records(invocation=response.headers["x-invocation-id"])
    assert not record.get("trace")


# ---- what a call may not, or not yet


async def test_what_needs_approval_waits_and_says_where(house: House) -> None:
    agent = await house.agent()

    response = await agent.call("files.read", {"path": "/etc/hostname"})

    assert response.status_code == 202
    assert response.json()["status"] == "waiting"
    assert "`GET /v1/invocations/{invocation}`" in response.json()["hint"]
    assert "approve" in response.json()["hint"]
    assert response.headers["location"] == f"/v1/invocations/{response.json()['invocation']}"
    assert (await agent.get(response.headers["location"])).json()["status"] == "waiting"


async def test_of_a_call_that_ended_at_once_is_told_what_the_record_knows(house: House) -> None:
    agent = await house.agent()
    done = await agent.call("files.list", {"path": "."})

    stands = (await agent.get(f"/v1/invocations/{done.headers['x-invocation-id']}")).json()

    assert (stands["status"], stands["owner"], stands["operation"]) == ("done", agent.name, "files.list")
    assert stands["ended"] >= stands["at"]
    assert stands["outcome"] is None


async def test_hints_say_how_to_ask_here_for_what_they_name(agent: Caller) -> None:
    none = problem_of(await agent.call("files.raed", {"path": "a"}), 404, "not-found")
    wrong = problem_of(await agent.call("files.read", {"pth": "a"}), 422, "invalid-input")

    assert "`catalogue.search` (`GET /v1/operations?q=WORDS`) finds operations by words" in none["hint"]
    assert "`GET /v1/operations/files.read`" in wrong["hint"]
    assert (await agent.get("/v1/operations?q=WORDS")).status_code == 200
    assert (await agent.get("/v1/operations/files.read")).json()["name"] == "files.read"


@promise("1.6")
async def test_a_refusal_is_a_problem_and_stands_in_the_audit(house: House) -> None:
    agent = await house.agent(
        grants=[{"effect": "allow", "operations": ["files.read"], "where": {"paths": ["/srv/a/**"]}}]
    )

    response = await agent.call("files.read", {"path": "/srv/b/secret"})

    assert "/srv/b/secret" in problem_of(response, 404, "not-found")["detail"]
    record = await house.refusal(response)
    assert (record["operation"], record["who"], record["problem"]) == ("files.read", agent.name, "not-found")


@promise("1.6")
async def test_something_that_breaks_gives_its_id_and_nothing_of_the_inside(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    response = await house.owner.call("probe.broken", {"secret": "s3cr3t"})

    problem = problem_of(response, 500, "internal")
    assert problem["invocation"] == response.headers["x-invocation-id"]
    assert "probe broke" not in response.text
    (logged,) = [one for one in caplog.records if getattr(one, "invocation", "") == problem["invocation"]]
    assert "the probe broke" in str(logged.exc_info)


@promise("6.1")
async def test_a_caller_that_is_too_fast_is_told_its_limit_and_when_to_come_back(strict_house: House) -> None:
    agent = await strict_house.agent()
    for _ in range(5):
        await agent.done("access.whoami")

    response = await agent.call("access.whoami")

    assert problem_of(response, 429, "rate-limited")["retryable"] is True
    assert response.headers["ratelimit-limit"] == "5"
    assert response.headers["ratelimit-remaining"] == "0"
    assert 1 <= int(response.headers["retry-after"]) <= 10
    assert response.headers["ratelimit-reset"] == response.headers["retry-after"]
    assert (await strict_house.refusal(response))["problem"] == "rate-limited"


async def test_what_cannot_even_be_read_costs_its_rate_too(strict_house: House) -> None:
    agent = await strict_house.agent()
    for _ in range(5):
        problem_of(await agent.http.post("/v1/operations/access.whoami", content=b"{"), 400, "malformed")

    problem_of(await agent.http.post("/v1/operations/access.whoami", content=b"{"), 429, "rate-limited")
    problem_of(await agent.get("/v1/nothing"), 429, "rate-limited")
    problem_of(await agent.get("/openapi.json"), 429, "rate-limited")
    problem_of(await agent.http.put("/v1/blobs", content=b"x"), 429, "rate-limited")

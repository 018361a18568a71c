"""Many calls in one request: batches in three modes, and the stream of lines."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncGenerator
from typing import Any, cast

import pytest

from superagent.core.answers import Room
from tests.promise import promise
from tests.surfaces.http.house import Caller, House, problem_of
from tests.surfaces.http.probe import started
from tests.surfaces.http.raw import chunk, head, wire

pytestmark = pytest.mark.asyncio(loop_scope="session")


def write(path: str, content: str = "x", **more: Any) -> dict[str, Any]:
    return {"operation": "files.write", "input": {"path": path, "content": content}, **more}


MISSING = {"operation": "files.read", "input": {"path": "missing"}}


async def batch(caller: Caller, calls: list[Any], **more: Any) -> dict[str, Any]:
    response = await caller.http.post("/v1/batch", json={"calls": calls, **more})
    assert response.status_code == 200, response.text
    return response.json()


def statuses(ran: dict[str, Any]) -> list[str]:
    return [one["status"] for one in ran["outcomes"]]


@promise("6.1")
async def test_a_sequential_batch_stops_at_the_first_failure(house: House) -> None:
    agent = await house.agent()

    ran = await batch(agent, [write("a"), MISSING, write("b")])

    assert ran["ok"] is False
    assert statuses(ran) == ["done", "failed"]
    assert ran["not_run"] == 1
    assert ran["outcomes"][1]["problem"]["type"] == "/problems/not-found"
    assert [one.name for one in agent.workspace.iterdir()] == ["a"]


async def test_a_sequential_batch_can_go_on_after_a_failure(house: House) -> None:
    agent = await house.agent()

    ran = await batch(agent, [write("a"), MISSING, write("b")], stop_on_error=False)

    assert statuses(ran) == ["done", "failed", "done"]
    assert sorted(one.name for one in agent.workspace.iterdir()) == ["a", "b"]


@promise("6.1")
async def test_a_parallel_batch_runs_at_once_and_answers_in_order(house: House) -> None:
    waits = [{"operation": "probe.wait", "input": {"seconds": 0.5, "mark": f"p{at}"}} for at in range(10)]
    loop = asyncio.get_running_loop()
    begun = loop.time()

    ran = await batch(house.owner, waits, mode="parallel")

    assert [one["output"]["text"] for one in ran["outcomes"]] == [f"p{at}" for at in range(10)]
    assert loop.time() - begun < 4.0  # one after the other they take five seconds


@pytest.mark.parametrize("mode", ["sequential", "parallel"])
async def test_the_outputs_of_a_batch_have_a_budget_and_the_rest_handles(house: House, mode: str) -> None:
    agent = await house.agent()
    (agent.workspace / "long").write_text("x" * 1_000_000)
    reads = [{"operation": "files.read", "input": {"path": "long", "max_bytes": 1_000_000}}] * 20

    response = await agent.http.post("/v1/batch", json={"calls": reads, "mode": mode})

    outcomes = response.json()["outcomes"]
    apart = [one["handle"] for one in outcomes if "handle" in one]
    assert {one["status"] for one in outcomes} == {"done"}
    assert len(apart) == 4  # sixteen of a little over 1,000,000 bytes fit into 16 MiB
    assert len(response.content) < 17 * 1024 * 1024
    whole = json.loads((await agent.get(f"/v1/results/{apart[-1]}/raw")).content)
    assert whole["content"] == "x" * 1_000_000


@promise("6.1")
async def test_an_atomic_batch_takes_everything_back_when_one_call_fails(house: House) -> None:
    agent = await house.agent()
    (agent.workspace / "kept").write_text("before")

    ran = await batch(agent, [write("kept", "after"), write("new"), MISSING, write("never")], mode="atomic")

    assert ran["ok"] is False
    assert statuses(ran) == ["undone", "undone", "failed"]
    assert {one.name: one.read_text() for one in agent.workspace.iterdir()} == {"kept": "before"}


async def test_an_atomic_batch_takes_everything_back_when_one_call_needs_approval(house: House) -> None:
    agent = await house.agent()

    ran = await batch(
        agent, [write("new"), {"operation": "files.read", "input": {"path": "/etc/hosts"}}], mode="atomic"
    )

    assert statuses(ran) == ["undone", "failed"]
    assert ran["outcomes"][1]["problem"]["type"] == "/problems/needs-approval"
    assert list(agent.workspace.iterdir()) == []
    assert (await agent.done("approvals.list"))["waiting"] == []


async def test_an_atomic_batch_refuses_what_cannot_be_taken_back_before_it_begins(house: House) -> None:
    calls = [write("/tmp/never-written"), {"operation": "probe.fire"}]

    response = await house.owner.http.post("/v1/batch", json={"calls": calls, "mode": "atomic"})

    assert "cannot be taken back" in problem_of(response, 422, "invalid-input")["detail"]
    assert (await house.refusal(response))["operation"] == "POST /v1/batch"


async def test_the_fields_of_a_call_steer_it_as_the_headers_do(house: House) -> None:
    agent = await house.agent()
    calls = [
        write("dry", dry_run=True),
        write("once", key="k"),
        write("once", key="k"),
        write("s", session="s9", reason="because", isolation="none"),
        {"operation": "probe.wait", "input": {"seconds": 9}, "deadline_s": 0.1},
        {"operation": "files.read", "input": {"path": "once"}, "max_bytes": 1},
    ]

    ran = await batch(agent, [*calls[:4], calls[5]])
    late = await batch(house.owner, [calls[4]])

    assert statuses(ran) == ["previewed", "done", "done", "done", "done"]
    assert ran["outcomes"][1]["invocation"] == ran["outcomes"][2]["invocation"]
    assert ran["outcomes"][4]["handle"].startswith("res_")
    assert late["outcomes"][0]["problem"]["type"] == "/problems/deadline"
    assert (await agent.done("undo.list", {"session": "s9"}))["entries"][0]["resource"].endswith("/s")


async def test_every_call_of_a_batch_pays_its_rate(strict_house: House) -> None:
    agent = await strict_house.agent()

    ran = await batch(agent, [{"operation": "access.whoami"}] * 8, stop_on_error=False)

    assert statuses(ran) == ["done"] * 5 + ["failed"] * 3
    assert ran["outcomes"][5]["problem"]["type"] == "/problems/rate-limited"


FAULTY: list[tuple[Any, str]] = [
    ({"calls": [write("a"), {"operation": "access.whoami", "colour": "red"}]}, "$.calls[1]"),
    ({"calls": [{"input": {}}]}, "$.calls[0]"),
    ({"calls": [{"operation": 5}]}, "$.calls[0].operation"),
    ({"calls": [write("a", input=[])]}, "$.calls[0].input"),
    ({"calls": [write("a", deadline_s=0)]}, "$.calls[0].deadline_s"),
    ({"calls": [write("a", deadline_s=1e9)]}, "$.calls[0].deadline_s"),
    ({"calls": [write("a", max_bytes=-1)]}, "$.calls[0].max_bytes"),
    ({"calls": [write("a", max_bytes=1.5)]}, "$.calls[0].max_bytes"),
    ({"calls": [write("a", dry_run="true")]}, "$.calls[0].dry_run"),
    ({"calls": [write("a", key="k" * 201)]}, "$.calls[0].key"),
    ({"calls": [write("a", session="k" * 201)]}, "$.calls[0].session"),
    ({"calls": [write("a", reason="k" * 2001)]}, "$.calls[0].reason"),
    ({"calls": ["access.whoami"]}, "$.calls[0]"),
    ({"calls": {}}, "$.calls"),
    ({}, "$.calls"),
    ({"calls": [], "mode": "random"}, "$.mode"),
    ({"calls": [], "mode": []}, "$.mode"),
    ({"calls": [], "stop_on_error": 1}, "$.stop_on_error"),
    ({"calls": [], "colour": "red"}, "$.colour"),
]


@promise("1.6")
@pytest.mark.parametrize(("body", "path"), FAULTY, ids=[path for _, path in FAULTY])
async def test_a_batch_with_a_fault_names_it_and_runs_nothing(agent: Caller, body: Any, path: str) -> None:
    response = await agent.http.post("/v1/batch", json=body)

    assert problem_of(response, 422, "invalid-input")["errors"][0]["path"] == path
    assert not (agent.workspace / "a").exists()


@pytest.mark.parametrize(
    ("body", "names"),
    [
        ({"calls": {}}, "mode, stop_on_error, calls"), ({"calls": [], "mode": "all"}, "mode, stop_on_error, calls"),
        ({"calls": [{"name": "files.read"}]}, "operation, input, key, dry_run"),
        ({"calls": [{"operation": "files.read", "dryrun": True}]}, "operation, input, key, dry_run"),
    ],
)  # fmt: skip
async def test_a_fault_of_a_batch_says_what_a_batch_and_a_call_have(agent: Caller, body: Any, names: str) -> None:
    response = await agent.http.post("/v1/batch", json=body)

    assert names in problem_of(response, 422, "invalid-input")["hint"]


async def test_a_batch_with_an_unknown_isolation_level_is_refused(agent: Caller) -> None:
    response = await agent.http.post("/v1/batch", json={"calls": [write("a", isolation="bananas")]})

    problem_of(response, 422, "invalid-input")


async def test_a_batch_has_at_most_a_thousand_calls(house: House) -> None:
    response = await house.owner.http.post("/v1/batch", json={"calls": [{"operation": "access.whoami"}] * 1001})

    problem_of(response, 422, "invalid-input")


# ---- the stream


async def answers(caller: Caller, lines: list[bytes]) -> list[dict[str, Any]]:
    async def body() -> AsyncGenerator[bytes]:
        for line in lines:
            yield line

    async with caller.http.stream("POST", "/v1/stream", content=body()) as response:
        assert response.status_code == 200
        assert response.headers["content-type"] == "application/x-ndjson"
        return [json.loads(line) async for line in response.aiter_lines()]


def line(id: Any, operation: str = "access.whoami", **input: Any) -> bytes:
    return json.dumps({"id": id, "operation": operation, "input": input}).encode() + b"\n"


@promise("6.1")
async def test_answers_come_as_calls_end_and_carry_the_id_of_their_line(house: House) -> None:
    lines = [line("slow", "probe.wait", seconds=0.6), line(7), b"\n", line({"any": ["json"]}), line(None)]

    found = await answers(house.owner, lines)

    assert found[-1]["id"] == "slow"
    assert sorted(str(one["id"]) for one in found) == ["7", "None", "slow", "{'any': ['json']}"]
    assert {one["status"] for one in found} == {"done"}


@promise("6.1")
async def test_a_call_is_answered_while_the_request_is_still_open(house: House) -> None:
    async with wire(house) as it:
        await it.send(head("POST", "/v1/stream", house.owner.key, "Transfer-Encoding: chunked"))
        for number in range(3):
            await it.send(chunk(line(number)))
            assert b'"id":%d' % number in await it.until(b"}\n")
        await it.send(b"0\r\n\r\n")
        assert (await it.until(b"0\r\n\r\n")).endswith(b"0\r\n\r\n")


@promise("1.6")
async def test_a_faulty_line_gets_its_problem_and_the_others_run(house: House) -> None:
    lines = [
        b"{\n",
        line(1),
        b'{"id": 2, "operation": "x", "colour": 1}\n',
        b"\xff\n",
        b"[]\n",
        line(3),
        b'{"id": 4, "id": 5}',
    ]

    found = await answers(house.owner, lines)

    by_id = {one["id"]: one for one in found if one["id"] is not None}
    assert by_id[1]["status"] == by_id[3]["status"] == "done"
    assert by_id[2]["problem"]["errors"][0]["path"] == "$"
    problems = [one["problem"]["type"] for one in found if one["id"] is None]
    assert problems == ["/problems/malformed"] * 4
    record = (await house.records(invocation=by_id[2]["invocation"]))[0]
    assert (record["kind"], record["operation"], record["channel"]) == ("refused", "x", "stream")


async def test_a_line_that_is_too_long_gets_its_problem_and_the_next_ones_run(strict_house: House) -> None:
    owner = strict_house.owner

    found = await answers(
        owner, [b'{"id": "' + b"x" * 1500, b"y" * 1500, b'"}\n', line(1), b"z" * 3000 + b"\n", line(2)]
    )

    assert sorted(str(one.get("id")) for one in found) == ["1", "2", "None", "None"]
    assert {one["problem"]["type"] for one in found if one["id"] is None} == {"/problems/too-large"}


OWN = re.compile(r'"(?:invocation|instance|seconds|handle|id)":(?:"[^"]*"|[0-9.e+-]+),?')
RECORDED = (
    "kind", "operation", "who", "chain_of", "tenant", "resources", "input_digest", "output_digest", "bytes", "decision",
    "decision_digest", "grants", "status", "problem", "changed", "session",
)  # fmt: skip
CALLS: list[dict[str, Any]] = [
    {"operation": "access.whoami", "input": {}},
    {"operation": "access.whoami", "input": {"more": 1}},
    {"operation": "access.whoami", "input": {}, "session": "s1", "reason": "because"},
    {"operation": "access.whoami", "input": {}, "dry_run": True},
    {"operation": "access.whoami", "input": {}, "max_bytes": 5},
    {"operation": "access.whoami", "input": {}, "deadline_s": -1},
    {"operation": "no.such", "input": {}},
    {"operation": "access.keys.list", "input": {}},
    {"operation": "files.read", "input": {"path": "same.txt"}},
    {"operation": "files.read", "input": {"path": "missing.txt"}},
    {"operation": "probe.broken", "input": {}},
    {"operation": "", "input": {}},
]


async def test_a_call_is_answered_and_recorded_alike_in_a_batch_and_in_a_stream(house: House) -> None:
    """Those that cannot wait are answered as they are read, and their records put together from parts: twice each."""
    agent = await house.agent()
    (agent.workspace / "same.txt").write_text("same")

    async def told(outcome: dict[str, Any]) -> tuple[str, list[dict[str, Any]]]:
        records = await house.records(invocation=outcome["invocation"])
        return OWN.sub("", json.dumps(outcome, separators=(",", ":"))), [
            {name: one.get(name) for name in RECORDED} for one in records
        ]

    for one in CALLS:
        streamed = await answers(agent, [json.dumps({"id": number, **one}).encode() + b"\n" for number in range(2)])
        alike = [await told(outcome) for outcome in streamed]
        if "deadline_s" not in one:  # a batch with one that is written wrongly runs none
            alike += [
                await told(outcome) for outcome in (await batch(agent, [one, one], stop_on_error=False))["outcomes"]
            ]
        assert all(other == alike[0] for other in alike), one
        assert len(alike[0][1]) == 1, one


async def test_an_operation_that_breaks_does_not_break_the_stream(house: House) -> None:
    found = await answers(house.owner, [line(1, "probe.broken"), line(2)])

    assert {one["id"]: one["status"] for one in found} == {1: "failed", 2: "done"}


async def test_a_surface_that_breaks_answers_the_line_with_an_id(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_: object, **__: object) -> None:
        raise RuntimeError("out of order")

    monkeypatch.setattr(house.door.kernel, "run", broken)
    found = await answers(house.owner, [line(1)])
    whole = await house.owner.call("access.whoami")

    assert found[0]["problem"]["type"] == "/problems/internal"
    assert found[0]["problem"]["invocation"]
    assert problem_of(whole, 500, "internal")["invocation"] == whole.headers["x-invocation-id"]


@promise("6.1")
async def test_a_client_that_does_not_read_its_answers_is_not_read_from_either(house: House) -> None:
    """The server takes up only so much: it holds 64 calls, the answers wait, and the rest stays with the client."""
    async with wire(house) as it:
        await it.send(head("POST", "/v1/stream", house.owner.key, "Transfer-Encoding: chunked"))
        call = {"id": 0, "operation": "probe.large", "input": {"size": 100_000}, "reason": "r" * 1900}
        lines, sent = chunk((json.dumps(call) + "\n").encode() * 20), 0
        it.writer.transport.set_write_buffer_limits(high=0)
        cast("asyncio.Transport", it.writer.transport).pause_reading()  # its own buffer would take 128 MB
        with pytest.raises(TimeoutError):  # noqa: PT012 - it stops somewhere along the way
            for _ in range(3000):  # 120 MB, and 6 GB of answers
                it.writer.write(lines)
                await asyncio.wait_for(it.writer.drain(), 1.5)
                sent += 20
        ran = len(await house.records(operation="probe.large", limit=1000))
        it.leave()

    assert sent < 3000 * 20
    assert ran < 1000


@promise("6.1")
async def test_a_stream_that_breaks_off_begins_nothing_more(house: House) -> None:
    async with wire(house) as it:
        await it.send(head("POST", "/v1/stream", house.owner.key, "Transfer-Encoding: chunked"))
        await it.send(chunk(line(1, "probe.wait", seconds=0.2, mark="cut-1")))
        for _ in range(200):
            if "cut-1" in started:
                break
            await asyncio.sleep(0.01)
        await it.send(chunk(line(2, "probe.wait", seconds=0.0, mark="cut-2").rstrip()))
        it.leave()
    slots = house.door.slots

    for _ in range(200):
        if not slots._sum:  # pyright: ignore[reportPrivateUsage]
            break
        await asyncio.sleep(0.02)

    assert "cut-1" in started
    assert "cut-2" not in started


async def test_somebody_who_holds_too_many_long_requests_is_refused(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(house.door.slots, "_per_key", 0)

    for method, path in (("POST", "/v1/stream"), ("GET", "/v1/events"), ("PUT", "/v1/blobs")):
        response = await house.owner.http.request(method, path)
        problem_of(response, 503, "overloaded")
        assert response.headers["retry-after"] == "1"
        assert "ratelimit-limit" not in response.headers


async def test_answers_that_nobody_has_read_yet_have_a_measure_and_come_under_handles_beyond_it(
    house: House, agent: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = Room(each=10)
    monkeypatch.setattr(house.door, "unsent", room)
    line = json.dumps({"id": 1, "operation": "access.whoami"}).encode() + b"\n"
    told = json.loads((await agent.http.post("/v1/stream", content=line)).text)
    assert told["status"] == "done"
    assert told["output"] is None
    stored = await agent.done("result.read", {"handle": told["handle"]})
    assert json.loads(stored["text"])["id"] == agent.name
    assert room.take("anybody", 10)  # nothing is held once it was sent

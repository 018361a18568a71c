"""Calling in process counts only calls that were answered, and all of the baselines answer."""

from __future__ import annotations

import random
from typing import Any

import pytest

from bench import baselines
from bench.in_process import REST_CALLS, App, Receive, Send, Target, call, compare, loop_of, scope_of

KNOWN = {"Authorization": f"Bearer {baselines.KEY}", "Content-Type": "application/json"}
APPS = [baselines.starlette, baselines.starlette_reading, baselines.fastapi]


@pytest.mark.parametrize("app", APPS, ids=["bare", "reading", "fastapi"])
async def test_each_baseline_answers_the_request_that_it_is_measured_with(app: App) -> None:
    status, body = await call(Target(app, scope_of(baselines.PATH, KNOWN)))
    assert status == 200
    assert b'"tenant":"default"' in body


@pytest.mark.parametrize(("headers", "body", "status"), [({}, b"{}", 401), (KNOWN, b'{"a":1}', 422)])
async def test_the_fastapi_baseline_does_check_key_and_body(headers: dict[str, str], body: bytes, status: int) -> None:
    scope = scope_of(baselines.PATH, {"Content-Type": "application/json", **headers}, body)
    assert (await call(Target(baselines.fastapi, scope, body)))[0] == status


async def test_calls_that_are_not_answered_with_200_are_no_measurement() -> None:
    async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 503, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    with pytest.raises(RuntimeError, match="3 of 3 calls"):
        await loop_of(Target(app, {}), 3)


@pytest.mark.slow
async def test_each_is_called_once_a_repeat_with_a_scope_of_its_own() -> None:
    seen: list[int] = []

    async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        assert "touched" not in scope
        scope["touched"] = True
        seen.append(len((await receive())["body"]))
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    targets = {"a": Target(app, {}), "b": Target(app, {}, rests=2), "c": Target(app, {}, rests=0)}
    found = await compare(targets, calls=2, repeats=3, draw=random.Random(1))
    assert {name: (len(cost.loops), len(cost.settled)) for name, cost in found.items()} == {
        "a": (3, 1), "b": (3, 2), "c": (3, 0),
    }  # fmt: skip
    assert seen == [2] * (3 * 2 * (1 + 3) + 3 * REST_CALLS)

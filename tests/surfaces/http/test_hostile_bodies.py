"""No body of anybody holds up whoever else is served, by whichever door it comes: counted in CPU time of the loop."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest

from superagent.core.operation import is_small
from superagent.core.shape import MOST_FAULTS
from tests.surfaces.http.house import Caller, House

pytestmark = pytest.mark.asyncio(loop_scope="session")
MEBIBYTE = 1024 * 1024
MOST_HELD_S = 0.15
"""The aim is 20 ms. What is measured holds client and server, and one step that takes twice as long is no finding."""


def full(piece: bytes, head: bytes, tail: bytes) -> bytes:
    """Give a body of a mebibyte with a list of the same in it."""
    most = (MEBIBYTE - len(head) - len(tail) - 2000) // (len(piece) + 1)
    return head + b",".join([piece] * most) + tail


def of_input(operation: str, input: bytes) -> dict[str, bytes]:
    """Give the same call for each door, as path and body."""
    name = operation.encode()
    call = b'{"operation":"' + name + b'","input":' + input + b"}"
    tool = b'{"name":"' + name.replace(b".", b"_") + b'","arguments":' + input + b"}"
    return {
        f"/v1/operations/{operation}": input,
        "/v1/batch": b'{"calls":[' + call + b"]}",
        "/v1/stream": call + b"\n",
        "/mcp": b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":' + tool + b"}",
        "/a2a": b'{"jsonrpc":"2.0","id":1,"method":"GetTask","params":' + call + b"}",
    }


WORST = {
    "wrong entries": ("jobs.list", full(b"0", b'{"state":[', b"]}")),
    "wrong objects": ("access.keys.create", full(b'{"a":0}', b'{"name":"x","grants":[', b"]}")),
    "unknown fields": (
        "access.whoami",
        b"{" + b",".join(b'"%x":0' % at for at in range(90_000)) + b"}",
    ),
    "brackets in texts": ("access.whoami", full(b'"[["', b'{"x":[', b"]}")),
    "long numbers": ("access.whoami", full(b"1" * 4000, b'{"x":[', b"]}")),
    "many parts": ("access.whoami", b'{"x":[' + b",".join([b'{"abcdefg":"01234"}'] * 49_000) + b"]}"),
}
HEADERS = {
    "content-type": "application/json", "accept": "application/json, text/event-stream", "a2a-version": "1.0",
    "mcp-protocol-version": "2025-06-18",
}  # fmt: skip


@asynccontextmanager
async def held() -> AsyncGenerator[list[float]]:
    """Give, once the body is over, the longest that this loop's thread worked between two of its turns, in seconds."""
    most = [0.0]

    async def watch() -> None:
        last = time.thread_time()
        while True:
            await asyncio.sleep(0)
            now = time.thread_time()
            most[0] = max(most[0], now - last)
            last = now

    watching = asyncio.create_task(watch())
    try:
        yield most
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)


@pytest.mark.slow
@pytest.mark.parametrize("kind", WORST)
async def test_the_worst_bodies_hold_up_nobody(house: House, agent: Caller, kind: str) -> None:
    operation, input = WORST[kind]
    owner = house.owner
    await owner.http.post("/mcp", content=b"{}", headers=HEADERS)  # loads the SDKs
    await owner.http.post("/a2a", content=b"{}", headers=HEADERS)
    for path, body in of_input(operation, input).items():
        assert len(body) <= MEBIBYTE
        async with held() as most:
            asking = asyncio.create_task(owner.http.post(path, content=body, headers=HEADERS))
            meanwhile = 0
            while not asking.done():
                assert (await agent.call("access.whoami")).status_code == 200
                meanwhile += 1
        response = asking.result()
        assert meanwhile, path
        assert response.status_code < 500, response.text[:500]
        assert len(response.content) < MEBIBYTE, f"{path} answered {len(response.content)} bytes"
        assert most[0] < MOST_HELD_S, f"{path}: the loop worked {most[0] * 1000:.0f} ms in one piece"


ONE = b"{" + b",".join(b'"y%x":0' % at for at in range(900)) + b"}"
MANY = b",".join(b'"x%d":%b' % (at, ONE) for at in range(120))
BESIDE = {
    "/mcp": b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"access_whoami","_meta":{'
    b'"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{},%b}}}'
    % MANY,
    "/mcp?": b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"access_whoami",%b,"_meta":{'
    b'"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}}' % MANY,
    "/a2a": b'{"jsonrpc":"2.0","id":1,"method":"SendMessage","params":{%b,"message":{"messageId":"1",'
    b'"role":"ROLE_USER","parts":[{"text":"access.whoami"}]}}}' % MANY,
    "/a2a?": b'{"jsonrpc":"2.0","id":1,"method":"SendMessage","params":{"beside":[%b],"message":{"messageId":"1",'
    b'"role":"ROLE_USER","parts":[{"text":"access.whoami"}]}}}' % b",".join([ONE] * 120),
}


@pytest.mark.slow
@pytest.mark.parametrize("path", BESIDE)
async def test_what_is_said_beside_a_call_holds_up_nobody(house: House, agent: Caller, path: str) -> None:
    """Each name is looked at for a dry run, but not as many as fit into a mebibyte."""
    await house.owner.http.post(path, content=b"{}", headers=HEADERS)  # loads the SDKs
    newer = {"mcp-protocol-version": "2026-07-28", "mcp-method": "tools/call", "mcp-name": "access_whoami"}
    async with held() as most:
        response = await agent.http.post(path, content=BESIDE[path], headers=HEADERS | newer)

    assert "says more than 1000" in response.text, response.text[:500]
    assert most[0] < MOST_HELD_S, f"{path}: the loop worked {most[0] * 1000:.0f} ms in one piece"


async def test_of_a_small_input_every_fault_is_told_and_of_a_large_one_the_first(agent: Caller) -> None:
    told = (await agent.call("jobs.list", {"state": ["odd", "even"], "limit": "x"})).json()
    assert {one["path"] for one in told["errors"]} == {"$.state[0]", "$.state[1]", "$.limit"}
    told = (await agent.call("jobs.list", {"state": ["odd"] * 5000, "limit": "x"})).json()
    assert {one["path"] for one in told["errors"]} == {"$.state[0]", "$.limit"}
    told = (await agent.call("jobs.list", {f"no{at}": 0 for at in range(500)})).json()
    assert len(told["errors"]) == MOST_FAULTS
    assert is_small(json.loads("[[1],{}]"))
    assert not is_small([[0] * 1000])

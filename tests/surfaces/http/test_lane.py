"""The fast lane: the same thousand requests through lane and door are answered and recorded alike."""

from __future__ import annotations

import asyncio
import gc
import random
import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest

from superagent.asgi import answer
from superagent.runtime.net.listening import listen
from superagent.surfaces.http.door import Door
from superagent.surfaces.http.heads import Plain
from superagent.surfaces.http.lane import Lane
from superagent.surfaces.http.protocol import Protocol
from superagent.surfaces.http.reply import Reply
from tests.promise import promise
from tests.surfaces.http.house import PATIENCE_S, Caller, House
from tests.surfaces.http.raw import chunk, head, wire
from tests.until import until_async

pytestmark = pytest.mark.asyncio(loop_scope="session")

SEED = 20_26
MANY = 1000
AT_ONCE = 50
OWN = re.compile(
    r',?"(?:invocation|instance|id|at|until|seconds|after|before|digest|handle|asked)":(?:"[^"]*"|[0-9.e+-]+|null)'
)
RECORDED = (
    "kind", "operation", "version", "who", "chain_of", "tenant", "channel", "resources", "input_digest", "decision",
    "decision_digest", "grants", "status", "problem", "changed", "session", "trace",
)  # fmt: skip


@asynccontextmanager
async def door_of(house: House) -> AsyncGenerator[int]:
    """Serve the same installation once more, without the lane; gives the port."""
    stop = asyncio.Event()
    with listen("127.0.0.1", 0) as listening:
        serving = asyncio.create_task(answer(house.door, listening, stop, fast_lane=False))
        try:
            yield listening.getsockname()[1]
        finally:
            house.door.streams.closing = False
            stop.set()
            await serving
            house.door.streams.closing = False


def drawn(draw: random.Random, agent: Caller, owner: Caller, number: int) -> bytes:
    """Write one request, good or bad; nothing in it depends on what others have done."""
    key = draw.choice([agent.key, agent.key, owner.key, "sak_nobody", ""])
    name = draw.choice(
        ["access.whoami", "access.whoami", "files.list", "files.write", "files.read", "probe.broken", "probe.large",
         "no.such", "", "access%2Ewhoami", "access.whoami?dry_run=true", "access.whoami?x=1", "files.list/x"]
    )  # fmt: skip
    body = draw.choice(
        [b"", b"{}", b" {} ", b"[]", b"{", b'{"a":1,"a":2}', b'{"path":"."}', b'{"path":"/etc/hostname"}', b"\xff",
         b'{"path":"same.txt","content":"same"}', b'{"size":100}', b'{"size":2000000}', b'{"size":NaN}', b"x" * 5000]
    )  # fmt: skip
    headers = draw.sample(
        ["X-Dry-Run: true", "X-Dry-Run: perhaps", "Superagent-Session: s1", "Superagent-Deadline: 5", "Origin: null",
         "Superagent-Deadline: soon", f"Idempotency-Key: k{number}", "Prefer: wait=1", "X-Forwarded-For: 8.8.8.8",
         "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "Content-Encoding: gzip",
         "Superagent-Reason: because", "Superagent-Max-Bytes: 50", "X-Dry-Run: false", "X-API-Key: sak_other",
         "X-Dry-Run:", "X-DryRun: true", "Dry_Run: true", "Superagent-Session:", "X-Other: 1"],
        draw.choice([0, 0, 0, 1, 2]),
    )  # fmt: skip
    if draw.random() < 0.1:
        begin = head("POST", f"/v1/operations/{name}", key, "Transfer-Encoding: chunked", *headers)
        return begin + chunk(body) + chunk(b"") if body else begin + chunk(b"")
    method = draw.choice(["POST"] * 9 + ["GET"])
    return head(method, f"/v1/operations/{name}", key, f"Content-Length: {len(body)}", *headers) + body


async def asked(port: int, request: bytes) -> tuple[bytes, dict[bytes, bytes], bytes]:
    """Send one request on a connection of its own; gives status line, headers and body."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**26)
    try:
        writer.write(request.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1))
        whole = await asyncio.wait_for(reader.read(), PATIENCE_S)
    finally:
        writer.transport.abort()
    top, _, body = whole.partition(b"\r\n\r\n")
    status, *lines = top.split(b"\r\n")
    return status, dict(line.split(b": ", 1) for line in lines), body


async def record_of(house: House, headers: dict[bytes, bytes]) -> list[dict[str, Any]]:
    id = headers.get(b"x-invocation-id", b"").decode()
    found = await house.records(invocation=id) if id else []
    return sorted(({name: one.get(name) for name in RECORDED} for one in found), key=str)


@promise("1.4a")
@pytest.mark.slow
@pytest.mark.timeout(240)
async def test_a_thousand_requests_are_answered_and_recorded_alike_by_lane_and_door(house: House) -> None:
    draw, agent = random.Random(SEED), await house.agent()
    for workspace in (agent.workspace, agent.workspace.with_name("owner")):
        workspace.mkdir(exist_ok=True)
        (workspace / "same.txt").write_text("same")
    requests = [drawn(draw, agent, house.owner, number) for number in range(MANY)]
    seen: set[bytes] = set()
    async with door_of(house) as port:
        for place in range(0, MANY, AT_ONCE):
            some = requests[place : place + AT_ONCE]
            by_lane = [await asked(house.port, one) for one in some]
            # a key is remembered with its outcome: the other way must not find it
            by_door = [await asked(port, one.replace(b"Idempotency-Key: k", b"Idempotency-Key: d")) for one in some]
            for request, one, other in zip(some, by_lane, by_door, strict=True):
                assert one[0] == other[0], request
                assert set(one[1]) == set(other[1]), request
                assert OWN.sub("", one[2].decode()) == OWN.sub("", other[2].decode()), request
                assert await record_of(house, one[1]) == await record_of(house, other[1]), request
                seen.add(one[0])

    assert {line.split(b" ")[1] for line in seen} >= {b"200", b"400", b"401", b"404", b"422", b"500", b"202"}


@pytest.mark.slow
@pytest.mark.timeout(240)
async def test_requests_that_come_again_and_again_are_answered_and_recorded_alike(house: House) -> None:
    """Each six times on one connection: from the fourth on, the heads of plain ones are known."""
    draw, agent = random.Random(SEED + 1), await house.agent()
    for workspace in (agent.workspace, agent.workspace.with_name("owner")):
        workspace.mkdir(exist_ok=True)
        (workspace / "same.txt").write_text("same")
    async with door_of(house) as port:
        for number in range(MANY // 10):
            request = drawn(draw, agent, house.owner, MANY + number)
            by_lane = await said_on_one_connection(house.port, [request] * 6)
            by_door = await said_on_one_connection(port, [request.replace(b"-Key: k", b"-Key: d")] * 6)
            assert [OWN.sub("", one.decode()) for one in by_lane] == [OWN.sub("", one.decode()) for one in by_door]
            for one, other in zip(by_lane, by_door, strict=True):
                assert await recorded(house, one) == await recorded(house, other), request


async def recorded(house: House, said: bytes) -> list[dict[str, Any]]:
    id = re.findall(rb'"(?:invocation|instance)":"([^"]*)"', said)
    return await record_of(house, {b"x-invocation-id": id[0].rpartition(b"/")[2]}) if id else []


async def said_on_one_connection(port: int, pieces: list[bytes]) -> list[bytes]:
    """Send pieces one after the other on one connection, each when the last is answered; gives all that came."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**26)
    came = list[bytes]()
    try:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            top = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE_S)
            length = int(re.findall(rb"content-length: (\d+)", top)[0])
            came.append(top.split(b"\r\n")[0] + b" " + await reader.readexactly(length))
    except asyncio.IncompleteReadError as ended:
        came.append(b"end " + ended.partial)
    finally:
        writer.transport.abort()
    return came


async def test_requests_that_follow_each_other_on_a_connection_are_read_by_both_ways_alike(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    def one(name: str, body: bytes, *headers: str, key: str = house.owner.key) -> bytes:
        return head("POST", f"/v1/operations/{name}", key, f"Content-Length: {len(body)}", *headers) + body

    who, large = one("access.whoami", b"{}"), one("probe.large", b'{"size": 10}')
    top = who[:-2]
    other = one("access.whoami", b"{}", key=(await house.agent()).key)
    scripts = [
        [who, other, who, other, who, who, other, other, other, who, other],  # nobody answers for the key before
        [large] * 5 + [large.replace(b"10}", b"11}"), large],
        [one("access.whoami", b"{}", key="sak_nobody")] * 6 + [who],
        [one("no.such", b"{}")] * 6,
        [one("probe.broken", b"{}")] * 6,
        [one("files.list", b'{"path":"."}')] * 6,
        [one("files.list", b'{"path":"/nowhere"}')] * 6,
        [who, who, who],
        [who, who, top + b"[]", top + b"{]", top + b"\xff\xff", who],
        [large, large, large.replace(b"10}", b"11}"), large, who, large],
        [who, who, one("access.whoami", b"{}", "X-Dry-Run: true"), who, one("access.whoami", b"{}", "Origin: n"), who],
        [one("access.whoami", b"{}", "Superagent-Session: s")] * 3,
        [one("access.whoami", b"{}", "X-DryRun: true")] * 6,
        [one("access.whoami", b"{}", "X-Dry-Run:")] * 6,
        [who, who, one("access.whoami", b"{}", "Dry-Run: true"), who, one("access.whoami", b"{}", "X-Other: 1"), who],
        [one("files.list", b'{"path":"."}')] * 3,
        [who, who, top + b"\r\n", who],
        [b"\r\n" + who, b"\r\n" + who, who, who],
        [one("access.whoami", b"\r\n"), one("access.whoami", b"\r\n") , one("access.whoami", b"\r\n")],
        [one("access.whoami", b"{}\r\n\r\n"), one("access.whoami", b"{}\r\n\r\n"), who, who],
        [one("access.whoami", b"{}", key="sak_nobody")] * 3 + [who],
        [one("no.such", b"{}")] * 3,
        [who, who, who.replace(b"HTTP/1.1", b"HTTP/1.0")],
        [who, who, who.replace(b"access.whoami", b"access%2Ewhoami", 1), who],
        [who, who, who.replace(b"\r\n", b"\n"), who],
        [who.replace(b"\r\n\r\n", b"\r\nX-Long: " + b"y" * 5000 + b"\r\n\r\n")] * 3,
        [who, who, b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n", who, who],
    ]  # fmt: skip
    async with door_of(house) as port:
        for script in scripts:
            by_lane = await said_on_one_connection(house.port, script)
            by_door = await said_on_one_connection(port, script)
            assert [OWN.sub("", one.decode()) for one in by_lane] == [OWN.sub("", one.decode()) for one in by_door], (
                script
            )
            assert len(by_lane) >= 2
        known: list[bytes] = []
        plainly = Door.answer_plain

        async def told(self: Door, plain: Plain, body: bytes) -> Reply:
            known.append(body)
            return await plainly(self, plain, body)

        monkeypatch.setattr(Door, "answer_plain", told)
        for script in scripts:
            # what came before may be known; what comes then is the same script in all its turns
            again = [who] * 5 + script * 2
            by_lane = await said_on_one_connection(house.port, again)
            by_door = await said_on_one_connection(port, again)
            assert [OWN.sub("", one.decode()) for one in by_lane] == [OWN.sub("", one.decode()) for one in by_door], (
                script
            )
        assert len(known) > 2 * len(scripts)


@pytest.mark.parametrize(
    "header", ["X-Dry-Run:", "X-Dry-Run: ", "X-DryRun: true", "Dry-Run: true", "X_Dry_Run: true", "X-Dry: true"]
)
async def test_a_dry_run_with_a_slip_is_refused_however_often_it_is_said(house: House, header: str) -> None:
    """A head that was said before is known, and then its headers are not looked at again: never one like this."""
    agent = await house.agent()
    body = b'{"path":"slip","content":"x"}'
    request = head("POST", "/v1/operations/files.write", agent.key, f"Content-Length: {len(body)}", header) + body

    came = await said_on_one_connection(house.port, [request] * 8)

    assert [one.split(b" ")[1] for one in came] == [b"422"] * 8
    assert not (agent.workspace / "slip").exists()


async def test_a_key_that_ended_between_two_requests_of_a_connection_is_refused(house: House) -> None:
    """Though its head is known by then: what is known of a head is not who calls."""
    agent = await house.agent()
    request = head("POST", "/v1/operations/access.whoami", agent.key, "Content-Length: 2") + b"{}"
    made = (await agent.done("access.whoami"))["key"]
    async with wire(house) as it:
        for _ in range(6):
            await it.send(request)
            assert await it.until(b"\r\n") == b"HTTP/1.1 200 OK\r\n"
            await it.until(b'"seconds":')
            await it.until(b"}")
        assert [lane for lane in connections() if request[:-2] in lane.heads.known]
        await house.owner.done("access.keys.revoke", {"id": made})
        await it.send(request)
        assert await it.until(b"\r\n") == b"HTTP/1.1 401 Unauthorized\r\n"


async def test_a_request_that_arrives_in_pieces_is_answered(house: House) -> None:
    body = b'{"size": 10}'
    request = head("POST", "/v1/operations/probe.large", house.owner.key, f"Content-Length: {len(body)}") + body
    for cut in (5, request.index(b"\r\n\r\n") + 2, len(request) - len(body), len(request) - 3):
        async with wire(house) as it:
            await it.send(request[:cut])
            await asyncio.sleep(0)
            await it.send(request[cut:])
            assert await it.until(b"\r\n") == b"HTTP/1.1 200 OK\r\n"
            await it.until(b"xxxxxxxxxx")


async def test_requests_in_one_packet_are_answered_in_order_whatever_their_way(house: House) -> None:
    def one(name: str, body: bytes, *headers: str) -> bytes:
        return head("POST", f"/v1/operations/{name}", house.owner.key, f"Content-Length: {len(body)}", *headers) + body

    last = head("GET", "/health/live", house.owner.key, "Connection: close")
    async with wire(house) as it:
        await it.send(
            one("access.whoami", b"{}")
            + one("probe.wait", b'{"seconds": 0.1, "mark": "second"}')
            + one("access.whoami", b"{}", "Prefer: wait=1")
            + one("probe.large", b'{"size": 5, "word": "fourth"}')
            + last
        )
        whole = await it.rest()

    places = [whole.index(mark) for mark in (b'"kind":"human"', b'"second"', b'"fourt', b'"status":"ok"')]
    assert places == sorted(places)
    assert whole.count(b"HTTP/1.1 200 OK") == 5


async def test_an_old_client_gets_its_answer_and_the_end_of_the_connection(house: House) -> None:
    async with wire(house) as it:
        request = head("POST", "/v1/operations/access.whoami", house.owner.key, "Content-Length: 2") + b"{}"
        await it.send(request.replace(b"HTTP/1.1", b"HTTP/1.0"))
        whole = await it.rest()

    assert b"connection: close" in whole
    assert b'"status":"done"' in whole


async def test_whoever_leaves_before_the_answer_harms_nobody(house: House) -> None:
    body = b'{"seconds": 0.05, "mark": "left"}'
    async with wire(house) as it:
        await it.send(head("POST", "/v1/operations/probe.wait", house.owner.key, f"Content-Length: {len(body)}") + body)
        it.leave()

    assert (await house.owner.done("access.whoami"))["id"] == "owner"


@pytest.mark.slow
async def test_a_client_that_reads_nothing_is_not_answered_without_end(house: House) -> None:
    one = head("POST", "/v1/operations/access.whoami", house.owner.key, "Content-Length: 2") + b"{}"
    async with wire(house) as it:
        cast("asyncio.Transport", it.writer.transport).pause_reading()
        it.writer.write(one * 40_000)
        await until_async(lambda: any(lane.flow.write_paused for lane in connections()), "a full connection")
        held = [lane for lane in connections() if lane.flow.write_paused]
        assert all(lane.transport.get_write_buffer_size() < 2**20 for lane in held)
        assert all(len(lane.pipeline) < 5_000 for lane in held)


def connections() -> list[Lane]:
    return [one for one in gc.get_objects() if isinstance(one, Lane)]


async def test_a_connection_that_asks_nothing_more_is_closed(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    request = head("POST", "/v1/operations/access.whoami", house.owner.key, "Content-Length: 2") + b"{}"
    made = Protocol.connection_made

    def hurried(self: Protocol, transport: asyncio.Transport) -> None:
        made(self, transport)
        self.timeout_keep_alive = 0.2  # pyright: ignore[reportAttributeAccessIssue]

    monkeypatch.setattr(Protocol, "connection_made", hurried)
    async with wire(house) as it, wire(house) as busy:
        await it.send(request)
        body = b'{"seconds": 0.6, "mark": "long"}'
        long = head("POST", "/v1/operations/probe.wait", house.owner.key, f"Content-Length: {len(body)}") + body
        await busy.send(long)

        assert b"200 OK" in await it.rest()  # and then the end
        assert b"200 OK" in await busy.rest()  # what takes longer is waited for

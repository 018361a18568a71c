"""The upstream and the journal by themselves: time-outs, connections that break, answers of the real resolver."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpcore
import pytest

from superagent.core.endpoints import Endpoint, NotPublic, public_or
from superagent.core.problems import Deadline, Denied, InvalidInput, Unavailable
from superagent.runtime.net.dialer import Dialer
from superagent.runtime.net.guard import Guard
from superagent.runtime.net.journal import Crossed, Journal, Whose
from superagent.runtime.net.network import open_network
from superagent.runtime.net.resolver import system_resolver
from superagent.runtime.net.trust import outgoing, system_bundle
from superagent.runtime.net.upstream import Headers, Upstream
from superagent.runtime.net.wire import Wire
from superagent.testing import AuditSpy, FakeClock
from tests.runtime.net.certificates import Authority
from tests.runtime.net.outside import LOOPBACK, Names, listening, ok, site

NAMES = Names({"a.test": ["127.0.0.1"], "slow.test": ["127.0.0.1"]})


async def asked(
    port: int, body: bytes | AsyncIterator[bytes] | None = None, trust: ssl.SSLContext | None = None, **how: float
) -> bytes:
    """Send one request and give the body of the answer."""
    dialer = Dialer(NAMES, public_or(LOOPBACK))

    async def dial(endpoint: Endpoint, timeout_s: float) -> Wire:
        return (await dialer.dial(endpoint, timeout_s))[0]

    upstream = Upstream(dial, trust or ssl.create_default_context(), **how)
    headers: Headers = [(b"Host", b"a.test")] + ([(b"Content-Length", b"9000000")] if body else [])
    try:
        async with upstream.exchange(
            Endpoint("a.test", port), trust is not None, b"POST", b"/", headers, body
        ) as response:
            return b"".join([piece async for piece in response.aiter_stream()])
    finally:
        await upstream.aclose()


async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await asyncio.Event().wait()


async def test_a_server_that_stops_speaking_listening_or_shaking_hands_is_given_up(tmp_path: Path) -> None:
    trust = Authority(tmp_path).trust
    async with listening(silent) as there:
        with pytest.raises(Deadline):
            await asked(there.port, idle_s=0.2)
        with pytest.raises(Deadline):
            await asked(there.port, trust=trust, connect_s=0.2)

    async def deaf(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert isinstance(writer.transport, asyncio.Transport)
        writer.transport.pause_reading()
        await asyncio.Event().wait()

    async with listening(deaf) as there:
        with pytest.raises(Deadline):
            await asked(there.port, b"x" * 9_000_000, idle_s=0.3)


async def test_a_server_that_hangs_up_is_unavailable(tmp_path: Path) -> None:
    outside = Authority(tmp_path)

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)

    async def midway(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")

    for serve in (hang_up, midway):
        async with listening(serve) as there:
            with pytest.raises(Unavailable):
                await asked(there.port)
            with pytest.raises(Unavailable):
                await asked(there.port, trust=outside.trust)
    async with listening(midway, tls=outside.server("a.test")) as there:
        with pytest.raises(Unavailable):
            await asked(there.port, trust=outside.trust)


async def test_a_body_that_is_shorter_than_it_says_is_no_request() -> None:
    async with site() as there:
        with pytest.raises(InvalidInput):
            await asked(there.port, b"short")


async def test_a_connection_is_kept_for_the_next_request_unless_the_server_has_ended_it() -> None:
    async with site(ok(b"1")) as keeping, listening(silent) as _:
        dialer, wires = Dialer(NAMES, public_or(LOOPBACK)), list[Wire]()

        async def dial(endpoint: Endpoint, timeout_s: float) -> Wire:
            wires.append((await dialer.dial(endpoint, timeout_s))[0])
            return wires[-1]

        upstream = Upstream(dial, ssl.create_default_context())
        endpoint = Endpoint("a.test", keeping.port)

        async def ask() -> None:
            async with upstream.exchange(endpoint, False, b"GET", b"/", [(b"Host", b"a.test")], None) as response:
                async for _ in response.aiter_stream():
                    pass

        await ask()
        await ask()
        assert len(wires) == 1
        wires[0].abort()
        while not wires[0].readable:
            await asyncio.sleep(0.01)
        await ask()
        assert len(wires) == 2
        await upstream.aclose()


def test_the_library_finds_no_other_way_to_a_connection() -> None:
    found = {name for name in dir(httpcore.AsyncNetworkBackend) if not name.startswith("_")}
    assert found == {"connect_tcp", "connect_unix_socket", "sleep"}  # a new one would have to be answered for


# ---- names


async def test_the_machines_own_resolver_is_asked_where_that_is_permitted() -> None:
    audit = AuditSpy()
    with open_network(audit.note, lambda: 0.0) as network:
        assert "127.0.0.1" in await network.resolve("localhost", 80)
        with pytest.raises(Denied):  # by hand, outside of the dialer
            await network.resolve("secret.evil.test", 80)
        with pytest.raises(NotPublic):
            await Dialer(network.resolve, network.public).addresses(Endpoint("localhost", 80))
    assert [one.operation for one in audit.records] == ["egress.refused"]
    with (
        ThreadPoolExecutor(1) as pool,
        Guard(lambda call, place, what: None).standing(),
        pytest.raises(Unavailable, match="no address"),
    ):
        await Dialer(system_resolver(pool)).addresses(Endpoint("no-such-name.invalid", 80))


async def test_answers_are_cut_before_they_are_used_and_slow_ones_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    many = Names({"a.test": [f"1.1.1.{number}" for number in range(200)]})
    assert len(await Dialer(many).addresses(Endpoint("a.test", 80))) == 16

    async def never(host: str, port: int) -> list[str]:
        await asyncio.Event().wait()
        return []

    monkeypatch.setattr("superagent.runtime.net.dialer.LOOK_UP_S", 0.1)
    with pytest.raises(Unavailable, match="in time"):
        await Dialer(never).addresses(Endpoint("a.test", 80))
    with pytest.raises(Deadline):
        await Dialer(never).dial(Endpoint("a.test", 80), 0.05)


async def test_the_next_address_is_tried_when_one_does_not_answer() -> None:
    async with site(ok(b"x")) as there:
        both = Names({"a.test": ["127.0.0.3", "127.0.0.1"]})
        dialer = Dialer(both, public_or(["127.0.0.0/8"]))
        wire, address = await dialer.dial(Endpoint("a.test", there.port), 10)
        assert str(address) == "127.0.0.1"
        wire.abort()
        await asyncio.sleep(0)


# ---- what is believed, what is recorded


def test_authorities_are_those_of_the_machine_and_not_of_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = Authority(tmp_path).file
    monkeypatch.setenv("SSL_CERT_FILE", str(mine))
    assert system_bundle() != mine
    ours = ssl.PEM_cert_to_DER_cert(mine.read_text())
    assert ours not in outgoing().get_ca_certs(binary_form=True)
    assert ours in outgoing(str(mine)).get_ca_certs(binary_form=True)
    assert outgoing().verify_mode is ssl.CERT_REQUIRED
    assert outgoing().check_hostname
    (tmp_path / "noise.pem").write_text("no certificate")
    with pytest.raises(Unavailable, match=r"net\.ca_file"):
        outgoing(str(tmp_path / "noise.pem"))


async def test_a_flood_that_has_ended_is_counted_while_the_platform_runs() -> None:
    audit, clock = AuditSpy(), FakeClock()
    journal = Journal(audit.note, clock.now)
    for _ in range(100):
        journal.refused(Whose("call", "t", "w"), "evil.test:443", "no rule reaches it", "sandbox")
    assert await journal.sweep() == 0
    clock.advance(11)
    assert await journal.sweep() == 1
    assert sum(one.count for one in audit.records) == 100


def test_the_journal_lists_the_first_and_counts_the_rest_whatever_the_name() -> None:
    audit = AuditSpy()
    journal = Journal(audit.note, lambda: 1.0)
    journal.crossed(Whose.of(None), Crossed(Endpoint("a.test", 443), "1.1.1.1", "sandbox", 1, 2, 0.5, opened=True))
    assert audit.records[0].detail["opened"] is True
    assert audit.records[0].tenant == "system"
    for number in range(500):
        journal.refused(Whose("call", "t", "w"), f"n{number}.evil.test:443", "no rule reaches it", "sandbox")
    assert len(audit.records) == 21
    journal.settle()
    assert sum(one.count for one in audit.records[1:]) == 500
    assert audit.records[-1].detail == {"source": "call", "what": "no rule reaches it", "by": "sandbox"}

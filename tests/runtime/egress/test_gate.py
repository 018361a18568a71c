"""The gate: commands in an empty network reach what their rules name, by name, and nothing else."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from superagent.core.endpoints import HostRule, HostRules
from superagent.runtime.egress.client import Caps
from tests import needs
from tests.promise import promise
from tests.runtime.egress.inside import node_folder, outlook, sandboxed
from tests.runtime.net.certificates import Authority
from tests.runtime.net.outside import Asked, Names, listening, ok, site
from tests.until import until_async

KNOWN = {name: ["127.0.0.1"] for name in ("a.test", "b.a.test", "b.test", "xa.test", "a.test.evil.org")}
CURL = ("curl", "-sS", "--max-time", "10")
NO_PYTHON = "import urllib.request as r; print(r.urlopen({url!r}, timeout=10, context={context}).read().decode())"


@pytest.fixture
def outside(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@promise("1.3c")
async def test_what_a_rule_names_is_reached_by_plain_http_and_recorded_to_the_byte() -> None:
    async with site(ok(b"plain")) as there, outlook(Names(KNOWN)) as view:
        async with sandboxed(view, HostRules.of(f"a.test:{there.port}")) as (inside, gate):
            assert await inside.run(*CURL, f"http://a.test:{there.port}/x?y=z") == (0, "plain", "")
            assert there.asked[0].line == "GET /x?y=z HTTP/1.1"
            assert there.asked[0].header("host") == [f"a.test:{there.port}"]
            assert there.asked[0].header("proxy-connection") == []
            code, out, err = await inside.run(
                "python3", "-c", NO_PYTHON.format(url=f"http://a.test:{there.port}", context=None)
            )
            assert (code, out.strip()) == (0, "plain"), err
        records = view.records("connection")
        assert [resource for resource, _ in records] == [f"host://-/a.test:{there.port}"] * 2
        assert {(one["by"], one["address"], one["inside"]) for _, one in records} == {
            ("sandbox", "127.0.0.1", "shell.run")
        }
        assert sum(one["sent"] for _, one in records) == there.received == gate.traffic.sent
        assert sum(one["received"] for _, one in records) == there.sent == gate.traffic.received
        record = next(one for one in view.audit.records if one.operation == "egress.connection")
        assert (record.invocation, record.tenant, record.who, record.kind) == ("call-1", "default", "builder", "event")
        assert gate.traffic.hosts == {f"a.test:{there.port}"}
        assert gate.traffic.opened == set()
        assert view.records("refused") == []


@promise("1.3c")
async def test_tls_passes_by_name_untouched_and_is_recorded_to_the_byte(outside: Authority) -> None:
    async with site(ok(b"x" * 300_000), outside.server("a.test")) as there, outlook(Names(KNOWN)) as view:
        async with sandboxed(view, HostRules.of(f"a.test:{there.port}")) as (inside, gate):
            await inside.python("open('/tmp/ca', 'w').write(text)", text=outside.file.read_text())
            url = f"https://a.test:{there.port}/"
            assert (await inside.run(*CURL, url))[0] in (
                60,
                77,
            )  # the real server's certificate: nobody inside knows it
            code, out, err = await inside.run(*CURL, "--cacert", "/tmp/ca", url)
            assert (code, len(out)) == (0, 300_000), err
            context = "__import__('ssl').create_default_context(cafile='/tmp/ca')"
            code, out, err = await inside.run("python3", "-c", NO_PYTHON.format(url=url, context=context))
            assert (code, len(out)) == (0, 300_001), err
        assert len(view.records("connection")) == 3
        assert sum(one["sent"] for _, one in view.records("connection")) == there.received
        assert sum(one["received"] for _, one in view.records("connection")) == there.sent
        assert gate.traffic.opened == set()


async def test_node_finds_its_way_out_by_the_environment_alone(outside: Authority) -> None:
    if node_folder() is None:
        needs.missing("no Node that other users can read lies in this environment")
    script = (
        "fetch(process.argv[1]).then(r => r.text())"
        ".then(console.log, e => {console.error(e.cause || e); process.exit(1)})"
    )
    async with (
        site(ok(b"plain")) as there,
        site(ok(b"secure"), outside.server("b.test")) as secure,
        outlook(Names(KNOWN)) as view,
    ):
        rules = HostRules.of(f"a.test:{there.port}", f"b.test:{secure.port}")
        async with sandboxed(view, rules, env={"NODE_EXTRA_CA_CERTS": "/tmp/ca"}) as (inside, _):
            await inside.python("open('/tmp/ca', 'w').write(text)", text=outside.file.read_text())
            code, out, err = await inside.run("/tmp/node/node", "-e", script, f"http://a.test:{there.port}/")
            assert (code, out.strip()) == (0, "plain"), err
            code, out, err = await inside.run("/tmp/node/node", "-e", script, f"https://b.test:{secure.port}/")
            assert (code, out.strip()) == (0, "secure"), err
            code, out, err = await inside.run("/tmp/node/node", "-e", script, f"http://xa.test:{there.port}/")
            assert code != 0 or "may not connect" in out


@promise("1.3c")
@pytest.mark.slow
async def test_wildcards_ports_and_methods_are_held() -> None:
    async with site() as one, site() as two, outlook(Names(KNOWN)) as view:
        rules = HostRules([HostRule.of(f"*.a.test:{one.port}"), HostRule.of(f"b.test:{two.port}", ["GET", "HEAD"])])
        async with sandboxed(view, rules) as (inside, _):
            assert b"200" in await inside.get(f"http://b.a.test:{one.port}/")
            assert b"200" in await inside.get(f"http://b.test:{two.port}/")
            assert b"200" in await inside.get(f"http://b.test:{two.port}/", "HEAD")
            reached = one.connections + two.connections
            for url, method in (
                (f"http://a.test:{one.port}/", "GET"),
                (f"http://xa.test:{one.port}/", "GET"),
                (f"http://a.test.evil.org:{one.port}/", "GET"),
                (f"http://b.a.test:{two.port}/", "GET"),
                ("http://b.a.test/", "GET"),
                ("http://b.a.test:22/", "GET"),
                (f"http://b.test:{two.port}/", "POST"),
                (f"http://b.test:{two.port}/", "DELETE"),
            ):
                assert b"HTTP/1.1 403" in await inside.get(url, method), url
            assert await inside.status("CONNECT b.a.test:22 HTTP/1.1\r\nHost: b.a.test:22\r\n\r\n") == 403
        assert one.connections + two.connections == reached
        assert len(view.records("refused")) == 9


ADDRESSES = [
    "127.0.0.1", "2130706433", "0x7f000001", "0x7f.1", "0177.0.0.1", "017700000001", "127.1", "127.0.0.1.", "[::1]",
    "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::1%25lo]", "[64:ff9b::7f00:1]", "169.254.169.254", "2852039166",
    "[fd00:ec2::254]", "10.0.0.1", "1.1.1.1",
]  # fmt: skip


@promise("1.3c")
async def test_addresses_in_every_spelling_are_refused_even_where_everything_is_allowed() -> None:
    async with site() as there, outlook(Names({})) as view:
        async with sandboxed(view, HostRules.of("*")) as (inside, _):
            for address in ADDRESSES:
                assert await inside.status(f"CONNECT {address}:{there.port} HTTP/1.1\r\nHost: {address}\r\n\r\n") in (
                    400,
                    403,
                )
                plain = f"GET http://{address}:{there.port}/ HTTP/1.1\r\nHost: {address}:{there.port}\r\n\r\n"
                assert await inside.status(plain) in (400, 403), address
        assert there.connections == 0
        assert sum(one.count for one in view.audit.records if one.kind == "refused") == 2 * len(ADDRESSES)


@promise("1.3c")
@pytest.mark.slow
async def test_names_that_lead_inwards_are_refused_also_when_their_answer_changes() -> None:
    inner = {
        "meta.test": ["169.254.169.254"], "own.test": ["127.0.0.1"], "mixed.test": ["1.1.1.1", "10.0.0.1"],
        "six.test": ["::1"], "coat.test": ["::ffff:127.0.0.1"], "nat.test": ["64:ff9b::a9fe:a9fe"], "none.test": [],
    }  # fmt: skip
    names = Names(inner | {"turn.test": ["127.0.0.1"]}, then={"turn.test": ["127.0.0.2"]})
    async with site() as there, outlook(names) as view, sandboxed(view, HostRules.of("*")) as (inside, _):
        assert (
            await inside.status(f"GET http://turn.test:{there.port}/ HTTP/1.1\r\nHost: turn.test:{there.port}\r\n\r\n")
            == 200
        )
        assert names.asked == ["turn.test"]  # once: what was checked is what was connected to
        assert (
            await inside.status(f"GET http://turn.test:{there.port}/ HTTP/1.1\r\nHost: turn.test:{there.port}\r\n\r\n")
            == 403
        )
        assert there.connections == 1
    async with site() as there, outlook(Names(inner), allow=()) as view:
        async with sandboxed(view, HostRules.of("*")) as (inside, gate):
            for name in inner:
                answer = await inside.ask(f"CONNECT {name}:{there.port} HTTP/1.1\r\nHost: {name}:{there.port}\r\n\r\n")
                assert answer.startswith(b"HTTP/1.1 502" if name == "none.test" else b"HTTP/1.1 403"), name
                assert not any(address.encode() in answer for address in inner[name])
            assert len(gate.denials()) == len(inner)
        assert there.connections == 0
        assert {one["address"] for _, one in view.records("refused")} == {
            a for found in inner.values() for a in found if a != "1.1.1.1"
        }


@promise("1.3c")
async def test_targets_with_two_readings_are_refused() -> None:
    async with site() as there, outlook(Names(KNOWN)) as view:
        port = there.port
        async with sandboxed(view, HostRules.of("a.test")) as (inside, _):
            for target in (
                f"a.test@b.test:{port}", f"a.test:{port}@b.test:{port}", f"b.test:{port}#@a.test",
                f"a.test%00.b.test:{port}",
                f"a.test\\.b.test:{port}", f"a.test/.b.test:{port}", "a.test", "a.test:", f"a.test:{port}/",
                f"http://a.test:{port}", f"a.test:{port}:80", f" a.test:{port}", f"%61.test:{port}", "a.test:99999",
            ):  # fmt: skip
                assert await inside.status(f"CONNECT {target} HTTP/1.1\r\nHost: a.test:{port}\r\n\r\n") in (400, 403), (
                    target
                )
            for url in (
                f"http://u:p@a.test:{port}/", f"http://a.test:{port}@b.test/", f"http://b.test:{port}\\@a.test/",
                f"https://a.test:{port}/", f"ftp://a.test:{port}/", "/", "*", f"a.test:{port}", f"//a.test:{port}/",
                f"http:/a.test:{port}/", "http:///x",
            ):  # fmt: skip
                assert await inside.status(f"GET {url} HTTP/1.1\r\nHost: a.test:{port}\r\n\r\n") in (400, 403), url
            assert await inside.status(b"CONNECT a.test\0.b.test:80 HTTP/1.1\r\nHost: a.test\r\n\r\n") == 400
        assert there.connections == 0


@promise("1.3c")
async def test_a_request_is_for_one_host_and_a_second_one_hidden_in_it_is_judged_by_itself() -> None:
    async with site() as there, outlook(Names(KNOWN)) as view:
        a, b = f"a.test:{there.port}", f"b.test:{there.port}"
        hidden = f"GET http://{b}/hidden HTTP/1.1\r\nHost: {b}\r\n\r\n"
        post = f"POST http://{a}/ HTTP/1.1\r\nHost: {a}\r\n"
        ended = f"0\r\n\r\n{hidden}"
        async with sandboxed(view, HostRules.of("a.test")) as (inside, _):
            for raw in (
                f"GET http://{a}/ HTTP/1.1\r\nHost: {b}\r\n\r\n",
                f"GET http://{a}/ HTTP/1.1\r\nHost: {a}\r\nHost: {b}\r\n\r\n",
                f"GET http://{a}/ HTTP/1.1\r\n\r\n",
                f"CONNECT {a} HTTP/1.1\r\nHost: {b}\r\n\r\n",
                f"CONNECT {a} HTTP/1.1\r\nHost: {a}\r\nContent-Length: 5\r\n\r\nhello",
                f"{post}Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n{ended}",
                f"{post}Transfer-Encoding: chunked, identity\r\n\r\n{ended}",
                f"{post}Transfer-Encoding: xchunked\r\n\r\n{ended}",
                f"{post}Content-Length: 0\r\nContent-Length: {len(hidden)}\r\n\r\n{hidden}",
                f"{post}Content-Length: +5\r\n\r\nhello",
                f"GET http://{a}/ HTTP/1.1\r\nHost : {a}\r\n\r\n",
                f"GET http://{a}/ HTTP/1.1\r\nHost: {a}\r\nX: a\0b\r\n\r\n",
                f"TRACE http://{a}/ HTTP/1.1\r\nHost: {a}\r\n\r\n",
                f"get http://{a}/ HTTP/1.1\r\nHost: {a}\r\n\r\n",
            ):
                assert await inside.status(raw) in (400, 501), raw
            assert there.asked == []
            both = await inside.ask(f"GET http://{a}/one HTTP/1.1\r\nHost: {a}\r\n\r\n{hidden}")
            assert both.count(b"HTTP/1.1 200") == 1
            assert both.count(b"HTTP/1.1 403") == 1
            assert [one.line for one in there.asked] == ["GET /one HTTP/1.1"]
            # a body that looks like a request stays a body, however it was framed
            await inside.ask(
                f"POST http://{a}/two HTTP/1.1\r\nHost: {a}\r\nConnection: close\r\n"
                f"Content-Length: {len(hidden)}\r\n\r\n{hidden}"
            )
            chunk = f"{len(hidden):x}\r\n{hidden}\r\n0\r\n\r\n"
            await inside.ask(
                f"POST http://{a}/three HTTP/1.1\r\nHost: {a}\r\nConnection: close\r\n"
                f"Transfer-Encoding: chunked\r\n\r\n{chunk}"
            )
            assert [(one.line.split()[1], one.body.decode()) for one in there.asked[1:]] == [
                ("/two", hidden),
                ("/three", hidden),
            ]
            assert len(there.asked) == 3


@promise("1.3c")
async def test_headers_of_the_hop_stay_on_it() -> None:
    async with (
        site() as there,
        outlook(Names(KNOWN)) as view,
        sandboxed(view, HostRules.of("a.test")) as (inside, _),
    ):
        await inside.get(
            f"http://a.test:{there.port}/", "GET", "Proxy-Authorization: Basic x", "Connection: X-Mine, close",
            "X-Mine: 1", "Upgrade: h2c", "TE: trailers", "Keep-Alive: 5", "X-Kept: 2",
        )  # fmt: skip
        names = {line.partition(":")[0].lower() for line in there.asked[0].lines[1:]}
        assert names == {"host", "x-kept"}


@promise("1.3c")
@pytest.mark.slow
async def test_a_tunnel_carries_tls_for_its_name_or_http_that_is_judged_and_nothing_else(outside: Authority) -> None:
    async def second_proxy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        relayed.append(await reader.readline())
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")

    relayed: list[bytes] = []
    names = Names(KNOWN)
    async with (
        listening(second_proxy) as proxy,
        site(ok(b"plain")) as there,
        site(ok(b"front"), outside.server("a.test", "b.test")) as front,
        outlook(names) as view,
    ):
        rules = HostRules([HostRule.of("a.test"), HostRule.of("b.test", raw=True)])
        async with sandboxed(view, rules) as (inside, _):
            head = f"CONNECT a.test:{proxy.port} HTTP/1.1\r\nHost: a.test:{proxy.port}\r\n\r\n"
            answer = await inside.ask(head + "CONNECT evil.org:443 HTTP/1.1\r\nHost: evil.org:443\r\n\r\n")
            assert b"a tunnel does not lead through another proxy" in answer
            assert b"a path and nothing else" in await inside.ask(
                head + "GET http://evil.org/ HTTP/1.1\r\nHost: a.test\r\n\r\n"
            )
            assert b"two different hosts" in await inside.ask(head + "GET / HTTP/1.1\r\nHost: evil.org\r\n\r\n")
            for noise in (
                "SSH-2.0-OpenSSH_9\r\n",
                "\x16\x03\x01\x00\x05hello",
                "\x00\x01\x02",
                "\x05\x01\x00",
                "EHLO x\r\n",
            ):
                assert (await inside.ask(head + noise)).count(b"HTTP/1.1") <= 2, noise
            assert set(relayed) == {b""}  # connected to, and hung up on without a byte
            # what speaks HTTP is passed on request by request
            plain = f"CONNECT a.test:{there.port} HTTP/1.1\r\nHost: a.test\r\n\r\n"
            inner = f"GET /in HTTP/1.1\r\nHost: a.test:{there.port}\r\n\r\n"
            both = await inside.ask(
                plain + inner + inner.replace("/in", "/again").replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n")
            )
            assert both.count(b"plain") == 2
            assert there.connections == 1
            # a name inside TLS that is not the tunnel's own
            await inside.python("open('/tmp/ca', 'w').write(text)", text=outside.file.read_text())
            fronted = (
                "import ssl\ncontext = ssl.create_default_context(cafile='/tmp/ca')\n"
                "sock = socket.create_connection(('127.0.0.1', 3128), 5)\n"
                "sock.sendall(raw)\nassert b'200' in sock.recv(1000)\n"
                "result = context.wrap_socket(sock, server_hostname=name).version()"
            )
            tunnel = f"CONNECT a.test:{front.port} HTTP/1.1\r\nHost: a.test:{front.port}\r\n\r\n".encode()
            assert await inside.python(fronted, raw=tunnel, name="a.test") == "TLSv1.3"
            assert str(await inside.python(fronted, raw=tunnel, name="b.test")).startswith("failed")
            # what is allowed to be raw may be anything
            raw = f"CONNECT b.test:{proxy.port} HTTP/1.1\r\nHost: b.test\r\n\r\nSSH-2.0-OpenSSH_9\r\n"
            assert (await inside.ask(raw)).count(b"200") == 2
            assert relayed[-1] == b"SSH-2.0-OpenSSH_9\r\n"
        why = set(view.why())
        assert {
            "a tunnel inside a tunnel",
            "two hosts in one request",
            "TLS for another name",
            "neither TLS nor HTTP in a tunnel",
        } <= why


@promise("1.3c")
async def test_there_is_no_way_out_but_the_proxy(tmp_path: Path) -> None:
    async with site() as there, outlook(Names(KNOWN)) as view:
        async with sandboxed(view, HostRules.of("a.test")) as (inside, _):
            tries = {
                "tcp": f"socket.create_connection(('127.0.0.1', {there.port}), 2)",
                "public": "socket.create_connection(('1.1.1.1', 53), 2)",
                "meta": "socket.create_connection(('169.254.169.254', 80), 2)",
                "six": "socket.create_connection(('::1', 3128), 2)",
                "public six": "socket.create_connection(('2606:4700:4700::1111', 53), 2)",
                "udp": "socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('1.1.1.1', 53))",
                "dns": "socket.getaddrinfo('a.test', 80)",
                "raw": "socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)",
                "packet": "socket.socket(socket.AF_PACKET, socket.SOCK_RAW)",
                "unix": "socket.socket(socket.AF_UNIX).connect('/run/docker.sock')",
                "abstract": "socket.socket(socket.AF_UNIX).connect('\\0abstract')",
                "vsock": "socket.socket(socket.AF_VSOCK)",
                "netlink": "socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)",
            }
            for name, code in tries.items():
                assert str(await inside.python(code)).startswith("failed: "), name
            assert await inside.python("result = os.listdir('/run')") == ["egress"]
            assert await inside.python("result = os.listdir('/run/egress')") == ["init.py"]
            assert await inside.python("result = open('/proc/net/unix').read().count('\\n')") == 1
            assert await inside.python("result = sorted(os.listdir('/proc/self/fd'))") == ["0", "1", "2", "3"]
            assert await inside.python("result = os.listdir('/sys/class/net') if os.path.exists('/sys') else []") == []
            assert str(await inside.python("socket.create_server(('127.0.0.1', 3128))")).startswith("failed: ")
            assert await inside.python("result = os.getuid()") == 1000
        assert there.connections == 0


@promise("1.3c")
@pytest.mark.slow
async def test_rules_change_while_it_runs_and_what_they_no_longer_allow_ends(outside: Authority) -> None:
    async with site() as there, outlook(Names(KNOWN)) as view:
        a, b = f"http://a.test:{there.port}/", f"http://b.test:{there.port}/"
        async with sandboxed(view, HostRules()) as (inside, gate):
            assert b" 403 " in await inside.get(a)
            gate.change(HostRules.of("a.test", f"b.test:{there.port}"))
            assert b" 200 " in await inside.get(a)
            hold = (
                "import builtins\nsock = builtins.held = socket.create_connection(('127.0.0.1', 3128), 5)\n"
                "sock.sendall(raw)\nsock.recv(1000)"
            )
            tunnel = f"CONNECT b.test:{there.port} HTTP/1.1\r\nHost: b.test\r\n\r\n"
            await inside.python(
                "import builtins\n" + hold.replace("held['sock'] = ", "builtins.held = "), raw=tunnel.encode()
            )
            await until_async(lambda: there.open == 1, "the tunnel")
            gate.change(HostRules.of(f"b.test:{there.port}"))
            assert there.open == 1
            gate.change(HostRules.of("a.test"))
            await until_async(lambda: there.open == 0, "the end of the tunnel")
            assert await inside.python("import builtins\nresult = builtins.held.recv(1000)") == b""
            assert b" 403 " in await inside.get(b)
            assert [one.place for one in gate.denials()] == [
                f"a.test:{there.port}",
                f"b.test:{there.port}",
                f"b.test:{there.port}",
            ]
        assert view.told == gate.denials()


async def test_a_refusal_says_what_and_the_next_step() -> None:
    async with outlook(Names({})) as view, sandboxed(view, HostRules()) as (inside, gate):
        answer = await inside.get("http://a.test/")
        head, _, body = answer.partition(b"\r\n\r\n")
        document = json.loads(body)
        assert b"application/problem+json" in head
        assert (document["type"], document["status"]) == ("/problems/denied", 403)
        assert "a.test:80" in document["detail"]
        assert document["hint"]
        [denial] = gate.denials()
        assert (denial.place, denial.detail, denial.hint) == ("a.test:80", document["detail"], document["hint"])


@promise("1.3c")
@pytest.mark.slow
async def test_heads_patience_and_connections_are_capped() -> None:
    caps = Caps(connections=4, head_bytes=8192, head_s=1.0, idle_s=1.5)

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with site() as there, listening(silent) as quiet, outlook(Names(KNOWN)) as view:
        a = f"a.test:{there.port}"
        async with sandboxed(view, HostRules.of("a.test"), caps=caps) as (inside, _):
            start = f"GET http://{a}/ HTTP/1.1\r\nHost: {a}\r\n"
            assert await inside.status(start + f"X: {'y' * 9000}\r\n\r\n") == 431
            assert await inside.status(start + "".join(f"X-{n}: {n}\r\n" for n in range(2000)) + "\r\n") == 431
            assert await inside.status("G" * 20_000) in (400, 431)
            # bytes that drip: the whole head has a time, not each byte
            await inside.ask(start + "X: y\r\n" * 20, wait=10, pieces=4, pause=0.05)
            assert view.why()[-1] == "no request came in time"
            assert await inside.status("GET http://a.test", wait=10) == 408
            assert await inside.ask(f"CONNECT a.test:{quiet.port} HTTP/1.1\r\nHost: a.test\r\n\r\n", wait=10)
            await until_async(lambda: quiet.open == 0, "the end of the idle tunnel")
            # more connections than places wait for one
            many = (
                "held = [socket.create_connection(('127.0.0.1', 3128), 5) for _ in range(12)]\n"
                "time.sleep(0.2)\nresult = ask(raw, wait=20)"
            )
            answer = await inside.python(many, raw=f"{start}Connection: close\r\n\r\n".encode())
            assert answer.startswith(b"HTTP/1.1 200")
        assert quiet.connections == 1


async def test_a_server_that_does_not_answer_is_said_and_is_no_refusal() -> None:
    async with site() as gone:
        port = gone.port
    async with outlook(Names(KNOWN)) as view, sandboxed(view, HostRules.of("*")) as (inside, gate):
        assert b" 502 " in await inside.get(f"http://a.test:{port}/")
        assert b" 502 " in await inside.get(f"http://none.test:{port}/")
        assert view.records("refused") == []
        assert len(gate.denials()) == 2


async def test_answers_that_break_the_protocol_do_not_reach_the_inside() -> None:
    odd = {
        "/two": b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        "/noise": b"SSH-2.0\r\n\r\n",
        "/long": b"HTTP/1.1 200 OK\r\nX: " + b"y" * 200_000 + b"\r\n\r\n",
        "/switch": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n",
        "/early": b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + ok(b"late"),
        "/none": b"HTTP/1.1 204 No Content\r\n\r\n",
        "/old": b"HTTP/1.0 200 OK\r\n\r\nuntil the end",
    }

    def answer(asked: Asked) -> bytes:
        return odd[asked.line.split()[1]]

    async with (
        site(answer) as there,
        outlook(Names(KNOWN)) as view,
        sandboxed(view, HostRules.of("a.test")) as (inside, _),
    ):
        base = f"http://a.test:{there.port}"
        assert b"hello" in await inside.get(f"{base}/two", "GET", "Connection: close")
        assert b" 502 " in await inside.get(f"{base}/noise")
        assert b" 502 " in await inside.get(f"{base}/long")
        assert b" 101 " not in await inside.get(f"{base}/switch")
        assert b"late" in await inside.get(f"{base}/early", "GET", "Connection: close")
        assert b" 204 " in await inside.get(f"{base}/none", "GET", "Connection: close")

"""The listener: what a sandbox hands out is looked at with suspicion, and can hold up nobody but itself."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from superagent.core.audit import AuditRecord
from superagent.core.endpoints import HostRules
from superagent.core.problems import AuditUnavailable, SandboxUnavailable
from superagent.runtime.egress.egress import Egress
from superagent.runtime.egress.hookup import prepared
from superagent.runtime.net.network import open_network
from tests.runtime.egress.inside import WHOSE, Outlook, outlook, sandboxed, started
from tests.runtime.net.outside import LOOPBACK, Names, ok, site
from tests.until import until_async

KNOWN = Names({"a.test": ["127.0.0.1"]})
_BEGIN = """
import array, os, signal, socket, sys, threading
stay = signal.pause
out = socket.socket(fileno=int(sys.argv[1]))
def send(hello, *ones):
    out.sendmsg([hello], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [one.fileno() for one in ones]))])
def listening(port=3128, host="127.0.0.1", kind=socket.SOCK_STREAM):
    sock = socket.socket(socket.AF_INET, kind)
    sock.bind((host, port))
    if kind == socket.SOCK_STREAM:
        sock.listen()
    return sock
"""


async def hostile(view: Outlook, code: str, timeout_s: float = 10.0) -> None:
    """Let a sandbox whose first program is not ours do something with the descriptor."""
    async with view.egress.gate(HostRules(), WHOSE) as way:
        number = str(way.hookup.socket)
        process = await started(way, (number,), {}, prefix=("/usr/bin/python3", "-c", _BEGIN + code))
        try:
            await way.attach(timeout_s)
        finally:
            if process.returncode is None:
                process.kill()
            await process.communicate()


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("", "it ended before"),
        ("out.send(b'listening'); stay()", "it sent something else"),
        ("send(b'listening', open('/dev/null')); stay()", "it sent something else"),
        ("send(b'listening', listening(3129)); stay()", "it sent something else"),
        ("send(b'listening', listening(host='0.0.0.0')); stay()", "it sent something else"),
        ("send(b'listening', listening(kind=socket.SOCK_DGRAM)); stay()", "it sent something else"),
        ("sock = socket.socket(); sock.bind(('127.0.0.1', 3128)); send(b'listening', sock); stay()",
         "it sent something else"),
        ("send(b'other', listening()); stay()", "it sent something else"),
        ("sock = listening(); send(b'listening', sock, sock); stay()", "it sent something else"),
        ("sock = listening(); send(b'listening', *[sock] * 40); stay()", "it sent something else"),
        ("send(b'listening', socket.socketpair()[0]); stay()", "it sent something else"),
    ],
)  # fmt: skip
async def test_what_is_not_the_one_listening_socket_is_refused(code: str, says: str) -> None:
    async with outlook(KNOWN) as view:
        before = len(list(Path("/proc/self/fd").iterdir()))
        with pytest.raises(SandboxUnavailable, match=says):
            await hostile(view, code)
        assert len(list(Path("/proc/self/fd").iterdir())) <= before


async def test_a_sandbox_that_says_nothing_is_not_waited_for_without_end() -> None:
    async with outlook(KNOWN) as view:
        with pytest.raises(SandboxUnavailable, match="in time"):
            await hostile(view, "stay()", timeout_s=0.3)


async def test_a_sandbox_that_plays_with_the_socket_holds_up_nobody_but_itself() -> None:
    code = """
sock = listening()
send(b"listening", sock)
sock.setblocking(True)
sock.settimeout(None)
def take():
    while True:
        sock.setblocking(True)
        sock.accept()
for _ in range(3):
    threading.Thread(target=take, daemon=True).start()
for _ in range(50):
    socket.create_connection(("127.0.0.1", 3128))
    os.set_blocking(sock.fileno(), True)
stay()
"""
    async with outlook(KNOWN) as view, view.egress.gate(HostRules(), WHOSE) as way:
        process = await started(way, (str(way.hookup.socket),), {}, prefix=("/usr/bin/python3", "-c", _BEGIN + code))
        await way.attach()
        loop, slowest = asyncio.get_running_loop(), 0.0
        for _ in range(60):
            begun = loop.time()
            await asyncio.sleep(0.01)
            slowest = max(slowest, loop.time() - begun)
        assert slowest < 2.0  # a loop that accepts would stand still until the next connection comes
        async with asyncio.timeout(8):
            await way.gate.close()
        process.kill()
        await process.communicate()


async def test_a_gate_that_is_closed_before_the_sandbox_listens_answers_nothing() -> None:
    async with outlook(KNOWN) as view, view.egress.gate(HostRules(), WHOSE) as way:
        process = await started(way, ("sleep", "30"), {})
        await way.gate.close()
        with pytest.raises(SandboxUnavailable, match="closed already"):
            await way.attach()
        process.kill()
        await process.communicate()


async def test_the_end_of_a_gate_ends_its_connections_and_removes_what_it_showed() -> None:
    async with site(ok(b"x")) as there, outlook(KNOWN) as view:
        async with view.egress.gate(HostRules.of("a.test"), WHOSE) as way:
            folder = way.hookup.folder
            code = (
                "import signal, socket\nsock = socket.create_connection(('127.0.0.1', 3128))\n"
                f"sock.sendall(b'CONNECT a.test:{there.port} HTTP/1.1\\r\\nHost: a.test\\r\\n\\r\\n')\n"
                "print(sock.recv(100)[:12], flush=True)\nsignal.pause()"
            )
            process = await started(way, ("python3", "-c", code), {})
            await way.attach()
            await until_async(lambda: there.open == 1, "the tunnel")
            assert folder.exists()
        assert not folder.exists()
        await until_async(lambda: there.open == 0, "the end of the tunnel")
        assert len(view.records("connection")) == 1
        process.kill()
        await process.communicate()


async def test_what_cannot_be_recorded_does_not_go_out() -> None:
    async with site(ok(b"x")) as there, outlook(KNOWN) as view:
        async with sandboxed(view, HostRules.of("a.test")) as (inside, gate):
            url = f"http://a.test:{there.port}/"
            view.audit.failing = True
            await inside.get(url)
            assert there.connections == 1
            assert b" 503 " in await inside.get(url)
            view.audit.failing = False
            assert b" 503 " in await inside.get(url)
            assert there.connections == 1
            assert gate.denials()[-1].why == "it could not be recorded"
        async with sandboxed(view, HostRules()) as (inside, gate):
            view.audit.failing = True
            await inside.get(url)
            view.audit.failing = False
            assert b" 503 " in await inside.get(url)


async def test_the_command_begins_without_the_descriptors_of_the_proxy_and_keeps_its_own_code() -> None:
    async with outlook(KNOWN) as view:
        for argv, code in (
            (("python3", "-c", "import os; print(sorted(os.listdir('/proc/self/fd'))); raise SystemExit(7)"), 7),
            (("no-such-program",), 127),
            (("/tmp",), 126),
            (("sh", "-c", "kill -PIPE $$"), -13),
        ):
            async with view.egress.gate(HostRules(), WHOSE) as way:
                process = await started(way, argv, {})
                await way.attach()
                out, err = await asyncio.wait_for(process.communicate(), 30)
                assert process.returncode in (code, 128 - code), (argv, process.returncode, err)
                if code == 7:
                    assert out.decode().strip() == "['0', '1', '2', '3']"  # 3 is the folder that is listed
                if code in (126, 127):
                    assert err.decode().startswith("sandbox: ")


def test_a_machine_without_python_says_so(tmp_path: Path) -> None:
    with pytest.raises(SandboxUnavailable, match="/none/python3") as refused:
        prepared(tmp_path, 3, python="/none/python3")
    assert "apt install" in str(refused.value.hint)
    assert list(tmp_path.iterdir()) == []


async def test_a_gate_that_cannot_be_prepared_leaves_nothing_behind(tmp_path: Path) -> None:
    def note(record: AuditRecord) -> None:
        raise AuditUnavailable

    with open_network(note, lambda: 0.0, allow_private=LOOPBACK, resolve=KNOWN) as network:
        before = len(list(Path("/proc/self/fd").iterdir()))
        with pytest.raises(SandboxUnavailable):
            async with Egress(network, tmp_path, lambda: 0.0, "/none/python3").gate(HostRules(), WHOSE):
                pass
        assert len(list(Path("/proc/self/fd").iterdir())) == before


async def test_a_fault_of_ours_ends_one_connection_and_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))

    def broken(request: object) -> None:
        raise RuntimeError("a bug")

    async with outlook(KNOWN) as view, sandboxed(view, HostRules()) as (inside, _):
        with monkeypatch.context() as patch:
            patch.setattr("superagent.runtime.egress.visit.forward_target", broken)
            assert await inside.ask(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n") == b""
        assert await inside.status(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n") == 400
    assert [str(one["exception"]) for one in told] == ["a bug"]

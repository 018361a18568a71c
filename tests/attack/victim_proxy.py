"""A proxy as one should not write it: the control for attacks on the way out that a sandbox is given."""

from __future__ import annotations

import select
import socket
import threading
from collections.abc import Callable
from contextlib import ExitStack, suppress

from tests.attack.ground import Ground, Victim
from tests.attack.victim_network import serve
from tests.attack.way_out import WayOut

HERE, THERE = "127.0.0.1", "127.0.0.2"
STEP_S = 0.02
WAIT_S = 3.0


def proxy(way: WayOut) -> Victim:
    """Run a careless proxy with these rules; the payload is told its port."""

    def run(ground: Ground, stack: ExitStack) -> None:
        ground.given["proxy"] = serving(stack, _Careless(way).serve)

    return run


def second_proxy(ground: Ground, stack: ExitStack) -> None:
    """Run another proxy, at a host that may be reached: it relays to whatever it is told."""
    anywhere = WayOut((), {"evil.test": [HERE]})
    ground.given["second"] = serving(stack, _Careless(anywhere).serve)


def decoy(ground: Ground, stack: ExitStack) -> None:
    """Serve plain HTTP at a host that may be reached; it knows nothing."""
    ground.given["decoy"] = serving(stack, _answer)


def turned(ground: Ground, stack: ExitStack) -> None:
    """Serve the token where a name leads from its second answer on, and nothing at the same port where it led first."""
    listener = socket.create_server((THERE, 0))
    ground.given["turned"] = listener.getsockname()[1]
    serve(ground, stack, listener)
    serving(stack, _answer, listener.getsockname()[1])


def serving(stack: ExitStack, serve: Callable[[socket.socket], None], port: int = 0) -> int:
    """Listen on a port of the loopback until the test is over; give the port."""
    listener = stack.enter_context(socket.create_server((HERE, port)))
    listener.settimeout(STEP_S)
    over = threading.Event()

    def accept() -> None:
        while not over.is_set():
            with suppress(OSError):
                caller, _ = listener.accept()
                caller.settimeout(WAIT_S)
                thread = threading.Thread(target=_served, args=(serve, caller))
                thread.start()
                threads.append(thread)

    threads = [threading.Thread(target=accept)]
    threads[0].start()
    stack.callback(lambda: [thread.join() for thread in threads])
    stack.callback(over.set)
    return int(listener.getsockname()[1])


def _served(serve: Callable[[socket.socket], None], caller: socket.socket) -> None:
    with caller, suppress(OSError, ValueError, IndexError):
        serve(caller)


def _head(caller: socket.socket) -> bytes:
    head = b""
    while b"\r\n\r\n" not in head:
        piece = caller.recv(1)
        if not piece:
            raise ValueError("no request")
        head += piece
    return head


def _answer(caller: socket.socket) -> None:
    while True:
        _head(caller)
        caller.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\ndecoy")


class _Careless:
    """Judges by the beginning of a name and by the `Host` header, once for a connection, and asks twice for a name."""

    def __init__(self, way: WayOut) -> None:
        self._way = way
        self._asked: set[str] = set()

    def serve(self, caller: socket.socket) -> None:
        judged = False
        while True:
            head = _head(caller)
            method, target, _ = head.split(b"\r\n")[0].decode("latin-1").split(" ")
            tunnel = method == "CONNECT"
            place = target if tunnel else target.split("/")[2]
            header = next(
                line[6:] for line in head.decode("latin-1").split("\r\n") if line.lower().startswith("host: ")
            )
            if not (judged or self._allowed(header)):
                caller.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
                return
            judged = True
            host, _, port = place.rpartition("@")[2].rpartition(":")
            self._resolve(host.strip("[]"))
            with socket.create_connection((self._resolve(host.strip("[]")), int(port)), WAIT_S) as beyond:
                if tunnel:
                    caller.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
                    _relay(caller, beyond)
                    return
                beyond.sendall(head)
                caller.sendall(beyond.recv(65_536))

    def _allowed(self, place: str) -> bool:
        hosts = self._way.hosts
        return not hosts or "*" in hosts or any(place.startswith(one) for one in hosts)

    def _resolve(self, host: str) -> str:
        again = host in self._asked and host in self._way.then
        self._asked.add(host)
        known = self._way.then if again else self._way.names
        if host in known:
            return known[host][0]
        return socket.inet_ntoa(socket.inet_aton(host)) if ":" not in host else host


def _relay(one: socket.socket, other: socket.socket) -> None:
    while True:
        ready, _, _ = select.select([one, other], [], [], WAIT_S)
        if not ready:
            return
        for end in ready:
            data = end.recv(65_536)
            if not data:
                return
            (other if end is one else one).sendall(data)

"""Open loop: requests sent at fixed moments, whether or not earlier ones were answered, as independent callers do.

Latency counts from the moment at which a request was due, not from when it could be sent: a server that stalls is
charged with everybody who waited, which a closed loop leaves out.
"""

from __future__ import annotations

import select
import socket
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from bench.wrk import Request

CONNECTIONS = 64
PATIENCE_S = 10.0


@dataclass(slots=True)
class Answers:
    """Seconds from due to answered, and how many requests were answered wrongly or not at all."""

    latencies: list[float] = field(default_factory=list[float])
    failed: int = 0


def run(port: int, request: Request, per_s: float, seconds: float, connections: int = CONNECTIONS) -> Answers:
    """Send so many requests a second for so long, over at most so many connections."""
    text = wire(request)
    lines = [Line(port) for _ in range(connections)]
    by_socket = {line.socket: line for line in lines}
    idle, waiting, found = deque(lines), deque[float](), Answers()
    count = round(per_s * seconds)
    start = time.perf_counter() + 0.05
    due = deque(start + number / per_s for number in range(count))
    end = due[-1] + PATIENCE_S
    try:
        while (due or waiting or len(idle) < len(by_socket)) and (now := time.perf_counter()) < end:
            while due and due[0] <= now:
                waiting.append(due.popleft())
            while waiting and idle:
                idle.popleft().send(text, waiting.popleft())
            pause = max(0.0, due[0] - time.perf_counter()) if due else 0.01
            # not `epoll`: its steps are milliseconds
            for ready in select.select(list(by_socket), [], [], pause)[0]:
                line = by_socket[ready]
                status = line.receive()
                if status is None:
                    continue
                if status == 200:
                    found.latencies.append(time.perf_counter() - line.due)
                    idle.append(line)
                else:
                    found.failed += 1
                    line.socket.close()
                    del by_socket[ready]
    finally:
        for line in by_socket.values():
            line.socket.close()
    found.failed += count - len(found.latencies) - found.failed
    return found


class Line:
    """One keepalive connection, with at most one request under way."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.due = 0.0
        self._came = b""

    def send(self, text: bytes, due: float) -> None:
        """Send a request that was due at a moment."""
        self.due, self._came = due, b""
        self.socket.sendall(text)

    def receive(self) -> int | None:
        """Read what came; gives the status once the answer is whole, 0 for a connection that broke."""
        try:
            data = self.socket.recv(1 << 16)
        except OSError:
            data = b""
        self._came += data
        if not data:
            return 0
        return next(statuses(self._came), None)


def statuses(data: bytes) -> Iterator[int]:
    """Give the status of each whole answer in some bytes (RFC 9112, with a length)."""
    while (at := data.find(b"\r\n\r\n")) >= 0:
        head = data[:at].lower()
        place = head.find(b"content-length:")
        length = int(head[place + 15 :].partition(b"\r\n")[0]) if place >= 0 else 0
        if len(data) < at + 4 + length:
            return
        yield int(head[9:12])
        data = data[at + 4 + length :]


def wire(request: Request) -> bytes:
    """Give a request as HTTP/1.1 sends it."""
    head = [f"{request.method} {request.path} HTTP/1.1", "Host: 127.0.0.1", f"Content-Length: {len(request.body)}"]
    head += [f"{name}: {value}" for name, value in request.headers.items()]
    return "\r\n".join([*head, "", request.body]).encode()

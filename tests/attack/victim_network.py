"""Listeners to reach, all on this machine, that note who spoke to them."""

from __future__ import annotations

import socket
import threading
from contextlib import ExitStack

from tests.attack.ground import Ground

STEP_S = 0.02


def serve(ground: Ground, stack: ExitStack, listener: socket.socket) -> None:
    """Answer everybody with the token, until the test is over; whoever speaks to it has come out."""
    over, reached = threading.Event(), threading.Event()
    listener.settimeout(STEP_S)

    def serve() -> None:
        while not over.is_set():
            try:
                if listener.type == socket.SOCK_DGRAM:
                    _, sender = listener.recvfrom(100)
                    reached.set()
                    if sender:
                        listener.sendto(ground.token.encode(), sender)
                else:
                    caller, _ = listener.accept()
                    reached.set()
                    with caller:
                        caller.sendall(ground.token.encode())
            except OSError:
                continue

    thread = threading.Thread(target=serve)
    stack.enter_context(listener)
    thread.start()
    stack.callback(thread.join)
    stack.callback(over.set)
    ground.checks.append(lambda: "somebody reached a listener outside" if reached.is_set() else "")


def _listen(family: int, kind: int, address: tuple[str, int] | str | bytes) -> socket.socket:
    listener = socket.socket(family, kind)
    listener.bind(address)
    if kind == socket.SOCK_STREAM:
        listener.listen(5)
    return listener


def tcp(ground: Ground, stack: ExitStack) -> None:
    listener = _listen(socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", 0))
    ground.given["tcp"] = listener.getsockname()[1]
    serve(ground, stack, listener)


def tcp6(ground: Ground, stack: ExitStack) -> None:
    listener = _listen(socket.AF_INET6, socket.SOCK_STREAM, ("::1", 0))
    ground.given["tcp6"] = listener.getsockname()[1]
    serve(ground, stack, listener)


def udp(ground: Ground, stack: ExitStack) -> None:
    listener = _listen(socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", 0))
    ground.given["udp"] = listener.getsockname()[1]
    serve(ground, stack, listener)


def metadata(ground: Ground, stack: ExitStack) -> None:
    """Be the cloud's metadata service; the address exists only in a network namespace of the test."""
    serve(ground, stack, _listen(socket.AF_INET, socket.SOCK_STREAM, ("169.254.169.254", 80)))


def path_stream(ground: Ground, stack: ExitStack) -> None:
    """Listen at a path outside of the workspace, as a container engine does."""
    _at_path(ground, stack, socket.SOCK_STREAM, "engine.sock")


def path_datagram(ground: Ground, stack: ExitStack) -> None:
    """Listen at a path outside of the workspace, as the system's log does."""
    _at_path(ground, stack, socket.SOCK_DGRAM, "log.sock")


def _at_path(ground: Ground, stack: ExitStack, kind: int, name: str) -> None:
    path = ground.folder / name
    listener = _listen(socket.AF_UNIX, kind, str(path))
    path.chmod(0o777)
    ground.given["path"] = str(path)
    serve(ground, stack, listener)


def abstract_stream(ground: Ground, stack: ExitStack) -> None:
    """Listen at a name that lies in no folder, as containerd's shim did."""
    ground.given["name"] = f"attack-{ground.token}"
    serve(ground, stack, _listen(socket.AF_UNIX, socket.SOCK_STREAM, f"\0attack-{ground.token}".encode()))


def abstract_datagram(ground: Ground, stack: ExitStack) -> None:
    ground.given["name"] = f"attack-{ground.token}"
    serve(ground, stack, _listen(socket.AF_UNIX, socket.SOCK_DGRAM, f"\0attack-{ground.token}".encode()))


def caller(ground: Ground, stack: ExitStack) -> None:
    """Keep trying to reach a port on which the command may listen."""
    over, reached = threading.Event(), threading.Event()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]

    def reach() -> None:
        while not over.wait(STEP_S) and not reached.is_set():
            with socket.socket() as one:
                one.settimeout(1.0)
                if one.connect_ex(("127.0.0.1", port)) == 0:
                    one.sendall(ground.token.encode())
                    reached.set()

    thread = threading.Thread(target=reach)
    thread.start()
    stack.callback(thread.join)
    stack.callback(over.set)
    ground.given["port"] = port
    ground.checks.append(lambda: "the command could be reached from outside" if reached.is_set() else "")

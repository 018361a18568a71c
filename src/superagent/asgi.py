"""The server entry: one listening socket, one process or several that inherit it, stopped cleanly by a signal."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import ipaddress
import os
import signal
import socket
import sys
from collections.abc import Callable, Generator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import uvicorn
import uvloop
from fastapi import Request

from superagent.app import Installation, open_installation
from superagent.core.principal import Principal
from superagent.core.problems import Problem, Unavailable
from superagent.runtime import log
from superagent.runtime.clock import SystemClock
from superagent.runtime.instance_lock import held_by, take
from superagent.runtime.places import prepare
from superagent.runtime.run_workers import supervise
from superagent.settings import Loaded, load
from superagent.surfaces.http import routes
from superagent.surfaces.http.door import Door
from superagent.surfaces.http.frame import frame
from superagent.surfaces.http.metrics import Metrics

GRACE_S = 5.0


def application(installation: Installation) -> Door:
    """Build the ASGI application: the door in front, the frame behind."""
    kernel, server = installation.kernel, installation.loaded.settings.server
    metrics = Metrics(installation.gauges)
    kernel.bus.subscribe(metrics.observe)
    doors: list[Door] = []

    async def identify(request: Request) -> Principal:
        return await doors[0].identify(request.scope, dict(request.scope["headers"]))

    behind = frame(kernel, identify, installation.readiness, metrics, version("superagent"))
    door = Door(
        kernel,
        behind,
        routes.serve,
        installation.index,
        max_body_bytes=server.max_body_bytes,
        max_blob_bytes=server.max_blob_bytes,
        cors_origins=server.cors_origins,
    )
    doors.append(door)
    return door


class _Server(uvicorn.Server):
    """uvicorn without its own signal handling: the entry decides when to stop, and then closes the installation."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        yield


async def serve_one(
    loaded: Loaded, listening: socket.socket, worker: str, ready: Callable[[Installation], None]
) -> None:
    """Serve in this process until a signal says stop."""
    async with open_installation(loaded, worker=worker) as installation:
        config = uvicorn.Config(
            application(installation),
            http="httptools",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,  # nobody's `X-Forwarded-For` is believed
            timeout_graceful_shutdown=int(GRACE_S),
        )
        server = _Server(config)
        loop = asyncio.get_running_loop()
        for one in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(one, server.handle_exit, one, None)
        ready(installation)
        await server.serve(sockets=[listening])


def serve(data: Path, flags: Mapping[str, Any], say: Callable[[str], None]) -> int:
    """Serve a data folder until a signal; gives the exit code. Raises a `Problem` when it cannot start."""
    loaded = load(data, flags)
    log.set_up(loaded.settings.log.level)
    places = prepare(data)
    server = loaded.settings.server
    lock = take(places.state, SystemClock().now())
    if lock is None:
        raise held_by(places.state)
    with lock:
        listening = listen(server.host, server.port)
        host, port = listening.getsockname()[:2]
        address = f"http://{f'[{host}]' if ':' in host else host}:{port}"

        def ready(installation: Installation) -> None:
            lock.publish(address)
            if installation.first_start:
                say(welcome(places.owner_key, address))
            say(f"serving {address} with data in {places.data}; Ctrl-C stops")

        if server.workers == 1:
            uvloop.run(serve_one(loaded, listening, "0", ready))
            return 0

        def up() -> None:
            lock.publish(address)
            say(f"serving {address} with {server.workers} workers and data in {places.data}; Ctrl-C stops")

        if not places.owner_key.exists():
            asyncio.run(_set_up(loaded))  # before the workers start, so that this is done once
            say(welcome(places.owner_key, address))
        fd = listening.fileno()
        return supervise(server.workers, lambda number: worker_command(loaded, flags, fd, number), fd, up)


async def _set_up(loaded: Loaded) -> None:
    async with open_installation(loaded):
        pass


def listen(host: str, port: int) -> socket.socket:
    """Open the one listening socket; never with SO_REUSEPORT, which would let a stranger of this user share it.

    Raises `Unavailable` for an address that is not loopback, or that is taken.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except socket.gaierror:
        raise Unavailable(f"`{host}` is no address of this machine", hint="use 127.0.0.1") from None
    if not ipaddress.ip_address(found[4][0]).is_loopback:
        raise Unavailable(
            f"serving on `{host}` needs an owner with a second factor, which comes with sign-in",
            hint="serve on 127.0.0.1, and reach it through an SSH tunnel",
        )
    listening = socket.socket(found[0], found[1])
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(found[4])
    except OSError as bad:
        listening.close()
        raise Unavailable(
            f"cannot listen on {host}:{port}: {bad.strerror}", hint="choose another port with `--port`"
        ) from None
    listening.listen(2048)
    listening.setblocking(False)
    return listening


def worker_command(loaded: Loaded, flags: Mapping[str, Any], fd: int, number: int) -> list[str]:
    """Give the command line of one worker process."""
    overrides = [f"--set={name}={value}" for name, value in flags.items() if value is not None]
    own = [f"--data={loaded.data}", f"--fd={fd}", f"--worker={number}", f"--parent={os.getpid()}"]
    return [sys.executable, "-m", "superagent.asgi", *own, *overrides]


def welcome(key: Path, address: str) -> str:
    """Give what is printed once, at the first start."""
    return f"""
Super-Agent is set up. The owner's key is in {key} (only you can read it).
Your first call:

  curl -s {address}/v1/operations/access.whoami -d '{{}}' -H "Authorization: Bearer $(cat {key})"
"""


def main(arguments: list[str] | None = None) -> int:
    """Run one worker process on an inherited socket."""
    parser = argparse.ArgumentParser(prog="superagent-worker-process")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--fd", type=int, required=True)
    parser.add_argument("--worker", required=True)
    parser.add_argument("--parent", type=int, required=True)
    parser.add_argument("--set", action="append", default=[])
    chosen = parser.parse_args(arguments)
    loaded = load(chosen.data, dict(one.split("=", 1) for one in chosen.set))
    log.set_up(loaded.settings.log.level)
    listening = socket.socket(fileno=chosen.fd)
    try:
        uvloop.run(serve_one(loaded, listening, chosen.worker, lambda installation: _die_with(chosen.parent)))
    except Problem as problem:
        print(problem.detail, file=sys.stderr)  # noqa: T201
        return 1
    return 0


def _die_with(parent: int) -> None:
    """Stop when the supervisor is gone, so that no worker outlives a kill -9 of it."""

    async def watch() -> None:
        while os.getppid() == parent:
            await asyncio.sleep(0.5)
        os.kill(os.getpid(), signal.SIGTERM)

    _watches.append(asyncio.get_running_loop().create_task(watch()))


_watches: list[asyncio.Task[None]] = []

if __name__ == "__main__":
    sys.exit(main())

"""The server entry: one listening socket, one process or several that inherit it, stopped cleanly by a signal."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import functools
import gc
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

from superagent.app import Installation, open_installation
from superagent.core.problems import Problem, Unavailable
from superagent.runtime import log
from superagent.runtime.clock import SystemClock
from superagent.runtime.instance_lock import Holder, claim, held_by
from superagent.runtime.net.loops import new_event_loop
from superagent.runtime.places import prepare
from superagent.runtime.run_workers import supervise
from superagent.settings import Loaded, load
from superagent.surfaces.http import table
from superagent.surfaces.http.door import Door
from superagent.surfaces.http.frame import frame
from superagent.surfaces.http.gate import Gate
from superagent.surfaces.http.lane import lane_to
from superagent.surfaces.http.metrics import Metrics
from superagent.surfaces.http.protocol import Protocol

GRACE_S = 5


def application(installation: Installation, worker: str = "0") -> Door:
    """Build the ASGI application: the door in front, the frame behind."""
    kernel, server = installation.kernel, installation.loaded.settings.server
    metrics = Metrics(installation.gauges, worker)
    kernel.bus.subscribe(metrics.observe)
    gate = Gate(kernel)
    return Door(
        kernel,
        gate,
        frame(kernel, gate, installation.readiness, metrics, version("superagent")),
        table.serve,
        installation.index,
        max_body_bytes=server.max_body_bytes,
        max_blob_bytes=server.max_blob_bytes,
        cors_origins=server.cors_origins,
    )


def spare_the_lasting() -> None:
    """Keep the garbage collector from walking again and again what stays for as long as the process.

    What a call makes is freed by its reference counts; only faults leave circles, and those can wait a little.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)


class _Server(uvicorn.Server):
    """uvicorn without its own signal handling: the entry decides when to stop, and then closes the installation."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        yield


async def serve_one(
    loaded: Loaded,
    listening: socket.socket,
    worker: str,
    ready: Callable[[Installation], None],
    life: int | None = None,
    say: Callable[[str], None] | None = None,
) -> None:
    """Serve in this process until a signal says stop, or the descriptor `life` comes to its end.

    With `say`, what can be done with commands here is found out and said once it serves.
    """
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for one in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(one, stop.set)  # from here on: a signal during the start is not lost
    if life is not None:
        loop.add_reader(life, stop.set)
    async with open_installation(loaded, worker=worker) as installation:
        installation.kernel.registry.prepare()
        ready(installation)
        telling = asyncio.create_task(_tell(installation, say)) if say is not None else None
        try:
            await answer(application(installation, worker), listening, stop, loaded.settings.server.fast_lane)
        finally:
            if telling is not None:
                telling.cancel()
                await asyncio.gather(telling, return_exceptions=True)


async def _tell(installation: Installation, say: Callable[[str], None]) -> None:
    _, _, seen, cure = await installation.sandbox.standing()
    say(f"{seen}; cure: {cure}" if cure else seen)


async def answer(door: Door, listening: socket.socket, stop: asyncio.Event, fast_lane: bool = True) -> None:
    """Answer what comes in on a socket until it is time to stop; then let what is under way end, for a while."""
    config = uvicorn.Config(
        door,
        http=lane_to(door) if fast_lane else Protocol,
        ws="none",
        interface="asgi3",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # nobody's `X-Forwarded-For` is believed
        timeout_graceful_shutdown=GRACE_S,
    )
    server = _Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    await stop.wait()
    door.streams.closing = server.should_exit = True
    await serving


def serve(data: Path, flags: Mapping[str, Any], say: Callable[[str], None]) -> int:
    """Serve a data folder until a signal; gives the exit code. Raises a `Problem` when it cannot start."""
    loaded = load(data, flags)
    log.set_up(loaded.settings.log.level)
    places = prepare(data)
    server = loaded.settings.server
    lock = claim(places.state, SystemClock().now())
    if isinstance(lock, Holder):
        raise held_by(places.state)
    with lock, listen(server.host, server.port) as listening:
        address = address_of(listening)

        def up() -> None:
            lock.publish(address)
            workers = f" with {server.workers} workers" if server.workers > 1 else ""
            say(f"serving {address}{workers}, data in {places.data}; Ctrl-C stops")

        def ready(installation: Installation) -> None:
            if installation.first_start:
                say(welcome(places.owner_key, address))
            up()

        if server.workers == 1:
            uvloop.run(serve_one(loaded, listening, "0", ready, say=say), loop_factory=new_event_loop)
            return 0
        if not places.owner_key.exists():
            asyncio.run(_set_up(loaded))  # before the workers start, so that this is done once
            say(welcome(places.owner_key, address))

        def command(number: int, life: int, said: int) -> list[str]:
            return worker_command(loaded, flags, number, (listening.fileno(), life, said))

        supervise(server.workers, command, listening.fileno(), up)
    return 0


async def _set_up(loaded: Loaded) -> None:
    async with open_installation(loaded):
        pass


def listen(host: str, port: int) -> socket.socket:
    """Open the one listening socket; never with SO_REUSEPORT, which would let a stranger of this user share it.

    Raises `Unavailable` for an address that is not loopback, or that is taken.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except (socket.gaierror, UnicodeError):
        raise Unavailable(f"`{host}` is no address of this machine", hint="use 127.0.0.1") from None
    if not ipaddress.ip_address(found[4][0]).is_loopback:
        raise Unavailable(
            f"serving on `{host}` needs an owner with a second factor, which comes with sign-in",
            hint="serve on 127.0.0.1, and reach it through an SSH tunnel",
        )
    # with the protocol: asyncio sends at once (TCP_NODELAY) only on sockets that say they are TCP
    listening = socket.socket(*found[:3])
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


def address_of(listening: socket.socket) -> str:
    """Give the address under which clients reach a socket."""
    host, port = listening.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def worker_command(
    loaded: Loaded, flags: Mapping[str, Any], number: int, descriptors: tuple[int, int, int]
) -> list[str]:
    """Give the command line of one worker; `descriptors` are its socket, its life, and where it says that it serves."""
    overrides = [f"--set={name}={value}" for name, value in flags.items() if value is not None]
    listening, life, said = descriptors
    own = [f"--data={loaded.data}", f"--worker={number}", f"--fd={listening}", f"--life={life}", f"--said={said}"]
    # -P: whatever lies in the folder from which this was started is not imported
    return [sys.executable, "-P", "-m", "superagent.asgi", *own, *overrides]


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
    parser.add_argument("--worker", required=True)
    for name in ("--fd", "--life", "--said"):
        parser.add_argument(name, type=int, required=True)
    parser.add_argument("--set", action="append", default=[])
    chosen = parser.parse_args(arguments)

    def ready(_: Installation) -> None:
        os.write(chosen.said, f"{chosen.worker}\n".encode())

    try:
        loaded = load(chosen.data, dict(one.split("=", 1) for one in chosen.set))
        log.set_up(loaded.settings.log.level)
        with socket.socket(fileno=chosen.fd) as listening:
            # of several workers one tells what all of them found
            tell = functools.partial(print, flush=True) if chosen.worker == "0" else None
            serving = serve_one(loaded, listening, chosen.worker, ready, chosen.life, tell)
            uvloop.run(serving, loop_factory=new_event_loop)
    except Problem as problem:
        print(problem.detail, file=sys.stderr)  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""The server entry: one listening socket, one process or several that inherit it, stopped cleanly by a signal."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import functools
import logging
import os
import signal
import socket
import ssl
import sys
from collections.abc import Awaitable, Callable, Generator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import uvicorn
import uvloop

from superagent.app import Installation, open_installation
from superagent.core.problems import Problem, Unavailable
from superagent.runtime import log
from superagent.runtime.clock import SystemClock
from superagent.runtime.ending import CLOSING_S, Ending
from superagent.runtime.instance_lock import Holder, InstanceLock, claim
from superagent.runtime.net.listening import address_of, by_name, listen, local
from superagent.runtime.net.loops import new_event_loop
from superagent.runtime.places import prepare, set_up
from superagent.runtime.run_workers import RELOAD, supervise
from superagent.runtime.tls import pin, served_with
from superagent.settings import Loaded, load
from superagent.sparing import spare_the_lasting
from superagent.surfaces.a2a.door import A2aDoor
from superagent.surfaces.console.door import Console
from superagent.surfaces.http import table
from superagent.surfaces.http.browser import Browser, networks
from superagent.surfaces.http.door import Door
from superagent.surfaces.http.frame import frame
from superagent.surfaces.http.gate import Gate
from superagent.surfaces.http.lane import lane_to
from superagent.surfaces.http.leaving import leave
from superagent.surfaces.http.metrics import Metrics
from superagent.surfaces.http.protocol import Protocol, limit_connections
from superagent.surfaces.mcp.door import McpDoor

GRACE_S = 5
CONSOLE = Path(__file__).parent / "console_static"


def application(installation: Installation, worker: str = "0") -> Door:
    """Build the ASGI application: the door in front, the frame behind."""
    kernel, server = installation.kernel, installation.loaded.settings.server
    metrics = Metrics(installation.gauges, worker)
    kernel.bus.subscribe(metrics.observe)
    trusted = networks(server.trusted_proxies)
    gate = Gate(kernel, Browser(server.public_url, trusted), None if local(server.host) else installation.desk.set_up)
    mcp = McpDoor(
        kernel,
        sessions=server.workers == 1,
        max_body_bytes=server.max_body_bytes,
        origins=server.cors_origins,
    )
    a2a = A2aDoor(kernel, installation.work, installation.card_keys, origins=server.cors_origins)
    return Door(
        kernel,
        gate,
        frame(kernel, gate, installation.readiness, metrics, version("superagent")),
        table.serve,
        installation.index,
        max_body_bytes=server.max_body_bytes,
        max_blob_bytes=server.max_blob_bytes,
        cors_origins=server.cors_origins,
        mounts=(mcp.mount, *a2a.mounts, Console(CONSOLE).mount),
        closers=(mcp.close, a2a.close),
        warmers=(mcp.warm,),
    )


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
    ending: Ending | None = None,
    worker_of_several: bool = False,
) -> None:
    """Serve in this process until a signal says stop, or the descriptor `life` comes to its end.

    With `say`, what can be done with commands here is found out and said once it serves. `ending` bounds how long the
    process then takes.
    """
    limit_connections()
    server = loaded.settings.server
    tls = served_with(server.tls_cert, server.tls_key, server.public_url)
    loop, stop, leaving = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event()

    def halt() -> None:
        stop.set()
        if ending is not None:
            ending.begin()

    for one in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(one, halt)  # from here on: a signal during the start is not lost
    loop.add_signal_handler(RELOAD, leaving.set if worker_of_several else _refuse_reload)
    if life is not None:
        loop.add_reader(life, halt)
    async with open_installation(loaded, worker=worker) as installation:
        if ending is not None:
            ending.close = installation.cut_off
        installation.authorization.site.served_at(address_of(listening, tls))
        installation.kernel.registry.prepare()
        ready(installation)
        if say is not None and not await installation.desk.set_up():
            say(await first_link(installation, loaded.settings.server.public_url or by_name(listening)))
        door = application(installation, worker)
        beside = [asyncio.create_task(_warm(door))]
        if say is not None:
            beside.append(asyncio.create_task(_tell(installation, say)))
        try:
            await answer(door, listening, stop, server.fast_lane, tls, leaving, ending)
        finally:
            for one in beside:
                one.cancel()
            await asyncio.gather(*beside, return_exceptions=True)


async def _warm(door: Door) -> None:
    await door.warm()
    spare_the_lasting()  # only now is there what lasts


def _refuse_reload() -> None:
    logging.getLogger("superagent").warning("one process cannot be reloaded without a pause: set `server.workers`")


async def _tell(installation: Installation, say: Callable[[str], None]) -> None:
    _, _, seen, cure = await installation.sandbox.standing()
    say(f"{seen}; cure: {cure}" if cure else seen)


async def first_link(installation: Installation, address: str) -> str:
    """Give what is printed as long as no owner has a second factor: a link that lets the first browser in."""
    token = await installation.desk.link("default", "owner")
    return f"""
No owner has a second factor yet. Open this once, within an hour, and add a passkey or one-time codes:

  {address}/sign-in/link/{token}
"""


async def answer(
    door: Door,
    listening: socket.socket,
    stop: asyncio.Event,
    fast_lane: bool = True,
    tls: ssl.SSLContext | None = None,
    leaving: asyncio.Event | None = None,
    ending: Ending | None = None,
) -> None:
    """Answer what comes in on a socket until it is time to stop; then let what is under way end, for a while.

    When `leaving` is set others serve on the same socket: then everything may come to its own end before, for as long.
    """
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
    config.load()
    config.ssl = tls  # made by us: uvicorn would ask for a passphrase, and says little of what is wrong
    server = _Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    if leaving is not None and ending is not None:
        ends = [asyncio.create_task(event.wait()) for event in (stop, leaving)]
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        for one in ends:
            one.cancel()
        if not stop.is_set():
            await leave(server, lambda: len(door.kernel.under_way), stop, ending.grace_s)
            ending.begin()
    else:
        await stop.wait()
    door.streams.closing = server.should_exit = True
    await door.close()
    await serving


def serve(data: Path, flags: Mapping[str, Any], say: Callable[[str], None]) -> int:
    """Serve a data folder until a signal; gives the exit code. Raises a `Problem` when it cannot start."""
    loaded = load(data, flags)
    log.set_up(loaded.settings.log.level)
    server = loaded.settings.server
    tls = served_with(server.tls_cert, server.tls_key, server.public_url)
    if not set_up(data):  # a start that cannot listen leaves no folder behind
        listen(server.host, server.port, server.public_url).close()
    places = prepare(data)
    lock = claim(places.state, SystemClock().now())
    if isinstance(lock, Holder):
        raise Unavailable(
            f"`{places.data}` is in use already by {lock}",
            hint="use that one, stop it with Ctrl-C or its process, or serve another folder with `--data`",
        )
    with lock, listen(server.host, server.port, server.public_url) as listening:
        address = address_of(listening, tls)
        if tls is not None:
            pin(places.state, Path(server.tls_cert))

        def up() -> None:
            lock.publish(address, server.workers)
            workers = f" with {server.workers} workers" if server.workers > 1 else ""
            say(f"serving {address}{workers}, data in {places.data}; Ctrl-C stops")

        def ready(installation: Installation) -> None:
            if installation.first_start:
                say(welcome(places.owner_key, address))
            up()

        if server.workers == 1:
            with Ending(server.stop_grace_s) as ending:
                serving = serve_one(loaded, listening, "0", ready, say=say, ending=ending)
                uvloop.run(serving, loop_factory=new_event_loop)
            return 0
        if not places.owner_key.exists():
            asyncio.run(_set_up(loaded))  # before the workers start, so that this is done once
            say(welcome(places.owner_key, address))

        def command(number: int, life: int, said: int) -> list[str]:
            return worker_command(loaded, flags, number, (listening.fileno(), life, said))

        def anew() -> None:
            chosen = load(
                data, flags
            ).settings.server  # what the new ones could not serve with is told before they begin
            if served_with(chosen.tls_cert, chosen.tls_key, chosen.public_url) is not None:
                pin(places.state, Path(chosen.tls_cert))

        grace_s = server.stop_grace_s + 2 * CLOSING_S
        supervise(server.workers, command, listening.fileno(), up, grace_s, anew, server.stop_grace_s)
    return 0


def serve_while(data: Path, lock: InstanceLock, carry: Callable[[str], Awaitable[None]]) -> None:
    """Serve a data folder on a free port of this machine for as long as messages are carried to that address.

    Whoever comes meanwhile, the command line or another agent's program, finds the server there.
    """
    log.set_up("warning")
    with lock, listen("127.0.0.1", 0) as listening:
        loaded = load(data, {"server.workers": 1, "server.tls_cert": "", "server.tls_key": ""})
        with Ending(loaded.settings.server.stop_grace_s) as ending:
            uvloop.run(_serve_while(loaded, listening, lock, carry, ending), loop_factory=new_event_loop)


async def _serve_while(
    loaded: Loaded,
    listening: socket.socket,
    lock: InstanceLock,
    carry: Callable[[str], Awaitable[None]],
    ending: Ending,
) -> None:
    address, (life, end) = address_of(listening), os.pipe()
    carrying: list[asyncio.Future[None]] = []

    def ready(installation: Installation) -> None:
        lock.publish(address, 1)
        installation.network.guard.declare("127.0.0.1", listening.getsockname()[1])  # it is its own client
        carrying.append(asyncio.ensure_future(carry(address)))
        carrying[0].add_done_callback(lambda _: os.close(end))

    try:
        await serve_one(loaded, listening, "0", ready, life, ending=ending)
    finally:
        for task in carrying:
            task.cancel()
        os.close(life)
    await asyncio.gather(*carrying)


async def _set_up(loaded: Loaded) -> None:
    async with open_installation(loaded):
        pass


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
        os.write(chosen.said, f"{os.getpid()}\n".encode())

    try:
        loaded = load(chosen.data, dict(one.split("=", 1) for one in chosen.set))
        log.set_up(loaded.settings.log.level)
        with socket.socket(fileno=chosen.fd) as listening, Ending(loaded.settings.server.stop_grace_s) as ending:
            # of several workers one tells what all of them found
            tell = functools.partial(print, flush=True) if chosen.worker == "0" else None
            serving = serve_one(loaded, listening, chosen.worker, ready, chosen.life, tell, ending, True)
            uvloop.run(serving, loop_factory=new_event_loop)
    except Problem as problem:
        print(problem.detail, file=sys.stderr)  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

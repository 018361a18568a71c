"""Serving: `superagent up`, and `superagent reload` of what serves."""

from __future__ import annotations

import os
import signal
from collections.abc import Generator, Sequence
from contextlib import contextmanager

from superagent.surfaces.cli.launch import bare
from superagent.surfaces.cli.options import Parser
from superagent.surfaces.cli.session import Session
from superagent.surfaces.cli.target import DONE


def up(session: Session, arguments: Sequence[str]) -> int:
    """Serve in the foreground until ctrl-C; the first start sets everything up."""
    parser = Parser("up", "Serve in the foreground until ctrl-C; the first start sets everything up.")
    parser.add_argument("--host", default=None, help="the address to listen on (default 127.0.0.1)")
    parser.add_argument("--port", type=int, default=None, help="0 takes a free one (default 8750)")
    parser.add_argument("--workers", type=int, default=None, help="processes on this machine (default 1)")
    session.read(parser, arguments)
    given = session.given
    flags = {"server.host": given.host, "server.port": given.port, "server.workers": given.workers}
    chosen = {name: value for name, value in flags.items() if value is not None}
    try:
        return session.launch.serve(session.folder, chosen, session.screen.line)
    except BaseExceptionGroup as group:
        raise bare(group) from None


def reload(session: Session, arguments: Sequence[str]) -> int:
    """Let the server of the data folder take up its settings anew, without a pause."""
    from superagent.core.problems import Unavailable
    from superagent.runtime.instance_lock import holder
    from superagent.runtime.run_workers import RELOAD

    about = "Start new worker processes beside those of the server that holds the data folder, which then end in order."
    session.read(Parser("reload", about), arguments)
    found = holder(session.folder / "state")
    if found is None or not found.address:
        raise Unavailable(f"no server holds `{session.folder}`", hint="start one with `superagent up --workers 2`")
    with sending_to(found.pid) as process:
        if not found.alive:  # the number may be another's by now; what was opened is what is asked about
            raise Unavailable(f"{found} is no server any more", hint="start one with `superagent up --workers 2`")
        if found.workers == 1:
            raise Unavailable(
                f"{found}, is one process, and that cannot take up its settings without a pause",
                hint="stop it and start it again; one of `superagent up --workers 2` can be reloaded",
            )
        signal.pidfd_send_signal(process, RELOAD)
    session.screen.line(f"{found} starts new worker processes; its log says what came of it")
    return DONE


@contextmanager
def sending_to(pid: int) -> Generator[int]:
    """Hold a process by a descriptor: a signal reaches it and no other. Raises `Unavailable` when it is gone."""
    from superagent.core.problems import Unavailable

    try:
        process = os.pidfd_open(pid)
    except ProcessLookupError:
        raise Unavailable(f"process {pid} is gone", hint="start the server with `superagent up --workers 2`") from None
    try:
        yield process
    finally:
        os.close(process)

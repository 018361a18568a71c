"""Serving: `superagent up`."""

from __future__ import annotations

from collections.abc import Sequence

from superagent.surfaces.cli.launch import bare
from superagent.surfaces.cli.options import Parser
from superagent.surfaces.cli.session import Session


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

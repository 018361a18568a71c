"""Agents: `superagent mcp`, by which the programs of agents reach this installation over standard input and output."""

from __future__ import annotations

from collections.abc import Sequence

from superagent.surfaces.cli.launch import bare
from superagent.surfaces.cli.options import Parser, Usage
from superagent.surfaces.cli.session import Session
from superagent.surfaces.cli.where import explicit_key


def mcp(session: Session, arguments: Sequence[str]) -> int:
    """Speak the Model Context Protocol on standard input and output."""
    parser = Parser("mcp", "Speak the Model Context Protocol on standard input and output, for an agent's program.")
    parser.add_argument("--toolsets", default="", help="domains or operations to list as tools: files,shell.run")
    parser.add_argument(
        "--as-owner", action="store_true", help="act with all of the owner's rights; without it a key is needed"
    )
    session.read(parser, arguments)
    given = session.given
    key, server = explicit_key(getattr(given, "api_key_file", "")), getattr(given, "server", "")
    if key is None and (server or not given.as_owner):
        raise Usage(
            "an agent needs a key of its own",
            "make one with `superagent keys create NAME`, then give `--api-key-file FILE` or set SUPERAGENT_API_KEY",
        )
    try:
        session.launch.mcp(session.folder, server, key, given.toolsets)
    except BaseExceptionGroup as group:
        raise bare(group) from None
    return 0

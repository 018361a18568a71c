"""Moving to another database: `superagent migrate-to`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict

from superagent.surfaces.cli.options import Parser
from superagent.surfaces.cli.session import Session
from superagent.surfaces.cli.target import DONE

_LONGEST = 4096


def migrate_to(session: Session, arguments: Sequence[str]) -> int:
    """Move the tables of the data folder into PostgreSQL."""
    parser = Parser(
        "migrate-to",
        "Move the tables of this data folder into an empty PostgreSQL database, compare every row, and leave the file.",
    )
    parser.add_argument("url", help="postgresql+psycopg://user@host/database, or - to read it from standard input")
    session.read(parser, arguments)
    typed: str = session.given.url
    url = sys.stdin.readline(_LONGEST).strip() if typed == "-" else typed

    from superagent.runtime.moving import move
    from superagent.runtime.places import existing
    from superagent.runtime.stores import AREAS, DATABASE

    moved = move(existing(session.folder).state / DATABASE, url, AREAS)
    if session.screen.json:
        session.screen.document({"place": moved.place, "tables": {n: asdict(one) for n, one in moved.tables.items()}})
    else:
        rows = sum(one.rows for one in moved.tables.values())
        session.screen.line(
            f"{rows:,} rows of {len(moved.tables)} tables are in {moved.place}, and read the same there"
        )
        session.screen.line("now set SUPERAGENT_DATABASE__URL (or database.url in superagent.toml), and start again")
    return DONE

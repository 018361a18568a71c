"""Logs: the command that shows what a job writes, and stays with it."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from superagent.core.neutral import neutral
from superagent.surfaces.cli.options import Parser
from superagent.surfaces.cli.session import Session
from superagent.surfaces.cli.target import DONE, Refused, Request


def logs(session: Session, arguments: Sequence[str]) -> int:
    """Show what the command of a job has written; with `--follow` until it ends or ctrl-C."""
    parser = Parser("logs", "Show what the command of a job has written.")
    parser.add_argument("id", help="the job")
    parser.add_argument("--stream", choices=("stdout", "stderr"), default="stdout")
    parser.add_argument("--since", type=int, default=0, metavar="OFFSET", help="in bytes; -N for the last N")
    parser.add_argument("--follow", action="store_true", help="stay until it has ended; ctrl-C ends it sooner")
    session.read(parser, arguments)
    given = session.given
    wanted: dict[str, Any] = {"id": given.id, "stream": given.stream, "since": given.since}
    with session.target() as target, suppress(KeyboardInterrupt):  # that is how one ends what may never end
        while True:
            answer = target.call(Request("jobs.logs", wanted))
            if answer.exit_code != DONE:
                raise Refused(answer)
            log = answer.document["output"]
            _show(session, log)
            if log["over"] or (not given.follow and log["next"] >= log["end"]):
                break
            wanted |= {"since": log["next"], "follow": given.follow}
    return DONE


def _show(session: Session, log: dict[str, Any]) -> None:
    if session.screen.json:
        session.screen.document(log)
        return
    if log["missed"]:
        session.screen.note(f"{log['missed']} bytes before this are kept no more")
    text = log["text"]
    if log["encoding"] == "base64":  # bytes that were no text are shown as what they are, and never act
        text = base64.b64decode(text).decode("utf-8", "backslashreplace")
    session.screen.bytes(neutral(text).encode())

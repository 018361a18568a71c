"""Following: the commands that show what happens while it does, `watch` and `events`."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from itertools import islice

from superagent.surfaces.cli.options import Parser
from superagent.surfaces.cli.render import show_event
from superagent.surfaces.cli.session import Session
from superagent.surfaces.cli.target import DONE, Answer, Target


def watch(session: Session, arguments: Sequence[str]) -> int:
    """Follow the events of an invocation until it ends."""
    parser = Parser("watch", "Follow the events of an invocation until it ends; the exit code says how.")
    parser.add_argument("id", help="the invocation")
    session.read(parser, arguments)
    with session.target() as target:
        return follow(session, target, session.given.id)


def events(session: Session, arguments: Sequence[str]) -> int:
    """Show what happens, as far as you may see it."""
    parser = Parser("events", "Show what happens from now on, as far as you may see it; ctrl-C ends it.")
    parser.add_argument("--count", type=int, default=None, metavar="N", help="end after this many")
    session.read(parser, arguments)
    with session.target() as target, suppress(KeyboardInterrupt):  # that is how one ends what never ends
        for event in islice(target.feed(), session.given.count):
            show_event(session.screen, event)
    return DONE


def follow(session: Session, target: Target, id: str) -> int:
    """Show an invocation's events and give the exit code of its outcome."""
    code = DONE
    for event in target.follow(id):
        show_event(session.screen, event)
        if event.kind == "outcome":
            problem = event.data.get("problem")
            code = (Answer(problem["status"], problem) if problem else Answer(200, event.data)).exit_code
    return code

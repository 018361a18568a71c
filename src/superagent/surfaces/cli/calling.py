"""Calling: one call from the command line to its end, and `call` itself, which takes any operation and its input."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from superagent.core.neutral import neutral_line
from superagent.core.problems import Problem
from superagent.surfaces.cli.following import follow
from superagent.surfaces.cli.hidden import hidden_input
from superagent.surfaces.cli.options import Parser, Usage, add_call_flags, request_of
from superagent.surfaces.cli.render import show_answer
from superagent.surfaces.cli.session import Session
from superagent.surfaces.cli.target import Answer, Request, Target, output_of

_STDIN = "-"
STEP_UP = 428


def call(session: Session, arguments: Sequence[str]) -> int:
    """Call any operation with its input as JSON."""
    parser = Parser("call", "Call any operation with its input as one JSON object.")
    parser.add_argument("name", help="for example files.read")
    given = parser.add_mutually_exclusive_group()
    given.add_argument("--input", metavar="JSON", default="", help="the input")
    given.add_argument(
        "-f", "--file", metavar="FILE", default="", help="read the input from here; - for standard input"
    )
    add_call_flags(parser)
    session.read(parser, arguments)
    input = _input(session.given)
    with session.target() as target:
        if session.given.input:
            _refuse_typed_secrets(target, session.given.name, input)
        return perform(session, target, request_of(session.given, session.given.name, input))


def perform(session: Session, target: Target, request: Request) -> int:
    """Run a call, follow it if it is a stream, show what came of it, and give the exit code that says the same."""
    answer = _called(session, target, request)
    if answer.status == STEP_UP and session.asks:
        target.prove(proof_for(session, target, request.operation))
        answer = _called(session, target, request)
    if answer.document.get("status") == "queued" and not (request.queued or answer.document.get("background")):
        return follow(session, target, answer.document["invocation"])
    if session.given.call_save and answer.document.get("status") == "done":
        _save(session, target, answer)
    else:
        show_answer(session.screen, answer)
    return answer.exit_code


def proof_for(session: Session, target: Target, operation: str) -> str:
    """Ask who sits at the terminal for a second factor; gives the token of the key with it, which nothing keeps."""
    session.screen.note(f"`{operation}` needs a second factor")
    code = hidden_input("one-time code or recovery code")
    proof: str = output_of(target, "signin.prove", code=code)["proof"]
    return proof


def _called(session: Session, target: Target, request: Request) -> Answer:
    with session.screen.waiting(request.operation):
        return target.call(request)


def _save(session: Session, target: Target, answer: Answer) -> None:
    """Write the stored result of a call where the caller said; to standard output nothing but its bytes."""
    output: Any = answer.document.get("output") or {}
    handle: str = answer.document.get("handle") or output.get("handle", "")
    where: str = session.given.call_save
    if not handle:
        show_answer(session.screen, answer)
        session.screen.note("there is no stored result to save: all of it is in the outcome")
        return
    if where == _STDIN:
        for chunk in target.download(handle):
            session.screen.bytes(chunk)
        return
    try:
        with open(where, "wb") as file:
            for chunk in target.download(handle):
                file.write(chunk)
    except OSError as bad:
        raise Usage(
            f"`{where}` cannot be written: {bad.strerror}", f"the result is kept: `superagent result read {handle}`"
        ) from None
    show_answer(session.screen, answer)
    if not session.screen.json:
        session.screen.line(f"saved in {neutral_line(where)}")


def _refuse_typed_secrets(target: Target, name: str, input: dict[str, Any]) -> None:
    """Raise `Usage` when an input that was typed holds a secret. What cannot be described is left to the call."""
    from superagent.surfaces.cli.schema_flags import SEEN, parameters

    if not any(isinstance(value, str) for value in input.values()):
        return
    described = target.call(Request("catalogue.describe", {"name": name}))
    output: dict[str, Any] = described.document.get("output") or {}
    schema: dict[str, Any] = output.get("input_schema", {})
    if any(one.kind == "secret" and one.name in input for one in parameters(schema)):
        raise Usage(SEEN, "take another value, and read the input from a file or standard input with `-f`")


def _input(given: argparse.Namespace) -> dict[str, Any]:
    """Read the input object. Raises `Usage`."""
    from superagent.core.strict_json import parse_object

    try:
        if given.file == _STDIN:
            text = sys.stdin.buffer.read()
        elif given.file:
            with open(given.file, "rb") as file:
                text = file.read()
        else:
            text = given.input.encode()
        return parse_object(text.strip())
    except OSError as bad:
        raise Usage(f"`{given.file}` cannot be read: {bad.strerror}") from None
    except Problem as bad:
        raise Usage(
            f"the input is no JSON object: {bad.detail}", 'for example --input \'{"path": "notes.txt"}\''
        ) from None

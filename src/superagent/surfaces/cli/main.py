"""The command line: finds the command, runs it, and turns whatever comes of it into what is shown and an exit code."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module

from superagent.core.problems import Internal, Problem, Unavailable
from superagent.surfaces.cli.launch import Launch
from superagent.surfaces.cli.options import WHERE, Parser, Shown, Usage
from superagent.surfaces.cli.session import Session
from superagent.surfaces.cli.target import DONE, FAILED, USAGE, Answer, Refused
from superagent.surfaces.cli.terminal import Screen

INTERRUPTED = 130
"""What shells report for a program that ctrl-C ended."""

_COMMANDS: dict[str, str] = {
    "up": "serving:up",
    "reload": "serving:reload",
    "call": "calling:call",
    "ops": "operations:ops",
    "describe": "operations:describe",
    "watch": "following:watch",
    "logs": "logs:logs",
    "events": "following:events",
    "doctor": "doctor:doctor",
    "mcp": "agents:mcp",
    "connect": "connecting:connect",
    "recover": "recovering:recover",
    "login": "signing_in:login",
    "logout": "signing_in:logout",
    "migrate-to": "moving:migrate_to",
    "version": "versions:version",
}
_NOT_YET: dict[str, str] = {
    "worker": "the queue to other processes",
    "node": "nodes on other machines",
    "backup": "backup",
    "restore": "restore from a backup",
    "ask": "the planning of plain words",
    "bench": "the benchmark on an installation",
}
_BY_HAND: dict[str, str] = dict.fromkeys(("backup", "restore"), "`docs/guide/backup.md` shows how it is done by hand")
_HELP = """\
Super-Agent: one API through which AI agents safely operate computers.

usage: superagent [--data FOLDER | --server URL --api-key-file FILE] [--json] COMMAND …

  up                          serve in the foreground; the first start sets everything up
  reload                      let several workers of a running server take up its settings anew, without a pause
  call NAME --input JSON      call any operation; -f FILE reads the input from a file, -f - from standard input
  DOMAIN VERB …               the same with flags: superagent files read PATH --max-bytes 1000
  ops [WORDS]                 the operations that you may use, or those that fit some words
  describe NAME               one operation with its flags, so does DOMAIN VERB --help; of a domain, its operations
  undo ID …                   take back calls, --session a whole session, --since TIME all of yours since;
                              --dry-run shows the plan
  approvals                   what waits for a decision; approvals show ID, approvals approve ID, approvals deny ID
  audit query|verify|export   what happened, and the proof that nobody rewrote it
  keys                        the keys of agents; keys create NAME, keys revoke ID; keys attenuate NAME makes a weaker
                              one of yours for a sub-agent, without asking anybody
  settings                    what is set and where that comes from; settings set NAME VALUE
  watch ID                    follow a call that runs in the background
  logs ID                     what the command of a job has written; --follow stays with it
  events                      what happens, as it does
  login --server URL          let the command line act for you at a server, by a browser; logout ends that
  mcp                         speak the Model Context Protocol on standard input and output, for an agent's program
  connect CLIENT              let Claude Code, Cursor, VS Code and others use this, with a key of their own; --dry-run
                              shows what would be written, --remove takes it back
  recover [PERSON]            a link that lets in whoever has lost a second factor; only for who owns the data folder
  doctor                      what works here, and the cure for what does not
  migrate-to URL              move the tables of the data folder into a PostgreSQL database
  version                     the version

Without --server a command goes to the server that holds the data folder, and where none runs it does the work itself.
It acts as the owner of the folder, or by the key in --api-key-file or SUPERAGENT_API_KEY; at a --server where you
logged in, for you.

exit codes: 0 done · 1 failed, or what it ran did, or a dry run shows a conflict · 2 wrong usage · 3 denied ·
            4 waits for approval · 5 unavailable
"""


def run(arguments: Sequence[str], launch: Launch) -> int:
    """Run one command line and give its exit code."""
    try:
        return _answered(list(arguments), launch)
    except BrokenPipeError:  # whoever read the output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED


def _answered(arguments: list[str], launch: Launch) -> int:
    """Run it, and answer whatever comes of it."""
    # until the command itself has been read, this is how to answer somebody who wants JSON
    screen = Screen(json="--json" in arguments)
    try:
        return _run(arguments, launch, screen)
    except Shown as shown:
        screen.line(str(shown).rstrip())
        return DONE
    except Usage as wrong:
        return _misused(screen, wrong)
    except Refused as refused:
        return _show(screen, refused.answer)
    except Problem as problem:
        return _show(screen, Answer(problem.status, problem.document()))
    except KeyboardInterrupt:
        screen.note("stopped; `superagent audit query` shows what became of it")
        return INTERRUPTED
    except BrokenPipeError:
        raise
    except Exception:  # a fault of ours: the caller gets a problem, and the trace to send us
        import traceback

        traceback.print_exc()
        broken = Internal("the command line broke", hint="report it with the trace above")
        return _show(screen, Answer(broken.status, broken.document()))


def _run(arguments: list[str], launch: Launch, screen: Screen) -> int:
    for number, argument in enumerate(arguments, 1):
        if not argument.isprintable() and any("\ud800" <= char <= "\udfff" for char in argument):
            raise Usage(f"argument {number} is not UTF-8")
    at = _command_at(arguments)
    parser = Parser("", _HELP, usage="superagent [--data FOLDER | --server URL] [--json] COMMAND …")
    if at == len(arguments) or arguments[at] == "help":
        if at < len(arguments) or {"--help", "-h"} & set(arguments):
            raise Shown(_HELP)
        raise Usage("there is no command", "see `superagent --help`")
    before, command, rest = arguments[:at], arguments[at], arguments[at + 1 :]
    if {"--help", "-h"} & set(before):
        raise Shown(_HELP)
    session = Session(launch, screen, parser.read(before, argparse.Namespace()))
    if command in _NOT_YET:
        raise Unavailable(
            f"`superagent {command}` needs {_NOT_YET[command]} which this version does not have",
            hint=_BY_HAND.get(command, "`superagent --help` lists what it has"),
        )
    if (command, *rest[:1]) == ("keys", "attenuate"):
        return _load("lending:attenuate")(session, rest[1:])
    if command in _COMMANDS:
        return _load(_COMMANDS[command])(session, rest)
    return _load("operations:run")(session, arguments[at:])


def _load(place: str) -> Callable[[Session, Sequence[str]], int]:
    # each command loads only what it needs: `--help` has to be there at once
    module, _, name = place.partition(":")
    found: Callable[[Session, Sequence[str]], int] = getattr(import_module(f"superagent.surfaces.cli.{module}"), name)
    return found


def _command_at(arguments: Sequence[str]) -> int:
    """Give where the command stands: the first argument that is no flag and no flag's value."""
    at = 0
    while at < len(arguments) and arguments[at].startswith("-"):
        at += 2 if arguments[at] in WHERE else 1
    return min(at, len(arguments))


def _misused(screen: Screen, wrong: Usage) -> int:
    if screen.json:
        document = {
            "type": "/problems/usage", "title": "The command line does not fit", "status": 400, "detail": wrong.detail,
            "retryable": False, "changed": "nothing",
        }  # fmt: skip
        screen.document(document | ({"hint": wrong.hint} if wrong.hint else {}))
    else:
        screen.note(f"superagent: {wrong.detail}")
        if wrong.hint:
            screen.note(wrong.hint)
    return USAGE


def _show(screen: Screen, answer: Answer) -> int:
    from superagent.surfaces.cli.render import show_answer

    show_answer(screen, answer)
    return answer.exit_code

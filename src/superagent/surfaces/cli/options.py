"""Options: how command lines are read, and what each command understands beside its own."""

from __future__ import annotations

import argparse
import difflib
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, NoReturn

from superagent.surfaces.cli.target import Request

_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_DURATION = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,6})?)([smhdw]?)")
TAKEN = frozenset({"help", "json", "server", "api-key-file", "data"})
"""Flags that mean the same everywhere; a parameter of such a name gets `--input-NAME`."""


WHERE = ("--data", "--server", "--api-key-file")
"""Those of them that say where a call goes, and as whom."""


_EXPLICIT = re.compile(r"ignored explicit argument .*", re.DOTALL)
DASHED = "a value that begins with a dash is given as --FLAG=VALUE"


class Usage(Exception):
    """The command line does not fit; `hint` is a usage line or a next step."""

    def __init__(self, detail: str, hint: str = "") -> None:
        super().__init__(detail)
        self.detail = detail
        self.hint = hint


class Shown(Exception):
    """Help was asked for; the text is it."""


class Parser(argparse.ArgumentParser):
    """A parser that raises instead of leaving, so that `--json` can answer too."""

    def __init__(self, command: str, about: str, *, epilog: str = "", usage: str | None = None) -> None:
        prog = f"superagent {command}".strip()
        super().__init__(
            prog,
            usage=usage,
            description=_plain(about),
            epilog=_plain(epilog),
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
            add_help=False,
        )
        group = self.add_argument_group("everywhere")
        group.add_argument("--help", "-h", action=_Help, nargs=0, help="show this and end")
        group.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="print JSON, for programs")
        group.add_argument("--data", metavar="FOLDER", default=argparse.SUPPRESS, help="the data folder")
        group.add_argument(
            "--server", metavar="URL", type=server, default=argparse.SUPPRESS, help="ask this server instead"
        )
        group.add_argument(
            "--api-key-file", metavar="FILE", default=argparse.SUPPRESS,
            help="the key to act with; else SUPERAGENT_API_KEY, else the owner's",
        )  # fmt: skip

    def error(self, message: str) -> NoReturn:
        """Raise `Usage`."""
        dash = f"; {DASHED}" if "expected one argument" in message else ""
        message = _EXPLICIT.sub("takes no value", message)  # which may be a secret
        raise Usage(message, f"{self.format_usage().strip()}\n`{self.prog} --help` says more{dash}")

    def read(self, arguments: Sequence[str], given: argparse.Namespace) -> argparse.Namespace:
        """Parse what follows the command, over what stood before it. Raises `Usage` or `Shown`.

        What follows `--` are values, also where they begin with a dash.
        """
        end = arguments.index("--") if "--" in arguments else len(arguments)
        found, unknown = self.parse_known_intermixed_args(arguments[:end], argparse.Namespace(**vars(given)))
        flags = [one.partition("=")[0] for one in unknown if one.startswith("-")]  # a value may be a secret
        if flags:
            flag = flags[0] if flags[0].startswith("--") else flags[0][:2]
            raise Usage(f"there is no flag `{flag}`", self._instead_of(flag))
        values = arguments[end + 1 :]
        if unknown or (values and not hasattr(found, "values")):
            raise Usage("there is one value too many", f"`{self.prog} --help` says what it takes")
        if values:
            found.values = [*found.values, *values]
        return found

    def _instead_of(self, flag: str) -> str:
        near = difflib.get_close_matches(flag, self._option_string_actions, n=1) if flag.startswith("--") else []
        listed = f"`{self.prog} --help` lists the flags"
        return (
            f"did you mean {near[0]}? {listed}"
            if near
            else f"{listed}; {DASHED}, after all flags and `--`, or in quotes with the words around it"
        )


class _Help(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> NoReturn:
        raise Shown(parser.format_help())


def where_of(arguments: Sequence[str], given: argparse.Namespace) -> argparse.Namespace:
    """Read where a call goes out of a line whose other flags are only known there. Raises `Usage`.

    No operation has a flag of such a name, and no value that stands by itself begins with a dash.
    """
    found = argparse.Namespace(**vars(given))
    for at, argument in enumerate(arguments):
        flag, equals, value = argument.partition("=")
        if argument == "--":
            break
        if flag in WHERE:
            if not equals:
                value = arguments[at + 1] if at + 1 < len(arguments) else "-"
                if value.startswith("-"):
                    raise Usage(f"`{flag}` needs a value", "see `superagent --help`")
            setattr(found, flag[2:].replace("-", "_"), server(value) if flag == "--server" else value)
    return found


def server(text: str) -> str:
    """Give the address of a server as it was typed. Raises `Usage` for one that may hold a password, unrepeated.

    Addresses are shown, and written into configurations; what one acts by is a key, and lies in a file.
    """
    if "@" in text:
        raise Usage("`--server` takes no name and no password", "leave out what stands before the `@`, and the `@`")
    return text


def add_call_flags(parser: Parser, without: frozenset[str] = frozenset()) -> None:
    """Let a command say how its call is treated; a flag that is a parameter of the operation becomes `--call-…`."""
    group = parser.add_argument_group("the call")
    for name, how in CALL_FLAGS:
        flag = f"--call-{name}" if name in without else f"--{name}"
        group.add_argument(flag, dest=f"call_{name.replace('-', '_')}", **how)


def request_of(given: argparse.Namespace, operation: str, input: dict[str, Any]) -> Request:
    """Make the request of parsed call flags."""
    return Request(
        operation,
        input,
        key=given.call_key,
        dry_run=given.call_dry_run,
        deadline_s=given.call_deadline,
        reason=given.call_reason,
        session=given.call_session,
        queued=given.call_async,
    )


def seconds(text: str) -> float:
    """Read a duration: `90`, `90s`, `5m`, `2h`, `30d`, `1w`. Raises `ArgumentTypeError`."""
    found = _DURATION.fullmatch(text)
    if not found:
        raise argparse.ArgumentTypeError(f"`{text}` is no duration such as 90, 90s, 5m, 2h or 30d")
    value = float(found[1]) * _UNITS[found[2]]
    return int(value) if value.is_integer() else value


def moment(text: str, now: float) -> float:
    """Read a time: epoch seconds, ISO 8601 (UTC unless it says otherwise), or how long ago: `2h`, `30d`."""
    found = _DURATION.fullmatch(text)
    if found:
        return now - seconds(text) if found[2] else float(text)
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"`{text}` is no time such as 2h (ago), 2026-01-31T12:00 or epoch seconds"
        ) from None
    return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()


CALL_FLAGS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("dry-run", {"action": "store_true", "help": "show what it would do; change nothing"}),
    ("key", {"metavar": "KEY", "default": "", "help": "idempotency key: the same call happens once"}),
    ("reason", {"metavar": "TEXT", "default": "", "help": "why; kept in the audit and shown to whoever approves"}),
    ("deadline", {"metavar": "TIME", "default": None, "type": seconds, "help": "stop it after this long: 30, 30s, 5m"}),
    ("session", {"metavar": "NAME", "default": "", "help": "a session that can be undone as a whole"}),
    ("async", {"action": "store_true", "help": "work in the background of the server; see `superagent watch`"}),
    ("save", {"metavar": "FILE", "default": "", "help": "write the stored result here; - for standard output"}),
)


def _plain(text: str) -> str:
    # argparse expands a text only when it names the program in it
    return text.replace("%", "%%") if "%(prog)" in text else text

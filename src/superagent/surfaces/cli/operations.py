"""Operations as commands: `superagent files read PATH` is found in the catalogue and its flags in its schema."""

from __future__ import annotations

import difflib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from superagent.core.portable import PROVIDERS, tool_for
from superagent.surfaces.cli.calling import perform
from superagent.surfaces.cli.options import Parser, Usage, request_of, where_of
from superagent.surfaces.cli.render import show_output
from superagent.surfaces.cli.schema_flags import Parameter, input_of, parser_of
from superagent.surfaces.cli.session import Session
from superagent.surfaces.cli.target import DONE, Target, output_of

_HELP = frozenset({"--help", "-h"})
_NAMED = 2
_PAGE = 500

SERVES = frozenset({"init", "run", "serve", "server", "setup", "start"})
"""What `up` is called elsewhere."""


@dataclass(frozen=True, slots=True)
class Alias:
    """A shorter way to type an operation: part of its input is fixed, and some parameters are spelled otherwise.

    `bare` is a parameter that can be left out and still needs no flag.
    """

    operation: str
    fixed: Mapping[str, Any] = field(default_factory=dict[str, Any])
    flags: Mapping[str, str] = field(default_factory=dict[str, str])
    listed: str = ""
    bare: str = ""


ALIASES: dict[tuple[str, ...], Alias] = {
    ("approvals",): Alias("approvals.list"),
    ("approvals", "approve"): Alias("approvals.decide", {"decision": "approve"}),
    ("approvals", "deny"): Alias("approvals.decide", {"decision": "deny"}),
    ("code", "run"): Alias("code.run", bare="path"),
    ("keys",): Alias("access.keys.list"),
    ("keys", "list"): Alias("access.keys.list"),
    ("keys", "create"): Alias("access.keys.create", flags={"grants": "--grant", "expires_s": "--expires"}),
    ("keys", "revoke"): Alias("access.keys.revoke"),
    ("settings",): Alias("settings.list"),
    ("shell", "session_send"): Alias("shell.session_send", bare="input"),
    ("shell", "start"): Alias("shell.start", bare="command"),
    ("undo",): Alias("undo.apply", listed="ids"),
}
"""The longest that fits counts, but an operation's own name comes first: `undo list` is no id."""


def run(session: Session, words: Sequence[str]) -> int:
    """Run the operation that the words name, or list those that begin with them."""
    path = _path(words)
    if not path:
        raise Usage(f"`{words[0]}` is no command", "see `superagent --help`")
    alias = _alias_of(path)
    session.given = where_of(words[len(path) :], session.given)
    with session.target() as target:
        if alias is None or len(path) > len(alias[0]):
            names = _names_in(target, path[0].partition(".")[0])
            taken = next((at for at in range(len(path), 0, -1) if ".".join(path[:at]) in names), 0)
            if taken and (alias is None or taken > len(alias[0])):
                return _run(session, target, Alias(".".join(path[:taken])), words[:taken], words[taken:])
            if alias is None:
                return _list(session, target, path, words)
        return _run(session, target, alias[1], words[: len(alias[0])], words[len(alias[0]) :])


def ops(session: Session, arguments: Sequence[str]) -> int:
    """List the operations that you may use, or those that fit some words best."""
    parser = Parser("ops", "List the operations that you may use, or those that fit some words best.")
    parser.add_argument("words", nargs="*", metavar="[search] WORDS", help="what you want to do")
    session.read(parser, arguments)
    words: list[str] = session.given.words
    if len(words) > 1 and words[0] == "search":
        words = words[1:]
    with session.target() as target:
        found = output_of(target, "catalogue.search", query=" ".join(words), limit=20 if words else _PAGE)
    _show(session, found)
    return DONE


def describe(session: Session, arguments: Sequence[str]) -> int:
    """Describe one operation: what it does, its flags, and how it is taken back."""
    parser = Parser("describe", "Describe one operation; with --json also its schemas.")
    parser.add_argument("names", nargs="+", metavar="name", help="for example files.read; of a domain, what it has")
    parser.add_argument("--for", dest="provider", choices=PROVIDERS, help="as tools for the API of these models")
    parser.add_argument("--strict", action="store_true", help="OpenAI: strict; arguments that are null mean: left out")
    session.read(parser, arguments)
    names: list[str] = session.given.names
    if session.given.provider:
        return _tools(session, names)
    if len(names) > 1:
        raise Usage("one operation at a time", "`--for` takes several")
    name = names[0]
    with session.target() as target:
        if "." not in name:
            found = output_of(target, "catalogue.search", domain=name, limit=_PAGE)
            if found["operations"]:
                _show(session, found)
                return DONE
        described = output_of(target, "catalogue.describe", name=name)
    words = tuple(name.split("."))
    if session.screen.json:
        session.screen.document(described)
    else:
        session.screen.line(_parser(described, ALIASES.get(words, Alias(name)), words)[0].format_help())
    return DONE


def _tools(session: Session, names: list[str]) -> int:
    """Print operations as a list of tools for a provider's API; a domain stands for all of its operations."""
    given = session.given
    tools: list[dict[str, Any]] = []
    with session.target() as target:
        for name in names:
            for one in [name] if "." in name else sorted(_names_in(target, name)) or [name]:
                found = output_of(target, "catalogue.describe", name=one)
                text, schema = found["description"], found["input_schema"]
                tools.append(tool_for(given.provider, one, text, schema, strict=given.strict))
    session.screen.document(tools)
    return DONE


def _run(session: Session, target: Target, alias: Alias, words: Sequence[str], arguments: Sequence[str]) -> int:
    described = output_of(target, "catalogue.describe", name=alias.operation)
    parser, wanted = _parser(described, alias, words)
    session.read(parser, arguments)
    input = {**alias.fixed, **input_of(session.given, wanted, time.time(), alias.listed)}
    return perform(session, target, request_of(session.given, alias.operation, input))


def _parser(described: Mapping[str, Any], alias: Alias, words: Sequence[str]) -> tuple[Parser, list[Parameter]]:
    return parser_of(described, " ".join(words), alias.fixed, alias.flags, alias.listed, alias.bare)


def _list(session: Session, target: Target, path: list[str], words: Sequence[str]) -> int:
    """Show what begins with these words when help was asked for; else say what does not fit."""
    found = output_of(target, "catalogue.search", domain=path[0].partition(".")[0], limit=_PAGE)
    rest = words[len(path) :]
    session.screen.json = session.screen.json or "--json" in rest
    fitting = [one for one in found["operations"] if one["name"].startswith(".".join(path))]
    if fitting and (_HELP & set(rest)):
        _show(session, {"operations": fitting, "cursor": None})
        return DONE
    typed = " ".join(words[: min(len(path), _NAMED)])  # what follows may be a secret
    if fitting:
        near = [one["name"].replace(".", " ") for one in fitting]
        raise Usage(f"`{typed}` is not a whole command", f"its commands are: {', '.join(near)}")
    if path[0] in SERVES:
        raise Usage(f"there is no command `{typed}`", "did you mean up? it serves; the first time it sets all up")
    every = output_of(target, "catalogue.search", limit=_PAGE)["operations"]
    near = difflib.get_close_matches(".".join(path), [one["name"] for one in every], n=3, cutoff=0.5)
    hint = f"did you mean {', '.join(one.replace('.', ' ') for one in near)}?" if near else ""
    raise Usage(f"there is no command `{typed}`", hint or "see `superagent --help` and `superagent ops`")


def _show(session: Session, found: dict[str, Any]) -> None:
    if session.screen.json:
        session.screen.document(found)
    elif found["operations"]:
        show_output(session.screen, {"operations": found["operations"]})
    else:
        session.screen.note("nothing fits")


def _names_in(target: Target, domain: str) -> set[str]:
    return {one["name"] for one in output_of(target, "catalogue.search", domain=domain, limit=_PAGE)["operations"]}


def _path(words: Sequence[str]) -> list[str]:
    """Give the words that could name an operation; one with dots is a whole name."""
    found: list[str] = []
    for word in words[:4]:
        plain = word.replace("-", "_").replace(".", "")
        if not (plain.isascii() and plain.replace("_", "").isalnum() and word[0].isalpha() and word == word.lower()):
            break
        found.append(word.replace("-", "_"))
    return found


def _alias_of(path: list[str]) -> tuple[tuple[str, ...], Alias] | None:
    for length in (2, 1):
        key = tuple(path[:length])
        if key in ALIASES:
            return key, ALIASES[key]
    return None

"""Connecting: `superagent connect CLIENT` gives an agent's program a key of its own and writes how it finds us."""

from __future__ import annotations

import contextlib
import difflib
import hashlib
import json
import os
import re
import secrets
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from superagent.core.problems import Conflict, Unavailable
from superagent.surfaces.cli.clients import CLIENTS, Client
from superagent.surfaces.cli.config_files import Edit, Entry, Made, Unreadable, entry_in, with_entry, without_entry
from superagent.surfaces.cli.options import Parser, Usage, seconds
from superagent.surfaces.cli.session import Session
from superagent.surfaces.cli.target import DONE, Request, output_of

_ABOUT = """\
Connect an agent's program: make a key for it and nobody else, and write into its configuration how it starts
`superagent mcp`. The key lies in a file of its own that only you can read; the configuration names that file.
"""
_KEYS = ".config/superagent/clients"
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,39}")
_SETS = re.compile(r"[a-z][a-z0-9_.]*(,[a-z][a-z0-9_.]*)*")
# what the tools that are always listed call, and what an agent needs to wait for and take back what it did
_ALWAYS = ("access.whoami", "catalogue.*", "result.*", "jobs.*", "undo.*", "approvals.*", "access.taint.*")


@dataclass(frozen=True, slots=True)
class Plan:
    """What is connected: the client, its configuration, the entry's name in it, and where its key lies."""

    name: str
    client: Client
    config: Path
    entry: str
    key: Path

    @property
    def about(self) -> Path:
        """Give the file that says which key lies there."""
        return self.key.with_suffix(".json")


def connect(session: Session, arguments: Sequence[str]) -> int:
    """Connect an agent's program, or with `--remove` disconnect it."""
    session.read(_parser(), arguments)
    given = session.given
    plan = _plan(given)
    try:
        present = entry_in(plan.config, plan.client.kind, plan.client.at, plan.entry)
        if present is not None and not _ours(present):
            raise Conflict(
                f"`{plan.config}` has another server called `{plan.entry}`", hint="choose another name with `--name`"
            )
        where = (plan.config, plan.client.kind, plan.client.at, plan.entry)
        if given.remove:
            change = without_entry(*where, _about(plan).get("wrote", ""), _made(plan))
        else:
            change = with_entry(*where, _entry(session, plan))
    except Unreadable as bad:
        raise Unavailable(
            f"`{plan.config}` was left as it is: {bad}",
            hint=f"put this under `{plan.client.at}` by hand: {json.dumps({plan.entry: _entry(session, plan)})}",
        ) from None
    if not given.remove:
        _require_known(session)
        _require_as_made(given, plan)
    if given.dry_run:
        return _show(session, plan, change, "", "")
    if given.remove:
        return _remove(session, plan, change)
    return _add(session, plan, change)


def _parser() -> Parser:
    parser = Parser("connect", _ABOUT)
    parser.add_argument("client", choices=sorted(CLIENTS), help="the program")
    parser.add_argument("--remove", action="store_true", help="take the entry out, and end the key")
    parser.add_argument("--dry-run", action="store_true", help="show what would change; change nothing")
    parser.add_argument("--toolsets", default="files", metavar="NAMES", help="listed and allowed: files,shell; or all")
    parser.add_argument("--expires", type=seconds, default=90 * 86_400, metavar="TIME", help="of the key; 90d")
    parser.add_argument("--workspace", default="", metavar="FOLDER", help="the agent's; a fresh one if not said")
    parser.add_argument("--project", default="", metavar="FOLDER", help="into the project's configuration, not yours")
    parser.add_argument("--config", default="", metavar="FILE", help="the configuration, where it lies elsewhere")
    parser.add_argument("--name", default="superagent", help="what the server is called there")
    parser.add_argument("--new-key", action="store_true", help="make a fresh key, and end the one that is there")
    return parser


def _plan(given: Any) -> Plan:
    client = CLIENTS[given.client]
    if not _NAME.fullmatch(given.name):
        raise Usage("`--name` is up to 40 letters, digits, `-` and `_`")
    if not _SETS.fullmatch(given.toolsets):
        raise Usage("`--toolsets` are domains or operations, such as files,shell.run")
    if given.project and not client.project:
        raise Usage(f"{client.title} has no configuration of projects", "leave `--project` out")
    home = Path.home()
    if given.config:
        config = Path(given.config).absolute()
    elif given.project:
        config = Path(given.project).absolute() / client.project
    else:
        config = home / client.user
    if not (Path(given.project) if given.project else config.parent).is_dir():
        raise Unavailable(
            f"{client.title} is not here: there is no folder `{config.parent}`",
            hint="start it once, or name its file with `--config`",
        )
    own = hashlib.sha256(f"{config}\0{given.name}".encode()).hexdigest()[:8]
    return Plan(given.client, client, config, given.name, home / _KEYS / f"{given.client}-{own}.key")


def _require_known(session: Session) -> None:
    """Go on only if there is something behind each name. Raises `Usage`: a key for what is not there can do nothing."""
    if session.given.toolsets == "all":
        return
    with session.target() as target:
        found = output_of(target, "catalogue.search", limit=500)["operations"]
    names = {one["name"] for one in found}
    known = names | {name.rpartition(".")[0] for name in names} | {name.partition(".")[0] for name in names}
    for one in session.given.toolsets.split(","):
        if one not in known:
            near = difflib.get_close_matches(one, known, n=1)
            domains = ", ".join(sorted({name.partition(".")[0] for name in names}))
            hint = (
                f"did you mean `{near[0]}`?" if near else f"there are {domains}; `superagent ops` lists what they hold"
            )
            raise Usage(f"`--toolsets`: there is nothing called `{one}`", hint)


def _require_as_made(given: Any, plan: Plan) -> None:
    """Go on only if the key that stays may do what is asked for now: what it may do never changes. Raises `Usage`."""
    made = {} if given.new_key or not plan.key.exists() else _about(plan)
    for name, value in (("toolsets", given.toolsets), ("workspace", _workspace(given))):
        if value and made.get(name, value) != value:
            raise Usage(
                f"its key was made with `--{name} {made[name]}`, and keeps that",
                f"say `--new-key` for one with `--{name} {value}`",
            )


def _workspace(given: Any) -> str:
    return str(Path(given.workspace).absolute()) if given.workspace else ""


def _entry(session: Session, plan: Plan) -> dict[str, Any]:
    """Give what the configuration says: a command, and where its key lies; nothing secret."""
    given = session.given
    program = Path(sys.executable).with_name("superagent")
    first = [str(program)] if program.exists() else [sys.executable, "-m", "superagent"]
    server: str = getattr(given, "server", "")
    where = ["--server", server] if server else ["--data", str(session.folder.absolute())]
    rest = [*first[1:], *where, "--api-key-file", str(plan.key), "mcp", "--toolsets", given.toolsets]
    return {**(plan.client.extra or {}), "command": first[0], "args": rest}


def _ours(entry: Entry) -> bool:
    args: Any = (entry or {}).get("args")
    given = [str(one) for one in cast("list[Any]", args)] if isinstance(args, list) else []
    return "mcp" in given and any(_KEYS in one for one in given)


def _add(session: Session, plan: Plan, change: Edit) -> int:
    kept = plan.key.exists() and not session.given.new_key
    made: dict[str, Any] = {}
    about = _about(plan)
    if not kept:
        before = about.get("id", "")
        made = _key(session, plan)
        if before:
            _end(session, before)
    try:
        if made or not change.same:
            _note(plan, _about(plan) | {"wrote": change.wrote, "made": change.makes or about.get("made", "")})
        copy = "" if change.same else change.write(about.get("wrote", ""))
    except BaseException:
        if made:
            _forget(plan)
            _end(session, made["id"])
        raise
    return _show(session, plan, change, copy, made.get("agent", ""))


def _remove(session: Session, plan: Plan, change: Edit) -> int:
    about = _about(plan)
    copy = "" if change.same else change.write(about.get("wrote", ""), _made(plan))
    id = about.get("id", "")
    if id:
        _end(session, id)
    _forget(plan)
    return _show(session, plan, change, copy, "", ended=bool(id))


def _key(session: Session, plan: Plan) -> dict[str, Any]:
    """Make the agent's key and put it where only this user reads it; gives what is known of it, without the key."""
    given = session.given
    input: dict[str, Any] = {
        "name": f"{plan.name}-{secrets.token_hex(3)}",  # a name is never used twice
        "expires_s": int(given.expires),
    }
    if given.workspace:
        input["workspace"] = _workspace(given)
    if given.toolsets != "all":
        input["only"] = [{"effect": "allow", "operations": [*_wanted(given), *_ALWAYS]}]
    with session.target() as target:
        made = output_of(target, "access.keys.create", **input)
    try:
        plan.key.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _forget(plan)
        _private(plan.key, f"{made['key']}\n")
        about = {"id": made["id"], "agent": made["agent"], "config": str(plan.config), "toolsets": given.toolsets}
        _note(plan, about | {"workspace": _workspace(given)})
    except BaseException:
        _end(session, made["id"])
        raise
    return {"id": made["id"], "agent": made["agent"]}


def _rights(given: Any) -> str:
    """Say what a fresh key may do."""
    allowed = "all that its agent may" if given.toolsets == "all" else ", ".join(_wanted(given))
    where = f"in `{_workspace(given)}`" if given.workspace else "in a fresh folder of its own"
    return f"allowed {allowed} {where} for {given.expires / 86_400:g} days"


def _private(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with open(descriptor, "w", encoding="ascii") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _wanted(given: Any) -> list[str]:
    return [one if "." in one else f"{one}.*" for one in given.toolsets.split(",")]


def _about(plan: Plan) -> dict[str, str]:
    """Give what is known of the key that lies there: its id, and what it was made with."""
    try:
        found: Any = json.loads(plan.about.read_bytes())
        return {str(name): str(value) for name, value in found.items()}
    except (OSError, ValueError, AttributeError):
        return {}


def _made(plan: Plan) -> Made:
    """Give what was made around the entry when it was put in."""
    found = _about(plan).get("made", "")
    return found if found == "table" or found == "file" or found == "folder" else ""


def _note(plan: Plan, about: dict[str, str]) -> None:
    """Keep what is known of the key that lies there, whole or not at all."""
    fresh = plan.about.with_suffix(".new")
    fresh.unlink(missing_ok=True)
    _private(fresh, json.dumps(about))
    os.replace(fresh, plan.about)


def _end(session: Session, id: str) -> None:
    with session.target() as target:
        answer = target.call(Request("access.keys.revoke", {"id": id}))
    if answer.exit_code != DONE:
        session.screen.note(f"the key `{id}` could not be ended: `superagent keys revoke {id}`")


def _forget(plan: Plan) -> None:
    for path in (plan.key, plan.about):
        with contextlib.suppress(FileNotFoundError):
            path.unlink()


def _show(session: Session, plan: Plan, change: Edit, copy: str, agent: str, *, ended: bool = False) -> int:
    given, screen = session.given, session.screen
    diff = change.diff()
    if screen.json:
        screen.document(
            {
                "client": plan.name, "config": str(change.path), "entry": plan.entry, "diff": diff, "backup": copy,
                "key_file": str(plan.key), "agent": agent, "dry_run": given.dry_run, "changed": not change.same,
                "key_ended": ended,
            }
        )  # fmt: skip
        return DONE
    screen.line(diff.rstrip("\n") if diff else f"`{change.path}` says so already")
    if given.dry_run:
        new = not given.remove and (given.new_key or not plan.key.exists())
        screen.note("this is what would change" + (f"; a key would be made for it, {_rights(given)}" if new else ""))
    elif given.remove:
        was = "was not connected from here" if change.same and not ended else "is not connected any more"
        told = "its key has ended" if ended else "no key of it is known here"
        screen.note(f"{plan.client.title} {was}; {told}")
    else:
        acts = f"it acts as `{agent}`, {_rights(given)}" if agent else "it keeps its key"
        screen.note(f"{plan.client.title} is connected: {acts}, key in `{plan.key}`; start it anew")
    return DONE

"""The doctor: what works on this machine and in this data folder, and the cure for each thing that does not."""

from __future__ import annotations

import os
import shutil
import stat
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Any, Literal

from superagent.core.neutral import neutral_line
from superagent.core.problems import Problem
from superagent.surfaces.cli.options import Parser
from superagent.surfaces.cli.session import Session
from superagent.surfaces.cli.target import DONE, FAILED, Answer, Refused, Request, output_of

Standing = Literal["ok", "note", "wrong"]
OLDEST_PYTHON = (3, 11)
LOW_BYTES = 1024**3
FULL_BYTES = 64 * 1024**2
VERIFY_S = 60.0
AHEAD_S = 5.0
SET_BACK = (
    "an older backup was started, or somebody cut the record: the file in `audit.anchor` proves what was lost; once you"
    " know which, move it to a safe place, and the next checkpoint begins a new one"
)
_MARKS: dict[Standing, tuple[str, str]] = {"ok": ("✓", "green"), "note": ("!", "yellow"), "wrong": ("✗", "bold red")}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at: `wrong` keeps the platform from working, a `note` is worth knowing."""

    name: str
    standing: Standing
    detail: str
    cure: str = ""


def doctor(session: Session, arguments: Sequence[str]) -> int:
    """Look at everything the platform needs here; the exit code is 1 when something is wrong."""
    session.read(
        Parser("doctor", "Look at everything the platform needs here, and name the cure for what is missing."),
        arguments,
    )
    found = list(_all(session))
    if session.screen.json:
        wrong = any(one.standing == "wrong" for one in found)
        session.screen.document({"ok": not wrong, "findings": [asdict(one) for one in found]})
    else:
        _show(session, found)
    return FAILED if any(one.standing == "wrong" for one in found) else DONE


def _all(session: Session) -> Iterator[Finding]:
    from superagent.runtime.places import set_up

    yield python()
    yield opening()
    if getattr(session.given, "server", ""):  # the folder of this machine is not what is asked about
        yield from _installation(session)
        return
    data = session.folder
    yield folder(data)
    if not set_up(data):  # the rest is the installation's
        yield disk(data)
        yield from extras()
        return
    yield from state(data / "state")
    yield disk(data)
    yield clock(data / "state", time.time())
    yield holding(data / "state")
    yield place(data, time.time())
    yield from extras()
    yield from _installation(session)


def python() -> Finding:
    """Look at the interpreter."""
    text = f"{sys.version.split()[0]} at {sys.executable}"
    if sys.version_info < OLDEST_PYTHON:
        return Finding("python", "wrong", text, "install Python 3.11 or newer")
    return Finding("python", "ok", text)


def opening() -> Finding:
    """Look at how paths are opened beneath their roots."""
    from superagent.runtime.system_calls import RESOLVE_BENEATH, openat2

    here = os.open("/", os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.close(openat2(here, ".", os.O_RDONLY | os.O_DIRECTORY, RESOLVE_BENEATH))
    except OSError as bad:
        why = f"the kernel refuses openat2 ({bad.strerror}): names are walked one by one, which is safe and slower"
        return Finding("openat2", "note", why, "Linux 5.6 or newer, or a container profile that allows openat2")
    finally:
        os.close(here)
    return Finding("openat2", "ok", "paths are opened in one step beneath their roots")


def folder(data: Path) -> Finding:
    """Look whether the data folder can be written, by writing, and whether anything was set up in it."""
    from superagent.runtime.places import elsewhere, set_up

    place = data if data.exists() else next(one for one in data.parents if one.exists())
    try:
        with tempfile.TemporaryFile(dir=place) as file:
            file.write(b"\0" * 4096)
            file.flush()
            os.fsync(file.fileno())
    except OSError as bad:
        cure = "choose another with --data, or give this user the right to write there"
        return Finding("data folder", "wrong", f"{data}: {bad.strerror}", cure)
    if not set_up(data):
        return Finding("data folder", "wrong", f"nothing is set up in {data}", elsewhere(data))
    return Finding("data folder", "ok", f"{data} can be written")


def state(place: Path) -> Iterator[Finding]:
    """Look at who owns what is secret, and who else could read it."""
    for path, right in ((place, 0o700), (place / "owner.key", 0o600)):
        try:
            found = os.lstat(path)
        except OSError:
            continue
        name, mode = f"state/{path.name}" if path != place else "state", stat.S_IMODE(found.st_mode)
        if stat.S_ISLNK(found.st_mode):
            yield Finding(name, "wrong", "it is a link", f"put the real one in its place: {path}")
        elif found.st_uid != os.geteuid():
            yield Finding(
                name, "wrong", f"user {found.st_uid} owns it, you are {os.geteuid()}", "call as the user that owns it"
            )
        elif mode & ~right:
            yield Finding(name, "wrong", f"its mode is {mode:o}, others can reach it", f"chmod {right:o} {path}")
        else:
            yield Finding(name, "ok", f"yours alone, mode {mode:o}")


def disk(data: Path) -> Finding:
    """Look at the room that is left where the data folder lies."""
    place = data if data.exists() else next(one for one in data.parents if one.exists())
    free = shutil.disk_usage(place).free
    text = f"{free / 1024**3:.1f} GiB are free"
    if free < FULL_BYTES:
        return Finding("disk", "wrong", text, "free some: without room nothing can be recorded, so nothing is done")
    return Finding("disk", "note" if free < LOW_BYTES else "ok", text, "free some soon" if free < LOW_BYTES else "")


def clock(place: Path, now: float) -> Finding:
    """Look whether the clock runs behind what was already written by it."""
    latest = max((one.stat().st_mtime for one in place.glob("audit/**/*")), default=0.0) if place.exists() else 0.0
    shown = time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime(now))
    if latest > now + AHEAD_S:
        ahead = f"the audit was written {latest - now:.0f} s after what this clock says now ({shown})"
        return Finding("clock", "wrong", ahead, "set it right: deadlines, expiry and the order of the audit hang on it")
    return Finding("clock", "ok", shown)


def holding(place: Path) -> Finding:
    """Look who holds the data folder."""
    from superagent.runtime.instance_lock import holder

    try:
        found = holder(place)
    except Problem as problem:
        return Finding("lock", "wrong" if place.exists() else "ok", problem.detail, problem.hint or "")
    return Finding("lock", "ok", f"held by {found}" if found and found.alive else "nobody holds the folder")


def place(data: Path, now: float) -> Finding:
    """Look whether the installation is where it was set up, or a copy of one that is elsewhere."""
    from superagent.runtime.home import Home

    original = Home(data).look(now).original
    if not original:
        return Finding("place", "ok", "no copy of an installation elsewhere")
    text = (
        f"a copy of {original}: what was kept there is not taken back here, and two that serve run each schedule twice"
    )
    return Finding("place", "note", text, "where it takes the original's place: superagent undo adopt")


def extras() -> Iterator[Finding]:
    """Look at the libraries that are only needed for some capabilities."""
    missing: dict[str, list[str]] = {}
    for line in requires("superagent") or ():
        library, _, condition = line.partition("; extra == ")
        if not condition:
            continue
        name = next((at for at, char in enumerate(library) if not (char.isalnum() or char in "-_.")), len(library))
        try:
            version(library[:name])
        except PackageNotFoundError:
            missing.setdefault(condition.strip("'\""), []).append(library[:name])
    for extra, libraries in missing.items():
        yield Finding(
            f"extra {extra}", "note", f"{', '.join(libraries)} not installed", f"pip install 'superagent[{extra}]'"
        )


def _installation(session: Session) -> Iterator[Finding]:
    """Ask the installation itself: does it answer, is its audit whole, and what does it offer?"""
    try:
        with session.target() as target:
            who = output_of(target, "access.whoami")
            way = "a running server" if target.lasting else "this very process: no server holds the folder"
            yield Finding("calls", "ok", f"answered as {who['id']} by {way}")
            yield from guarded("audit", lambda: audit(target.call(Request("audit.verify", {}, deadline_s=VERIFY_S))))
            yield from guarded("capabilities", lambda: _capabilities(output_of(target, "catalogue.capabilities")))
    except (Problem, Refused) as refused:
        yield _trouble("calls", refused)


def guarded(name: str, look: Callable[[], list[Finding]]) -> list[Finding]:
    """Look at something that may be refused."""
    try:
        return look()
    except (Problem, Refused) as refused:
        return [_trouble(name, refused)]


def audit(answer: Answer) -> list[Finding]:
    """Look at what the verification of the audit found."""
    if answer.exit_code != DONE:
        raise Refused(answer)
    found: dict[str, Any] = answer.document["output"]
    if found["ok"]:
        count = f"{found['records']} records, {found['checkpoints']} checkpoints, none was touched"
        told = [Finding("audit", "ok", count)]
    else:
        faults: list[dict[str, Any]] = found["faults"]
        cure = SET_BACK if {one["kind"] for one in faults} == {"anchor"} else "see `superagent audit verify`"
        told = [Finding("audit", "wrong", f"{len(faults)} faults; the first: {faults[0]}", cure)]
    if found.get("unanchored"):
        told.append(Finding("audit anchor", "wrong", str(found["unanchored"]), "see the setting `audit.anchor`"))
    return told


def _capabilities(found: dict[str, Any]) -> list[Finding]:
    return [
        Finding(one["name"], "ok" if one["available"] else "note", one["detail"], one.get("cure", ""))
        for one in found["capabilities"]
        if one["name"] != "python"
    ]


def _trouble(name: str, refused: Problem | Refused) -> Finding:
    document = refused.answer.document if isinstance(refused, Refused) else refused.document()
    return Finding(name, "wrong", str(document["detail"]), str(document.get("hint", "")))


def _show(session: Session, found: list[Finding]) -> None:
    from rich.text import Text

    width = max(len(one.name) for one in found)
    for one in found:
        mark, style = _MARKS[one.standing]
        name = f" {neutral_line(one.name):<{width}}  "
        session.screen.out.print(Text.assemble((mark, style), (name, "bold"), neutral_line(one.detail)))
        if one.cure:
            session.screen.out.print(Text.assemble(" " * (width + 4), ("cure  ", "cyan"), neutral_line(one.cure)))

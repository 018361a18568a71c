"""Configuration files of others: one entry set or taken out, all else as it was, and a copy kept."""

from __future__ import annotations

import contextlib
import difflib
import json
import os
import stat
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

from superagent.core.problems import Conflict, Unavailable

MOST_BYTES = 64 * 1024 * 1024
_MARK = b"\xef\xbb\xbf"
Entry = Mapping[str, Any] | None


class Unreadable(Exception):
    """This file cannot be changed without losing something of it; the text says why."""


@dataclass(frozen=True, slots=True)
class Edit:
    """A change to a file: its real path, what it holds now (None: it is not there) and what it would hold."""

    path: Path
    before: bytes | None
    after: bytes

    @property
    def same(self) -> bool:
        """Tell whether nothing changes."""
        return self.before == self.after

    def diff(self) -> str:
        """Show the change."""
        before, after = (one.decode("utf-8", "replace").splitlines() for one in (self.before or b"", self.after))
        name = str(self.path)
        return "\n".join(difflib.unified_diff(before, after, name, name, n=2, lineterm=""))

    def write(self) -> str:
        """Make the change; gives the path of the copy of what was there, empty for none.

        The file keeps its mode; a new one is its owner's alone. Raises `Conflict` when it was changed meanwhile.
        """
        copy, mode = "", 0o600
        self.path.parent.mkdir(exist_ok=True)
        if self.before is not None:
            mode = stat.S_IMODE(os.lstat(self.path).st_mode)
            copy = f"{self.path}.before-superagent-{time.time_ns()}"
            with open(os.open(copy, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "wb") as file:
                file.write(self.before)
        descriptor, fresh = tempfile.mkstemp(dir=self.path.parent, prefix=f".{self.path.name}.")
        try:
            with open(descriptor, "wb") as file:
                os.fchmod(file.fileno(), mode)
                file.write(self.after)
                file.flush()
                os.fsync(file.fileno())
            if read(self.path) != self.before:  # the program itself may have written it just now
                raise Conflict(f"`{self.path}` was changed meanwhile", hint="end the program, then try again")
            os.replace(fresh, self.path)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(fresh)
            if copy:
                os.unlink(copy)
            raise
        return copy


def read(path: Path) -> bytes | None:
    """Give what a file holds, None where there is none. Raises `Unavailable`."""
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid():
                raise Unavailable(f"`{path}` is no file of yours", hint="name another with `--config`")
            data = file.read(MOST_BYTES + 1)
    except FileNotFoundError:
        return None
    except OSError as bad:
        raise Unavailable(f"`{path}` cannot be read: {bad.strerror}", hint="name another with `--config`") from None
    if len(data) > MOST_BYTES:
        raise Unavailable(f"`{path}` is longer than {MOST_BYTES} bytes", hint="name another with `--config`")
    return data


def entry_in(path: Path, kind: Literal["json", "toml"], at: str, name: str) -> Entry:
    """Give a server's entry as it stands in a file, None for none. Raises `Unreadable`."""
    data = read(Path(os.path.realpath(path)))
    servers = _parsed(data or b"", kind).get(at)
    found = cast("dict[str, Any]", servers).get(name) if isinstance(servers, dict) else None
    return None if found is None else cast(Entry, json.loads(json.dumps(found)))


def edited(path: Path, kind: Literal["json", "toml"], at: str, name: str, entry: Entry) -> Edit:
    """Give the change that sets a server's entry, or takes it out. Raises `Unreadable`.

    A link is followed: the file it leads to is the one that changes.
    """
    real = Path(os.path.realpath(path))
    before = read(real)
    document: Any = _parsed(before or b"", kind)
    servers: Any = document.get(at)
    if servers is None:
        if entry is None:
            return Edit(real, before, before or b"")
        servers = document[at] = _table(kind)
    if not isinstance(servers, dict):
        raise Unreadable(f"`{at}` in it holds no servers")
    if entry is not None:
        servers[name] = dict(entry)
    elif name in servers:
        del servers[name]
    else:
        return Edit(real, before, before or b"")
    return Edit(real, before, _written(document, kind, before or b""))


# ---- inside


def _parsed(data: bytes, kind: Literal["json", "toml"]) -> Any:
    try:
        text = data.removeprefix(_MARK).decode()
    except UnicodeDecodeError:
        raise Unreadable("it is no text in UTF-8") from None
    if kind == "toml":
        import tomlkit
        from tomlkit.exceptions import TOMLKitError

        try:
            return tomlkit.parse(text)
        except (TOMLKitError, RecursionError):
            raise Unreadable("it is no TOML") from None
    if not text.strip():
        return {}
    try:
        found: Any = json.loads(text, object_pairs_hook=_once)
    except (ValueError, RecursionError):
        raise Unreadable("it is no plain JSON: it may hold comments, which would be lost") from None
    if not isinstance(found, dict):
        raise Unreadable("it is no JSON object")
    return cast(Any, found)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise Unreadable("it names something twice, of which one would be lost")
    return found


def _table(kind: Literal["json", "toml"]) -> Any:
    if kind == "json":
        return {}
    import tomlkit

    return tomlkit.table(is_super_table=True)


def _written(document: Any, kind: Literal["json", "toml"], before: bytes) -> bytes:
    mark = _MARK if before.startswith(_MARK) else b""
    if kind == "toml":
        import tomlkit

        return mark + tomlkit.dumps(document).encode()
    text = before.removeprefix(_MARK).decode()
    second = next((line for line in text.splitlines()[1:] if line.strip()), "  ")
    indent = second[: len(second) - len(second.lstrip())] or "  "
    return mark + json.dumps(document, indent=indent, ensure_ascii=False).encode() + b"\n"

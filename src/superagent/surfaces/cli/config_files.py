"""Configuration files of others: one entry set or taken out, all else as it was, and what was there kept."""

from __future__ import annotations

import contextlib
import difflib
import hashlib
import json
import os
import stat
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

from superagent.core.problems import Conflict, Unavailable

MOST_BYTES = 64 * 1024 * 1024
_MARK = b"\xef\xbb\xbf"
Entry = Mapping[str, Any] | None
Kind = Literal["json", "toml"]
Made = Literal["", "table", "file", "folder"]
"""What a change made around an entry: nothing, the table of servers, the whole file, its folder as well."""


class Unreadable(Exception):
    """This file cannot be changed without losing something of it; the text says why."""


@dataclass(frozen=True, slots=True)
class Edit:
    """A change to a file: its real path, what it holds now and what it would hold (None: it is not there).

    `makes` says what of its surroundings the change makes, to be taken away with the entry.
    """

    path: Path
    before: bytes | None
    after: bytes | None
    makes: Made = ""

    @property
    def same(self) -> bool:
        """Tell whether nothing changes."""
        return self.before == self.after

    @property
    def wrote(self) -> str:
        """Give the digest by which the next change knows this one's content again."""
        return digest(self.after)

    def diff(self) -> str:
        """Show the change."""
        before, after = (one.decode("utf-8", "replace").splitlines() for one in (self.before or b"", self.after or b""))
        name = str(self.path)
        return "\n".join(difflib.unified_diff(before, after, name, name, n=2, lineterm=""))

    def write(self, known: str = "", made: Made = "") -> str:
        """Make the change; gives the path of the copy of what was there, empty for none.

        There is one copy, the newest: none of what we wrote ourselves (its digest is `known`), and none of what stands
        there again. The file keeps its mode; a new one is its owner's alone. Raises `Conflict` when it was changed
        meanwhile.
        """
        self.path.parent.mkdir(exist_ok=True)
        copy, fresh, spare = _copy_of(self.path), "", ""
        try:
            if self.before is not None and digest(self.before) != known:
                spare = self._beside(self.before, 0o600)
            if self.after is not None:
                mode = 0o600 if self.before is None else stat.S_IMODE(os.lstat(self.path).st_mode)
                fresh = self._beside(self.after, mode)
            if read(self.path) != self.before:  # the program itself may have written it just now
                raise Conflict(f"`{self.path}` was changed meanwhile", hint="end the program, then try again")
            if spare:
                os.replace(spare, copy)
            if fresh:
                os.replace(fresh, self.path)
            elif self.before is not None:
                os.unlink(self.path)
        except BaseException:
            for path in (fresh, spare):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(path)
            raise
        if made == "folder" and self.after is None:
            with contextlib.suppress(OSError):  # others put something there
                self.path.parent.rmdir()
        if self.after is not None and _kept(self.path) == self.after:
            copy.unlink()
            return ""
        return str(copy) if spare else ""

    def _beside(self, data: bytes, mode: int) -> str:
        """Write a file beside the one that changes, down to the disk; gives its path."""
        descriptor, path = tempfile.mkstemp(dir=self.path.parent, prefix=f".{self.path.name}.")
        with open(descriptor, "wb") as file:
            os.fchmod(descriptor, mode)
            file.write(data)
            file.flush()
            os.fsync(descriptor)
        return path


def digest(data: bytes | None) -> str:
    """Give the digest of what a file holds; empty for none."""
    return "" if data is None else hashlib.sha256(data).hexdigest()


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


def entry_in(path: Path, kind: Kind, at: str, name: str) -> Entry:
    """Give a server's entry as it stands in a file, None for none. Raises `Unreadable`."""
    data = read(Path(os.path.realpath(path)))
    servers = _parsed(data or b"", kind).get(at)
    found = cast("dict[str, Any]", servers).get(name) if isinstance(servers, dict) else None
    return None if found is None else cast(Entry, json.loads(json.dumps(found)))


def with_entry(path: Path, kind: Kind, at: str, name: str, entry: Mapping[str, Any]) -> Edit:
    """Give the change that sets a server's entry. Raises `Unreadable`.

    A link is followed: the file it leads to is the one that changes.
    """
    real, before, document, servers = _opened(path, kind, at)
    makes: Made = ""
    if servers is None:
        servers = document[at] = _table(kind)
        makes = "table" if before is not None else "file" if real.parent.exists() else "folder"
    servers[name] = dict(entry)
    return Edit(real, before, _written(document, kind, before or b""), makes)


def without_entry(path: Path, kind: Kind, at: str, name: str, known: str = "", made: Made = "") -> Edit:
    """Give the change that takes a server's entry out, and with it what was `made` for it and is empty now.

    What nobody changed since we wrote it (its digest is `known`) becomes what it was before, to the byte. Raises
    `Unreadable`.
    """
    real, before, document, servers = _opened(path, kind, at)
    if servers is None or name not in servers:
        return Edit(real, before, before)
    del servers[name]
    if made and not servers:
        del document[at]
        if not document and made != "table":
            return Edit(real, before, None)
    after = _written(document, kind, before or b"")
    copy = _kept(real) if digest(before) == known else None
    with contextlib.suppress(Unreadable):
        if copy is not None and _parsed(copy, kind) == _parsed(after, kind):
            after = copy
    return Edit(real, before, after)


# ---- inside


def _opened(path: Path, kind: Kind, at: str) -> tuple[Path, bytes | None, Any, Any]:
    """Give a file's real path, what it holds, that as a document, and the servers in it, None for none."""
    real = Path(os.path.realpath(path))
    before = read(real)
    document: Any = _parsed(before or b"", kind)
    servers: Any = document.get(at)
    if servers is not None and not isinstance(servers, dict):
        raise Unreadable(f"`{at}` in it holds no servers")
    return real, before, document, cast(Any, servers)


def _copy_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.before-superagent")


def _kept(path: Path) -> bytes | None:
    """Give the copy of what was there before us, None where there is none that can be read."""
    try:
        return read(_copy_of(path))
    except Unavailable:
        return None


def _parsed(data: bytes, kind: Kind) -> Any:
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


def _table(kind: Kind) -> Any:
    if kind == "json":
        return {}
    import tomlkit

    return tomlkit.table(is_super_table=True)


def _written(document: Any, kind: Kind, before: bytes) -> bytes:
    mark = _MARK if before.startswith(_MARK) else b""
    if kind == "toml":
        import tomlkit

        return mark + tomlkit.dumps(document).encode()
    text = before.removeprefix(_MARK).decode()
    second = next((line for line in text.splitlines()[1:] if line.strip()), "  ")
    indent = second[: len(second) - len(second.lstrip())] or "  "
    return mark + json.dumps(document, indent=indent, ensure_ascii=False).encode() + b"\n"

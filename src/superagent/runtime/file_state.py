"""What stands at a path, described and kept so that it can be put back: a file, a link, a whole tree, or nothing.

Kept are content, mode, owner, times, extended attributes, link targets, and hard links within a tree. Not kept: hard
links to names outside the tree, the time of the last status change, sockets and devices (refused before the effect).
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, NotRequired, Protocol, TypedDict, cast

from superagent.core.problems import Conflict, TooLarge
from superagent.runtime.beneath import At, kind_of, look
from superagent.runtime.os_problems import printable
from superagent.runtime.protected import Inode, Protected, inode_of
from superagent.runtime.tree_walk import Entry, walk

Tick = Callable[[], None]
Kind = Literal["absent", "file", "link", "directory", "fifo"]
_CHUNK = 1024 * 1024
_MOST_READ = 4 << 30


class Sink(Protocol):
    """Where content goes; it is durable when `put` returns."""

    def put(self, source: int | bytes) -> str:
        """Keep bytes, or all that a descriptor gives from where it stands; give the SHA-256 in hex."""
        ...


class Source(Protocol):
    """Where content comes from."""

    def open(self, digest: str) -> int:
        """Give a descriptor at the beginning of the content; the caller closes it."""
        ...


class Node(TypedDict):
    """One thing, as JSON; times in nanoseconds, `target` and the values of `attributes` in base64.

    A directory's `manifest` is the digest of lines `[depth, name, node]`, parents first. `same_as` is the path, within
    the tree, of the earlier name of the same file.
    """

    kind: Kind
    mode: NotRequired[int]
    uid: NotRequired[int]
    gid: NotRequired[int]
    mtime_ns: NotRequired[int]
    atime_ns: NotRequired[int]
    attributes: NotRequired[dict[str, str]]
    content: NotRequired[str]
    target: NotRequired[str]
    same_as: NotRequired[str]
    manifest: NotRequired[str]


class Captured(TypedDict):
    """What stood at a path, and the times of the directory that held it."""

    node: Node
    parent_mtime_ns: int
    parent_atime_ns: int


@dataclass(frozen=True, slots=True)
class Quota:
    """How much one capture may keep."""

    max_bytes: int = 1 << 30
    max_entries: int = 100_000


@dataclass(frozen=True, slots=True)
class Kept:
    """A capture with the digest of the state it describes and the bytes of content it keeps."""

    captured: Captured
    digest: str
    bytes: int


def capture(dir_fd: int, name: str, sink: Sink, quota: Quota | None = None) -> Kept:
    """Keep what stands at a name so that `restore` can put it back; durable on return.

    Raises `TooLarge` when it is more than the quota, `Conflict` for what cannot be kept, `OSError`.
    """
    parent = os.stat(".", dir_fd=dir_fd)
    pot = _Pot(sink, quota or Quota(), {}, hashlib.sha256())
    lines: list[str] = []
    top: Node = {"kind": "absent"}
    for entry in _tree(dir_fd, name):
        node = pot.keep(entry)
        if entry.depth:
            # `ensure_ascii` carries names that are not UTF-8 as lone surrogates through JSON and back
            lines.append(json.dumps([entry.depth, entry.name, node], separators=(",", ":")))
        else:
            top = node
    if top["kind"] == "directory":
        manifest = "\n".join(lines).encode()
        pot.bytes += len(manifest)
        top["manifest"] = sink.put(manifest)
    captured: Captured = {
        "node": top,
        "parent_mtime_ns": parent.st_mtime_ns,
        "parent_atime_ns": parent.st_atime_ns,
    }
    return Kept(captured, pot.state.hexdigest(), pot.bytes)


def _on() -> None:
    """Let it take as long as it takes."""


def digest(dir_fd: int, name: str, tick: Tick = _on) -> str:
    """Name the state of what stands at a name by SHA-256 over kinds, modes, content, link targets and inner names.

    Owner, times and attributes do not count, nor the name itself. Once 4 GiB have been read, a file counts by size,
    time and inode: a file of holes costs nothing to make and would take days to read. `tick` is called on the way and
    may end it.
    """
    state = hashlib.sha256()
    left = _MOST_READ
    for entry in _tree(dir_fd, name):
        tick()
        content = ""
        if kind_of(entry.stat.st_mode) == "file":
            left -= entry.stat.st_size
            content = (
                _content_of(entry, tick)
                if left >= 0
                else f"{entry.stat.st_size} {entry.stat.st_mtime_ns} {entry.stat.st_ino}"
            )
        _tell(state, entry, content)
    return state.hexdigest()


def read_manifest(manifest: str, source: Source) -> Iterator[tuple[int, str, Node]]:
    """Give depth (from 1), name and node of each thing in a kept directory, parents first."""
    with open(source.open(manifest), encoding="utf-8") as lines:
        for line in lines:
            depth, name, node = json.loads(line)
            yield depth, name, node


class _Hash(Protocol):
    """A hash under way; `hashlib` names no public type for it."""

    def update(self, data: bytes, /) -> None: ...

    def hexdigest(self) -> str: ...


@dataclass(slots=True)
class _Pot:
    """What a capture has gathered so far."""

    sink: Sink
    quota: Quota
    seen: dict[Inode, str]  # files with several names, by the path of the first one met
    state: _Hash
    bytes: int = 0
    entries: int = 0
    skip: int = 0  # length of the start's own path

    def keep(self, entry: Entry) -> Node:
        """Describe one thing and keep its content."""
        kind = kind_of(entry.stat.st_mode)
        if kind in ("socket", "device"):
            raise Conflict(f"`{printable(entry.name)}` is a {kind}, which cannot be kept for undo")
        self.entries += 1
        if not entry.depth:
            self.skip = len(entry.path) + 1
        node: Node = {
            "kind": cast(Kind, kind),
            "mode": stat.S_IMODE(entry.stat.st_mode),
            "uid": entry.stat.st_uid,
            "gid": entry.stat.st_gid,
            "mtime_ns": entry.stat.st_mtime_ns,
            "atime_ns": entry.stat.st_atime_ns,
        }
        if attributes := attributes_of(entry.dir_fd, entry.name):
            node["attributes"] = attributes
        if kind == "link":
            node["target"] = base64.b64encode(os.fsencode(_target(entry))).decode()
        elif kind == "file":
            self._keep_content(entry, node)
        self._within_quota()
        _tell(self.state, entry, node.get("content", ""))
        return node

    def _keep_content(self, entry: Entry, node: Node) -> None:
        first = self.seen.get(inode_of(entry.stat))
        if first is not None:
            node["same_as"] = first
        elif entry.stat.st_nlink > 1:
            self.seen[inode_of(entry.stat)] = entry.path[self.skip :]
        self.bytes += entry.stat.st_size
        self._within_quota()  # before the bytes are copied, not after
        fd = entry.open()
        try:
            node["content"] = self.sink.put(fd)
        finally:
            os.close(fd)

    def _within_quota(self) -> None:
        if self.bytes > self.quota.max_bytes or self.entries > self.quota.max_entries:
            raise TooLarge(
                f"more than {self.quota.max_bytes} bytes or {self.quota.max_entries} entries would have to be kept",
                hint="change less at once, drop views that wait (`sandbox.discard`) and ended jobs (`jobs.forget`), "
                "wait until older entries of the undo store expire, or have the quota raised",
            )


def attributes_of(dir_fd: int, name: str) -> dict[str, str]:
    """Give the extended attributes (access lists among them) in base64; empty where the system has none."""
    path = f"/proc/self/fd/{dir_fd}/{name}"  # the calls take no descriptor of a directory beside the name
    try:
        names = os.listxattr(path, follow_symlinks=False)
        found = {one: os.getxattr(path, one, follow_symlinks=False) for one in names}
    except (OSError, AttributeError):
        return {}
    return {one: base64.b64encode(value).decode() for one, value in found.items()}


def _tree(dir_fd: int, name: str) -> Iterator[Entry]:
    """Give what stands at a name and all beneath it; nothing when it is absent."""
    info = look(dir_fd, name)
    if info is None:
        return iter(())
    at = At(dir_fd, name, name, name, info, Protected(), owned=False)
    return walk(at, lambda path, is_dir: True, itself=True)


def _tell(state: _Hash, entry: Entry, content: str) -> None:
    kind = kind_of(entry.stat.st_mode)
    mode = 0 if kind == "link" else stat.S_IMODE(entry.stat.st_mode)
    name = entry.name if entry.depth else ""
    extra = _target(entry) if kind == "link" else content
    for part in (str(entry.depth), name, kind, str(mode), extra):
        data = os.fsencode(part)
        state.update(b"%d:" % len(data) + data)


def _target(entry: Entry) -> str:
    return os.readlink(entry.name, dir_fd=entry.dir_fd)


def _content_of(entry: Entry, tick: Tick) -> str:
    fd = entry.open()
    try:
        return content_digest(fd, tick)
    finally:
        os.close(fd)


def content_digest(fd: int, tick: Tick = _on) -> str:
    """Give the SHA-256 in hex of all that a descriptor gives from where it stands."""
    state = hashlib.sha256()
    while chunk := os.read(fd, _CHUNK):
        tick()
        state.update(chunk)
    return state.hexdigest()

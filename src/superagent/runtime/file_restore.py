"""Putting back what `file_state` kept: built beside, synced, put in place in one step; safe to repeat after a crash."""

from __future__ import annotations

import base64
import contextlib
import errno
import hashlib
import os
import secrets
from dataclasses import dataclass

from superagent.runtime.beneath import At, look, open_directory
from superagent.runtime.file_state import Captured, Node, Source, read_manifest
from superagent.runtime.link_walk import locate
from superagent.runtime.protected import Inode, Protected, inode_of
from superagent.runtime.system_calls import O_PATH, exchange, sync_filesystem
from superagent.runtime.tree_walk import Cursor, walk

_CHUNK = 1024 * 1024
_NO_EXCHANGE = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP)


def parent_mtime_ns(dir_fd: int) -> int:
    """Give the time of the directory's last change; note it right after an effect for `restore`."""
    return os.stat(".", dir_fd=dir_fd).st_mtime_ns


def restore(dir_fd: int, name: str, captured: Captured, source: Source, *, parent_after_ns: int | None = None) -> None:
    """Make a name again what was captured, whatever stands there now.

    Nobody ever sees half of it: it is built under another name and moved in place in one step. A crash leaves either
    state and perhaps a hidden leftover, which the next call for the same name removes. The directory's time is put back
    too if it is still the one noted right after the change (`parent_after_ns`), that is, if nobody changed it since.
    """
    own = os.stat(".", dir_fd=dir_fd).st_mtime_ns in (parent_after_ns, captured["parent_mtime_ns"])
    aside = f".superagent-undo-{hashlib.sha256(os.fsencode(name)).hexdigest()[:12]}-"
    _sweep(dir_fd, aside)
    fresh = aside + secrets.token_hex(8)
    if captured["node"]["kind"] == "absent":
        with contextlib.suppress(FileNotFoundError):
            os.rename(name, fresh, src_dir_fd=dir_fd, dst_dir_fd=dir_fd)
    else:
        _build(dir_fd, fresh, captured["node"], source)
        _put_in_place(dir_fd, fresh, name, aside)
    _sync(dir_fd)
    remove(dir_fd, fresh)
    if own:
        with contextlib.suppress(PermissionError):  # only the directory's owner may
            os.utime(".", ns=(captured["parent_atime_ns"], captured["parent_mtime_ns"]), dir_fd=dir_fd)


def remove(dir_fd: int, name: str) -> None:
    """Remove what stands at a name and all beneath it, whatever its mode; nothing there is fine."""
    info = look(dir_fd, name)
    if info is None:
        return
    at = At(dir_fd, name, name, name, info, Protected(), owned=False)
    for entry in walk(at, lambda path, is_dir: True, itself=True, leaving=True):
        if not entry.is_dir:
            os.unlink(entry.name, dir_fd=entry.dir_fd)
        elif entry.leaving:
            os.rmdir(entry.name, dir_fd=entry.dir_fd)
        elif entry.stat.st_mode & 0o700 != 0o700:
            _set_mode(entry.dir_fd, entry.name, 0o700)  # else an ordinary user could not empty it


def _put_in_place(dir_fd: int, fresh: str, name: str, aside: str) -> None:
    """Let `fresh` take the name; what stood there is then under a name that begins with `aside`, or gone."""
    try:
        os.rename(fresh, name, src_dir_fd=dir_fd, dst_dir_fd=dir_fd)
        return
    except OSError as error:
        if error.errno not in (errno.EISDIR, errno.ENOTDIR, errno.ENOTEMPTY, errno.EEXIST):
            raise
    try:
        exchange(dir_fd, fresh, name)
    except OSError as error:
        if error.errno not in _NO_EXCHANGE:
            raise
        # this filesystem cannot swap: for a moment the name is missing, and after a crash then the next call ends it
        old = aside + secrets.token_hex(8)
        os.rename(name, old, src_dir_fd=dir_fd, dst_dir_fd=dir_fd)
        os.rename(fresh, name, src_dir_fd=dir_fd, dst_dir_fd=dir_fd)
        remove(dir_fd, old)


def _build(dir_fd: int, name: str, node: Node, source: Source) -> None:
    if node["kind"] != "directory":
        _make(dir_fd, name, node, source)
        return
    os.mkdir(name, 0o700, dir_fd=dir_fd)
    with _Site(Cursor(open_directory(dir_fd, name)), [node], {}, open_directory(dir_fd, name)) as site:
        for depth, inner, kept in read_manifest(node["manifest"], source) if "manifest" in node else ():
            site.add(depth, inner, kept, source)
        site.finish()


@dataclass(slots=True)
class _Site:
    """A tree under construction: where we stand, the directories not finished yet, the files with several names."""

    cursor: Cursor
    unfinished: list[Node]
    made: dict[str, Inode]
    top: int
    path: str = ""

    def add(self, depth: int, name: str, node: Node, source: Source) -> None:
        """Make the next thing of the manifest."""
        while len(self.unfinished) > depth:
            self._leave()
        here = f"{self.path}/{name}" if self.path else name
        if node["kind"] == "directory":
            os.mkdir(name, 0o700, dir_fd=self.cursor.fd)
            self.cursor.down(name)
            self.unfinished.append(node)
            self.path = here
        elif "same_as" not in node or not self._link(node["same_as"], name):
            self.made[here] = _make(self.cursor.fd, name, node, source)

    def finish(self) -> None:
        """Give every directory its mode and times, and put all on disk."""
        while len(self.unfinished) > 1:
            self._leave()
        _dress(self.cursor.fd, self.unfinished.pop())
        sync_filesystem(self.top)

    def _leave(self) -> None:
        fd = os.dup(self.cursor.fd)
        try:
            self.cursor.up()  # before the mode is set: it may forbid it
            _dress(fd, self.unfinished.pop())
        finally:
            os.close(fd)
        self.path = self.path.rpartition("/")[0]

    def _link(self, first: str, name: str) -> bool:
        """Give a file a second name, if the first is still the file that was made under it."""
        fd, leaf = locate(self.top, "", first, follow=False)
        try:
            info = look(fd, leaf)
            if info is None or inode_of(info) != self.made.get(first):
                return False
            os.link(leaf, name, src_dir_fd=fd, dst_dir_fd=self.cursor.fd, follow_symlinks=False)
            return True
        finally:
            os.close(fd)

    def __enter__(self) -> _Site:
        return self

    def __exit__(self, *_: object) -> None:
        self.cursor.close()
        os.close(self.top)


def _make(dir_fd: int, name: str, node: Node, source: Source) -> Inode:
    """Make a file, link or FIFO under a name that is free."""
    if node["kind"] == "link":
        os.symlink(base64.b64decode(node.get("target", "")), os.fsencode(name), dir_fd=dir_fd)
        if os.geteuid() == 0:
            os.chown(name, node.get("uid", -1), node.get("gid", -1), dir_fd=dir_fd, follow_symlinks=False)
    elif node["kind"] == "fifo":
        os.mkfifo(name, 0o600, dir_fd=dir_fd)
        if os.geteuid() == 0:
            os.chown(name, node.get("uid", -1), node.get("gid", -1), dir_fd=dir_fd, follow_symlinks=False)
        _set_mode(dir_fd, name, node.get("mode", 0o600))
    else:
        _make_file(dir_fd, name, node, source)
    os.utime(name, ns=_times(node), dir_fd=dir_fd, follow_symlinks=False)
    return inode_of(os.stat(name, dir_fd=dir_fd, follow_symlinks=False))


def _make_file(dir_fd: int, name: str, node: Node, source: Source) -> None:
    fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=dir_fd)
    try:
        content = source.open(node.get("content", ""))
        try:
            while chunk := os.read(content, _CHUNK):
                write_all(fd, chunk)
        finally:
            os.close(content)
        _dress(fd, node)
        os.fsync(fd)
    finally:
        os.close(fd)


def _dress(fd: int, node: Node) -> None:
    """Give what is open its owner, mode, attributes and times, in the order in which none undoes another."""
    mode = node.get("mode", 0o600)
    if os.geteuid() == 0:
        os.fchown(fd, node.get("uid", -1), node.get("gid", -1))
    elif node.get("uid") != os.geteuid():
        mode &= 0o1777  # what was somebody else's program must not come back as one that runs as this server
    os.fchmod(fd, mode)
    for attribute, value in node.get("attributes", {}).items():
        with contextlib.suppress(OSError):  # some belong to the system alone
            os.setxattr(fd, attribute, base64.b64decode(value))
    os.utime(fd, ns=_times(node))


def _times(node: Node) -> tuple[int, int]:
    return node.get("atime_ns", 0), node.get("mtime_ns", 0)


def _set_mode(dir_fd: int, name: str, mode: int) -> None:
    """Change the mode of the thing itself: `chmod` by name would follow a link that took the name meanwhile."""
    fd = os.open(name, O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=dir_fd)
    try:
        os.chmod(f"/proc/self/fd/{fd}", mode)
    finally:
        os.close(fd)


def _sweep(dir_fd: int, prefix: str) -> None:
    """Remove what a crash left of an earlier attempt for the same name."""
    fd = open_directory(dir_fd, ".")
    try:
        leftovers = [name for name in os.listdir(fd) if name.startswith(prefix)]
    finally:
        os.close(fd)
    for name in leftovers:
        remove(dir_fd, name)


def _sync(dir_fd: int) -> None:
    fd = open_directory(dir_fd, ".")
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def write_all(fd: int, data: bytes) -> None:
    """Write every byte, however many calls it takes."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]

"""The keeper of paths: how the line keeps, names and puts back what stands at a path on this machine."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any, Protocol, cast

from superagent.core.context import Context
from superagent.core.line_diff import unified
from superagent.core.neutral import neutral_line
from superagent.core.problems import Denied, NotFound
from superagent.core.resources import Effect, Resource
from superagent.runtime.beneath import At, kind_of
from superagent.runtime.file_restore import parent_mtime_ns, restore
from superagent.runtime.file_state import Captured, Node, Quota, Sink, Source, capture, digest, read_manifest
from superagent.runtime.files_reach import FilesReach, in_time
from superagent.runtime.os_problems import os_errors_about, printable
from superagent.runtime.protected import Protected
from superagent.runtime.reserve import Reserve
from superagent.runtime.tree_walk import walk

_SHOWN_BYTES = 256 * 1024
_SHOWN_LINES = 2000
_ABSENT = hashlib.sha256().hexdigest()


MOST_COMPARED = 10_000  # lines: comparing takes time that grows faster than they do


Room = Callable[[str, Sequence[str]], Awaitable[int]]
"""Takes a tenant and who acts in it, on whose behalf; gives the bytes that may still be kept."""


class Store(Sink, Source, Protocol):
    """Where kept content lies."""


class Owners(Protocol):
    """Whose the files in a tenant's workspaces are."""

    async def of(self, tenant: str) -> int | None:
        """Give the tenant's own user on this machine, None where everything is this server's."""
        ...

    def settle(self, tenant: str, at: At, user: int) -> None:
        """Give what stands at a place, and all beneath it, to that user if it lies in a workspace of the tenant."""
        ...


class PathKeeper:
    """Keeps files, links and trees; a path is taken as it stands, so a link is the link itself.

    An operation that writes through a link names the real path to `ctx.changing`.
    """

    def __init__(
        self,
        store: Store,
        quota: Quota | None = None,
        room: Room | None = None,
        owners: Owners | None = None,
        reserve: Reserve | None = None,
    ) -> None:
        self._store = store
        self._quota = quota or Quota()
        self._room = room
        self._owners = owners
        self._reserve = reserve

    async def keep(self, ctx: Context, resource: Resource) -> tuple[dict[str, Any], str, int]:
        """Keep what stands there durably: (data, digest, bytes kept).

        Raises `TooLarge`, and for what adds to a disk that is nearly full `Unavailable`; taking back still goes on.
        """
        adds = resource.effect is Effect.CHANGE and ctx.judged is ctx.operation
        reserve = self._reserve if adds else None
        quota = self._quota
        if self._room is not None:  # what there is no room for is not even copied
            room = await self._room(ctx.tenant, ctx.principal.charged)
            quota = Quota(min(quota.max_bytes, room), quota.max_entries)

        def work() -> tuple[dict[str, Any], str, int]:
            if reserve is not None:
                reserve.require()
            with _place(ctx, resource) as at, os_errors_about(resource.path):
                if reserve is not None and ctx.principal.shares:  # an owner may fill small disks
                    reserve.require(place=at.dir_fd)
                kept = capture(at.dir_fd, at.name, self._store, quota)
            return {"captured": kept.captured}, kept.digest, kept.bytes

        return await ctx.thread(work)

    async def digest(self, ctx: Context, resource: Resource) -> str:
        """Name the present state; what lies in a directory that is gone is absent."""

        def work() -> str:
            try:
                with _place(ctx, resource) as at, os_errors_about(resource.path):
                    return digest(at.dir_fd, at.name, in_time(ctx))
            except NotFound:
                return _ABSENT

        return await ctx.thread(work)

    async def settle(
        self, ctx: Context, resource: Resource, data: dict[str, Any], after: str | None
    ) -> tuple[str, dict[str, Any]]:
        """Name the state that was left, and give what was made in a workspace to its tenant.

        The data also tells the time that the directory has right after that.
        """
        owners = self._owners
        user = await owners.of(ctx.tenant) if owners is not None else None

        def work() -> tuple[str, dict[str, Any]]:
            left = after
            try:
                with _place(ctx, resource) as at, os_errors_about(resource.path):
                    left = left or digest(at.dir_fd, at.name, in_time(ctx))
                    if owners is not None and user is not None:
                        owners.settle(ctx.tenant, at, user)
                    return left, data | {"parent_after_ns": parent_mtime_ns(at.dir_fd)}
            except NotFound:
                return left or _ABSENT, data

        return await ctx.thread(work)

    async def put_back(self, ctx: Context, resource: Resource, data: dict[str, Any]) -> None:
        """Make the path again what `keep` saw; safe to repeat."""

        def work() -> None:
            with _place(ctx, resource) as at, os_errors_about(resource.path, "unknown"):
                self._require_whole(ctx, at, resource, data)
                restore(
                    at.dir_fd,
                    at.name,
                    cast(Captured, data["captured"]),
                    self._store,
                    parent_after_ns=data.get("parent_after_ns"),
                )

        await ctx.thread(work)

    async def preview(self, ctx: Context, resource: Resource, data: dict[str, Any]) -> str:
        """Show as a unified diff what `put_back` would do: of text, else of what stands there."""

        def work() -> str:
            with _place(ctx, resource) as at, os_errors_about(resource.path):
                self._require_whole(ctx, at, resource, data)

                def may(inner: str) -> bool:
                    return ctx.may_path(at.real + inner)  # what may be changed and not read is not named

                before = _shown_now(at, may)
                after = _shown_kept(cast(Captured, data["captured"])["node"], self._store, may)
            name = neutral_line(printable(resource.path))
            if len(before) + len(after) > MOST_COMPARED:
                return f"{name}: {len(before)} lines now, {len(after)} lines after; too many to compare\n"
            return unified(before, after, name, name, most_lines=MOST_COMPARED)

        return await ctx.thread(work)

    def _require_whole(self, ctx: Context, at: At, resource: Resource, data: dict[str, Any]) -> None:
        """Go on only if the caller may change all that stands there and all that would: trees are judged whole."""
        if at.is_dir:
            cast(FilesReach, ctx.files).require_whole(at, resource.effect)
        node = cast(Captured, data["captured"])["node"]

        def parts() -> Iterator[Resource]:
            trail: list[str] = []
            for depth, name, inner in read_manifest(node["manifest"], self._store) if "manifest" in node else ():
                trail[depth - 1 :] = [name]
                path = f"{at.real}/{'/'.join(trail)}"
                one = Resource("path", "local", path, resource.effect, inner["kind"] == "directory")
                if not (ctx.may(one) or ctx.may_ask(one)):
                    raise Denied(
                        f"what was kept of `{printable(at.path)}` holds something that this call may not change",
                        hint="somebody who may change all of it can take it back",
                    )
                yield one

        ctx.require_each(parts())


def _place(ctx: Context, resource: Resource) -> At:
    files = cast(FilesReach, ctx.files)
    return files.at(resource.path, effect=resource.effect, follow=False, folder=resource.folder)


def _shown_now(at: At, may: Callable[[str], bool]) -> list[str]:
    if at.stat is None:
        return []
    if stat.S_ISREG(at.stat.st_mode) and at.stat.st_size <= _SHOWN_BYTES:
        return _lines(at.open(), at.stat.st_mode)
    if not at.is_dir:
        return [_line("", kind_of(at.stat.st_mode), at.stat.st_mode, at.stat.st_mtime_ns)]
    bare = At(at.dir_fd, at.name, at.path, "", at.stat, Protected(), owned=False)
    entries = walk(bare, lambda path, is_dir: may(path))
    found = (_line(one.path, kind_of(one.stat.st_mode), one.stat.st_mode, one.stat.st_mtime_ns) for one in entries)
    return _some(found)


def _shown_kept(node: Node, source: Source, may: Callable[[str], bool]) -> list[str]:
    if node["kind"] == "absent":
        return []
    mode = node.get("mode", 0)
    if "content" in node:
        fd = source.open(node["content"])
        if os.fstat(fd).st_size <= _SHOWN_BYTES:
            return _lines(fd, mode)
        os.close(fd)
    if "manifest" not in node:
        return [_line("", node["kind"], mode, node.get("mtime_ns", 0))]
    return _some(_manifest_lines(node["manifest"], source, may))


def _manifest_lines(manifest: str, source: Source, may: Callable[[str], bool]) -> Iterator[str]:
    trail: list[str] = []
    for depth, name, node in read_manifest(manifest, source):
        trail[depth - 1 :] = [name]
        inner = "/" + "/".join(trail)
        if may(inner):
            yield _line(inner, node["kind"], node.get("mode", 0), node.get("mtime_ns", 0))


def _lines(fd: int, mode: int) -> list[str]:
    with open(fd, "rb") as file:
        data = file.read(_SHOWN_BYTES)
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return [_line("", f"{len(data)} bytes, SHA-256 {hashlib.sha256(data).hexdigest()}", mode, 0)]
    lines = text.splitlines(keepends=True)
    if lines and not lines[-1].endswith("\n"):
        lines[-1] += "\n\\ No newline at end of file\n"
    return lines


def _line(path: str, what: str, mode: int, mtime_ns: int) -> str:
    return f"{printable(path) or '.'} {what} {stat.S_IMODE(mode):04o} {mtime_ns}\n"


def _some(lines: Iterator[str]) -> list[str]:
    shown: list[str] = []
    for line in lines:
        if len(shown) == _SHOWN_LINES:
            return [*shown, "… and more\n"]
        shown.append(line)
    return shown

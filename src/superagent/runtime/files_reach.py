"""The capability `files`: places beneath the roots that policy grants, judged by the context of the one call."""

from __future__ import annotations

import posixpath
import stat
import time
from collections.abc import Callable, Hashable, Iterator
from contextlib import AbstractContextManager

from superagent.core.context import Context
from superagent.core.problems import Changed, Deadline, Denied, NotFound
from superagent.core.resources import Effect, Resource
from superagent.runtime import file_moment
from superagent.runtime.beneath import At, Root, Roots, look, resolve
from superagent.runtime.file_restore import remove
from superagent.runtime.os_problems import os_errors_about, printable
from superagent.runtime.protected import Protected, built_beside, inode_of
from superagent.runtime.tree_walk import Cursor, Entry, Skipped, walk
from superagent.runtime.whole_files import WholeFiles

SAME_S = 1.0
"""How long a call goes on in a root that it has opened before it looks whether another took its place, seconds."""


class FilesReach(WholeFiles):
    """Files beneath the granted roots of one call. The methods block: use them in `ctx.thread`, or `beneath`."""

    __slots__ = ("_ctx", "_opened", "_protected", "_roots")

    def __init__(self, ctx: Context, roots: Roots, protected: Protected) -> None:
        self._ctx = ctx
        self._roots = roots
        self._protected = protected
        self._opened: dict[str, tuple[Root, float]] = {}

    async def beneath(self, path: str, *, effect: Effect = Effect.READ, follow: bool = True) -> At:
        """Open the place of a path below its granted root; its real path is judged again. Raises `NotFound`."""
        return await self._ctx.thread(lambda: self.at(path, effect=effect, follow=follow))

    def at(self, path: str, *, effect: Effect = Effect.READ, follow: bool = True, folder: bool = False) -> At:
        """Open the place of a canonical path, in this thread; `folder` says that it is to become one."""
        changing = effect > Effect.READ
        root = self._ctx.root_of(path)
        if path == root != "/" and (changing or not self._is_dir(root)):
            root = posixpath.dirname(root)  # the granted thing itself is changed in, or is a file of, its directory

        def judge(real: str) -> None:
            self._ctx.require(Resource("path", "local", real, effect, folder=True))  # whether it is one, shows next

        opened = self._root(root)
        relative = path[len(root.rstrip("/")) + 1 :]
        at = resolve(opened, relative, judge=judge, protected=self._protected, follow=follow, changing=changing)
        if changing and not (folder or at.is_dir):
            try:
                self._ctx.require(Resource("path", "local", at.real, effect))
            except BaseException:
                at.close()
                raise
        return at

    def walk(
        self,
        at: At,
        *,
        effect: Effect = Effect.READ,
        max_depth: int | None = None,
        max_entries: int | None = None,
        leaving: bool = False,
        itself: bool = False,
        hidden: bool = True,
        skipped: Skipped | None = None,
    ) -> Iterator[Entry]:
        """Give what lies beneath a place, without what this call may not use; see `tree_walk.walk`.

        Without `hidden`, names that begin with a dot are left out with all they hold.
        """

        tick = in_time(self._ctx)

        def may(path: str, is_dir: bool) -> bool:
            tick()
            if effect == Effect.READ and built_beside(path):
                return False
            return (hidden or "/." not in path[path.rindex("/") :]) and self._ctx.may_path(path, effect)

        return walk(
            at,
            may,
            max_depth=max_depth,
            max_entries=max_entries,
            leaving=leaving,
            itself=itself,
            skipped=skipped,
        )

    def require_whole(self, at: At, effect: Effect) -> None:
        """Go on only if all that lies beneath a place may be used so: a change of a whole tree must not hit more.

        Raises `Denied` without saying what else lies there, and as `ctx.require_each` does for what people may allow.
        """
        closed = self._protected.inodes | self._protected.carve_outs.keys()
        bare = At(at.dir_fd, at.name, at.path, at.real, at.stat, Protected(), owned=False)
        tick = in_time(self._ctx)

        def asking() -> Iterator[Resource]:
            for entry in walk(bare, lambda path, is_dir: True):
                tick()
                one = Resource("path", "local", entry.path, effect, entry.is_dir)
                if inode_of(entry.stat) in closed or not (self._ctx.may(one) or self._ctx.may_ask(one)):
                    raise Denied(
                        f"`{printable(at.path)}` holds something that this call may not change",
                        hint="name the parts that you may change",
                    )
                yield one

        self._ctx.require_each(asking())

    def require_placed(self, at: At, dir_fd: int, name: str) -> None:
        """Go on only if all that stands at a name beneath an open folder may come to stand at a place.

        For what is copied, moved or unpacked there: each part is judged by the name that it will have. Raises as
        `ctx.require_each` does.
        """
        info = look(dir_fd, name)
        if info is None or not stat.S_ISDIR(info.st_mode):
            return  # the place itself was judged by the name that was asked for
        there = At(dir_fd, name, at.path, at.real, info, Protected(), owned=False)
        tick = in_time(self._ctx)

        def parts() -> Iterator[Resource]:
            for entry in walk(there, lambda path, is_dir: True):
                tick()
                yield Resource("path", "local", entry.path, Effect.CHANGE, entry.is_dir)

        self._ctx.require_each(parts())

    def built(self, at: At, dir_fd: int, name: str) -> At:
        """Give what was built of a place, as that place: its parts are called as they were there. Not to be closed."""
        return At(dir_fd, name, at.path, at.real, look(dir_fd, name), self._protected, owned=False)

    def settled(self, at: At, fd: int) -> Hashable | None:
        """Give the state of a file that is open, to keep its answer by (`ctx.state`); None where it cannot be kept.

        Behind a link it cannot: `moment` looks at the path that was judged, and at nothing else.
        """
        return file_moment.settled(fd, self._ctx.now) if at.real == at.path else None

    def moment(self, path: str) -> Hashable | None:
        """Give the same of what stands at a path now; None for what is no file, or behind a link. It does not block."""
        return file_moment.at_path(path)

    def cursor(self, fd: int) -> Cursor:
        """Begin to move through a tree at an open directory, which the cursor closes."""
        return Cursor(fd)

    def remove(self, dir_fd: int, name: str) -> None:
        """Remove what stands at a name and all beneath it; nothing there is fine."""
        remove(dir_fd, name)

    def errors_about(self, path: str, changed: Changed = "nothing") -> AbstractContextManager[None]:
        """Turn each `OSError` of a block into the problem that says the same about this path."""
        return os_errors_about(path, changed)

    def _root(self, path: str) -> Root:
        """Give an open root; steps of one call that follow each other work in the same one, wherever it goes."""
        now = time.monotonic()
        root, until = self._opened.get(path, (None, 0.0))
        if root is None or now > until:
            root = self._roots.at(path)
            self._opened[path] = root, now + SAME_S
        return root

    def _is_dir(self, path: str) -> bool:
        try:
            self._root(path)
        except NotFound:
            return False
        return True


def in_time(ctx: Context) -> Callable[[], None]:
    """Give what ends a dry run in a thread, which cannot be stopped from outside, once its time is up.

    What changes something is not ended here: the same looking goes before a change and before it is put back.
    """
    deadline = ctx.invocation.deadline if ctx.invocation.call.dry_run else None

    def tick() -> None:
        if deadline is not None and time.monotonic() > deadline:  # the loop's own clock, and readable from a thread
            raise Deadline("this did not end in time", hint="begin further down, or give it more time")

    return tick

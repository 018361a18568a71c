"""A kernel with the files plugin and undo over a real folder: what the tests of the plugin stand on."""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from superagent.core.grants import Grant, Where
from superagent.core.invocation import Outcome, Status
from superagent.core.kernel import Kernel
from superagent.core.ports import Keeper
from superagent.core.principal import Principal
from superagent.core.problems import Problem
from superagent.features.undo import operations as undo
from superagent.plugins.files.operations import files
from superagent.runtime.beneath import Roots
from superagent.runtime.file_state import Quota
from superagent.runtime.files_reach import FilesReach
from superagent.runtime.kept_content import KeptContent
from superagent.runtime.path_keeper import PathKeeper
from superagent.runtime.protected import Protected
from superagent.testing import World, allow_all


def within(*paths: object, effect: str = "allow", operations: Iterable[str] = ("files.*",)) -> Grant:
    """Make a grant on files beneath some paths."""
    return Grant.model_validate(
        {
            "id": f"{effect}-{'-'.join(str(path) for path in paths)}",
            "effect": effect,
            "subject": "*",
            "operations": list(operations),
            "where": Where(paths=[str(path) for path in paths]),
        }
    )


UNDO = Grant(id="undo", effect="allow", subject="*", operations=["undo.*"])


class Ground:
    """A folder `top` to work in and, beside it, what was kept for undo."""

    def __init__(
        self,
        folder: Path,
        grants: list[Grant] | None = None,
        protected: Protected | None = None,
        quota: Quota | None = None,
    ) -> None:
        self.top = folder / "top"
        self.top.mkdir(exist_ok=True)
        roots = Roots()
        closed = protected or Protected()
        keepers: dict[str, Keeper] = {"path": PathKeeper(KeptContent(folder / "kept"), quota)}
        reach: dict[str, Callable[[Any], Any]] = {"files": lambda ctx: FilesReach(ctx, roots, closed)}
        granted = [*grants, UNDO] if grants else allow_all()
        self.world = World(files, grants=granted, keepers=keepers, capabilities=reach)
        plugin = undo.plugin(self.world.undo, self._undoer)
        registry = self.kernel.registry
        self.kernel.registry = type(registry)([*registry, *plugin.compile()])

    @property
    def kernel(self) -> Kernel:
        return self.world.kernel

    def _undoer(self, name: str, version: int) -> Callable[..., Any] | None:
        found = self.kernel.registry.find(name)
        return found.undo if found and version == found.version else None

    async def call(
        self, operation: str, *, by: Principal | None = None, dry_run: bool = False, **input: Any
    ) -> Outcome:
        """Take `files.<operation>` through the line; a name with a dot is taken whole."""
        name = operation if "." in operation else f"files.{operation}"
        outcome = await self.world.run(name, self._absolute(input), by=by, dry_run=dry_run)
        assert not self.world.faults, self.world.faults
        return outcome

    async def do(self, operation: str, **input: Any) -> Any:
        """Take a call that must succeed and give its output."""
        outcome = await self.call(operation, **input)
        assert outcome.problem is None, outcome.problem
        assert outcome.status is Status.DONE
        return outcome.result()

    async def preview(self, operation: str, **input: Any) -> Any:
        """Take a dry run that must succeed, and give what it would do; it must change nothing."""
        before = look_at(self.top)
        outcome = await self.call(operation, dry_run=True, **input)
        assert outcome.problem is None, outcome.problem
        assert look_at(self.top) == before
        return outcome.result()

    async def refused(self, operation: str, **input: Any) -> Problem:
        """Take a call that must be refused and change nothing, and give its problem."""
        before = look_at(self.top)
        outcome = await self.call(operation, **input)
        assert outcome.problem is not None, outcome.result()
        assert outcome.problem.changed == "nothing"
        assert look_at(self.top) == before
        return outcome.problem

    async def undone(self, operation: str, **input: Any) -> Any:
        """Take a call that must succeed, and take it back: the tree must be the identical one; give the output."""
        before = look_at(self.top, times=True)
        outcome = await self.call(operation, **input)
        assert outcome.problem is None, outcome.problem
        assert outcome.undo is not None
        assert outcome.undo.possible
        assert look_at(self.top) != look_at_without_times(before)
        after = look_at(self.top)
        undo_ = await self.call("undo.apply", ids=[outcome.invocation])
        assert undo_.problem is None, undo_.problem
        assert look_at(self.top, times=True) == before
        redo = await self.call("undo.apply", ids=[undo_.invocation])
        assert redo.problem is None, redo.problem
        assert look_at(self.top) == after
        return outcome.result()

    def _absolute(self, input: dict[str, Any]) -> dict[str, Any]:
        """Let tests name paths relative to the top."""
        named = ("path", "root", "source", "target", "a", "b", "archive", "paths")

        def place(value: Any) -> Any:
            if isinstance(value, list):
                return [place(one) for one in value]  # pyright: ignore[reportUnknownVariableType]
            return value if str(value).startswith("/") else f"{self.top}/{value}".rstrip("/")

        return {key: place(value) if key in named else value for key, value in input.items()}

    def write(self, name: str, content: str | bytes = "") -> Path:
        """Put a file beneath the top."""
        path = self.top / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path


State = dict[str, tuple[Any, ...]]


def look_at(top: Path, times: bool = False) -> State:
    """Describe a tree: kind, mode, content and, if asked for, times."""
    found: State = {}
    for path in [top, *sorted(top.rglob("*"))]:
        info = path.lstat()
        content = path.read_bytes() if stat.S_ISREG(info.st_mode) else path.readlink() if path.is_symlink() else b""
        found[str(path.relative_to(top))] = (info.st_mode, content, *([info.st_mtime_ns] if times else []))
    return found


def look_at_without_times(state: State) -> State:
    """Drop the times of a description."""
    return {path: seen[:2] for path, seen in state.items()}

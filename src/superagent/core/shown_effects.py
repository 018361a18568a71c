"""What a command changed, as operations that run commands give it back."""

from __future__ import annotations

from superagent.core.commands import Effects
from superagent.core.operation import Output


class ChangedPath(Output):
    """One path of the workspace that the command changed, and what became of it: see `sandbox.diff`."""

    path: str
    kind: str


class Left(Output):
    """One path that stayed in the view, and why."""

    path: str
    why: str


class Changes(Output):
    """What the command changed in the workspace: `total` paths, the first of them here, and a diff of what is text.

    `applied` says that the workspace has it by now. What it has not waits in `view` until `until` (epoch seconds), for
    `sandbox.diff`, `sandbox.accept` and `sandbox.discard`: all of it, and `why`, or what `left_out` names.
    """

    applied: bool
    paths: list[ChangedPath]
    total: int
    diff: str
    digest: str
    view: str | None = None
    why: str | None = None
    left_out: list[Left] = []
    until: float | None = None

    @classmethod
    def of(cls, found: Effects | None) -> Changes | None:
        """Show what a command changed; None for one that could change nothing."""
        if found is None:
            return None
        return cls(
            applied=found.applied,
            paths=[ChangedPath(path=one.path, kind=one.kind) for one in found.changes],
            total=found.total,
            diff=found.diff,
            digest=found.digest,
            view=found.view or None,
            why=found.why or None,
            left_out=[Left(path=path, why=why) for path, why in found.left_out],
            until=found.until or None,
        )

"""What was read, and what is wrong: each fault with its kind and its exact place."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

KINDS = {
    "changed": "a line is not what was written",
    "removed": "lines are missing in the middle",
    "moved": "a line stands elsewhere than it was written",
    "inserted": "a line was put in",
    "truncated": "lines are missing at the end",
    "rewritten": "the lines fit to each other, but they are not those that were signed",
    "foreign": "a segment or file belongs elsewhere",
    "unsigned": "lines behind the end that was signed",
    "chain-missing": "a whole chain is gone",
    "checkpoint-forged": "a checkpoint that none of the keys signed",
    "checkpoint-removed": "a checkpoint is missing",
    "checkpoint-changed": "a checkpoint contradicts those before it",
    "anchor": "the log does not hold the checkpoint that was kept elsewhere",
}
MOST = 1000


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong. `line` is its number in the chain; where `chain` is empty, that of the checkpoint."""

    kind: str
    chain: str
    file: str
    line: int
    what: str


@dataclass
class Report:
    """What a verification read and found; `faults` are the first thousand of `fault_count`.

    `lines` counts headers of segments too, `records` does not. `unsigned` counts lines at the end of chains that go on,
    which no checkpoint speaks of yet: of these nothing is proven.
    """

    records: int = 0
    lines: int = 0
    chains: int = 0
    checkpoints: int = 0
    unsigned: int = 0
    first_at: float | None = None
    last_at: float | None = None
    newest_checkpoint: int = 0
    anchored: bool = False
    faults: list[Fault] = field(default_factory=list[Fault])
    fault_count: int = 0

    @property
    def ok(self) -> bool:
        """Tell whether nothing is wrong."""
        return not self.fault_count

    def fault(self, kind: str, what: str, *, chain: str = "", file: str = "", line: int = 0) -> None:
        """Take down that something is wrong."""
        assert kind in KINDS
        self.fault_count += 1
        if len(self.faults) < MOST:
            self.faults.append(Fault(kind, chain, file, line, what))

    def document(self) -> dict[str, Any]:
        """Give all of it as JSON can hold it."""
        return {"ok": self.ok} | asdict(self)

"""Budgets: how much an agent or a key may use of something in a time, or ever."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from superagent.core.principal import Principal
from superagent.core.problems import BudgetExceeded

Measure = Literal["calls", "cpu_s", "bytes", "money"]
MEASURES: tuple[Measure, ...] = ("calls", "cpu_s", "bytes", "money")


@dataclass(frozen=True, slots=True)
class Budget:
    """At most so much of each measure in `per_s` seconds, counted from the epoch; None for ever.

    `calls` are those that a caller makes itself, `cpu_s` processor seconds of commands, `bytes` those of answers, and
    `money` is what operations say they cost, in the currency of the installation.
    """

    most: dict[Measure, float]
    per_s: float | None = None

    def began(self, now: float) -> float:
        """Give when the present window began; 0.0 for one that never ends."""
        return 0.0 if self.per_s is None else now // self.per_s * self.per_s


@dataclass(slots=True)
class Account:
    """What one subject has spent: `stored` is what all processes wrote down, `fresh` what this one has not yet."""

    tenant: str
    subject: str
    budget: Budget
    began: float
    stored: dict[str, float] = field(default_factory=dict[str, float])
    fresh: dict[str, float] = field(default_factory=dict[str, float])

    def spent(self, measure: str) -> float:
        """Give what was spent of a measure in the present window."""
        return self.stored.get(measure, 0.0) + self.fresh.get(measure, 0.0)

    def roll(self, now: float) -> None:
        """Begin anew when a window has ended; what was not written down of the old one is let go."""
        began = self.budget.began(now)
        if began != self.began:
            self.began = began
            self.stored, self.fresh = {}, {}

    def require_left(self, now: float) -> None:
        """Go on only while there is something left of every measure. Raises `BudgetExceeded`."""
        self.roll(now)
        for measure, most in self.budget.most.items():
            if self.spent(measure) >= most:
                wait = None if self.budget.per_s is None else self.began + self.budget.per_s - now
                raise BudgetExceeded(
                    f"`{self.subject}` has used its {most:g} {measure}",
                    hint="its owner can give it more" if wait is None else f"there is more in {wait:.0f} s",
                    retry_after_s=wait,
                )

    def charge(self, measure: str, amount: float) -> None:
        """Count what was used, also beyond what there was: it is used."""
        self.fresh[measure] = self.fresh.get(measure, 0.0) + amount


class Budgets(Protocol):
    """How much agents and keys may use, and have used."""

    @property
    def of_key(self) -> Mapping[str, Any]:
        """Give the accounts of each key that has any; most have none."""
        ...

    def spend(self, principal: Principal) -> None:
        """Count one call. Raises `BudgetExceeded` when something is used up."""
        ...

    def charge(self, principal: Principal, cost: Mapping[str, float]) -> None:
        """Count what a call has used."""
        ...


def budget_of(document: dict[str, Any] | None) -> Budget | None:
    """Read a budget as it is stored; None for none."""
    if not document:
        return None
    most: dict[Measure, float] = {
        measure: float(document[measure]) for measure in MEASURES if document.get(measure) is not None
    }
    return Budget(most, document.get("per_s")) if most else None

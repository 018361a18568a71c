"""Figures: from the samples of interleaved rounds to ratios that survive a busy machine."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Sample:
    """What one server did in one round. `cpu_us` is its CPU time a request, user and system, the whole process tree."""

    requests: int
    seconds: float
    cpu_us: float
    user_us: float
    p50_ms: float
    p99_ms: float
    rss_mib: float
    refused: int
    broken: int

    @property
    def rps(self) -> float:
        """Give requests a second."""
        return self.requests / self.seconds

    @property
    def errors(self) -> int:
        """Count answers above 399 and sockets that broke or timed out."""
        return self.refused + self.broken

    def document(self) -> dict[str, Any]:
        """Give the sample as JSON holds it."""
        return asdict(self) | {"rps": round(self.rps, 1)}


Rounds = Mapping[str, Sequence[Sample]]


def median(values: Sequence[float]) -> float:
    """Give the median; not a number when there is nothing, or when one of them is none."""
    return statistics.median(values) if values and not any(map(math.isnan, values)) else math.nan


def ratio(rounds: Rounds, of: str, to: str, what: Callable[[Sample], float]) -> float:
    """Give the median over the rounds of one server's figure divided by another's in the same round.

    Not the ratio of the medians: what else runs on the machine disturbs both servers of a round alike, and differs
    from round to round.
    """
    pairs = zip(rounds[of], rounds[to], strict=True)
    return median([what(one) / what(other) if what(other) else math.nan for one, other in pairs])


def spread(rounds: Rounds, of: str, to: str, what: Callable[[Sample], float]) -> tuple[float, float]:
    """Give the lowest and the highest of the per-round ratios."""
    found = [what(one) / what(other) for one, other in zip(rounds[of], rounds[to], strict=True) if what(other)]
    return (min(found), max(found)) if found else (math.nan, math.nan)


def percentile(values: Sequence[float], share: float) -> float:
    """Give the value below which a share of them lies (nearest rank); not a number when there is nothing."""
    if not values:
        return math.nan
    ranked = sorted(values)
    return ranked[max(0, math.ceil(share * len(ranked)) - 1)]

"""Growth from recorded samples: a straight line by least squares, and how far from it the next one may lie; pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

LEAST_SAMPLES = 5
FURTHEST = 10.0
"""A line is drawn on at most so many times as far as the samples reach."""

_Z = 1.959964  # of the normal distribution, for 95 %


@dataclass(frozen=True, slots=True)
class Line:
    """A line through samples: value at time `at` and growth a day, with what is needed to say how sure it is."""

    mean_at: float
    mean: float
    per_day: float
    spread: float  # standard deviation of the samples around the line
    reach: float  # sum of the squared distances in time from `mean_at`
    count: int

    def at(self, day: float) -> tuple[float, float, float]:
        """Give the value at a day, and the bounds of the 95 % prediction interval."""
        value = self.mean + self.per_day * (day - self.mean_at)
        wide = self.spread * math.sqrt(1 + 1 / self.count + (day - self.mean_at) ** 2 / self.reach)
        wide *= student(self.count - 2)
        return value, value - wide, value + wide


def fitted(days: Sequence[float], values: Sequence[float]) -> Line:
    """Draw the line; at least `LEAST_SAMPLES` samples at two different times."""
    count = len(days)
    mean_at, mean = math.fsum(days) / count, math.fsum(values) / count
    reach = math.fsum((day - mean_at) ** 2 for day in days)
    pairs = list(zip(days, values, strict=True))
    per_day = math.fsum((day - mean_at) * (value - mean) for day, value in pairs) / reach
    left = math.fsum((value - mean - per_day * (day - mean_at)) ** 2 for day, value in pairs)
    return Line(mean_at, mean, per_day, math.sqrt(left / (count - 2)), reach, count)


def against(days: Sequence[float], horizon_days: float) -> str:
    """Say why nothing can be foretold from samples at these days; empty when it can."""
    if len(days) < LEAST_SAMPLES:
        return f"{len(days)} samples are too few: {LEAST_SAMPLES} are needed"
    reaches = max(days) - min(days)
    if reaches * FURTHEST < horizon_days:
        return (
            f"samples over {reaches:.2f} days tell nothing of {horizon_days:g} days ahead:"
            f" {horizon_days / FURTHEST:.2f} are needed"
        )
    return ""


def student(freedom: int) -> float:
    """Give the 97.5 % quantile of Student's distribution (Hill's expansion, within 1 % from 3 degrees on)."""
    z, n = _Z, float(freedom)
    terms = (
        (z**3 + z) / (4 * n),
        (5 * z**5 + 16 * z**3 + 3 * z) / (96 * n**2),
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * n**3),
    )
    return z + sum(terms)

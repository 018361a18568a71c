"""How well one sort of times can be told from another."""

from __future__ import annotations

from collections.abc import Sequence


def told_apart(one: Sequence[float], other: Sequence[float]) -> float:
    """Give the area under the ROC curve of a guess by time, turned so that it is at least a half (Mann-Whitney)."""
    ranked = sorted([(value, True) for value in one] + [(value, False) for value in other])
    ranks = sum(at for at, (_, first) in enumerate(ranked, 1) if first)
    area = (ranks - len(one) * (len(one) + 1) / 2) / (len(one) * len(other))
    return max(area, 1 - area)

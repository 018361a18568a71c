"""Metrics: calls by operation and status, and how long they took, as text for Prometheus."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Collection

from superagent.core.invocation import DONE
from superagent.core.pipeline import Performed

BOUNDS_S = (0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 10.0, 60.0)
QUICK_S = BOUNDS_S[0]
_EDGES = (*(f"{bound:g}" for bound in BOUNDS_S), "+Inf")


class Metrics:
    """Count what ended; plain numbers that are put into words only when somebody asks.

    Each process counts for itself, so every series bears the name of its worker.
    """

    def __init__(self, gauges: Callable[[], dict[str, float]], worker: str = "0") -> None:
        self._done: dict[str, list[float]] = {}
        self._calls: dict[str, dict[str, list[float]]] = {DONE.value: self._done}
        self._gauges = gauges
        self._worker = f'worker="{worker}"'

    def observe(self, event: object) -> None:
        """Take an event of the bus."""
        if type(event) is not Performed:
            return
        outcome = event.outcome
        seconds, status = outcome.seconds, outcome.status
        # plain texts as keys: an enum's hash is computed in Python each time
        rows = self._done if status is DONE else self._calls.setdefault(status.value, {})
        row = rows.get(outcome.operation)
        if row is None:
            row = rows[outcome.operation] = [0.0] * (len(BOUNDS_S) + 2)
        row[0 if seconds <= QUICK_S else bisect_left(BOUNDS_S, seconds)] += 1
        row[-1] += seconds

    def text(self, operations: Collection[str]) -> str:
        """Give the exposition format, with the calls of these operations."""
        lines = ["# TYPE superagent_call_seconds histogram"]
        counted = [(name, status, row) for status, rows in self._calls.items() for name, row in rows.items()]
        for operation, status, row in sorted(counted):
            if operation not in operations:
                continue
            label = f'operation="{operation}",status="{status}",{self._worker}'
            so_far = 0.0
            for edge, count in zip(_EDGES, row[:-1], strict=True):
                so_far += count
                lines.append(f'superagent_call_seconds_bucket{{{label},le="{edge}"}} {so_far:.0f}')
            lines.append(f"superagent_call_seconds_count{{{label}}} {so_far:.0f}")
            lines.append(f"superagent_call_seconds_sum{{{label}}} {row[-1]:.6f}")
        for name, value in sorted(self._gauges().items()):
            lines += [f"# TYPE superagent_{name} gauge", f"superagent_{name}{{{self._worker}}} {value:g}"]
        return "\n".join(lines) + "\n"

"""Metrics: calls by operation and status, and how long they took, as text for Prometheus."""

from __future__ import annotations

from collections.abc import Callable

from superagent.core.pipeline import Performed

BOUNDS_S = (0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 10.0, 60.0)


class Metrics:
    """Count what ended; plain numbers that are put into words only when somebody asks."""

    def __init__(self, gauges: Callable[[], dict[str, float]]) -> None:
        self._calls: dict[tuple[str, str], list[float]] = {}
        self._gauges = gauges

    def observe(self, event: object) -> None:
        """Take an event of the bus."""
        if isinstance(event, Performed):
            outcome = event.outcome
            row = self._calls.get((outcome.operation, outcome.status))
            if row is None:
                row = self._calls[(outcome.operation, outcome.status)] = [0.0] * (len(BOUNDS_S) + 2)
            at = 0
            for bound in BOUNDS_S:
                if outcome.seconds <= bound:
                    break
                at += 1
            row[at] += 1
            row[-1] += outcome.seconds

    def text(self) -> str:
        """Give the exposition format."""
        lines = ["# TYPE superagent_call_seconds histogram"]
        for (operation, status), row in sorted(self._calls.items()):
            label = f'operation="{operation}",status="{status}"'
            so_far = 0.0
            for bound, count in zip((*BOUNDS_S, float("inf")), row, strict=False):
                so_far += count
                edge = "+Inf" if bound == float("inf") else f"{bound:g}"
                lines.append(f'superagent_call_seconds_bucket{{{label},le="{edge}"}} {so_far:g}')
            lines.append(f"superagent_call_seconds_count{{{label}}} {so_far:g}")
            lines.append(f"superagent_call_seconds_sum{{{label}}} {row[-1]:.6f}")
        for name, value in sorted(self._gauges().items()):
            lines += [f"# TYPE superagent_{name} gauge", f"superagent_{name} {value:g}"]
        return "\n".join(lines) + "\n"

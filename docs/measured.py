"""Measured: the page of figures, made of what the benchmark kept."""

from __future__ import annotations

from typing import Any

from bench import kept, report
from bench.rows import Row

HEAD = """# Measured

The figures that `make bench ARGS=--keep` took last, on one machine and at one hour;
[how they are measured, and why ratios are what counts](../bench.md). A value in **bold** misses its floor.
Where the load average is above the number of cores, times in milliseconds and requests a second say what was left over,
not what is possible.

"""


def page() -> str:
    """Give the page: a table of what is held to a floor, and one of what informs."""
    found = kept.read()
    gated = {name: one for name, one in found.items() if one["verdict"] != "not gated"}
    others = {name: one for name, one in found.items() if name not in gated}
    machines = sorted({_machine(one["run"]) for one in found.values()})
    return "".join(
        [
            HEAD,
            *(f"- {machine}\n" for machine in machines),
            "\n## Held to a floor\n\n",
            _table(gated),
            "\n## For information\n\n",
            _table(others),
        ]
    )


def _table(rows: dict[str, dict[str, Any]]) -> str:
    lines = ["| figure | value | floor | what it is | measured |\n|---|---|---|---|---|\n"]
    for name, one in sorted(rows.items()):
        row = Row(name, one["value"], one["unit"], one.get("at_least"), one.get("at_most"))
        value = f"{report.number(row.value)} {row.unit}".strip()
        value = f"**{value}**" if row.verdict == "MISSED" else value
        at = f"{one['run']['at'][:10]}, `{one['run']['commit']}`"
        lines.append(f"| `{name}` | {value} | {row.limit} | {one.get('note', '')} | {at} |\n")
    return "".join(lines)


def _machine(run: dict[str, Any]) -> str:
    # the first figures were kept without it, on a machine that was busy
    load = f"load average {run['load'][0]:.0f}" if "load" in run else "beside other work, how much was not recorded"
    return (
        f"`{run['commit']}`: {run['processor']}, {run['cores']} cores, {load}, "
        f"{run['stolen']:.0%} of the wanted time given to others by the host"
    )

"""Several workers: what a request costs two of them on this host, over what it costs one."""

from __future__ import annotations

from contextlib import ExitStack

from bench.figures import ratio
from bench.plan import ISSUE, Plan
from bench.rounds import interleaved
from bench.rows import Row
from bench.servers import superagent
from bench.whoami import cpu, rps

CONNECTIONS = 64


def rows(plan: Plan) -> list[Row]:
    """Load one worker and two in turn. The load itself needs a core, so requests a second say little on two."""
    with ExitStack() as stack:
        (folder := plan.place("workers")).joinpath("two").mkdir()
        one = stack.enter_context(superagent(folder))
        two = stack.enter_context(superagent(folder / "two", ("--workers", "2"), name="two"))
        found = interleaved([one, two], plan.rounds, plan.seconds, CONNECTIONS, plan.draw, plan.say)
    plan.raw["workers"] = {name: [sample.document() for sample in samples] for name, samples in found.items()}
    errors = sum(one.errors for samples in found.values() for one in samples)
    return [
        Row("workers.cpu_over_one", ratio(found, "two", "superagent", cpu), at_most=1.1, source=ISSUE,
            note="server CPU a request with two workers over that with one"),
        Row("workers.rps_over_one", ratio(found, "two", "superagent", rps)),
        Row("workers.errors", errors, at_most=0, source=ISSUE),
    ]  # fmt: skip

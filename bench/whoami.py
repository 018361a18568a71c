"""The trivial operation by HTTP: every check on, beside nginx, a bare Starlette route and a plain FastAPI endpoint."""

from __future__ import annotations

from contextlib import ExitStack

from bench.figures import Rounds, Sample, median, ratio, spread
from bench.plan import ISSUE, Plan
from bench.rounds import interleaved
from bench.rows import Row
from bench.servers import bare_starlette, door, nginx, plain_fastapi, superagent

CONNECTIONS = 64
MANY = 1000


def rows(plan: Plan) -> list[Row]:
    """Load all five with 64 connections in turn, then nginx and ours with 1,000."""
    with ExitStack() as stack:
        folder = plan.place("whoami")
        ours = stack.enter_context(superagent(folder))
        first = stack.enter_context(nginx(folder))
        others = [stack.enter_context(start(folder)) for start in (bare_starlette, plain_fastapi, door)]
        usual = interleaved([first, *others, ours], plan.rounds, plan.seconds, CONNECTIONS, plan.draw, plan.say)
        plan.say(f"{MANY} connections")
        many = interleaved([first, ours], plan.few, plan.seconds, MANY, plan.draw, plan.say)
    plan.raw["whoami"] = {name: [sample.document() for sample in samples] for name, samples in usual.items()}
    plan.raw["connections"] = {name: [sample.document() for sample in samples] for name, samples in many.items()}
    return [*floors(usual), *figures(usual), *connections(many, usual)]


def rps(sample: Sample) -> float:
    """Give a sample's requests a second."""
    return sample.rps


def cpu(sample: Sample) -> float:
    """Give a sample's CPU time a request."""
    return sample.cpu_us


def floors(rounds: Rounds) -> list[Row]:
    """Compare as the issue does: the median of the ratios of each round."""
    return [
        Row(
            "whoami.rps_over_nginx",
            ratio(rounds, "superagent", "nginx", rps),
            at_least=0.25,
            source=ISSUE,
            note=between(rounds, "superagent", "nginx", "rps"),
        ),
        Row(
            "whoami.cpu_over_nginx",
            ratio(rounds, "superagent", "nginx", cpu),
            at_most=4.5,
            source=ISSUE,
            note=between(rounds, "superagent", "nginx", "cpu"),
        ),
        Row(
            "whoami.rps_over_fastapi",
            ratio(rounds, "superagent", "fastapi", rps),
            at_least=7,
            source=ISSUE,
            note=between(rounds, "superagent", "fastapi", "rps"),
        ),
        Row(
            "whoami.errors",
            sum(sample.errors for samples in rounds.values() for sample in samples),
            at_most=0,
            source=ISSUE,
            note="answers above 399 and broken sockets, all servers",
        ),
    ]


def between(rounds: Rounds, of: str, to: str, what: str) -> str:
    """Write the lowest and the highest ratio of a round."""
    low, high = spread(rounds, of, to, rps if what == "rps" else cpu)
    return f"{low:.3g} to {high:.3g} over {len(rounds[of])} rounds"


def figures(rounds: Rounds) -> list[Row]:
    """Give what informs: ratios to the bare route, and medians in absolute terms, which belong to this machine only."""
    found = [
        Row("whoami.rps_over_starlette", ratio(rounds, "superagent", "starlette", rps)),
        Row("whoami.cpu_over_starlette", ratio(rounds, "superagent", "starlette", cpu)),
        Row("whoami.cpu_over_fastapi", ratio(rounds, "superagent", "fastapi", cpu)),
        Row(
            "door.rps_over_nginx",
            ratio(rounds, "door", "nginx", rps),
            at_least=0.12,
            source=ISSUE,
            note="without the fast lane",
        ),
        Row(
            "door.cpu_over_nginx",
            ratio(rounds, "door", "nginx", cpu),
            at_most=8,
            source=ISSUE,
            note="without the fast lane",
        ),
        Row("door.rps_over_fastapi", ratio(rounds, "door", "fastapi", rps), note="without the fast lane"),
    ]
    for name, samples in rounds.items():
        found += [
            Row(f"{name}.rps", median([sample.rps for sample in samples]), "/s"),
            Row(f"{name}.cpu", median([sample.cpu_us for sample in samples]), "µs"),
            Row(f"{name}.p50", median([sample.p50_ms for sample in samples]), "ms"),
            Row(f"{name}.p99", median([sample.p99_ms for sample in samples]), "ms"),
            Row(f"{name}.rss", max(sample.rss_mib for sample in samples), "MiB"),
        ]
    return found


def connections(many: Rounds, usual: Rounds) -> list[Row]:
    """Give what 1,000 connections do: no error, and how much of the own speed is left."""
    own = median([sample.rps for sample in usual["superagent"]])
    return [
        Row(
            "connections_1000.errors",
            sum(sample.errors for sample in many["superagent"]),
            at_most=0,
            source=ISSUE,
            note=f"in {sum(sample.requests for sample in many['superagent']):,} requests",
        ),
        Row("connections_1000.rps_over_nginx", ratio(many, "superagent", "nginx", rps)),
        Row("connections_1000.rps_over_64", median([sample.rps for sample in many["superagent"]]) / own),
        Row("connections_1000.p99", median([sample.p99_ms for sample in many["superagent"]]), "ms"),
        Row("connections_1000.rss", max(sample.rss_mib for sample in many["superagent"]), "MiB"),
    ]

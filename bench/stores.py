"""Stores: the same changes on the platform's own SQLite file and on a PostgreSQL server, in turn, in one run."""

from __future__ import annotations

from contextlib import ExitStack

from bench.figures import Sample, median
from bench.file_work import CONTENT, WRITE_CONNECTIONS, known, made
from bench.plan import Plan
from bench.rounds import measure
from bench.rows import Row
from bench.servers import superagent
from tests.postgresql import server

KINDS = ("sqlite", "postgresql")
DURABLE = ("fsync=on", "synchronous_commit=on", "full_page_writes=on")


def rows(plan: Plan) -> list[Row]:
    """Write new files, each with its intent, its entry for undo and its record; 32 at once."""
    found: dict[str, list[Sample]] = {kind: [] for kind in KINDS}
    with ExitStack() as stack:
        # the last of two settings of one name counts: this server is as durable as the file is
        place = stack.enter_context(server(*DURABLE))
        for kind in KINDS:
            plan.place(kind)
        ours = {
            kind: stack.enter_context(
                superagent(
                    plan.folder / kind,
                    name=kind,
                    environment={"SUPERAGENT_DATABASE__URL": place.url(str(plan.folder)) if kind != "sqlite" else ""},
                )
            )
            for kind in KINDS
        }
        tree = plan.place("stores_tree")
        for number in range(plan.rounds):
            for kind in plan.draw.sample(KINDS, 2):
                path = str(tree / f"{kind}-{number}-@N@.txt")
                wanted = known(ours[kind], "files.write", {"path": path, "content": CONTENT})
                found[kind].append(measure(ours[kind], plan.seconds, WRITE_CONNECTIONS, wanted))
        made(tree, sum(one.requests for samples in found.values() for one in samples))
    plan.raw["stores"] = {kind: [one.document() for one in samples] for kind, samples in found.items()}
    times = [a.rps / b.rps for a, b in zip(found["sqlite"], found["postgresql"], strict=True)]
    return [
        Row(
            "stores.postgresql_over_sqlite",
            median(times),
            at_most=1.5,
            source="issue",
            note=f"time of a change, {WRITE_CONNECTIONS} at once, both durable at each commit",
        ),
        Row(
            "stores.errors", sum(one.errors for samples in found.values() for one in samples), at_most=0, source="issue"
        ),
        *(Row(f"stores.{kind}", median([one.rps for one in found[kind]]), "/s") for kind in KINDS),
        *(Row(f"stores.{kind}_p99", median([one.p99_ms for one in found[kind]]), "ms") for kind in KINDS),
    ]

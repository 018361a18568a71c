"""Files: reading a small one, and writing with the intent durable before the effect, beside what the disk can do."""

from __future__ import annotations

import json
from pathlib import Path

from bench.disk import sync_times
from bench.figures import Sample, median, percentile
from bench.plan import ISSUE, Plan
from bench.rounds import measure, rate
from bench.rows import Row
from bench.servers import Server, superagent
from bench.wrk import Request

READ_BYTES = 4096
READ_CONNECTIONS = 64
WRITE_CONNECTIONS = 64
ENOUGH_PER_S = 5000
CONTENT = "x" * 200
UNDOS = 100
COUNTER = '''
"""Counter: a change that is next to nothing to do."""
from superagent.sdk import Context, Effect, Output, Plugin, Risk

counter = Plugin("counter")


class Count(Output):
    """How often it was counted."""

    count: int


count = 0


@counter.operation(risk=Risk.LOW, effect=Effect.CHANGE, ephemeral="a number in memory", inline=True)
async def add(ctx: Context) -> Count:
    """Count one more."""
    global count
    count += 1
    return Count(count=count)
'''


def rows(plan: Plan) -> list[Row]:
    """Read one file again and again, and write new ones, each writer waiting for the disk."""
    folder = plan.place("files")
    tree = plan.place("tree")
    (tree / "small.txt").write_text("0123456789abcde\n" * (READ_BYTES // 16))
    reads: list[Sample] = []
    writes: list[Sample] = []
    changes: list[Sample] = []
    syncs: list[float] = []
    rates: list[float] = []
    _give_counter(folder / "data")
    with superagent(folder) as ours:
        count = known(ours, "counter.add", {})
        read = known(ours, "files.read", {"path": str(tree / "small.txt")})
        for number in range(plan.few):
            reads.append(measure(ours, plan.seconds, READ_CONNECTIONS, read))
            target = {"path": str(tree / f"{number}-@N@.txt"), "content": CONTENT}
            syncs += (taken := sync_times(folder, plan.seconds / 2))
            rates.append(len(taken) / sum(taken))
            writes.append(measure(ours, plan.seconds, WRITE_CONNECTIONS, known(ours, "files.write", target)))
            changes.append(measure(ours, plan.seconds, WRITE_CONNECTIONS, count))
            plan.say(f"files: {reads[-1].rps:,.0f} reads/s, {writes[-1].rps:,.0f} writes/s, {rates[-1]:,.0f} syncs/s")
        undos = [rate(lambda: undone(ours, tree), ours) for _ in range(plan.few)]
    made(tree, sum(sample.requests for sample in writes))
    errors = sum(sample.errors for sample in reads + writes + changes)
    plan.raw["files"] = {
        "reads": [one.document() for one in reads],
        "writes": [one.document() for one in writes],
        "changes": [one.document() for one in changes],
    }
    per_sync = [sample.rps / each for sample, each in zip(writes, rates, strict=True)]
    # a sync carries the records of all who wait: half of what that would allow, and no more than is enough
    allowed = [min(ENOUGH_PER_S, 0.5 * each * WRITE_CONNECTIONS) for each in rates]
    return [
        Row(
            "files.write_over_allowed",
            median([one.rps / most for one, most in zip(writes, allowed, strict=True)]),
            at_least=1,
            source=ISSUE,
            note="writes over half of 64 a sync, or over 5,000 a second if that is less",
        ),
        Row(
            "files.change_over_allowed",
            median([one.rps / most for one, most in zip(changes, allowed, strict=True)]),
            at_least=1,
            source=ISSUE,
            note="the same of a change that is nothing to do: what the line itself costs",
        ),
        Row("files.errors", errors, at_most=0, source="no call may fail"),
        Row("files.read", median([one.rps for one in reads]), "/s", note="4 KiB, 64 connections, record durable first"),
        Row("files.read_cpu", median([one.cpu_us for one in reads]), "µs"),
        Row("files.read_p50", median([one.p50_ms for one in reads]), "ms"),
        Row("files.write", median([one.rps for one in writes]), "/s", note="64 connections, intent durable first"),
        Row("files.write_cpu", median([one.cpu_us for one in writes]), "µs"),
        Row("files.write_p50", median([one.p50_ms for one in writes]), "ms"),
        Row("files.write_p99", median([one.p99_ms for one in writes]), "ms"),
        Row("files.change", median([one.rps for one in changes]), "/s", note="64 connections, intent durable first"),
        Row("files.change_cpu", median([one.cpu_us for one in changes]), "µs"),
        Row("files.change_p99", median([one.p99_ms for one in changes]), "ms"),
        Row("files.writes_per_sync", median(per_sync), note="writes for each sync that one sequential writer gets"),
        Row("undo.apply", median([each for each, _ in undos]), "/s", note="one caller, one after the other"),
        Row("undo.cpu", median([cost for _, cost in undos]), "µs", note="a write and its undo, verified"),
        Row("disk.sync", median(rates), "/s", note="512 bytes and fdatasync, one writer"),
        Row("disk.sync_p50", percentile(syncs, 0.5) * 1e3, "ms"),
        Row("disk.sync_p99", percentile(syncs, 0.99) * 1e3, "ms"),
    ]


def _give_counter(data: Path) -> None:
    place = data / "plugins" / "counter"
    place.mkdir(parents=True)
    (place / "plugin.toml").write_text('name = "counter"\nversion = "1.0"\n')
    (place / "operations.py").write_text(COUNTER)
    (data / "superagent.toml").write_text('[plugins]\ntrusted = ["counter"]\n')


def undone(server: Server, tree: Path) -> int:
    """Write and take back, so many times; gives how many. Raises `RuntimeError` when a file is still there."""
    target = tree / "undone.txt"
    write = Request(
        "/v1/operations/files.write", json.dumps({"path": str(target), "content": CONTENT}), server.request.headers
    )
    for _ in range(UNDOS):
        status, answer = server.ask(write)
        back = {"ids": [json.loads(answer)["invocation"]]}
        status, answer = server.ask(Request("/v1/operations/undo.apply", json.dumps(back), server.request.headers))
        if status != 200 or target.exists():
            raise RuntimeError(f"undo answers {status} {answer[:300]!r}")
    return UNDOS


def known(server: Server, operation: str, input: dict[str, str]) -> Request:
    """Make the request of an operation, and make sure that it is done. Raises `RuntimeError`."""
    request = Request(
        f"/v1/operations/{operation}", json.dumps(input), server.request.headers, counted="@N@" in input.get("path", "")
    )
    status, answer = server.ask(request)
    if status != 200 or b'"status":"done"' not in answer:
        raise RuntimeError(f"{operation} answers {status} {answer[:300]!r}")
    return request


def made(tree: Path, answered: int) -> None:
    """Make sure that the files are there: as many as were answered, each whole. Raises `RuntimeError`."""
    files = [file for file in tree.glob("*.txt") if file.name != "small.txt"]
    torn = [file.name for file in files if file.read_text() != CONTENT]
    if torn or len(files) < answered:
        raise RuntimeError(f"{answered} writes were answered, {len(files)} files are there, torn: {torn[:5]}")

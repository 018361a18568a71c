"""Many calls in one request: the batch, and the stream of lines."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import msgspec

from superagent.core.answers import Answers
from superagent.core.calls import call_from, faulty
from superagent.core.invocation import Call, Outcome, Status
from superagent.core.problems import Internal, Problem
from superagent.surfaces.http.body import check_plain, split_lines, too_large
from superagent.surfaces.http.reply import NDJSON, Reply, Write, of_text
from superagent.surfaces.http.routes import Request

LINES_UNDER_WAY = 64
_BATCH_FIELDS = ("mode", "stop_on_error", "calls")


async def batch(request: Request) -> Reply:
    """`POST /v1/batch`: many calls in one request; a batch with one malformed call runs none of them."""
    body = await request.door.reading.object(request.principal, await request.body())
    if unknown := body.keys() - set(_BATCH_FIELDS):
        raise faulty(f"$.{min(unknown)[:100]}", "unknown field", f"a batch has {', '.join(_BATCH_FIELDS)}")
    mode, stop, given = body.get("mode", "sequential"), body.get("stop_on_error", True), body.get("calls")
    if mode not in ("sequential", "parallel", "atomic"):
        raise faulty("$.mode", "must be sequential, parallel or atomic")
    if not isinstance(stop, bool):
        raise faulty("$.stop_on_error", "must be true or false")
    if not isinstance(given, list):
        raise faulty("$.calls", "must be a list of calls")
    calls = [call_from(one, f"$.calls[{at}]") for at, one in enumerate(cast("list[Any]", given))]
    outcomes = await request.door.kernel.batch(calls, mode, stop, request.principal, "batch", request.trace)
    done = all([outcome.problem is None for outcome in outcomes])
    texts = b",".join([outcome.encode() for outcome in outcomes])
    not_run = len(calls) - len(outcomes)
    return of_text(b'{"ok":%b,"outcomes":[%b],"not_run":%d}' % (b"true" if done else b"false", texts, not_run))


async def lines(request: Request) -> Reply:
    """`POST /v1/stream`: a call a line in, an outcome a line out, as they end.

    At most 64 are under way: a client that does not read its answers is not read from either, and what of them finds no
    room with it comes under handles. When the client goes, what is under way ends by itself, and nothing more is begun.
    """
    check_plain(request.headers)
    over = request.hold()

    async def run(write: Write) -> None:
        turn = asyncio.Lock()
        room = asyncio.Semaphore(LINES_UNDER_WAY)

        async def answer(line: bytes | None) -> None:
            try:
                text, taken = await _answer(request, line)
                try:
                    async with turn:
                        await write(text)
                finally:
                    request.door.unsent.give(request.principal.bucket, taken)
            finally:
                room.release()

        try:
            async with asyncio.TaskGroup() as group:
                async for line in split_lines(request.receive, request.door.max_body_bytes):
                    await room.acquire()
                    group.create_task(answer(line))
        finally:
            over()

    return Reply(200, b"", NDJSON[:], run)


async def _answer(request: Request, line: bytes | None) -> tuple[bytes, int]:
    """Run the call of one line and give the line that answers it, and the room it takes; its `id` comes back."""
    kernel, principal, mark, name, taken = request.door.kernel, request.principal, None, "", 0
    try:
        if line is None:
            raise too_large(request.door.max_body_bytes)
        fields = await request.door.reading.object(principal, line)
        mark, name = fields.pop("id", None), str(fields.get("operation", ""))
        outcome = await kernel.run(call_from(fields, "$"), principal, "stream", trace=request.trace)
        outcome = await Answers(kernel.hands.blobs, principal, request.door.unsent).take(outcome)
        taken = len(outcome.output)
    except Problem as problem:
        try:
            outcome = kernel.refused(Call(name or "POST /v1/stream", {}), principal, "stream", problem, request.trace)
        except Problem as unrecorded:
            outcome = Outcome("", name, Status.FAILED, problem=unrecorded)
    except Exception as bug:
        id = kernel.hands.clock.new_id()
        kernel.hands.fault(id, bug)
        broken = Internal("something broke inside the platform", changed="unknown")
        outcome = Outcome(id, name, Status.FAILED, problem=broken)
    return msgspec.json.encode({"id": mark, **outcome.document()}) + b"\n", taken

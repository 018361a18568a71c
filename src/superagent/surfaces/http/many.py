"""Many calls in one request: the batch, and the stream of lines."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import msgspec

from superagent.core.invocation import Call, Outcome, Status
from superagent.core.problems import Fault, Internal, InvalidInput, Problem
from superagent.core.strict_json import parse_object
from superagent.surfaces.http.body import check_plain, split_lines, too_large
from superagent.surfaces.http.reply import SAFE, Reply, Write, of_data
from superagent.surfaces.http.request import isolation_of
from superagent.surfaces.http.routes import Request

LINES_UNDER_WAY = 64
_BATCH_FIELDS = ("mode", "stop_on_error", "calls")
_NDJSON = [(b"content-type", b"application/x-ndjson"), *SAFE]


async def batch(request: Request) -> Reply:
    """`POST /v1/batch`: many calls in one request; a batch with one malformed call runs none of them."""
    body = parse_object(await request.body())
    if unknown := body.keys() - set(_BATCH_FIELDS):
        raise _faulty(f"$.{min(unknown)[:100]}", "unknown field", f"a batch has {', '.join(_BATCH_FIELDS)}")
    mode, stop, given = body.get("mode", "sequential"), body.get("stop_on_error", True), body.get("calls")
    if mode not in ("sequential", "parallel", "atomic"):
        raise _faulty("$.mode", "must be sequential, parallel or atomic")
    if not isinstance(stop, bool):
        raise _faulty("$.stop_on_error", "must be true or false")
    if not isinstance(given, list):
        raise _faulty("$.calls", "must be a list of calls")
    calls = [call_from(one, f"$.calls[{at}]") for at, one in enumerate(cast("list[Any]", given))]
    outcomes = await request.door.kernel.batch(calls, mode, stop, request.principal, "batch", request.trace)
    done = all(outcome.problem is None for outcome in outcomes)
    documents = [outcome.document() for outcome in outcomes]
    return of_data({"ok": done, "outcomes": documents, "not_run": len(calls) - len(outcomes)})


class _Call(msgspec.Struct, forbid_unknown_fields=True):
    """A call as it is written in a batch or a line (rules.md 4)."""

    operation: str
    input: dict[str, Any] = {}
    key: str = ""
    dry_run: bool = False
    deadline_s: float | None = None
    reason: str = ""
    max_bytes: int | None = None
    isolation: str = ""
    session: str = ""


def call_from(value: Any, path: str) -> Call:
    """Make a call of its JSON object. Raises `InvalidInput` with the path of what is wrong."""
    try:
        said = msgspec.convert(value, _Call, strict=True)
    except msgspec.ValidationError as bad:
        what, _, where = str(bad).rpartition(" - at `$")
        raise _faulty(f"{path}{where.rstrip('`')}" if what else path, (what or str(bad))[:300]) from None
    if said.deadline_s is not None and not 0 < said.deadline_s <= 86_400:
        raise _faulty(f"{path}.deadline_s", "must be above 0 and up to 86400")
    if said.max_bytes is not None and said.max_bytes < 0:
        raise _faulty(f"{path}.max_bytes", "must not be negative")
    for name, most in (("key", 200), ("session", 200), ("reason", 2000)):
        if len(getattr(said, name)) > most:
            raise _faulty(f"{path}.{name}", f"is longer than {most} characters")
    return Call(
        said.operation, said.input, said.key, said.dry_run, said.deadline_s, said.reason, said.max_bytes,
        isolation_of(said.isolation), said.session,
    )  # fmt: skip


def _faulty(path: str, message: str, hint: str | None = None) -> InvalidInput:
    return InvalidInput(f"{path}: {message}", errors=[Fault(path, message)], hint=hint)


async def lines(request: Request) -> Reply:
    """`POST /v1/stream`: a call a line in, an outcome a line out, as they end.

    At most 64 are under way: a client that does not read its answers is not read from either. When the client goes,
    what is under way ends by itself, and nothing more is begun.
    """
    check_plain(request.headers)
    over = request.hold()

    async def run(write: Write) -> None:
        turn = asyncio.Lock()
        room = asyncio.Semaphore(LINES_UNDER_WAY)

        async def answer(line: bytes | None) -> None:
            try:
                text = await _answer(request, line)
                async with turn:
                    await write(text)
            finally:
                room.release()

        try:
            async with asyncio.TaskGroup() as group:
                async for line in split_lines(request.receive, request.door.max_body_bytes):
                    await room.acquire()
                    group.create_task(answer(line))
        finally:
            over()

    return Reply(200, b"", _NDJSON[:], run)


async def _answer(request: Request, line: bytes | None) -> bytes:
    """Run the call of one line and give the line that answers it; its `id` comes back."""
    kernel, principal, mark, name = request.door.kernel, request.principal, None, ""
    try:
        if line is None:
            raise too_large(request.door.max_body_bytes)
        fields = parse_object(line)
        mark, name = fields.pop("id", None), str(fields.get("operation", ""))
        outcome = await kernel.run(call_from(fields, "$"), principal, "stream", trace=request.trace)
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
    return msgspec.json.encode({"id": mark, **outcome.document()}) + b"\n"

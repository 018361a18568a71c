"""Many calls in one request: the batch, and the stream of lines."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import msgspec

from superagent.core.answers import Answers
from superagent.core.calls import call_from, faulty
from superagent.core.invocation import Call, Outcome, Status
from superagent.core.problems import Internal, Problem
from superagent.core.reading import AT_ONCE_BYTES
from superagent.core.strict_json import parse_object
from superagent.surfaces.http.body import check_plain, split_lines, too_large
from superagent.surfaces.http.reply import NDJSON, Reply, Write, of_text
from superagent.surfaces.http.routes import Request

LINES_UNDER_WAY = 64
TOGETHER = 32  # half of a window of 64: its caller works on these while we do on the others
TOGETHER_BYTES = 64 * 1024
_encode = msgspec.json.Encoder().encode
_BATCH_FIELDS = ("mode", "stop_on_error", "calls")
_BATCH = f"a batch has {', '.join(_BATCH_FIELDS)}"


async def batch(request: Request) -> Reply:
    """`POST /v1/batch`: many calls in one request; a batch with one malformed call runs none of them."""
    body = await request.door.reading.object(request.principal, await request.body())
    if unknown := body.keys() - set(_BATCH_FIELDS):
        raise faulty(f"$.{min(unknown)[:100]}", "unknown field", _BATCH)
    mode, stop, given = body.get("mode", "sequential"), body.get("stop_on_error", True), body.get("calls")
    if mode not in ("sequential", "parallel", "atomic"):
        raise faulty("$.mode", "must be sequential, parallel or atomic", _BATCH)
    if not isinstance(stop, bool):
        raise faulty("$.stop_on_error", "must be true or false", _BATCH)
    if not isinstance(given, list):
        raise faulty("$.calls", "must be a list of calls", _BATCH)
    calls = [call_from(one, f"$.calls[{at}]") for at, one in enumerate(cast("list[Any]", given))]
    outcomes = await request.door.kernel.batch(calls, mode, stop, request.principal, "batch", request.trace)
    done = all(outcome.problem is None for outcome in outcomes)
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
        try:
            await _Stream(request, write).run()
        finally:
            over()

    return Reply(200, b"", NDJSON[:], run)


class _Line(msgspec.Struct, frozen=True):
    """What a line holds: its `id`, which comes back, the operation that it names, and the call or what is wrong."""

    id: Any
    name: str
    call: Call | Problem


class _Stream:
    """One stream: what cannot wait is answered as it is read, all that came together in one go; the rest by tasks."""

    def __init__(self, request: Request, write: Write) -> None:
        self._request = request
        self._kernel = request.door.kernel
        self._write = write
        self._turn = asyncio.Lock()
        self._room = asyncio.Semaphore(LINES_UNDER_WAY)
        self._trace = request.trace
        self._answers = Answers(self._kernel.hands.blobs, request.principal, request.door.unsent)

    async def run(self) -> None:
        """Answer all lines."""
        request = self._request
        async with asyncio.TaskGroup() as group:
            async for some in split_lines(request.receive, request.door.max_body_bytes, LINES_UNDER_WAY):
                texts, taken = list[bytes](), 0
                for line in some:
                    read = _read(line) if line is not None and len(line) <= AT_ONCE_BYTES else None
                    if read is not None and self._is_short(read.call):
                        text, size = await self._answer(read)
                        texts.append(text)
                        taken += size
                        if len(texts) < TOGETHER and taken <= TOGETHER_BYTES:
                            continue
                        await self._send(b"".join(texts), taken)
                        await asyncio.sleep(0)  # only then it leaves: who reads it can work while we go on
                    else:
                        await self._send(b"".join(texts), taken)
                        await self._room.acquire()
                        group.create_task(self._later(line, read))
                    texts, taken = [], 0
                await self._send(b"".join(texts), taken)
                await asyncio.sleep(0)  # more may have come already, and others want to be served too

    def _is_short(self, call: Call | Problem) -> bool:
        """Tell whether an answer takes as little time as a task that makes it would."""
        if isinstance(call, Problem):
            return True
        operation = self._kernel.registry.find(call.operation)
        return operation is not None and operation.inline and not call.key

    async def _later(self, line: bytes | None, read: _Line | None) -> None:
        try:
            await self._send(*await self._answer(read or await self._read_long(line)))
        finally:
            self._room.release()

    async def _read_long(self, line: bytes | None) -> _Line:
        door = self._request.door
        if line is None:
            return _Line(None, "", too_large(door.max_body_bytes))
        try:
            return _call_in(await door.reading.object(self._request.principal, line))
        except Problem as problem:
            return _Line(None, "", problem)

    async def _send(self, text: bytes, taken: int) -> None:
        try:
            if text:
                async with self._turn:
                    await self._write(text)
        finally:
            self._request.door.unsent.give(self._request.principal.bucket, taken)

    async def _answer(self, line: _Line) -> tuple[bytes, int]:
        """Run the call of a line and give the line that answers it, and the room it takes."""
        kernel, principal, taken = self._kernel, self._request.principal, 0
        try:
            if isinstance(line.call, Problem):
                raise line.call
            outcome = await kernel.run(line.call, principal, "stream", trace=self._trace)
            if not self._answers.fits(outcome):
                outcome = await self._answers.apart(outcome)
            taken = len(outcome.output)
        except Problem as problem:
            try:
                call = Call(line.name or "POST /v1/stream", {})
                outcome = kernel.refused(call, principal, "stream", problem, self._trace)
            except Problem as unrecorded:
                outcome = Outcome("", line.name, Status.FAILED, problem=unrecorded)
        except Exception as bug:
            id = kernel.hands.clock.new_id()
            kernel.hands.fault(id, bug)
            broken = Internal("something broke inside the platform", changed="unknown")
            outcome = Outcome(id, line.name, Status.FAILED, problem=broken)
        return outcome.encode(b'{"id":%b,' % _encode(line.id)) + b"\n", taken


def _read(line: bytes) -> _Line:
    try:
        fields = parse_object(line)
    except Problem as problem:
        return _Line(None, "", problem)
    return _call_in(fields)


def _call_in(fields: dict[str, Any]) -> _Line:
    id, name = fields.pop("id", None), str(fields.get("operation", ""))
    try:
        return _Line(id, name, call_from(fields, "$"))
    except Problem as problem:
        return _Line(id, name, problem)

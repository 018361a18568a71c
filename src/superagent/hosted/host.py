"""The host: runs one plugin in its sandbox, takes calls from the server line by line, and asks it for everything."""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import threading
import traceback
from collections.abc import Awaitable, Callable
from typing import Any, BinaryIO, TypeVar

import msgspec

from superagent.core.operation import Operation
from superagent.core.ports import Kept
from superagent.core.principal import Secret
from superagent.core.problems import Fault, Internal, Problem, every_problem
from superagent.hosted import words
from superagent.hosted.context import HostedContext

T = TypeVar("T")
_KINDS = {kind.slug: kind for kind in every_problem()}
_MOST_TRACE = 8000


class Host:
    """One plugin and its line to the server. A thread reads, so that a question can also be asked without waiting."""

    def __init__(self, reading: BinaryIO, writing: int) -> None:
        self._reading = reading
        self._writing = writing
        self._turn = threading.Lock()
        self._numbers = 0
        self._asked: dict[int, concurrent.futures.Future[Any]] = {}
        self._calls: dict[str, asyncio.Task[None]] = {}
        self._operations: dict[str, Operation] = {}

    async def serve(self, declaration: words.Declaration, operations: dict[str, Operation]) -> None:
        """Say what the plugin declares, then take calls until the server is gone."""
        self._operations = operations
        loop = asyncio.get_running_loop()
        self._write(words.request(None, "declare", msgspec.to_builtins(declaration)))
        threading.Thread(target=self._listen, args=(loop,), daemon=True).start()
        await loop.create_future()

    def refuse(self, trace: str) -> None:
        """Say that the plugin could not be loaded, and why."""
        self._write(words.request(None, "broken", {"trace": trace[-_MOST_TRACE:]}))

    # ---- asking

    def ask_now(self, method: str, params: dict[str, Any]) -> Any:
        """Ask, and keep everything else waiting until the answer is here."""
        return self._begin(method, params).result()

    async def ask(self, method: str, params: dict[str, Any]) -> Any:
        """Ask, and give the answer. Raises the problem that the server answers with."""
        return await asyncio.wrap_future(self._begin(method, params))

    async def thread(self, function: Callable[..., T], /, *args: Any) -> T:
        """Run a blocking function in a thread."""
        return await asyncio.to_thread(function, *args)

    def _begin(self, method: str, params: dict[str, Any]) -> concurrent.futures.Future[Any]:
        waiting: concurrent.futures.Future[Any] = concurrent.futures.Future()
        with self._turn:
            self._numbers += 1
            number = self._numbers
        self._asked[number] = waiting
        plain = msgspec.to_builtins(params, enc_hook=_revealed)
        self._write(words.request(number, method, plain))
        return waiting

    def _write(self, line: bytes) -> None:
        if len(line) > words.MOST_LINE:
            raise Internal("this is more than one message can hold", hint="use a file or a blob for it")
        left = memoryview(line)
        with self._turn:
            while left:
                left = left[os.write(self._writing, left) :]

    # ---- hearing

    def _listen(self, loop: asyncio.AbstractEventLoop) -> None:
        while line := self._reading.readline(words.MOST_LINE):
            message = words.read(line)
            if message.method:
                loop.call_soon_threadsafe(self._heard, message)
                continue
            waiting = self._asked.pop(message.id or 0, None)
            if waiting is None or waiting.cancelled():
                continue
            if message.error is None:
                waiting.set_result(msgspec.json.decode(message.result) if message.result else None)
            else:
                waiting.set_exception(_problem(message.error))
        os._exit(0)  # the server is gone, and nobody is there any more to do anything for

    def _heard(self, message: words.Message) -> None:
        call = str(message.params.get("call"))
        if message.method == "cancel":
            task = self._calls.get(call)
            if task is not None:
                task.cancel()
        elif message.id is not None:
            task = asyncio.ensure_future(self._answered(message.id, call, message))
            self._calls[call] = task
            task.add_done_callback(lambda _: self._calls.pop(call, None))

    async def _answered(self, number: int, call: str, message: words.Message) -> None:
        try:
            result = await self._do(call, message.params)
            line = words.answer(number, result)
            if len(line) > words.MOST_LINE:
                raise Internal("the answer is more than one message can hold", hint="give a part of it, or a file")
        except Problem as problem:
            line = words.answer(number, error=words.Error(words.PROBLEM, "problem", said_of(problem)))
        except BaseException as bug:
            trace = "".join(traceback.format_exception(bug))[-_MOST_TRACE:]
            line = words.answer(number, error=words.Error(words.BUG, "bug", words.Said("internal", trace=trace)))
        self._write(line)

    async def _do(self, call: str, params: dict[str, Any]) -> Any:
        operation = self._operations[params["operation"]]
        ctx: Any = HostedContext(self, call, operation, msgspec.convert(params["about"], words.About))
        what: words.What = params["what"]
        if what == "undo":
            assert operation.undo is not None
            await operation.undo(ctx, msgspec.convert(params["kept"], Kept))
            return None
        values = operation.parse(params["input"])
        if what == "preview":
            assert operation.preview is not None
            return _dumped(operation, await operation.preview(ctx, **values))
        if not operation.stream:
            output = operation.run(ctx, **values)
            return _dumped(operation, await output if isinstance(output, Awaitable) else output)
        async for event in operation.run(ctx, **values):
            await ctx.ask("event", event=msgspec.json.decode(operation.dump(event)))
        return None


def said_of(problem: Problem) -> words.Said:
    """Give what a problem says, as data; one that the server raised is named by its number."""
    errors = [(one.path, one.message) for one in problem.errors]
    ref = vars(problem).get("ref", 0)
    return words.Said(problem.slug, problem.detail, problem.hint, problem.changed, errors, ref)


def _problem(error: words.Error) -> Problem:
    said = error.data or words.Said("internal")
    kind = _KINDS.get(said.slug, Internal)
    errors = [Fault(path, message) for path, message in said.errors]
    problem = kind(said.detail, hint=said.hint, changed=said.changed, errors=errors)
    vars(problem)["ref"] = said.ref
    return problem


def _dumped(operation: Operation, output: Any) -> Any:
    return None if output is None else msgspec.Raw(operation.dump(output))


def _revealed(value: object) -> Any:
    if isinstance(value, Secret):
        return value.reveal()
    raise NotImplementedError

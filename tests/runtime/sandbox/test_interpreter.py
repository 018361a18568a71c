"""An interpreter's outer side by itself: what it believes of a worker, and what real workers say of odd values."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import signal
import socket
import subprocess
from collections.abc import AsyncGenerator
from contextlib import ExitStack
from typing import Any

import msgspec
import pytest

from superagent.runtime.interpreter_reach import KERNELS, kernel_program
from superagent.runtime.sandbox import interpreter
from superagent.runtime.sandbox.interpreter import Gone, Interpreter, plain_of
from tests.needs import missing, program

PATIENCE_S = 20.0
TWO: dict[str, Any] = {"repr": "2", "type": "int", "mime": {}, "json": 2}


@contextlib.asynccontextmanager
async def worker(kernel: str = "python") -> AsyncGenerator[tuple[Interpreter, int]]:
    """Run a worker on this machine, without a sandbox, while the body runs; gives its outer side and its process."""
    program("/usr/bin/python3", "python3-minimal")
    if not any(os.access(one, os.X_OK) for one in KERNELS[kernel].places):
        missing(f"`{kernel}` is not installed")
    with ExitStack() as given:
        asked, outside = kernel_program(kernel, given)
        stdin, stdout, stderr = asked.streams
        # its words name the descriptors as they are inside
        numbers = {str(number): str(one) for number, one in asked.fds.items()}
        words = [f"/proc/self/fd/{numbers[one.rpartition('/')[2]]}" if "/fd/" in one else one for one in asked.argv]
        words[-1] = numbers[words[-1]]
        process = subprocess.Popen(
            words, stdin=stdin, stdout=stdout, stderr=stderr, pass_fds=list(asked.fds.values()), start_new_session=True
        )
    try:
        await asyncio.wait_for(outside.evaluate("there", ""), PATIENCE_S)
        yield outside, process.pid
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        outside.close()


@contextlib.asynccontextmanager
async def played() -> AsyncGenerator[tuple[Interpreter, socket.socket]]:
    """Give an outer side, and the socket at which a worker is played."""
    ours, theirs = socket.socketpair()
    (out, stdout), (err, stderr) = os.pipe(), os.pipe()
    outside = Interpreter(ours, out, err)
    theirs.setblocking(False)
    try:
        yield outside, theirs
    finally:
        outside.close()
        theirs.close()
        os.close(stdout)
        os.close(stderr)


def said(id: str, value: Any = None, error: Any = None) -> bytes:
    data = json.dumps({"id": id, "value": value, "error": error}).encode()
    return len(data).to_bytes(4, "big") + data


@pytest.fixture(params=["python", "node"])
def kernel(request: pytest.FixtureRequest) -> str:
    return request.param


# ---- what is believed


@pytest.mark.parametrize(
    "answer",
    [
        said("one", {**TWO, "repr": "x" * (interpreter.MOST_TEXT + 1)}),
        said("one", {**TWO, "type": "x" * 1001}),
        said("one", {**TWO, "mime": {f"image/x{at}": "YQ==" for at in range(interpreter.MOST_KINDS + 1)}}),
        said("one", error={"type": "E", "message": "", "text": "", "traceback": [
            {"file": "f", "line": 1, "name": "n", "text": ""}] * 51}),
        (lambda data: len(data).to_bytes(4, "big") + data)(b'{"id":"one","value":{"json":' + b"[" * 100_000),
        (interpreter.MOST_ANSWER + 1).to_bytes(4, "big"),
        said("one", {**TWO, "more": 1}),
    ],
    ids=["long", "type", "kinds", "frames", "deep", "size", "field"],
)  # fmt: skip
async def test_what_no_worker_would_say_ends_it(answer: bytes) -> None:
    async with played() as (outside, theirs):
        theirs.sendall(answer)
        with pytest.raises(Gone):
            await asyncio.wait_for(outside.evaluate("one", "1 + 1"), PATIENCE_S)


@pytest.mark.parametrize("one", ["[{}]", '{{"a":{}}}'])
def test_plain_data_is_passed_on_as_deep_and_as_large_as_answers_go(one: str) -> None:
    text = "1"
    for _ in range(interpreter.MOST_DEEP):
        text = one.format(text)
    assert plain_of(msgspec.Raw(text.encode())) == json.loads(text)
    assert plain_of(msgspec.Raw(one.format(text).encode())) is msgspec.UNSET
    assert plain_of(msgspec.Raw(b"[" + b"0," * interpreter.MOST_TEXT * 2 + b"0]")) is msgspec.UNSET
    for data in (b"", b"1e999", b'"\\ud800"', b"[" * 100_000):
        assert plain_of(msgspec.Raw(data)) is msgspec.UNSET
    assert plain_of(msgspec.Raw(b"null")) is None


async def test_answers_that_nobody_asked_for_end_it_and_those_that_came_too_late_do_not() -> None:
    async with played() as (outside, theirs):
        late = asyncio.ensure_future(outside.evaluate("one", "1"))
        await asyncio.sleep(0)
        late.cancel()
        await asyncio.wait([late])
        theirs.sendall(said("one", TWO) + said("two", TWO))
        assert (await asyncio.wait_for(outside.evaluate("two", "2"), PATIENCE_S)).id == "two"

        theirs.sendall(said("other", TWO) * interpreter.MOST_UNASKED + said("three", TWO))
        assert (await asyncio.wait_for(outside.evaluate("three", "3"), PATIENCE_S)).id == "three"
        theirs.sendall(said("other", TWO) * 2)  # the first stands for the answer to this one
        with pytest.raises(Gone):
            await asyncio.wait_for(outside.evaluate("four", "4"), PATIENCE_S)


async def test_nothing_is_said_behind_half_of_a_snippet() -> None:
    async with played() as (outside, theirs):
        asking = asyncio.ensure_future(outside.evaluate("one", "x" * 4_000_000))
        await asyncio.sleep(0.05)
        asking.cancel()
        await asyncio.wait([asking])
        came = 0
        with contextlib.suppress(BlockingIOError):
            while True:
                came += len(theirs.recv(1_000_000))
        assert 0 < came < 4_000_000

        outside.expect()
        with pytest.raises(Gone):  # else its code would be run as the rest of the first one
            await asyncio.wait_for(outside.evaluate("two", "print('another')"), PATIENCE_S)
        with pytest.raises(BlockingIOError):
            theirs.recv(1)


async def test_of_what_is_written_on_and_on_a_part_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interpreter, "MOST_PIPED", 65_536)
    ours, theirs = socket.socketpair()
    (out, stdout), (err, stderr) = os.pipe(), os.pipe()
    fcntl.fcntl(stdout, fcntl.F_SETPIPE_SZ, 524_288)  # so is what somebody writes while we read
    os.write(stdout, b"x" * 524_288)
    outside = Interpreter(ours, out, err)
    found = outside.taken()
    assert len(found[0]) == 65_536
    for one in (stdout, stderr):
        os.close(one)
    theirs.close()
    outside.close()


# ---- what is said


async def test_a_word_ahead_is_not_answered_and_the_snippet_is(kernel: str) -> None:
    async with worker(kernel) as (outside, _):
        for id in ("one", "two"):
            outside.expect()
            outside.expect()
            answer = await asyncio.wait_for(outside.evaluate(id, "1 + 1"), PATIENCE_S)
            assert answer.value is not None
            assert (answer.id, plain_of(answer.value.json)) == (id, 2)


@pytest.mark.parametrize(
    "code",
    [
        "'\\ud800'", "['a\\udcff.txt']", "raise Exception('\\ud800')",
        "raise SyntaxError('m', ('f', 1, 'x', 'text', 1, 'y'))", "raise SyntaxError('m', (1, 2, 3, 4))",
        "class E(Exception):\n  def __str__(self): raise KeyboardInterrupt\nraise E()",
        "class E(Exception):\n  @property\n  def __traceback__(self): raise ValueError\nraise E()",
        "class B:\n  def _repr_mimebundle_(self): return {f'image/x{at}': 'YQ==' for at in range(100_000)}\nB()",
        "class B:\n  def _repr_html_(self): return 'ä\\\\' * 4_000_000\nB()",
        "import sys\nclass O:\n  def flush(self): raise KeyboardInterrupt\nsys.stdout = O()",
    ],
)  # fmt: skip
async def test_whatever_a_snippet_gives_or_raises_its_session_goes_on(code: str) -> None:
    async with worker() as (outside, _):
        first = await asyncio.wait_for(outside.evaluate("one", code), PATIENCE_S)
        assert first.id == "one"
        second = await asyncio.wait_for(outside.evaluate("two", "1 + 1"), PATIENCE_S)
        assert second.value is not None
        assert plain_of(second.value.json) == 2


@pytest.mark.parametrize(
    "code",
    [
        "'\\ud800'", "['\\\\ud800', '\\udc00x', '😀']", "throw '\\ud800'",
        "throw new Proxy({}, { get() { throw 1 } })", "throw { get name() { throw 1 } }",
    ],
)  # fmt: skip
async def test_so_it_is_in_node(code: str) -> None:
    async with worker("node") as (outside, _):
        first = await asyncio.wait_for(outside.evaluate("one", code), PATIENCE_S)
        if "😀" in code:
            assert first.value is not None
            assert plain_of(first.value.json) == ["\\ud800", "\ufffdx", "😀"]
        second = await asyncio.wait_for(outside.evaluate("two", "1 + 1"), PATIENCE_S)
        assert second.value is not None
        assert plain_of(second.value.json) == 2


async def test_halves_of_characters_are_shown_as_python_writes_them_and_are_no_json() -> None:
    async with worker() as (outside, _):
        answer = await asyncio.wait_for(outside.evaluate("one", "['\\udcff', 'ä😀']"), PATIENCE_S)
        assert answer.value is not None
        assert answer.value.repr == "['\\udcff', 'ä😀']"
        assert plain_of(answer.value.json) is msgspec.UNSET


async def test_what_a_snippet_forks_neither_answers_nor_goes_on_as_the_session() -> None:
    async with worker() as (outside, pid):
        answer = await asyncio.wait_for(outside.evaluate("one", "import os\nos.fork()"), PATIENCE_S)
        assert answer.value is not None
        child = plain_of(answer.value.json)
        assert child > 0
        for id in ("two", "three", "four"):
            answer = await asyncio.wait_for(outside.evaluate(id, "os.getpid()"), PATIENCE_S)
            assert answer.value is not None
            assert plain_of(answer.value.json) == pid
        answer = await asyncio.wait_for(outside.evaluate("five", f"os.waitpid({child}, 0)[1]"), PATIENCE_S)
        assert answer.value is not None
        assert plain_of(answer.value.json) == 0


async def test_who_kills_the_interpreter_and_keeps_a_child_is_heard_to_be_gone() -> None:
    async with worker() as (outside, _):
        code = "import os, time\nif os.fork(): os.kill(os.getpid(), 9)\nelse: time.sleep(60)"
        with pytest.raises(Gone):
            await asyncio.wait_for(outside.evaluate("one", code), PATIENCE_S / 4)


async def test_an_interrupt_that_came_too_late_reaches_no_later_snippet_nor_its_handler() -> None:
    async with worker() as (outside, pid):
        for code in (
            "import time; heard = []; time.sleep(0)",
            "import signal; signal.signal(signal.SIGINT, lambda *_: heard.append(1))",
        ):
            os.kill(pid, signal.SIGINT)
            answer = await asyncio.wait_for(outside.evaluate("one", code), PATIENCE_S)
            assert answer.error is None
        os.kill(pid, signal.SIGINT)
        answer = await asyncio.wait_for(outside.evaluate("two", "heard"), PATIENCE_S)
        assert answer.value is not None
        assert plain_of(answer.value.json) == []

"""The worker of a Python session, run beside the test: what it makes of snippets, however they end."""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
from collections.abc import Generator
from contextlib import suppress
from typing import Any

import pytest

from superagent_launcher import python_worker

PATIENCE_S = 30.0


class Worker:
    """The outer side."""

    def __init__(self, sock: socket.socket, pid: int) -> None:
        self.sock = sock
        self.pid = pid
        self._asked = 0

    def ask(self, code: str) -> dict[str, Any]:
        """Run a snippet and give the answer to it."""
        self._asked += 1
        data = f"{self._asked}\0{code}".encode()
        self.sock.sendall(len(data).to_bytes(4, "big") + data)
        size = int.from_bytes(self._exactly(4), "big")
        answer = json.loads(self._exactly(size))
        assert answer["id"] == str(self._asked)
        return answer

    def expect(self) -> None:
        """Say that a snippet is about to come."""
        self.sock.sendall(bytes(4))

    def _exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            more = self.sock.recv(size - len(data))
            assert more, "the worker has gone"
            data += more
        return data


@pytest.fixture
def worker() -> Generator[Worker]:
    ours, theirs = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        with suppress(BaseException):
            ours.close()
            signal.signal(signal.SIGINT, signal.default_int_handler)
            python_worker.main([str(theirs.detach())])
        os._exit(0)
    theirs.close()
    ours.settimeout(PATIENCE_S)
    late = threading.Timer(PATIENCE_S, os.kill, (pid, signal.SIGKILL))
    try:
        yield Worker(ours, pid)
    finally:
        ours.close()
        late.start()
        status = os.waitpid(pid, 0)[1]
        late.cancel()
    assert os.waitstatus_to_exitcode(status) == 0


def test_the_value_of_the_last_expression_is_given_and_kept(worker: Worker) -> None:
    assert worker.ask("import math\nx = 5") == {"id": "1", "value": None, "error": None}
    assert worker.ask("x + 1")["value"] == {"repr": "6", "type": "int", "json": 6, "mime": {}}
    assert worker.ask("_ * 2")["value"]["json"] == 12
    assert worker.ask("float('nan')")["value"] == {"repr": "nan", "type": "float", "mime": {}}
    assert worker.ask("None")["value"] is None
    assert worker.ask("")["value"] is None


def test_exceptions_are_told_with_the_lines_of_the_snippet(worker: Worker) -> None:
    error = worker.ask("def f():\n    return 1 / 0\nf()")["error"]
    assert [one["text"] for one in error["traceback"]] == ["f()", "return 1 / 0"]
    assert error["type"] == "ZeroDivisionError"
    assert "python_worker" not in error["text"]
    assert worker.ask("def")["error"]["type"] == "SyntaxError"
    assert (
        worker.ask("class Odd(Exception):\n    def __str__(self): raise ValueError\nraise Odd")["error"]["type"]
        == "Odd"
    )
    assert worker.ask("raise KeyboardInterrupt")["error"]["type"] == "KeyboardInterrupt"


def test_what_cannot_be_shown_spoils_nothing(worker: Worker) -> None:
    assert worker.ask("class A:\n    def __repr__(self): raise ValueError\nA()")["value"]["repr"].startswith(
        "(ValueError"
    )
    assert worker.ask("class B:\n    def __getattr__(self, name): raise OSError\nB()")["value"]["mime"] == {}
    assert worker.ask("class C:\n    def _repr_html_(self): return 5\nC")["value"]["mime"] == {}
    assert worker.ask("'x' * 100_000")["value"].keys() == {"repr", "type", "mime"}
    assert worker.ask("class D:\n    def _repr_html_(self): return 'x' * 9_000_000\nD()")["value"]["mime"] == {}


def test_it_shows_itself_as_it_can(worker: Worker) -> None:
    code = (
        "class A:\n    def _repr_mimebundle_(self, **_): return {'text/plain': 'p', 'text/html': 'h'}\n"
        "    def _repr_html_(self): return 'other'\n    def _repr_png_(self): return b'1', {'width': 5}\n"
        "    def _repr_json_(self): return {'a': 1}\nA()"
    )
    assert worker.ask(code)["value"]["mime"] == {
        "text/plain": "p", "text/html": "h", "image/png": "MQ==", "application/json": '{"a": 1}',
    }  # fmt: skip


def test_an_interrupt_ends_the_snippet_alone(worker: Worker) -> None:
    worker.ask("")  # it is up
    os.kill(worker.pid, signal.SIGINT)  # while it waits: nothing to end
    over = threading.Event()

    def interrupt() -> None:  # again and again: one that comes before the snippet has begun ends nothing
        while not over.wait(0.1):
            os.kill(worker.pid, signal.SIGINT)

    interrupting = threading.Thread(target=interrupt)
    interrupting.start()
    try:
        assert worker.ask("while True: pass")["error"]["type"] == "KeyboardInterrupt"
    finally:
        over.set()
        interrupting.join()
    assert worker.ask("1")["value"]["json"] == 1


def test_leaving_ends_it(worker: Worker) -> None:
    assert worker.ask("raise SystemExit(3)")["error"]["type"] == "SystemExit"
    assert worker.sock.recv(1) == b""


def test_a_word_ahead_touches_nothing_that_a_snippet_put_somewhere(worker: Worker) -> None:
    worker.ask("import io, sys")
    worker.ask("class Out(io.StringIO):\n    flushed = 0\n    def flush(self):\n        Out.flushed += 1")
    worker.ask("sys.stdout = Out()")
    before = worker.ask("Out.flushed")["value"]["json"]
    worker.expect()

    assert worker.ask("Out.flushed")["value"]["json"] == before + 1  # by the end of the snippet that looked first


def test_a_hook_that_raises_at_a_word_ahead_ends_no_session(worker: Worker) -> None:
    worker.ask("import sys\narmed = []")
    worker.ask("def hook(event, given):\n    if event == 'compile' and armed:\n        raise RuntimeError(armed.pop())")
    worker.ask("sys.addaudithook(hook)")
    worker.ask("armed.append('raised')")
    worker.expect()

    assert worker.ask("armed")["value"]["json"] == []

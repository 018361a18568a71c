"""The plugin's own side, by itself: a host process, and a server that answers from a list."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from superagent.hosted import words
from superagent.hosted.importing import import_plugin
from tests.promise import ROOT
from tests.runtime.hosted.here import plugin_in

SOURCE = '''
"""Wide: everything that a context has."""
import sys
from collections.abc import AsyncGenerator
from typing import Any
from superagent.sdk import *

wide = Plugin("wide", reaches=("files", "net", "run", "secret"))
print("loud at import")


class Said(Output):
    """What came of it."""

    said: list[Any]


@wide.operation(risk=Risk.MEDIUM, undo=put_back)
async def everything(ctx: Context, path: WritePath) -> Said:
    """Use all of it."""
    here, there = Resource("path", "local", path), Resource("connection", "-", "hub", Effect.CHANGE)
    said: list[Any] = [ctx.tenant, ctx.principal.id, ctx.invocation.id, ctx.now > 0, (ctx.remaining_s or 0) > 0]
    said += [ctx.may(here), ctx.may_path(path), ctx.sees(here), ctx.could("files.read"), ctx.require(here)]
    async with ctx.changing(path) as change:
        await ctx.files.write(path, b"new")
        said.append(change.kept_digest)
    try:
        async with ctx.changing(here.as_(Effect.DESTROY)) as change:
            await ctx.files.delete(path)
            change.untouched()
            raise KeyError
    except KeyError:
        said.append("failed")
    said += [(await ctx.keep(there, {"a": 1})).entry, await ctx.state_of(here), await ctx.thread(len, "four")]
    await ctx.progress("half", 0.5)
    said.append(await ctx.call("files.read", {"path": path, "key": Secret("hush")}))
    said += [(await ctx.files.read(path)).decode(), [one.name for one in await ctx.files.list(path)]]
    got = await ctx.net.http.request("POST", "http://a.test/", headers=[("A", "b")], content=b"out")
    said += [got.status, got.header("X"), got.header("Y"), got.body.decode()]
    ran = await ctx.reach("run").run(Command(["cat"], stdin=b"in"))
    said += [ran.ended.code, ran.stdout.text, ran.isolation.level]
    shown = await ctx.secret.header("hub")
    said += [shown.header, shown.value.reveal(), (await ctx.secret.connection("hub")).host]
    said += [(await ctx.secret.resolve("secret:key", job="x")).reveal(), len(await ctx.secret.candidates("hub"))]
    return Said(said=said)


@everything.preview
async def _(ctx: Context, path: WritePath) -> Preview:
    return Preview(summary=f"dry: {ctx.invocation.call.dry_run}")


async def back(ctx: Context, kept: Kept) -> None:
    """Take it back."""
    await ctx.put_back(kept)


@wide.operation(risk=Risk.LOW, effect=Effect.READ)
async def lacks(ctx: Context, what: str) -> Said:
    """Use what is not there."""
    match what:
        case "net": ctx.net
        case "odd": ctx.reach("odd")
        case "views": ctx.reach("views")
        case "dial": ctx.net.dial("a.test", 1)
        case "beneath": await ctx.files.beneath("/")
        case "blob": await ctx.blob("x")
        case "private": ctx._no_such_thing
        case "bug": raise ValueError("nobody meant this")
        case "large": return Said(said=["x" * 9_000_000])
        case "ask": await ctx.call("x.y", {"text": "x" * 9_000_000})
        case "faulty": raise InvalidInput("no", errors=[Fault("$.a", "is b")])
    return Said(said=[])


@wide.operation(risk=Risk.MEDIUM, effect=Effect.CHANGE, compensate=True, undo=back)
async def made(ctx: Context) -> None:
    """Make something."""


@wide.operation(risk=Risk.LOW, effect=Effect.READ)
async def count(ctx: Context, to: int) -> AsyncGenerator[Said]:
    """Count."""
    for n in range(to):
        yield Said(said=[n])


@wide.operation(risk=Risk.LOW, effect=Effect.READ)
async def wait(ctx: Context) -> Said:
    """Wait for ever."""
    try:
        await ctx.call("never.answered", {})
    finally:
        await ctx.emit({"kind": "let go"})
    return Said(said=[])
'''
ISOLATION: dict[str, Any] = {"level": "native", "backend": "b", "limits": {}, "network": "off", "amounts": {}}
CAPTURED = {"bytes": 2, "text": "in", "encoding": "utf-8"}
ANSWERS: dict[str, Any] = {
    "may": True, "sees": False, "could": True, "require": None, "change.open": {"handle": 7, "before": "d0"},
    "change.close": None, "files.write": None, "files.delete": None, "keep": {"entry": 3}, "state_of": None,
    "emit": None,
    "call": {"content": "text"}, "files.read": "dGV4dA==",
    "files.list": [{"name": "a", "kind": "file", "size": 1, "modified": 0.5}],
    "net.request": {"status": 201, "headers": [["x", "y"]], "url": "http://a.test/", "body": "cGFnZQ=="},
    "run.run": {"ended": {"code": 0}, "stdout": CAPTURED, "stderr": CAPTURED, "isolation": ISOLATION, "until": 1.0},
    "secret.header": {"host": "h:1", "header": "Authorization", "value": "v1"}, "put_back": None, "event": None,
    "secret.connection": {"name": "hub", "type": "http", "endpoint": "e", "host": "h:1", "secret": "", "options": {}},
    "secret.candidates": ["v2", "v3"],
}  # fmt: skip
ABOUT = words.About("01X", words.Who("ada", "human", "default", "/ws"), "cli", 100.0, 30.0)


class Line:
    """The server's end."""

    def __init__(self, sock: socket.socket) -> None:
        self._file = sock.makefile("rwb")
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.declaration = msgspec.convert(self.read().params, words.Declaration)

    def read(self) -> words.Message:
        line = self._file.readline()
        assert line, "the host ended"
        return words.read(line)

    def send(self, line: bytes) -> None:
        self._file.write(line)
        self._file.flush()

    def do(self, operation: str, what: str = "run", **more: Any) -> words.Message:
        """Have something done, answer what is asked meanwhile, and give the answer."""
        self.asked.clear()
        told: dict[str, Any] = {"call": "c1", "what": what, "operation": operation, "input": {}, "about": ABOUT, **more}
        self.send(words.request(1, "do", msgspec.to_builtins(told)))
        while True:
            message = self.read()
            if not message.method:
                return message
            assert message.params.pop("call") == "c1"
            self.asked.append((message.method, message.params))
            self.answer(message)

    def answer(self, message: words.Message) -> None:
        assert message.id is not None
        if message.params.get("operation") == "never.answered":
            self.send(words.request(None, "cancel", {"call": "c1"}))
        elif message.method == "require" and "denied" in str(message.params):
            said = words.Said("denied", "not that", ref=5)
            self.send(words.answer(message.id, error=words.Error(words.PROBLEM, "problem", said)))
        else:
            self.send(words.answer(message.id, ANSWERS[message.method]))


@contextmanager
def hosting(folder: Path) -> Generator[tuple[Line, subprocess.Popen[bytes]]]:
    """Run the host of a plugin's folder without a sandbox."""
    ours, theirs = socket.socketpair()
    command = [sys.executable, "-m", "superagent.hosted", folder.name, "operations", str(folder), str(ROOT / "src")]
    with theirs:
        process = subprocess.Popen(command, stdin=theirs.fileno(), stdout=theirs.fileno(), stderr=subprocess.PIPE)
    ours.settimeout(30)
    try:
        with ours:
            yield Line(ours), process
            ours.shutdown(socket.SHUT_RDWR)
        assert process.wait(30) == 0, "the host ends with the server"
    finally:
        process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Generator[Line]:
    with hosting(plugin_in(tmp_path_factory.mktemp("made") / "wide", SOURCE)) as (line, _):
        yield line


def test_it_declares_what_it_has(line: Line) -> None:
    said = line.declaration
    assert (said.protocol, said.name, said.hooks) == (words.PROTOCOL, "wide", [])
    assert [one.name for one in said.operations] == [
        "wide.everything",
        "wide.lacks",
        "wide.made",
        "wide.count",
        "wide.wait",
    ]
    assert [one.undo for one in said.operations] == ["put_back", "", "own", "", ""]
    assert [one.stream for one in said.operations] == [False, False, False, True, False]


def test_every_question_is_asked_for_its_call_and_every_answer_understood(line: Line) -> None:
    answer = line.do("wide.everything", input={"path": "/ws/a"})
    assert answer.error is None
    assert msgspec.json.decode(answer.result)["said"] == [
        *("default", "ada", "01X", True, True, True, True, False, True, None, "d0", "failed", 3, None, 4),
        *({"content": "text"}, "text", ["a"], 201, "y", None, "page", 0, "in", "native"),
        *("Authorization", "v1", "h:1", "v2", 2),
    ]
    asked = dict(line.asked)
    assert asked["change.open"] == {"resource": ["path", "local", "/ws/a", 2]}
    closes = [given for what, given in line.asked if what == "change.close"]
    assert closes == [
        {"handle": 7, "failed": False, "theirs": False},
        {"handle": 7, "failed": True, "theirs": True},
    ]
    assert asked["call"] == {"operation": "files.read", "input": {"path": "/ws/a", "key": "hush"}}
    assert asked["emit"] == {"event": {"kind": "progress", "text": "half", "fraction": 0.5}}
    assert asked["net.request"]["content"] == "b3V0"
    assert asked["run.run"]["event"]["stdin"] == "aW4="


def test_a_preview_and_an_undo_are_asked_for_by_what(line: Line) -> None:
    about = msgspec.structs.replace(ABOUT, dry_run=True)
    answer = line.do("wide.everything", "preview", input={"path": "/ws/a"}, about=about)
    assert msgspec.json.decode(answer.result)["summary"] == "dry: True"
    kept: dict[str, Any] = {
        "id": 9,
        "tenant": "default",
        "invocation": "01X",
        "operation": "wide.made",
        "version": 1,
        "principal": "ada",
        "session": "",
        "resource": "connection://-/hub",
        "effect": 1,
        "data": {},
        "at": 1.0,
        "until": 2.0,
    }
    assert line.do("wide.made", "undo", kept=kept).error is None
    assert line.asked == [("put_back", {"entry": 9})]


def test_a_stream_waits_for_each_event_to_be_taken(line: Line) -> None:
    assert line.do("wide.count", input={"to": 3}).error is None
    assert [given["event"]["said"] for _, given in line.asked] == [[0], [1], [2]]


def test_a_cancelled_call_ends_and_may_tidy_up(line: Line) -> None:
    answer = line.do("wide.wait")
    assert answer.error is not None
    assert line.asked[-1] == ("emit", {"event": {"kind": "let go"}})


@pytest.mark.parametrize(
    ("what", "slug", "text"),
    [
        ("odd", "internal", "did not declare that it reaches `odd`"),
        ("views", "internal", "did not declare that it reaches `views`"),
        ("dial", "unavailable", "no bare connections"),
        ("beneath", "unavailable", "no descriptors"),
        ("blob", "unavailable", "a hosted plugin has no `ctx.blob`"),
        ("large", "internal", "more than one message can hold"),
        ("ask", "internal", "more than one message can hold"),
        ("faulty", "invalid-input", "no"),
    ],
)
def test_what_is_not_there_is_said_as_a_problem(line: Line, what: str, slug: str, text: str) -> None:
    error = line.do("wide.lacks", input={"what": what}).error
    assert error is not None
    assert error.data is not None
    assert (error.code, error.data.slug) == (words.PROBLEM, slug)
    assert text in error.data.detail
    assert error.data.errors == ([("$.a", "is b")] if what == "faulty" else [])


@pytest.mark.parametrize("what", ["bug", "private"])
def test_what_nobody_meant_is_said_with_its_trace(line: Line, what: str) -> None:
    error = line.do("wide.lacks", input={"what": what}).error
    assert error is not None
    assert error.data is not None
    assert error.code == words.BUG
    assert "operations.py" in error.data.trace


def test_the_servers_own_problem_goes_back_by_its_number(line: Line) -> None:
    error = line.do("wide.everything", input={"path": "/ws/denied"}).error
    assert error is not None
    assert error.data == words.Said(
        "denied", "not that", "ask the owner of the tenant for a grant that covers this operation and resource", ref=5
    )


@pytest.mark.parametrize("source", ["raise RuntimeError('no')", "x = 1", "raise SystemExit"])
def test_one_that_cannot_be_loaded_says_so_and_ends(tmp_path: Path, source: str) -> None:
    ours, theirs = socket.socketpair()
    folder = plugin_in(tmp_path / "made" / "broken", source)
    command = [sys.executable, "-m", "superagent.hosted", "broken", "operations", str(folder), str(ROOT / "src")]
    with ours, theirs:
        done = subprocess.run(
            command, stdin=theirs.fileno(), stdout=theirs.fileno(), stderr=subprocess.PIPE, timeout=60, check=False
        )
        ours.settimeout(30)
        said = words.read(ours.makefile("rb").readline())
    assert done.returncode == 0
    assert said.method == "broken"
    assert "Error" in said.params["trace"] or "SystemExit" in said.params["trace"]


def test_a_plugin_is_the_one_of_its_name_in_its_module(tmp_path: Path) -> None:
    folder = plugin_in(tmp_path / "made" / "named", SOURCE.replace('"wide"', '"other"'))
    with pytest.raises(TypeError, match="holds no single"):
        import_plugin("named", "operations", str(folder))
    assert import_plugin("other", "operations", str(folder)).name == "other"


@pytest.mark.parametrize("line", [b"", b"[]", b"{}", b'{"jsonrpc":"1.0","id":1}', b'{"jsonrpc":"2.0"}', b'{"id":"x"}'])
def test_what_is_no_message_is_none(line: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        words.read(line)

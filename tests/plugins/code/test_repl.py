"""`code.repl` over HTTP: real interpreters that keep their state, show values richly, and survive what they run."""

from __future__ import annotations

import asyncio
import base64
import gc
import os
import time
from collections.abc import AsyncGenerator
from dataclasses import replace
from typing import Any

import pytest
import pytest_asyncio

from superagent.runtime import interpreter_reach
from superagent.runtime.interpreter_reach import NODES
from superagent.sdk import Call
from tests.needs import missing, program
from tests.surfaces.http.house import Caller, House, problem_of
from tests.until import until_async

pytestmark = pytest.mark.asyncio(loop_scope="session")

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


@pytest.fixture(autouse=True)
def needed() -> None:
    program("bwrap", "bubblewrap")
    program("/usr/bin/python3", "python3-minimal")


@pytest_asyncio.fixture(autouse=True, loop_scope="session")
async def room(house: House) -> AsyncGenerator[None]:
    yield
    await house.installation.sandbox.sessions.close()


@pytest.fixture(params=["python", "node"])
def kernel(request: pytest.FixtureRequest) -> str:
    if request.param == "node" and not any(_there(one) for one in NODES):
        missing("`node` is not installed: apt install nodejs")
    return request.param


def _there(place: str) -> bool:
    return os.access(place, os.X_OK)


class Repl:
    """A session of one caller, opened by its first snippet."""

    def __init__(self, caller: Caller, **first: Any) -> None:
        self.caller = caller
        self.first = first
        self.id = ""

    async def run(self, code: str, **more: Any) -> dict[str, Any]:
        """Run a snippet that must be taken."""
        own = {"session": self.id} if self.id else self.first
        done = await self.caller.done("code.repl", {"code": code, **own, **more})
        self.id = done["session"]
        return done


@pytest.fixture
def repl(agent: Caller) -> Repl:
    return Repl(agent)


# ---- what it is for


async def test_state_stays_and_values_are_given(agent: Caller, kernel: str) -> None:
    repl = Repl(agent, kernel=kernel)
    assert (await repl.run("x = [1, 2]"))["error"] is None

    done = await repl.run("x.concat([3])" if kernel == "node" else "x + [3]")

    assert done["value"]["json"] == [1, 2, 3]
    assert done["value"]["type"] == ("Array" if kernel == "node" else "list")
    assert (await repl.run("_"))["value"]["json"] == [1, 2, 3]
    assert done["until"] == pytest.approx(time.time() + 900, abs=10)
    await agent.done("shell.session_close", {"session": repl.id})


async def test_output_is_that_of_the_snippet_also_from_programs_that_it_starts(repl: Repl) -> None:
    done = await repl.run("import os, sys\nprint('ä'); sys.stderr.write('bad')\nos.system('echo from a program')")
    assert (done["stdout"], done["stderr"]) == ("from a program\nä\n", "bad")
    assert done["value"]["json"] == 0
    done = await repl.run("print('x' * 2_000_000)", max_bytes=1000)
    assert (len(done["stdout"]), done["lost"]) == (1000, 2_000_001 - 1000)
    assert (await repl.run("1"))["lost"] == 0


async def test_an_exception_is_given_with_its_traceback(agent: Caller, kernel: str) -> None:
    repl = Repl(agent, kernel=kernel)
    code = (
        "function f() {\n  throw new TypeError('no good');\n}\nf()"
        if kernel == "node"
        else "def f():\n    raise TypeError('no good')\nf()"
    )
    error = (await repl.run(code))["error"]
    assert (error["type"], error["message"]) == ("TypeError", "no good")
    assert [(one["file"], one["line"]) for one in error["traceback"]] == [
        ("<snippet 1>", 4 if kernel == "node" else 3), ("<snippet 1>", 2),
    ]  # fmt: skip
    assert "worker" not in error["text"]
    wrong = (await repl.run("("))["error"]
    assert (wrong["type"], wrong["traceback"]) == ("SyntaxError", [])
    assert "<snippet 2>" in wrong["text"]
    assert (await repl.run("1 + 1"))["value"]["json"] == 2


async def test_what_shows_itself_is_given_by_type_and_images_as_blobs(repl: Repl) -> None:
    code = f"""
class Shown:
    def _repr_png_(self): return {PNG!r}
    def _repr_html_(self): return "<b>x</b>"
    def _repr_json_(self): raise ValueError
    def _repr_mimebundle_(self): return {{"text/plain": "plain"}}, {{}}
    def __repr__(self): raise ValueError
Shown()
"""
    value = (await repl.run(code))["value"]
    assert value["mime"] == {"text/plain": "plain", "text/html": "<b>x</b>"}
    assert value["repr"] == "(ValueError in its own repr)"
    response = await repl.caller.get(f"/v1/results/{value['blobs']['image/png']}/raw")
    assert response.content == PNG


async def test_what_is_too_deep_or_no_text_is_given_as_it_is_written(repl: Repl) -> None:
    done = await repl.run("x = []\nfor _ in range(300): x = [x]\nx")
    assert (done["value"]["repr"], done["value"]["json"]) == ("[" * 301 + "]" * 301, None)
    done = await repl.run("['a\\udcff.txt']")
    assert (done["value"]["repr"], done["value"]["json"]) == ("['a\\udcff.txt']", None)
    assert (await repl.run("x[:] = [1, 2]; x\nx"))["value"]["json"] == [1, 2]


async def test_a_promise_is_waited_for(agent: Caller) -> None:
    if not any(_there(one) for one in NODES):
        missing("`node` is not installed: apt install nodejs")
    repl = Repl(agent, kernel="node")
    assert (await repl.run("new Promise(done => setTimeout(() => done(5), 20))"))["value"]["json"] == 5
    done = await repl.run("const {readFile} = require('fs/promises'); console.log(1); await readFile('nowhere')")
    assert done["error"]["message"].startswith("ENOENT")
    assert done["stdout"] == "1\n"
    assert (await repl.run("await 6 + 1"))["value"]["json"] == 7


async def test_what_a_snippet_that_awaits_made_stays_and_its_last_value_is_given(agent: Caller) -> None:
    if not any(_there(one) for one in NODES):
        missing("`node` is not installed: apt install nodejs")
    repl = Repl(agent, kernel="node")
    assert (await repl.run("const at = await new Promise(d => setTimeout(d, 5, [1, 2])); at.length"))["value"][
        "json"
    ] == 2
    assert (await repl.run("at"))["value"]["json"] == [1, 2]
    assert (await repl.run("for await (const one of at) last = one; last"))["value"]["json"] == 2
    for code, shown in (("await 10n", "10n"), ("await Symbol('s')", "Symbol(s)"), ("await {a: 1}", "{ a: 1 }")):
        assert (await repl.run(code))["value"]["repr"] == shown
    assert (await repl.run("await undefined"))["value"] is None
    error = (await repl.run("await 1;\nnull.x"))["error"]
    assert (error["type"], error["traceback"]) == (
        "TypeError",
        [{"file": "<snippet 8>", "line": 2, "name": "", "text": ""}],
    )
    assert (await repl.run("await ("))["error"]["type"] == "SyntaxError"
    late = await repl.run("await new Promise(() => {})", timeout_s=0.2)
    assert (late["error"]["type"], late["ended"]) == ("Timeout", None)


async def test_what_is_no_plain_data_is_not_given_as_empty_json(agent: Caller) -> None:
    if not any(_there(one) for one in NODES):
        missing("`node` is not installed: apt install nodejs")
    repl = Repl(agent, kernel="node")
    for code in ("new Map([[1, 2]])", "[new Set([1])]", "({bad: new Error('x')})"):
        value = (await repl.run(code))["value"]
        assert value["json"] is None, code
    assert (await repl.run("({at: new Date(0), all: [null, {a: 'x'}]})"))["value"]["json"] == {
        "at": "1970-01-01T00:00:00.000Z", "all": [None, {"a": "x"}],
    }  # fmt: skip


# ---- how it ends


async def test_a_snippet_whose_time_is_up_is_interrupted_and_its_session_goes_on(agent: Caller, kernel: str) -> None:
    repl = Repl(agent, kernel=kernel)
    await repl.run("x = 7")
    done = await repl.run("while (true) {}" if kernel == "node" else "while True: pass", timeout_s=0.3)
    assert done["error"]["type"] == "Timeout"
    assert "goes on" in done["error"]["message"]
    assert kernel == "node" or done["error"]["traceback"][-1]["file"].startswith("<snippet")
    assert (await repl.run("x"))["value"]["json"] == 7


async def test_a_snippet_that_will_not_be_interrupted_takes_its_session_along(
    repl: Repl, caplog: pytest.LogCaptureFixture
) -> None:
    done = await repl.run("import signal; signal.signal(2, signal.SIG_IGN)\nwhile True: pass", timeout_s=0.2)
    assert (done["error"]["type"], done["ended"]) == ("Timeout", "timeout")
    response = await repl.caller.call("code.repl", {"session": repl.id, "code": "1"})
    assert "timeout" in problem_of(response, 409, "conflict")["detail"]
    gc.collect()
    assert "never retrieved" not in caplog.text


async def test_leaving_the_interpreter_ends_the_session(agent: Caller, kernel: str) -> None:
    repl = Repl(agent, kernel=kernel)
    done = await repl.run("process.exit(3)" if kernel == "node" else "print('last'); exit(3)")
    assert done["ended"] == "exited"
    assert kernel == "node" or done["stdout"] == "last\n"


async def test_a_limit_that_ends_it_is_named(repl: Repl) -> None:
    done = await repl.run("x = bytearray(900_000_000)", limits={"memory_bytes": 128 * 1024 * 1024})
    assert (done["ended"] == "memory") or (done["error"] or {})["type"] == "MemoryError"


async def test_a_call_that_is_cancelled_interrupts_its_snippet_and_leaves_no_session_that_nobody_knows(
    house: House,
) -> None:
    kernel, owner = house.installation.kernel, await house.installation.owner()
    sessions = house.installation.sandbox.sessions

    async def cancelled(mark: str, **input: Any) -> None:
        code = f"open('{mark}', 'w')\nwhile True: pass"
        task = asyncio.create_task(kernel.run(Call("code.repl", {"code": code, **input}), owner, "cli"))
        await until_async(lambda: list((house.data / "views").glob(f"*/upper/{mark}")), "the snippet's beginning")
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    first = (await kernel.run(Call("code.repl", {"code": "x = 7"}), owner, "cli")).result()
    await cancelled("one", session=first["session"])
    again = await kernel.run(Call("code.repl", {"session": first["session"], "code": "x"}), owner, "cli")
    assert again.result()["value"]["json"] == 7

    await cancelled("other")
    assert len(sessions._live()) == 1  # pyright: ignore[reportPrivateUsage]
    assert not list((house.data / "views").glob("*/upper/other"))


async def test_what_a_snippet_left_running_says_comes_with_the_next_one(repl: Repl) -> None:
    await repl.run("import subprocess; p = subprocess.Popen('sleep 0.1; echo later', shell=True)")
    assert (await repl.run("p.wait()"))["stdout"] == "later\n"


# ---- whose it is, and what somebody inside could try


async def test_it_is_contained_recorded_and_its_owners_alone(house: House, agent: Caller) -> None:
    response = await agent.call("code.repl", {"code": "open('made', 'w').write('x'); open('/etc/passwd').read()"})
    outcome = response.json()
    assert outcome["isolation"]["level"] == "native"
    assert "sandbox:x:1000" in outcome["output"]["value"]["json"]
    assert outcome["effects"] == []
    assert not (agent.workspace / "made").exists()
    assert sorted(one["kind"] for one in await house.records(invocation=outcome["invocation"])) == ["intent", "outcome"]
    id = outcome["output"]["session"]
    other = await house.agent()
    problem_of(await other.call("code.repl", {"session": id, "code": "1"}), 404, "not-found")


async def test_a_session_keeps_its_own_kernel_and_another_kind_is_refused_by_name(
    house: House, agent: Caller, kernel: str
) -> None:
    repl = Repl(agent, kernel=kernel)
    await repl.run("x = 41")
    assert (await repl.run("x + 1"))["value"]["json"] == 42
    assert (await repl.run("x + 1", kernel=kernel))["value"]["json"] == 42
    other = {"session": repl.id, "code": "1", "kernel": "python" if kernel == "node" else "node"}
    shell = (await agent.done("shell.session_open", {}))["session"]
    for operation, input, kind in (
        ("code.repl", other, kernel),
        ("shell.session_send", {"session": repl.id, "input": "id\n"}, kernel),
        ("code.repl", {"session": shell, "code": "1"}, "shell"),
    ):
        response = await agent.call(operation, input)
        problem = problem_of(response, 422, "invalid-input")
        assert problem["detail"] == f"the session is one of `{kind}`"
        assert len(await house.records(invocation=problem["invocation"])) == 2


async def test_what_a_snippet_says_in_the_workers_place_is_believed_only_in_its_shape(repl: Repl) -> None:
    find = (
        "import os\n"
        "def leads(one):\n    try: return os.readlink(f'/proc/self/fd/{one}')\n    except OSError: return ''\n"
        "wire = next(int(one) for one in os.listdir('/proc/self/fd') if leads(one).startswith('socket:'))\n"
        "def say(data): os.write(wire, len(data).to_bytes(4, 'big') + data)\n"
    )
    await repl.run(find)
    assert (await repl.run('say(b\'{"id":"other","value":null,"error":null}\'); 5'))["value"]["json"] == 5
    done = await repl.run("say(b'{\"id\":1}')")
    assert done["ended"]


async def test_a_flood_is_cut_off_and_harms_nobody(agent: Caller) -> None:
    repl = Repl(agent, limits={"output_bytes": 3_000_000})
    done = await repl.run("while True: print('y' * 1000)", timeout_s=20)
    assert done["ended"] == "output"


async def test_an_interpreter_that_cannot_start_is_said_and_takes_no_room(house: House) -> None:
    agent = await house.agent()
    for _ in range(9):
        response = await agent.call("code.repl", {"code": "1", "limits": {"memory_bytes": 4_500_000}})
        problem_of(response, 422, "invalid-input")


async def test_a_kernel_that_is_not_there_is_said_with_its_cure(agent: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    kernels = interpreter_reach.KERNELS
    monkeypatch.setitem(kernels, "node", replace(kernels["node"], places=("/nowhere/node",)))
    problem = problem_of(await agent.call("code.repl", {"code": "1", "kernel": "node"}), 503, "sandbox-unavailable")
    assert "apt install nodejs" in problem["hint"]

"""`shell.start` over HTTP: commands in the background, their live log, signals, ends, and who may look."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

import pytest

from tests.features.jobs.asking import begin, ended, soon
from tests.needs import program
from tests.promise import promise
from tests.surfaces.http.house import Caller, House, events_of, problem_of

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.fixture(autouse=True)
def bubblewrap() -> None:
    program("bwrap", "bubblewrap")


async def start(caller: Caller, command: str, **input: Any) -> str:
    """Start a command line and give its job."""
    response = await caller.call("shell.start", {"command": command, **input})
    assert response.status_code == 202, response.text
    assert response.json()["status"] == "queued"
    return response.headers["x-invocation-id"]


AWAIT = "while :; do sleep 0.02; done"


def waiting(what: str) -> str:
    """Give what a command line begins with that does something and ends when it is told to go on."""
    return f"trap '{what}; exit 0' USR1;"


async def written(caller: Caller, id: str, text: str, stream: str = "stdout") -> dict[str, Any]:
    """Wait until a job has written something, and give the log."""

    async def look() -> dict[str, Any] | None:
        log = await caller.done("jobs.logs", {"id": id, "stream": stream})
        return log if text in log["text"] else None

    return await soon(look, f"{text!r} in the log")


@promise("6.3")
async def test_a_command_is_started_at_once_and_its_output_is_read_while_it_runs(agent: Caller) -> None:
    id = await start(agent, f"{waiting('echo three')} echo one; echo two >&2; {AWAIT}", name="talk")
    log = await written(agent, id, "one\n")
    assert (log["offset"], log["next"], log["end"], log["over"]) == (0, 4, 4, False)
    assert (await written(agent, id, "two\n", "stderr"))["text"] == "two\n"
    job = await agent.done("jobs.status", {"id": id})
    assert (job["state"], job["name"], job["contained"]["level"]) == ("running", "talk", "native")
    assert job["contained"]["limits"]["wall"] == "enforced"

    await agent.done("jobs.signal", {"id": id, "signal": "USR1"})
    job = await ended(agent, id)
    log = await agent.done("jobs.logs", {"id": id, "since": log["next"], "follow": True})

    assert (log["text"], log["over"]) == ("three\n", True)
    assert job["outcome"]["output"]["exit_code"] == 0
    assert job["outcome"]["isolation"]["level"] == "native"


async def test_following_waits_for_what_comes(agent: Caller) -> None:
    id = await start(agent, f"{waiting('echo gone')} echo up; {AWAIT}")
    up = await written(agent, id, "up\n")
    reading = asyncio.create_task(agent.call("jobs.logs", {"id": id, "since": up["next"], "follow": True}))
    await agent.done("jobs.signal", {"id": id, "signal": "USR1"})

    assert (await reading).json()["output"]["text"] == "gone\n"
    await ended(agent, id)


async def test_any_command_in_the_background_has_a_live_log(agent: Caller) -> None:
    id = await begin(agent, "shell.exec", {"argv": ["echo", "hello"]})

    await ended(agent, id)

    assert (await agent.done("jobs.logs", {"id": id}))["text"] == "hello\n"


@promise("6.3")
async def test_a_cancelled_command_is_asked_first_and_killed_when_it_does_not_listen(agent: Caller) -> None:
    polite = await start(agent, "trap 'echo bye; exit 3' TERM; echo up; while :; do sleep 0.05; done")
    deaf = await start(agent, "trap '' TERM; echo up; while :; do sleep 0.05; done")
    for one in (polite, deaf):
        await written(agent, one, "up")

    assert (await agent.done("jobs.cancel", {"id": polite, "grace_s": 20}))["status"] == "cancelled"
    await agent.done("jobs.cancel", {"id": deaf, "grace_s": 0.2})

    job = await ended(agent, polite, "cancelled")
    assert "code 3" in job["outcome"]["problem"]["detail"]
    assert (await agent.done("jobs.logs", {"id": polite}))["text"] == "up\nbye\n"
    await ended(agent, deaf, "cancelled")


async def test_a_signal_reaches_the_command_of_a_job(agent: Caller) -> None:
    id = await start(agent, "trap 'echo heard; exit 0' USR1; echo up; while :; do sleep 0.05; done")
    await written(agent, id, "up")

    await agent.done("jobs.signal", {"id": id, "signal": "USR1"})

    await ended(agent, id)
    assert "heard" in (await agent.done("jobs.logs", {"id": id}))["text"]
    problem_of(await agent.call("jobs.signal", {"id": id, "signal": "USR1"}), 409, "conflict")


async def test_a_log_keeps_the_newest_and_says_what_it_keeps_no_more(agent: Caller) -> None:
    id = await start(agent, "head -c 9000000 /dev/zero | tr '\\0' x; echo; echo last")
    await ended(agent, id)

    oldest = await agent.done("jobs.logs", {"id": id, "max_bytes": 10})
    newest = await agent.done("jobs.logs", {"id": id, "since": -5})

    assert oldest["end"] == 9_000_006
    assert oldest["end"] - 4 * 1024 * 1024 <= oldest["first"] == oldest["offset"] == oldest["missed"]
    assert oldest["text"] == "x" * 10
    assert (newest["text"], newest["over"]) == ("last\n", True)


async def test_a_log_that_is_no_text_comes_as_base64_and_no_character_is_cut(agent: Caller) -> None:
    binary = await start(agent, "printf '\\377\\376'")
    text = await start(agent, "printf 'a€b'")
    await ended(agent, binary)
    await ended(agent, text)

    log = await agent.done("jobs.logs", {"id": binary})
    assert (log["encoding"], base64.b64decode(log["text"])) == ("base64", b"\xff\xfe")
    half = await agent.done("jobs.logs", {"id": text, "max_bytes": 2})
    assert (half["text"], half["next"], half["over"]) == ("a", 1, False)
    rest = await agent.done("jobs.logs", {"id": text, "since": half["next"]})
    assert (rest["text"], rest["over"]) == ("€b", True)


async def test_a_command_in_the_background_ends_with_the_key_that_started_it(house: House) -> None:
    agent = await house.agent()
    id = await start(agent, "echo up; sleep 60")
    await written(agent, id, "up")
    keys = await house.owner.done("access.keys.list")
    key = next(one["id"] for one in keys["keys"] if one["name"] == agent.name)

    await house.owner.done("access.keys.revoke", {"id": key})

    job = await ended(house.owner, id, "failed")
    assert job["outcome"]["problem"]["type"] == "/problems/denied"


@pytest.mark.parametrize(
    "input", [{}, {"command": "true", "argv": ["true"]}, {"argv": []}, {"command": " "}, {"command": "a\0b"}]
)
async def test_what_does_not_say_one_command_is_refused(agent: Caller, input: dict[str, Any]) -> None:
    response = await agent.call("shell.start", input)
    problem_of(response, 422, "invalid-input")


async def test_a_dry_run_starts_nothing(agent: Caller) -> None:
    shown = await agent.done("shell.start", {"command": "touch never"}, X_Dry_Run="true")

    assert "would start `touch never`" in shown["summary"]
    assert not (agent.workspace / "never").exists()


# ---- the log as a stream


@promise("6.3")
async def test_the_log_streams_as_it_comes_and_goes_on_where_a_reader_was(agent: Caller) -> None:
    id = await start(agent, f"{waiting('echo two')} echo one; {AWAIT}")
    path = f"/v1/invocations/{id}/logs"
    seen = ""
    async with agent.http.stream("GET", path) as response:
        assert response.headers["content-type"] == "text/event-stream"
        async for part in response.aiter_text():
            seen += part
            if "one" in seen:
                break
    assert events_of(seen)[0][:2] == ("4", "log")

    await agent.done("jobs.signal", {"id": id, "signal": "USR1"})
    rest = events_of((await agent.get(path, **{"Last-Event-ID": "4"})).text)

    assert [kind for _, kind, _ in rest] == ["log", "over"]
    assert rest[0][2]["text"] == "two\n"
    assert "two" in (await agent.get(f"{path}?since=4")).text
    problem_of(await agent.get(f"{path}?stream=stdin"), 422, "invalid-input")
    problem_of(await agent.get(f"{path}?until=4"), 422, "invalid-input")


async def test_nobody_streams_the_log_of_another(house: House, agent: Caller) -> None:
    id = await start(agent, "echo mine")
    other = await house.agent()

    problem_of(await other.get(f"/v1/invocations/{id}/logs"), 404, "not-found")


async def test_a_stream_ends_with_the_key_that_reads_it(house: House) -> None:
    agent = await house.agent()
    id = await start(agent, "echo up; sleep 60")
    await written(agent, id, "up")
    keys = await house.owner.done("access.keys.list")
    key = next(one["id"] for one in keys["keys"] if one["name"] == agent.name)
    seen = ""
    async with agent.http.stream("GET", f"/v1/invocations/{id}/logs") as response:
        async for part in response.aiter_text():
            if "up" in part:
                await house.owner.done("access.keys.revoke", {"id": key})
            seen += part

    assert events_of(seen)[-1][1] in ("problem", "over")

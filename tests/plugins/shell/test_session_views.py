"""Sessions work on a view: the workspace stays as it is until one is closed, or its view accepted, as one change."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from superagent.runtime.sandbox import view_accept
from superagent.runtime.system_calls import sync_filesystem
from tests.features.jobs.asking import ended, soon
from tests.needs import program
from tests.plugins.shell.test_sessions import Shell, opened
from tests.promise import promise
from tests.surfaces.http.house import Caller, House, house_in, problem_of

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.fixture(autouse=True)
def needed() -> None:
    program("bwrap", "bubblewrap")
    program("/usr/bin/python3", "python3-minimal")


@pytest_asyncio.fixture(loop_scope="session")
async def own(house: House) -> Caller:
    """Give an agent of this test alone, with a file in its workspace."""
    agent = await house.agent()
    await agent.done("files.write", {"path": "a.txt", "content": "one\n"})
    return agent


async def close(shell: Shell, **input: Any) -> dict[str, Any]:
    return await shell.caller.done("shell.session_close", {"session": shell.id, **input})


def held(house: House) -> set[str]:
    """Give the views that there are, by what is noted and by what lies there: both must agree."""
    noted = {one.name.partition(".")[0] for one in (house.data / "state" / "views").glob("*.json")}
    assert noted == set(os.listdir(house.data / "views"))
    return noted


@promise("1.3a")
async def test_what_a_session_changed_comes_in_when_it_is_closed_and_can_be_taken_back(own: Caller) -> None:
    shell = await opened(own)
    await shell.send("echo two > a.txt; mkdir d; echo new > d/b; rm -f c\n")
    assert (own.workspace / "a.txt").read_text() == "one\n"
    assert not (own.workspace / "d").exists()

    reply = await own.call("shell.session_close", {"session": shell.id})

    outcome = reply.json()
    assert outcome["output"]["ended"] == "closed"
    assert outcome["output"]["changes"]["applied"], outcome
    assert sorted(one["path"] for one in outcome["output"]["changes"]["paths"]) == ["a.txt", "d", "d/b"]
    assert (own.workspace / "a.txt").read_text() == "two\n"
    assert (own.workspace / "d" / "b").read_text() == "new\n"
    assert outcome["undo"]["possible"]
    await own.done("undo.apply", {"ids": [outcome["invocation"]]})
    assert (own.workspace / "a.txt").read_text() == "one\n"
    assert not (own.workspace / "d").exists()


async def test_a_session_that_changed_nothing_leaves_nothing(house: House, own: Caller) -> None:
    before = held(house)
    for input in ({}, {"sandbox": "read-only"}):
        shell = await opened(own, **input)
        await shell.send("cat a.txt > /tmp/copy\n")
        done = await close(shell)
        assert (done["ended"], done["outside"]) == ("closed", "none")
        assert (done["changes"] is None) == bool(input)
    assert held(house) == before


async def test_what_is_asked_to_wait_waits_and_can_be_accepted_in_part(house: House, own: Caller) -> None:
    shell = await opened(own)
    await shell.send("echo x > x; echo y > y\n")

    changes = (await close(shell, apply=False))["changes"]

    assert (changes["applied"], changes["why"]) == (False, "it was asked to wait")
    assert not (own.workspace / "x").exists()
    done = await own.done("sandbox.accept", {"view": changes["view"], "paths": ["x"]})
    assert (done["paths"], done["left"]) == (["x"], 1)
    await own.done("sandbox.discard", {"view": changes["view"]})
    assert ((own.workspace / "x").exists(), (own.workspace / "y").exists()) == (True, False)
    assert changes["view"] not in held(house)


@promise("1.3a")
async def test_an_open_session_can_be_looked_at_and_accepted_and_goes_on(house: House, own: Caller) -> None:
    shell = await opened(own)
    view = shell.opened["view"]
    await shell.send("echo two > a.txt; echo first > f\n")

    diff = await own.done("sandbox.diff", {"view": view})
    assert diff["in_use"]
    assert sorted(one["path"] for one in diff["changes"]) == ["a.txt", "f"]
    reply = await own.call("sandbox.accept", {"view": view, "paths": ["f"], "digest": diff["digest"]})
    assert reply.json()["output"]["paths"] == ["f"]
    assert (own.workspace / "f").read_text() == "first\n"
    assert (own.workspace / "a.txt").read_text() == "one\n"

    said = await shell.send("echo second > f; cat a.txt\n")
    assert "two\n" in said["text"]
    assert (await close(shell))["changes"]["applied"]
    assert (own.workspace / "f").read_text() == "second\n"
    assert (own.workspace / "a.txt").read_text() == "two\n"


async def test_discarding_the_view_of_an_open_session_ends_it(house: House, own: Caller) -> None:
    for line in ("true\n", "echo two > a.txt\n"):
        shell = await opened(own)
        await shell.send(line)

        await own.done("sandbox.discard", {"view": shell.opened["view"]})

        assert (await shell.read())["ended"] == "discarded"
        assert shell.opened["view"] not in held(house)
    assert (own.workspace / "a.txt").read_text() == "one\n"


async def test_nobody_else_reaches_the_view_of_a_session(house: House, own: Caller) -> None:
    shell = await opened(own)
    await shell.send("echo two > a.txt\n")
    other = await house.agent()

    for operation in ("diff", "accept", "discard"):
        for folder in (".", str(own.workspace)):
            reply = await other.call(f"sandbox.{operation}", {"view": shell.opened["view"], "folder": folder})
            assert reply.status_code in (202, 403, 404), reply.text
    problem_of(await other.call("shell.session_close", {"session": shell.id}), 404, "not-found")

    assert (await shell.send("cat a.txt\n"))["ended"] is None
    assert (await close(shell, apply=False))["changes"]["total"] == 1


@pytest.mark.parametrize("way", ["exit", "idle"])
async def test_what_ended_by_itself_waits_and_the_record_names_it(house: House, own: Caller, way: str) -> None:
    shell = await opened(own, idle_s=5)
    await shell.send("echo two > a.txt\n")
    view = shell.opened["view"]
    if way == "exit":
        assert (await shell.send("exit\n"))["ended"] == "exited"
    else:  # as if nobody had used it for long
        house.installation.sandbox.sessions._open[shell.id].until = 0.0  # pyright: ignore[reportPrivateUsage]

    async def recorded() -> list[dict[str, Any]]:
        await house.installation.audit.flush()
        events = await house.records(operation="session.ended")
        return [one for one in events if one["detail"]["session"] == shell.id]

    event = (await soon(recorded, "the record"))[0]
    assert event["detail"]["view"] == view
    assert (own.workspace / "a.txt").read_text() == "one\n"

    async def accepted() -> bool:  # what runs in it is ended after the record
        return (await own.call("sandbox.accept", {"view": view})).status_code == 200

    await soon(accepted, "the view at rest")
    assert (own.workspace / "a.txt").read_text() == "two\n"


async def test_one_that_has_ended_can_still_be_closed(own: Caller) -> None:
    shell = await opened(own)
    await shell.send("echo two > a.txt; exit\n")

    done = await close(shell)

    assert (done["ended"], done["changes"]["applied"]) == ("exited", True)
    assert (own.workspace / "a.txt").read_text() == "two\n"


async def test_what_somebody_else_changed_meanwhile_is_not_overwritten(own: Caller) -> None:
    shell = await opened(own)
    await shell.send("echo session > a.txt\n")
    await own.done("files.write", {"path": "a.txt", "content": "file\n"})

    changes = (await close(shell))["changes"]

    assert (changes["applied"], bool(changes["view"])) == (False, True)
    assert "a.txt" in changes["why"]
    assert (own.workspace / "a.txt").read_text() == "file\n"


@promise("1.3b")
async def test_a_session_that_fills_its_view_is_ended(own: Caller) -> None:
    shell = await opened(own, limits={"disk_bytes": 8_000_000})

    await shell.send("for i in $(seq 40); do head -c 2000000 /dev/zero > f$i; sleep 0.2; done\n", timeout_s=20)

    assert (await shell.read())["ended"] == "disk"
    assert not (own.workspace / "f1").exists()


async def test_an_interpreter_works_on_a_view_as_well(own: Caller) -> None:
    first = await own.done("code.repl", {"code": "n = open('a.txt', 'a').write('more\\n')"})
    assert (own.workspace / "a.txt").read_text() == "one\n"
    assert (await own.done("sandbox.diff", {"view": first["view"]}))["total"] == 1

    done = await own.done("shell.session_close", {"session": first["session"]})

    assert done["changes"]["applied"]
    assert (own.workspace / "a.txt").read_text() == "one\nmore\n"


@promise("1.3a")
async def test_what_a_session_changed_waits_when_the_server_stops(tmp_path: Path) -> None:
    async with house_in(tmp_path / "data") as house:
        agent = await house.agent()
        shell = await opened(agent)
        await shell.send("echo kept > kept\n")
        key = agent.http.headers["Authorization"].removeprefix("Bearer ")

    async with house_in(tmp_path / "data") as house:
        again = house.caller(agent.name, key, str(agent.workspace))
        assert not (agent.workspace / "kept").exists()
        await again.done("sandbox.accept", {"view": shell.opened["view"]})
        assert (agent.workspace / "kept").read_text() == "kept\n"


async def test_a_narrower_key_of_the_same_agent_has_no_views_but_its_own(house: House, own: Caller) -> None:
    only = [{"effect": "allow", "operations": ["sandbox.*", "shell.*", "files.*"]}]
    made = await house.owner.done("access.keys.create", {"name": "narrow", "agent": own.name, "only": only})
    narrow = house.caller(made["agent"], made["key"])
    live = await opened(own)
    await live.send("echo mine > a.txt\n")
    waits = await own.done("shell.exec", {"argv": ["sh", "-c", "echo waits > b.txt"], "apply": False})
    ahead = await own.done("shell.exec", {"argv": ["sh", "-c", "echo more > c.txt"], "apply": False})

    for view in (live.opened["view"], waits["changes"]["view"], ahead["changes"]["view"]):
        for operation in ("sandbox.diff", "sandbox.accept", "sandbox.discard"):
            response = await narrow.call(operation, {"view": view})
            problem_of(response, 404, "not-found")
            assert any(one["problem"] == "not-found" for one in await records_of(house, response))

    assert "mine" in (await live.send("cat a.txt\n"))["text"]  # it lives
    theirs = await narrow.done("shell.exec", {"argv": ["sh", "-c", "echo n > n.txt"], "apply": False})
    for caller in (narrow, own, house.owner):  # whoever it acts for sees it
        folder = {"folder": str(own.workspace)}
        assert (await caller.done("sandbox.diff", {"view": theirs["changes"]["view"], **folder}))["total"] == 1
    assert (await narrow.done("sandbox.accept", {"view": theirs["changes"]["view"]}))["paths"] == ["n.txt"]
    await close(live)


async def records_of(house: House, response: Any) -> list[dict[str, Any]]:
    return await house.records(invocation=response.headers["x-invocation-id"])


async def test_nobody_reaches_what_is_being_accepted_before_it_stands_in_its_place(
    house: House, own: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What an approver was shown must be what comes: see the change."""
    script = "mkdir -p .git/hooks; echo harmless > .git/hooks/pre-commit; echo new > a.txt"
    made = await own.done("shell.exec", {"argv": ["sh", "-c", script], "apply": False})
    found = await own.done("sandbox.diff", {"view": made["changes"]["view"]})
    loop, answers, names = asyncio.get_running_loop(), list[Any](), list[str]()

    def meanwhile(fd: int) -> None:
        """Do in the very middle what another call of the same agent could do."""
        hidden = [one for one in os.listdir(own.workspace) if one.startswith(".superagent-")]
        names.extend(hidden)
        (own.workspace / "link").symlink_to(hidden[0])
        for place in (hidden[0], "link"):
            for operation, input in (
                ("files.write", {"path": f"{place}/0/hooks/pre-commit", "content": "evil"}),
                ("files.write", {"path": f"{place}/1", "content": "evil"}),
                ("files.move", {"source": "a.txt", "target": f"{place}/1", "overwrite": True}),
                ("files.read", {"path": f"{place}/1"}),
            ):
                call = asyncio.run_coroutine_threadsafe(own.call(operation, input), loop)
                answers.append(call.result(20))
        for operation, input in (
            ("files.move", {"source": hidden[0], "target": "mine"}),
            ("files.copy", {"source": hidden[0], "target": "mine"}),
            ("files.delete", {"path": hidden[0]}),
        ):
            answers.append(asyncio.run_coroutine_threadsafe(own.call(operation, input), loop).result(20))
        call = asyncio.run_coroutine_threadsafe(own.call("files.grep", {"path": ".", "pattern": "new|harmless"}), loop)
        assert "superagent-" not in call.result(20).text
        sync_filesystem(fd)

    monkeypatch.setattr(view_accept, "sync_filesystem", meanwhile)
    named = {"paths": [".git/hooks/pre-commit", "a.txt"], "digest": found["digest"]}
    asked = await own.call("sandbox.accept", {"view": made["changes"]["view"], **named})
    await house.owner.done("approvals.decide", {"id": asked.headers["x-invocation-id"], "decision": "approve"})
    await ended(own, asked.headers["x-invocation-id"])

    assert len(answers) == 11
    assert names
    for one in answers:
        problem_of(one, 404, "not-found")
        assert (await records_of(house, one))[0]["problem"] == "not-found"
    assert (own.workspace / ".git" / "hooks" / "pre-commit").read_text() == "harmless\n"
    assert (own.workspace / "a.txt").read_text() == "new\n"


async def test_of_a_session_that_goes_on_a_person_approves_one_very_diff(house: House, own: Caller) -> None:
    """It may change between the approval and the accepting: see the change."""
    shell = await opened(own)
    await shell.send("mkdir -p .git/hooks; echo harmless > .git/hooks/x\n")
    view = shell.opened["view"]
    named = {"view": view, "paths": [".git/hooks/x"]}

    loose = await own.call("sandbox.accept", named)
    shown = await house.owner.done("approvals.show", {"id": loose.headers["x-invocation-id"]})
    await house.owner.done("approvals.decide", {"id": loose.headers["x-invocation-id"], "decision": "approve"})
    refused = await ended(own, loose.headers["x-invocation-id"], "failed")
    found = await own.done("sandbox.diff", {"view": view})
    bound = await own.call("sandbox.accept", {**named, "digest": found["digest"]})
    await house.owner.done("approvals.decide", {"id": bound.headers["x-invocation-id"], "decision": "approve"})
    taken = await ended(own, bound.headers["x-invocation-id"])

    assert "digest" in shown["preview"]["conflicts"][0]
    assert (refused["state"], refused["outcome"]["problem"]["type"]) == ("failed", "/problems/conflict")
    assert any(one["problem"] == "conflict" for one in await records_of(house, loose))
    assert taken["state"] == "done"
    assert (own.workspace / ".git" / "hooks" / "x").read_text() == "harmless\n"
    await close(shell)

"""`sandbox.list` and `sandbox.self_test` over HTTP: who finds what again, what a test shows, and what it costs."""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from typing import Any

import pytest
import pytest_asyncio
from msgspec.structs import replace

from superagent.runtime.sandbox.backend import Part, Probe
from superagent.runtime.sandbox.view_records import Records
from tests.features.access.people import tenant
from tests.needs import program
from tests.surfaces.http.house import Caller, House, problem_of

pytestmark = pytest.mark.asyncio(loop_scope="session")
PARTS = [
    "namespaces", "no new privileges", "capabilities", "files outside", "writes outside", "workspace", "network",
    "system calls", "memory limit",
]  # fmt: skip


@pytest.fixture(autouse=True)
def needed() -> None:
    program("bwrap", "bubblewrap")
    program("/usr/bin/python3", "python3-minimal")


@pytest_asyncio.fixture(loop_scope="session")
async def own(house: House) -> Caller:
    return await house.agent()


async def waits(caller: Caller, name: str) -> str:
    """Let a command leave a file in its view, and give the view."""
    done = await caller.done("shell.exec", {"argv": ["sh", "-c", f"echo 1 > {name}"], "apply": False})
    return done["changes"]["view"]


async def had(caller: Caller, **input: Any) -> dict[str, Any]:
    return await caller.done("sandbox.list", input)


def ids(listed: dict[str, Any]) -> tuple[list[str], list[str]]:
    return [one["id"] for one in listed["views"]], [one["id"] for one in listed["sessions"]]


# ---- what is there


async def test_an_agent_finds_its_views_and_sessions_again_and_what_is_over_is_gone(own: Caller) -> None:
    assert await had(own) == {"views": [], "sessions": [], "hidden": 0, "next": ""}
    began = time.time()
    view = await waits(own, "a")
    shell = await own.done("shell.session_open", {})
    still = await own.done("shell.session_open", {"sandbox": "read-only"})

    found = await had(own)

    assert ids(found) == ([shell["view"], view], [still["session"], shell["session"]])
    live, waiting = found["views"]
    assert (live["state"], waiting["state"]) == ("running", "waiting")
    assert {live["folder"], waiting["folder"]} == {str(own.workspace)}
    assert began - 1 <= waiting["since"] <= live["since"] <= time.time()
    assert waiting["until"] > waiting["since"] + 3600
    assert waiting["bytes"] > 0
    assert [(one["kind"], one["view"], one["in_use"]) for one in found["sessions"]] == [
        ("shell", "", False), ("shell", shell["view"], False),
    ]  # fmt: skip
    assert all(one["until"] > time.time() for one in found["sessions"])
    assert (await own.done("sandbox.diff", {"view": waiting["id"]}))["until"] == waiting["until"]  # what it is for

    await own.done("sandbox.discard", {"view": view})
    for one in (shell, still):
        await own.done("shell.session_close", {"session": one["session"]})
    assert ids(await had(own)) == ([], [])


async def test_a_session_that_somebody_uses_is_said_to_be_in_use(own: Caller) -> None:
    shell = await own.done("shell.session_open", {})
    using = asyncio.create_task(
        own.call("shell.session_send", {"session": shell["session"], "input": "sleep 30\n", "timeout_s": 20})
    )
    async with asyncio.timeout(10):
        while not (await had(own))["sessions"][0]["in_use"]:
            await asyncio.sleep(0.02)

    await own.done("shell.session_close", {"session": shell["session"]})

    await using
    assert ids(await had(own)) == ([], [])


async def test_pages_give_each_view_once_also_when_one_goes_meanwhile(house: House, own: Caller) -> None:
    made = [await waits(own, f"f{at}") for at in range(4)]
    first = await had(own, limit=2)
    assert ids(first)[0] == made[:1:-1]
    await own.done("sandbox.discard", {"view": made[2]})  # the one that the page ended with

    second = await had(own, limit=2, after=first["next"])

    assert ids(second)[0] == made[1::-1]
    assert second["next"] == ""
    for after in ("1", made[0], "x-" + made[0], "1.5-" + made[0] + "0", "1e5-" + made[0], "-1-" + made[0]):
        response = await own.call("sandbox.list", {"after": after})
        problem_of(response, 422, "invalid-input")
        assert (await house.refusal(response))["operation"] == "sandbox.list"


async def test_others_of_the_tenant_and_other_tenants_see_nothing_of_it(house: House, own: Caller) -> None:
    view = await waits(own, "a")
    shell = await own.done("shell.session_open", {})
    other, boss = await house.agent(), await tenant(house)

    for caller in (other, boss):
        assert await had(caller) == {"views": [], "sessions": [], "hidden": 0, "next": ""}
    owner = await had(house.owner, limit=500)
    assert {view, shell["view"]} <= set(ids(owner)[0])  # on whose behalf it runs
    assert shell["session"] not in ids(owner)[1]  # only who opened it can use it
    response = await house.stranger.post("/v1/operations/sandbox.list", json={})
    assert response.status_code in (401, 403)
    await own.done("shell.session_close", {"session": shell["session"]})


async def test_a_narrower_key_of_the_same_agent_has_only_its_own(house: House, own: Caller) -> None:
    only = [{"effect": "allow", "operations": ["sandbox.*", "shell.*"]}]
    made = await house.owner.done("access.keys.create", {"name": "narrow", "agent": own.name, "only": only})
    narrow = house.caller(made["agent"], made["key"])
    view, shell = await waits(own, "a"), await own.done("shell.session_open", {})

    assert await had(narrow) == {"views": [], "sessions": [], "hidden": 0, "next": ""}
    theirs = await waits(narrow, "b")
    session = await narrow.done("shell.session_open", {})

    assert ids(await had(narrow)) == ([session["view"], theirs], [session["session"]])
    assert ids(await had(own)) == ([session["view"], theirs, shell["view"], view], [shell["session"]])
    for caller, one in ((narrow, session), (own, shell)):
        await caller.done("shell.session_close", {"session": one["session"]})


async def test_what_is_of_a_folder_that_may_not_be_read_is_only_counted(house: House, own: Caller) -> None:
    view = await waits(own, "a")
    seen = await had(house.owner, limit=500)
    assert view in ids(seen)[0]
    where = {"paths": [f"{own.workspace}/**"]}
    deny = {"effect": "deny", "subject": "user:owner", "operations": ["sandbox.list"], "where": where}
    grant = await house.owner.done("grants.create", {"grant": deny})

    hidden, theirs = await had(house.owner, limit=500), await own.call("sandbox.list", {})

    await house.owner.done("grants.revoke", {"id": grant["id"]})
    assert hidden["hidden"] == seen["hidden"] + 1
    assert (view in str(hidden), str(own.workspace) in str(hidden)) == (False, False)
    problem_of(theirs, 403, "denied")  # whoever acts for somebody may do no more than they
    assert (await house.refusal(theirs))["operation"] == "sandbox.list"
    assert ids(await had(own))[0] == [view]


async def test_a_view_that_has_expired_is_left_out_though_it_was_not_swept_yet(house: House, own: Caller) -> None:
    gone, kept = await waits(own, "a"), await waits(own, "b")
    records = Records(house.data / "state" / "views")
    records.write(replace(records.read(gone), until=time.time() - 1))

    assert ids(await had(own))[0] == [kept]


@pytest.mark.parametrize("operation", ["sandbox.list", "sandbox.self_test"])
async def test_who_may_not_is_refused_and_that_is_on_record(house: House, operation: str) -> None:
    only = [{"effect": "allow", "operations": ["files.*"]}]
    agent = await house.agent(only=only)
    allowed = await house.agent()
    assert (await allowed.call(operation, {})).status_code == 200  # by its role, without anybody's approval

    response = await agent.call(operation, {})

    problem_of(response, 404, "not-found")  # what one can never use is not there
    assert (await house.refusal(response))["operation"] == operation


# ---- whether it holds


async def test_the_self_test_says_what_was_tried_and_what_of_each_limit_holds(house: House, own: Caller) -> None:
    found = await own.done("sandbox.self_test", {})

    assert found["minimum"] == "native"
    native = next(one for one in found["tests"] if one["level"] == "native")
    assert native["works"], native
    assert [one["name"] for one in native["tried"]] == PARTS
    assert all((one["held"], one["cure"]) == (True, "") for one in native["tried"])
    assert set(native["limits"].values()) <= {"enforced", "partial", "none"}
    assert native["limits"]["memory"] in ("enforced", "partial")
    assert "disk" not in native["limits"]
    assert "landlock" in {one["level"] for one in found["tests"]}
    above = await own.done("sandbox.self_test", {"level": "native"})
    assert "landlock" not in {one["level"] for one in above["tests"]}


async def test_a_level_without_a_back_end_is_refused_and_on_record(house: House, own: Caller) -> None:
    response = await own.call("sandbox.self_test", {"level": "vm"})

    problem_of(response, 503, "sandbox-unavailable")
    records = await house.records(invocation=response.headers["x-invocation-id"])
    assert any(one["problem"] == "sandbox-unavailable" for one in records)
    problem_of(await own.call("sandbox.self_test", {"level": "none"}), 422, "invalid-input")


async def test_what_does_not_hold_is_said_with_its_cure_and_counts_from_then_on(
    house: House, own: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    sandbox = house.installation.sandbox
    secret = f"{house.data}/state/sandbox/roots"

    async def broken() -> Probe:
        return Probe("native", sandbox.pool.name, (Part("start", False, f"cannot find {secret}", "mend it"),))

    with monkeypatch.context() as patch:
        patch.setattr(sandbox.pool, "probe", broken)
        patch.setattr(sandbox.levels, "_probed", {})
        tests = (await own.done("sandbox.self_test", {"level": "native"}))["tests"]
        assert (tests[0]["works"], tests[0]["tried"][0]["held"], tests[0]["tried"][0]["cure"]) == (
            False, False, "mend it",
        )  # fmt: skip
        assert str(house.data) not in str(tests)
        assert "(a folder of the platform)/state" in tests[0]["tried"][0]["seen"]
        problem_of(await own.call("shell.exec", {"argv": ["true"]}), 503, "sandbox-unavailable")
    assert (await own.done("shell.exec", {"argv": ["true"]}))["exit_code"] == 0


async def test_many_who_ask_at_once_cost_one_test_which_goes_on_when_they_are_gone(
    house: House, own: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    sandbox = house.installation.sandbox
    real, begun, gate = sandbox.pool.probe, 0, asyncio.Event()

    async def counted() -> Probe:
        nonlocal begun
        begun += 1
        await gate.wait()
        return await real()

    await own.done("shell.exec", {"argv": ["true"]})
    known = {name: (probe, at - 6) for name, (probe, at) in probed(house).items()}
    monkeypatch.setattr(sandbox.levels, "_probed", known)
    monkeypatch.setattr(sandbox.pool, "probe", counted)
    short = await asyncio.gather(
        *(own.call("sandbox.self_test", {"level": "native"}, superagent_deadline="0.2") for _ in range(8))
    )
    for one in short:
        problem_of(one, 504, "deadline")
    many = [asyncio.create_task(own.call("sandbox.self_test", {"level": "native"})) for _ in range(16)]
    assert (await own.done("shell.exec", {"argv": ["true"]}))["exit_code"] == 0  # commands do not wait for it
    gate.set()

    replies = await asyncio.gather(*many)

    assert {one.status_code for one in replies} == {200}
    assert begun == 1
    assert (await own.call("sandbox.self_test", {"level": "native"})).status_code == 200
    assert begun == 1  # it is a moment old


def probed(house: House) -> dict[str, tuple[Probe, float]]:
    return house.installation.sandbox.levels._probed  # pyright: ignore[reportPrivateUsage]


async def test_a_self_test_leaves_nothing_behind(own: Caller) -> None:
    await own.done("sandbox.self_test", {})
    assert [
        one for one in os.listdir(tempfile.gettempdir()) if one.startswith(f"superagent-probe-{os.getpid()}-")
    ] == []

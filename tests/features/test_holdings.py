"""What a principal leaves on the disk for later is bounded: over its share nothing is begun, and the cure is said."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest

from superagent.app import Installation, open_installation
from superagent.core.invocation import Outcome, Status
from superagent.core.principal import Principal
from superagent.settings import load
from tests.features.jobs.asking import soon
from tests.features.test_shares import house, run
from tests.needs import program
from tests.promise import promise

MIB = 1024 * 1024
PARK = "head -c {0} /dev/urandom > parked-$$"


@pytest.fixture(autouse=True)
def bubblewrap() -> None:
    program("bwrap", "bubblewrap")


async def command(here: Installation, by: Principal, line: str, **input: Any) -> Outcome:
    return await run(here, by, "shell.run", {"command": line, **input})


def output(outcome: Outcome) -> dict[str, Any]:
    assert outcome.problem is None, (outcome.problem.detail, outcome.problem.hint)
    return msgspec.json.decode(outcome.output)


async def park(here: Installation, by: Principal, size: int) -> str:
    """Let a command write so many bytes that wait in its view, and give the view."""
    changes = output(await command(here, by, PARK.format(size), apply=False))["changes"]
    assert changes["view"], changes
    return changes["view"]


async def refused(here: Installation, outcome: Outcome, slug: str, cure: str, kind: str = "outcome") -> None:
    """Check that a call was refused before its effect, said how to go on, and is on record."""
    assert outcome.problem is not None, outcome.output[:300]
    assert (outcome.problem.slug, outcome.problem.changed, outcome.effects) == (slug, "nothing", ())
    assert cure in (outcome.problem.hint or ""), outcome.problem.hint
    records = (await here.index.query("default", invocation=outcome.invocation, limit=5))[0]
    assert (records[0]["kind"], records[0]["problem"]) == (kind, slug)


def on_disk(here: Installation) -> int:
    views = here.places.data / "views"
    return sum(one.lstat().st_blocks * 512 for one in views.rglob("*"))


@promise("1.3b")
async def test_views_that_wait_are_bounded_and_discarding_makes_room(tmp_path: Path) -> None:
    async with house(tmp_path, held_quota_bytes=40 * MIB) as (here, one, other):
        view = await park(here, one, 6 * MIB)
        await park(here, one, 3 * MIB + MIB // 2)

        await refused(here, await command(here, one, "echo never > begun"), "too-large", "sandbox.discard")
        assert not (Path(one.workspace) / "begun").exists()
        opened = await run(here, one, "shell.session_open", {})
        await refused(here, opened, "too-large", "sandbox.discard")
        assert output(await command(here, one, "ls", sandbox="read-only"))["exit_code"] == 0
        assert output(await command(here, other, "echo hi > there"))["changes"]["applied"]

        output(await run(here, one, "sandbox.discard", {"view": view}))
        assert output(await command(here, one, "echo again > begun"))["changes"]["applied"]


@promise("1.3b")
async def test_a_command_can_leave_no_more_than_its_principal_has_room_for(tmp_path: Path) -> None:
    async with house(tmp_path, held_quota_bytes=40 * MIB) as (here, one, _):
        await park(here, one, 6 * MIB)

        done = output(await command(here, one, PARK.format(8 * MIB), apply=False))

        assert done["limit"] == "disk"
        assert on_disk(here) <= 10 * MIB


@promise("1.3b")
async def test_commands_at_once_park_no_more_together_than_one_after_the_other(tmp_path: Path) -> None:
    async with house(tmp_path, held_quota_bytes=40 * MIB) as (here, one, _):
        many = [command(here, one, PARK.format(6 * MIB), apply=False) for _ in range(6)]

        done = [output(one) for one in await asyncio.gather(*many) if one.problem is None]

        assert any(one["changes"]["view"] for one in done)
        assert sum(bool(one["changes"]["view"]) for one in done) < len(many)
        assert on_disk(here) <= 13 * MIB  # the share, and one that came at the very moment


@pytest.mark.slow
async def test_what_waits_on_the_disk_itself_is_watched_and_ended(tmp_path: Path) -> None:
    async with house(tmp_path, held_quota_bytes=160 * MIB) as (here, one, _):
        line = "for i in $(seq 60); do head -c 4000000 /dev/zero > f$i; sleep 0.1; done"

        done = output(await command(here, one, line, limits={"memory_bytes": 32 * MIB}, timeout_s=60))

        assert (done["exit_code"], done["limit"]) == (None, "disk")
        assert not (Path(one.workspace) / "f1").exists()
        assert on_disk(here) <= 120 * MIB
        await refused(here, await command(here, one, "true"), "too-large", "sandbox.discard")


@promise("1.3b")
async def test_job_logs_are_bounded_and_forgetting_makes_room(tmp_path: Path) -> None:
    async with house(tmp_path, held_quota_bytes=20 * MIB, agent_rate_per_s=1e6, agent_burst=10**6) as (
        here,
        one,
        other,
    ):
        line = "for i in 1 2 3 4 5; do head -c 950000 /dev/zero; sleep 0.3; done"
        job = await run(here, one, "shell.start", {"command": line})
        waited = output(await run(here, one, "jobs.wait", {"ids": [job.invocation], "timeout_s": 30}))
        assert waited["done"], waited

        async def over() -> Outcome | None:  # sums are believed for a second
            begun = await run(here, one, "shell.start", {"command": "true"})
            return begun if begun.problem is not None else None

        again = await soon(over, "the end of the room")
        await refused(here, again, "too-large", "jobs.forget", kind="refused")
        theirs = await run(here, other, "jobs.forget", {"ids": [job.invocation]})
        assert theirs.problem is not None
        assert theirs.problem.slug == "not-found"

        output(await run(here, one, "jobs.forget", {"ids": [job.invocation]}))
        gone = await run(here, one, "jobs.logs", {"id": job.invocation})
        assert gone.problem is not None or not output(gone)["text"]


async def test_a_job_that_has_not_ended_is_not_forgotten(tmp_path: Path) -> None:
    async with house(tmp_path) as (here, one, _):
        job = await run(here, one, "shell.start", {"command": "sleep 30"})
        assert job.status is Status.QUEUED, job.problem and job.problem.detail

        refusal = await run(here, one, "jobs.forget", {"ids": [job.invocation]})

        await refused(here, refusal, "conflict", "jobs.cancel")
        stopped = output(await run(here, one, "jobs.cancel", {"id": job.invocation, "grace_s": 0.1}))
        assert stopped["status"] == Status.CANCELLED


@promise("1.4")
async def test_a_nearly_full_disk_is_kept_for_the_audit(tmp_path: Path) -> None:
    async with house(tmp_path) as (here, one, _):
        view = await park(here, one, MIB)
        written = await run(here, one, "files.write", {"path": "kept", "content": "kept\n"})
        assert written.problem is None
        workspace, key = Path(one.workspace), one

    flags = {"limits.reserve_bytes": 2**60}
    async with open_installation(load(tmp_path / "data", flags, environ={})) as here:
        for operation, input in (
            ("shell.run", {"command": "echo never > begun"}),
            ("shell.session_open", {}),
            ("code.repl", {"code": "1"}),
            ("files.write", {"path": "kept", "content": "other\n"}),
        ):
            outcome = await run(here, key, operation, input)
            await refused(here, outcome, "unavailable", "limits.reserve_bytes")
        job = await run(here, key, "shell.start", {"command": "true"})
        await refused(here, job, "unavailable", "limits.reserve_bytes", kind="refused")
        assert sorted(one.name for one in workspace.iterdir()) == ["kept"]

        for operation, input in (  # what frees space, and what only looks
            ("files.read", {"path": "kept"}),
            ("undo.apply", {"ids": [written.invocation]}),
            ("sandbox.discard", {"view": view}),
        ):
            assert (await run(here, key, operation, input)).problem is None, operation
        assert not (workspace / "kept").exists()


@promise("1.3b")
async def test_sessions_at_once_hold_no_more_than_one_after_the_other(tmp_path: Path) -> None:
    many = {"agent_rate_per_s": 1e6, "agent_burst": 10**6}
    async with house(tmp_path, held_quota_bytes=80 * MIB, **many) as (here, one, _):
        opened = [output(await run(here, one, "shell.session_open", {})) for _ in range(3)]
        line = "for i in 1 2 3; do head -c 3000000 /dev/zero > f$i; done; sleep 6\n"

        for session in opened:  # 9 MB each, of 20 MB together
            typed = {"session": session["session"], "input": line, "wait_for": ""}
            assert (await run(here, one, "shell.session_send", typed)).problem is None

        async def some_ended() -> list[str]:
            read = [await run(here, one, "shell.session_read", {"session": each["session"]}) for each in opened]
            return [said for said in (output(each)["ended"] for each in read) if said]

        ended = await soon(some_ended, "the end of a session")
        assert set(ended) == {"disk"}
        assert on_disk(here) <= 30 * MIB

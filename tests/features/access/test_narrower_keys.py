"""What a key stored is not there for a narrower key of the same agent: results, jobs, sessions, remembered calls."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from superagent.app import Installation
from superagent.core.invocation import Call, Outcome, Status
from superagent.core.principal import Credential, Facts, Principal, Secret
from tests.features.test_shares import house

READS = [{"effect": "allow", "operations": ["files.*", "jobs.*", "approvals.list", "approvals.show"]}]
NARROW = [{"effect": "allow", "operations": ["files.list", "files.read", "jobs.*", "approvals.list", "approvals.show"]}]


async def one_more(here: Installation, agent: str, only: list[dict[str, Any]]) -> Principal:
    """Make one more key of an agent, with bounds, and give who shows it."""
    asked = Call("access.keys.create", {"name": "more", "agent": agent, "only": only})
    key = (await here.kernel.run(asked, await here.owner(), "cli")).result()["key"]
    return await here.kernel.identify(Credential("bearer", Secret(key), Facts("127.0.0.1", "", "http")))


async def run(here: Installation, by: Principal, operation: str, input: dict[str, Any], **call: Any) -> Outcome:
    return await here.kernel.run(Call(operation, input, **call), by, "http")


async def told(here: Installation, by: Principal, operation: str, **input: Any) -> tuple[str, str]:
    """Give the kind and text of a refusal."""
    problem = (await run(here, by, operation, input)).problem
    assert problem is not None
    return problem.slug, f"{problem.detail} {problem.hint}"


async def ended(here: Installation, by: Principal, outcome: Outcome) -> None:
    async with asyncio.timeout(20):
        while (await here.kernel.hands.work.outcome(by.tenant, outcome.invocation)) is None:
            await asyncio.sleep(0.01)


async def test_nothing_of_a_wider_key_is_there_for_a_narrower_one(tmp_path: Path) -> None:
    async with house(tmp_path) as (here, first, _):
        wide, narrow = await one_more(here, first.id, READS), await one_more(here, first.id, NARROW)
        assert wide.id == narrow.id == first.id
        file = Path(first.workspace) / "file"
        file.write_text("secret " * 50)

        # a result under a handle
        made = await run(here, wide, "files.read", {"path": str(file)}, max_bytes=100)
        assert made.handle
        assert (await run(here, wide, "result.read", {"handle": made.handle})).problem is None
        assert (await run(here, first, "result.read", {"handle": made.handle})).problem is None  # has no bounds
        foreign = await told(here, narrow, "result.read", handle=made.handle)
        unknown = await told(here, narrow, "result.read", handle="res_" + "x" * 32)
        assert foreign[0] == unknown[0] == "not-found"
        assert foreign[1].replace(made.handle, "H") == unknown[1].replace("res_" + "x" * 32, "H")
        assert (await told(here, narrow, "result.delete", handle=made.handle))[0] == "not-found"

        # a job, with its outcome
        job = await run(here, wide, "files.read", {"path": str(file)}, queued=True)
        assert job.status is Status.QUEUED
        await ended(here, wide, job)
        foreign = await told(here, narrow, "jobs.status", id=job.invocation)
        unknown = await told(here, narrow, "jobs.status", id="0" * 26)
        assert foreign[0] == unknown[0] == "not-found"
        assert foreign[1].replace(job.invocation, "J") == unknown[1].replace("0" * 26, "J")
        for by, sees in ((first, True), (wide, True), (narrow, False)):
            listed = (await run(here, by, "jobs.list", {})).result()["jobs"]
            assert (job.invocation in [one["invocation"] for one in listed]) is sees
        assert (await told(here, narrow, "jobs.cancel", id=job.invocation))[0] == "not-found"

        # a remembered call: it is not told, and not made twice
        listing = {"path": str(file.parent)}
        before = await run(here, wide, "files.list", listing, key="k")
        assert before.problem is None
        same = await run(here, narrow, "files.list", listing, key="k")
        assert same.problem is not None
        assert same.problem.slug == "idempotency-mismatch"
        assert (await run(here, wide, "files.list", listing, key="k")).invocation == before.invocation

"""Jobs that wait for jobs: they keep nobody from running, and none waits for itself."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest
import pytest_asyncio

from superagent.runtime.jobs import Wait, comes_back
from tests.features.jobs.asking import begin, ended, running, soon
from tests.features.jobs.slow import slow
from tests.surfaces.http.house import House, house_in

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def narrow(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[House]:
    """Give a house in which one job of a key runs at a time."""
    data = tmp_path_factory.mktemp("narrow") / "data"
    async with house_in(
        data, (slow,), limits__jobs=1, limits__agent_rate_per_s=1e6, limits__agent_burst=10**6
    ) as house:
        yield house


async def test_jobs_that_wait_give_their_turn_to_the_one_they_wait_for(narrow: House) -> None:
    owner = narrow.owner
    first = await begin(owner, "slow.look", {"seconds": 1.0})
    await running(owner, first)
    behind = await begin(owner, "slow.look", {"seconds": 0.2})
    waiting = [await begin(owner, "jobs.wait", {"ids": [first, behind], "timeout_s": 30}) for _ in range(3)]
    inside = await begin(owner, "slow.wait_for", {"ids": [first, behind]})
    last = await begin(owner, "slow.look", {"seconds": 0.0})

    for id in (first, behind, last, inside, *waiting):
        await ended(owner, id)


async def test_a_job_that_waits_for_a_person_holds_up_nobody(narrow: House) -> None:
    agent = await narrow.agent()
    asked = await narrow.waiting_read(agent)
    waiting = await begin(agent, "jobs.wait", {"ids": [asked], "timeout_s": 30})
    await running(agent, waiting)

    other = await begin(agent, "jobs.list", {})  # there is one turn, and the first one waits

    await ended(agent, other)
    await agent.done("jobs.cancel", {"id": waiting})


async def test_a_job_never_waits_for_itself(narrow: House) -> None:
    owner = narrow.owner
    id = await begin(owner, "slow.wait_for", {"ids": [], "itself": True})

    job = await ended(owner, id, "failed")

    assert job["outcome"]["problem"]["type"] == "/problems/conflict"
    assert "wait for itself" in job["outcome"]["problem"]["detail"]

    async def recorded() -> list[str]:
        found = await narrow.records(operation="jobs.wait")
        return [one["problem"] for one in found if one.get("parent") == id and one.get("problem")]

    assert await soon(recorded, "the record") == ["conflict"]


@pytest.mark.parametrize(
    ("waits", "wanted", "back"),
    [
        ([], Wait("a", ("a",), True), True),
        ([], Wait("a", ("b",), True), False),
        ([Wait("b", ("a",), True)], Wait("a", ("b",), True), True),
        ([Wait("b", ("c",), True), Wait("c", ("a", "x"), True)], Wait("a", ("b",), True), True),
        ([Wait("b", ("a", "x"), False)], Wait("a", ("b",), True), False),  # `x` may end it
        ([Wait("b", ("a",), True)], Wait("a", ("b", "x"), False), False),
        ([Wait("b", ("a",), True), Wait("c", ("b",), True)], Wait("a", ("b", "c"), False), True),
        ([Wait("b", ("c",), True), Wait("c", ("b",), True)], Wait("a", ("x",), True), False),
    ],
)
async def test_who_waits_for_itself_by_others_is_found(waits: list[Wait], wanted: Wait, back: bool) -> None:
    assert comes_back(waits, wanted) is back

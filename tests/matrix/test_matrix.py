"""Every operation × role × tenant × place over real HTTP: each cell is answered as `policy.explain` says.

The cells come from the registry, so that a new operation is among them by itself. Refused ones are called for real and
leave no effect and one record each; allowed ones run as a dry run, and for real in `test_disposable`.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import AsyncGenerator
from typing import Any

import pytest
import pytest_asyncio

from superagent.core.problems import InvalidInput
from tests.matrix.cells import CALLERS, PLACES, STEERING, cells, tried, wrong
from tests.matrix.inputs import input_for
from tests.matrix.world import AGENT, FOREIGN, OWN, World, world_in
from tests.promise import promise

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[World]:
    async with world_in(tmp_path_factory.mktemp("matrix")) as made:
        yield made


async def judged(world: World, tenant: str, who: str, *, whole: bool) -> Counter[str]:
    """Try one caller's cells; gives how often each verdict came."""
    before, wanted = await world.state(), cells(world, tenant, who, whole=whole)
    seen = await tried(world, wanted)
    after, records = await world.state(), await recorded(world, tenant, world.actor(tenant, who).caller.name)

    assert [fault for one in seen if (fault := wrong(one, records[one.invocation]))] == []
    assert before ^ after == set(), "something was changed by what was refused or only previewed"
    inside_another = [
        one.cell for one in seen
        if tenant == FOREIGN and one.cell.place == "inside" and one.explained["verdict"] != "deny"
        and any(touch.kind == "path" for touch in one.cell.operation.touched) and one.explained["resources"]
    ]  # fmt: skip
    assert [str(one) for one in inside_another] == [], "the workspace of another tenant was reached"
    # everybody may ask for rights for a while; what else is asked about depends on the role
    return Counter(one.explained["verdict"] for one in seen if one.cell.operation.name != "grants.request")


async def recorded(world: World, tenant: str, name: str) -> dict[str, list[dict[str, Any]]]:
    """Give all records of somebody by invocation."""
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    cursor = None
    while True:
        page, cursor = await world.house.installation.index.query(tenant, actor=name, limit=1000, cursor=cursor)
        for record in page:
            if record["who"] == name and record["kind"] != "event":  # that it was marked by what it read is no call
                found[record["invocation"]].append(record)
        if cursor is None:
            return found


async def test_every_operation_has_an_input_that_fits_it(world: World) -> None:
    """A new operation whose schema does not say enough needs a line in `inputs.py`."""
    unfit: list[str] = []
    for operation in world.house.installation.kernel.registry:
        try:
            operation.parse(input_for(operation, world.outside))
        except InvalidInput as bad:
            unfit.append(f"{operation.name}: {bad.errors}")
    assert unfit == []


async def test_the_share_of_a_day_names_every_operation(world: World) -> None:
    daily = [cell for tenant, who in CALLERS for cell in cells(world, tenant, who, whole=False)]
    whole = [cell for tenant, who in CALLERS for cell in cells(world, tenant, who, whole=True)]
    assert {cell.operation.name for cell in daily} == {cell.operation.name for cell in whole}
    assert {cell.place for cell in daily} == {*PLACES, STEERING}
    assert len(daily) < len(whole) / 4


@promise("1.1")
@pytest.mark.parametrize(("tenant", "who"), CALLERS)
async def test_a_share_of_the_cells_is_answered_as_explained(world: World, tenant: str, who: str) -> None:
    verdicts = await judged(world, tenant, who, whole=False)
    assert verdicts["deny"] > 0 or who == "owner", verdicts


@promise("1.1")
@pytest.mark.attack
@pytest.mark.parametrize(("tenant", "who"), CALLERS)
async def test_every_cell_is_answered_as_explained(world: World, tenant: str, who: str) -> None:
    verdicts = await judged(world, tenant, who, whole=True)
    assert verdicts["allow"] > 0, verdicts
    assert verdicts["deny"] > 0, verdicts
    # a later tenant has no part of the machine but its workspaces: what lies elsewhere is refused, and not asked about
    asks = who in (AGENT, "agent") or (tenant == OWN and who in ("operator", "developer"))
    assert (verdicts["ask"] > 0) == asks, verdicts

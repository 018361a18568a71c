"""Whose processes a call may know of: a machine is one for all tenants, and a tenant's own user is the tenant's."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Generator

import pytest

from superagent.core.kernel import Kernel
from superagent.core.principal import Principal
from superagent.plugins.processes.operations import processes
from superagent.runtime.process_reach import HOST, ProcessReach
from superagent.sdk import Context, Effect, Nothing, Plugin, Risk
from superagent.testing import World, agent, allow_all, person

settings = Plugin("settings")


@settings.operation(name=HOST, risk=Risk.HIGH, effect=Effect.CHANGE, scope="instance", ephemeral="a stand-in")
async def set_(ctx: Context) -> Nothing:
    """Stand for the operation that only whoever runs the installation may call."""
    return Nothing()


@pytest.fixture
def sleeper() -> Generator[int]:
    with subprocess.Popen(["sleep", "60"]) as one:
        yield one.pid
        one.kill()


def world(user: int | None, *, of_instance: bool) -> World:
    """Give a kernel whose tenant has a user of its own or none, and people who run the installation or do not."""
    grants = [*allow_all(), *([allow_all()[0].of_instance()] if of_instance else [])]
    kernel: list[Kernel] = []
    made = World(
        processes, settings, grants=grants,
        capabilities={"processes": lambda ctx: ProcessReach(ctx, kernel[0], user)},
    )  # fmt: skip
    kernel.append(made.kernel)
    return made


async def sees(here: World, pid: int, by: Principal) -> bool:
    outcome = await here.run("processes.info", {"pid": pid}, by=by)
    return outcome.problem is None


@pytest.mark.parametrize("by", [person("eve"), agent("bot", person("eve"))])
async def test_only_where_somebody_runs_the_installation_is_the_machine_seen(sleeper: int, by: Principal) -> None:
    assert await sees(world(None, of_instance=True), sleeper, by)
    assert not await sees(world(None, of_instance=False), sleeper, by)


async def test_a_tenant_sees_what_runs_as_its_own_user_and_ends_nothing_of_another(sleeper: int) -> None:
    own, foreign = world(os.getuid(), of_instance=False), world(os.getuid() + 1, of_instance=False)
    assert await sees(own, sleeper, person())

    outcome = await foreign.run("processes.kill", {"pid": sleeper, "expected_start_time": 0, "signal": "KILL"})

    assert outcome.problem is not None
    assert outcome.problem.slug == "not-found"
    assert [one.status for one in foreign.audit.records if one.kind == "outcome"] == ["failed"]
    listed = await foreign.run("processes.list", {"limit": 10})
    assert listed.result()["total"] == 0
    os.kill(sleeper, 0)

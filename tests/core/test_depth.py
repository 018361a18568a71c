"""Calls within calls end somewhere, and what a call says beside its input holds no NUL."""

from __future__ import annotations

import pytest

from superagent.core.calls import call_from
from superagent.core.invocation import Status
from superagent.core.pipeline import DEEPEST
from superagent.core.problems import InvalidInput
from superagent.sdk import Context, Effect, Nothing, Plugin, Risk
from superagent.testing import World

deep = Plugin("deep")
reached: list[str] = []


@deep.operation(risk=Risk.LOW, effect=Effect.READ)
async def call(ctx: Context) -> Nothing:
    """Call itself."""
    reached.append(ctx.invocation.id)
    await ctx.call("deep.call", {})
    return Nothing()


async def test_an_operation_that_calls_itself_is_stopped_and_its_callers_hear_why() -> None:
    here = World(deep)
    outcome = await here.run("deep.call", {})
    assert outcome.status is Status.FAILED
    assert outcome.problem is not None
    assert (outcome.problem.slug, f"{DEEPEST} deep" in outcome.problem.detail) == ("too-large", True)
    assert len(reached) == DEEPEST + 1


@pytest.mark.parametrize("name", ["key", "session", "reason"])
def test_what_a_call_says_beside_its_input_has_no_nul(name: str) -> None:
    with pytest.raises(InvalidInput, match="NUL"):
        call_from({"operation": "x", name: "a\0b"}, "$")

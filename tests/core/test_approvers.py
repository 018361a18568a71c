"""Approvers: where two grants each demand an approval, nobody opens one with the right to the other."""

from __future__ import annotations

import pytest

from superagent.core.grants import Grant
from superagent.core.invocation import Status
from superagent.features.approvals import operations as approvals
from superagent.testing import World, agent, person
from tests.core.judging import grant
from tests.core.notes import notes_plugin

ADA = person("ada")
GRANTS: list[Grant] = [
    grant("allow", "approvals.*"),
    grant("ask", "notes.write", require={"by": ["role:operator"]}),
    grant("deny", "notes.write", require={"by": ["role:security"]}),
]


@pytest.mark.parametrize(
    ("roles", "expected"),
    [(("operator",), "failed"), (("security",), "failed"), ((), "failed"), (("operator", "security"), "done")],
)
async def test_an_approver_must_satisfy_every_grant_that_demands_one(roles: tuple[str, ...], expected: str) -> None:
    here = World(notes_plugin({}), grants=GRANTS)
    plugin = approvals.plugin(here.kernel.approvals, here.work)
    here.kernel.registry = type(here.kernel.registry)([*here.kernel.registry, *plugin.compile()])
    async with here.kernel.serving():
        waiting = await here.run("notes.write", {"name": "a", "text": "new"}, by=agent("builder", of=ADA))
        assert waiting.status is Status.WAITING
        asked = {"id": waiting.invocation, "decision": "approve", "reason": "looked at it"}
        decided = await here.run("approvals.decide", asked, by=person("bob", roles=roles))
    assert decided.status.value == expected
    assert expected == "done" or "role:operator and role:security" in str(decided.problem)

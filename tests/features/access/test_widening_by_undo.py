"""Rights are not widened by taking back: what ends a `deny` or puts back an `allow` asks what granting asks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from superagent.core.principal import Principal
from tests.features.access.test_serving_oneself import Cast, cast
from tests.promise import promise

DENY = {"effect": "deny", "operations": ["files.delete"], "subject": "role:developer"}
ALLOW = {"effect": "allow", "operations": ["files.read"], "subject": "role:developer"}
ROLE = {"effect": "allow", "operations": ["files.read"]}
FORBIDS = {"effect": "deny", "operations": ["files.delete"]}


async def _without_factor(here: Cast) -> tuple[Principal, Principal]:
    """Give an owner of the tenant who shows no second factor, and the same one who does."""
    fresh = await here.person("boss", "owner")
    return replace(fresh, second_factor_at=None), fresh


async def _taken_back(here: Cast, made: Any, said: str, slug: str = "step-up-required") -> None:
    """Check that a call is taken back only by whoever shows a second factor, and that the refusal changes nothing."""
    plain, fresh = await _without_factor(here)
    before = await here.done(fresh, "grants.list")
    refused = await here.run(plain, "undo.apply", {"ids": [made.invocation]})
    await here.refused(plain, refused, said, slug)
    assert await here.done(fresh, "grants.list") == before
    assert (done := await here.run(fresh, "undo.apply", {"ids": [made.invocation]})).problem is None, done.problem
    assert await here.done(fresh, "grants.list") != before


@promise("11.12c")
@pytest.mark.parametrize(
    ("first", "operation", "input", "said"),
    [
        (None, "grants.create", {"grant": DENY}, "forbids something needs a fresh second factor"),
        (ALLOW, "grants.revoke", {"id": "FIRST"}, "permits something needs a fresh second factor"),
        # what somebody may not do as things stand, they do not see among what they may take back either
        (None, "policy.apply", {"add": [DENY]}, "nothing that you may take back"),
    ],
)
async def test_taking_back_what_narrowed_rights_needs_a_second_factor(
    tmp_path: Path, first: dict[str, Any] | None, operation: str, input: dict[str, Any], said: str
) -> None:
    async with cast(tmp_path) as here:
        owner = await here.owner()
        if first is not None:
            input = {"id": (await here.done(owner, "grants.create", {"grant": first}))["id"]}
        made = await here.run(owner, operation, input)
        assert made.problem is None
        await _taken_back(here, made, said, "not-found" if operation == "policy.apply" else "step-up-required")


async def test_taking_back_what_widened_rights_needs_none(tmp_path: Path) -> None:
    async with cast(tmp_path) as here:
        owner = await here.owner()
        made = await here.run(owner, "grants.create", {"grant": ALLOW})
        ended = await here.run(
            owner, "grants.revoke", {"id": (await here.done(owner, "grants.create", {"grant": DENY}))["id"]}
        )
        plain, _ = await _without_factor(here)
        for one in (made, ended):
            assert (await here.run(plain, "undo.apply", {"ids": [one.invocation]})).problem is None


@pytest.mark.parametrize("to", [[ROLE], [FORBIDS]])
async def test_a_role_gets_back_what_it_permitted_and_loses_what_it_forbade_only_with_a_second_factor(
    tmp_path: Path, to: list[dict[str, Any]]
) -> None:
    async with cast(tmp_path) as here:
        owner = await here.owner()
        await here.done(owner, "access.roles.create", {"id": "own", "grants": to})
        made = await here.run(owner, "access.roles.update", {"id": "own", "grants": []})
        assert made.problem is None
        if to == [ROLE]:
            await _taken_back(here, made, "put back a role that permits something needs a fresh second factor")
        else:
            await here.done(owner, "access.roles.update", {"id": "own", "grants": to})
            plain, _ = await _without_factor(here)
            refused = await here.run(plain, "access.roles.update", {"id": "own", "grants": []})
            await here.refused(plain, refused, "to end what a role forbids needs a fresh", "step-up-required")


async def test_a_role_that_hands_on_rights_comes_back_only_with_a_second_factor(tmp_path: Path) -> None:
    async with cast(tmp_path) as here:
        owner = await here.owner()
        await here.person("ann", "admin")
        made = await here.run(owner, "access.users.set_roles", {"id": "ann", "roles": []})
        plain, fresh = await _without_factor(here)
        refused = await here.run(plain, "undo.apply", {"ids": [made.invocation]})
        await here.refused(plain, refused, "to give a role that hands on rights needs a fresh", "step-up-required")
        assert (await here.done(fresh, "access.users.show", {"id": "ann"}))["roles"] == []
        assert (await here.run(fresh, "undo.apply", {"ids": [made.invocation]})).problem is None
        assert (await here.done(fresh, "access.users.show", {"id": "ann"}))["roles"] == ["admin"]

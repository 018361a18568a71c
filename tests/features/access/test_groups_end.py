"""The grants of a group end with it, and come back with it: no later group of that name inherits them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tests.features.access.test_serving_oneself import cast
from tests.promise import promise

READ = {"effect": "allow", "operations": ["files.read"], "subject": "group:readers"}


@promise("1.1")
async def test_the_grants_of_a_deleted_group_are_no_later_groups(tmp_path: Path) -> None:
    async with cast(tmp_path) as here:
        owner, ann = await here.owner(), await here.person("ann")
        other = await here.done(owner, "grants.create", {"grant": READ | {"subject": "group:readers-too"}})
        await here.done(owner, "access.groups.create", {"id": "readers"})
        await here.done(owner, "access.groups.add_member", {"id": "readers", "member": "user:ann"})
        made = await here.done(owner, "grants.create", {"grant": READ})
        ended = await here.done(owner, "grants.create", {"grant": READ})
        await here.done(owner, "grants.revoke", {"id": ended["id"]})
        file = tmp_path / "file"
        file.write_text("x")

        deleted = await here.run(owner, "access.groups.delete", {"id": "readers"})
        assert deleted.problem is None
        await here.done(owner, "access.groups.create", {"id": "readers"})
        await here.done(owner, "access.groups.add_member", {"id": "readers", "member": "user:ann"})

        found = {one["id"] for one in (await here.done(owner, "grants.list"))["grants"]}
        assert found & {made["id"], ended["id"], other["id"]} == {other["id"]}
        again = await here.who_again(ann)
        refused = await here.run(again, "files.read", {"path": str(file)})
        await here.refused(ann, refused, "there is no operation", "not-found")


async def test_a_group_that_comes_back_has_its_own_grants_again_but_only_by_a_second_factor(tmp_path: Path) -> None:
    async with cast(tmp_path) as here:
        owner, boss = await here.owner(), await here.person("boss", "owner")
        await here.done(owner, "access.groups.create", {"id": "readers"})
        made = await here.done(owner, "grants.create", {"grant": READ})
        ended = await here.done(owner, "grants.create", {"grant": READ})
        await here.done(owner, "grants.revoke", {"id": ended["id"]})
        deleted = await here.run(owner, "access.groups.delete", {"id": "readers"})

        plain = replace(boss, second_factor_at=None)
        refused = await here.run(plain, "undo.apply", {"ids": [deleted.invocation]})
        await here.refused(plain, refused, "to put back a group with what it permits", "step-up-required")
        undone = await here.run(boss, "undo.apply", {"ids": [deleted.invocation]})

        assert undone.problem is None, undone.problem
        found = {one["id"] for one in (await here.done(owner, "grants.list"))["grants"]}
        assert found & {made["id"], ended["id"]} == {made["id"]}


async def test_no_group_is_made_under_a_name_that_grants_speak_of(tmp_path: Path) -> None:
    async with cast(tmp_path) as here:
        owner = await here.owner()
        made = await here.done(owner, "grants.create", {"grant": READ})

        refused = await here.run(owner, "access.groups.create", {"id": "readers"})

        await here.refused(owner, refused, made["id"], "conflict")
        await here.done(owner, "grants.revoke", {"id": made["id"]})
        await here.done(owner, "access.groups.create", {"id": "readers"})

"""What an operation refuses whoever policy lets through, `policy.explain` says as well: one truth."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from superagent.app import Installation, open_installation
from superagent.core.invocation import Call, Outcome
from superagent.core.principal import Principal
from superagent.settings import load


async def run(here: Installation, operation: str, input: dict[str, Any], by: Principal, **call: Any) -> Outcome:
    return await here.kernel.run(Call(operation, input, **call), by, "cli")


async def test_rights_for_oneself_are_explained_as_they_are_answered(tmp_path: Path) -> None:
    async with open_installation(load(tmp_path / "data", environ={})) as here:
        owner = await here.owner()
        for name, roles in (("bea", ["admin"]), ("cleo", ["viewer"])):
            made = await run(here, "access.users.create", {"id": name, "roles": roles}, owner)
            assert made.problem is None, made.problem
        made = await run(here, "access.groups.create", {"id": "crew", "roles": ["viewer"]}, owner)
        assert made.problem is None, made.problem
        bea = Principal("bea", "human", "default", ("admin",), second_factor_at=here.kernel.hands.clock.now())

        def grant(subject: str) -> dict[str, Any]:
            return {"effect": "allow", "subject": subject, "operations": ["files.read"]}

        cases: list[tuple[str, dict[str, Any], str]] = [
            ("grants.create", {"grant": grant("user:bea")}, "deny"),
            ("grants.create", {"grant": grant("role:admin")}, "deny"),
            ("grants.create", {"grant": grant("user:cleo")}, "allow"),
            ("grants.create", {"grant": grant("user:bea") | {"effect": "deny"}}, "allow"),
            ("policy.apply", {"add": [grant("user:bea")]}, "deny"),
            ("policy.apply", {"add": [grant("user:cleo")]}, "allow"),
            ("access.groups.add_member", {"id": "crew", "member": "user:bea"}, "deny"),
            ("access.groups.add_member", {"id": "crew", "member": "user:cleo"}, "allow"),
            ("access.users.set_roles", {"id": "bea", "roles": ["admin", "viewer"]}, "deny"),
            ("access.users.set_roles", {"id": "cleo", "roles": ["viewer", "agent"]}, "allow"),
        ]
        for operation, input, verdict in cases:
            asked = {"operation": operation, "input": input, "actor": "user:bea", "second_factor_age_s": 0.0}
            told = (await run(here, "policy.explain", asked, owner)).result()
            assert told["verdict"] == verdict, (operation, input, told)
            dry = await run(here, operation, input, bea, dry_run=True)
            real = await run(here, operation, input, bea)
            for outcome in (dry, real):
                assert (outcome.problem is None) is (verdict == "allow"), (operation, input, outcome.problem)
            if verdict == "deny":
                assert real.problem is not None
                assert (told["status"], told["reason"]) == (403, real.problem.detail)
                assert real.problem.changed == "nothing"


async def test_what_people_may_do_with_people_roles_groups_and_keys_is_explained_as_it_is_answered(
    tmp_path: Path,
) -> None:
    async with open_installation(load(tmp_path / "data", environ={})) as here:
        owner = await here.owner()
        for name, roles in (("bea", ["admin"]), ("cleo", ["viewer"])):
            made = await run(here, "access.users.create", {"id": name, "roles": roles}, owner)
            assert made.problem is None, made.problem
        for operation, input in (
            ("access.groups.create", {"id": "crew", "roles": ["viewer"]}),
            ("access.groups.create", {"id": "owners", "roles": ["owner"]}),
            ("access.groups.add_member", {"id": "crew", "member": "user:bea"}),
            ("access.roles.create", {"id": "hers", "grants": [{"effect": "deny", "operations": ["files.read"]}]}),
            ("access.users.set_roles", {"id": "bea", "roles": ["admin", "hers"]}),
        ):
            made = await run(here, operation, input, owner)
            assert made.problem is None, made.problem
        key = (await run(here, "access.keys.create", {"name": "bot"}, owner)).result()
        now = here.kernel.hands.clock.now()
        bea = Principal("bea", "human", "default", ("admin", "hers", "viewer"), second_factor_at=now, groups=("crew",))
        allows = [{"effect": "allow", "operations": ["files.read"]}]
        cases: list[tuple[str, dict[str, Any], str]] = [
            ("access.users.suspend", {"id": "bea"}, "deny"),
            ("access.users.suspend", {"id": "owner"}, "deny"),
            ("access.users.remove", {"id": "owner"}, "deny"),
            ("access.users.suspend", {"id": "cleo"}, "allow"),
            ("access.users.resume", {"id": "cleo"}, "allow"),
            ("access.users.confirm", {"id": "cleo"}, "deny"),
            ("access.users.create", {"id": "dan", "roles": ["operator"], "key": True}, "deny"),
            ("access.users.create", {"id": "dan", "roles": ["operator"]}, "allow"),
            ("access.groups.create", {"id": "other", "roles": ["viewer"]}, "allow"),
            ("access.groups.remove_member", {"id": "owners", "member": "user:cleo"}, "deny"),
            ("access.groups.delete", {"id": "owners"}, "deny"),
            ("access.roles.update", {"id": "hers", "grants": allows}, "deny"),
            ("access.roles.create", {"id": "theirs", "grants": allows}, "allow"),
            ("access.agents.create", {"id": "svc", "kind": "service", "role": "operator"}, "deny"),
            ("access.agents.create", {"id": "mine", "role": "agent"}, "allow"),
            ("access.keys.create", {"name": "more", "agent": "bot"}, "deny"),
            ("access.keys.rotate", {"id": key["id"]}, "deny"),
        ]
        for operation, input, verdict in cases:
            asked = {"operation": operation, "input": input, "actor": "user:bea", "second_factor_age_s": 0.0}
            told = (await run(here, "policy.explain", asked, owner)).result()
            assert told["verdict"] == verdict, (operation, input, told)
            real = await run(here, operation, input, bea)
            assert (real.problem is None) is (verdict == "allow"), (operation, input, real.problem)
            if verdict == "deny":
                assert real.problem is not None
                assert (told["status"], told["reason"]) == (403, real.problem.detail)
                assert real.problem.changed == "nothing"

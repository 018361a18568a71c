"""An admin cannot serve itself: not through a person or a service that it makes, nor by what it gives, by any door."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from superagent.app import Installation, open_installation
from superagent.core.invocation import Call, Outcome, Status
from superagent.core.principal import Credential, Facts, Principal, Secret
from superagent.settings import load
from tests.promise import promise

READ = {"effect": "allow", "operations": ["files.read"]}
ASK_ADMINS = {"effect": "ask", "operations": ["files.read"]}
ASK_TWO = {"effect": "deny", "operations": ["files.read"], "require": {"approvals": 2}}


class Cast:
    """An installation with an owner, and whoever the tests add."""

    def __init__(self, here: Installation) -> None:
        self.here = here
        self.keys: dict[str, str] = {}

    async def owner(self) -> Principal:
        return await self.here.owner()

    async def run(self, by: Principal, operation: str, input: dict[str, Any] | None = None, **call: Any) -> Outcome:
        return await self.here.kernel.run(Call(operation, input or {}, **call), by, "http")

    async def done(self, by: Principal, operation: str, input: dict[str, Any] | None = None) -> Any:
        return (await self.run(by, operation, input)).result()

    async def who(self, key: str) -> Principal:
        """Give whoever shows a key, with a second factor of this moment: nothing here fails for want of one."""
        found = await self.here.kernel.identify(Credential("bearer", Secret(key), Facts("127.0.0.1", "", "http")))
        fresh = self.here.kernel.hands.clock.now()
        self.keys[found.id] = key
        return found if found.kind != "human" else replace(found, second_factor_at=fresh)

    async def who_again(self, one: Principal) -> Principal:
        """Give somebody with the roles and groups of now."""
        return await self.who(self.keys[one.id])

    async def person(self, id: str, *roles: str, by: Principal | None = None, own: bool = True) -> Principal:
        """Add a person; `own` says that an owner confirmed it."""
        input = {"id": id, "roles": list(roles), "key": True}
        made = await self.done(by or await self.owner(), "access.users.create", input)
        if own:
            await self.done(await self.owner(), "access.users.confirm", {"id": id})
        return await self.who(made["key"])

    async def waits(self, by: Principal, path: str = "/etc/hostname") -> str:
        outcome = await self.run(by, "files.read", {"path": path})
        assert outcome.status is Status.WAITING, outcome
        return outcome.invocation

    async def decide(self, by: Principal, id: str) -> Outcome:
        return await self.run(by, "approvals.decide", {"id": id, "decision": "approve"})

    async def refused(self, by: Principal, outcome: Outcome, said: str, slug: str = "denied") -> None:
        """Check that a call was refused, why, and that one record of it names who called."""
        assert outcome.problem is not None, outcome.output
        assert outcome.problem.slug == slug, outcome.problem
        assert said in str(outcome.problem), outcome.problem
        records = (await self.here.index.query("default", invocation=outcome.invocation, limit=5))[0]
        ended = [one for one in records if one["kind"] in ("outcome", "refused")]
        assert [(one["who"], one["problem"]) for one in ended] == [(by.id, slug)]


@asynccontextmanager
async def cast(folder: Path) -> AsyncGenerator[Cast]:
    async with open_installation(load(folder / "data", {}, environ={})) as here:
        yield Cast(here)


@promise("11.12c")
async def test_whoever_made_a_person_is_no_other_person(tmp_path: Path) -> None:
    async with cast(tmp_path) as here:
        owner, admin = await here.owner(), await here.person("admin", "admin")
        puppet = await here.person("puppet", "admin", by=admin, own=False)
        await here.done(owner, "grants.create", {"grant": ASK_ADMINS | {"subject": "role:admin"}})

        own, theirs = await here.waits(admin), await here.waits(puppet)
        await here.refused(puppet, await here.decide(puppet, own), "`admin` made one of the two")
        await here.refused(admin, await here.decide(admin, theirs), "counts as who asks")
        assert (await here.done(owner, "approvals.show", {"id": own}))["approved_by"] == []

        refused = await here.run(admin, "access.users.confirm", {"id": "puppet"})
        await here.refused(admin, refused, "only an owner says so")
        await here.refused(puppet, await here.run(puppet, "access.users.confirm", {"id": "admin"}), "only an owner")
        shown = await here.done(admin, "access.users.show", {"id": "puppet"})
        assert [(one["by"], one["how"]) for one in shown["hands"]] == [("admin", "key"), ("admin", "made")]

        confirmed = await here.run(owner, "access.users.confirm", {"id": "puppet"})
        assert (await here.decide(admin, theirs)).problem is None
        again = await here.run(owner, "access.users.confirm", {"id": "puppet"})
        await here.refused(owner, again, "already", "conflict")
        undone = await here.run(owner, "undo.apply", {"ids": [confirmed.invocation]})
        assert undone.problem is None, undone.problem
        await here.refused(puppet, await here.decide(puppet, own), "counts as who asks")


@promise("11.12c")
async def test_two_approvals_never_come_from_one_pair_of_hands(tmp_path: Path) -> None:
    async with cast(tmp_path) as here:
        owner, asks = await here.owner(), await here.person("asks", "developer")
        admin, other = await here.person("admin", "admin"), await here.person("other", "admin")
        puppet = await here.person("puppet", "admin", by=admin, own=False)
        second = await here.person("second", "admin", by=puppet, own=False)
        await here.done(owner, "grants.create", {"grant": ASK_TWO | {"subject": "user:asks"}})
        id = await here.waits(asks)

        assert (await here.decide(second, id)).problem is None
        for one in (puppet, admin):
            await here.refused(one, await here.decide(one, id), "counts as the same person as `second`")
        assert (await here.done(owner, "approvals.show", {"id": id}))["approved_by"] == ["second"]

        assert (await here.decide(other, id)).problem is None
        kept = await here.here.kernel.hands.work.get("default", id)
        assert kept is not None
        assert kept.approved_by == ("second", "other")


async def test_the_store_counts_no_second_approval_of_the_same_hands_even_when_both_come_at_once(
    tmp_path: Path,
) -> None:
    async with cast(tmp_path) as here:
        owner, asks = await here.owner(), await here.person("asks", "developer")
        admin = await here.person("admin", "admin")
        await here.person("puppet", "admin", by=admin, own=False)
        await here.done(owner, "grants.create", {"grant": ASK_TWO | {"subject": "user:asks"}})
        id = await here.waits(asks)
        work = here.here.kernel.hands.work

        await work.approve("default", id, "puppet")  # as a process does whose look was a moment ago
        with pytest.raises(Exception, match="counts as the same person"):
            await work.approve("default", id, "admin")
        kept = await work.get("default", id)
        assert kept is not None
        assert kept.approved_by == ("puppet",)


@promise("11.12c")
async def test_who_answers_for_a_service_approves_nothing_for_it_that_they_may_not_do(tmp_path: Path) -> None:
    async with cast(tmp_path) as here:
        owner, admin = await here.owner(), await here.person("admin", "admin")
        await here.done(admin, "access.agents.create", {"id": "robot", "kind": "service", "role": None})
        made = await here.done(admin, "access.keys.create", {"name": "k", "agent": "robot"})
        await here.done(owner, "grants.create", {"grant": ASK_ADMINS | {"subject": "service:robot"}})
        id = await here.waits(await here.who(made["key"]))

        await here.refused(admin, await here.decide(admin, id), "counts as who asks")
        assert (await here.decide(owner, id)).problem is None

        # the owner may read it unasked, so approving it for a service of theirs gains nothing
        await here.done(owner, "access.agents.create", {"id": "mine", "kind": "service", "role": None})
        made = await here.done(owner, "access.keys.create", {"name": "k", "agent": "mine"})
        await here.done(owner, "grants.create", {"grant": ASK_ADMINS | {"subject": "service:mine"}})
        assert (await here.decide(owner, await here.waits(await here.who(made["key"])))).problem is None


@promise("11.12c")
async def test_rights_for_a_while_are_approved_by_who_may_give_them_and_never_for_a_hand_of_ones_own(
    tmp_path: Path,
) -> None:
    async with cast(tmp_path) as here:
        owner, admin = await here.owner(), await here.person("admin", "admin")
        operator, worker = await here.person("operator", "operator"), await here.person("worker")
        puppet = await here.person("puppet", by=admin, own=False)
        asked = {"operations": ["files.read"], "minutes": 5, "reason": "please"}
        ids = [(await here.run(one, "grants.request", asked)).invocation for one in (puppet, worker)]
        before = await here.done(owner, "grants.list")

        await here.refused(admin, await here.decide(admin, ids[0]), "counts as who asks")
        for id in ids:
            await here.refused(operator, await here.decide(operator, id), "people who may do `grants.create`")
        assert await here.done(owner, "grants.list") == before

        assert (await here.decide(admin, ids[1])).problem is None


GIVES: list[tuple[str, dict[str, Any], str]] = [
    ("access.users.create", {"id": "p", "roles": ["operator"], "key": True}, "the first key of `p` would let you act"),
    ("access.users.set_roles", {"id": "puppet", "roles": ["admin", "operator"]}, "the role operator, which they lack"),
    ("access.users.invite", {"user": "worker"}, "roles that you have not"),
    ("access.agents.create", {"id": "s", "kind": "service", "role": "operator"}, "the service `s` would let you act"),
    ("access.keys.create", {"name": "k", "agent": "robot", "grants": [READ]}, "`service:robot`"),
    ("access.groups.add_member", {"id": "readers", "member": "user:puppet"}, "`user:puppet`"),
    ("access.groups.add_member", {"id": "readers", "member": "agent:robot"}, "`agent:robot`"),
    ("access.roles.update", {"id": "held", "grants": [READ]}, "`role:held`"),
    ("access.roles.update", {"id": "held", "grants": []}, "`role:held`"),
    *(
        ("grants.create", {"grant": READ | {"subject": one}}, f"`{one}`")
        for one in ("user:admin", "user:puppet", "role:admin", "role:held", "group:mine", "service:robot", "*")
    ),
    ("grants.create", {"grant": READ | {"subject": "key:PUPPET"}}, "`key:"),
    ("grants.create", {"grant": READ | {"subject": "key:ROBOT"}}, "`key:"),
    ("grants.request", {"operations": ["files.read"], "minutes": 5, "reason": "mine"}, "`user:admin`"),
    ("grants.revoke", {"id": "DENY"}, "`user:admin`"),
    ("policy.apply", {"add": [READ | {"subject": "role:admin"}]}, "`role:admin`"),
    ("policy.apply", {"remove": ["DENY"]}, "`user:admin`"),
    ("access.clients.rotate", {"id": "CLIENT"}, "acts for `owner`"),
]


@promise("11.12c")
async def test_an_admin_gives_nothing_that_it_lacks_to_itself_nor_to_whom_it_could_act_as(tmp_path: Path) -> None:
    async with cast(tmp_path) as here:
        owner = await here.owner()
        words = await _stage(here, owner)
        admin = await here.who(words["ADMIN"])
        before = await here.done(owner, "grants.list")
        for operation, input, said in GIVES:
            plain = _spelled(input, words)
            await here.refused(admin, await here.run(admin, operation, plain), said)
        puppet = await here.who(words["puppet"])
        back = await here.run(puppet, "access.users.set_roles", {"id": "admin", "roles": ["admin", "held", "operator"]})
        await here.refused(puppet, back, "which they lack")
        assert await here.done(owner, "grants.list") == before
        assert (await here.done(owner, "access.users.show", {"id": "puppet"}))["roles"] == ["admin"]


async def test_an_admin_goes_on_giving_to_others_and_an_owner_to_anybody(tmp_path: Path) -> None:
    async with cast(tmp_path) as here:
        owner = await here.owner()
        words = await _stage(here, owner)
        admin = await here.who(words["ADMIN"])
        for by, operation, input in (
            (admin, "access.users.create", {"id": "p", "roles": ["operator"]}),
            (admin, "access.users.set_roles", {"id": "worker", "roles": ["operator", "developer"]}),
            (admin, "access.groups.add_member", {"id": "readers", "member": "user:worker"}),
            (admin, "grants.create", {"grant": READ | {"subject": "user:worker"}}),
            (admin, "grants.create", {"grant": READ | {"subject": "role:operator"}}),
            (admin, "access.roles.create", {"id": "fresh", "grants": [READ]}),
            (admin, "policy.apply", {"add": [READ | {"subject": "user:worker"}]}),
            (owner, "grants.create", {"grant": READ | {"subject": "*"}}),
            (owner, "access.users.create", {"id": "q", "roles": ["operator"], "key": True}),
        ):
            assert (done := await here.run(by, operation, input)).problem is None, (operation, done.problem)


async def _stage(here: Cast, owner: Principal) -> dict[str, str]:
    """Make an admin with a puppet, a service, a group and a role of its own, and somebody it has nothing to do with."""
    deny = READ | {"effect": "deny"}
    await here.done(owner, "access.roles.create", {"id": "held", "grants": [deny]})
    made = await here.done(owner, "access.users.create", {"id": "admin", "roles": ["admin", "held"], "key": True})
    await here.done(owner, "access.users.confirm", {"id": "admin"})
    admin = await here.who(made["key"])
    puppet = await here.done(admin, "access.users.create", {"id": "puppet", "roles": ["admin"], "key": True})
    await here.done(owner, "access.users.create", {"id": "worker", "roles": ["operator"]})
    await here.done(admin, "access.agents.create", {"id": "robot", "kind": "service", "role": None})
    robot = await here.done(admin, "access.keys.create", {"name": "k", "agent": "robot"})
    for group in ("mine", "readers"):
        await here.done(owner, "access.groups.create", {"id": group})
    await here.done(owner, "access.groups.add_member", {"id": "mine", "member": "user:admin"})
    await here.done(owner, "grants.create", {"grant": READ | {"subject": "group:readers"}})
    denied = await here.done(owner, "grants.create", {"grant": deny | {"subject": "user:admin"}})
    client = await here.done(owner, "access.clients.create", {"name": "ci", "kind": "service"})
    keys = {"PUPPET": (await here.who(puppet["key"])).key, "ROBOT": robot["id"]}
    return keys | {"ADMIN": made["key"], "puppet": puppet["key"], "DENY": denied["id"], "CLIENT": client["id"]}


def _spelled(given: dict[str, Any], words: dict[str, str]) -> dict[str, Any]:
    text = json.dumps(given)
    for word in ("PUPPET", "ROBOT", "DENY", "CLIENT"):
        text = text.replace(word, words[word])
    return json.loads(text)

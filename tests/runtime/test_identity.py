"""Identity: keys are seeds, rights are capped by their maker, and an ended key is dead everywhere."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from superagent.core.changes import unkept
from superagent.core.grants import Grant
from superagent.core.limits import Rate
from superagent.core.principal import Credential, Facts, Principal, Secret
from superagent.core.problems import Conflict, Denied, InvalidInput, NotFound, Unauthenticated
from superagent.core.resources import Protected
from superagent.data.database import Database, open_database
from superagent.runtime.api_keys import mint, public_half, well_formed
from superagent.runtime.clock import SystemClock
from superagent.runtime.first_start import bootstrap
from superagent.runtime.holders import look_up
from superagent.runtime.identity import SqlIdentity
from superagent.runtime.identity_tables import AGENTS, AREA, KEYS, PEOPLE
from superagent.runtime.key_store import Asked, SqlKeys
from superagent.runtime.policies import SqlPolicies
from superagent.runtime.policy_tables import AREA as POLICY
from superagent.runtime.shared_map import SharedMap
from superagent.runtime.sign_in.tables import AREA as SIGN_IN
from superagent.testing import FakeClock
from tests.data.areas import check_area, older
from tests.where import where

pytestmark = pytest.mark.usefixtures("each_database")


class Here:
    def __init__(self, folder: Path, database: Database) -> None:
        self.folder, self.database = folder, database
        self.clock = FakeClock()
        self.shared = SharedMap(folder / "map")
        self.policies, self.keys, self.identity = self.process()

    def process(self) -> tuple[SqlPolicies, SqlKeys, SqlIdentity]:
        """Make what one more worker process would have."""
        new_id = SystemClock().new_id
        policies = SqlPolicies(
            self.database, self.shared.policy, Protected(), (), new_id, self.clock.now, lambda _: None
        )
        places = self.folder / "workspaces"
        identity = SqlIdentity(self.database, self.shared.identity, places, self.clock.now, Rate(50, 100))
        keys = SqlKeys(
            self.database, policies, self.shared.identity, places, self.clock.now, new_id, self.folder / "owner.key"
        )
        return policies, keys, identity

    async def bootstrap(self) -> bool:
        key_file = self.folder / "owner.key"
        return await bootstrap(self.database, self.folder / "workspaces", key_file, self.clock.now())

    async def owner(self) -> Principal:
        return await self.who((self.folder / "owner.key").read_text().strip())

    async def who(self, token: str, remote: str = "127.0.0.1") -> Principal:
        return await self.identity.identify(Credential("bearer", Secret(token), Facts(remote, "", "http")))

    async def make(self, name: str = "builder", **fields: Any) -> dict[str, Any]:
        ctx: Any = SimpleNamespace(principal=await self.owner(), tenant="default", now=self.clock.now())
        return await self.keys.create(ctx, Asked(name, **fields), unkept)


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Here]:
    database = await open_database(where(tmp_path / "db"), [AREA, POLICY, SIGN_IN])
    made = Here(tmp_path, database)
    await made.bootstrap()
    await made.policies.refresh()
    yield made
    made.shared.close()
    await database.close()


async def test_the_tables_are_what_the_migrations_make(tmp_path: Path) -> None:
    await check_area(AREA, tmp_path)


def test_a_key_has_a_form_that_typos_and_scanners_meet() -> None:
    token = mint()
    assert well_formed(token)
    assert not well_formed(token[:-1] + ("a" if token[-1] != "a" else "b"))
    assert not well_formed(token.replace("sak_", "ghp_"))
    assert not well_formed("sak_" + "é" * 42)
    assert not well_formed("")
    assert public_half(token) == public_half(token)
    assert public_half(mint()) != public_half(token)


async def test_the_first_start_makes_an_owner_once(here: Here) -> None:
    owner = await here.owner()
    assert (owner.id, owner.kind, owner.roles) == ("owner", "human", ("owner", "instance-owner"))
    assert owner.trusted_local
    assert (here.folder / "owner.key").stat().st_mode & 0o777 == 0o600
    assert not await here.bootstrap()


async def test_the_owner_key_is_not_stepped_up_from_elsewhere(here: Here) -> None:
    token = (here.folder / "owner.key").read_text().strip()
    assert not (await here.who(token, "10.0.0.1")).trusted_local
    assert not (await here.who(token, "forwarded:127.0.0.1")).trusted_local


async def test_nothing_in_the_database_is_a_key(here: Here) -> None:
    made = await here.make()
    rows = await here.database.read("default", lambda tx: tx.select(KEYS))
    assert made["key"] not in repr(rows)
    assert made["key"][4:20] not in repr(rows)


async def test_an_agent_key_acts_for_its_maker_in_its_own_workspace(here: Here) -> None:
    made = await here.make()
    principal = await here.who(made["key"])
    assert principal.ids == ("builder", "owner")
    assert principal.roles == ("agent",)
    assert Path(made["workspace"]).is_dir()
    assert here.identity.rate_of(principal) == Rate(50, 100)
    assert here.identity.rate_of(await here.owner()) is None


async def test_own_grants_replace_the_default_role(here: Here) -> None:
    grant = Grant(effect="allow", operations=["files.read"])
    made = await here.make(grants=[grant], workspace="/srv/app/../app")
    principal = await here.who(made["key"])
    mine = [one for one in here.policies.listed("default") if one.subject == f"key:{made['id']}"]
    assert principal.roles == ()
    assert made["workspace"] == "/srv/app"
    assert [one.operations for one in mine] == [["files.read"]]


async def test_a_revoked_key_is_dead_in_every_worker_at_once(here: Here) -> None:
    made = await here.make(grants=[Grant(effect="allow", operations=["files.read"])])
    _, _, other = here.process()
    credential = Credential("bearer", Secret(made["key"]), Facts())
    principal = await other.identify(credential)
    assert other.alive(principal)
    assert other.alive(principal)
    await here.keys.revoke("default", made["id"])
    assert not other.alive(principal)
    with pytest.raises(Unauthenticated):
        await other.identify(credential)
    assert not any(one.subject == f"key:{made['id']}" for one in here.policies.listed("default"))
    with pytest.raises(NotFound):
        await here.keys.revoke("default", made["id"])


async def test_an_expired_key_is_dead(here: Here) -> None:
    made = await here.make(expires_s=60)
    principal = await here.who(made["key"])
    here.clock.advance(61)
    assert not here.identity.alive(principal)
    with pytest.raises(Unauthenticated):
        await here.who(made["key"])


async def test_the_keys_of_a_suspended_maker_are_dead(here: Here) -> None:
    made = await here.make()
    principal = await here.who(made["key"])
    await here.database.write("default", lambda tx: tx.update(PEOPLE, PEOPLE.c.id == "owner", state="suspended"))
    here.shared.identity.bump()
    assert not here.identity.alive(principal)
    with pytest.raises(Unauthenticated):
        await here.who(made["key"])


@pytest.mark.parametrize("token", ["", "nonsense", "sak_" + "a" * 42, "\ud800"])
async def test_what_is_no_key_is_refused_without_a_look_at_the_database(here: Here, token: str) -> None:
    await here.database.close()
    with pytest.raises(Unauthenticated):
        await here.who(token)


async def test_an_unknown_key_is_refused(here: Here) -> None:
    with pytest.raises(Unauthenticated):
        await here.who(mint())


async def test_a_principal_without_a_key_is_alive(here: Here) -> None:
    assert here.identity.alive(Principal("job", "service", "default"))


async def test_names_are_taken_once_and_well_formed(here: Here) -> None:
    await here.make("one")
    with pytest.raises(Conflict):
        await here.make("one")
    with pytest.raises(Conflict):
        await here.make("owner")
    await here.keys.revoke("default", (await here.make("gone"))["id"])
    with pytest.raises(Conflict, match="exists already"):
        await here.make("gone")
    for wrong in ("", "Ada", "a/b", "..", "x" * 64, "ada\n", "\nada", "a\nb"):
        with pytest.raises(InvalidInput):
            await here.make(wrong)
    with pytest.raises(InvalidInput, match="king") as refused:
        await here.make("two", role="king")
    assert "agent" in str(refused.value.hint)


async def test_only_a_person_makes_keys(here: Here) -> None:
    ctx: Any = SimpleNamespace(principal=Principal("s", "service", "default"), tenant="default", now=0.0)
    with pytest.raises(InvalidInput):
        await here.keys.create(ctx, Asked("x"), unkept)


async def test_keys_are_listed_with_their_last_use(here: Here) -> None:
    made = await here.make()
    await here.who(made["key"])
    await here.identity.note_use()
    await here.identity.note_use()
    listed = {one["name"]: one for one in await here.keys.listed("default")}
    assert listed["builder"]["last_used_at"] == here.clock.now()
    assert listed["builder"]["hint"] == made["key"][-4:]
    assert "public" not in listed["builder"]


async def test_grants_are_seen_by_other_workers_and_can_be_ended(here: Here) -> None:
    other, _, _ = here.process()
    await other.refresh()
    made = await here.policies.create(
        "default", Grant(effect="allow", subject="user:ada", operations=["files.*"]), "owner"
    )
    assert other.stale
    await other.refresh()
    assert not other.stale
    assert made in other.listed("default")
    await here.policies.revoke("default", made.id)
    with pytest.raises(NotFound):
        await here.policies.revoke("default", made.id)
    with pytest.raises(InvalidInput, match="built-in"):
        await here.policies.revoke("default", "role:owner:1")
    await here.policies.restore("default", made, "owner")
    assert made in here.policies.listed("default")


async def test_a_tenant_without_policy_is_denied(here: Here) -> None:
    with pytest.raises(Denied):
        here.policies.of("nobody")


async def test_a_policy_that_cannot_be_read_denies_everything(here: Here) -> None:
    await here.database.close()
    with pytest.raises(Exception, match="stopping"):
        await here.policies.refresh()
    assert here.policies.of("default").grants == ()


async def test_roles_of_a_person_come_from_the_table(here: Here) -> None:
    await here.database.write(
        "default", lambda tx: tx.update(PEOPLE, PEOPLE.c.id == "owner", roles=json.dumps(["viewer"]))
    )
    here.shared.identity.bump()
    assert (await here.owner()).roles == ("viewer",)


async def test_an_older_database_gets_an_agent_for_each_of_its_keys(tmp_path: Path) -> None:
    async with older(tmp_path / "old.db", AREA, "identity_0001") as run:
        run("INSERT INTO identity_tenants (id, created_at) VALUES ('default', 1)")
        run(
            "INSERT INTO identity_people (tenant, id, roles, state, created_at)"
            " VALUES ('default', 'o', '[]', 'active', 1)"
        )
        columns = "tenant, id, public, kind, principal, role, workspace, created_by, created_at, hint"
        key = f"INSERT INTO identity_keys ({columns}) VALUES ('default', ?, 'x', ?, ?, 'agent', '/w', 'o', 1, 'h')"  # noqa: S608
        run(key, "key_a", "agent", "bot")
        run(key, "key_o", "human", "o")

    database = await open_database(where(tmp_path / "old.db"), [AREA], copies=tmp_path)
    try:
        (agent,) = await database.read("default", lambda tx: tx.select(AGENTS))
        (first,) = await database.read("default", lambda tx: tx.select(KEYS, KEYS.c.label == "owner.key"))
        found = await database.read_instance(lambda tx: look_up(tx, "key_a"))
    finally:
        await database.close()
    assert (agent.id, agent.owner, agent.role, agent.state) == ("bot", "o", "agent", "active")
    assert first.id == "key_o"
    assert found is not None
    assert found.until(2.0)


async def test_the_key_of_the_first_start_gets_a_successor_in_its_file(here: Here) -> None:
    before = (here.folder / "owner.key").read_text()
    owner = await here.owner()

    await here.keys.revoke("default", owner.key, by=owner)

    after = (here.folder / "owner.key").read_text()
    assert before != after
    with pytest.raises(Unauthenticated):
        await here.who(before.strip())
    assert (await here.owner()).trusted_local

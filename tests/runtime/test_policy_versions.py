"""Versions of policy in the store: every change has one, whoever made it, and every worker sees it as a whole."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from superagent.core.grants import Grant
from superagent.core.problems import Conflict, NotFound, TooLarge
from superagent.core.resources import Protected
from superagent.data.database import Database, open_database
from superagent.data.transaction import InstanceTransaction, Transaction
from superagent.runtime import policy_book as book_module
from superagent.runtime.clock import SystemClock
from superagent.runtime.identity_tables import AREA as IDENTITY
from superagent.runtime.identity_tables import GRANTS, TENANTS
from superagent.runtime.policies import PLATFORM, SqlPolicies
from superagent.runtime.policy_book import PolicyBook
from superagent.runtime.policy_tables import AREA
from superagent.runtime.shared_map import SharedMap
from superagent.testing import FakeClock
from tests.data.areas import check_area
from tests.promise import promise
from tests.where import where

pytestmark = pytest.mark.usefixtures("each_database")
NEW_ID = SystemClock().new_id


class Here:
    """One installation's policy, and as many workers as are asked for."""

    def __init__(self, folder: Path, database: Database) -> None:
        self.database, self.shared, self.clock = database, SharedMap(folder / "map"), FakeClock()
        self.policies = self.worker()
        self.book = PolicyBook(database, self.policies, NEW_ID, self.clock.now)

    def worker(self, protected: Protected | None = None) -> SqlPolicies:
        return SqlPolicies(
            self.database, self.shared.policy, protected or Protected(), (), NEW_ID, self.clock.now, lambda _: None
        )


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Here]:
    database = await open_database(where(tmp_path / "db"), [IDENTITY, AREA])

    def tenants(tx: InstanceTransaction) -> None:
        for tenant in ("system", "default"):
            tx.insert(TENANTS, id=tenant, created_at=1.0)

    await database.write_instance(tenants)
    made = Here(tmp_path, database)
    await made.policies.refresh()
    yield made
    made.shared.close()
    await database.close()


def reading(subject: str = "agent:a") -> Grant:
    return Grant(effect="allow", subject=subject, operations=["files.read"])


async def test_the_tables_are_what_the_migrations_make(tmp_path: Path) -> None:
    await check_area(AREA, tmp_path)


async def test_the_first_look_numbers_what_is_there(here: Here) -> None:
    first = await here.book.version("default", 1)
    assert (first.author, here.policies.of("default").version) == (PLATFORM, 1)
    assert (await here.book.present("default")).grants == ()
    await here.worker().refresh()
    assert [one.number for one in await here.book.versions("default", None, 10)] == [1]


@promise("1.1")
async def test_each_change_is_a_version_with_author_time_reason_and_digest(here: Here) -> None:
    here.clock.advance(10)
    made = await here.policies.create("default", reading(), "ada")
    await here.policies.revoke("default", made.id, "bob")
    await here.policies.restore("default", made, "ada")

    four, three, two, one = await here.book.versions("default", None, 10)

    assert [entry.author for entry in (one, two, three, four)] == [PLATFORM, "ada", "bob", "ada"]
    assert two.at == here.clock.now()
    assert made.id in two.reason
    assert (two.digest, one.digest) == (four.digest, three.digest)
    assert two.digest != one.digest
    held = [[grant.id for grant in (await here.book.edition("default", n)).grants] for n in (1, 2, 3, 4)]
    assert held == [[], [made.id], [], [made.id]]
    assert here.policies.of("default").version == 4
    assert here.policies.of("system").version == 1
    with pytest.raises(NotFound):
        await here.book.edition("default", 5)


async def test_a_change_that_nobody_numbered_is_numbered_at_the_next_look(here: Here) -> None:
    def beside(tx: Transaction) -> None:
        tx.insert(
            GRANTS, id="grant_x", body=reading().model_dump_json(exclude_defaults=True), created_by="", created_at=1.0
        )

    await here.database.write("default", beside)
    await here.policies.changed()

    assert here.policies.of("default").version == 2
    assert (await here.book.version("default", 2)).author == PLATFORM
    assert [one.id for one in (await here.book.edition("default", 2)).grants] == ["grant_x"]


@promise("1.1")
async def test_another_worker_sees_the_whole_change_or_nothing_of_it(here: Here) -> None:
    """A change of a hundred grants: each snapshot that a worker holds meanwhile is one version or the other."""
    other = here.worker()
    await other.refresh()
    before = other.of("default")
    added = [reading(f"agent:a{at}") for at in range(100)]
    seen: list[tuple[int, int]] = []

    async def look() -> None:
        while other.of("default").version < 2:
            if other.stale:
                await other.refresh()
            policy = other.of("default")
            seen.append((policy.version, len(policy.grants)))
            await asyncio.sleep(0)

    base = (await here.book.present("default")).digest
    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        group.create_task(look())
        group.create_task(here.book.apply("default", base, added, [], "ada", ""))

    assert set(seen) <= {(1, len(before.grants)), (2, len(before.grants) + 100)}
    assert seen[-1][0] == 2


async def test_the_policy_of_another_tenant_stays_with_all_that_was_compiled(here: Here) -> None:
    system, default = here.policies.of("system"), here.policies.of("default")
    await here.policies.create("default", reading(), "ada")
    assert here.policies.of("system") is system
    assert here.policies.of("default") is not default


async def test_what_was_changed_meanwhile_is_not_applied_upon(here: Here) -> None:
    base = (await here.book.present("default")).digest
    made = await here.policies.create("default", reading(), "ada")
    with pytest.raises(Conflict):
        await here.book.apply("default", base, [reading("agent:b")], [], "ada", "")
    now = (await here.book.present("default")).digest
    with pytest.raises(Conflict, match="not in force"):
        await here.book.apply("default", now, [reading("agent:b")], ["grant_none"], "ada", "")
    assert [one.id for one in (await here.book.present("default")).grants] == [made.id]
    assert here.policies.of("default").version == 2


@promise("1.1")
async def test_of_two_who_apply_at_once_one_does(here: Here) -> None:
    base = (await here.book.present("default")).digest
    tries = [here.book.apply("default", base, [reading(f"agent:{name}")], [], name, "") for name in "ab"]
    done = await asyncio.gather(*tries, return_exceptions=True)
    assert sorted(type(one).__name__ for one in done) == ["Conflict", "int"]
    assert len((await here.book.present("default")).grants) == 1


async def test_grants_of_keys_are_no_part_of_what_people_write_and_stay(here: Here) -> None:
    await here.policies.create("default", reading("key:k1"), "ada")
    present = await here.book.present("default")
    assert present.grants == ()
    await here.book.apply("default", present.digest, [reading()], [], "ada", "")
    await here.book.restore("default", 1, "ada", "")
    subjects = [one.subject for one in here.policies.listed("default")]
    assert "key:k1" in subjects
    assert "agent:a" not in subjects


async def test_proposals_have_a_most_and_make_room_of_what_is_over(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(book_module, "MOST_WAITING", 2)
    monkeypatch.setattr(book_module, "MOST_TO_KEEP", 3)
    for name in ("a", "b"):
        for _ in range(2 if name == "a" else 1):
            await here.book.propose("default", (name, "ada"), [reading()], [], "")
    with pytest.raises(TooLarge, match="yours"):
        await here.book.propose("default", ("a", "ada"), [reading()], [], "")
    with pytest.raises(TooLarge, match="wait already"):
        await here.book.propose("default", ("c", "ada"), [reading()], [], "")
    first = (await here.book.proposals("default", author="a", state=None, after="", limit=1))[0]
    await here.book.withdraw("default", first.id, "a")
    await here.book.propose("default", ("c", "ada"), [reading()], [], "")
    with pytest.raises(NotFound):
        await here.book.proposal("default", first.id)
    assert await here.book.proposals("system", author=None, state=None, after="", limit=9) == []


async def test_the_workspaces_of_other_tenants_are_closed_in_every_snapshot(here: Here) -> None:
    worker = here.worker(Protected(("/data",), "/data/workspaces"))
    await worker.refresh()
    for policy in (worker.of("default"), worker.supposed("default", [reading()], [])):
        assert policy.protected.covers("/data/workspaces/others/a/f")
        assert not policy.protected.covers("/data/workspaces/default/a/f")

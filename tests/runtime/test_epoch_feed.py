"""Epochs between hosts: two maps of memory that know of each other only by a database server."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path

import pytest

from superagent.core.taint import Mark
from superagent.data import dialect
from superagent.data.database import dialect_of, open_database
from superagent.runtime import epoch_feed
from superagent.runtime.epoch_feed import AREA, EpochFeed
from superagent.runtime.places import prepare
from superagent.runtime.shared_map import Epoch, SharedMap
from superagent.runtime.stores import open_stores
from superagent.settings import load
from tests.data.areas import check_area
from tests.postgresql import Server
from tests.until import until, until_async


@contextmanager
def host(folder: Path, url: str) -> Generator[tuple[Epoch, Epoch, EpochFeed]]:
    """Give the epochs of a host of its own and what carries them."""
    folder.mkdir(exist_ok=True)
    shared, dialect = SharedMap(folder / "shared.map"), dialect_of(url)
    feed = EpochFeed(dialect, {"policy": shared.policy, "identity": shared.identity})
    feed.start()
    try:
        yield feed.told("policy"), feed.told("identity"), feed
    finally:
        feed.close()
        dialect.engine.dispose()
        shared.close()


@pytest.mark.usefixtures("each_database")
async def test_the_tables_are_those_of_the_migration(tmp_path: Path) -> None:
    await check_area(AREA, tmp_path)


async def test_a_change_on_one_host_is_seen_on_the_other_and_the_other_way_round(
    tmp_path: Path, postgres: Server
) -> None:
    url = postgres.url(str(tmp_path))
    await (await open_database(url, [AREA], copies=tmp_path)).close()
    with host(tmp_path / "a", url) as (policy, identity, _), host(tmp_path / "b", url) as (far_policy, far_identity, _):
        before, far = far_policy.read(), policy.read()
        policy.bump()
        await until_async(lambda: far_policy.read() > before, "the change of policy")
        assert policy.read() > far
        before = identity.read()
        far_identity.bump()
        await until_async(lambda: identity.read() > before, "the change of identity")


async def test_a_host_whose_connection_was_cut_hears_of_what_happened_meanwhile(
    tmp_path: Path, postgres: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(epoch_feed, "RETRY_S", 0.05)
    url = postgres.url(str(tmp_path))
    await (await open_database(url, [AREA], copies=tmp_path)).close()
    name = url.partition("@/")[2].partition("?")[0]

    def listening() -> list[tuple[object, ...]]:
        return postgres.run(f"SELECT pid FROM pg_stat_activity WHERE datname = '{name}' AND query LIKE '%epochs_c%'")  # noqa: S608

    with host(tmp_path / "a", url) as (policy, _, _), host(tmp_path / "b", url) as (far, _, _):
        until(lambda: len(listening()) == 2, "both hosts")
        for (pid,) in listening():
            postgres.run(f"SELECT pg_terminate_backend({pid})")
        before = far.read()
        policy.bump()
        await until_async(lambda: far.read() > before, "the change")


async def test_what_was_to_be_told_when_a_host_stops_is_told(tmp_path: Path, postgres: Server) -> None:
    url = postgres.url(str(tmp_path))
    await (await open_database(url, [AREA], copies=tmp_path)).close()
    with host(tmp_path / "b", url) as (far, _, _):
        before = far.read()
        with host(tmp_path / "a", url) as (policy, _, _):
            policy.bump()
        await until_async(lambda: far.read() > before, "the last change")


async def test_every_store_of_an_installation_hears_of_the_changes_on_another_host(
    tmp_path: Path, postgres: Server
) -> None:
    flags = {"database.url": postgres.url(str(tmp_path))}
    async with AsyncExitStack() as stack:
        here, there = [
            await open_stores(load(tmp_path / name, flags, environ={}), prepare(tmp_path / name), "0", stack)
            for name in ("a", "b")
        ]
        mark = Mark("agent:builder", "a mail", 5.0)
        assert there.taints.of("default", [mark.subject]) is None
        known = there.shared.identity.read()

        await here.taints.add("default", [mark])
        here.identity_epoch.bump()

        await until_async(lambda: there.taints.of("default", [mark.subject]) == mark, "the mark on the other host")
        # upkeep there looks at this very counter to end what the dead have begun
        await until_async(lambda: there.shared.identity.read() > known, "the change of identity on the other host")
        await there.taints.clear("default", mark.subject)
        await until_async(lambda: here.taints.of("default", [mark.subject]) is None, "the clearing")


async def test_a_change_is_told_although_others_kept_the_database_busy_for_longer_than_one_waits(
    tmp_path: Path, postgres: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = postgres.url(str(tmp_path))
    await (await open_database(url, [AREA], copies=tmp_path)).close()
    busy = dialect_of(url)
    monkeypatch.setattr(dialect, "BUSY_S", 0.05)
    monkeypatch.setattr(epoch_feed, "RETRY_S", 0.05)
    with host(tmp_path / "a", url) as (policy, _, feed), host(tmp_path / "b", url) as (far, _, _):
        with busy.writer() as connection, connection.begin():
            busy.begun(connection)
            before = far.read()
            policy.bump()
            until(lambda: feed.failures > 0, "a refusal")
        await until_async(lambda: far.read() > before, "the change")
    busy.engine.dispose()

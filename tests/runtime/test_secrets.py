"""Secrets on a real database: sealed, versioned, restorable, apart by tenant, and whole after a crash."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import subprocess
import sys
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
import pytest_asyncio

from superagent.core.connections import SecretUse
from superagent.core.principal import Secret
from superagent.core.problems import Conflict, Denied, NotFound, TooLarge
from superagent.runtime import secrets as store
from superagent.runtime.keys import FileKeys
from superagent.runtime.secrets import MOST_BYTES, Pointer, SqlSecrets
from tests.data.areas import check_area
from tests.promise import promise
from tests.runtime.stores import Stores, stores
from tests.where import beside, bytes_of

pytestmark = pytest.mark.usefixtures("each_database")

DAY = 86_400.0
VALUE = "hunter22-in-the-vault"


@pytest_asyncio.fixture
async def made(tmp_path: Path) -> AsyncGenerator[Stores]:
    async with stores(tmp_path) as one:
        yield one


@pytest.fixture
def secrets(made: Stores) -> SqlSecrets:
    return SqlSecrets(made.database, made.keys, made.clock, quota_bytes=100_000)


async def put(
    secrets: SqlSecrets, value: str, name: str = "token", tenant: str = "a", use: SecretUse | None = None, **more: float
) -> int:
    return await secrets.put(tenant, name, Secret(value), use, "ada", **more)


async def values(secrets: SqlSecrets, name: str = "token", tenant: str = "a") -> list[str]:
    return [one.value.reveal() for one in await secrets.open(tenant, name)]


async def test_the_area_keeps_its_tenants_apart_and_its_migrations_true(tmp_path: Path) -> None:
    await check_area(store.AREA, tmp_path)


# ---- putting and opening


@pytest.mark.parametrize("value", ["x", VALUE, "päss\0wörd 😀\n", "\udcff", "y" * MOST_BYTES])
async def test_what_was_put_comes_back_as_it_was(secrets: SqlSecrets, value: str) -> None:
    assert await put(secrets, value) == 1
    assert await values(secrets) == [value]


async def test_a_new_value_takes_the_place_of_the_old_one(secrets: SqlSecrets) -> None:
    assert [await put(secrets, value) for value in ("one", "two", "three")] == [1, 2, 3]
    assert await values(secrets) == ["three"]
    (listed,) = await secrets.listed("a")
    assert (listed.name, listed.version, listed.by, listed.overlap_until) == ("token", 3, "ada", 0.0)


async def test_what_is_not_there_is_not_found(secrets: SqlSecrets) -> None:
    for missing in (secrets.open("a", "token"), secrets.entry("a", "token")):
        with pytest.raises(NotFound, match="no secret `token`"):
            await missing
    assert await secrets.pointer("a", "token") is None


async def test_what_a_secret_is_for_holds_on_until_it_is_said_anew(secrets: SqlSecrets) -> None:
    narrow = SecretUse(("api.example.org:443",), runs=False)
    for use in (None, narrow, None, SecretUse()):
        await put(secrets, "v", use=use)
    uses = [(await secrets.open("a", "token"))[0].use]
    for version in (3, 2, 1):
        pointer = await secrets.pointer("a", "token")
        assert pointer is not None
        await secrets.point("a", "token", Pointer(pointer.entry, version))
        uses.append((await secrets.open("a", "token"))[0].use)
    assert uses == [SecretUse(), narrow, narrow, SecretUse()]


# ---- tenants


@promise("1.1a")
async def test_the_same_name_in_two_tenants_is_two_secrets(secrets: SqlSecrets) -> None:
    await put(secrets, "of a", tenant="a")
    await put(secrets, "of b", tenant="b")
    await put(secrets, "only a", name="alone", tenant="a")
    assert await values(secrets, tenant="a") == ["of a"]
    assert await values(secrets, tenant="b") == ["of b"]
    assert await secrets.entry("a", "token") != await secrets.entry("b", "token")
    assert [one.name for one in await secrets.listed("b")] == ["token"]
    with pytest.raises(NotFound):
        await secrets.open("b", "alone")
    with pytest.raises(Conflict, match="kept no longer"):  # the entry of another tenant is none
        await secrets.point("b", "alone", await secrets.pointer("a", "alone"))
    await secrets.point("b", "token", None)
    assert await values(secrets, tenant="a") == ["of a"]


# ---- what lies on the disk


def on_disk(folder: Path) -> bytes:
    return bytes_of(folder / "superagent.db")


async def test_a_stolen_database_shows_neither_values_nor_anything_made_of_them(
    secrets: SqlSecrets, made: Stores
) -> None:
    await put(secrets, VALUE)
    await put(secrets, f"{VALUE}-2")
    await secrets.point("a", "token", None)
    stolen = on_disk(made.folder)
    assert b"token" in stolen
    for value in (VALUE, f"{VALUE}-2"):
        data = value.encode()
        for shown in (data, base64.b64encode(data)[:-4], data.hex().encode(), data[::-1]):
            assert shown not in stolen
        for made_of in (data, json.dumps(value).encode(), json.dumps({"name": "token", "value": value}).encode()):
            for digest in (hashlib.sha256, hashlib.sha1, hashlib.md5, hashlib.blake2b):
                assert digest(made_of).digest() not in stolen
                assert digest(made_of).hexdigest().encode() not in stolen


async def test_without_the_key_folder_nothing_opens(secrets: SqlSecrets, made: Stores, tmp_path: Path) -> None:
    await put(secrets, VALUE)
    thief = SqlSecrets(made.database, FileKeys(tmp_path / "other-keys"), made.clock)
    with pytest.raises(Denied, match="changed, or belongs elsewhere"):
        await thief.open("a", "token")


@promise("1.1a")
@pytest.mark.parametrize(
    "move",
    [
        "UPDATE secrets_versions SET value = (SELECT value FROM secrets_versions WHERE name = 'mine')",
        "UPDATE secrets_versions SET value = (SELECT value FROM secrets_versions WHERE version = 1 LIMIT 1)",
        "UPDATE secrets_versions SET tenant = 'b' WHERE name = 'theirs'; UPDATE secrets_names SET tenant = 'b'",
        "UPDATE secrets_versions SET name = 'other' WHERE name = 'theirs'",
        "UPDATE secrets_versions SET value = zeroblob(60) WHERE name = 'theirs'",
    ],
)  # fmt: skip
async def test_a_sealed_value_opens_only_where_it_was_put(secrets: SqlSecrets, made: Stores, move: str) -> None:
    await put(secrets, "one", name="theirs")
    await put(secrets, "two", name="theirs")
    await put(secrets, "mine", name="mine")
    with beside(made.folder / "superagent.db") as run:
        for step in move.split("; "):
            run(step)
    for tenant in ("a", "b"):
        with pytest.raises((Denied, NotFound)):
            await secrets.open(tenant, "theirs")


async def test_after_a_change_of_keys_old_values_open_and_are_sealed_anew(secrets: SqlSecrets, made: Stores) -> None:
    await put(secrets, "old")
    await put(secrets, "of b", tenant="b")
    assert await secrets.sweep() == 0
    assert made.keys.rotate("secrets") == 2
    assert await values(secrets) == ["old"]
    await put(secrets, "new")

    def versions_of_keys() -> set[int]:
        with beside(made.folder / "superagent.db") as run:
            return {int.from_bytes(value[1:5], "big") for (value,) in run("SELECT value FROM secrets_versions")}

    assert versions_of_keys() == {1, 2}
    await secrets.sweep()
    assert versions_of_keys() == {2}
    assert (await values(secrets), await values(secrets, tenant="b")) == (["new"], ["of b"])
    await secrets.sweep()
    (made.folder / "keys" / "secrets.1.key").unlink()  # nobody needs the old one any more
    afresh = SqlSecrets(made.database, FileKeys(made.folder / "keys"), made.clock)
    assert await values(afresh) == ["new"]


# ---- rotation


async def test_while_they_overlap_both_values_are_good_and_the_new_one_comes_first(
    secrets: SqlSecrets, made: Stores
) -> None:
    await put(secrets, "old")
    await put(secrets, "new", overlap_s=60.0)
    assert await values(secrets) == ["new", "old"]
    assert (await secrets.listed("a"))[0].overlap_until == made.clock.now() + 60
    made.clock.advance(59)
    assert await values(secrets) == ["new", "old"]
    made.clock.advance(1)
    assert await values(secrets) == ["new"]


async def test_a_further_value_ends_the_overlap(secrets: SqlSecrets) -> None:
    await put(secrets, "one")
    await put(secrets, "two", overlap_s=60.0)
    await put(secrets, "three")
    assert await values(secrets) == ["three"]
    await put(secrets, "four", overlap_s=60.0)
    assert await values(secrets) == ["four", "three"]


async def test_the_first_value_overlaps_with_nothing(secrets: SqlSecrets) -> None:
    await put(secrets, "one", overlap_s=60.0)
    assert await values(secrets) == ["one"]


async def test_a_long_overlap_outlives_the_sweep(secrets: SqlSecrets, made: Stores) -> None:
    await put(secrets, "old")
    await put(secrets, "new", overlap_s=30 * DAY)
    made.clock.advance(29 * DAY)
    await secrets.sweep()
    assert await values(secrets) == ["new", "old"]
    made.clock.advance(DAY)
    assert await secrets.sweep() == 1
    assert await values(secrets) == ["new"]


# ---- taking back


async def test_the_pointer_moves_back_and_forth(secrets: SqlSecrets) -> None:
    await put(secrets, "one")
    first = await secrets.pointer("a", "token")
    await put(secrets, "two", overlap_s=60.0)
    second = await secrets.pointer("a", "token")
    await secrets.point("a", "token", first)
    assert await values(secrets) == ["one"]
    await secrets.point("a", "token", second)
    assert await values(secrets) == ["two", "one"]
    await secrets.point("a", "token", None)
    with pytest.raises(NotFound):
        await secrets.open("a", "token")
    await secrets.point("a", "token", first)
    assert await values(secrets) == ["one"]


async def test_a_value_put_after_going_back_has_a_number_of_its_own(secrets: SqlSecrets) -> None:
    await put(secrets, "one")
    first = await secrets.pointer("a", "token")
    await put(secrets, "two")
    await secrets.point("a", "token", first)
    assert await put(secrets, "three") == 3
    assert await values(secrets) == ["three"]


async def test_a_name_used_anew_is_another_secret(secrets: SqlSecrets) -> None:
    await put(secrets, "one")
    entry = await secrets.entry("a", "token")
    before = await secrets.pointer("a", "token")
    assert [one.value.reveal() for one in await secrets.open("a", "token", entry)] == ["one"]
    await secrets.point("a", "token", None)
    await put(secrets, "stranger")
    with pytest.raises(Conflict, match="deleted and made anew"):
        await secrets.open("a", "token", entry)
    await secrets.point("a", "token", before)
    assert [one.value.reveal() for one in await secrets.open("a", "token", entry)] == ["one"]


async def test_what_is_not_in_force_is_forgotten_after_a_week_and_the_rest_never(
    secrets: SqlSecrets, made: Stores
) -> None:
    await put(secrets, "one")
    first = await secrets.pointer("a", "token")
    await put(secrets, "two")
    await put(secrets, "stays", name="other")
    made.clock.advance(7.5 * DAY)
    assert await secrets.sweep() == 0
    await secrets.point("a", "token", first)
    made.clock.advance(7.5 * DAY)
    assert await secrets.sweep() == 0  # it is in force again
    made.clock.advance(DAY)
    assert await secrets.sweep() == 1
    assert (await values(secrets), await values(secrets, "other")) == (["one"], ["stays"])
    with pytest.raises(Conflict, match="version 2 of the secret `token` is kept no longer"):
        await secrets.point("a", "token", Pointer(await secrets.entry("a", "token"), 2))
    assert await values(secrets) == ["one"]


# ---- limits


async def test_a_value_over_the_limit_is_refused(secrets: SqlSecrets) -> None:
    with pytest.raises(TooLarge, match="65536 bytes"):
        await put(secrets, "ä" * (MOST_BYTES // 2 + 1))
    assert await secrets.listed("a") == []


async def test_over_the_quota_is_refused_and_other_tenants_have_their_own(secrets: SqlSecrets, made: Stores) -> None:
    await put(secrets, "x" * 60_000)
    with pytest.raises(TooLarge, match="100000 bytes") as refused:
        await put(secrets, "y" * 40_000)
    assert refused.value.changed == "nothing"
    assert await values(secrets) == ["x" * 60_000]
    await put(secrets, "y" * 40_000, tenant="b")
    await put(secrets, "small")
    with pytest.raises(TooLarge):  # what is kept for undo counts
        await put(secrets, "z" * 60_000)
    made.clock.advance(9 * DAY)
    await secrets.sweep()
    await put(secrets, "z" * 60_000)


async def test_there_is_a_limit_of_names(secrets: SqlSecrets, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "MOST_NAMES", 2)
    for name in ("one", "two", "one"):
        await put(secrets, "v", name=name)
    with pytest.raises(TooLarge, match="at most 2 secrets"):
        await put(secrets, "v", name="three")
    await put(secrets, "v", name="three", tenant="b")


async def test_of_two_at_once_one_is_put_and_the_other_told(secrets: SqlSecrets) -> None:
    outcomes = await asyncio.gather(*(put(secrets, f"v{n}") for n in range(8)), return_exceptions=True)
    done = [n for n, one in enumerate(outcomes) if isinstance(one, int)]
    assert done
    assert all(isinstance(one, int | Conflict) for one in outcomes)
    assert (await values(secrets))[0] in {f"v{n}" for n in done}


# ---- lists


async def test_names_are_listed_in_order_by_prefix_and_by_pages(secrets: SqlSecrets) -> None:
    for name in ("prod/db", "prod/api", "Prod", "stage/db", "prod_x", "prod%"):
        await put(secrets, "v", name=name)

    async def names(*wanted: str | int) -> list[str]:
        return [one.name for one in await secrets.listed("a", *wanted)]  # pyright: ignore[reportArgumentType]

    assert await names() == ["Prod", "prod%", "prod/api", "prod/db", "prod_x", "stage/db"]
    assert await names("prod/") == ["prod/api", "prod/db"]
    assert await names("prod_") == ["prod_x"]
    assert await names("", "prod/api", 2) == ["prod/db", "prod_x"]


# ---- crashes

PROGRAM = """
import asyncio, sys
from pathlib import Path
from superagent.core.principal import Secret
from superagent.runtime.secrets import SqlSecrets
from tests.runtime.stores import stores

async def main():
    async with stores(Path(sys.argv[1])) as made:
        secrets = SqlSecrets(made.database, made.keys, made.clock)
        for n in range(10_000):
            print("begin", n, flush=True)
            await secrets.put("a", "token", Secret(f"value-{n}-" + "x" * 20_000), None, "ada", overlap_s=60.0)
            print("end", n, flush=True)

asyncio.run(main())
"""


@pytest.mark.slow
async def test_killed_in_the_middle_the_one_or_the_other_value_is_in_force(tmp_path: Path) -> None:
    for round_ in range(3):
        with subprocess.Popen([sys.executable, "-c", PROGRAM, tmp_path], stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            said = [child.stdout.readline() for _ in range(21 + round_)]
            child.kill()
            said += child.stdout.readlines()
        whole = [line.split() for line in said if line.endswith("\n")]
        begun = max(int(n) for what, n in whole if what == "begin")
        ended = max(int(n) for what, n in whole if what == "end")
        async with stores(tmp_path) as made:
            current, *before = await values(SqlSecrets(made.database, made.keys, made.clock))
        number = int(current.split("-")[1])
        assert number in (ended, begun, begun + 1)
        assert current == f"value-{number}-" + "x" * 20_000
        assert all(one.startswith("value-") and one.endswith("x" * 20_000) for one in before)

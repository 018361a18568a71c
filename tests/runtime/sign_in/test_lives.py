"""Lives: browser sessions end when they lie idle, and at the latest at their end; steps are taken once, and in time."""

from __future__ import annotations

import json
from base64 import b32encode
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio
from pyotp import random_base32
from pyotp.totp import TOTP

from superagent.core.principal import Facts, Secret
from superagent.core.problems import Conflict, InvalidInput, NotFound, Overloaded, Unauthenticated
from superagent.data.database import Database, open_database
from superagent.data.transaction import InstanceTransaction
from superagent.runtime import identity_tables
from superagent.runtime.keys import FileKeys
from superagent.runtime.shared_map import SharedMap
from superagent.runtime.sign_in import recovery, tables
from superagent.runtime.sign_in.factors import MOST, Factors, step_of
from superagent.runtime.sign_in.passwords import Passwords, check
from superagent.runtime.sign_in.pending import Pending
from superagent.runtime.sign_in.recognising import SessionTokens
from superagent.runtime.sign_in.sessions import Life, Sessions
from tests.promise import promise

pytestmark = pytest.mark.asyncio


@dataclass
class World:
    folder: Path
    database: Database
    shared: SharedMap
    keys: FileKeys
    at: float = 1_000_000.0

    def now(self) -> float:
        return self.at

    @property
    def sessions(self) -> Sessions:
        return Sessions(self.database, self.shared.identity, self.now, Life(idle_s=600.0, most_s=3600.0))

    @property
    def factors(self) -> Factors:
        numbers = iter(range(1000))
        return Factors(
            self.database, self.keys, self.shared.identity, self.now, lambda: f"{self.at:.0f}{next(numbers)}"
        )


@pytest_asyncio.fixture
async def world(tmp_path: Path) -> AsyncGenerator[World]:
    database = await open_database(tmp_path / "db", (identity_tables.AREA, tables.AREA))
    shared = SharedMap(tmp_path / "map")
    world = World(tmp_path, database, shared, FileKeys(tmp_path / "keys"))

    def write(tx: InstanceTransaction) -> None:
        tx.insert(identity_tables.TENANTS, id="default", created_at=0.0)
        row = {"id": "ann", "roles": json.dumps(["owner"]), "state": "active", "created_at": 0.0}
        tx.insert(identity_tables.PEOPLE, tenant="default", **row)

    await database.write_instance(write)
    yield world
    await database.close()
    shared.close()


async def test_a_session_ends_when_it_lay_idle(world: World) -> None:
    sessions = world.sessions
    made = await sessions.start("default", "ann", "password", None)
    world.at += 599
    assert await sessions.find(made.token)
    world.at += 599
    assert await sessions.find(made.token), "each look makes it young again"
    await sessions.sweep()
    world.at += 601

    assert await sessions.find(made.token) is None
    assert await sessions.listed("default", "ann") == []


async def test_a_session_ends_at_its_end_however_busy(world: World) -> None:
    sessions = world.sessions
    made = await sessions.start("default", "ann", "password", None)
    for _ in range(7):
        world.at += 500
        assert await sessions.find(made.token)
    turned = await sessions.start("default", "ann", "password", world.at, replaces=made.id)
    assert turned.ends_at == made.ends_at, "no proof makes it longer"
    assert await sessions.find(made.token) is None
    world.at += 101

    assert await sessions.find(turned.token) is None


async def test_what_another_worker_saw_keeps_a_session_alive(world: World) -> None:
    here, there = world.sessions, world.sessions
    made = await here.start("default", "ann", "password", None)
    world.at += 500
    assert await there.find(made.token)
    await there.sweep()
    world.at += 500

    assert await here.find(made.token)


async def test_an_ended_session_is_forgotten_after_a_week(world: World) -> None:
    sessions = world.sessions
    made = await sessions.start("default", "ann", "password", None)
    await sessions.end("default", "ann", made.id)
    with pytest.raises(NotFound):
        await sessions.end("default", "ann", made.id)
    assert await sessions.sweep() == 0
    world.at += 8 * 86_400

    assert await sessions.sweep() == 1


async def test_only_the_digest_of_a_token_is_kept(world: World) -> None:
    made = await world.sessions.start("default", "ann", "password", None)
    row = await world.database.read("default", lambda tx: tx.first(tables.SESSIONS))

    assert row is not None
    assert made.token not in str(row)
    assert await world.sessions.find(row.digest) is None


async def test_a_session_means_something_only_where_cookies_come_in(world: World) -> None:
    made = await world.sessions.start("default", "ann", "password", None)
    tokens = SessionTokens(world.database, world.sessions, world.folder)

    principal, _ = await tokens.recognise(made.token, Facts("", "", "web"))
    assert (principal.id, principal.key) == ("ann", made.id)
    with pytest.raises(Unauthenticated):
        await tokens.recognise(made.token, Facts("", "", "http"))


async def test_a_step_is_taken_once_by_its_kind_and_in_time(world: World) -> None:
    pending = Pending(world.database, world.keys, world.now)
    token = await pending.put("half", {"secret": "kept"}, 60.0, "default", "ann")
    for kind, shown in (("link", token), ("half", "other")):
        with pytest.raises(Unauthenticated):
            await pending.take(kind, shown)
    assert (await pending.look("half", token)).data == {"secret": "kept"}
    assert (await pending.take("half", token)).person == "ann"
    with pytest.raises(Unauthenticated):
        await pending.take("half", token)
    late = await pending.put("half", {"secret": "kept"}, 60.0)
    row = await world.database.read_instance(lambda tx: tx.first(tables.PENDING))
    assert row is not None
    assert b"kept" not in row.data
    world.at += 60

    with pytest.raises(Unauthenticated):
        await pending.look("half", late)
    assert await pending.sweep() == 0
    world.at += 1
    assert await pending.sweep() == 1


async def test_a_one_time_password_fits_its_step_and_its_neighbours(world: World) -> None:
    secret = random_base32()
    totp = TOTP(secret)
    for off, fits in ((-60, False), (-30, True), (0, True), (30, True), (60, False)):
        assert (step_of(secret, totp.at(world.at + off), world.at) is not None) is fits
    factors = world.factors
    with pytest.raises(Conflict):
        await factors.add_totp("default", "ann", "phone", secret, totp.at(world.at + 3000))
    await factors.add_totp("default", "ann", "phone", secret, totp.at(world.at - 30))
    assert not await factors.takes_code("default", "ann", totp.at(world.at - 30)), "it was shown at the enrolment"
    assert await factors.takes_code("default", "ann", totp.at(world.at))
    assert not await factors.takes_code("default", "ann", totp.at(world.at))
    assert not await factors.takes_code("default", "bob", totp.at(world.at + 30))
    for odd in ("", "12345", "١٢٣٤٥٦", "abcdef", "x" * 16, "x" * 10_000):
        assert not await factors.takes_code("default", "ann", odd)


@promise("1.2c")
async def test_one_time_passwords_are_those_of_the_rfc() -> None:
    secret = b32encode(b"12345678901234567890").decode()  # RFC 6238, appendix B, SHA-1, the last six digits
    vectors = {59: "287082", 1111111109: "081804", 1111111111: "050471", 1234567890: "005924", 20000000000: "353130"}
    for at, code in vectors.items():
        assert step_of(secret, code, float(at)) == at // 30
        assert step_of(secret, code, float(at + 90)) is None


async def test_the_last_second_factor_stays(world: World) -> None:
    factors, secret = world.factors, random_base32()
    assert not await factors.owner_enrolled()
    first = await factors.add_totp("default", "ann", "phone", secret, TOTP(secret).at(world.at))
    assert await factors.owner_enrolled()
    await factors.new_codes("default", "ann")
    with pytest.raises(Conflict):
        await factors.remove("default", "ann", first)
    with pytest.raises(NotFound):
        await factors.remove("default", "bob", first)
    await factors.add_passkey("default", "ann", "key", credential=b"1", data=b"", relying="localhost", counter=0)
    with pytest.raises(Conflict):
        await factors.add_passkey("default", "ann", "key", credential=b"1", data=b"", relying="localhost", counter=0)
    await factors.remove("default", "ann", first)
    for number in range(2, MOST + 1):
        await factors.add_passkey(
            "default", "ann", "key", credential=bytes([number]), data=b"", relying="localhost", counter=0
        )
    with pytest.raises(Conflict):
        await factors.add_passkey("default", "ann", "key", credential=b"last", data=b"", relying="x", counter=0)


async def test_passwords_are_checked_by_a_few_at_a_time(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    passwords = Passwords(world.database, world.now)
    try:
        assert not await passwords.fits("default", "ann", Secret("correct horse battery"))
        await passwords.set("default", "ann", Secret("correct horse battery"))
        await passwords.set("default", "ann", Secret("correct horse battery 2"))
        assert await passwords.has("default", "ann")
        assert await passwords.fits("default", "ann", Secret("correct horse battery 2"))
        assert not await passwords.fits("default", "ann", Secret("correct horse battery"))
        monkeypatch.setattr("superagent.runtime.sign_in.passwords.WAIT_S", 0.01)
        for _ in range(passwords.at_once):
            await passwords.places.acquire()
        with pytest.raises(Overloaded):
            await passwords.fits("default", "ann", Secret("x"))
        for _ in range(passwords.at_once):
            passwords.places.release()
        await passwords.remove("default", "ann")
        assert not await passwords.has("default", "ann")
    finally:
        passwords.close()


async def test_a_password_is_no_repetition_of_the_name() -> None:
    with pytest.raises(InvalidInput):
        check("annannannannann", "ann")
    check("anna and her many horses", "ann")


async def test_an_offer_of_recovery_is_taken_once_in_time_and_only_from_the_owner_of_the_folder(world: World) -> None:
    state = world.folder / "state"
    state.mkdir(0o700)
    assert recovery.take(state, "x", world.at) is None
    token = recovery.offer(state, "default", "ann", world.at)
    assert recovery.take(state, "x", world.at) is None
    (state / recovery.NAME).chmod(0o644)
    assert recovery.take(state, token, world.at) is None, "somebody else could have read it"
    (state / recovery.NAME).chmod(0o600)
    step = recovery.take(state, token, world.at)
    assert step is not None
    assert (step.tenant, step.person, step.data) == ("default", "ann", {"way": "recover"})
    assert recovery.take(state, token, world.at) is None
    late = recovery.offer(state, "default", "ann", world.at)
    assert recovery.take(state, late, world.at + recovery.TTL_S) is None
    (state / recovery.NAME).write_text("{}")
    (state / recovery.NAME).chmod(0o600)
    assert recovery.take(state, late, world.at) is None

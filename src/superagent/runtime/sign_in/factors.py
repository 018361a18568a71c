"""Second factors: passkeys, one-time passwords (TOTP) and recovery codes of people, each taken once."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from sqlalchemy import Row

from superagent.core.problems import Conflict, NotFound
from superagent.data.database import Database
from superagent.data.transaction import InstanceTransaction, Transaction, Where
from superagent.runtime.identity_tables import PEOPLE
from superagent.runtime.shared_map import Epoch
from superagent.runtime.sign_in.sessions import digest
from superagent.runtime.sign_in.tables import FACTORS
from superagent.runtime.stored import Seals, place

STEP_S = 30
CODES = 10
MOST = 20
SECOND = ("passkey", "totp")
"""What counts as a second factor that somebody has; recovery codes only stand in for one."""

_PURPOSE = "second-factors"


class Factors:
    """The second factors of an installation's people."""

    def __init__(
        self, database: Database, keys: Seals, epoch: Epoch, now: Callable[[], float], new_id: Callable[[], str]
    ) -> None:
        self._database = database
        self._keys = keys
        self._epoch = epoch
        self._now = now
        self._new_id = new_id

    async def of(self, tenant: str, person: str) -> Sequence[Row[Any]]:
        """Give a person's factors, oldest first."""
        return await self._database.read(
            tenant,
            lambda tx: tx.select(FACTORS, FACTORS.c.person == person, order=[FACTORS.c.created_at, FACTORS.c.id]),
        )

    async def enrolled(self, tenant: str, person: str) -> bool:
        """Tell whether a person has a second factor."""
        return await self._database.read_instance(lambda tx: has_second(tx, tenant, person))

    async def owner_enrolled(self) -> bool:
        """Tell whether some living owner has a second factor, which is when set-up is over (rules.md 33)."""

        def read(tx: InstanceTransaction) -> bool:
            owners = tx.select(PEOPLE, PEOPLE.c.roles.contains('"owner"'), PEOPLE.c.state == "active")
            return any(has_second(tx, row.tenant, row.id) for row in owners)

        return await self._database.read_instance(read)

    # ---- one-time passwords

    async def add_totp(self, tenant: str, person: str, name: str, secret: str, code: str) -> str:
        """Enrol a secret of which a code is shown. Raises `Conflict` when the code does not fit it."""
        step = step_of(secret, code, self._now())
        if step is None:
            raise Conflict("this code does not fit", hint="check the clock of your device, and type the newest code")
        id = f"fac_{self._new_id()}"
        sealed = self._keys.seal(_PURPOSE, place(tenant, person, id), secret.encode())
        await self._add(tenant, person, "totp", name, id=id, data=sealed, counter=step)
        return id

    async def takes_code(self, tenant: str, person: str, code: str) -> bool:
        """Take a one-time password or a recovery code; neither is ever taken twice (RFC 6238, 5.2)."""
        text = code.replace(" ", "").replace("-", "").lower()
        if len(text) == 6 and text.isascii() and text.isdecimal():
            return await self._takes_totp(tenant, person, text)
        if len(text) != 16:
            return False
        name = _recovery(tenant, person, text)

        def write(tx: Transaction) -> int:
            return tx.delete(
                FACTORS, FACTORS.c.person == person, FACTORS.c.kind == "recovery", FACTORS.c.lookup == name
            )

        return bool(await self._database.write(tenant, write))

    async def _takes_totp(self, tenant: str, person: str, code: str) -> bool:
        now = self._now()
        for row in await self.of(tenant, person):
            if row.kind != "totp":
                continue
            secret = self._keys.open(_PURPOSE, place(tenant, person, row.id), row.data).decode()
            step = step_of(secret, code, now)
            if step is None:
                continue
            # compare and swap: of two that show the same code at once, one is too late
            fresh = (FACTORS.c.id == row.id, FACTORS.c.counter < step)
            if await self._database.write(tenant, partial(_note, fresh, step, now)):
                return True
        return False

    # ---- recovery codes

    async def new_codes(self, tenant: str, person: str) -> list[str]:
        """Make fresh recovery codes of 80 bits each, which take the place of all earlier ones; shown once."""
        texts = [base64.b32encode(secrets.token_bytes(10)).decode().lower() for _ in range(CODES)]
        now = self._now()
        rows = [
            {
                "id": f"fac_{self._new_id()}", "person": person, "kind": "recovery", "name": "recovery code",
                "lookup": _recovery(tenant, person, text), "data": b"", "place": "", "counter": 0, "created_at": now,
                "used_at": None,
            }
            for text in texts
        ]  # fmt: skip

        def write(tx: Transaction) -> None:
            tx.delete(FACTORS, FACTORS.c.person == person, FACTORS.c.kind == "recovery")
            tx.insert_many(FACTORS, rows)

        await self._database.write(tenant, write)
        return ["-".join(text[at : at + 4] for at in range(0, 16, 4)) for text in texts]

    # ---- passkeys

    async def add_passkey(
        self, tenant: str, person: str, name: str, *, credential: bytes, data: bytes, relying: str, counter: int
    ) -> str:
        """Enrol a credential. Raises `Conflict` for one that is known already."""
        lookup = _credential(credential)

        def known(tx: InstanceTransaction) -> int:
            return tx.count(FACTORS, FACTORS.c.lookup == lookup, FACTORS.c.kind == "passkey")

        if await self._database.read_instance(known):
            raise Conflict("this passkey is enrolled already")
        return await self._add(
            tenant, person, "passkey", name, lookup=lookup, data=data, place=relying, counter=counter
        )

    async def passkey(self, credential: bytes) -> Row[Any] | None:
        """Give the passkey of a credential id, whoever it belongs to."""
        lookup = _credential(credential)
        return await self._database.read_instance(
            lambda tx: tx.first(FACTORS, FACTORS.c.lookup == lookup, FACTORS.c.kind == "passkey")
        )

    async def used(self, row: Row[Any], counter: int) -> bool:
        """Note a signature count; False when it did not grow, as that of a copied key (WebAuthn, 7.2, step 22)."""
        now = self._now()
        # a key that never counts shows 0 each time
        grows = FACTORS.c.counter < counter if counter else FACTORS.c.counter == 0
        return bool(
            await self._database.write(row.tenant, partial(_note, (FACTORS.c.id == row.id, grows), counter, now))
        )

    async def remove(self, tenant: str, person: str, id: str) -> None:
        """Remove a factor; the last second factor stays. Raises `NotFound`, `Conflict`."""

        def write(tx: Transaction) -> None:
            own = tx.select(FACTORS, FACTORS.c.person == person)
            if id not in {row.id for row in own}:
                raise NotFound(f"there is no factor `{id[:60]}`")
            if not any(row.kind in SECOND and row.id != id for row in own):
                raise Conflict("this is your last second factor", hint="enrol another first")
            tx.delete(FACTORS, FACTORS.c.id == id)

        await self._database.write(tenant, write)

    async def _add(self, tenant: str, person: str, kind: str, name: str, **values: Any) -> str:
        id = values.pop("id", None) or f"fac_{self._new_id()}"
        row = {"lookup": "", "place": "", "used_at": None} | values

        def write(tx: Transaction) -> None:
            if tx.count(FACTORS, FACTORS.c.person == person, FACTORS.c.kind.in_(SECOND)) >= MOST:
                raise Conflict(f"a person has at most {MOST} factors", hint="remove one that is not used any more")
            tx.insert(FACTORS, id=id, person=person, kind=kind, name=name[:100], created_at=self._now(), **row)

        await self._database.write(tenant, write)
        self._epoch.bump()  # from now on the owner's key alone is no second factor any more (rules.md 11)
        return id


def _note(which: Sequence[Where], counter: int, now: float, tx: Transaction) -> int:
    return tx.update(FACTORS, *which, counter=counter, used_at=now)


def has_second(tx: Transaction | InstanceTransaction, tenant: str, person: str) -> bool:
    """Tell whether a person has a second factor."""
    own = (FACTORS.c.tenant == tenant, FACTORS.c.person == person, FACTORS.c.kind.in_(SECOND))
    return bool(tx.count(FACTORS, *own))


def step_of(secret: str, code: str, now: float) -> int | None:
    """Give the time step that a code belongs to, this one or a neighbour (RFC 6238, 5.2); None for none."""
    from pyotp.totp import TOTP

    totp, step = TOTP(secret), int(now // STEP_S)
    fits = [one for one in (step - 1, step, step + 1) if secrets.compare_digest(totp.generate_otp(one), code)]
    return fits[0] if fits else None


def _credential(id: bytes) -> str:
    return digest("passkey\0" + id.hex())


def _recovery(tenant: str, person: str, code: str) -> str:
    return digest(f"recovery\0{tenant}\0{person}\0{code}")

"""Passwords: argon2id with the parameters of OWASP's password storage sheet, and never more at once than the CPUs."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

from superagent.core.principal import Secret
from superagent.core.problems import InvalidInput, Overloaded
from superagent.data.database import Database
from superagent.data.transaction import Transaction
from superagent.runtime.sign_in.tables import PASSWORDS

SHORTEST, LONGEST = 12, 1024
WAIT_S = 1.0
# a hash like every other, of a password that nobody has: what is asked about nobody takes as long
_NOBODY = "$argon2id$v=19$m=19456,t=2,p=1$c3VwZXJhZ2VudC1ub2JvZHk$" + "A" * 43

T = TypeVar("T")


class Passwords:
    """The passwords of people; hashing takes 30 ms and 19 MiB, so it happens in a small pool of its own."""

    def __init__(self, database: Database, now: Callable[[], float]) -> None:
        self._database = database
        self._now = now
        self.at_once = max(1, min(4, os.cpu_count() or 1))
        self._pool = ThreadPoolExecutor(self.at_once, "argon2")
        self.places = asyncio.Semaphore(self.at_once)
        self._hasher: Any = None

    def close(self) -> None:
        """Let the pool go."""
        self._pool.shutdown(wait=False)

    async def set(self, tenant: str, person: str, password: Secret) -> None:
        """Give a person this password. Raises `InvalidInput` for one that is too easy."""
        text = password.reveal()
        check(text, person)
        made = await self._hash(lambda hasher: hasher.hash(text))
        now = self._now()

        def write(tx: Transaction) -> None:
            if not tx.update(PASSWORDS, PASSWORDS.c.person == person, hash=made, changed_at=now):
                tx.insert(PASSWORDS, person=person, hash=made, changed_at=now)

        await self._database.write(tenant, write)

    async def has(self, tenant: str, person: str) -> bool:
        """Tell whether a person has one."""
        return bool(await self._database.read(tenant, lambda tx: tx.count(PASSWORDS, PASSWORDS.c.person == person)))

    async def fits(self, tenant: str, person: str, password: Secret) -> bool:
        """Tell whether a password is the person's; it takes as long for a person that does not exist.

        Raises `Overloaded` when too many are checked at a time.
        """
        row = await self._database.read(tenant, lambda tx: tx.first(PASSWORDS, PASSWORDS.c.person == person))
        stored, text = _NOBODY if row is None else row.hash, password.reveal()[: LONGEST + 1]
        return await self._hash(partial(_verify, stored, text)) and row is not None

    async def remove(self, tenant: str, person: str) -> None:
        """Take a person's password away."""
        await self._database.write(tenant, lambda tx: tx.delete(PASSWORDS, PASSWORDS.c.person == person))

    async def _hash(self, work: Callable[[Any], T]) -> T:
        try:
            async with asyncio.timeout(WAIT_S):
                await self.places.acquire()
        except TimeoutError:
            raise Overloaded("too many passwords are being checked", hint="try again in a moment") from None
        try:
            return await asyncio.shield(asyncio.get_running_loop().run_in_executor(self._pool, self._work, work))
        finally:
            self.places.release()

    def _work(self, work: Callable[[Any], T]) -> T:
        if self._hasher is None:
            from argon2 import PasswordHasher  # not loaded by whoever never signs in

            self._hasher = PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1)
        return work(self._hasher)


def check(password: str, person: str) -> None:
    """Refuse a password that is too easy (NIST SP 800-63B, 5.1.1.2: length counts, composition does not)."""
    if not SHORTEST <= len(password) <= LONGEST:
        raise InvalidInput(f"a password has {SHORTEST} to {LONGEST} characters", hint="several words make a good one")
    if len(set(password)) < 5 or (len(person) > 2 and password.lower().replace(person.lower(), "") == ""):
        raise InvalidInput("this password is too easy to guess", hint="several words make a good one")


def _verify(stored: str, text: str, hasher: Any) -> bool:
    from argon2.exceptions import Argon2Error, InvalidHashError

    try:
        return bool(hasher.verify(stored, text))
    except (Argon2Error, InvalidHashError):
        return False

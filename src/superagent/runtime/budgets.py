"""Budgets of agents and keys: counted in memory, written down every second, shared by all processes in that time.

Nothing here is read or written while a call waits. What several processes let through at once can exceed a budget by
what they do within a second.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from superagent.core.budgets import Account, Budget
from superagent.core.principal import Principal
from superagent.data.database import Database
from superagent.data.transaction import InstanceTransaction
from superagent.runtime.identity_tables import SPENT

Stored = dict[tuple[str, str, float], dict[str, float]]  # (tenant, subject, window) → measure → amount
FORGET_S = 40 * 86_400.0


class Budgets:
    """The accounts of all keys that have any."""

    def __init__(self, database: Database, now: Callable[[], float]) -> None:
        self.of_key: dict[str, tuple[Account, ...]] = {}
        self._accounts: dict[tuple[str, str], Account] = {}
        self._database = database
        self._now = now

    def learn(self, key: str, owed: list[tuple[str, str, Budget]], stored: Stored) -> None:
        """Keep the accounts of a key: (tenant, subject, budget) of everybody whose budget its calls are charged to."""
        now = self._now()
        if not owed:
            self.of_key.pop(key, None)
            return
        accounts: list[Account] = []
        for tenant, subject, budget in owed:
            account = self._accounts.get((tenant, subject))
            if account is None:
                account = self._accounts[tenant, subject] = Account(tenant, subject, budget, budget.began(now))
                account.stored = stored.get((tenant, subject, account.began), {})
            elif account.budget != budget:
                account.budget = budget
                account.roll(now)
            accounts.append(account)
        self.of_key[key] = tuple(accounts)

    def spend(self, principal: Principal) -> None:
        """Count one call of a principal. Raises `BudgetExceeded` when something is used up; nothing is counted then."""
        now, accounts = self._now(), self.of_key.get(principal.key, ())
        for account in accounts:
            account.require_left(now)
        for account in accounts:
            account.charge("calls", 1.0)

    def charge(self, principal: Principal, cost: Mapping[str, float]) -> None:
        """Count what a call has used."""
        for account in self.of_key.get(principal.key, ()):
            for measure, amount in cost.items():
                account.charge(measure, amount)

    def shown(self, principal: Principal) -> list[dict[str, Any]]:
        """Give what a principal's calls are charged to: whose, of what, how much is used, when it begins anew."""
        now = self._now()
        lines: list[dict[str, Any]] = []
        for account in self.of_key.get(principal.key, ()):
            account.roll(now)
            per_s = account.budget.per_s
            until = None if per_s is None else account.began + per_s
            for measure, most in account.budget.most.items():
                used = round(account.spent(measure), 6)
                line = {"whose": account.subject, "measure": measure, "most": most, "used": used, "until": until}
                lines.append(line)
        return lines

    async def flush(self) -> None:
        """Write down what was spent since the last time, and read what others wrote."""
        open_ = [one for one in self._accounts.values() if one.fresh]
        if not open_:
            return
        taken = [(one, one.began, dict(one.fresh)) for one in open_]

        def write(tx: InstanceTransaction) -> Stored:
            for one, began, fresh in taken:
                for measure, amount in fresh.items():
                    _add(tx, one.tenant, one.subject, measure, began, amount)
            return read_spent(tx, [(one.tenant, one.subject) for one, _, _ in taken])

        stored = await self._database.write_instance(write)
        for one, began, fresh in taken:
            if one.began != began:
                continue
            one.stored = stored.get((one.tenant, one.subject, began), {})
            for measure, amount in fresh.items():
                one.fresh[measure] -= amount
            one.fresh = {measure: left for measure, left in one.fresh.items() if left > 0}

    async def sweep(self) -> int:
        """Forget windows that ended long ago."""
        before = self._now() - FORGET_S
        return await self._database.write_instance(
            lambda tx: tx.delete(SPENT, SPENT.c.began > 0, SPENT.c.began < before)
        )


def read_spent(tx: InstanceTransaction, subjects: list[tuple[str, str]]) -> Stored:
    """Give what subjects, by tenant and name, have spent in each window."""
    found: Stored = {}
    for tenant, subject in subjects:
        for row in tx.select(SPENT, SPENT.c.tenant == tenant, SPENT.c.subject == subject):
            found.setdefault((tenant, subject, row.began), {})[row.measure] = row.amount
    return found


def _add(tx: InstanceTransaction, tenant: str, subject: str, measure: str, began: float, amount: float) -> None:
    where = (
        SPENT.c.tenant == tenant, SPENT.c.subject == subject, SPENT.c.measure == measure, SPENT.c.began == began,
    )  # fmt: skip
    if not tx.update(SPENT, *where, amount=SPENT.c.amount + amount):
        tx.insert(SPENT, tenant=tenant, subject=subject, measure=measure, began=began, amount=amount)

"""People for the tests of sign-in, put into the tables by hand."""

from __future__ import annotations

import itertools
import json

from sqlalchemy import create_engine, insert, update

from superagent.runtime.identity_tables import PEOPLE
from superagent.runtime.shared_map import SharedMap
from superagent.runtime.sign_in.tables import PENDING, SESSIONS
from tests.surfaces.http.house import House

_numbers = itertools.count(1)


def make(house: House, *roles: str) -> str:
    """Make a person with these roles and give its name."""
    name = f"person{next(_numbers)}"
    row = {"tenant": "default", "id": name, "roles": json.dumps(list(roles)), "state": "active", "created_at": 0.0}
    with create_engine(f"sqlite:///{house.data / 'state' / 'superagent.db'}").begin() as connection:
        connection.execute(insert(PEOPLE).values(**row))
    return name


async def suspend(house: House, name: str) -> None:
    """Suspend a person, as another process would: in the table, and by the epoch that all of them see."""
    with create_engine(f"sqlite:///{house.data / 'state' / 'superagent.db'}").begin() as connection:
        connection.execute(update(PEOPLE).where(PEOPLE.c.id == name).values(state="suspended"))
    shared = SharedMap(house.data / "state" / "shared.map")
    shared.identity.bump()
    shared.close()


def age(house: House, name: str, seconds: float) -> None:
    """Let the last proofs of a person lie further back."""
    with create_engine(f"sqlite:///{house.data / 'state' / 'superagent.db'}").begin() as connection:
        older = {"mfa_at": SESSIONS.c.mfa_at - seconds, "created_at": SESSIONS.c.created_at - seconds}
        connection.execute(update(SESSIONS).where(SESSIONS.c.person == name).values(**older))
    shared = SharedMap(house.data / "state" / "shared.map")
    shared.identity.bump()
    shared.close()


def age_steps(house: House, seconds: float) -> None:
    """Let everything that waits for its next step, proofs among it, be older."""
    with create_engine(f"sqlite:///{house.data / 'state' / 'superagent.db'}").begin() as connection:
        connection.execute(update(PENDING).values(until=PENDING.c.until - seconds))
    shared = SharedMap(house.data / "state" / "shared.map")
    shared.identity.bump()
    shared.close()

"""People of the tests: made by the owner, each with a first key."""

from __future__ import annotations

import itertools
from typing import Any

import httpx

from tests.surfaces.http.house import Caller, House

_names = itertools.count(1)


def name_of(kind: str) -> str:
    """Give a name that nobody had."""
    return f"{kind}{next(_names)}"


async def person(house: House, *roles: str, by: Caller | None = None) -> Caller:
    """Add a person with these roles and give them."""
    made = await (by or house.owner).done(
        "access.users.create", {"id": name_of("person"), "roles": list(roles), "key": True}
    )
    return house.caller(made["id"], made["key"])


async def tenant(house: House) -> Caller:
    """Make a tenant and give its owner; the name is the tenant's."""
    made = await house.owner.done("access.tenants.create", {"id": name_of("tenant"), "owner": "boss"})
    return house.caller(made["id"], made["key"])


async def undo(caller: Caller, response: httpx.Response) -> httpx.Response:
    """Take a call back."""
    return await caller.http.post(f"/v1/invocations/{response.headers['x-invocation-id']}/undo")


async def user(house: House, id: str) -> dict[str, Any]:
    """Give what the owner sees of a person."""
    return await house.owner.done("access.users.show", {"id": id})

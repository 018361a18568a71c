"""First start: the two tenants, and the owner with a key in a file that only this machine's owner can read."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path

from superagent.data.database import Database
from superagent.data.transaction import InstanceTransaction
from superagent.runtime.api_keys import mint, public_half
from superagent.runtime.identity_tables import KEYS, PEOPLE, TENANTS

OWNER_KEY = "owner.key"
"""The label of the key that the first start makes."""


async def bootstrap(database: Database, workspaces: Path, key_file: Path, now: float) -> bool:
    """Make the tenants `system` and `default` and the user `owner` with a key file, once; True if it was now."""
    if await database.read_instance(lambda tx: tx.count(TENANTS)):
        return False
    token = mint()
    half = public_half(token)
    await asyncio.to_thread((workspaces / "default" / "owner").mkdir, 0o700, True, True)
    # the file first: a key that stands in no file is of no use, a file whose key is unknown is written again
    write_secret(key_file, token + "\n")

    def write(tx: InstanceTransaction) -> None:
        for tenant in ("system", "default"):
            tx.insert(TENANTS, id=tenant, created_at=now)
        roles = json.dumps(["owner", "instance-owner"])
        tx.insert(PEOPLE, tenant="default", id="owner", roles=roles, state="active", created_at=now)
        tx.insert(
            KEYS, tenant="default", id=half.id, public=half.public, kind="human", principal="owner", role=None,
            workspace="", created_by="owner", created_at=now, hint=token[-4:], label=OWNER_KEY,
        )  # fmt: skip

    await database.write_instance(write)
    return True


async def renew_owner_key(database: Database, key_file: Path, tenant: str, owner: str, now: float) -> None:
    """Put a new key of the owner's into the file of the first one, which was ended."""
    token = mint()
    half = public_half(token)
    await asyncio.to_thread(write_secret, key_file, token + "\n")
    await database.write(
        tenant,
        lambda tx: tx.insert(
            KEYS, id=half.id, public=half.public, kind="human", principal=owner, role=None, workspace="",
            created_by=owner, created_at=now, hint=token[-4:], label=OWNER_KEY,
        ),
    )  # fmt: skip


def write_secret(path: Path, text: str) -> None:
    """Put a secret into a file that only this user can read, in place of what stood there."""
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())

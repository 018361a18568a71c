"""Granted: the tokens that this installation holds for servers, each for one tenant, connection and address; sealed."""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import os
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from superagent.core.audit import AuditRecord
from superagent.core.context import Context
from superagent.core.problems import Denied
from superagent.runtime.mcp_client.records import put
from superagent.runtime.stored import Seals, place

PURPOSE = "mcp-grants"

Key = tuple[str, str, str]
"""Tenant, connection, address of the server."""


class Begun(msgspec.Struct, frozen=True):
    """An authorization that a person was sent to give: what has to come back, and until when."""

    state: str
    verifier: str
    back: str
    until: float
    names_itself: bool


class Granted(msgspec.Struct, frozen=True):
    """Who gives tokens, as which client we ask for them (`secret` if it registered itself), and what was given.

    `login` names the connection's own words: where they are others now, nothing of this is used. `until` is in epoch
    seconds, 0 where nobody said. `wanted` is what the server asked for beyond `scopes`.
    """

    login: str
    issuer: str
    resource: str
    endpoint: str
    client: str
    method: str
    secret: str = ""
    access: str = ""
    refresh: str = ""
    until: float = 0.0
    scopes: list[str] = []
    wanted: list[str] = []
    begun: Begun | None = None


class Grants:
    """The files; who changes one holds its `turn`, over all processes of this machine."""

    def __init__(
        self, folder: Path, seals: Seals, note: Callable[[AuditRecord], None], now: Callable[[], float]
    ) -> None:
        self._folder = folder
        self._seals = seals
        self._note = note
        self._now = now
        self._turns: dict[Key, asyncio.Lock] = {}

    async def read(self, key: Key) -> Granted | None:
        """Give what is held; None for nothing, and for what cannot be read any more."""
        return await asyncio.to_thread(self._read, key)

    async def write(self, key: Key, granted: Granted) -> None:
        """Hold this from now on, durable on return."""
        sealed = self._seals.seal(PURPOSE, place(*key), msgspec.json.encode(granted))
        await asyncio.to_thread(put, self._file(key), sealed)

    async def given(self, ctx: Context, key: Key, granted: Granted, by: str) -> None:
        """Hold what was just given, and record that it was: by a person's word, or renewed."""
        await self.write(key, granted)
        principal = ctx.principal
        detail = {
            "login": key[1],
            "url": key[2],
            "issuer": granted.issuer,
            "scopes": " ".join(granted.scopes),
            "by": by,
        }
        self._note(
            AuditRecord(
                kind="event", at=self._now(), invocation=ctx.invocation.id, tenant=principal.tenant, who=principal.id,
                chain_of=principal.ids, channel=ctx.invocation.channel, operation="plugins.authorized", detail=detail,
            )
        )  # fmt: skip

    @asynccontextmanager
    async def turn(self, key: Key) -> AsyncGenerator[None]:
        """Hold the turn: of two that renew at once, one would present a token that the other has used up."""
        async with self._turns.setdefault(key, asyncio.Lock()):
            descriptor = await asyncio.to_thread(self._locked, key)
            try:
                yield
            finally:
                os.close(descriptor)

    def _read(self, key: Key) -> Granted | None:
        try:
            sealed = self._file(key).read_bytes()
            return msgspec.json.decode(self._seals.open(PURPOSE, place(*key), sealed), type=Granted)
        except (FileNotFoundError, ValueError, Denied):
            return None

    def _locked(self, key: Key) -> int:
        self._folder.mkdir(mode=0o700, exist_ok=True)
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        descriptor = os.open(self._file(key).with_suffix(".lock"), flags, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        return descriptor

    def _file(self, key: Key) -> Path:
        return self._folder / f"{hashlib.sha256(place(*key)).hexdigest()[:32]}.grant"

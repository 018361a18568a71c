"""The trail: the audit as operations see it: the index for searching, the segments for proof."""

from __future__ import annotations

import asyncio
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import msgspec

from superagent.core.problems import Denied, InvalidInput, Unavailable
from superagent.runtime.audit_check import verify
from superagent.runtime.audit_copy import AuditCopy
from superagent.runtime.audit_index import AuditIndex
from superagent.runtime.keys import FileKeys
from superagent.runtime.stored import place

_CURSOR = "audit-cursor"


class Trail:
    """Search, verify and export.

    `sign` returns when this process's records so far stand under a checkpoint; `unanchored` says why that did not reach
    the anchor, empty when it did.
    """

    def __init__(
        self,
        index: AuditIndex,
        directory: Path,
        keys: FileKeys,
        name: str,
        anchor: Path | None,
        sign: Callable[[], Awaitable[None]],
        unanchored: Callable[[], str],
    ) -> None:
        self._index = index
        self._sign = sign
        self._unanchored = unanchored
        self._directory = directory
        self._keys = keys
        self._name = name
        self._anchor = anchor

    async def query(self, tenant: str, **filters: Any) -> tuple[list[dict[str, Any]], str | None]:
        """Give (records newest first, cursor of the next page). Raises `InvalidInput` for a cursor of nobody's.

        A cursor is sealed: what it says is a place among the records of all tenants.
        """
        about, cursor = place(tenant), filters.pop("cursor", None)
        if cursor is not None:
            try:
                cursor = self._keys.open(_CURSOR, about, urlsafe_b64decode(cursor[:200])).decode()
            except (ValueError, Denied):
                raise InvalidInput(
                    "the cursor is not one that an earlier page gave", hint="ask for the first page again"
                ) from None
        records, following = await self._index.query(tenant, **filters, cursor=cursor)
        if following is not None:
            following = urlsafe_b64encode(self._keys.seal(_CURSOR, about, following.encode())).decode()
        return records, following

    async def verify(self, tenant: str, *, whole: bool) -> dict[str, Any]:
        """Check every chain and checkpoint, in a thread.

        Unless `whole`, it tells the verdict and which kinds of fault there are, and counts this tenant's records only:
        line numbers, chains and checkpoints would tell how much others do.
        """

        def check() -> dict[str, Any]:
            anchor = self._anchor.read_text(encoding="utf-8") if self._anchor and self._anchor.exists() else None
            report = verify(self._directory, self._keys.verifiers(self._name), anchor)
            return {
                "ok": report.ok,
                "records": report.records,
                "checkpoints": report.checkpoints,
                "chains": report.chains,
                "faults": [asdict(fault) for fault in report.faults],
                "unanchored": self._unanchored(),
            }

        found = await asyncio.to_thread(check)
        if whole:
            return found
        kinds = sorted({fault["kind"] for fault in found["faults"]})
        own = {"records": await self._index.count(tenant), "faults": [{"kind": kind} for kind in kinds]}
        return found | own | {"checkpoints": None, "chains": None, "unanchored": ""}

    async def export(self, tenant: str, **filters: Any) -> tuple[AsyncIterator[bytes], int]:
        """Give matching records as JSON lines, newest first, and how many there are."""
        pages: list[bytes] = []
        count, cursor = 0, None
        while True:
            records, cursor = await self._index.query(tenant, **filters, limit=1000, cursor=cursor)
            count += len(records)
            pages.append(b"".join(msgspec.json.encode(one) + b"\n" for one in records))
            if cursor is None:
                return _given(pages), count

    def keys(self) -> list[str]:
        """Give the public keys that sign checkpoints, oldest first, each as one line of text."""
        return list(self._keys.verifiers(self._name))

    async def proof(self) -> tuple[AsyncIterator[bytes], int, int]:
        """Give the whole log up to its newest checkpoint as a gzipped tar, that checkpoint's number, and its lines.

        Raises `Unavailable` when the log cannot be read.
        """
        await self._sign()
        try:
            made = await asyncio.to_thread(AuditCopy, self._directory)
        except (OSError, ValueError) as error:
            raise Unavailable(f"the audit cannot be read: {error}", hint="look at `audit verify`") from error
        return _threaded(made.chunks()), made.number, made.lines


async def _threaded(chunks: Iterator[bytes]) -> AsyncGenerator[bytes]:
    try:
        while (chunk := await asyncio.to_thread(next, chunks, None)) is not None:
            yield chunk
    except OSError as error:
        raise Unavailable(f"the audit cannot be read: {error}", hint="look at `audit verify`") from error


async def _given(pages: list[bytes]) -> AsyncGenerator[bytes]:
    for page in pages:
        yield page

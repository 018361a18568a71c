"""The feed's source: audit records as they are indexed, in one order that survives a restart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class FeedItem:
    """One record: its number in the index (the event id) and what it says."""

    number: int
    record: dict[str, Any]


class Feed(Protocol):
    """Read what was indexed after a number."""

    async def after(self, tenant: str, number: int, limit: int) -> list[FeedItem]:
        """Give the next records of a tenant, oldest first."""
        ...

    async def newest(self, tenant: str) -> int:
        """Give the number of the latest record, 0 for none."""
        ...

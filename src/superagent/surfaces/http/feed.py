"""The feed's source: audit records as they are indexed, in one order that survives a restart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol


class FeedItem(Protocol):
    """One record: its number in the index (the event id) and what it says."""

    @property
    def number(self) -> int:
        """Give the number."""
        ...

    @property
    def record(self) -> dict[str, Any]:
        """Give the record."""
        ...


class Feed(Protocol):
    """Read what was indexed after a number."""

    async def after(self, tenant: str, number: int, limit: int) -> Sequence[FeedItem]:
        """Give the next records of a tenant, oldest first."""
        ...

    async def fresh(self, within_s: float) -> None:
        """Wait until there may be more, at most so long."""
        ...

    async def newest(self, tenant: str) -> int:
        """Give the number of the latest record, 0 for none."""
        ...

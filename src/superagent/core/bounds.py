"""Bounds: grants beyond which one credential does not reach, whatever its holder may."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

import msgspec

from superagent.core.grants import Grant

KEPT = Grant(effect="allow", operations=["access.whoami", "catalogue.*", "result.*", "undo.*"])
"""What every credential keeps: to find out what it may, and to take back what it did (which needs the right to it)."""


class Bounds:
    """Some grants as one value: equal when they say the same, so that compiled rules are found again."""

    __slots__ = ("digest", "grants")

    def __init__(self, grants: Iterable[Grant]) -> None:
        given = [*grants, KEPT]
        plain = [one.model_dump(mode="json", exclude={"id", "subject"}, exclude_defaults=True) for one in given]
        self.digest = hashlib.sha256(msgspec.json.encode(plain, order="deterministic")).hexdigest()
        # grants are never edited, so their ids say what they say: this one comes from what it says
        self.grants = tuple(
            one.model_copy(update={"id": f"within:{self.digest[:16]}:{at}", "subject": ""})
            for at, one in enumerate(given, 1)
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Bounds) and other.digest == self.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    @property
    def own(self) -> tuple[Grant, ...]:
        """Give the grants without what every credential keeps."""
        return self.grants[:-1]

    def document(self) -> list[dict[str, Any]]:
        """Give the grants as plain data, without what every credential keeps."""
        return [one.model_dump(mode="json", exclude={"id", "subject"}, exclude_defaults=True) for one in self.own]

    @classmethod
    def of(cls, document: Iterable[Any]) -> Bounds:
        """Give back what `document` wrote. Raises `ValueError` for what is no grant."""
        return cls(Grant.model_validate_json(msgspec.json.encode(one), strict=True) for one in document)

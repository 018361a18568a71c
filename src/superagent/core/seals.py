"""Seals: the ports behind what is hidden, behind what people sign, and behind who they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from superagent.core.principal import Principal, Secret


class Veil(Protocol):
    """The keys behind secret inputs; `about` says what a value belongs to."""

    def mark(self, about: tuple[str, ...], value: Secret) -> str:
        """Name a value so that equal ones are recognised, but only by whoever has the key."""
        ...

    def seal(self, about: tuple[str, ...], value: Secret) -> bytes:
        """Encrypt a value that has to wait."""
        ...

    def open(self, about: tuple[str, ...], sealed: bytes) -> Secret:
        """Decrypt it. Raises `Denied` when it was changed or belongs elsewhere."""
        ...


@dataclass(frozen=True, slots=True)
class Signed:
    """Who signed: the name of what was signed with, and all that is needed to check it again, as plain texts."""

    name: str
    proof: dict[str, str] = field(default_factory=dict[str, str])


class Signatures(Protocol):
    """Signatures that people give with what they hold, such as a passkey."""

    async def required(self, person: Principal) -> bool:
        """Tell whether somebody has what to sign with, so that what is grave is signed."""
        ...

    async def options(self, person: Principal, challenge: bytes, origin: str) -> dict[str, Any]:
        """Give what a browser needs to sign a challenge. Raises `Denied` for who has nothing to sign with there."""
        ...

    async def verify(self, person: Principal, challenge: bytes, signature: dict[str, Any]) -> Signed:
        """Name the credential that signed. Raises `Denied` for a signature that is not this person's over this."""
        ...


class Accounts(Protocol):
    """What is known of who is behind an account."""

    async def behind(self, tenant: str, ids: Sequence[str]) -> frozenset[str]:
        """Give everybody who can be behind one of these: itself, and whoever made it or was shown its proof."""
        ...

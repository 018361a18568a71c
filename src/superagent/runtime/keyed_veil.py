"""The keyed veil: secret inputs marked and sealed by the keys of the installation."""

from __future__ import annotations

from typing import Protocol

from superagent.core.principal import Secret
from superagent.runtime.stored import Seals, place

_PURPOSE = "secret-inputs"


class Keys(Seals, Protocol):
    """What seals, and vouches with a tag that nobody without the keys can make."""

    def sign(self, purpose: str, data: bytes) -> bytes:
        """Give the tag of some data."""
        ...


class KeyedVeil:
    """Fill the port `Veil` with keys of its own purpose."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys

    def mark(self, about: tuple[str, ...], value: Secret) -> str:
        """Name a value so that equal ones are recognised, but only by whoever has the key."""
        return self._keys.sign(_PURPOSE, place(*about) + _bytes(value)).hex()

    def seal(self, about: tuple[str, ...], value: Secret) -> bytes:
        """Encrypt a value that has to wait."""
        return self._keys.seal(_PURPOSE, place(*about), _bytes(value))

    def open(self, about: tuple[str, ...], sealed: bytes) -> Secret:
        """Decrypt it. Raises `Denied` when it was changed or belongs elsewhere."""
        return Secret(self._keys.open(_PURPOSE, place(*about), sealed).decode("utf-8", "surrogatepass"))


def _bytes(value: Secret) -> bytes:
    return value.reveal().encode("utf-8", "surrogatepass")

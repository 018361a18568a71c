"""Memory: what a kernel in memory keeps secret inputs with; `superagent.testing` puts it together."""

from __future__ import annotations

from superagent.core.principal import Secret
from superagent.core.problems import Denied


class MemoryVeil:
    """The keys behind secret inputs, without keys: what it seals stays here, under a number."""

    def __init__(self) -> None:
        self._sealed: list[tuple[tuple[str, ...], Secret]] = []

    def mark(self, about: tuple[str, ...], value: Secret) -> str:
        """Name a value, equal ones alike, as this process hashes it."""
        return str(hash((about, value.reveal())))

    def seal(self, about: tuple[str, ...], value: Secret) -> bytes:
        """Give the number of a value."""
        self._sealed.append((about, value))
        return str(len(self._sealed) - 1).encode()

    def open(self, about: tuple[str, ...], sealed: bytes) -> Secret:
        """Give the value. Raises `Denied` for one that belongs elsewhere."""
        place, value = self._sealed[int(sealed)]
        if place != about:
            raise Denied("a sealed value belongs elsewhere")
        return value

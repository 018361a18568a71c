"""What a tree or an archive brings that a person must look at first: shown, and bound by its digest."""

from __future__ import annotations

import hashlib
from typing import IO

from superagent.sdk import Context

from .engine import differences, listing, texts
from .engine.places import Tick

_SHOWN_BYTES = 64 * 1024
_SHOWN_IN_ALL = 100_000  # characters
_CHUNK = 1 << 20


class Brought:
    """The parts of one call that its approver must see; nothing for a call that nobody has to approve."""

    def __init__(self, ctx: Context, tick: Tick) -> None:
        self._named = [one.path for one in ctx.invocation.found]
        self._tick = tick
        self.diff = ""

    def wants(self, path: str) -> bool:
        """Tell whether a part, by the path that it will have, is or lies in something that a person must approve."""
        return any(path == one or path.startswith(f"{one}/") for one in self._named)

    def add(self, path: str, content: IO[bytes]) -> None:
        """Show one file: its digest, and its text as far as there is room."""
        digest, head, size = hashlib.sha256(), b"", 0
        while chunk := content.read(_CHUNK):
            self._tick()
            digest.update(chunk)
            head += chunk[: _SHOWN_BYTES - len(head)]
            size += len(chunk)
        name = listing.shown(path)
        self.diff += f"{name}: {size} bytes, SHA-256 {digest.hexdigest()}\n"
        text = texts.decode(head) if size == len(head) and len(self.diff) < _SHOWN_IN_ALL else None
        if text is not None:
            self.diff += differences.of_texts("", text[0], "/dev/null", name)

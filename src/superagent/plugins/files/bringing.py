"""What is copied, moved or unpacked that a person must look at first: shown, and bound by its digest."""

from __future__ import annotations

import hashlib
from typing import IO

from superagent.sdk import Context, Effect, Resource, neutral_line

from .engine import differences, listing, texts
from .engine.places import Tick

_SHOWN_BYTES = 64 * 1024
_SHOWN_IN_ALL = 100_000  # characters
_CHUNK = 1 << 20


class Brought:
    """The parts of one call that its approver must see; nothing for a call that nobody has to approve."""

    def __init__(self, ctx: Context, tick: Tick) -> None:
        self._ctx = ctx
        self._named = [one.path for one in ctx.invocation.found]
        self._tick = tick
        self.diff = ""

    def wants(self, path: str) -> bool:
        """Tell whether a part, by the path that it will have, is or lies in something that a person must approve.

        Whether the input names that place, or the call came upon it: the input names a source, not what stands in it.
        """
        if any(path == one or path.startswith(f"{one}/") for one in self._named):
            return True
        return self._ctx.may_ask(Resource("path", "local", path, Effect.CHANGE))

    def link(self, path: str, target: str) -> None:
        """Show where a link leads."""
        self.diff += f"{neutral_line(listing.shown(path))} -> {neutral_line(listing.shown(target))}\n"

    def add(self, path: str, content: IO[bytes]) -> None:
        """Show one file: its digest, and its text as far as there is room."""
        digest, head, size = hashlib.sha256(), b"", 0
        while chunk := content.read(_CHUNK):
            self._tick()
            digest.update(chunk)
            head += chunk[: _SHOWN_BYTES - len(head)]
            size += len(chunk)
        name = neutral_line(listing.shown(path))  # a name must not add a line to what the approver reads
        self.diff += f"{name}: {size} bytes, SHA-256 {digest.hexdigest()}\n"
        text = texts.decode(head) if size == len(head) and len(self.diff) < _SHOWN_IN_ALL else None
        if text is not None:
            self.diff += differences.of_texts("", text[0], "/dev/null", name)

"""The terminal: what may reach it, in colour where somebody looks, as one JSON document where a program reads."""

from __future__ import annotations

import json
import sys
import threading
import time
from functools import cached_property
from types import TracebackType
from typing import Any, Protocol, Self, TextIO

from superagent.core.neutral import HIDDEN, neutral, neutral_line

QUIET_S = 1.0
STEP_S = 0.5


def json_text(document: Any) -> str:
    """Give a document as JSON on one line, with everything escaped that acts on a terminal or is not seen."""
    return HIDDEN.sub(lambda found: json.dumps(found[0])[1:-1], json.dumps(document, ensure_ascii=False))


class _Prints(Protocol):
    def print(self, *objects: Any) -> None: ...

    @property
    def width(self) -> int: ...


class Screen:
    """Where a command's output goes: results to standard output, problems and progress to standard error."""

    def __init__(self, *, json: bool = False, out: TextIO | None = None, err: TextIO | None = None) -> None:
        self.json = json
        self._out = out or sys.stdout
        self._err = err or sys.stderr

    @cached_property
    def out(self) -> _Prints:
        """Give the console for results."""
        return _console(self._out)

    @cached_property
    def err(self) -> _Prints:
        """Give the console for problems."""
        return _console(self._err)

    @property
    def columns(self) -> int:
        """Give how many characters a line of results may have: as a terminal is wide, else more than there will be."""
        return self.out.width

    def document(self, document: Any) -> None:
        """Print one JSON document."""
        _write(self._out, json_text(document) + "\n")

    def line(self, text: str) -> None:
        """Print a line that needs no colour."""
        _write(self._out, neutral(text) + "\n")

    def note(self, text: str) -> None:
        """Say something beside the result."""
        _write(self._err, neutral(text) + "\n")

    def bytes(self, chunk: bytes) -> None:
        """Print bytes as they are: only where the caller asked for exactly these."""
        self._out.buffer.write(chunk)
        self._out.flush()

    def waiting(self, what: str) -> Waiting:
        """Show on a terminal, while the body runs, what is waited for and how long already."""
        return Waiting(self._err, what)


class Waiting:
    """A line on standard error that counts seconds; nothing where that is no terminal, or when it is over soon."""

    def __init__(self, err: TextIO, what: str) -> None:
        self._err = err
        self._what = neutral_line(what)
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        if self._err.isatty():
            self._thread = threading.Thread(target=self._count, daemon=True)
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        if self._thread is not None:
            self._thread.join()

    def _count(self) -> None:
        begun = time.monotonic()
        if self._over.wait(QUIET_S):
            return
        while True:
            _write(self._err, f"\r{self._what} … {time.monotonic() - begun:.0f} s")
            if self._over.wait(STEP_S):
                _write(self._err, "\r\x1b[K")
                return


def _console(file: TextIO) -> _Prints:
    # takes longer to load than everything else here: only where something is shown to people
    from rich.console import Console

    # where nobody looks, a line is a line however long it is: programs cut it, not we
    width = None if file.isatty() else 100_000
    return Console(file=file, width=width, highlight=False, markup=False, emoji=False, soft_wrap=True)


def _write(file: TextIO, text: str) -> None:
    file.write(text)
    file.flush()

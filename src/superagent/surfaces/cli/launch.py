"""Launch: what the entry hands to the command line, which may not import the composition root itself (rules.md 27)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast


class Installation(Protocol):
    """An opened installation; `kernel` is a `core.kernel.Kernel`, `owner` gives a `core.principal.Principal`.

    Both are checked where they are used: naming their types here would load the kernel for every `--help`.
    """

    @property
    def kernel(self) -> object:
        """Give its kernel."""
        ...

    def owner(self, channel: str) -> Awaitable[object]:
        """Give the owner, for the user of this machine that owns the folder. Raises `Denied` for any other."""
        ...


@dataclass(frozen=True, slots=True)
class Launch:
    """How to reach an installation from this machine. Each imports what it needs when it is called."""

    data_folder: Callable[[str], Path]
    open_installation: Callable[[Path], AbstractAsyncContextManager[Installation]]
    serve: Callable[[Path, Mapping[str, object], Callable[[str], None]], int]
    mcp: Callable[[Path, str, Any, str], None]  # its third is a `Secret` or None, which to name would load the kernel
    """Speak MCP on standard input and output: folder, server (empty: the folder's), key (None: the owner's), tools."""


def bare(fault: BaseException) -> BaseException:
    """Take a problem out of the groups of faults that it went through while an installation was opened."""
    while isinstance(fault, BaseExceptionGroup):
        inner: tuple[BaseException, ...] = cast(Any, fault).exceptions
        fault = inner[0]
    return fault

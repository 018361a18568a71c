"""Reaches: what an operation is handed of files and of the network, judged and recorded at each use."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

from superagent.core.carried import FoundFile
from superagent.core.resources import Effect


class FileReach(Protocol):
    """Files beneath the caller's granted roots."""

    async def beneath(self, path: str, *, effect: Effect = Effect.READ, follow: bool = True) -> Any:
        """Open the place of a path below its granted root; its real path is judged again. Raises `NotFound`."""
        ...

    async def read(self, path: str, *, offset: int = 0, max_bytes: int = 0) -> bytes:
        """Give the bytes of a file from an offset on; 0 takes as many as go at once (4 MiB). Raises `NotFound`."""
        ...

    async def write(self, path: str, data: bytes) -> None:
        """Replace or make a file in one step; use it within `ctx.changing(path)`. Raises `NotFound`, `Denied`."""
        ...

    async def list(self, path: str) -> list[FoundFile]:
        """Give what lies in a folder and may be read, by name. Raises `NotFound`."""
        ...

    async def delete(self, path: str) -> None:
        """Remove what stands at a path; use it within `ctx.changing(path, Effect.DESTROY)`. Raises `Denied`."""
        ...


class NetReach(Protocol):
    """The network by name: judged, vetted, pinned and recorded."""

    @property
    def http(self) -> Any:
        """Give the HTTP client: `request(method, url, …)` and `stream(method, url, …)`."""
        ...

    def dial(self, host: str, port: int, *, timeout_s: float = 15.0) -> AbstractAsyncContextManager[Any]:
        """Connect to a host by name for a block. Raises `Denied`, `NotFound`, `Unavailable`, `Deadline`."""
        ...

    def way(self, host: str, port: int) -> AbstractAsyncContextManager[Way]:
        """Judge the way to a host, for a library with sockets of its own, within a block; all else uses `dial`.

        Raises `Denied`, `NotFound`.
        """
        ...


class Link(Protocol):
    """A connection that a library opens by itself, to this address and to no other; recorded once, as it ends."""

    @property
    def address(self) -> str:
        """Give the address that was vetted."""
        ...

    def keep(self) -> None:
        """Let it outlive the block: whoever keeps it ends it."""
        ...

    def crossed(self, sent: int, received: int) -> None:
        """Count bytes that crossed it."""
        ...

    def end(self) -> None:
        """Record it, once."""
        ...


class Way(Protocol):
    """A way that was judged; `ca_file` is the file of authorities to trust."""

    ca_file: str

    async def open(self) -> Link:
        """Look the host up, vet its address, and permit a connection there. Raises `Denied`, `Unavailable`."""
        ...

    def again(self, link: Any) -> None:
        """Use a connection to the same host that was kept."""
        ...

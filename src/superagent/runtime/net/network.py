"""The network of an installation: what goes out of this process goes out by its rules and into its journal.

Guard and journal stand from the start; the libraries for HTTP and TLS are loaded when something first goes out, since a
command line that makes one call must not wait for them.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cached_property
from typing import Any

from superagent.core.audit import AuditRecord
from superagent.core.context import Context
from superagent.core.endpoints import public_or
from superagent.core.reached import NetReach
from superagent.runtime.net.guard import Guard
from superagent.runtime.net.journal import Journal, Whose
from superagent.runtime.net.resolver import Resolve, system_resolver

LOOK_UPS = 32


class Network:
    """How this installation connects by name. `public` tells which addresses it may connect to."""

    def __init__(
        self, journal: Journal, resolve: Resolve, allow_private: Sequence[str] = (), ca_file: str = ""
    ) -> None:
        self.journal = journal
        self.resolve = resolve
        self.public = public_or(allow_private)
        self.guard = Guard(
            lambda call, place, what: journal.refused(Whose.of(call), place, f"{what} without `ctx.net`", "code")
        )
        self._ca_file = ca_file
        self._trusted = lambda: self.trust

    @cached_property
    def trust(self) -> ssl.SSLContext:
        """Give what TLS is verified by. Raises `Unavailable` when `net.ca_file` cannot be read."""
        from superagent.runtime.net.trust import outgoing

        return outgoing(self._ca_file)

    def reach(self, ctx: Context) -> NetReach:
        """Give the capability `net` of one call."""
        from superagent.runtime.net.reach import CallNet

        return CallNet(ctx, self._dialer, self._trusted, self.journal, self._ca_file)

    @cached_property
    def _dialer(self) -> Any:
        from superagent.runtime.net.dialer import Dialer

        return Dialer(self.resolve, self.public)


@contextmanager
def open_network(
    note: Callable[[AuditRecord], None],
    now: Callable[[], float],
    *,
    allow_private: Sequence[str] = (),
    ca_file: str = "",
    resolve: Resolve | None = None,
) -> Generator[Network]:
    """Hold up the network of an installation; `resolve` stands in for the machine's resolver."""
    pool = ThreadPoolExecutor(LOOK_UPS, "names")  # starts no thread before the first look-up
    journal = Journal(note, now)
    network = Network(journal, resolve or system_resolver(pool), allow_private, ca_file)
    try:
        with network.guard.standing():
            yield network
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        journal.settle()

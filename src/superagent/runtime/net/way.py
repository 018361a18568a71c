"""Ways: how a driver with sockets of its own connects to one host by name, and how what it opened is recorded.

A connection is vetted as it is opened and recorded once, as it ends, for the call that opened it. One that is kept
serves other calls meanwhile: each is judged by the name, and its own record says where it went.
"""

from __future__ import annotations

import time
from contextlib import suppress

from superagent.core.endpoints import Endpoint, NotPublic
from superagent.core.problems import AuditUnavailable, Internal
from superagent.runtime.net.dialer import Dialer, problem_of
from superagent.runtime.net.guard import Permission, permitting
from superagent.runtime.net.journal import Crossed, Journal, Whose


class Link:
    """A connection of a driver's own, to an address that was vetted. `keep` lets it outlive the block it began in."""

    def __init__(self, endpoint: Endpoint, address: str, whose: Whose, journal: Journal) -> None:
        self.endpoint = endpoint
        self.address = address
        self.kept = False
        self.calls = 1
        self._whose, self._journal = whose, journal
        self._began = time.monotonic()
        self._sent = self._received = 0
        self._ended = False

    def keep(self) -> None:
        """Leave its end to whoever keeps it."""
        self.kept = True

    def crossed(self, sent: int, received: int) -> None:
        """Count bytes that crossed it."""
        self._sent += sent
        self._received += received

    def end(self) -> None:
        """Record it, once; that the log takes nothing any more, it tells by itself."""
        if self._ended:
            return
        self._ended = True
        seconds = time.monotonic() - self._began
        used = Crossed(self.endpoint, self.address, "dial", self._sent, self._received, seconds, calls=self.calls)
        with suppress(AuditUnavailable):
            self._journal.crossed(self._whose, used)


class Way:
    """The way to a host that a call may use, for the time of a block; nothing is looked up before it is opened."""

    def __init__(self, endpoint: Endpoint, dialer: Dialer, whose: Whose, journal: Journal, ca_file: str) -> None:
        self.ca_file = ca_file
        self._endpoint, self._dialer, self._whose, self._journal = endpoint, dialer, whose, journal
        self._permitted: list[Permission] = []
        self._opened: list[Link] = []

    async def open(self) -> Link:
        """Look the host up, vet what comes, and let a driver connect there. Raises `Denied`, `Unavailable`."""
        try:
            address = str((await self._dialer.addresses(self._endpoint))[0])
        except NotPublic as fault:
            self._journal.refused(
                self._whose, str(self._endpoint), f"its address is {fault.why}", "dial", fault.address
            )
            raise problem_of(self._endpoint, fault) from None
        link = Link(self._endpoint, address, self._whose, self._journal)
        self._opened.append(link)
        self._permit(link)
        return link

    def again(self, link: Link) -> None:
        """Use a connection that was kept; what belongs to it, such as stopping a statement, may connect there."""
        if link.endpoint != self._endpoint:
            raise Internal("a connection that is kept serves calls to its own host only")
        link.calls += 1
        self._permit(link)

    def end(self) -> None:
        """Permit nothing more, and record what is not kept."""
        while self._permitted:
            self._permitted.pop().__exit__()
        for link in self._opened:
            if not link.kept:
                link.end()

    def _permit(self, link: Link) -> None:
        permitted = permitting((link.address, self._endpoint.port))
        permitted.__enter__()
        self._permitted.append(permitted)

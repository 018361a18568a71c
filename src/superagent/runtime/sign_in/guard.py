"""Guard: how often somebody may try, what is recorded of it, and which addresses are our own."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from superagent.core.audit import AuditRecord
from superagent.core.limits import Rate
from superagent.core.ports import Audit, Buckets
from superagent.core.problems import Denied, RateLimited
from superagent.core.records import Flood

_LOOPBACK = re.compile(r"http://(?:localhost|127\.0\.0\.1|\[::1\])(?::[0-9]{1,5})?")


@dataclass(frozen=True, slots=True)
class Tries:
    """How many tries an account and an address have at once; they grow back one a minute and one each 10 s."""

    account: int = 10
    address: int = 30


@dataclass(frozen=True, slots=True)
class Visitor:
    """From where somebody signs in: address, and what the browser says of itself."""

    remote: str
    client: str = ""


class Guard:
    """What stands before every proof of who somebody is."""

    def __init__(
        self, audit: Audit, buckets: Buckets, now: Callable[[], float], tries: Tries, public_url: str = ""
    ) -> None:
        self._audit = audit
        self._buckets = buckets
        self._now = now
        self._account = Rate(1 / 60, tries.account)
        self._address = Rate(1 / 10, tries.address)
        self._public_url = public_url
        self._flood = Flood()

    def attempt(self, visitor: Visitor, tenant: str = "", person: str = "") -> None:
        """Let somebody try once, before anything is looked at. Raises `RateLimited`, and has recorded it then."""
        now = self._now()
        wait = self._buckets.take(f"sign-in/from/{visitor.remote}", self._address, now)
        if person and not wait:
            wait = self._buckets.take(f"sign-in/as/{tenant}/{person}", self._account, now)
        if wait:
            # of the account only its name is said: nobody has looked whether there is such a person
            said = {"account": f"{tenant}/{person}"[:130]} if person else {}
            first, swallowed = self._flood.admit((visitor.remote, "signin", "limited"), now)
            if first:
                self.record(
                    "signin.limited", "", "", visitor, **said, **({"more": str(swallowed)} if swallowed else {})
                )
            raise RateLimited("too many tries to sign in", hint=f"wait {wait:.0f} s", retry_after_s=wait)

    def record(self, what: str, tenant: str, person: str, visitor: Visitor, **detail: str) -> None:
        """Record a sign-in, or a try; the address is sealed under the person's own key."""
        where, who = (tenant, person) if tenant and person else ("system", "anonymous")
        sealed = self._audit.personal(where, who, f"{visitor.remote}\n".encode())
        self._audit.note(
            AuditRecord(
                kind="event", at=self._now(), tenant=where, who=who, operation=what, personal=sealed, detail=detail
            )
        )

    def own(self, origin: str) -> str:
        """Give an origin when it is ours: the public one, or without one this machine's. Raises `Denied`."""
        if origin != self._public_url if self._public_url else not _LOOPBACK.fullmatch(origin):
            raise Denied("this is not our address", hint="set `server.public_url` to the address that browsers use")
        return origin

"""Posting: one document to one address that somebody named, through the vetted client."""

from __future__ import annotations

from collections.abc import Mapping

from superagent.core.endpoints import Endpoint, NotPublic
from superagent.core.problems import Denied, Unavailable
from superagent.runtime.net.dialer import Dialer, problem_of
from superagent.runtime.net.journal import Crossed, Whose
from superagent.runtime.net.network import Network
from superagent.runtime.net.wire import Wire

TIMEOUT_S = 15.0
_SENDER = "superagent"


class Posting:
    """Post JSON to an address: public ones only, redirects not followed, each connection in the record of `whose`."""

    def __init__(self, url: str, network: Network, whose: Whose | None = None) -> None:
        self._url = url
        self._network = network
        self._whose = whose or Whose()
        self._endpoint = Endpoint.of(url)

    async def post(self, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        """Post it. Raises what the client raises, and `Unavailable` for an answer that is no success."""
        from superagent.runtime.net.http import Http

        http = Http(self._judge, self._dial, lambda: self._network.trust, lambda: TIMEOUT_S)
        sent = {"Content-Type": "application/json", "User-Agent": _SENDER, **(headers or {})}
        answer = await http.request(
            "POST", self._url, headers=list(sent.items()), content=body, follow=0, max_bytes=64 * 1024,
            timeout_s=TIMEOUT_S,
        )  # fmt: skip
        if not 200 <= answer.status < 300:
            raise Unavailable(f"the webhook answered {answer.status}")

    def _judge(self, endpoint: Endpoint, method: str) -> None:
        if endpoint != self._endpoint:
            raise Denied(f"the webhook is at `{self._endpoint}`, and nowhere else")

    async def _dial(self, endpoint: Endpoint, timeout_s: float) -> Wire:
        journal, address = self._network.journal, ""

        def closed(wire: Wire) -> None:
            journal.crossed(self._whose, Crossed(endpoint, address, "http", wire.sent, wire.received, wire.seconds))

        try:
            wire, vetted = await Dialer(self._network.resolve, self._network.public).dial(endpoint, timeout_s, closed)
        except NotPublic as fault:
            journal.refused(self._whose, str(endpoint), f"its address is {fault.why}", "http", fault.address)
            raise problem_of(endpoint, fault) from None
        address = str(vetted)
        return wire
